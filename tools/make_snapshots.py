"""Make the files in bertlearn/course/snapshots: vocabulary, snapshots of one long pretraining run, bands.

python tools/make_snapshots.py vocabulary     learn the vocabulary of 4,096 wordpieces (half a minute)
python tools/make_snapshots.py train WORK     pretrain and keep the snapshots; resumes from the folder WORK
python tools/make_snapshots.py bands          train other seeds: the mean and spread of normal loss curves
"""

from __future__ import annotations

import csv
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file

from bertlearn.course import snapshots
from bertlearn.course.corpus import Split, course_documents, course_shards
from bertlearn.course.snapshots import SNAPSHOTS
from bertlearn.files import untied_state, write_whole
from bertlearn.pretraining.corpus import Shards
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import CHECKPOINTS, Pretrained, evaluate, held_out_batches, pretrain
from bertlearn.tokenizer.learn import train_wordpiece
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.loop import HISTORY
from bertlearn.training.metrics import read_history

VOCAB_SIZE = 4096
BAND_SEEDS = range(1, 6)  # the snapshots themselves have seed 0
SOURCES = ("reviews", "plots", "wikipedia", "bible")


def make_vocabulary() -> None:
    texts = [document.text for document in course_documents("train")]
    WordPieceTokenizer(train_wordpiece(texts, VOCAB_SIZE).vocab).save_pretrained(SNAPSHOTS)


class LongRun(NamedTuple):
    """A pretraining run whose weights are kept at some of its steps."""

    folder: Path  # vocabulary and weights
    steps: tuple[int, ...]  # the first is 0, whose weights are not kept
    options: PretrainOptions
    shards: Callable[[Split], Path]
    sources: tuple[str, ...]
    command: str
    text: str  # what it learns from


def course_run() -> LongRun:
    what = "reviews and plots of training films, Wikipedia articles, Bible (see course_documents)"
    command = "python tools/make_snapshots.py train WORK"
    return LongRun(SNAPSHOTS, snapshots.STEPS, snapshots.OPTIONS, course_shards, SOURCES, command, what)


def train_snapshots(long_run: LongRun, work: Path) -> None:
    """Train, keeping each snapshot in `work`; once all are there, they replace those of the package."""
    data, held_out = long_run.shards("train"), long_run.shards("validation")
    files = {step: work / snapshots.snapshot_path(step).name for step in long_run.steps[1:]}
    for step, file in files.items():
        if not file.exists():
            reached = pretrain(data, long_run.options, work, held_out, resume=True, until=step)
            if reached.run.step != step:
                sys.exit(f"stopped at step {reached.run.step}; run the same command again to continue")
            keep_snapshot(reached, file)
    for file in long_run.folder.glob("*.safetensors"):
        file.unlink()
    for step, file in files.items():
        shutil.copyfile(file, snapshots.snapshot_path(step, long_run.folder))
    shutil.copyfile(work / CHECKPOINTS / HISTORY, long_run.folder / "history.csv")
    provenance = run_metadata(long_run) | {
        "seconds": read_history(long_run.folder / "history.csv")[-1]["seconds"]
    }
    provenance["snapshots"] = [{"step": step, **measure(long_run, step, held_out)} for step in files]
    text = json.dumps(provenance, indent=2) + "\n"
    (long_run.folder / "provenance.json").write_text(text, encoding="utf-8")


def keep_snapshot(reached: Pretrained, file: Path) -> None:
    tensors = {name: tensor.half().contiguous() for name, tensor in untied_state(reached.model).items()}
    write_whole(file, lambda path: save_file(tensors, path, metadata={"format": "pt"}))


def measure(long_run: LongRun, step: int, held_out: Path) -> dict[str, float]:
    """Return loss and accuracy of a stored snapshot, on all held-out text and on each source."""
    snapshot = snapshots.read_snapshot(long_run.folder, step, long_run.options)
    shards, measured = Shards.open(held_out), {}
    for name in ("all", *long_run.sources):
        selected = shards if name == "all" else shards.of_source(name)
        batches = held_out_batches(selected, snapshot.tokenizer, long_run.options.max_length, False)
        scores = evaluate(snapshot.model, batches)
        measured[f"{name}_loss"] = round(scores["valid_mlm_loss"], 4)
        measured[f"{name}_accuracy"] = round(scores["valid_mlm_accuracy"], 4)
    return measured


def make_bands() -> None:
    """Write bands.csv: mean and standard deviation of the held-out loss over several seeds, by step."""
    rows = []
    for name, curve in (("scratch", scratch_curve), ("breakthrough", breakthrough_curve)):
        curves = [curve(seed) for seed in BAND_SEEDS]
        for step in curves[0]:
            losses = [loss_at[step] for loss_at in curves]
            rows.append([name, step, round(statistics.mean(losses), 4), round(statistics.stdev(losses), 4)])
    with (SNAPSHOTS / "bands.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["name", "step", "mean", "std"], *rows])


def scratch_curve(seed: int) -> dict[int, float]:
    return held_out_losses(with_seed(snapshots.SCRATCH, seed), None, snapshots.SCRATCH_UNTIL)


def breakthrough_curve(seed: int) -> dict[int, float]:
    options = with_seed(snapshots.OPTIONS, seed)
    options = replace(options, training=replace(options.training, evaluate_every=100))
    with tempfile.TemporaryDirectory() as folder:
        snapshots.load_snapshot(snapshots.BEFORE).write_checkpoint(folder, options)
        return held_out_losses(options, Path(folder), snapshots.THROUGH)


def with_seed(options: PretrainOptions, seed: int) -> PretrainOptions:
    return replace(options, training=replace(options.training, seed=seed))


def held_out_losses(options: PretrainOptions, folder: Path | None, until: int) -> dict[int, float]:
    data, held_out = course_shards("train"), course_shards("validation")
    run = pretrain(data, options, folder, held_out, resume=True, until=until).run
    print(options.training.seed, run.summary, flush=True)
    return {int(x["step"]): x["valid_mlm_loss"] for x in run.history if "valid_mlm_loss" in x}


def run_metadata(long_run: LongRun) -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    shards = Shards.open(long_run.shards("train"))
    return {
        "command": long_run.command,
        "commit": commit,
        "data": {
            "what": long_run.text,
            "fingerprint": shards.fingerprint,
            "tokens": shards.tokens,
        },
        "seed": long_run.options.training.seed,
        "hardware": f"{torch.get_num_threads()} threads, {platform.machine()}",
        "python": platform.python_version(),
        "torch": version("torch"),
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["vocabulary"]:
            make_vocabulary()
        case ["train", folder]:
            train_snapshots(course_run(), Path(folder))
        case ["bands"]:
            make_bands()
        case _:
            sys.exit(__doc__)
