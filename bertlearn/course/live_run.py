"""A run of the knock-out lab in a process of its own, started and stopped by a widget (chapter 8).

    python -m bertlearn.course.live_run SEED STEPS [switch …]

The notebook stays usable meanwhile, and its random numbers stay its own: training seeds torch's generator
in every step. The process prints its progress, one JSON object a line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import IO, Any

from bertlearn.course.knockout import run
from bertlearn.training.metrics import Progress

PAUSE = 0.2  # seconds between two lines
MARK = "live: "  # how a line of progress begins; others are warnings, or the reason for a failure

Message = dict[str, Any]


class LiveRun:
    """A run in its own process; its messages are read by a thread."""

    def __init__(self, on: Sequence[str], seed: int, steps: int, receive: Callable[[Message], None]) -> None:
        """Start the run.

        Args:
            on: names of `knockout.SWITCHES`.
            seed: of everything random.
            steps: of the run.
            receive: called in another thread with each message: a dict with `step`, `until`, `seconds` and
                `curve` (lists of step, loss and accuracy on held-out text); the last one has only `state`
                ("done", "stopped" or "failed") and `problem`, the reason for a failure or "".

        Raises:
            OSError: no process could be started.
        """
        self._receive, self._stopped = receive, False
        command = [sys.executable, "-m", "bertlearn.course.live_run", str(seed), str(steps), *on]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # interrupting a cell of the notebook does not interrupt this run
        )
        self._thread = Thread(target=self._read, name="reads a live run", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the process at once; there is nothing to save."""
        self._stopped = True
        self._process.kill()

    def wait(self) -> None:
        """Wait until the run has ended and its last message was received."""
        self._thread.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        reason = self._pass_on(self._process.stdout)
        status = self._process.wait()
        if self._stopped:
            self._receive({"state": "stopped", "problem": ""})
        elif status:
            self._receive({"state": "failed", "problem": f"the run ended with status {status}: {reason}"})
        else:
            self._receive({"state": "done", "problem": ""})

    def _pass_on(self, lines: IO[str]) -> str:
        """Pass on the messages; return the last line that is none."""
        last = "it gave no reason"
        for line in lines:
            if line.startswith(MARK):
                self._receive(json.loads(line.removeprefix(MARK)))
            elif line.strip():
                last = line.strip()
        return last


class _Reporter:
    """A callback that prints the progress of a run from time to time, and whenever it was evaluated."""

    def __init__(self) -> None:
        self._next, self._points = 0.0, -1

    def __call__(self, progress: Progress) -> bool:
        curve = [
            [int(record["step"]), round(record["valid_mlm_loss"], 4), round(record["valid_mlm_accuracy"], 4)]
            for record in progress.history
            if "valid_mlm_loss" in record
        ]
        now = time.monotonic()
        if now >= self._next or len(curve) > self._points or not progress.running:
            self._next, self._points = now + PAUSE, len(curve)
            seconds = round(progress.seconds, 1)
            message = {"step": progress.step, "until": progress.until, "seconds": seconds, "curve": curve}
            print(MARK + json.dumps(message), flush=True)
        return False


def main(arguments: list[str]) -> None:
    """Run what the arguments name; see the text above."""
    seed, steps, *on = arguments
    run(on, int(seed), int(steps), _Reporter())


if __name__ == "__main__":
    main(sys.argv[1:])
