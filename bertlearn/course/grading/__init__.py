"""Grading a class's notebooks: `bertlearn course grade`, and what a teacher does afterwards.

`submission` finds the answers in a notebook, by the exercises' names; `worker` checks them in a process of
its own; `grades` does that for many notebooks and keeps the results in a table. A submission is foreign
code: `worker` says what its process does not protect from. `twins` compares the answers of a class.

`feedback` writes a page for each student, `report` one of the whole class; both look up what a mistake means
in `known`, and `pages` has their templates.
"""

from bertlearn.course.grading.feedback import write_feedback
from bertlearn.course.grading.grades import Row, find_notebooks, grade, read_rows, summary
from bertlearn.course.grading.report import write_report

__all__ = ["Row", "find_notebooks", "grade", "read_rows", "summary", "write_feedback", "write_report"]
