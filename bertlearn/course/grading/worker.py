"""Checks the answers of one submission, in a process of its own: `python -m bertlearn.course.grading.worker`.

The process gets limits on memory and time, an empty folder to work in, and no standard input or output. It
runs foreign code with the rights of whoever started it. That code can read what they can read, write what
they can write, reach the network, and, if its author knows this file, write grades of its own: the flags
come from a look at its text, which a determined author can evade. Grade in a container without network, or
as a user who owns nothing, and look at answers that surprise you.
"""

from __future__ import annotations

import ast
import contextlib
import json
import linecache
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bertlearn.course.exercise import Result
from bertlearn.course.grading.checks import checks_of
from bertlearn.course.grading.submission import (
    REFERS,
    SYNTAX,
    Submission,
    SubmissionError,
    needed_statements,
    read_submission,
)

NO_FUNCTION = "no own function"
WAITED = 75  # exit status of a process that ends because an answer takes too long


def why_missing(flag: str) -> tuple[str, str]:
    """Return the kind of a flag that begins with `NO_FUNCTION`, and its line; both are "" if it has none."""
    kind, _, line = flag.removeprefix(NO_FUNCTION).removeprefix(": ").partition(": ")
    return (kind, line) if kind in (REFERS, SYNTAX) else ("", "")


@dataclass(frozen=True)
class Grade:
    """What became of one exercise."""

    exercise: str
    right: bool
    attempted: bool
    mistake: str = ""  # known mistakes that the answer makes
    reason: str = ""  # if it makes none: why it is wrong
    flag: str = ""  # why it does not count, whatever the check says, with the line quoted


def grade_submission(
    path: Path, chapter: int, skip: Collection[str] = (), begin: Callable[[str], None] = lambda exercise: None
) -> Iterator[Grade]:
    """Yield what became of each exercise of a chapter in one notebook; runs the answers.

    Args:
        path: the notebook.
        chapter: its number.
        skip: exercises that are not checked.
        begin: called with each exercise before its check.

    Raises:
        SubmissionError: the file cannot be read as a notebook.
    """
    checks = checks_of(chapter)
    submission = read_submission(path, checks)
    functions = _functions(submission)
    for name, check in checks.items():
        if name not in skip:
            begin(name)
            yield _grade(name, check, submission, functions.get(name))


def _functions(submission: Submission) -> dict[str, Any]:
    """Run the submission's definitions, each on its own, so that one that fails spoils no other."""
    space: dict[str, Any] = {"__name__": "submission"}
    chosen = {id(node): name for name, node in submission.answers.items()}
    later = [node for node in submission.statements if id(node) in chosen]  # after stubs of the same name
    needed = needed_statements(submission)
    for node in [*(node for node in submission.statements if id(node) in needed), *later]:
        file = _with_lines(node, submission.texts.get(chosen.get(id(node), ""), ""))
        with contextlib.suppress(Exception):
            exec(compile(ast.Module([node], []), file, "exec"), space)
    return space


def _with_lines(node: ast.stmt, text: str) -> str:
    """Return a name of a file for a statement, under which a check finds the lines of its text."""
    file = f"<submission {id(node)}>"
    linecache.cache[file] = (len(text), None, [*["\n"] * (node.lineno - 1), *text.splitlines(True)], file)
    return file


def _grade(name: str, check: Callable[[Any], Result], submission: Submission, function: Any) -> Grade:
    flag = submission.flags.get(name)
    if name not in submission.answers or not callable(function):
        said = f": {flag.kind}: {flag.line}" if flag else ""
        return Grade(name, False, False, flag=f"{NO_FUNCTION}{said}")
    result = check(function)
    if flag is not None and result.attempted:
        return Grade(name, False, True, flag=f"{flag.kind}: {flag.line}")
    return Grade(name, result.ok, result.attempted, " and ".join(result.mistakes), result.reason)


def main() -> None:
    """Grade a notebook; arguments: the task as JSON, and the file that gets a line for each step."""
    task, output = json.loads(sys.argv[1]), Path(sys.argv[2])
    _limit(task["megabytes"], task["seconds"])
    _end_after(task["seconds"])  # in case the grader was itself killed
    with (
        output.open("w", encoding="utf-8") as lines,
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):

        def write(**entry: Any) -> None:
            lines.write(json.dumps(entry) + "\n")
            lines.flush()

        def begin(exercise: str) -> None:
            write(begin=exercise)
            timers.append(_end_after(task["answer"]))

        timers: list[threading.Timer] = []
        try:
            for grade in grade_submission(Path(task["path"]), task["chapter"], task["skip"], begin):
                timers.pop().cancel()
                write(grade=asdict(grade))
            write(end=True)
        except SubmissionError as error:
            write(error=str(error))
    os._exit(0)  # no code of the submission runs at the end


def _end_after(seconds: float) -> threading.Timer:
    """End the process after a time, even if it waits; a timer that is canceled does not."""
    timer = threading.Timer(seconds, os._exit, (WAITED,))
    timer.daemon = True
    timer.start()
    return timer


def _limit(megabytes: int, seconds: int) -> None:
    """Limit the memory that the process may map and the time that it may compute, where the system can.

    The grader stops it earlier; the limit of time is for a grader that was itself killed.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    size = megabytes * 1024 * 1024
    for kind, most in ((resource.RLIMIT_AS, size), (resource.RLIMIT_CPU, seconds)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main()
