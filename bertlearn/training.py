"""The one training loop: warm-up and decay, clipping, mixed precision, exact resume (chapters 4 to 6).

It knows no model: a `Task` gives it batches and scores. All chance of a step follows from (seed, step, part),
the data as well as the dropout. So a run that was killed and resumed ends with the same weights, and several
processes compute what one would have computed.
Source: Devlin et al. 2019, appendix A.2 (Adam, warm-up, linear decay, dropout, clipping as in their code).
Leaves out: learning-rate schedules other than BERT's own, and optimizers other than AdamW.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.random import SeedSequence
from torch import Tensor, nn
from tqdm.auto import tqdm

from bertlearn.checkpoints import (
    Checkpoint,
    CheckpointError,
    find_checkpoints,
    latest_checkpoint,
    remove_leftovers,
    write_checkpoint,
)
from bertlearn.distributed import (
    Processes,
    hand_back,
    is_divided,
    join_processes,
    last_part,
    like,
    unwrap,
    was_restarted,
    whole,
    wrap,
)
from bertlearn.history import Progress, Record, Watch, Window, describe, write_history
from bertlearn.options import TrainingOptions
from bertlearn.weights import untied_state

HISTORY = "history.csv"
SAME_WISH = 1.0  # seconds; torchrun passes a Ctrl-C on to processes that the terminal has told already


@dataclass(frozen=True)
class Task:
    """What is learned: batches, and what a model makes of them.

    batch(first, count) gives the examples numbered first to first + count − 1, a NamedTuple of tensors (or
    None); the numbers run on without end, the same two always give the same batch. count(batch) gives the
    number of targets of each objective, score(model, batch) for each the summed loss and the number of
    hits. evaluate(model) gives named numbers for the history; it runs without gradient and dropout.
    `identity` says in plain values what model and data are: only a run with the same may be resumed.
    `rates` multiplies the learning rate of the parameters that it names; the others have the full one.
    """

    batch: Callable[[int, int], Any]
    count: Callable[[Any], dict[str, int]]
    score: Callable[[nn.Module, Any], Mapping[str, tuple[Tensor, Tensor]]]
    evaluate: Callable[[nn.Module], Record] | None
    identity: dict[str, Any]
    rates: Mapping[str, float] = field(default_factory=dict)


class Run(NamedTuple):
    """What came of a run: the model itself was trained in place."""

    history: list[Record]
    step: int  # updates done
    finished: bool  # False when stopped before the last step
    summary: str


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where and what to do."""


def learning_rate_at(step: int, options: TrainingOptions) -> float:
    """Return the learning rate of a step, counted from 1: up in a line, then down in a line.

    The lines would be at 0 one step before the first and one after the last, so that every step moves.
    """
    warmup = round(options.warmup * options.steps)
    if step <= warmup:
        return options.learning_rate * step / warmup
    return options.learning_rate * (options.steps + 1 - step) / (options.steps + 1 - warmup)


def make_optimizer(
    model: nn.Module, options: TrainingOptions, rates: Mapping[str, float] | None = None
) -> torch.optim.AdamW:
    """Return AdamW, fused, without decay on biases and LayerNorm (all parameters with one axis).

    Args:
        model: its frozen parameters are left out.
        options: how.
        rates: see `Task`; each group carries its own under "rate", for whoever sets the learning rate.

    Raises:
        ValueError: rates of parameters that the model has not.
    """
    named, rates = dict(model.named_parameters()), rates or {}
    if unknown := sorted(rates.keys() - named.keys()):
        raise ValueError(f"rates name {unknown[0]!r}, which is no parameter; see model.named_parameters()")
    groups = []
    for rate in sorted({rates.get(name, 1.0) for name in named}):
        own = [p for name, p in named.items() if p.requires_grad and rates.get(name, 1.0) == rate]
        groups += [
            {"params": [p for p in own if p.dim() > 1], "weight_decay": options.weight_decay, "rate": rate},
            {"params": [p for p in own if p.dim() <= 1], "weight_decay": 0.0, "rate": rate},
        ]
    return torch.optim.AdamW(
        groups, lr=0.0, betas=(options.beta1, options.beta2), eps=options.epsilon, fused=True
    )


