"""The field in which a learner writes down a guess before running the cell that shows the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import traitlets
from IPython.display import publish_display_data

from bertlearn.course.guess_kinds import POINTS, Question, ended
from bertlearn.course.widgets.base import _STILL, AskedWidget, _escaped

_CARD = (
    '<div style="border:1px solid rgba(127,127,127,.4);border-radius:6px;padding:10px 14px;max-width:44em">'
    '<p style="margin:0;font-weight:600">Your guess</p><p style="margin:4px 0">%s</p>'
    '<p style="margin:0"><em>Run this cell to answer with %s.</em></p></div>'
)


class GuessField(AskedWidget):
    """A field for one guess, by mouse, pen or keyboard; it can be changed until `locked`.

    The output that a notebook keeps is the question alone, so a stored notebook never holds a guess.
    """

    files = "guess_field"

    kind = traitlets.Unicode().tag(sync=True)  # "number", "choice" or "curve"
    question = traitlets.Unicode().tag(sync=True)
    expected = traitlets.Unicode().tag(sync=True)  # what a guess has to be, in words
    form = traitlets.Dict().tag(sync=True)  # limits, options or axes: the fields of a `Question`
    guess: Any = traitlets.Any(None, allow_none=True).tag(sync=True)  # a number, a text, a list, or None
    draft: Any = traitlets.Any(None, allow_none=True).tag(sync=True)  # entered, whether committed or not
    locked = traitlets.Bool(False).tag(sync=True)  # the result was shown

    def __init__(
        self, question: Question, commit: Callable[[Any], None], guess: Any = None, locked: bool = False
    ) -> None:
        """Make a field.

        Args:
            question: what is asked.
            commit: called with each new guess.
            guess: what was guessed before, or None.
            locked: whether the result was shown, so the guess stays as it is.
        """
        self._question, self._commit = question, commit
        super().__init__(
            kind=question.kind,
            question=question.question,
            expected=question.expected,
            form={**dataclasses.asdict(question), "points": POINTS},
            guess=guess,
            locked=locked,
            description=f"Your guess: {question.question}",
        )

    def __repr__(self) -> str:
        """Return the question, the same text with and without a guess."""
        return f"Your guess. {ended(self.question, '.')} Run this cell to answer with {self.expected}."

    def _publish_still(self, update: bool = False) -> None:
        card = _CARD % (_escaped(self.question), _escaped(self.expected))
        data = {"text/plain": repr(self), "text/html": _STILL % card}
        publish_display_data(data, transient={"display_id": self.model_id}, update=update)

    def _take(self, values: dict[str, Any]) -> str:
        """Keep a guess from the page; return what is wrong with it, or ""."""
        try:
            self.take(values.get("guess"))
        except ValueError as error:
            return str(error)
        return ""

    def take(self, guess: Any) -> None:
        """Show and commit a guess.

        Raises:
            ValueError: it does not answer the question, or the result was shown.
        """
        if self.locked:
            raise ValueError("the result was shown, so your guess stays as it is")
        self.guess = self.draft = self._question.check(guess)
        self._commit(self.guess)

    def lock(self) -> None:
        """Keep the guess as it is from now on, since the result is shown."""
        self.draft, self.locked = self.guess, True

    def forget(self) -> None:
        """Return to an empty field that can be answered."""
        self.locked, self.guess, self.draft = False, None, None
