"""The course's static figures: one style, labeled axes, a palette safe for color-blind readers, alt text.

Every function returns a `Picture`, which a notebook shows if it is the last value of a cell. Its text form is
its alt text, so a figure says what it shows in a terminal, to a screen reader and in a comparison of outputs.
The palette is Okabe and Ito's (2008). Leaves out: interactive views.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator
from torch import Tensor

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, QUIET, LINE, FAINT = "#1c2430", "#566070", "#b9c1ca", "#e8ecf0"  # text, labels, axes, grid
DPI = 110
ATTENTION_GAMMA = 0.5  # most weights are near 0; the square root spreads them over the palette
_PAGE = 10.5  # inches; the widest figure whose text stays readable on a page
_FONT = 9.0  # points; 13.75 pixels at 110 dots per inch
_CELL, _LEAST_CELL = 0.3, 0.13  # inches of a heat map's cell
_STYLE: dict[str, Any] = {
    "figure.facecolor": "white",  # a background of its own, so that it can be read on a dark page
    "font.size": _FONT,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.labelsize": _FONT + 0.5,
    "axes.labelpad": 6,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "xtick.labelsize": _FONT,
    "ytick.labelsize": _FONT,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "axes.prop_cycle": cycler(color=PALETTE),
}
# Offsets of a text from its point, in units of 1/72 inch, the preferred ones first.
_SIDES = np.array(
    [
        (5, 0),
        (0, 5),
        (0, -5),
        (-5, 0),
        (4, 4),
        (4, -4),
        (-4, 4),
        (-4, -4),
        (8, 10),
        (8, -10),
        (-8, 10),
        (-8, -10),
    ]
)
_SIGNS = str.maketrans(dict.fromkeys("\n\r\v\f\x85\u2028\u2029", "⏎") | {"\t": "⇥"})

Array = Tensor | np.ndarray | Sequence[Any]


class Picture:
    """A figure with its alt text; showing it draws a PNG once and leaves no state in matplotlib."""

    def __init__(self, figure: Figure, alt: str) -> None:
        if not alt.strip():
            raise ValueError("a picture needs alt text: one or two sentences that say what it shows")
        self.figure = figure
        self.alt = " ".join(alt.split())
        _set_titles(figure)

    def __repr__(self) -> str:
        """Return the alt text."""
        return f"[figure] {self.alt}"

    def png(self) -> bytes:
        """Return the picture as PNG bytes."""
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a character that the font lacks becomes a box
            self.figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.16)
        return buffer.getvalue()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        data = {"text/plain": repr(self), "image/png": self.png()}
        return data, {"image/png": {"alt": self.alt}}


def new_figure(
    width: float = 7.0, height: float = 3.6, rows: int = 1, columns: int = 1, share: str = ""
) -> tuple[Figure, Any]:
    """Return an empty figure (size in inches) in the course's style, and its axes; `share="xy"` shares both.

    The figure is made without pyplot, so it is shown only if a cell ends in `Picture(figure, alt)`.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, columns, sharex="x" in share, sharey="y" in share)