def train(
    model: nn.Module,
    task: Task,
    options: TrainingOptions,
    folder: str | Path | None = None,
    resume: bool = False,
    device: torch.device | str | None = None,
    until: int | None = None,
    watch: Watch | None = None,
) -> Run:
    """Train a model in place.

    Args:
        model: every process must hold the same weights. It is moved to the device, unless FSDP divides it
            among the processes: then it gets the weights at the end, where it was.
        task: batches and scores.
        options: how.
        folder: for checkpoints and history.csv; None keeps nothing.
        resume: go on from the newest checkpoint in the folder; start anew when it has none.
        device: the process's GPU if there is one, else the CPU.
        until: stop after this step, as after a Ctrl-C; the schedule still is that of all the steps.
        watch: is told in each step how far the run is, and once more at its end; where it answers True, that
            is as a Ctrl-C. Only the first process has it, and no progress bar beside it.

    Returns:
        The history and whether the last step was reached. A first Ctrl-C (the notebook's stop button, or
        SIGTERM) ends the run after the step in progress, with a checkpoint; a second one, at least a second
        later, ends it at once. The model comes back in evaluation mode in any case.

    Raises:
        TrainingError: the loss is not finite any more, or memory does not suffice.
        CheckpointError: nothing in the folder can be resumed.
        FileExistsError: the folder has checkpoints and `resume` is off.
    """
    with join_processes(device) as processes, _own_chance(processes.device):
        trainer = _Trainer(model, task, options, processes, folder)
        try:
            trainer.start(resume)
            return trainer.run(options.steps if until is None else min(until, options.steps), watch)
        finally:
            model.eval()
            del trainer  # and with it DDP, before its group of processes ends


def write_start(
    model: nn.Module, task: Task, options: TrainingOptions, step: int, folder: str | Path
) -> Path:
    """Write a checkpoint from which `train` goes on as if this model had come so far; AdamW begins anew.

    Raises:
        OSError: the disk is full or not writable.
    """
    trainer = _Trainer(model, task, options, Processes(0, 1, torch.device("cpu")), None)
    trainer.step = step
    return write_checkpoint(Path(folder), trainer.checkpoint())


