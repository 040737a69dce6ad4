"""The one training loop: warm-up and decay, clipping, mixed precision, exact resume (chapters 4 to 6).

It knows no model: a `Task` gives it batches and scores. Everything random in a step follows from
(seed, step, micro-batch), the data as well as the dropout. So a run that was killed and resumed ends with the
same weights, and several processes compute what one would have computed.
Source: Devlin et al. 2019, appendix A.2 (Adam, warm-up, linear decay, dropout, clipping as in their code).
Leaves out: schedules other than BERT's own, optimizers other than AdamW, models too large for one device.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from bertlearn.arguments import check_kind
from bertlearn.files import file_lock
from bertlearn.training.checkpoint import (
    CheckpointError,
    find_checkpoints,
    latest_checkpoint,
    remove_leftovers,
    write_checkpoint,
)
from bertlearn.training.distributed import Processes, join_processes, was_restarted
from bertlearn.training.log import Log, check_log
from bertlearn.training.metrics import Callback, Progress, Record, describe, write_history
from bertlearn.training.optim import check_trainable
from bertlearn.training.options import TrainingOptions
from bertlearn.training.state import TrainingState
from bertlearn.training.step import Stepper, use_bf16
from bertlearn.training.stopping import check_stops, reporting, stop_signal
from bertlearn.training.task import NonFiniteError, Run, Task, TrainingError

HISTORY, LOCK = "history.csv", ".lock"
MAY_CHANGE_ON_RESUME = (
    "log_every",
    "evaluate_every",
    "checkpoint_every",
    "keep",
    "log_to",
    "precision",
    "compile",
)


def train(
    model: nn.Module,
    task: Task,
    options: TrainingOptions,
    folder: str | Path | None = None,
    resume: bool = False,
    device: torch.device | str | None = None,
    until: int | None = None,
    callback: Callback | None = None,
) -> Run:
    """Train a model in place.

    Args:
        model: moved to the device; every process must hold the same weights.
        task: batches and scores.
        options: how to train.
        folder: for checkpoints and history.csv; None keeps nothing.
        resume: continue from the newest checkpoint in the folder; start from step 0 if it has none.
        device: the process's GPU if there is one, else the CPU.
        until: stop after this step, as after a Ctrl-C; the schedule is still that of all the steps.
        callback: called in each step with the progress, and once more at the end; returning True requests a
            stop. Only the first process calls it, and then shows no progress bar.

    Returns:
        The history and whether the last step was reached. A first Ctrl-C (the notebook's stop button, or
        SIGTERM) ends the run after the step in progress, with a checkpoint; a second one, at least a second
        later, ends it at once. The model comes back in evaluation mode in any case.

    Raises:
        ValueError: a model whose weights cannot be trained, see `check_trainable`; an argument of another
            type; `resume` without a folder.
        TrainingError: the loss is no longer finite, there is not enough memory, or another run is training in
            the folder.
        CheckpointError: nothing in the folder can be resumed.
        FileExistsError: the folder has checkpoints and `resume` is off.
    """
    _check_arguments(model, options, until, callback)
    if resume and folder is None:
        raise ValueError("resume=True without a folder has nothing to continue; give the folder of the run")
    folder = None if folder is None else Path(folder).expanduser()
    check_log(options.log_to, folder)
    with (
        join_processes(device) as processes,
        _isolated_rng(processes.device),
        _only_run_in(folder, processes),
    ):
        stepper = Stepper(model, task, options, processes)
        run_folder = _RunFolder(stepper, folder)
        try:
            run_folder.start(resume)
            task.started(stepper.state.history)
            last = options.steps if until is None else min(until, options.steps)
            return _run(stepper, run_folder, last, callback)
        finally:
            run_folder.log.close()
            model.eval()
            del stepper  # and with it DDP, before its group of processes ends


def _check_arguments(
    model: nn.Module, options: TrainingOptions, until: int | None, callback: Callback | None
) -> None:
    check_kind("options", options, TrainingOptions)
    check_stops(until, callback)
    check_trainable(model)


def _run(stepper: Stepper, run_folder: _RunFolder, until: int, callback: Callback | None) -> Run:
    """Take the remaining steps up to `until`."""
    state, options, is_first = stepper.state, stepper.options, stepper.processes.is_first
    resumed_at, started, stopped = state.step, time.perf_counter() - state.seconds, False
    bar = tqdm(total=until, initial=state.step, unit="step", disable=not is_first or callback is not None)

    def progress(running: bool) -> Progress:
        return Progress(state.step, until, state.seconds, state.tokens, state.history, running)

    stepper.wrapped.train()
    with (
        bar,
        stop_signal() as signaled,
        reporting(callback if is_first else None, progress) as asked_to_stop,
    ):
        if state.metrics.steps and _add_record(stepper, run_folder):  # one that failed before the resume
            run_folder.save()
        while state.step < until and not stopped:
            try:
                stopped = stepper.update(lambda: signaled() or asked_to_stop())
            except NonFiniteError as error:
                raise TrainingError(run_folder.after_non_finite(str(error))) from None
            state.seconds = time.perf_counter() - started
            last = state.step == options.steps
            stopped = stopped or (state.step == until and not last)
            bar.update()

            # once in a while: evaluate, and add a line to the history
            if _add_record(stepper, run_folder):
                bar.set_postfix_str(describe(state.history[-1], ("loss",)))  # there is no room for more

            # once in a while: save
            if last or stopped or state.step % options.checkpoint_every == 0:
                run_folder.save()

        # after a stop: the steps since the last record; the checkpoint holds their sums
        if stopped and state.metrics.steps:
            state.history.append(state.close_record())
            run_folder.log.add(state.history[-1])
            run_folder.write_history()
    state.optimizer.zero_grad()
    return Run(state.history, state.step, state.step == options.steps, _summary(state, options, resumed_at))


def _add_record(stepper: Stepper, run_folder: _RunFolder) -> bool:
    """Evaluate if it is time to, and add a line to the history; return whether one was added.

    If the evaluation fails, it leaves a checkpoint; a run resumed from there begins with this evaluation.
    """
    state, options = stepper.state, stepper.options
    last = state.step == options.steps
    due = last or state.step % options.evaluate_every == 0
    evaluates = due and stepper.task.evaluate is not None
    if not (last or evaluates or state.step % options.log_every == 0):
        return False
    try:
        scores = _evaluate(stepper) if evaluates else {}
    except Exception:
        run_folder.write_checkpoint()
        raise
    state.history.append(state.close_record() | scores)
    run_folder.log.add(state.history[-1])
    if evaluates:
        stepper.task.evaluated(state.model, state.history[-1])
    return True


def _evaluate(stepper: Stepper) -> Record:
    """Run the task's evaluation without dropout and gradient."""
    evaluate, model, device = stepper.task.evaluate, stepper.state.model, stepper.processes.device
    assert evaluate is not None
    model.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, use_bf16(stepper.options, device)):
        record = evaluate(model)
    model.train()
    return record


