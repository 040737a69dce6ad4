"""What the course knows about an exercise: its mistakes and their questions, a hint, why it is right.

The table of grades names a mistake; its question and all else are looked up here. So of the texts that a
submission made, a page shows only the names of students and files, the quoted line of a flag, and the reason
of a wrong answer. The report to show the class has none of them.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations

from bertlearn.course.built import OTHERS
from bertlearn.course.checks import CHAPTERS
from bertlearn.course.exercise import Exercise, Wrong
from bertlearn.course.grading.checks import checks_of


def title_of(chapter: int | None) -> str:
    """Return a chapter's number and name."""
    return (
        f"Chapter {chapter}: {CHAPTERS[chapter]}" if chapter in CHAPTERS else "Not a chapter of this course"
    )


def mistakes_in(chapter: int | None, exercise: str, cell: str) -> list[str]:
    """Return the known mistakes that a cell of the table names: none, one, or two joined by "and"."""
    wrong = _wrong(chapter, exercise)
    if cell in wrong:
        return [cell]
    pairs = (pair for pair in permutations(wrong, 2) if " and ".join(pair) == cell)
    return list(next(pairs, ()))


def question_of(chapter: int | None, exercise: str, mistake: str) -> str:
    """Return the question that leads from a mistake to the answer, "" if the mistake is not known."""
    wrong = _wrong(chapter, exercise)
    return wrong[mistake].question if mistake in wrong else ""


def hint_of(chapter: int | None, exercise: str) -> str:
    """Return the first hint of an exercise, "" if it has none."""
    check = _check(chapter, exercise)
    return check.hints[0] if check is not None and check.hints else ""


def why_of(chapter: int | None, exercise: str) -> str:
    """Return what a right answer shows, in one sentence, "" if that is not known."""
    check = _check(chapter, exercise)
    return check.why if check is not None else OTHERS.get(chapter or 0, {}).get(exercise, "")


def _wrong(chapter: int | None, exercise: str) -> dict[str, Wrong]:
    check = _check(chapter, exercise)
    return dict(check.wrong) if check is not None else {}


@cache
def _check(chapter: int | None, exercise: str) -> Exercise | None:
    """Return the check of an exercise; a table may come from a version of the course that had others."""
    check = checks_of(chapter).get(exercise) if chapter in CHAPTERS else None
    return check if isinstance(check, Exercise) else None
