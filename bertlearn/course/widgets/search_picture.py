"""The search comparison's picture: rankings side by side, with lines between the places of a document."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from bertlearn.course.figures import INK, PALETTE, QUIET, Picture, new_figure
from bertlearn.course.widgets.tokenizer_picture import shorten

_COLUMN, _LINE, _TOP = 3.1, 0.34, 0.4  # inches
_SCORE, _JOINED = 0.78, (0.81, 0.97)  # parts of a column: where scores end, where lines begin and end
_FONT, _TITLE = 9.0, 12.0  # points


def draw_rankings(query: str, columns: Sequence[dict[str, Any]], alt: str) -> Picture:
    """Return a picture of what each search found; a line joins a document's places in neighboring columns.

    Args:
        query: the title.
        columns: as in `SearchComparison.answer`.
        alt: the alt text.
    """
    lines = max(1, *(len(column["found"]) for column in columns))
    width, height = _COLUMN * len(columns), _LINE * (lines + 1)
    figure, axes = new_figure(width, height + _TOP)
    figure.set_layout_engine("none")  # a layout made from the texts would change the columns' width
    axes.set_position((0, 0, 1, height / (height + _TOP)))
    for at, column in enumerate(columns):
        _write(axes, at, -0.9, _fitted(column["system"], 0.95, weight="bold"), weight="bold")
        for rank, found in enumerate(column["found"]):
            _draw_found(axes, at, rank, found)
        if not column["found"]:
            _write(axes, at, 0, "nothing found", color=QUIET)
    _join(axes, columns)
    axes.set(xlim=(0, len(columns)), ylim=(lines - 0.5, -1.5))
    axes.axis("off")
    title = _fitted(f"“{query}”", 0.97 * len(columns), weight="bold", size=_TITLE)
    axes.set_title(title.replace("$", r"\$"))
    return Picture(figure, alt)


def _draw_found(axes: Axes, at: int, rank: int, found: dict[str, Any]) -> None:
    score = f"{found['score']:.2f}"
    _write(axes, at, rank, str(rank + 1), color=QUIET)
    _write(axes, at + 0.06, rank, _fitted(found["title"], _SCORE - 0.1 - _width(score) / (72 * _COLUMN)))
    _write(axes, at + _SCORE, rank, score, color=QUIET, ha="right")


def _join(axes: Axes, columns: Sequence[dict[str, Any]]) -> None:
    """Draw a line from each document to its place in the next column."""
    for at, (left, right) in enumerate(pairwise(columns)):
        ranks = {found["row"]: rank for rank, found in enumerate(right["found"])}
        for rank, found in enumerate(left["found"]):
            if found["row"] in ranks:
                places = [rank, ranks[found["row"]]]
                across = [at + part for part in _JOINED]
                axes.plot(across, places, "o-", color=PALETTE[0], markersize=3, linewidth=1.5)


def _write(axes: Axes, across: float, line: float, text: str, **style: Any) -> None:
    axes.text(
        across, line, text, **{"va": "center", "color": INK, "fontsize": _FONT, "parse_math": False, **style}
    )


def _fitted(text: str, room: float, weight: str = "normal", size: float = _FONT) -> str:
    """Return a text, shortened until it fits into a part of a column."""
    text = shorten(text, round(150 * room))  # no 150 letters fit into a column
    while len(text) > 2 and _width(text, weight, size) > 72 * _COLUMN * room:
        text = f"{text.removesuffix('…')[:-1]}…"
    return text


def _width(text: str, weight: str = "normal", size: float = _FONT) -> float:
    """Return how many points wide a text is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a character that the font lacks becomes a box
        font = FontProperties(size=size, weight=weight)
        return float(TextToPath().get_text_width_height_descent(text, font, ismath=False)[0])