class _RunFolder:
    """Checkpoints and history of a run in its folder; without a folder it keeps nothing."""

    def __init__(self, stepper: Stepper, folder: Path | None) -> None:
        self.state, self.options, self.processes = stepper.state, stepper.options, stepper.processes
        self.folder = folder
        self.identity = _identity(stepper)
        self.log = Log("csv", None, 0)

    def start(self, resume: bool) -> None:
        """Restore the newest checkpoint, or make sure that none would be overwritten."""
        if self.folder is None:
            return
        self._restore(self.folder, resume)
        if self.processes.is_first:
            self.log = Log(self.options.log_to, self.folder, self.state.step)

    def _restore(self, folder: Path, resume: bool) -> None:
        if self.processes.is_first:
            remove_leftovers(folder)
        if was_restarted(self.processes) or resume:
            checkpoint = latest_checkpoint(folder, self.identity)
            if checkpoint is not None:
                self.state.restore(checkpoint)
                self.write_history()  # the run may have died between writing the two files
            self._check_all_start_here()
        elif find_checkpoints(folder):
            raise FileExistsError(
                f"{folder} has checkpoints of an earlier run: resume it, or choose another folder"
            )

    def save(self) -> None:
        """Write a checkpoint and the history; a full disk costs the new checkpoint, not the run."""
        if self.folder is None:
            return
        self.write_checkpoint()
        self.write_history()
        self.processes.wait()

    def write_checkpoint(self) -> None:
        """Write a checkpoint without waiting for other processes."""
        if self.folder is not None and self.processes.is_first:
            with _despite_full_disk(f"no checkpoint at step {self.state.step}"):
                write_checkpoint(self.folder, self.state.checkpoint(self.identity), self.options.keep)

    def write_history(self) -> None:
        """Write history.csv anew."""
        if self.folder is not None and self.processes.is_first:
            with _despite_full_disk(f"{HISTORY} not updated"):
                write_history(self.state.history, self.folder / HISTORY)

    def _check_all_start_here(self) -> None:
        step = self.state.step
        if self.processes.sum([float(step)])[0] != step * self.processes.world_size:
            raise CheckpointError(
                f"process {self.processes.rank} would continue from step {step} of {self.folder}, others "
                "from another; all machines must use the same folder, on a disk that they share"
            )

    def after_non_finite(self, problem: str) -> str:
        """Save the weights from before the failed step; return the error message. All processes call this."""
        self.state.optimizer.zero_grad()
        self.save()
        kept = f"the state after step {self.state.step} is kept" + (
            f" in {self.folder}" if self.folder else ""
        )
        return (
            f"{problem}; {kept}. Use a lower learning rate, a longer warm-up or precision fp32; look at the "
            "batch if it happens at step 1"
        )


