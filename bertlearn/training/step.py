"""One step of training: gradients of every micro-batch added up, clipped, applied (chapters 4 to 6).

Source: Devlin et al. 2019, appendix A.2; gradients added up over micro-batches and processes give what one
large batch would give. Leaves out: when to evaluate and save, which `loop` decides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy.random import SeedSequence
from torch import Tensor, nn

from bertlearn.training.distributed import Processes, sync_only_last, unwrap, wrap
from bertlearn.training.metrics import to_device
from bertlearn.training.optim import learning_rate_at, make_optimizer
from bertlearn.training.options import TrainingOptions
from bertlearn.training.state import TrainingState
from bertlearn.training.task import NonFiniteError, Task, TrainingError


class Stepper:
    """A model and a task set up on this process's device; each call of `update` is one step.

    `wrapped` is the model, in DDP if there are several processes; `model` is the same, compiled if requested;
    `state` holds the model without a wrapper and everything else that changes from step to step.
    """

    def __init__(self, model: nn.Module, task: Task, options: TrainingOptions, processes: Processes) -> None:
        self.task, self.options, self.processes = task, options, processes
        self.micro_batch_size = micro_batch_size(options, processes.world_size)
        self.wrapped = wrap(model, processes)
        plain = unwrap(self.wrapped)
        compiles = use_compile(options, processes.device)
        self.model: Any = torch.compile(self.wrapped) if compiles else self.wrapped
        self.state = TrainingState(plain, make_optimizer(plain, options, task.multipliers))
        self.ahead: list[Any] = []  # the next step's batches, read while the GPU computes this step

    def update(self, stop_requested: Callable[[], bool]) -> bool:
        """Take one step; return whether any process requests a stop.

        Raises:
            NonFiniteError: the loss or its gradient is not finite; weights and optimizer are unchanged.
            TrainingError: there is not enough memory.
        """
        try:
            return self._take(stop_requested)
        except torch.OutOfMemoryError as error:
            reason = str(error).split("\n")[0]
        # The failed step's memory is freed only after the except block exits.
        step, size, world_size = self.state.step + 1, self.micro_batch_size, self.processes.world_size
        raise TrainingError(_memory_advice(reason, step, size, self.options, world_size))

    def _take(self, stop_requested: Callable[[], bool]) -> bool:
        started, state = time.perf_counter(), self.state
        batches = self.ahead or self._read(state.step)
        totals = self._count_targets(batches)
        scored = [self._backward(index, batch, totals) for index, batch in enumerate(batches)]
        self.ahead = self._read(state.step + 1)
        norm = float(nn.utils.clip_grad_norm_(state.model.parameters(), self.options.max_grad_norm))

        # Sums over all micro-batches and processes. On a GPU, float(norm) has already waited for the step.
        own = torch.stack(scored).cpu().double().sum(dim=0)  # (objectives, 2): loss and correct of each
        own_tokens = sum(batch[0].numel() for batch in batches)
        sums = self.processes.sum([float(stop_requested()), float(own_tokens), *own.flatten().tolist()])
        stops, tokens, *values = sums
        scores = dict(zip(totals, zip(values[::2], values[1::2], strict=True), strict=True))
        learning_rate = learning_rate_at(state.step + 1, self.options)
        if not all(math.isfinite(value) for value in (norm, *sums)):
            raise NonFiniteError(_describe_non_finite(state.step + 1, learning_rate, norm, scores, totals))

        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate * group["multiplier"]
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step, state.tokens = state.step + 1, state.tokens + int(tokens)
        state.metrics.add_step(learning_rate, norm, tokens, time.perf_counter() - started)
        state.metrics.add_scores(scores, totals)
        return stops > 0

    def _own_micro_batches(self) -> range:
        """Return the micro-batches of a step that belong to this process: every world_size-th."""
        return range(
            self.processes.rank, self.options.batch_size // self.micro_batch_size, self.processes.world_size
        )

    def _read(self, step: int) -> list[Any]:
        """Read this process's micro-batches of a step; none after the last step."""
        if step == self.options.steps:
            return []
        size, first = self.micro_batch_size, step * self.options.batch_size
        return [self.task.batch(first + number * size, size) for number in self._own_micro_batches()]

    def _count_targets(self, batches: list[Any]) -> dict[str, float]:
        """Return each objective's targets in the whole step: what its summed loss is divided by."""
        counts = [self.task.count(batch) for batch in batches]
        sums = {name: float(sum(count[name] for count in counts)) for name in counts[0]}
        return dict(zip(sums, self.processes.sum(list(sums.values())), strict=True))

    def _backward(self, index: int, batch: Any, totals: dict[str, float]) -> Tensor:
        """Add the gradients of one micro-batch; return each objective's (loss, correct), (objectives, 2)."""
        own, device = self._own_micro_batches(), self.processes.device
        torch.manual_seed(derive_seed(self.options.seed, self.state.step, own[index]))  # for the dropout
        with sync_only_last(self.wrapped, index == len(own) - 1):
            with torch.autocast(device.type, torch.bfloat16, enabled=use_bf16(self.options, device)):
                scores = self.task.score(self.model, to_device(batch, device))
            weights = self.task.weights
            losses = [
                weights.get(name, 1.0) * scores[name][0] / max(1.0, total) for name, total in totals.items()
            ]
            (torch.stack(losses).sum() * self.processes.world_size).backward()  # DDP averages over processes
        return torch.stack(
            [torch.stack([scores[name][0].detach(), scores[name][1]]).float() for name in totals]
        )


