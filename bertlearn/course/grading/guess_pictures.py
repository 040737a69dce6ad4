"""What a class expected, question by question, with a small picture: dots, bars or curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bertlearn.course.guess_exports import Guess, summed_up
from bertlearn.course.guess_kinds import number_text, with_unit

STEPS = 40  # places across a strip at which dots are stacked
OUTSIDE = 0.05  # share of the guesses on each side that may lie so far off that the strip leaves them out


class Prediction(NamedTuple):
    """The guesses that answer one question."""

    chapter: str
    question: str
    expected: str  # what most said, and what it is, in one or two sentences
    hits: str
    picture: Strip | Bars | Curves


class Strip(NamedTuple):
    """Numbers as stacked dots, and the result as a line."""

    dots: Sequence[tuple[int, int]]  # place from 0 to `STEPS`, and height
    result: float | None  # place
    low: str  # number at the left end
    high: str
    kind: str = "strip"

    @property
    def height(self) -> int:
        """The highest stack of dots."""
        return max(height for _, height in self.dots) + 1


class Bars(NamedTuple):
    """Answers with how often each was chosen, and which is right."""

    options: Sequence[tuple[str, int, bool]]
    kind: str = "bars"


class Curves(NamedTuple):
    """Curves as lines of SVG points in a box of 100 by 40, and the result's, "" without one."""

    lines: Sequence[str]
    result: str
    kind: str = "curves"


def predictions(questions: Iterable[Sequence[Guess]]) -> list[Prediction]:
    """Return each question's guesses with a picture of them."""
    return [Prediction(*summed_up(list(group)), _PICTURES[group[0].kind](group)) for group in questions]


def _results(group: Iterable[Guess]) -> list[Any]:
    """Return the results that the files give: the same in each, but for chance in what a cell computes."""
    return [guess.result for guess in group if guess.result is not None]


def _strip(group: Sequence[Guess]) -> Strip:
    values, results = [float(guess.guess) for guess in group], _results(group)
    result = median(results) if results else None
    low, high = _ends(values, result)
    heights, dots = Counter[int](), []
    for value in values:
        place = round(STEPS * min(max((value - low) / (high - low), 0), 1))
        dots.append((place, heights[place]))
        heights[place] += 1
    at = None if result is None else STEPS * (result - low) / (high - low)
    return Strip(dots, at, *(with_unit(number_text(end), group[0].unit) for end in (low, high)))


def _ends(values: Sequence[float], result: float | None) -> tuple[float, float]:
    """Return the ends of a strip that holds the result and all guesses but the farthest."""
    inner = np.quantile(values, [OUTSIDE, 1 - OUTSIDE], method="closest_observation").tolist()
    ends = [*inner, *([] if result is None else [result])]
    low, high = min(ends), max(ends)
    return (low, high) if low < high else (low - 1, high + 1)


def _bars(group: Sequence[Guess]) -> Bars:
    counts, results = Counter(guess.guess for guess in group), Counter(_results(group))
    right = [name for name, _ in results.most_common(1)]
    return Bars([(name, counts[name], name in right) for name in dict.fromkeys([*counts, *right])])


def _curves(group: Sequence[Guess]) -> Curves:
    results = _results(group)
    heights = np.array([guess.guess for guess in group] + ([np.median(results, axis=0)] if results else []))
    low, high = heights.min(), heights.max()
    scaled = 38 - 36 * (heights - low) / (high - low if high > low else 1)
    across = np.linspace(1, 99, heights.shape[1])
    lines = [" ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, row, strict=True)) for row in scaled]
    return Curves(lines[: len(group)], "".join(lines[len(group) :]))


_PICTURES: dict[str, Any] = {"number": _strip, "choice": _bars, "curve": _curves}
