"""Snapshots of one long pretraining run: weights at eight steps, so that a class can start from any of them.

Chapter 4 goes through them; chapters 5 and 6 start from the last one. `tools/make_snapshots.py` made them
(`make snapshots`), and provenance.json next to this file records the data, the settings and the time. The
weights are stored in fp16. Those of step 0 are not stored; they are drawn again from the seed.
Leaves out: AdamW's moments, which would triple the size.
"""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file

from bertlearn.course.corpus import SNAPSHOTS, course_shards
from bertlearn.model.heads import BertForMaskedLM
from bertlearn.model.pretrained import fill_tied
from bertlearn.pretraining.corpus import Shards
from bertlearn.pretraining.models import new_model
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import CHECKPOINTS, pretraining_task
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.loop import write_start
from bertlearn.training.metrics import Record, read_history
from bertlearn.training.options import TrainingOptions

STEPS = (0, 250, 500, 750, 1000, 3000, 10000, 40000)
OPTIONS = PretrainOptions(
    short_share=0.0125, training=TrainingOptions(steps=40000, warmup=0.0125, evaluate_every=250)
)
SCRATCH = PretrainOptions(short_share=0.0, training=TrainingOptions(evaluate_every=100))  # to see the plateau
SCRATCH_UNTIL = 800
BEFORE, THROUGH = 750, 1400  # the loss falls between these steps


class Band(NamedTuple):
    """The normal range of a loss curve: mean and standard deviation over several seeds, by step."""

    steps: list[int]
    mean: list[float]  # nats
    std: list[float]  # nats


class Snapshot(NamedTuple):
    """The model after `step` updates."""

    step: int
    model: BertForMaskedLM  # fp32, in evaluation mode
    tokenizer: WordPieceTokenizer

    def write_checkpoint(self, folder: str | Path, options: PretrainOptions = OPTIONS) -> Path:
        """Write a checkpoint from which `pretrain` resumes on the course's own text.

        So `pretrain(course_shards("train"), options, folder, course_shards("validation"), resume=True)`.
        AdamW's averages are not stored. It starts again from zero, which costs a few steps, or a few hundred
        on the plateau.

        Args:
            folder: the run's output folder.
            options: those of the snapshots, or the same with another seed.
        """
        shards, held_out = (Shards.open(course_shards(split)) for split in ("train", "validation"))
        task = pretraining_task(shards, options, held_out)
        return write_start(self.model, task, options.training, self.step, Path(folder) / CHECKPOINTS)


def load_snapshot(step: int) -> Snapshot:
    """Return the model of one of the `STEPS`.

    Raises:
        ValueError: there is no snapshot of this step.
    """
    if step not in STEPS:
        raise ValueError(f"step={step} has no snapshot; choose among {', '.join(map(str, STEPS))}")
    return read_snapshot(SNAPSHOTS, step, OPTIONS)


def read_snapshot(folder: Path, step: int, options: PretrainOptions) -> Snapshot:
    """Return the model of one step of a run whose weights are kept in `folder`."""
    tokenizer = WordPieceTokenizer.from_pretrained(folder)
    model = new_model(options, tokenizer.vocab_size)
    assert isinstance(model, BertForMaskedLM)
    if step:
        state = {name: tensor.float() for name, tensor in load_file(snapshot_path(step, folder)).items()}
        model.load_state_dict(fill_tied(state, model))
    return Snapshot(step, model.eval(), tokenizer)


def snapshot_path(step: int, folder: Path | None = None) -> Path:
    """Return where the weights of a snapshot are kept: in `folder`, by default that of the course's run."""
    return (folder or SNAPSHOTS) / f"step-{step:05d}.safetensors"


def provenance() -> dict[str, Any]:
    """Return how the snapshots were made (data, settings, machine, time) and the scores of each one."""
    return json.loads((SNAPSHOTS / "provenance.json").read_text(encoding="utf-8"))


def history() -> list[Record]:
    """Return the records of the long run (see `training.Run`)."""
    return read_history(SNAPSHOTS / "history.csv")


def band(name: str) -> Band:
    """Return the band of normal loss curves.

    Args:
        name: "scratch" (`SCRATCH`, full-length sequences from the first step on) or "breakthrough" (from
            the snapshot `BEFORE` to the step `THROUGH`); both are losses on held-out text.

    Raises:
        ValueError: there is no band of this name.
    """
    table = _table("bands.csv")
    rows = [row for row in table if row["name"] == name]
    if not rows:
        raise ValueError(
            f"name={name!r} is not a band; choose among {sorted({row['name'] for row in table})}"
        )
    return Band(
        [int(row["step"]) for row in rows],
        [float(row["mean"]) for row in rows],
        [float(row["std"]) for row in rows],
    )


def ablation() -> list[dict[str, str]]:
    """Return the held-out loss and accuracy of the recipe and its variants, one row per seed and step.

    Made by `benchmarks/pretraining_ablation.py`; the columns are variant, seed, step, seconds, loss (nats),
    accuracy, and nsp_accuracy for variants trained on pairs.
    """
    return _table("ablation.csv")


@cache
def _table(name: str) -> list[dict[str, str]]:
    with (SNAPSHOTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
