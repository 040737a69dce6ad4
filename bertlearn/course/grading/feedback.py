"""A page for each student: what became of each exercise, and the question that leads further."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from bertlearn.course.exercise import RAISED, TOO_LONG, WRONG
from bertlearn.course.grading import known, stops
from bertlearn.course.grading.grades import Row, write_table
from bertlearn.course.grading.pages import write_page
from bertlearn.course.grading.submission import REFERS, SYNTAX
from bertlearn.course.grading.worker import why_missing

INDEX = "index.csv"
REMEDIES = {  # what helps, by the kind of a reason
    TOO_LONG: "Does a loop in it ever end? Does it wait for something, as input() and sleep() do?",
    stops.ENDED: "Does it call os._exit, call itself without end, or make a tensor that is too large?",
    RAISED: "Call your function on that input yourself: Python then shows the line and how it came there.",
    WRONG: "The check below your answer shows the smallest input that fails, with the result expected.",
}


class Item(NamedTuple):
    """What a student reads about one exercise."""

    exercise: str
    score: int
    points: int
    kind: str  # "right", "wrong" or "open"
    said: Sequence[str]
    line: str = ""  # of the student's own code
    questions: Sequence[str] = ()
    hint: str = ""

    @property
    def mark(self) -> str:
        """The kind as one character."""
        return {"right": "✓", "wrong": "✗", "open": "–"}[self.kind]


class Part(NamedTuple):
    """What a student reads about one notebook."""

    title: str
    file: str
    problem: str  # why it could not be graded, "" if it was
    remedy: str  # what the student can do about that
    items: Sequence[Item]

    @property
    def score(self) -> int:
        """The points that the notebook got."""
        return sum(item.score for item in self.items)

    @property
    def points(self) -> int:
        """The points that it could get."""
        return sum(item.points for item in self.items)


def write_feedback(rows: Iterable[Row], to: Path) -> list[Path]:
    """Write a page for each student into a folder, and return the pages' paths.

    Beside the pages, `index.csv` says which page is whose.

    Args:
        rows: the table of grades. Twins are not shown: they are a question for the teacher alone.
        to: the folder; pages of these students and the index are replaced, nothing else in it changes.
    """
    students: dict[str, list[Row]] = {}
    for row in rows:
        students.setdefault(row.student, []).append(row)
    paths = {student: to / page_name(student) for student in students}
    for student, path in paths.items():
        ordered = sorted(students[student], key=lambda row: (row.chapter or 0, row.file))
        parts = [_part(list(group)) for _, group in groupby(ordered, lambda row: (row.chapter, row.file))]
        write_page(path, "feedback.html", title=f"Feedback for {student}", student=student, parts=parts)
    index = [(student, path.name) for student, path in paths.items()]
    write_table(to / INDEX, ("student", "page"), index)
    return list(paths.values())


def page_name(student: str) -> str:
    """Return a file name for a student that every system takes, different for every two students."""
    letters = [letter if letter.isalnum() else "-" for letter in unicodedata.normalize("NFC", student)]
    readable = "".join(letters)[:40].strip("-")
    return f"{readable or 'student'}-{hashlib.sha256(student.encode()).hexdigest()[:8]}.html"


def _part(rows: Sequence[Row]) -> Part:
    first = rows[0]
    problem = "" if first.exercise else first.flag
    items = [_item(row) for row in rows if row.exercise]
    return Part(known.title_of(first.chapter), first.file, problem, stops.remedy(problem).student, items)


def _item(row: Row) -> Item:
    about = row.chapter, row.exercise
    begin = (row.exercise, row.score, row.points)
    if row.flag:
        return _flagged(row)
    if not row.attempted:
        return Item(*begin, "open", ["You have not attempted this exercise."], hint=known.hint_of(*about))
    if row.score:
        return Item(*begin, "right", [text for text in ("Right.", known.why_of(*about)) if text])
    mistakes = known.mistakes_in(*about, row.mistake)
    if mistakes:
        names = " and ".join(f"“{name}”" for name in mistakes)
        said = f"This looks like {'two mistakes at once: ' if len(mistakes) > 1 else ''}{names}."
        return Item(*begin, "wrong", [said], "", [known.question_of(*about, name) for name in mistakes])
    reason = row.reason or WRONG
    texts = f"Not right yet. Your answer {_sentence(reason)}", REMEDIES.get(reason.partition(": ")[0], "")
    return Item(*begin, "wrong", [text for text in texts if text], hint=known.hint_of(*about))


_MISSING = {
    "": "Your notebook has no function of your own named {}. Was it renamed or deleted?",
    SYNTAX: "Python cannot read the cell with your {}: there is a syntax error in or before the line below.",
    REFERS: (
        "Your notebook has no function of your own named {}. The line below takes the name from the course "
        "instead of defining it."
    ),
}


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "…")) else f"{text}."


def _flagged(row: Row) -> Item:
    """Return what to say about a flag, as something that the student can answer."""
    begin = (row.exercise, row.score, row.points)
    if not row.attempted:
        kind, line = why_missing(row.flag)
        return Item(*begin, "open", [_MISSING[kind].format(row.exercise)], line)
    line = row.flag.removeprefix(f"{REFERS}: ")
    said = (
        "This answer uses the course's own code, or a way to reach it, in the line below. So it does not "
        "count as your own yet. If the line does something else, tell your teacher what it is for. "
        "Otherwise, write the function again without it."
    )
    return Item(*begin, "wrong", [said], line)