def plot_matrix(
    matrix: Array,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    numbers: bool = False,
    limits: tuple[float, float] | None = None,
    gamma: float = 1.0,
    alt: str | None = None,
) -> Picture:
    """Draw a labeled heat map, readable up to about 60 × 60.

    Args:
        matrix: floats (R, C).
        rows: R labels, drawn on the left.
        columns: C labels, drawn on top.
        title: what is shown.
        xlabel: what the columns are.
        ylabel: what the rows are.
        numbers: also print each value, with two decimals.
        limits: values of the lightest and the darkest color; the matrix's own by default. Limits of
            opposite signs give a diverging palette around 0.
        gamma: the color follows value ** gamma; below 1, small values become easier to see.
        alt: alt text; made from the title and the largest entry if None.
    """
    values = _array(matrix, 2, "matrix")
    _check_labels(values, rows, columns)
    cell = _cell_size(values.shape, numbers)
    figure, axes, scale = _map_axes(values.shape, cell)
    image = _draw_matrix(axes, values, limits, gamma)
    font = _FONT if cell > 0.15 else 7
    upright = max(len(str(column)) for column in columns) * 0.009 * font < cell  # inches of a label
    axes.set_xticks(
        range(len(columns)), [_label(c) for c in columns], rotation=0 if upright else 90, fontsize=font
    )
    axes.set_yticks(range(len(rows)), [_label(r) for r in rows], fontsize=font)
    axes.tick_params(labelcolor=INK, length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.xaxis.set_label_position("top")
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if numbers:
        _write_numbers(axes, values, image)
    figure.colorbar(image, cax=scale).outline.set_visible(False)
    r, c = divmod(int(np.nanargmax(values)), values.shape[1])
    return Picture(
        figure, alt or f"Heat map. {title}. Largest value {values[r, c]:.2f}, {rows[r]} to {columns[c]}."
    )


def plot_attention(
    probs: Array, tokens: Sequence[str], title: str = "Attention", numbers: bool = False
) -> Picture:
    """Draw one head's attention: each row is a token that looks, each column a token that is looked at.

    Args:
        probs: floats (S, S), each row sums to 1.
        tokens: S tokens.
        title: the title, such as the head's name.
        numbers: also print each probability.
    """
    labels = ("looked at (key)", "looks (query)")
    return plot_matrix(probs, tokens, tokens, title, *labels, numbers, (0.0, 1.0), ATTENTION_GAMMA)


def plot_maps(
    panels: Mapping[str, Array],
    labels: Sequence[str],
    numbers: bool = False,
    axis_labels: tuple[str, str] = ("looked at (key)", "looks (query)"),
    alt: str | None = None,
) -> Picture:
    """Draw square matrices of numbers from 0 to 1 side by side, with the same labels on both axes.

    If all numbers are 0 or 1, white lines part the cells, and there is no color bar.

    Args:
        panels: by title, floats (S, S).
        labels: S labels of the rows, which are those of the columns as well.
        numbers: also print each value; without them, the colors are stretched so that small values show.
        axis_labels: what the columns and the rows are.
        alt: alt text; made from the diagonals and the largest other entries if None.

    Raises:
        ValueError: a matrix does not fit the labels.
    """
    matrices = {name: _array(matrix, 2, name) for name, matrix in panels.items()}
    for values in matrices.values():
        _check_labels(values, labels, labels)
    edge = len(labels) * _cell_size((len(labels), len(labels)), numbers)
    edge = min(edge, (_PAGE - 1.9) / len(panels) - 0.35)  # wider, and the page would shrink the labels
    figure, grid = new_figure(len(panels) * (edge + 0.35) + 1.9, edge + 1.5, columns=len(panels))
    every = [grid] if len(panels) == 1 else list(grid)
    yes_or_no = all(set(np.unique(values)) <= {0.0, 1.0} for values in matrices.values())
    for axes, (name, values) in zip(every, matrices.items(), strict=True):
        image = _draw_matrix(axes, values, (0.0, 1.0), 1.0 if numbers else ATTENTION_GAMMA)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xticks(range(len(labels)), [_label(label) for label in labels], rotation=90, fontsize=_FONT)
        axes.set_yticks(range(len(labels)), [_label(label) for label in labels], fontsize=_FONT)
        axes.tick_params(labelcolor=INK, top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
        axes.tick_params(labelleft=axes is every[0])
        axes.set(title=name, xlabel=axis_labels[0])
        if numbers:
            _write_numbers(axes, values, image)
        if yes_or_no:
            _part_cells(axes, len(labels))
    every[0].set_ylabel(axis_labels[1])
    if not yes_or_no:
        figure.colorbar(image, ax=every, shrink=0.8).outline.set_visible(False)
    return Picture(figure, alt or _maps_alt(matrices, labels))


def _part_cells(axes: Axes, count: int) -> None:
    """Draw white lines between the cells of a square matrix."""
    edges = np.arange(1, count) - 0.5
    axes.vlines(edges, -0.5, count - 0.5, color="white", linewidth=1)
    axes.hlines(edges, -0.5, count - 0.5, color="white", linewidth=1)


def _maps_alt(panels: Mapping[str, np.ndarray], labels: Sequence[str]) -> str:
    """Name the mean of the diagonal and the largest other entry of each panel."""
    parts = []
    for name, values in panels.items():
        others = np.where(np.eye(len(labels), dtype=bool), -1.0, values)
        row, column = divmod(int(others.argmax()), len(labels))
        largest = f"{values[row, column]:.2f}, {labels[row]} to {labels[column]}"
        diagonal = f"{values.diagonal().mean():.2f} on average"
        parts.append(f"{name}: diagonal {diagonal}, largest other entry {largest}.")
    return f"Heat maps of {len(labels)} by {len(labels)}. " + " ".join(parts)


def plot_heads(
    attentions: Array, title: str = "Attention of every head", marked: Sequence[tuple[int, int]] = ()
) -> Picture:
    """Draw all heads of all layers as small pictures, layers downward and heads to the right.

    Args:
        attentions: floats (L, A, S, S), or the model's tuple of L tensors (1, A, S, S).
        title: what is shown.
        marked: (layer, head) pairs to frame.
    """
    if isinstance(attentions, tuple | list) and attentions:
        attentions = np.stack([_array(a, None, "attentions").squeeze(0) for a in attentions])
    values = _array(attentions, 4, "attentions")
    layers, heads = values.shape[:2]
    figure, axes = new_figure(heads * 0.62 + 0.8, layers * 0.62 + 0.9)
    axes.grid(visible=False)
    for layer, head in np.ndindex(layers, heads):
        image = _draw_matrix(axes, values[layer, head], (0.0, 1.0), ATTENTION_GAMMA)
        image.set_extent((head - 0.45, head + 0.45, layer + 0.45, layer - 0.45))
        mark = (layer, head) in marked
        color, width = (PALETTE[1], 2.5) if mark else (LINE, 0.5)
        axes.add_patch(
            Rectangle(
                (head - 0.45, layer - 0.45),
                0.9,
                0.9,
                fill=False,
                edgecolor=color,
                linewidth=width,
                zorder=2 + mark,
            )
        )
    axes.set(xlim=(-0.5, heads - 0.5), ylim=(layers - 0.5, -0.5), xticks=range(heads), yticks=range(layers))
    axes.xaxis.set_label_position("top")
    axes.set(title=title, xlabel="head", ylabel="layer")
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.spines[:].set_visible(False)
    return Picture(figure, f"Grid of {layers} layers by {heads} heads of attention heat maps. {title}.")


def plot_curves(
    x: Array,
    curves: Mapping[str, Array],
    title: str,
    xlabel: str,
    ylabel: str,
    log: str = "",
    alt: str | None = None,
) -> Picture:
    """Draw curves over a common x; a curve (runs, points) is drawn as its mean and a min-to-max band.

    Args:
        x: P numbers.
        curves: by name, floats (P,) or (runs, P).
        title: what is shown.
        xlabel: quantity and unit.
        ylabel: quantity and unit.
        log: "x", "y" or "xy" for logarithmic axes.
        alt: alt text; made from the first and last values if None.
    """
    across = _array(x, 1, "x")
    figure, axes = new_figure()
    ends = []
    for index, (name, curve) in enumerate(curves.items()):
        runs = np.atleast_2d(_array(curve, None, name))
        if runs.shape[-1] != len(across):
            raise ValueError(
                f"curve {name!r} has {runs.shape[-1]} points, x has {len(across)}; give one for each x"
            )
        mean, style = runs.mean(0), ("-", "--", "-.", ":")[index % 4]
        axes.plot(across, mean, style, label=name, color=PALETTE[index % len(PALETTE)], linewidth=2)
        if len(runs) > 1:
            axes.fill_between(
                across, runs.min(0), runs.max(0), alpha=0.2, color=PALETTE[index % len(PALETTE)]
            )
        ends.append(f"{name} from {mean[0]:.3g} to {mean[-1]:.3g}")
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if "x" in log:
        axes.set_xscale("log")
        _plain_log_ticks(axes.xaxis, across)
    if "y" in log:
        axes.set_yscale("log")
    if len(curves) > 3:  # so many names would cover the curves
        figure.legend(frameon=False, loc="outside right upper")
    elif len(curves) > 1:
        axes.legend(frameon=False)
    return Picture(
        figure, alt or f"Curves. {title}: {'; '.join(ends)}, over {xlabel} {across[0]:g} to {across[-1]:g}."
    )


def plot_bars(
    values: Mapping[str, float],
    title: str,
    xlabel: str,
    alt: str | None = None,
    spread: Mapping[str, float] | None = None,
) -> Picture:
    """Draw named numbers as horizontal bars, the first on top, each with its value.

    Args:
        values: a number for each name.
        title: what is shown.
        xlabel: quantity and unit; with a spread, also what the spread is.
        alt: alt text; made from the values if None.
        spread: for each name the half length of an error bar, in the values' unit.
    """
    names, numbers = list(values), [float(v) for v in values.values()]
    if spread is not None and set(spread) != set(names):
        raise ValueError(f"spread is of {sorted(spread)}, expected one for each bar: {sorted(names)}")
    errors = None if spread is None else [float(spread[name]) for name in names]
    figure, axes = new_figure(height=0.36 * len(names) + 1.0)
    error_style = {"ecolor": INK, "elinewidth": 1.2, "capsize": 3}
    bars = axes.barh(
        range(len(names)),
        numbers,
        0.7,
        xerr=errors,
        color=PALETTE[0] if errors is None else PALETTE[5],
        error_kw=error_style,
    )
    axes.bar_label(bars, _alike(numbers), padding=4, fontsize=_FONT, color=INK)  # past the error bar
    axes.set_yticks(range(len(names)), [_label(name, 48) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(title=title, xlabel=xlabel)
    ends = [""] * len(names) if errors is None else [f" ± {error:.3g}" for error in errors]
    listed = ", ".join(f"{n} {x:.3g}{end}" for n, x, end in zip(names, numbers, ends, strict=True))
    return Picture(figure, alt or f"Bars. {title}: {listed}.")


def plot_points(
    points: Array, groups: Sequence[str], title: str, texts: Sequence[str] = (), alt: str | None = None
) -> Picture:
    """Draw a scatter plot of points in two dimensions, with a color and a marker for each group.

    Args:
        points: floats (N, 2).
        groups: N group names.
        title: what is shown, and how the two dimensions were found.
        texts: N short labels written beside the points, or none; up to about 40 do not overlap.
        alt: alt text; made from the groups if None.
    """
    positions = _array(points, 2, "points")
    if positions.shape[1] != 2 or len(groups) != len(positions):
        raise ValueError(
            f"points {positions.shape} and {len(groups)} groups do not fit; expected (N, 2) and N groups"
        )
    if len(texts) not in (0, len(positions)):
        raise ValueError(f"{len(texts)} texts for {len(positions)} points; give one for each, or none")
    figure, axes = new_figure(height=5.0)
    names = list(dict.fromkeys(groups))
    for index, name in enumerate(names):
        chosen = positions[[group == name for group in groups]]
        axes.scatter(*chosen.T, s=22, marker="os^Dv*X"[index % 7], color=PALETTE[index % 7], label=name)
    axes.set(title=title, xlabel="first dimension", ylabel="second dimension")
    if len(names) > 1:
        figure.legend(frameon=False, loc="outside right upper")
    _write_beside(figure, axes, texts, positions)
    return Picture(
        figure, alt or f"Scatter plot of {len(positions)} points in groups {', '.join(names)}. {title}."
    )


def _array(values: Any, dimensions: int | None, name: str) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu().float().numpy()
    array = np.asarray(values, dtype=float)
    if dimensions is not None and array.ndim != dimensions:
        raise ValueError(
            f"{name} has shape {array.shape}, expected {dimensions} axes; index or squeeze the others away"
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty; a model returns attentions only with output_attentions=True")
    return array


def _check_labels(values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    if values.shape != (len(rows), len(columns)):
        raise ValueError(
            f"matrix {values.shape} does not fit {len(rows)} row and {len(columns)} column labels; "
            "give one label for each row and column"
        )


def _set_titles(figure: Figure) -> None:
    """Move the titles to the left, where reading begins: bold, smaller if there are several."""
    titled = [axes for axes in figure.axes if axes.get_title()]
    for axes in titled:
        title = axes.get_title()
        axes.set_title("")
        axes.set_title(
            title, loc="left", fontsize=11.5 if len(titled) == 1 else 10, color=INK, weight="bold", pad=10
        )


def _alike(numbers: Sequence[float]) -> list[str]:
    """Return numbers with equally many decimals: three digits of the largest, and no zeros in vain."""
    largest = max((abs(number) for number in numbers if math.isfinite(number)), default=0.0)
    most = max(0, 2 - math.floor(math.log10(largest))) if largest else 0
    needed = (d for d in range(most) if all(round(n, d) == round(n, most) for n in numbers))
    decimals = next(needed, most)
    return [f"{number:,.{decimals}f}" for number in numbers]


def _cell_size(shape: tuple[int, ...], numbers: bool) -> float:
    """Return the size of a heat map's cells in inches: the same for all maps that fit a page."""
    if numbers:
        return 0.6 if shape[1] <= 6 else 0.5
    return float(np.clip(6.2 / max(shape), _LEAST_CELL, _CELL))


def _map_axes(shape: tuple[int, int], cell: float) -> tuple[Figure, Axes, Axes]:
    """Return a figure, axes for a map whose cells have this size in inches, and narrow axes for its colors.

    The labels are outside of these axes; the picture grows with them.
    """
    height, width = (count * cell for count in shape)
    full = (width + 2.4, height + 1.2)
    figure, axes = new_figure(*full)
    figure.set_layout_engine("none")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    left, bottom = 1.6 / full[0], 0.1 / full[1]
    axes.set_position((left, bottom, width / full[0], height / full[1]))
    long = max(min(height, 1.6), 0.9)  # of the color scale, which begins at the map's top
    with matplotlib.rc_context(_STYLE):
        scale = figure.add_axes(
            (
                left + (width + 0.2) / full[0],
                bottom + (height - long) / full[1],
                0.12 / full[0],
                long / full[1],
            )
        )
    scale.grid(visible=False)
    return figure, axes, scale


def _draw_matrix(
    axes: Axes, values: np.ndarray, limits: tuple[float, float] | None, gamma: float = 1.0
) -> Any:
    low, high = limits or (float(np.nanmin(values)), float(np.nanmax(values)))
    diverging = low < 0 < high
    if diverging:
        low, high = -max(-low, high), max(-low, high)
    norm = Normalize(low, high) if diverging else PowerNorm(gamma, low, high)
    return axes.imshow(values, cmap="PuOr_r" if diverging else "Blues", norm=norm, aspect="equal")


def _write_numbers(axes: Axes, values: np.ndarray, image: Any) -> None:
    for (row, column), value in np.ndenumerate(values):
        shade = np.mean(image.cmap(image.norm(value))[:3])
        axes.text(
            column,
            row,
            f"{value:.2f}",
            ha="center",
            va="center",
            fontsize=_FONT,
            color="white" if shade < 0.5 else INK,
        )


def _write_beside(figure: Figure, axes: Axes, texts: Sequence[str], positions: np.ndarray) -> None:
    """Write each text on the side of its point where it covers the least: of points, texts and the frame."""
    figure.draw_without_rendering()  # from here on the axes do not move
    pixels = axes.transData.transform(positions)
    taken = np.hstack([pixels - 5, pixels + 5])  # left, bottom, right, top
    for text, point, pixel in zip(texts, positions, pixels, strict=False):
        note = axes.annotate(_label(text, 40), point, (0, 0), textcoords="offset points", fontsize=_FONT)
        note.set_in_layout(False)
        size = np.array(note.get_window_extent().size)
        low = pixel + _SIDES * figure.dpi / 72 + (np.sign(_SIDES) - 1) / 2 * size
        boxes = np.hstack([low, low + size])
        outside = size.prod() - _shared(boxes, np.array([axes.bbox.extents]))[:, 0]
        best = int(np.argmin(outside + _shared(boxes, taken).sum(1)))
        across, up = np.sign(_SIDES[best]).astype(int) + 1
        note.set(position=_SIDES[best], ha=("right", "center", "left")[across])
        note.set(va=("top", "center", "bottom")[up])
        taken = np.vstack([taken, boxes[best]])


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the areas (N, M) that N boxes share with M others, each left, bottom, right, top."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.clip(high - low, 0, None).prod(-1)


def _plain_log_ticks(axis: Axis, values: np.ndarray) -> None:
    """Put the ticks of a logarithmic axis at the points, as plain numbers, if there are only a few points.

    A point less than a twelfth of the axis from the last tick gets none, as the numbers would overlap.
    """
    if len(values) <= 10:
        ticks = [values[0]]
        for value in values[1:]:
            if 12 * np.log(value / ticks[-1]) >= np.log(values[-1] / values[0]):
                ticks.append(value)
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter("{x:,g}")
        axis.set_minor_locator(NullLocator())


def shortened(text: str, limit: int = 18) -> str:
    """Return a text as one line of at most `limit` characters."""
    text = str(text).translate(_SIGNS)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _label(text: str, limit: int = 18) -> str:
    """Return a token as one short line in which matplotlib finds no mathematics, as it would in $x$."""
    return shortened(text, limit).replace("$", r"\$")
