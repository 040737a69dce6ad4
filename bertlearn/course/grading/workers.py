"""The processes in which submissions are checked: one for a submission, and one more after each that breaks.

An answer can end its process, crash it, or wait for ever. What the process has written before says which
answer that was. It counts as wrong, and a new process goes on with the others.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertlearn.course.grading import stops
from bertlearn.course.grading.worker import WAITED

KEPT = ("PATH", "PYTHONPATH", "BERTLEARN_CACHE", "SYSTEMROOT", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
SHARE = 1 / 3  # of a submission's time that one answer may take, waiting included

Grades = Mapping[str, Mapping[str, Any]]  # by exercise


class WorkerError(Exception):
    """A submission could not be graded; the message is for the table."""


class Stopped(Exception):
    """Grading was stopped while a submission was being checked."""


class Workers:
    """Starts the processes, and ends all of them at once when grading is stopped."""

    def __init__(self) -> None:
        self._lock, self._running, self._stopped = threading.Lock(), set[subprocess.Popen[bytes]](), False

    def stop(self) -> None:
        """End every process; no other is started."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _end(process)

    def grade(self, path: Path, chapter: int, seconds: float, megabytes: int) -> Grades:
        """Return what became of each exercise of a submission, as `worker.Grade` has it.

        Raises:
            WorkerError: nothing in it could be graded.
            Stopped: `stop` was called.
        """
        found: dict[str, Mapping[str, Any]] = {}
        end = time.monotonic() + seconds
        while True:
            left = max(end - time.monotonic(), seconds * SHARE)  # after an answer that took it all
            lines, status = self._run(path, chapter, list(found), left, seconds * SHARE, megabytes)
            grades, running, finished = _read(lines)
            found |= grades
            if finished:
                return found
            if running is None or running in found:
                raise WorkerError(stops.too_long(seconds) if status is None else stops.ended(status))
            found[running] = _broken(running, _why(status, seconds))

    def _run(
        self, path: Path, chapter: int, skip: Sequence[str], seconds: float, answer: float, megabytes: int
    ) -> tuple[list[str], int | None]:
        """Check what is not skipped; return the lines written, and the exit status: None after too long."""
        with tempfile.TemporaryDirectory() as folder:
            output, empty = Path(folder) / "grades.jsonl", Path(folder) / "empty"
            empty.mkdir()
            limits = {"megabytes": megabytes, "seconds": math.ceil(max(1.0, seconds)) + 1, "answer": answer}
            task = json.dumps({"chapter": chapter, "path": str(path), "skip": skip, **limits})
            command = [sys.executable, "-m", "bertlearn.course.grading.worker", task, str(output)]
            process = self._start(command, empty)
            status: int | None = None
            try:
                status = process.wait(max(0.1, seconds))
            except subprocess.TimeoutExpired:
                pass
            finally:
                _end(process)
                with self._lock:
                    self._running.discard(process)
            if self._stopped:
                raise Stopped
            with contextlib.suppress(OSError, ValueError):
                return output.read_text(encoding="utf-8").splitlines(), status
        return [], status

    def _start(self, command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise Stopped
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._running.add(process)
        return process


def _read(lines: Sequence[str]) -> tuple[dict[str, Mapping[str, Any]], str | None, bool]:
    """Return the grades that were written, the exercise that was being checked last, and whether all were.

    Raises:
        WorkerError: the file is no notebook, or the answers wrote over the lines.
    """
    grades, running, finished = dict[str, Mapping[str, Any]](), None, False
    try:
        for line in lines:
            [(kind, value)] = json.loads(line).items()
            if kind == "error":
                raise WorkerError(str(value))
            finished = kind == "end"
            if kind == "begin":
                running = str(value)
            elif kind == "grade":
                grades[str(value["exercise"])] = dict(value)
            elif kind != "end":
                raise ValueError(f"a line with {kind!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise WorkerError(stops.OVERWRITTEN) from None
    return grades, None if running in grades else running, finished


def _why(status: int | None, seconds: float) -> str:
    if status is None:
        return stops.answer_too_long(seconds)
    return stops.answer_waited(seconds * SHARE) if status == WAITED else stops.answer_ended(status)


def _broken(exercise: str, reason: str) -> dict[str, Any]:
    return {
        "exercise": exercise,
        "right": False,
        "attempted": True,
        "mistake": "",
        "reason": reason,
        "flag": "",
    }


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    homes = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "BERTLEARN_PROGRESS"), str(folder))
    if "BERTLEARN_CACHE" not in kept:
        from bertlearn.data.cache import cache_folder

        kept["BERTLEARN_CACHE"] = str(cache_folder())
    return kept | homes | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and those that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError, AttributeError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
