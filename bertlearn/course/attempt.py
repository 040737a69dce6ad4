"""One call of a learner's function: on copies of the inputs, with a limit on the time it computes.

A loop that never advances must not hang the notebook. A second thread watches how much processor time the
attempt has used and, beyond the limit, raises `TimeUp` in the attempt's own thread. That works between any
two steps of Python code, on every system and inside a kernel. Within one long call of C code nothing can be
raised; there the learner has *Interrupt the kernel*.
"""

from __future__ import annotations

import copy
import ctypes
import linecache
import threading
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from bertlearn.course.compare import difference

Function = Callable[..., Any]

SECONDS = 10.0  # the least that any attempt may compute for one input
TIMES_THE_SOLUTION = 20
WATCHER = "watches an attempt"  # name of the watching thread
_AGAIN = 0.05  # seconds of computing after which a `TimeUp` that was swallowed is raised once more


class TimeUp(BaseException):
    """Raised in an attempt that computes for too long; `except Exception` does not catch it."""


@dataclass(frozen=True)
class Outcome:
    """Result of one call: its value or its error, and what else it did."""

    value: Any = None
    error: BaseException | None = None
    changed: str | None = None  # how it changed its inputs; None if it did not
    used: frozenset[str] = frozenset()  # which forbidden functions it called
    limit: float | None = None  # the seconds of computing that it was allowed
    at: str | None = None  # the line of the function at which it was stopped by an error or by the limit

    @property
    def timed_out(self) -> bool:
        """Whether it was stopped because it computed for too long."""
        return isinstance(self.error, TimeUp)


def run(function: Function, args: tuple[Any, ...], limit: float | None = None) -> Outcome:
    """Call `function` on copies of `args`, so that no attempt can spoil the inputs of the next.

    Args:
        function: what to call.
        args: what to call it with.
        limit: the seconds that it may compute, if they are limited.
    """
    return _outcome(function, args, lambda call: call() if limit is None else within(limit, call))


def timed(solution: Function, args: tuple[Any, ...]) -> tuple[Any, float]:
    """Return the solution's value, and how many seconds it computes."""
    begin = time.process_time()
    value = run(solution, args).value
    return value, time.process_time() - begin


def run_attempt(
    attempt: Function, args: tuple[Any, ...], reference: float = 0.0, forbidden: Collection[str] = ()
) -> Outcome:
    """Call a learner's function like `run`, with a limit on its time.

    Args:
        attempt: the learner's function.
        args: what to call it with; it gets copies.
        reference: the seconds that the solution computes on these inputs.
        forbidden: names of torch functions; the outcome says which of them the attempt calls.
    """
    limit = max(SECONDS, TIMES_THE_SOLUTION * reference)
    watched = _Recorder(forbidden) if forbidden else None
    with watched or nullcontext():
        outcome = run(attempt, args, limit)
    return replace(outcome, limit=limit, used=frozenset(watched.used) if watched else frozenset())


def is_stub(error: BaseException | None) -> bool:
    """Return whether an error is a stub's bare `raise NotImplementedError`; those of torch have a message."""
    return isinstance(error, NotImplementedError) and not error.args


def _outcome(function: Function, args: tuple[Any, ...], caller: Callable[[Function], Any]) -> Outcome:
    inputs, gradients = copy.deepcopy(args), torch.is_grad_enabled()
    try:
        value = caller(lambda: function(*inputs))
        left_off = gradients and not torch.is_grad_enabled()
    except (Exception, SystemExit, TimeUp) as error:
        return Outcome(error=error, at=_line_of(function, error.__traceback__))
    finally:
        torch.set_grad_enabled(gradients)
    return Outcome(value, None, "gradients left off" if left_off else difference(inputs, args, 0.0))


def _line_of(function: Function, trace: TracebackType | None) -> str | None:
    """Return the last line of the learner's own source that a traceback passes through."""
    code = getattr(function, "__code__", None)
    line = None
    while trace is not None and code is not None:
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            line = linecache.getline(code.co_filename, trace.tb_lineno).strip() or line
        trace = trace.tb_next
    return line


class _Recorder(TorchFunctionMode):
    """Notes which of some torch functions are called, under whatever of their names."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self._names, self.used = frozenset(names), set[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "").removeprefix("special_").removeprefix("native_").strip("_")
        if name in self._names:
            self.used.add(name)
        return func(*args, **(kwargs or {}))


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return `call()`, unless that computes for longer than `seconds`.

    Raises:
        TimeUp: it took longer. Afterwards no further `TimeUp` is on its way.
    """
    watch = _Watch(seconds)
    threading.Thread(target=watch.run, name=WATCHER, daemon=True).start()
    try:
        try:
            return call()
        finally:  # a TimeUp that comes here, too late, is caught below
            watch.end()
    except BaseException:
        watch.end()
        raise


class _Watch:
    """Watches the thread that creates it, from another one, until `end` is called.

    The lock keeps `TimeUp` from being raised after the end. Clearing it with a null pointer instead would
    leave CPython 3.11 with its flag for pending work set, and every tracer would then hang.
    """

    def __init__(self, seconds: float) -> None:
        self._thread, self._clock = threading.get_ident(), _own_clock()
        self._deadline = self._clock() + seconds
        self._lock, self._over, self._ended = threading.Lock(), False, threading.Event()

    def run(self) -> None:
        """Raise `TimeUp` in the watched thread when its time is up, and again if it was swallowed."""
        while not self._ended.wait(0.02):
            with self._lock:
                if self._over:
                    return
                # A thread that has computed for a while since is not in `end`, which takes microseconds.
                if self._clock() >= self._deadline:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(self._thread), ctypes.py_object(TimeUp)
                    )
                    self._deadline = self._clock() + _AGAIN

    def end(self) -> None:
        """Stop watching; a `TimeUp` that is on its way arrives inside this call."""
        with self._lock:
            self._over = True
        for _ in range(10):  # pending exceptions are raised at the end of a loop's turn
            pass
        self._ended.set()


def _own_clock() -> Callable[[], float]:
    """Return a clock of the processor time of this thread, or of the process where a thread has none."""
    if hasattr(time, "pthread_getcpuclockid"):
        clock = time.pthread_getcpuclockid(threading.get_ident())
        return lambda: time.clock_gettime(clock)
    return time.process_time
