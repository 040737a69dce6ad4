"""Guesses: the learner writes down what a cell will show, runs it, and sees how close the guess was.

    guess = Guesses(1)                                    # the chapter's number
    guess.number("largest", "Largest weight", 0, 1)       # a field; "largest" names this guess in the chapter
    guess.result("largest", probs.max(), within=0.1)      # the guess and the result side by side
    guess.card()                                          # all guesses of the chapter

Guesses are kept on the learner's disk (`bertlearn.course.progress`). Without a guess every call gives the
same output in every run, so a stored notebook holds no one's guess.
"""

from __future__ import annotations

from typing import Any

from IPython.display import display

from bertlearn.course import progress
from bertlearn.course.guess_kinds import Choice, Curve, Number, Question
from bertlearn.course.widgets.guess_field import GuessField

NONE_YET = "You have made no guesses in this chapter yet."


class Shown:
    """Text, with HTML where it says more, as a notebook shows it."""

    def __init__(self, text: str, html: str = "") -> None:
        self.text, self.html = text, html

    def __repr__(self) -> str:
        """Return the text."""
        return self.text

    def _repr_html_(self) -> str | None:
        return self.html or None


class Guesses:
    """The guesses of one chapter."""

    def __init__(self, chapter: int) -> None:
        """Take up the guesses of a chapter, given its number."""
        if isinstance(chapter, bool) or not isinstance(chapter, int) or chapter < 0:
            raise ValueError(f"chapter={chapter!r}: expected the chapter's number")
        self.chapter = chapter
        self._questions: dict[str, Question] = {}
        self._fields: dict[str, GuessField] = {}

    def number(
        self,
        name: str,
        question: str,
        low: float | None = None,
        high: float | None = None,
        unit: str = "",
    ) -> None:
        """Show a field for a number.

        Args:
            name: names this guess; unique in the chapter.
            question: the question, or the name of the number.
            low: the smallest number that may be guessed, if there is one.
            high: the largest number that may be guessed, if there is one.
            unit: what follows the number, such as "%" or "ms".

        Raises:
            ValueError: an argument cannot be used; the message says why.
        """
        self._ask(name, Number(question, low, high, unit))

    def choice(self, name: str, question: str, *options: str) -> None:
        """Show a field for one of two or more `options`; see `number`."""
        self._ask(name, Choice(question, options))

    def curve(
        self,
        name: str,
        question: str,
        x: tuple[float, float],
        y: tuple[float, float],
        xlabel: str,
        ylabel: str,
    ) -> None:
        """Show axes in which a curve can be drawn.

        Args:
            name: names this guess; unique in the chapter.
            question: what the curve shows.
            x: ends of the x axis.
            y: ends of the y axis.
            xlabel: what x is.
            ylabel: what y is, with its unit.

        Raises:
            ValueError: an argument cannot be used; the message says why.
        """
        self._ask(name, Curve(question, tuple(x), tuple(y), xlabel, ylabel))

    def commit(self, name: str, guess: Any) -> None:
        """Write down a guess without the field, where widgets do not work.

        Args:
            name: the name of the guess, whose field was shown.
            guess: a number, one of the options, or a list of nine heights from left to right.

        Raises:
            ValueError: there is no such name, the guess does not answer the question, or the result was shown.
        """
        self._question(name)
        self._fields[name].take(guess)

    def result(self, name: str, truth: Any, within: float | None = None) -> None:
        """Show the result, next to the guess if there is one, which then stays as it is.

        Args:
            name: the name of the guess, whose field was shown.
            truth: the number; the right option; or (xs, ys) of the curve.
            within: how far off a hit may be: for a number, the largest distance (a twentieth of the range by
                default); for a curve, the mean distance as a part of the y axis (a tenth by default).

        Raises:
            ValueError: there is no such name, or `truth` does not answer its question.
        """
        question = self._question(name)
        true = question.truth(truth)
        entry = self._entries().get(name)
        if entry is None:
            display(Shown(f"Result: {question.describe(true)}"))
            return
        hit, verdict = question.judge(entry["guess"], true, within)
        said, found = question.text(entry["guess"]), question.text(true)
        display(Shown(f"You said {said}, it is {found}: {verdict}"))

    def card(self) -> None:
        """Show all guesses of the chapter with their results."""
        if not self._entries():
            display(Shown(NONE_YET))

    def _ask(self, name: str, question: Question) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"name={name!r}: expected a text that names this guess")
        self._questions[name] = question
        self._fields[name] = GuessField(question, lambda value: self._keep(name, value))
        display(self._fields[name])

    def _keep(self, name: str, value: Any) -> None:
        entry = {"kind": self._questions[name].kind, "question": self._questions[name].question, "guess": value}
        progress.save(self.chapter, "guesses", {**self._entries(), name: entry})

    def _entries(self) -> dict[str, Any]:
        return progress.load(self.chapter, "guesses")

    def _question(self, name: str) -> Question:
        if name not in self._questions:
            known = ", ".join(map(repr, self._questions)) or "none"
            raise ValueError(
                f"no guess is named {name!r} (known: {known}); run the cell with its question first"
            )
        return self._questions[name]