def write_start(
    model: nn.Module, task: Task, options: TrainingOptions, step: int, folder: str | Path
) -> Path:
    """Write a checkpoint from which `train` continues as if this model had taken `step` steps.

    AdamW's averages start at 0.

    Raises:
        OSError: the disk is full or not writable.
    """
    stepper = Stepper(model, task, options, Processes(0, 1, torch.device("cpu")))
    stepper.state.step = step
    return write_checkpoint(Path(folder).expanduser(), stepper.state.checkpoint(_identity(stepper)))


def _summary(state: TrainingState, options: TrainingOptions, resumed_at: int) -> str:
    last = state.history[-1] if state.history else {}
    scores = ", ".join(f"{name} {value:.3f}" for name, value in last.items() if name.startswith("valid_"))
    done = "done" if state.step == options.steps else "stopped"
    resumed = f" (resumed at {resumed_at})" if resumed_at else ""
    return (
        f"{done} at step {state.step} of {options.steps}{resumed}, {state.seconds:.0f} s, "
        f"{state.tokens / max(state.seconds, 1e-9):,.0f} tokens/s; {scores or describe(last)}"
    )


@contextmanager
def _despite_full_disk(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        warnings.warn(f"{what} ({error}); training goes on, earlier files are kept", stacklevel=4)


@contextmanager
def _only_run_in(folder: Path | None, processes: Processes) -> Iterator[None]:
    """Keep other runs out of the folder until this one ends; if the first process is refused, all are."""
    with ExitStack() as stack:
        free = True
        if folder is not None and processes.is_first:
            folder.mkdir(parents=True, exist_ok=True)
            free = stack.enter_context(file_lock(folder / LOCK, wait=False))
        if processes.sum([float(free)])[0] < processes.world_size:
            raise TrainingError(
                f"another run is training in {folder}; wait until it ends, stop it, or choose another folder"
            )
        yield


@contextmanager
def _isolated_rng(device: torch.device) -> Iterator[None]:
    """Leave torch's random state outside as it was; of the GPUs only this process's is touched."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def _identity(stepper: Stepper) -> dict[str, Any]:
    """Return what must not change on resuming: model, data and most options, as a checkpoint stores them."""
    options = {
        name: value for name, value in asdict(stepper.options).items() if name not in MAY_CHANGE_ON_RESUME
    }
    identity = {**stepper.task.identity, **options, "micro_batch_size": stepper.micro_batch_size}
    return json.loads(json.dumps(identity))  # tuples become lists, as in the file
