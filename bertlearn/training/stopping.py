"""How a run is stopped and watched: Ctrl-C, SIGTERM, and a callback (chapters 4 to 6)."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bertlearn.arguments import check_count, check_function
from bertlearn.training.metrics import Callback, Progress

REPEATED = 1.0  # seconds; torchrun passes a Ctrl-C on to processes that the terminal has already signaled


def check_stops(until: int | None, callback: Callback | None) -> None:
    """Check the two arguments by which a caller stops a run; None for neither.

    Raises:
        ValueError: a step that is not a whole number of at least 0, or something other than a function.
    """
    if until is not None:
        check_count("until", until, 0)
    if callback is not None:
        check_function("callback", callback, "the progress")


@contextmanager
def stop_signal() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a stop request; a second one interrupts at once.

    Yields a function that says whether a stop was requested.
    """
    received: list[float] = []
    if threading.current_thread() is not threading.main_thread():  # signals can be caught only there
        yield lambda: False
        return

    def receive(number: int, frame: Any) -> None:
        if received and time.monotonic() - received[0] >= REPEATED:
            raise KeyboardInterrupt
        received.append(time.monotonic())

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def reporting(
    callback: Callback | None, progress: Callable[[bool], Progress]
) -> Iterator[Callable[[], bool]]:
    """Report to the callback in each step, and once more at the end, whatever the reason for it.

    Args:
        callback: is called with the progress, and requests a stop by returning True; None for none.
        progress: called with whether the run goes on.

    Yields a function that says whether the callback requests a stop.
    """
    if callback is None:
        yield lambda: False
        return
    try:
        yield lambda: bool(callback(progress(True)))
    finally:
        callback(progress(False))
