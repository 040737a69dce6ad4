"""What the learner has built so far: the exercises that were solved, as a card at the end of each chapter.

An exercise counts as solved from its first ✓ on, and stays so. With nothing solved the card is one fixed
sentence, so that a notebook stored with untouched exercises never shows anybody's progress.
"""

from __future__ import annotations

import html
import importlib
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from bertlearn.course import progress
from bertlearn.course.checks import CHAPTERS

if TYPE_CHECKING:
    from bertlearn.course.exercise import Exercise

OTHERS = {  # what is checked by other means than an `Exercise`: its name, and what solving it shows
    3: {"all of it": "MiniLM ran on the attention, sums, norms and GELU that you wrote."},
    4: {"bug_hunt": "You found four bugs that no error message reports."},
}


@dataclass(frozen=True)
class Card:
    """A chapter's exercises, and which of them the learner has solved; shown as text and as HTML."""

    chapter: int
    exercises: dict[str, str]  # name: what solving it shows, in one sentence
    solved: frozenset[str]

    @property
    def title(self) -> str:
        """The first line."""
        if not self.solved:
            return f"Chapter {self.chapter}: what you have built"
        count, total = len(self.solved), len(self.exercises)
        done = "all of it" if count == total else f"{count} of {total}"
        return f"Chapter {self.chapter}: what you have built, {done}"

    def __repr__(self) -> str:
        """Return the card as lines of text."""
        return "\n  ".join(
            [self.title, *(f"{mark} {name}  {why}".rstrip() for mark, name, why in self._rows())]
        )

    def _repr_html_(self) -> str:
        """Return the card as HTML that follows the page's own colors."""
        rows = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{html.escape(x)}</td>' for x in row) + "</tr>"
            for row in self._rows()
        )
        style = "border:1px solid #8888;border-radius:8px;padding:8px 14px;max-width:60em"
        return f'<div style="{style}"><strong>{html.escape(self.title)}</strong><table>{rows}</table></div>'

    def _rows(self) -> list[tuple[str, str, str]]:
        if not self.solved:
            return [("–", "nothing yet:", "an exercise appears here once its check says ✓")]
        return [
            ("✓", name, why) if name in self.solved else ("–", name, "")
            for name, why in self.exercises.items()
        ]


def built(chapter: int) -> Card:
    """Return a card of what the learner has built in a chapter.

    Raises:
        ValueError: the course has no checks for that chapter.
    """
    exercises = _exercises(chapter)
    solved = frozenset(progress.load(chapter, "exercises")) & exercises.keys()
    return Card(chapter, exercises, frozenset(solved))


def chapter_of(exercise: Exercise) -> int | None:
    """Return the chapter whose checks have this exercise, None if it is none of the course's."""
    module = exercise.solution.__module__.rpartition(".")[2]
    chapter = next((number for number, name in CHAPTERS.items() if name == module), None)
    return chapter if chapter is not None and exercise.name in _exercises(chapter) else None


def note(chapter: int, name: str) -> str:
    """Note that an exercise is solved, and return how many of the chapter's exercises are."""
    entries = progress.load(chapter, "exercises")
    if name not in entries:
        progress.save(chapter, "exercises", {**entries, name: date.today().isoformat()})
    card = built(chapter)
    total = len(card.exercises)
    if total == 1:
        return ""
    if len(card.solved) == total:
        return f"That makes all {total} exercises of this chapter."
    return f"{len(card.solved)} of {total} exercises of this chapter"


def _exercises(chapter: int) -> dict[str, str]:
    if chapter not in CHAPTERS:
        raise ValueError(f"chapter={chapter!r} has no exercises; choose one of {sorted(CHAPTERS)}")
    from bertlearn.course.exercise import Exercise  # which imports this module

    module = importlib.import_module(f"bertlearn.course.checks.{CHAPTERS[chapter]}")
    found = {value.name: value.why for value in vars(module).values() if isinstance(value, Exercise)}
    return {**found, **OTHERS.get(chapter, {})}
