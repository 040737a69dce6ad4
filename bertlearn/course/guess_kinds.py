"""The three kinds of question that a learner answers with a guess: a number, a choice or a curve.

A kind checks what it is given, writes it as text, and compares a guess with the result. It draws nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

POINTS = 9  # of a drawn curve: few enough to set one by one from the keyboard
_SAMPLES = 101  # at which two curves are compared


# How a guess and a result are introduced, by kind.
PHRASES = {
    "number": ("you said", "it is"),
    "choice": ("you said", "it is"),
    "curve": ("you drew a curve", "it goes"),
}


class Verdict(NamedTuple):
    """How a guess compares with the result."""

    hit: bool
    text: str  # "a hit", or by how much the guess is off


@dataclass(frozen=True)
class Number:
    """A question answered by a number.

    Args:
        question: the question, or the name of the number.
        low: the smallest number that may be guessed; None for no limit.
        high: the largest one; None for no limit.
        unit: what follows the number, such as "%" or "ms".
    """

    kind: ClassVar[str] = "number"
    question: str
    low: float | None = None
    high: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        """Refuse a question that cannot be asked."""
        _check_question(self.question)
        for name, limit in (("low", self.low), ("high", self.high)):
            if limit is not None:
                _finite(limit, name)
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low={self.low} and high={self.high}: low has to be below high")

    @property
    def expected(self) -> str:
        """What a guess has to be, in words."""
        low, high = (None if limit is None else number_text(limit) for limit in (self.low, self.high))
        if low and high:
            return f"a number from {low} to {with_unit(high, self.unit)}"
        if low or high:
            return f"a number of at {'least' if low else 'most'} {with_unit(low or high or '', self.unit)}"
        return f"a number, in {self.unit}" if self.unit else "a number"

    def check(self, guess: Any) -> float:
        """Return a guess as a float; raises ValueError if it is no number or outside the limits."""
        value = _finite(guess, "your guess")
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            raise ValueError(f"{number_text(value)} is out of range; expected {self.expected}")
        return value

    def truth(self, truth: Any) -> float:
        """Return a result as a float; raises ValueError if it is no finite number."""
        return _finite(truth, "the result")

    def text(self, value: float, digits: int = 3) -> str:
        """Return a number with its unit."""
        return with_unit(number_text(value, digits), self.unit)

    def describe(self, truth: float) -> str:
        """Return a result as text, for a learner without a guess."""
        return self.text(truth)

    def stored(self, truth: float) -> float:
        """Return a result as JSON can hold it."""
        return truth

    def judge(self, guess: float, truth: float, within: float | None) -> Verdict:
        """Compare; `within` is the largest distance of a hit, a twentieth of the range if None."""
        off = abs(guess - truth)
        hit = off <= self._within(truth, within) * (1 + 1e-9)
        unit = "percentage points" if self.unit == "%" else self.unit
        distance = f"off by {with_unit(number_text(off), unit)}"
        if not hit:
            return Verdict(False, distance)
        return Verdict(True, "a hit" if off == 0 else f"a hit, {distance}")

    def _within(self, truth: float, within: float | None) -> float:
        if within is not None:
            return _tolerance(within)
        if self.low is not None and self.high is not None:
            return 0.05 * (self.high - self.low)
        return 0.1 * abs(truth)


@dataclass(frozen=True)
class Choice:
    """A question answered by one of several texts.

    Args:
        question: the question.
        options: two or more different answers.
    """

    kind: ClassVar[str] = "choice"
    question: str
    options: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a question that cannot be asked."""
        _check_question(self.question)
        texts = [option for option in self.options if isinstance(option, str) and option.strip()]
        if len(texts) < 2 or len(set(texts)) != len(self.options):
            raise ValueError(f"options={self.options!r}: expected two or more different texts")

    @property
    def expected(self) -> str:
        """What a guess has to be, in words."""
        *others, last = (f"“{option}”" for option in self.options)
        return f"{', '.join(others)} or {last}"

    def check(self, guess: Any) -> str:
        """Return a guess; raises ValueError if it is none of the options."""
        return self._option(guess, "your guess")

    def truth(self, truth: Any) -> str:
        """Return a result; raises ValueError if it is none of the options."""
        return self._option(truth, "the result")

    def _option(self, value: Any, what: str) -> str:
        if not isinstance(value, str) or value not in self.options:
            raise ValueError(f"{what} is {_short(value)}; expected {self.expected}")
        return value

    def text(self, value: str) -> str:
        """Return an option in quotation marks."""
        return f"“{value}”"

    def describe(self, truth: str) -> str:
        """Return a result as text, for a learner without a guess."""
        return truth

    def stored(self, truth: str) -> str:
        """Return a result as JSON can hold it."""
        return truth

    def judge(self, guess: str, truth: str, within: float | None) -> Verdict:
        """Compare; raises ValueError if `within` is given."""
        if within is not None:
            raise ValueError(f"within={within}: a choice is right or wrong; leave `within` out")
        return Verdict(guess == truth, "a hit" if guess == truth else "not what you expected")