class _Trainer:
    """The moving parts of one run."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        options: TrainingOptions,
        processes: Processes,
        folder: str | Path | None,
    ) -> None:
        self.task, self.options, self.processes = task, options, processes
        self.folder = None if folder is None else Path(folder).expanduser()
        self.micro_batch_size = micro_batch_size(options, processes.world_size)
        identity = {**task.identity, **_identity(options), "micro_batch_size": self.micro_batch_size}
        self.identity = json.loads(json.dumps(identity))  # as a checkpoint has it: no tuples, for example
        self.given = model
        self.wrapped = wrap(model, processes, options.strategy)
        self.plain = unwrap(self.wrapped)  # its names are those in files
        compiles = use_compile(options, processes.device)
        self.model: Any = torch.compile(self.wrapped) if compiles else self.wrapped
        self.optimizer = make_optimizer(self.plain, options, task.rates)
        self.step, self.seconds, self.tokens = 0, 0.0, 0
        self.history: list[Record] = []
        self.window = Window()
        self.ahead: list[Any] = []  # the next step's batches, made while the GPU computes this one's

    def start(self, resume: bool) -> None:
        """Take up the newest checkpoint, or make sure that none would be overwritten."""
        if self.folder is None:
            return
        if self.processes.is_first:
            remove_leftovers(self.folder)
        if was_restarted(self.processes) or resume:
            checkpoint = latest_checkpoint(self.folder, self.identity)
            if checkpoint is not None:
                self._restore(checkpoint)
            self._check_all_begin_here()
        elif find_checkpoints(self.folder):
            raise FileExistsError(
                f"{self.folder} has checkpoints of an earlier run: resume it, or choose another folder"
            )

    def run(self, until: int, watch: Watch | None) -> Run:
        """Do the steps that are left of the first `until`."""
        begun, resumed_at, stopped = time.perf_counter() - self.seconds, self.step, False
        total, shows = self.options.steps, self.processes.is_first and watch is None
        self.wrapped.train()
        bar = tqdm(total=until, initial=self.step, unit="step", disable=not shows)
        with bar, _stop_signal() as asked, self._watched(watch, until) as wished:
            while self.step < until and not stopped:
                stopped = self._update_or_explain(lambda: asked() or wished()) or self.step == until < total
                self.seconds = time.perf_counter() - begun
                self._keep_books(bar, stopped)
        self._hand_back()
        return Run(self.history, self.step, self.step == total, self._summary(resumed_at))

    @contextmanager
    def _watched(self, watch: Watch | None, until: int) -> Iterator[Callable[[], bool]]:
        """Tell the watch how far the run is whenever it is asked for its wish, and at the end."""

        def ask(running: bool = True) -> bool:
            if watch is None or not self.processes.is_first:
                return False
            progress = Progress(self.step, until, self.seconds, self.tokens, self.history, running)
            return bool(watch(progress))

        try:
            yield ask
        finally:
            ask(running=False)

    def _update_or_explain(self, wish: Callable[[], bool]) -> bool:
        try:
            return self._update(wish)
        except torch.OutOfMemoryError as error:
            reason = str(error).split("\n")[0]
        # Only here, after the except block, is the memory of the failed step free again.
        raise TrainingError(self._memory_advice(reason))

    def _update(self, wish: Callable[[], bool]) -> bool:
        """One step: gradients of every part added up, cut, applied. Returns whether a stop is wished for."""
        started = time.perf_counter()
        batches = self.ahead or self._batches(self.step)
        totals = self._totals(batches)
        parts = [self._backward(index, batch, totals) for index, batch in enumerate(batches)]
        self.ahead = self._batches(self.step + 1)
        norm = float(whole(nn.utils.clip_grad_norm_(self.plain.parameters(), self.options.max_grad_norm)))
        found = torch.stack(parts).cpu().double().sum(dim=0)  # (objectives, 2); no waiting: norm is here
        tokens = sum(batch[0].numel() for batch in batches)
        shared = self.processes.sum([float(wish()), float(tokens), *found.flatten().tolist()])
        scores = {name: (shared[2 + 2 * i], shared[3 + 2 * i]) for i, name in enumerate(totals)}
        learning_rate = learning_rate_at(self.step + 1, self.options)
        if not all(math.isfinite(value) for value in (norm, *shared)):
            self._stop_on_non_finite(learning_rate, norm, scores, totals)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["rate"]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step, self.tokens = self.step + 1, self.tokens + int(shared[1])
        self.window.add_step(learning_rate, norm, shared[1], time.perf_counter() - started)
        self.window.add_scores(scores, totals)
        return shared[0] > 0

    def _own_parts(self) -> range:
        """The parts of a step that are this process's: every world_size-th."""
        parts = self.options.batch_size // self.micro_batch_size
        return range(self.processes.rank, parts, self.processes.world_size)

    def _batches(self, step: int) -> list[Any]:
        """Read this process's parts of a step; none after the last."""
        if step == self.options.steps:
            return []
        size, begin = self.micro_batch_size, step * self.options.batch_size
        return [self.task.batch(begin + part * size, size) for part in self._own_parts()]

    def _totals(self, batches: list[Any]) -> dict[str, float]:
        """Targets of each objective in the whole step: what its summed loss is divided by."""
        counts = [self.task.count(batch) for batch in batches]
        sums = {name: float(sum(count[name] for count in counts)) for name in counts[0]}
        return dict(zip(sums, self.processes.sum(list(sums.values())), strict=True))

    def _backward(self, index: int, batch: Any, totals: dict[str, float]) -> Tensor:
        """Add the gradients of one part; return loss and hits of each objective, floats (objectives, 2)."""
        parts = self._own_parts()
        torch.manual_seed(derive_seed(self.options.seed, self.step, parts[index]))  # this part's dropout
        with last_part(self.wrapped, index == len(parts) - 1):
            loss, found = self._loss(self.model, batch, totals)
            (loss * self.processes.world_size).backward()  # DDP and FSDP give the mean over the processes
        return found

    def _loss(self, model: nn.Module, batch: Any, totals: dict[str, float]) -> tuple[Tensor, Tensor]:
        device = self.processes.device
        with torch.autocast(device.type, torch.bfloat16, enabled=use_bf16(self.options, device)):
            scores = self.task.score(model, to_device(batch, device))
        loss = torch.stack([scores[name][0] / max(1.0, total) for name, total in totals.items()]).sum()
        found = [torch.stack([scores[name][0].detach(), scores[name][1]]).float() for name in totals]
        return loss, torch.stack(found)

    def _keep_books(self, bar: tqdm, stopped: bool) -> None:
        """Show, record, evaluate and save where the time has come; the last step counts for all of them."""
        bar.update()
        last = self.step == self.options.steps
        evaluate = self.task.evaluate is not None and (last or self.step % self.options.evaluate_every == 0)
        if last or evaluate or self.step % self.options.log_every == 0:
            self.history.append(self._record() | (self._evaluate() if evaluate else {}))
            bar.set_postfix_str(describe(self.history[-1], ("loss",)))  # more leaves the bar no room
        if last or stopped or self.step % self.options.checkpoint_every == 0:
            self._save()
        if stopped and self.window.steps:  # for the reader; the checkpoint has the window as it was
            self.history.append(self._record())
            self._write_history()

    def _record(self) -> Record:
        """Turn what was added up since the last record into one line of the history."""
        found, self.window = self.window.means(), Window()
        return {"step": self.step, "seconds": round(self.seconds, 2), "tokens": self.tokens, **found}

    def _evaluate(self) -> Record:
        assert self.task.evaluate is not None
        device = self.processes.device
        self.plain.eval()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, use_bf16(self.options, device)):
            found = self.task.evaluate(self.plain)
        self.plain.train()
        return found

    def _save(self) -> None:
        """Write a checkpoint and the history; a full disk costs the new checkpoint, not the run."""
        if self.folder is None:
            return
        checkpoint = self.checkpoint()
        if self.processes.is_first:
            with _despite_full_disk(f"no checkpoint at step {self.step}"):
                write_checkpoint(self.folder, checkpoint, self.options.keep)
        self._write_history()
        self.processes.wait()

    def checkpoint(self) -> Checkpoint:
        """Return all that the run needs to go on."""
        facts = {
            "identity": self.identity,
            "history": self.history,
            "window": asdict(self.window),
            "seconds": self.seconds,
            "tokens": self.tokens,
        }
        return Checkpoint(self.step, self._tensors(), facts)

    def _write_history(self) -> None:
        if self.folder is not None and self.processes.is_first:
            with _despite_full_disk(f"{HISTORY} not renewed"):
                write_history(self.history, self.folder / HISTORY)

    def _tensors(self) -> dict[str, Tensor]:
        """Return the state of model and optimizer on the first process, on its CPU; all must take part."""
        names = {id(parameter): name for name, parameter in self.plain.named_parameters()}
        named = {f"model.{name}": tensor for name, tensor in untied_state(self.plain).items()}
        for parameter, state in self.optimizer.state.items():
            named |= {f"optimizer.{key}.{names[id(parameter)]}": x for key, x in state.items()}
        found = {}
        for name, tensor in named.items():
            tensor = whole(tensor.detach())  # one after the other: together they may be more than fits
            if self.processes.is_first:
                found[name] = tensor.cpu()
        return found

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Bring back exactly what `_save` wrote."""
        tensors = checkpoint.tensors
        own = {f"model.{name}": tensor.detach() for name, tensor in untied_state(self.plain).items()}
        _check_shapes(tensors, own, checkpoint.step)
        for name, tensor in own.items():
            tensor.copy_(like(tensors[name], tensor))
        for name, parameter in self.plain.named_parameters():
            if f"optimizer.step.{name}" in tensors:  # not if it never had a gradient
                averages = ("exp_avg", "exp_avg_sq")
                self.optimizer.state[parameter] = {
                    "step": tensors[f"optimizer.step.{name}"].to(parameter.device),
                    **{key: like(tensors[f"optimizer.{key}.{name}"], parameter) for key in averages},
                }
        self.step, self.history = checkpoint.step, checkpoint.facts["history"]
        self.seconds, self.tokens = checkpoint.facts["seconds"], checkpoint.facts["tokens"]
        self.window = Window(**checkpoint.facts["window"])
        self._write_history()  # the run may have died between the two files

    def _check_all_begin_here(self) -> None:
        if self.processes.sum([float(self.step)])[0] != self.step * self.processes.world_size:
            raise CheckpointError(
                f"process {self.processes.rank} would go on from step {self.step} of {self.folder}, others "
                "from another; the folder must be the same one for all machines, on a disk that they share"
            )

    def _hand_back(self) -> None:
        self.optimizer.zero_grad()
        if is_divided(self.plain):
            hand_back(self.plain, self.given)

    def _stop_on_non_finite(
        self,
        learning_rate: float,
        norm: float,
        scores: dict[str, tuple[float, float]],
        totals: dict[str, float],
    ) -> None:
        """Keep the weights of before this step, and say what happened; every process comes here or none."""
        self._hand_back()
        self._save()
        losses = ", ".join(f"{name} loss {scores[name][0] / max(1.0, totals[name]):.4g}" for name in totals)
        kept = f"the state after step {self.step} is kept" + (f" in {self.folder}" if self.folder else "")
        raise TrainingError(
            f"the loss or its gradient is not finite at step {self.step + 1}: {losses}, learning rate "
            f"{learning_rate:.3g}, gradient norm {norm:.4g}; {kept}. Use a lower learning rate, a longer "
            "warm-up or precision fp32; look at the batch if it happens at step 1"
        )

    def _memory_advice(self, reason: str) -> str:
        size = self.micro_batch_size
        tried = f"out of memory at step {self.step + 1} with micro_batch_size={size} ({reason}); "
        if is_divided(self.plain):  # all processes would have to try together
            return tried + "use a smaller micro_batch_size: gradients of several are added up"
        size = self._fitting_size()
        if size:
            return tried + (
                f"micro_batch_size={size} fits: gradients of several are added up, the result stays what "
                f"batch_size={self.options.batch_size} means"
            )
        return tried + (
            "not even a single sequence fits: use shorter sequences, a smaller preset, precision bf16, or "
            "strategy fsdp on several GPUs"
        )

    def _fitting_size(self) -> int:
        """Return the largest micro-batch, found by halving, that memory has room for; 0 if there is none."""
        self.optimizer.zero_grad()
        batch = max(self.ahead or self._batches(self.step), key=lambda batch: batch[0].numel())
        share = self.options.batch_size // self.processes.world_size
        size = self.micro_batch_size
        while size > 1:
            size = max(divisor for divisor in range(1, size // 2 + 1) if share % divisor == 0)
            if self._fits(type(batch)(*(x if x is None else x[:size] for x in batch))):
                return size
        return 0

    def _fits(self, batch: Any) -> bool:
        """Say whether a batch goes through the model and back, beside gradients and AdamW's two averages."""
        parameters = [parameter for parameter in self.plain.parameters() if parameter.requires_grad]
        try:
            copies = 1 if self.optimizer.state else 3
            reserved = [torch.zeros_like(parameter) for parameter in parameters for _ in range(copies)]
            totals = {name: float(count) for name, count in self.task.count(batch).items()}
            loss, _ = self._loss(self.plain, batch, totals)
            torch.autograd.grad(loss, parameters, allow_unused=True)  # not backward: DDP would want to share
            del reserved
        except torch.OutOfMemoryError:
            return False
        return True

    def _summary(self, resumed_at: int) -> str:
        last = self.history[-1] if self.history else {}
        found = ", ".join(f"{name} {value:.3f}" for name, value in last.items() if name.startswith("valid_"))
        state = "done" if self.step == self.options.steps else "stopped"
        resumed = f" (resumed at {resumed_at})" if resumed_at else ""
        return (
            f"{state} at step {self.step} of {self.options.steps}{resumed}, {self.seconds:.0f} s, "
            f"{self.tokens / max(self.seconds, 1e-9):,.0f} tokens/s; {found or describe(last)}"
        )


