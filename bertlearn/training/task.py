"""What the training loop is given, a task, and what it gives back (chapters 4 to 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

from bertlearn.training.metrics import Record


@dataclass(frozen=True)
class Task:
    """What is learned: batches, and what a model makes of them.

    `batch(first, count)` returns the examples numbered first to first + count − 1 as a NamedTuple of tensors
    (or None); the numbers go on without end, and the same two always give the same batch. `count(batch)`
    returns the number of targets of each objective; `score(model, batch)` returns, for each, the summed loss
    and the number of correct targets. `evaluate(model)` returns named numbers for the history; it runs
    without gradient and dropout. `identity` describes model and data in plain values: only a run with the
    same identity may be resumed. `multipliers` scale the learning rate of the parameters that they name.
    `weights` are those of the objectives whose loss does not count as it is.
    `started(history)` is called before the first step with the records so far, which are those of the run
    that is resumed; `evaluated(model, record)` after each evaluation, with its line of the history.
    """

    batch: Callable[[int, int], Any]
    count: Callable[[Any], dict[str, int]]
    score: Callable[[nn.Module, Any], Mapping[str, tuple[Tensor, Tensor]]]
    evaluate: Callable[[nn.Module], Record] | None
    identity: dict[str, Any]
    multipliers: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    started: Callable[[list[Record]], None] = lambda history: None
    evaluated: Callable[[nn.Module, Record], None] = lambda model, record: None


class Run(NamedTuple):
    """The result of a run; the model itself was trained in place."""

    history: list[Record]
    step: int  # updates done
    finished: bool  # False when stopped before the last step
    summary: str


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where and what to do."""


class NonFiniteError(TrainingError):
    """The loss or its gradient is infinite or NaN; the step was not taken."""
