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
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bertlearn.course import snapshots
from bertlearn.course.corpus import course_documents, course_shards
from bertlearn.course.snapshots import SNAPSHOTS
from bertlearn.files import untied_state, write_whole
from bertlearn.pretraining.corpus import Shards
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import CHECKPOINTS, Pretrained, evaluate, held_out_batches, pretrain
from bertlearn.tokenizer.learn import train_wordpiece
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.loop import HISTORY

VOCAB_SIZE = 4096
BAND_SEEDS = range(1, 6)  # the snapshots themselves have seed 0
SOURCES = ("reviews", "plots", "wikipedia", "bible")


def make_vocabulary() -> None:
    texts = [document.text for document in course_documents("train")]
    WordPieceTokenizer(train_wordpiece(texts, VOCAB_SIZE).vocab).save_pretrained(SNAPSHOTS)


def train_snapshots(work: Path) -> None:
    """Train, keeping each snapshot in `work`; once all are there, they replace those of the package."""
    data, held_out = course_shards("train"), course_shards("validation")
    files = {step: work / snapshots.snapshot_path(step).name for step in snapshots.STEPS[1:]}
    for step, file in files.items():
        if not file.exists():
            reached = pretrain(data, snapshots.OPTIONS, work, held_out, resume=True, until=step)
            if reached.run.step != step:
                sys.exit(f"stopped at step {reached.run.step}; run the same command again to continue")
            keep_snapshot(reached, file)
    for file in SNAPSHOTS.glob("*.safetensors"):
        file.unlink()
    for step, file in files.items():
        shutil.copyfile(file, snapshots.snapshot_path(step))
    shutil.copyfile(work / CHECKPOINTS / HISTORY, SNAPSHOTS / "history.csv")
    provenance = run_metadata() | {"seconds": snapshots.history()[-1]["seconds"]}
    provenance["snapshots"] = [{"step": step, **measure(step, held_out)} for step in files]
    (SNAPSHOTS / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")


def keep_snapshot(reached: Pretrained, file: Path) -> None:
    tensors = {name: tensor.half().contiguous() for name, tensor in untied_state(reached.model).items()}
    write_whole(file, lambda path: save_file(tensors, path, metadata={"format": "pt"}))


def measure(step: int, held_out: Path) -> dict[str, float]:
    """Return loss and accuracy of a stored snapshot, on all held-out text and on each source."""
    snapshot, shards = snapshots.load_snapshot(step), Shards.open(held_out)
    measured = {}
    for name in ("all", *SOURCES):
        selected = shards if name == "all" else shards.of_source(name)
        scores = evaluate(
            snapshot.model,
            held_out_batches(selected, snapshot.tokenizer, snapshots.OPTIONS.max_length, False),
        )
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


def run_metadata() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    shards = Shards.open(course_shards("train"))
    return {
        "command": "python tools/make_snapshots.py train WORK",
        "commit": commit,
        "data": {
            "what": "reviews and plots of training films, Wikipedia articles, Bible (see course_documents)",
            "fingerprint": shards.fingerprint,
            "tokens": shards.tokens,
        },
        "seed": snapshots.OPTIONS.training.seed,
        "hardware": f"{torch.get_num_threads()} threads, {platform.machine()}",
        "python": platform.python_version(),
        "torch": version("torch"),
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["vocabulary"]:
            make_vocabulary()
        case ["train", folder]:
            train_snapshots(Path(folder))
        case ["bands"]:
            make_bands()
        case _:
            sys.exit(__doc__)