@torch.no_grad()
def measure(
    model: nn.Module,
    batches: Iterable[Any],
    count: Callable[[Any], dict[str, int]],
    score: Callable[[nn.Module, Any], Mapping[str, tuple[Tensor, Tensor]]],
) -> Record:
    """Return loss (nats) and accuracy of each objective on batches, under "valid_mlm_loss" and the like.

    Args:
        model: in evaluation mode.
        batches, count, score: as a `Task` has them.
    """
    device = next(model.parameters()).device
    sums: dict[str, Tensor] = {}
    for batch in batches:
        counts = count(batch)
        for name, (loss, correct) in score(model, to_device(batch, device)).items():
            new = torch.tensor([loss.item(), correct.item(), counts[name]], dtype=torch.float64)
            sums[name] = sums.get(name, torch.zeros(3, dtype=torch.float64)) + new
    return {
        f"valid_{name}_{kind}": (value / total[2]).item()
        for name, total in sums.items()
        for kind, value in (("loss", total[0]), ("accuracy", total[1]))
    }


def to_device(batch: Any, device: torch.device) -> Any:
    """Return a NamedTuple of tensors, or None among them, on another device."""
    return type(batch)(*(x if x is None else x.to(device, non_blocking=True) for x in batch))


def derive_seed(*numbers: int) -> int:
    """Return one seed for several whole numbers, far from the seeds of their neighbors."""
    return int(SeedSequence(numbers).generate_state(1, "uint64")[0] >> 1)


