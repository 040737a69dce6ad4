"""The check of each exercise, by chapter and name: the same for every way to grade."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from typing import Any

from bertlearn.course.built import OTHERS
from bertlearn.course.checks import CHAPTERS
from bertlearn.course.exercise import Exercise, Result


def checks_of(chapter: int) -> dict[str, Callable[[Any], Result]]:
    """Return the check of each of a chapter's exercises, in the order of the chapter.

    Raises:
        ValueError: there is no such chapter.
    """
    if chapter not in CHAPTERS:
        raise ValueError(f"chapter={chapter}: expected one of {', '.join(map(str, CHAPTERS))}")
    module = importlib.import_module(f"bertlearn.course.checks.{CHAPTERS[chapter]}")
    checks: dict[str, Callable[[Any], Result]] = {
        value.name: value for value in vars(module).values() if isinstance(value, Exercise)
    }
    if chapter == 3:  # its last exercise takes up one of chapter 1
        from bertlearn.course.checks import attention

        checks["scaled_dot_product_attention"] = attention.scaled_dot_product_attention
    if "bug_hunt" in OTHERS.get(chapter, {}):
        from bertlearn.course import bug_hunt

        checks["bug_hunt"] = bug_hunt.verdict
    return checks


def check_answer(chapter: int, exercise: str, answer: Any) -> Result:
    """Check an answer, for the cells and tests with which other graders grade.

    What the answer prints on stderr, such as a warning, is dropped: nbgrader would take it for an error.
    """
    with contextlib.redirect_stderr(io.StringIO()):
        return checks_of(chapter)[exercise](answer)
