"""Why a whole notebook could not be graded, in plain words, and what its teacher and its student can do."""

from __future__ import annotations

import signal
from typing import NamedTuple

NO_CHAPTER = "its functions and its name belong to no one chapter of the release"
OVERWRITTEN = "the answers wrote over their grades"
TOO_LONG, KILLED = "stopped after", "killed by the system"
TOOK_TOO_LONG, ENDED = "took too long", "ended the program that ran it"  # what an answer did
EXITED, CRASHED = "the answers ended the program that ran them", "the program that ran the answers crashed"


class Remedy(NamedTuple):
    """What two people can do about a notebook that could not be graded."""

    teacher: str
    student: str


def too_long(seconds: float) -> str:
    """Return what to say about a notebook whose answers took more than its time."""
    return f"{TOO_LONG} {seconds:g} s"


def ended(status: int) -> str:
    """Return what to say about a process that ended before it wrote any grade.

    Args:
        status: its exit status; negative if a signal ended it.
    """
    if status == 0:
        return f"{EXITED} (status 0), as exit() and os._exit(0) do"
    if -status in (9, 24):  # SIGKILL, and SIGXCPU, which some systems lack
        return f"{KILLED} (status {status}): out of memory, or out of computing time"
    if status < 0:
        return f"{CRASHED} ({_signal(-status)})"
    return f"{EXITED} (status {status}), with an error that could not be caught, or with os._exit({status})"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"status {-number}"


def answer_ended(status: int) -> str:
    """Return why an answer is wrong whose process ended; see `ended`."""
    how = f"killed by the system (status {status})" if -status in (9, 24) else f"status {status}"
    return f"{ENDED}: {how}, as with os._exit, a crash, or too much memory"


def answer_waited(seconds: float) -> str:
    """Return why an answer is wrong that did not come back, though it hardly computed."""
    return f"{TOOK_TOO_LONG}: it was stopped after {seconds:g} s, waiting included; it may wait or sleep"


def answer_too_long(seconds: float) -> str:
    """Return why an answer is wrong during which the time of the whole notebook ran out."""
    return f"{TOOK_TOO_LONG}: the notebook's {seconds:g} s ended while it was checked"


def remedy(problem: str) -> Remedy:
    """Return what to do about a problem; `problem` is what the table of grades says."""
    found = (each for begin, each in _REMEDIES.items() if problem.startswith(begin))
    return next(found, _UNREADABLE)


_UNREADABLE = Remedy(
    "Open the file. If it is damaged or belongs to no chapter, ask for it once more.",
    "Restart the kernel, run all cells, and open the file once more before you hand it in again. If it opens "
    "and runs, show this page to your teacher.",
)
_LOOP = "Does a loop in it never end? Correct that, run all cells, and hand the notebook in again."
_LOOK = "Look at the notebook: an answer may end the program or make it crash. Then ask for it once more."
_REMEDIES = {
    TOO_LONG: Remedy(
        "An answer may wait for something that never comes. If it is only slow, allow more time with "
        "--seconds.",
        f"Does one of your functions wait for something: for input, for a file, with sleep()? {_LOOP}",
    ),
    KILLED: Remedy(
        "An answer may make a huge tensor or a list without end. If several notebooks were killed, close "
        "other programs, or grade with fewer --jobs.",
        f"Does one of your functions make a huge tensor, or a list that never stops growing? {_LOOP}",
    ),
    EXITED: Remedy(
        _LOOK,
        "Does one of your functions or classes call exit(), quit() or os._exit()? Delete the call, run all "
        "cells, and hand the notebook in again.",
    ),
    CRASHED: Remedy(
        _LOOK,
        "One of your functions makes Python itself crash: does one of them call itself without end? Find it "
        "with the checks, one exercise at a time, correct it, and hand the notebook in again.",
    ),
    OVERWRITTEN: Remedy(
        "Look at the notebook: one of its functions writes into files of the grader.",
        "One of your functions writes to files of the program that grades. Show this page to your teacher.",
    ),
}
