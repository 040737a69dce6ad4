"""The ladder: one long pretraining run, kept at growing steps, so that a class can look in or join anywhere.

Chapter 4 climbs it; chapters 5 and 6 start from its top. `tools/make_ladder.py` made it (`make ladder`), and
provenance.json beside this file says from what, how and how long. Weights are stored in fp16; step 0 is not
stored, it is drawn anew from the seed. Leaves out: AdamW's moments, which would triple the size.
"""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file

from bertlearn.history import Band, Record, read_history
from bertlearn.options import PretrainOptions, TrainingOptions
from bertlearn.pretrain import CHECKPOINTS, LADDER, course_shards, new_model, pretraining_task
from bertlearn.pretraining import BertForMaskedLM
from bertlearn.shards import Shards
from bertlearn.tokenization import WordPieceTokenizer
from bertlearn.training import write_start
from bertlearn.weights import fill_tied

RUNGS = (0, 250, 500, 750, 1000, 3000, 10000, 40000)
OPTIONS = PretrainOptions(
    short_share=0.0125, training=TrainingOptions(steps=40000, warmup=0.0125, evaluate_every=250)
)
SCRATCH = PretrainOptions(short_share=0.0, training=TrainingOptions(evaluate_every=100))  # to see the plateau
SCRATCH_UNTIL = 800
BEFORE, THROUGH = 750, 1400  # the steps of the ladder between which the loss falls


class Rung(NamedTuple):
    """The model as it was after `step` updates."""

    step: int
    model: BertForMaskedLM  # fp32, in evaluation mode
    tokenizer: WordPieceTokenizer

    def write_checkpoint(self, folder: str | Path, options: PretrainOptions = OPTIONS) -> Path:
        """Write a state from which `pretrain(course_shards("train"), options, folder, resume=True)` goes on.

        Args:
            folder: the run's output folder.
            options: the ladder's own, or the same with another seed.

        AdamW's averages are not kept: it begins anew, which costs some steps, on the plateau some hundred.
        """
        task = pretraining_task(Shards.open(course_shards("train")), options)
        return write_start(self.model, task, options.training, self.step, Path(folder) / CHECKPOINTS)


def load_rung(step: int) -> Rung:
    """Return the model of one of the `RUNGS`.

    Raises:
        ValueError: a step that was not kept.
    """
    if step not in RUNGS:
        raise ValueError(f"step={step} was not kept; the rungs are {', '.join(map(str, RUNGS))}")
    tokenizer = WordPieceTokenizer.from_pretrained(LADDER)
    model = new_model(OPTIONS, tokenizer.vocab_size)
    assert isinstance(model, BertForMaskedLM)
    if step:
        state = {name: tensor.float() for name, tensor in load_file(rung_path(step)).items()}
        model.load_state_dict(fill_tied(state, model))
    return Rung(step, model.eval(), tokenizer)


def rung_path(step: int) -> Path:
    """Return where the weights of a rung are kept."""
    return LADDER / f"step-{step:05d}.safetensors"


def provenance() -> dict[str, Any]:
    """Return from what the ladder was made, how, on what and how long, and what each rung reaches."""
    return json.loads((LADDER / "provenance.json").read_text(encoding="utf-8"))


def history() -> list[Record]:
    """Return the records of the long run (see `training.Run`)."""
    return read_history(LADDER / "history.csv")


def band(name: str) -> Band:
    """Return the band of normal loss curves.

    Args:
        name: "scratch" (`SCRATCH`, whole sequences from nothing) or "breakthrough" (from the rung `BEFORE`
            to the step `THROUGH`); both are losses on held-out text.

    Raises:
        ValueError: another name.
    """
    table = _table("bands.csv")
    rows = [row for row in table if row["name"] == name]
    if not rows:
        raise ValueError(f"name={name!r} is no band; choose among {sorted({row['name'] for row in table})}")
    return Band(
        [int(row["step"]) for row in rows],
        [float(row["mean"]) for row in rows],
        [float(row["std"]) for row in rows],
    )


def ablation() -> list[dict[str, str]]:
    """Return the held-out loss and accuracy of the recipe and its variants, a row a seed and step.

    Made by `benchmarks/pretraining_ablation.py`; the columns are variant, seed, step, seconds, loss (nats),
    accuracy, and nsp_accuracy where pairs were learned.
    """
    return _table("ablation.csv")


@cache
def _table(name: str) -> list[dict[str, str]]:
    with (LADDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
