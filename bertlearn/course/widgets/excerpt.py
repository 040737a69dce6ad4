"""Short excerpts of a long text, around the words that made it match a query."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from bertlearn.course.searching import Part

SIDE = 46  # characters on each side of a word
WINDOWS = 2  # of a text
BEGINNING = 160  # characters, if nothing in the text matched
LONGEST = 60  # characters of one word
LEVELS = 3  # of strength


class Segment(NamedTuple):
    """A run of characters of an excerpt."""

    text: str
    level: int  # 0: did not match; 1 to 3: how strong its share is, compared with the text's largest
    share: float  # of the score


def excerpt(text: str, parts: Sequence[Part]) -> list[Segment]:
    """Return the places around the strongest parts of a text, in its order, with … where text is left out.

    Args:
        text: a document.
        parts: of its `Match`; those without a place, and those that made it match less, are not shown.
    """
    placed = [part for part in parts if part.start is not None and part.share > 0]
    windows = _windows(text, placed) or [(0, _back(text, BEGINNING))]
    segments: list[Segment] = []
    end = 0
    for start, stop in windows:
        if start > end:
            segments.append(Segment(" … " if end else "…\u00a0", 0, 0.0))
        segments += _marked(text, start, stop, placed)
        end = stop
    return [*segments, Segment("\u00a0…", 0, 0.0)] if end < len(text) else segments


def level(share: float, largest: float) -> int:
    """Return how strong a share is, 1 to 3, compared with the largest one."""
    return min(LEVELS, 1 + int(LEVELS * share / largest))


def _windows(text: str, placed: Sequence[Part]) -> list[tuple[int, int]]:
    """Return each stretch to show: around the strongest part, then around the next one outside of it."""
    windows: list[tuple[int, int]] = []
    for part in placed:
        start, end = _span(part)
        if len(windows) < WINDOWS and not any(low <= start and end <= high for low, high in windows):
            windows.append((_forth(text, start - SIDE, start), _back(text, end + SIDE, end)))
    joined: list[tuple[int, int]] = []
    for low, high in sorted(windows):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], high)
        else:
            joined.append((low, high))
    return joined


def _forth(text: str, at: int, most: int) -> int:
    """Return where the first whole word begins from a position on."""
    if at <= 0:
        return 0
    blank = text.find(" ", at - 1, most)
    return at if blank < 0 else blank + 1


def _back(text: str, at: int, least: int = 0) -> int:
    """Return where the last whole word ends before a position."""
    if at >= len(text):
        return len(text)
    blank = text.rfind(" ", least, at + 1)
    return at if blank < 0 else blank


def _marked(text: str, start: int, stop: int, placed: Sequence[Part]) -> list[Segment]:
    """Return a stretch of a text, cut where a part begins and ends."""
    segments: list[Segment] = []
    for part in sorted(placed, key=_span):
        low, high = _span(part)
        if start <= low and high <= stop:
            segments += [
                Segment(_plain(text[start:low]), 0, 0.0),
                Segment(_short(text[low:high]), level(part.share, placed[0].share), round(part.share, 4)),
            ]
            start = high
    segments.append(Segment(_plain(text[start:stop]), 0, 0.0))
    return [segment for segment in segments if segment.text]


def _span(part: Part) -> tuple[int, int]:
    return part.start or 0, part.end or 0


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _short(word: str) -> str:
    word = _plain(word)
    return word if len(word) <= LONGEST else word[: LONGEST - 1] + "…"
