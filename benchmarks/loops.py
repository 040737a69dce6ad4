"""Complete training loops, ours and transformers', that take one step at each call.

So two libraries can be timed in turns, each with its own loop and everything that the loop does.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import nn

from bertlearn.training.loop import train
from bertlearn.training.metrics import Progress
from bertlearn.training.options import TrainingOptions
from bertlearn.training.task import Task

Hold = Callable[[], bool]  # waits for the next call; returns whether to stop


class Loop:
    """Runs a training loop in its own thread, which waits at the end of each step."""

    def __init__(self, run: Callable[[Hold], object]) -> None:
        self._requested, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._work, args=(run,), daemon=True)

    def __call__(self) -> None:
        """Take one step."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._requested.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Stop the loop."""
        self._ending = True
        self._requested.release()
        self._thread.join()

    def _work(self, run: Callable[[Hold], object]) -> None:
        try:
            run(self._hold)
        except BaseException as error:
            self._error = error
        self._done.release()

    def _hold(self) -> bool:
        self._done.release()
        self._requested.acquire()
        return self._ending


def our_loop(model: nn.Module, task: Task, options: TrainingOptions, device: torch.device) -> Loop:
    """Return the loop of `bertlearn.training.train`."""

    def run(hold: Hold) -> None:
        def callback(progress: Progress) -> bool:
            return progress.running and hold()

        train(model, task, options, device=device, callback=callback)

    return Loop(run)


def their_loop(
    model: nn.Module, dataset: Any, device: torch.device, collator: Any = None, **arguments: Any
) -> Loop:
    """Return the loop of transformers' Trainer with these `TrainingArguments`, and without output."""

    def run(hold: Hold) -> None:
        class HoldAtEachStep(transformers.TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
                control.should_training_stop = hold()
                return control

        with tempfile.TemporaryDirectory() as folder:
            training_arguments = transformers.TrainingArguments(
                output_dir=folder,
                use_cpu=device.type == "cpu",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                report_to="none",
                **arguments,
            )
            trainer = transformers.Trainer(
                model, training_arguments, collator, dataset, callbacks=[HoldAtEachStep()]
            )
            trainer.train()

    return Loop(run)
