"""Guesses: the learner writes down what a cell will show, runs it, and sees how close the guess was.

    guess = Guesses(1)                                    # the chapter's number
    guess.number("largest", "Largest weight", 0, 1)       # a field; "largest" names this guess in the chapter
    guess.result("largest", probs.max(), within=0.1)      # the guess and the result side by side
    guess.card()                                          # all guesses of the chapter

Guesses are kept on the learner's disk (`bertlearn.course.progress`). Without a guess every call gives the
same output in every run, so a stored notebook holds no one's guess.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from IPython.display import display

from bertlearn.course import progress
from bertlearn.course.guess_cards import Shown, card, compared, said_and_found
from bertlearn.course.guess_exports import summarize, write_export
from bertlearn.course.guess_kinds import PHRASES, Choice, Curve, Number, Question
from bertlearn.course.widgets.guess_field import GuessField

__all__ = ["Guesses", "summarize"]

NONE_YET = "You have made no guesses in this chapter yet."


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
        self._ask(name, Curve(question, x, y, xlabel, ylabel))

    def commit(self, name: str, guess: Any) -> None:
        """Write down a guess without the field, where widgets do not work.

        Args:
            name: the name of the guess, whose field was shown.
            guess: a number, one of the options, or a list of nine heights from left to right.

        Raises:
            ValueError: there is no such name, the guess answers another question, or the result was shown.
        """
        self._question(name)
        self._fields[name].take(guess)

    def result(self, name: str, truth: Any, within: float | None = None) -> None:
        """Show the result, next to the guess if there is one, which then stays as it is.

        An entry that was never committed counts as the guess.

        Args:
            name: the name of the guess, whose field was shown.
            truth: the number; the right option; or (xs, ys) of the curve.
            within: how far off a hit may be: for a number, the largest distance (a twentieth of the range by
                default); for a curve, the mean distance as a part of the y axis (a tenth by default).

        Raises:
            ValueError: there is no such name, or `truth` does not answer its question.
        """
        question = self._question(name)
        true: Any = question.truth(truth)  # of the kind of the question
        guess, note = self._guess(name), ""
        if guess is None:
            guess, note = self._count_entry(name)
        if guess is None:
            display(Shown(f"Result: {question.describe(true)}{note}"))
            return
        verdict = question.judge(guess, true, within)
        said, found = said_and_found(question, guess, true)
        self._keep(
            name,
            guess,
            result=question.stored(true),
            said=said,
            found=found,
            hit=verdict.hit,
            verdict=verdict.text,
        )
        self._fields[name].lock()
        if note:
            display(Shown(note))
        display(compared(question, guess, true, verdict))

    def card(self) -> None:
        """Show all guesses of the chapter with their results."""
        entries = self._entries()
        display(card(entries) if entries else Shown(NONE_YET))

    def forget(self, name: str | None = None) -> None:
        """Forget one guess, or all of the chapter, so that the learner can guess again."""
        entries = (
            {} if name is None else {key: entry for key, entry in self._entries().items() if key != name}
        )
        progress.save(self.chapter, "guesses", entries)
        for key, field in self._fields.items():
            if name in (None, key):
                field.forget()

    def export(self, path: str | Path) -> None:
        """Write the guesses of the chapter to a JSON file for a class; it does not hold the learner's name.

        Raises:
            OSError: the file cannot be written.
        """
        entries = self._entries()
        if not entries:
            display(Shown(f"{NONE_YET} Nothing was written."))
            return
        write_export(Path(path), self.chapter, entries)
        count = f"{len(entries)} {'guess' if len(entries) == 1 else 'guesses'}"
        display(Shown(f"{count} of chapter {self.chapter} written to {path}, without your name."))

    def _ask(self, name: str, question: Question) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"name={name!r}: expected a text that names this guess")
        self._questions[name] = question
        guess = self._guess(name)
        locked = guess is not None and "result" in self._entries()[name]
        self._fields[name] = GuessField(question, lambda value: self._keep(name, value), guess, locked)
        display(self._fields[name])

    def _guess(self, name: str) -> Any:
        """Return the guess on disk, or None if there is none that answers the question."""
        question, entry = self._questions[name], self._entries().get(name)
        if entry is None or entry["kind"] != question.kind:
            return None
        try:
            return question.check(entry["guess"])
        except ValueError:  # the question has changed since, or the file was edited
            return None

    def _count_entry(self, name: str) -> tuple[Any, str]:
        """Commit what the field holds; return the guess, or None, and what to say about it."""
        field = self._fields[name]
        if field.draft is None:
            return None, ""
        try:
            field.take(field.draft)
        except ValueError as error:
            return None, f" (your entry was not counted: {error})"
        return field.guess, "You did not press Commit, so your last entry counts as your guess."

    def _keep(self, name: str, guess: Any, **found: Any) -> None:
        """Write a guess to the disk, with what is known about its result."""
        question = self._questions[name]
        entry = {
            "kind": question.kind,
            "question": question.question,
            "unit": getattr(question, "unit", ""),
            "guess": guess,
            "said": question.text(guess),
            **found,
        }
        progress.save(self.chapter, "guesses", {**self._entries(), name: entry})

    def _entries(self) -> dict[str, dict[str, Any]]:
        """Return the guesses on disk by name, without those that someone's edit made unreadable."""
        entries = progress.load(self.chapter, "guesses")
        return {name: entry for name, entry in entries.items() if _is_sound(entry)}

    def _question(self, name: str) -> Question:
        if name not in self._questions:
            known = ", ".join(map(repr, self._questions)) or "none"
            raise ValueError(
                f"no guess is named {name!r} (known: {known}); run the cell with its question first"
            )
        return self._questions[name]


_TEXTS = ("kind", "question", "said")
_LATER = {"found": str, "verdict": str, "hit": bool}  # known once the result was shown


def _is_sound(entry: Any) -> bool:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in _TEXTS):
        return False
    if entry["kind"] not in PHRASES:
        return False
    later = _LATER if "result" in entry else {}
    return "guess" in entry and all(isinstance(entry.get(key), kind) for key, kind in later.items())