def micro_batch_size(options: TrainingOptions, world_size: int) -> int:
    """Return how many sequences go through the model at once.

    Raises:
        ValueError: the step cannot be divided into parts of this size, the same number for each process.
    """
    size = options.micro_batch_size or max(1, options.batch_size // world_size)
    if size < 0 or options.batch_size % (size * world_size):
        unit = max(1, options.micro_batch_size) * world_size
        raise ValueError(
            f"batch_size={options.batch_size} cannot be divided among {world_size} process(es) in parts of "
            f"micro_batch_size={size}; make batch_size a multiple of {unit}"
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


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a wish to stop; a second one interrupts at once."""
    asked: list[float] = []
    if threading.current_thread() is not threading.main_thread():  # only there may signals be caught
        yield lambda: False
        return

    def ask(number: int, frame: Any) -> None:
        if asked and time.monotonic() - asked[0] >= SAME_WISH:
            raise KeyboardInterrupt
        asked.append(time.monotonic())

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def _despite_full_disk(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        warnings.warn(f"{what} ({error}); training goes on, older files still stand", stacklevel=4)


@contextmanager
def _own_chance(device: torch.device) -> Iterator[None]:
    """Leave torch's random state outside as it was; of the GPUs only the own one is touched."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def _check_shapes(found: dict[str, Tensor], own: dict[str, Tensor], step: int) -> None:
    theirs = {name: tuple(tensor.shape) for name, tensor in found.items() if name.startswith("model.")}
    ours = {name: tuple(tensor.shape) for name, tensor in own.items()}
    if theirs != ours:
        differing = sorted({name for name, _ in theirs.items() ^ ours.items()})
        raise CheckpointError(
            f"the checkpoint at step {step} is of another model; tensors that differ: {', '.join(differing)}"
        )


def _identity(options: TrainingOptions) -> dict[str, Any]:
    """Return the options on which the result depends."""
    ours = ("log_every", "evaluate_every", "checkpoint_every", "keep", "precision", "compile", "strategy")
    return {name: value for name, value in asdict(options).items() if name not in ours}
