"""A diagram of a BERT's steps and the tensor shapes between them, made from its config (chapters 1 and 3).

Leaves out: dropout, the masks, and the heads of chapter 5.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import BoxStyle, FancyBboxPatch

from bertlearn.course.figures.figures import LINE, PALETTE, QUIET, Picture, new_figure
from bertlearn.model.config import BertConfig

_ARROW = {"arrowstyle": "-|>", "color": QUIET, "shrinkA": 0, "shrinkB": 0}


def plot_layers(config: BertConfig, title: str = "From token ids to vectors") -> Picture:
    """Draw the steps of a model as boxes, from top to bottom, with the tensor shapes between them.

    Args:
        config: the model's config, from which all numbers come. The input is B texts of S tokens.
        title: the title, such as the model's name.
    """
    hidden, wide = f"{config.hidden_size:,}", f"{config.intermediate_size:,}"
    states, heads = f"(B, S, {hidden})", f"(B, {config.num_attention_heads}, S, {config.head_size})"
    tables = f"{config.vocab_size:,} tokens, {config.max_position_embeddings} positions"
    steps = [  # the text of the box, its color, its output shape
        ("token ids and segment ids", "white", "(B, S) each"),
        (f"embeddings: {tables}, {config.type_vocab_size} segments\nadd, LayerNorm", PALETTE[4], states),
        (f"queries, keys, values: each dense {hidden} → {hidden}", PALETTE[5], f"{heads} each"),
        (f"attention: softmax(Q Kᵀ / √{config.head_size}) V", PALETTE[5], heads),
        (f"heads side by side, dense {hidden} → {hidden}", PALETTE[5], states),
        ("add & norm", PALETTE[2], states),
        (f"dense {hidden} → {wide}, GELU", PALETTE[3], f"(B, S, {wide})"),
        (f"dense {wide} → {hidden}", PALETTE[3], states),
        ("add & norm", PALETTE[2], states),
        ("one vector for each token", "white", ""),
    ]
    figure, axes = new_figure(7.0, 8.0)
    rows = [number + 0.4 * (number > 1) + 0.4 * (number > 8) for number in range(len(steps))]
    _frame(axes, rows[2] - 0.57, rows[8] + 0.4, f"{config.num_hidden_layers} × this layer")
    for row, (text, color, _) in zip(rows, steps, strict=True):
        _box(axes, row, text, color)
    for row, below, (_, _, shape) in zip(rows, rows[1:], steps, strict=False):
        axes.annotate("", (0, below - 0.3), (0, row + 0.3), arrowprops=_ARROW)
        axes.text(0.15, (row + below) / 2, shape, va="center", fontsize=9, family="monospace", color=QUIET)
    for first, last in ((2, 5), (6, 8)):
        _residual(axes, rows[first] - 0.45, rows[last])
    axes.set(xlim=(-4.2, 4.2), ylim=(rows[-1] + 0.4, -0.4), title=title)
    axes.axis("off")
    chain = "; ".join(f"{text} gives {shape}" for text, _, shape in steps[:-1]).replace("\n", ", ")
    layers = f"From the queries on, this is repeated for {config.num_hidden_layers} layers"
    return Picture(
        figure, f"Diagram. {title}: {chain}. {layers}; each add & norm also adds the input of its block."
    )


def _box(axes: Axes, row: float, text: str, color: str) -> None:
    style = BoxStyle("round", pad=0, rounding_size=0.12)
    bounds = ((-2.6, row - 0.3), 5.2, 0.6)
    axes.add_patch(FancyBboxPatch(*bounds, boxstyle=style, facecolor=(color, 0.3), edgecolor=QUIET))
    axes.text(0, row, text, ha="center", va="center", fontsize=9.5)


def _frame(axes: Axes, top: float, bottom: float, text: str) -> None:
    """Draw a gray frame behind the steps that are repeated."""
    style = BoxStyle("round", pad=0, rounding_size=0.2)
    bounds = ((-3.5, top), 7.0, bottom - top)
    axes.add_patch(FancyBboxPatch(*bounds, boxstyle=style, facecolor="#f2f5f8", edgecolor=LINE))
    axes.text(3.75, (top + bottom) / 2, text, rotation=270, ha="center", va="center", fontsize=11)


def _residual(axes: Axes, start: float, end: float) -> None:
    """Draw a residual connection: the input at `start` is added at `end`."""
    axes.plot([0, -3.05, -3.05], [start, start, end], color=QUIET, linewidth=1)
    axes.annotate("", (-2.6, end), (-3.06, end), arrowprops=_ARROW)
