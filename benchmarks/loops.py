"""True training loops, ours and transformers', that do one step whenever they are called.

So two libraries can be timed in turns, each with its own loop and all that belongs to it.
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

Hold = Callable[[], bool]  # waits for the next call, and returns whether to end


class Loop:
    """Runs a training loop in a thread of its own, which is held at the end of each step."""

    def __init__(self, run: Callable[[Hold], object]) -> None:
        self._asked, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._work, args=(run,), daemon=True)

    def __call__(self) -> None:
        """Do a step."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._asked.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Let the loop end."""
        self._ending = True
        self._asked.release()
        self._thread.join()

    def _work(self, run: Callable[[Hold], object]) -> None:
        try:
            run(self._hold)
        except BaseException as error:
            self._error = error
        self._done.release()

    def _hold(self) -> bool:
        self._done.release()
        self._asked.acquire()
        return self._ending


def our_loop(model: nn.Module, task: Task, options: TrainingOptions, device: torch.device) -> Loop:
    """Return `bertlearn.training.train`."""

    def run(hold: Hold) -> None:
        def watch(progress: Progress) -> bool:
            return progress.running and hold()

        train(model, task, options, device=device, callback=watch)

    return Loop(run)


def their_loop(
    model: nn.Module, dataset: Any, device: torch.device, collator: Any = None, **arguments: Any
) -> Loop:
    """Return transformers' Trainer as it comes, but for these `TrainingArguments` and less on the screen."""

    def run(hold: Hold) -> None:
        class Held(transformers.TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
                control.should_training_stop = hold()
                return control

        with tempfile.TemporaryDirectory() as folder:
            chosen = transformers.TrainingArguments(
                output_dir=folder,
                use_cpu=device.type == "cpu",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                report_to="none",
                **arguments,
            )
            trainer = transformers.Trainer(model, chosen, collator, dataset, callbacks=[Held()])
            trainer.train()

    return Loop(run)