def derive_seed(*numbers: int) -> int:
    """Return one seed for several whole numbers, far from the seeds of their neighbors."""
    return int(SeedSequence(numbers).generate_state(1, "uint64")[0] >> 1)


def micro_batch_size(options: TrainingOptions, world_size: int) -> int:
    """Return how many sequences go through the model at once.

    Raises:
        ValueError: the batch cannot be split evenly into micro-batches of this size.
    """
    size = options.micro_batch_size or max(1, options.batch_size // world_size)
    if size < 0 or options.batch_size % (size * world_size):
        unit = max(1, options.micro_batch_size) * world_size
        raise ValueError(
            f"batch_size={options.batch_size} cannot be split among {world_size} process(es) in "
            f"micro-batches of {size}; make batch_size a multiple of {unit}"
        )
    return size


def use_bf16(options: TrainingOptions, device: torch.device) -> bool:
    """Say whether matrix products are computed in bf16; "auto" asks the device for units that do it fast."""
    if options.precision != "auto":
        return options.precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def use_compile(options: TrainingOptions, device: torch.device) -> bool:
    """Say whether the model is compiled; "auto" does so on a GPU."""
    return device.type == "cuda" if options.compile == "auto" else options.compile == "on"


def _memory_advice(reason: str, step: int, size: int, options: TrainingOptions, world_size: int) -> str:
    message = f"out of memory at step {step} with micro_batch_size={size} ({reason}); "
    if size == 1:
        return (
            message + "not even one sequence fits: use shorter sequences, a smaller preset or precision bf16"
        )
    share = options.batch_size // world_size
    smaller = max(divisor for divisor in range(1, size) if share % divisor == 0)
    return message + (
        f"use a smaller micro_batch_size, such as {smaller}: the gradients of several micro-batches are "
        f"added, so the result is still that of batch_size={options.batch_size}"
    )


def _describe_non_finite(
    step: int,
    learning_rate: float,
    norm: float,
    scores: Mapping[str, tuple[float, float]],
    totals: Mapping[str, float],
) -> str:
    losses = ", ".join(f"{name} loss {scores[name][0] / max(1.0, totals[name]):.4g}" for name in totals)
    return (
        f"the loss or its gradient is not finite at step {step}: {losses}, learning rate "
        f"{learning_rate:.3g}, gradient norm {norm:.4g}"
    )
