"""Releasing chapters to a class, grading what comes back, and what a teacher does afterwards.

`build` makes the notebooks of a class from the course's own, in three formats; `release` says what was given
out. `submission` finds the answers in a notebook, by the exercises' names; `worker` checks them in a process
of its own; `grades` does that for many notebooks and keeps the results in a table. A submission is foreign
code: `worker` says what its process does not protect from. `twins` compares the answers of a class.

`feedback` writes a page for each student, `report` one of the whole class, `totals` a table with a row for
each student. The pages look up what a mistake means in `known`, and what to do about a notebook that could
not be graded in `stops`; `pages` has their templates. None is imported here: each submission's process would
load what draws their pictures.
"""

from bertlearn.course.grading.checks import check_answer
from bertlearn.course.grading.grades import Row, grade, read_rows, summary
from bertlearn.course.grading.release import Release, ReleasedChapter, read_release

__all__ = [
    "Release",
    "ReleasedChapter",
    "Row",
    "check_answer",
    "grade",
    "read_release",
    "read_rows",
    "summary",
]
