"""The tokenizer explorer's picture: wordpieces in boxes above their ids, in a monospaced font."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.font_manager import findfont, get_font

from bertlearn.course.figures import PALETTE, QUIET, Picture, new_figure

WIDTH, LONGEST = 96, 40  # characters in a line, and in a piece
_NARROWEST = 50  # characters: the figure's title needs them
_INCHES = 9.5 / WIDTH  # of a character
LINES = 5  # of pieces, and of the search
_FONT: dict[str, Any] = {"family": "monospace", "fontsize": 9, "va": "center", "parse_math": False}
_PLAIN = {"edgecolor": PALETTE[0], "linewidth": 1.0}
_FRAME = {"edgecolor": QUIET, "linewidth": 1.0, "linestyle": "--"}
_UNKNOWN = {"edgecolor": PALETTE[1], "linewidth": 2.5}


class Cut(NamedTuple):
    """The result of one tokenizer for a text."""

    title: str
    pieces: Sequence[tuple[str, int]]  # with their ids; the first and the last are [CLS] and [SEP]
    search: Sequence[str]  # lines of text


def draw_cuts(cuts: Sequence[Cut], alt: str) -> Picture:
    """Return a picture of one or more results, one below the other; a long text is cut off."""
    width = min(WIDTH, max(_NARROWEST, *map(_length, cuts)))
    figure, axes = new_figure(width * _INCHES)
    bottom = 0.0
    for cut in cuts:
        _write(axes, 0, bottom + 1, cut.title, weight="bold")
        bottom = _draw_pieces(axes, cut.pieces, bottom + 2.8)
        for line in cut.search[-LINES:]:
            _write(axes, 0, bottom, line)
            bottom += 1
        bottom += 0.5
    axes.set(xlim=(0, width), ylim=(bottom, 0))
    axes.axis("off")
    axes.set_title("The text in wordpieces, with their ids")
    figure.set_size_inches(width * _INCHES, 0.24 * bottom)
    return Picture(figure, alt)


def shorten(text: str, limit: int = LONGEST) -> str:
    """Return a text as one line of at most `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _length(cut: Cut) -> int:
    """Return how many characters wide a result is if it is on one line."""
    pieces = sum(_room(piece, number) for piece, number in cut.pieces)
    return max(len(cut.title), pieces + 1, *map(len, cut.search[-LINES:]), 0)


def _room(piece: str, number: int) -> int:
    return max(len(shorten(piece)), len(str(number))) + 2


def _draw_pieces(axes: Axes, pieces: Sequence[tuple[str, int]], top: float) -> float:
    """Draw boxes from the height `top` on, and return the height at which they end."""
    left, line = 1.0, 1
    for index, (piece, number) in enumerate(pieces):
        width = _room(piece, number)
        if left + width > WIDTH:
            left, top, line = 1.0, top + 2.6, line + 1
        if line > LINES:
            _write(axes, left, top, f"… and {len(pieces) - index} more")
            break
        edge = _UNKNOWN if piece == "[UNK]" else _FRAME if index in (0, len(pieces) - 1) else _PLAIN
        _write(axes, left, top, shorten(piece), bbox={"boxstyle": "square", "facecolor": "none", **edge})
        _write(axes, left, top + 1.05, str(number), color=QUIET)
        left += width
    return top + 2.4


def _write(axes: Axes, left: float, top: float, text: str, **style: Any) -> None:
    """Write a text; a character that the font lacks becomes an empty box."""
    font = get_font(findfont("DejaVu Sans Mono"))
    drawn = "".join(character if font.get_char_index(ord(character)) else "▯" for character in text)
    axes.text(left, top, drawn, **_FONT, **style)
