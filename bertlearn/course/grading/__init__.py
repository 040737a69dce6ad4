"""Grading a class's notebooks: `bertlearn course grade`.

`submission` finds the answers in a notebook, by the exercises' names; `worker` checks them in a process of
its own; `grades` does that for many notebooks and keeps the results in a table. A submission is foreign
code: `worker` says what its process does not protect from.
"""

from bertlearn.course.grading.grades import Row, find_notebooks, grade, summary

__all__ = ["Row", "find_notebooks", "grade", "summary"]
