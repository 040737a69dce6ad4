"""Building blocks of the course's drawings: a card with text, boxes, vectors and arrows, as SVG.

The files are shown by Markdown image links. So a drawing brings its own background, which works on light and
dark pages, and it needs no script, no web font and no other file.
"""

from __future__ import annotations

import math
from html import escape

from bertlearn.course.figures import PALETTE

BLUE, ORANGE, GREEN, PINK, AMBER, SKY = PALETTE[:6]
INK, MUTED, LINE, CARD = "#1c2733", "#55606c", "#c3cad1", "#fcfcfa"
WIDTH = 760  # pixels at which the drawings are meant to be seen
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', Consolas, 'DejaVu Sans Mono', monospace"
SMALLEST = 13  # pixels; smaller type cannot be read beside the text of a notebook


def tint(color: str, share: float = 0.16) -> str:
    """Return a color mixed with white; `share` is how much of the color is left."""
    parts = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - share * (255 - part)):02x}" for part in parts)


class Drawing:
    """A drawing under construction; each method adds one element, in pixels from the top left corner."""

    def __init__(self, title: str, description: str, height: int) -> None:
        self.title, self.description, self.height = title, description, height
        self._elements: list[str] = []

    def svg(self) -> str:
        """Return the whole file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" '
            f'height="{self.height}" role="img" font-family="{FONT}">'
        )
        card = (
            f'<rect x="1" y="1" width="{WIDTH - 2}" height="{self.height - 2}" rx="14" fill="{CARD}" '
            f'stroke="{LINE}"/>'
        )
        texts = f"<title>{escape(self.title)}</title>\n<desc>{escape(self.description)}</desc>"
        return "\n".join([head, texts, card, *self._elements, "</svg>"]) + "\n"

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: int = 15,
        color: str = INK,
        anchor: str = "middle",
        bold: bool = False,
        mono: bool = False,
        italic: bool = False,
    ) -> None:
        """Write a line of text whose baseline is at y; `anchor` is "start", "middle" or "end"."""
        style = f' font-family="{MONO}"' if mono else ""
        style += ' font-weight="600"' if bold else ""
        style += ' font-style="italic"' if italic else ""
        self._elements.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{size}" fill="{color}" text-anchor="{anchor}"{style}>'
            f"{escape(text)}</text>"
        )

    def heading(self, text: str) -> None:
        """Write what the drawing shows, at its top."""
        self.text(28, 38, text, size=18, anchor="start", bold=True)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        label: str = "",
        *,
        color: str = BLUE,
        fill: str | None = None,
        size: int = 15,
        bold: bool = False,
        mono: bool = False,
        dashed: bool = False,
        radius: float = 7,
    ) -> None:
        """Draw a rounded box with a label in its middle; it is filled with a tint of its color."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._elements.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="{_n(radius)}" '
            f'fill="{fill or tint(color)}" stroke="{color}" stroke-width="1.4"{dash}/>'
        )
        if label:
            middle = y + height / 2 + 0.35 * size
            self.text(x + width / 2, middle, label, size=size, bold=bold, mono=mono)

    def circle(self, x: float, y: float, radius: float, label: str = "", *, color: str = INK) -> None:
        """Draw a circle around (x, y), such as a plus sign in a ring."""
        self._elements.append(
            f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" fill="#ffffff" stroke="{color}" '
            'stroke-width="1.6"/>'
        )
        if label:
            self.text(x, y + 6, label, size=18, color=color, bold=True)

    def vector(
        self,
        x: float,
        y: float,
        shades: str,
        *,
        color: str = BLUE,
        width: float = 16,
        height: float = 22,
        upright: bool = False,
    ) -> None:
        """Draw a vector as a row (or column) of cells; each digit of `shades`, 0 to 9, shades one cell."""
        for i, shade in enumerate(shades):
            left, top = (x, y + i * height) if upright else (x + i * width, y)
            self._elements.append(
                f'<rect x="{_n(left)}" y="{_n(top)}" width="{_n(width)}" height="{_n(height)}" '
                f'fill="{tint(color, 0.08 + int(shade) / 10)}" stroke="#ffffff" stroke-width="1.5"/>'
            )

    def line(
        self, *points: tuple[float, float], color: str = MUTED, width: float = 1.8, dashed: bool = False
    ) -> None:
        """Draw straight lines from point to point."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self._elements.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{_n(width)}" '
            f'stroke-linejoin="round"{dash}/>'
        )

    def arrow(
        self, *points: tuple[float, float], color: str = MUTED, width: float = 1.8, dashed: bool = False
    ) -> None:
        """Draw lines from point to point, the last one ending in an arrowhead."""
        (x1, y1), (x2, y2) = points[-2:]
        length = math.hypot(x2 - x1, y2 - y1)
        along, size = ((x2 - x1) / length, (y2 - y1) / length), 5 + 1.6 * width
        base = (x2 - along[0] * size, y2 - along[1] * size)
        side = (-along[1] * size * 0.5, along[0] * size * 0.5)
        self.line(*points[:-1], base, color=color, width=width, dashed=dashed)
        corners = [(x2, y2), (base[0] + side[0], base[1] + side[1]), (base[0] - side[0], base[1] - side[1])]
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in corners)
        self._elements.append(f'<polygon points="{path}" fill="{color}"/>')


def _n(value: float) -> str:
    """Return a coordinate with at most one decimal, so that files are small and the same everywhere."""
    return f"{value:.1f}".removesuffix(".0")
