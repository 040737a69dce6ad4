"""A race: the fewest seconds to predict a quarter of the masked words of held-out text, on two cores.

A recipe is a Python file with a number of steps, declared beforehand, and a function that trains:

    STEPS = 2750

    def train(shards, seed):
        ...
        return model

`shards` is the folder of the training text, `seed` an int; the model is a `BertForMaskedLM` or a
`ModernForMaskedLM`, with at most as many parameters as chapter 4's. Each run has a process of its own, which
sees the time only between the opening of the shards and the return. Another process evaluates the saved
model, once, on text that no evaluation during training reads.

A recipe is a program, and runs with your rights: run only recipes that you have read.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, NamedTuple

GOAL, LOWEST = 0.25, 0.24  # the mean accuracy of a record's seeds, and the least of any one
FIRST, COUNT = 512, 1024  # sequences of the validation text; those before are for tuning
STEPS, TIMED = 2750, 100  # of chapter 4's recipe: what reaches the goal, what is timed beside each attempt
THREADS = 2


class Attempt(NamedTuple):
    """One run of a recipe."""

    seed: int
    seconds: float  # of training, by the clock
    core_seconds: float  # the same in processor time, all threads together
    reference_seconds: float  # what chapter 4's recipe would have taken, from the steps timed just before
    parameters: int
    accuracy: float  # of the masked words of the held-out text

    def __str__(self) -> str:
        """Return one line."""
        ratio = self.seconds / self.reference_seconds
        return (
            f"{self.seconds:.0f} s, {ratio:.2f} of chapter 4's {self.reference_seconds:.0f} s; "
            f"{self.core_seconds:.0f} core seconds; accuracy {self.accuracy:.3f}"
        )


class RecipeError(ValueError):
    """A recipe cannot take part; the message says why."""


def read_recipe(path: Path) -> ModuleType:
    """Import a recipe.

    Raises:
        RecipeError: no such file, or it lacks STEPS or train.
    """
    if not path.is_file():
        raise RecipeError(f"{path} is no file; give the path of a recipe, such as my_recipe.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    steps = getattr(module, "STEPS", None)
    if not isinstance(steps, int) or steps < 1:
        raise RecipeError(f"{path} has STEPS = {steps!r}; declare the number of steps, such as STEPS = 2750")
    if not callable(getattr(module, "train", None)):
        raise RecipeError(f"{path} has no function train(shards, seed) that returns a model")
    return module


def attempt(recipe: Path, seed: int) -> Attempt:
    """Time chapter 4's recipe for some steps, train, evaluate, each in a process of its own.

    Raises:
        RecipeError: one of them ended with an error, whose last line is in the message.
    """
    with TemporaryDirectory() as folder:
        reference = _child("reference")
        measured = _child("train", recipe.resolve(), folder, seed)
        found = _child("evaluate", folder)
    return Attempt(seed, **reference, **measured, **found)


def mean_of(attempts: list[Attempt]) -> Attempt:
    """Return the mean of several attempts; its seed says nothing."""
    columns = list(zip(*attempts, strict=True))
    return Attempt(-1, *(mean(column) for column in columns[1:]))


def counts(attempts: list[Attempt]) -> bool:
    """Tell whether five seeds or more reach the goal on average, and none falls far below it."""
    accuracies = [one.accuracy for one in attempts]
    return len(attempts) >= 5 and mean(accuracies) >= GOAL and min(accuracies) >= LOWEST


def _child(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "bertlearn.course.speedrun", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise RecipeError(f"{arguments[0]} ended with status {ended.returncode}: {last}")
    return json.loads(ended.stdout.splitlines()[-1])


def _train(recipe: str, folder: str, seed: str) -> dict[str, Any]:
    import torch

    from bertlearn.course.corpus import course_shards
    from bertlearn.pretraining.corpus import Shards

    torch.set_num_threads(THREADS)
    module = read_recipe(Path(recipe))
    shards = course_shards("train")
    Shards.open(shards)
    started, used = time.perf_counter(), time.process_time()
    model = module.train(shards, int(seed))
    seconds, core_seconds = time.perf_counter() - started, time.process_time() - used
    parameters, most = sum(p.numel() for p in model.parameters()), _most_parameters(shards)
    if parameters > most:
        raise RecipeError(
            f"the model has {parameters:,} parameters; at most {most:,}, as many as chapter 4's"
        )
    model.save_pretrained(folder)
    return {
        "seconds": round(seconds, 1),
        "core_seconds": round(core_seconds, 1),
        "parameters": parameters,
    }


def _reference() -> dict[str, Any]:
    import torch

    from bertlearn.course.corpus import course_shards
    from bertlearn.pretraining.options import PretrainOptions
    from bertlearn.pretraining.run import pretrain
    from bertlearn.training.options import TrainingOptions

    torch.set_num_threads(THREADS)
    options = PretrainOptions(short_share=0.0, training=TrainingOptions(precision="fp32"))
    shards = course_shards("train")
    for steps in (3, TIMED):  # the first steps of a process are slower
        run = pretrain(shards, options, until=steps, callback=lambda progress: False).run
    return {"reference_seconds": round(run.history[-1]["seconds"] * STEPS / TIMED, 1)}


def _most_parameters(shards: Path) -> int:
    from bertlearn.pretraining.corpus import Shards
    from bertlearn.pretraining.models import new_model
    from bertlearn.pretraining.options import PretrainOptions

    model = new_model(PretrainOptions(), len(Shards.open(shards).vocab))
    return sum(parameter.numel() for parameter in model.parameters())


def _evaluate(folder: str) -> dict[str, Any]:
    import torch

    from bertlearn.course.corpus import course_shards
    from bertlearn.model.modern import ModernForMaskedLM
    from bertlearn.pretraining.corpus import Examples, Shards
    from bertlearn.pretraining.masking import masked_batch
    from bertlearn.pretraining.options import PretrainOptions
    from bertlearn.pretraining.run import evaluate
    from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

    held_out = Shards.open(course_shards("validation"))
    tokenizer = WordPieceTokenizer.from_pretrained(held_out.folder)
    examples = Examples(held_out, PretrainOptions().max_length, pairs=False, seed=0)
    generator = torch.Generator().manual_seed(1)
    batches = [
        masked_batch(examples.rows(first, 64), tokenizer, generator)
        for first in range(FIRST, FIRST + COUNT, 64)
    ]
    record = evaluate(ModernForMaskedLM.from_pretrained(folder), batches)
    return {"accuracy": round(record["valid_mlm_accuracy"], 4)}


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "train": _train,
    "evaluate": _evaluate,
    "reference": _reference,
}

if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]](*sys.argv[2:])))