@dataclass(frozen=True)
class Curve:
    """A question answered by a drawn curve.

    Args:
        question: what the curve shows.
        x: ends of the x axis.
        y: ends of the y axis.
        xlabel: what x is.
        ylabel: what y is, with its unit.
    """

    kind: ClassVar[str] = "curve"
    question: str
    x: tuple[float, float]
    y: tuple[float, float]
    xlabel: str
    ylabel: str

    def __post_init__(self) -> None:
        """Refuse a question that cannot be asked."""
        for text in (self.question, self.xlabel, self.ylabel):
            _check_question(text)
        for name, ends in (("x", self.x), ("y", self.y)):
            low, high = (_finite(end, name) for end in _two(ends, name))
            if not low < high:
                raise ValueError(f"{name}={ends}: the first end has to be below the second")

    @property
    def expected(self) -> str:
        """What a guess has to be, in words."""
        ends = [f"{number_text(low)} to {number_text(high)}" for low, high in (self.x, self.y)]
        return f"a curve of {self.ylabel} ({ends[1]}) over {self.xlabel} ({ends[0]})"

    @property
    def places(self) -> np.ndarray:
        """The x values at which a curve is drawn: floats (POINTS,)."""
        return np.linspace(*self.x, POINTS)

    def check(self, guess: Any) -> list[float]:
        """Return a guess, its heights at `places`; raises ValueError if they are not that many numbers."""
        if not isinstance(guess, list | tuple) or len(guess) != POINTS:
            raise ValueError(f"your guess is {_short(guess)}; expected a list of {POINTS} numbers")
        heights = [_finite(height, "your guess") for height in guess]
        if not all(self.y[0] <= height <= self.y[1] for height in heights):
            raise ValueError(f"your curve leaves its axes; expected {self.expected}")
        return heights

    def truth(self, truth: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return a result as two arrays ordered by x.

        Raises:
            ValueError: it is not two lists of equally many finite numbers, or it hardly overlaps the x axis.
        """
        try:
            xs, ys = (np.asarray(values, dtype=float).ravel() for values in truth)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the result is {_short(truth)}; expected (xs, ys)") from error
        if len(xs) != len(ys) or len(xs) < 2 or not np.isfinite([*xs, *ys]).all():
            raise ValueError(
                f"the result has {len(xs)} xs and {len(ys)} ys; expected equally many finite numbers"
            )
        order = np.argsort(xs, kind="stable")
        xs, ys = xs[order], ys[order]
        if min(xs[-1], self.x[1]) - max(xs[0], self.x[0]) < (self.x[1] - self.x[0]) / POINTS:
            raise ValueError(f"the result's xs are {xs[0]:g} to {xs[-1]:g}; the axis shows {self.x}")
        return xs, ys

    def text(self, value: Any) -> str:
        """Return the ends of a curve: a list of heights at `places`, or a result."""
        _xs, ys = value if isinstance(value, tuple) else (self.places, value)
        return f"from {number_text(ys[0])} to {number_text(ys[-1])}"

    def describe(self, truth: tuple[np.ndarray, np.ndarray]) -> str:
        """Return a result as text, for a learner without a guess."""
        xs, ys = truth
        first, last = (f"{number_text(ys[i])} ({self.xlabel}: {number_text(xs[i])})" for i in (0, -1))
        return f"from {first} to {last}"

    def stored(self, truth: tuple[np.ndarray, np.ndarray]) -> list[float]:
        """Return a result as JSON can hold it: its heights at `places`, the nearest ones outside its xs."""
        return np.interp(self.places, *truth).tolist()

    def judge(
        self, guess: list[float], truth: tuple[np.ndarray, np.ndarray], within: float | None
    ) -> Verdict:
        """Compare the mean distance; `within` is a hit's, as a part of the y axis (a tenth if None)."""
        xs, ys = truth
        across = np.linspace(max(xs[0], self.x[0]), min(xs[-1], self.x[1]), _SAMPLES)
        distance = np.abs(np.interp(across, self.places, guess) - np.interp(across, xs, ys)).mean()
        share = float(distance) / (self.y[1] - self.y[0])
        hit = share <= _tolerance(0.1 if within is None else within)
        off = f"off by {number_text(100 * share, 2)}% of the axis on average"
        return Verdict(hit, f"a hit, {off}" if hit else off)


Question = Number | Choice | Curve


def number_text(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, one more from 1,000 on; never as a power of ten."""
    rounded = float(f"{value:.{digits + (abs(value) >= 1000)}g}")
    if abs(rounded) >= 1000:
        return f"{rounded:,.1f}".removesuffix(".0")
    return np.format_float_positional(rounded, trim="-") if rounded else "0"


def ended(question: str, stop: str) -> str:
    """Return a question with a stop behind it, if it has none."""
    return question if question.rstrip().endswith(("?", ".", "!", ":")) else f"{question}{stop}"


def with_unit(number: str, unit: str) -> str:
    """Return a number's text followed by its unit."""
    return f"{number}{unit}" if unit in ("", "%", "×", "°") else f"{number} {unit}"


def _check_question(text: Any) -> None:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{text!r}: expected a text")


def _finite(value: Any, what: str) -> float:
    """Return a Python, NumPy or torch number as a float."""
    try:
        if isinstance(value, str | bytes | bool | np.bool_):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{what} is {_short(value)}; expected a number") from error
    if not math.isfinite(number):
        raise ValueError(f"{what} is {number}; expected a finite number")
    return number


def _two(ends: Any, name: str) -> tuple[Any, Any]:
    if not isinstance(ends, tuple | list) or len(ends) != 2:
        raise ValueError(f"{name}={_short(ends)}: expected the two ends of the axis")
    return ends[0], ends[1]


def _tolerance(within: Any) -> float:
    value = _finite(within, "within")
    if value < 0:
        raise ValueError(f"within={value}: expected 0 or more")
    return value


def _short(value: Any, limit: int = 60) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
