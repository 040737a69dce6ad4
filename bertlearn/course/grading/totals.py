"""A table with one row for each student: the points by chapter, their sum, and what is to be looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bertlearn.course.grading.grades import NOT_COMPARED, Row, best_rows, write_table


def write_totals(rows: Sequence[Row], to: Path) -> int:
    """Write the table, and return how many students it has.

    A chapter that a student handed in nothing for is empty. If a student handed in several notebooks of a
    chapter, the best answer to each exercise counts, as in the report.

    Args:
        rows: the table of grades.
        to: the CSV file to write.

    Raises:
        ValueError: the table of grades has no row.
    """
    if not rows:
        raise ValueError("the table has no row; grade the submissions first")
    chapters = sorted({row.chapter for row in rows if row.chapter is not None})
    students = dict.fromkeys(row.student for row in rows)
    columns = ["student", *(f"chapter {number}" for number in chapters), "total", "of", "look at"]
    most = sum(_possible(rows, number) for number in chapters)
    mine = ([row for row in rows if row.student == student] for student in students)
    write_table(to, columns, [_totals(each, chapters, most) for each in mine])
    return len(students)


def _totals(rows: Sequence[Row], chapters: Iterable[int], most: int) -> list[str | int | None]:
    """Return the row of one student."""
    best = best_rows(rows)
    points = [_points(best, number) for number in chapters]
    total = sum(each or 0 for each in points)
    return [rows[0].student, *points, total, most, "; ".join(_questions(rows))]


def _possible(rows: Iterable[Row], chapter: int) -> int:
    """Return the points of a whole chapter: those of the rows of any of its notebooks."""
    files = Counter[str]()
    for row in rows:
        files[row.file] += row.points * (row.chapter == chapter)
    return max(files.values())


def _points(rows: Sequence[Row], chapter: int) -> int | None:
    scores = [row.score for row in rows if row.chapter == chapter]
    return sum(scores) if scores else None


def _questions(rows: Iterable[Row]) -> list[str]:
    """Return what a teacher looks at before the points count."""
    found = []
    for row in rows:
        if not row.exercise:
            found.append(f"not graded: {row.file}")
        elif row.flag:
            found.append(f"{row.exercise}: {'flagged' if row.attempted else 'no own function'}")
        elif row.twins not in ("", NOT_COMPARED):
            found.append(f"{row.exercise}: alike")
    return list(dict.fromkeys(found))
