"""Make the files in bertlearn/course/snapshots/chinese: vocabulary and weights of one pretraining run.

python tools/make_chinese.py vocabulary     learn the vocabulary of 4,096 wordpieces (half a minute)
python tools/make_chinese.py train WORK     pretrain and keep the weights; resumes from the folder WORK
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from make_snapshots import keep_snapshot

from bertlearn.course import chinese
from bertlearn.course.snapshots import snapshot_path
from bertlearn.pretraining.corpus import Shards
from bertlearn.pretraining.run import CHECKPOINTS, evaluate, held_out_batches, pretrain
from bertlearn.tokenizer.learn import train_wordpiece
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.loop import HISTORY

VOCAB_SIZE = 4096  # nearly all of them single characters
SOURCES = ("novel", "reviews")


def make_vocabulary() -> None:
    texts = [document.text for document in chinese.chinese_documents("train")]
    learned = train_wordpiece(texts, VOCAB_SIZE)
    WordPieceTokenizer(learned.vocab).save_pretrained(chinese.FOLDER)


def train(work: Path) -> None:
    """Train, keeping the weights in `work`; once all are there, they replace those of the package."""
    data, held_out = chinese.chinese_shards("train"), chinese.chinese_shards("validation")
    files = {step: work / snapshot_path(step).name for step in chinese.STEPS[1:]}
    for step, file in files.items():
        if not file.exists():
            reached = pretrain(data, chinese.OPTIONS, work, held_out, resume=True, until=step)
            if reached.run.step != step:
                sys.exit(f"stopped at step {reached.run.step}; run the same command again to continue")
            keep_snapshot(reached, file)
    for file in chinese.FOLDER.glob("*.safetensors"):
        file.unlink()
    for step, file in files.items():
        shutil.copyfile(file, snapshot_path(step, chinese.FOLDER))
    shutil.copyfile(work / CHECKPOINTS / HISTORY, chinese.FOLDER / "history.csv")
    made = run_metadata() | {"snapshots": [{"step": step, **measure(step, held_out)} for step in files]}
    text = json.dumps(made, indent=2) + "\n"
    (chinese.FOLDER / "provenance.json").write_text(text, encoding="utf-8")


def measure(step: int, held_out: Path) -> dict[str, float]:
    """Return loss and accuracy of stored weights, on all held-out text and on each source."""
    snapshot, shards = chinese.load_chinese_bert(step), Shards.open(held_out)
    measured = {}
    for name in ("all", *SOURCES):
        selected = shards if name == "all" else shards.of_source(name)
        batches = held_out_batches(selected, snapshot.tokenizer, chinese.OPTIONS.max_length, False)
        scores = evaluate(snapshot.model, batches)
        measured[f"{name}_loss"] = round(scores["valid_mlm_loss"], 4)
        measured[f"{name}_accuracy"] = round(scores["valid_mlm_accuracy"], 4)
    return measured


def run_metadata() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    shards = Shards.open(chinese.chinese_shards("train"))
    return {
        "command": "python tools/make_chinese.py train WORK",
        "commit": commit,
        "data": {
            "what": "114 chapters of Romance of the Three Kingdoms, and the reviews for training",
            "fingerprint": shards.fingerprint,
            "tokens": shards.tokens,
        },
        "seed": chinese.OPTIONS.training.seed,
        "hardware": f"{torch.get_num_threads()} threads, {platform.machine()}",
        "python": platform.python_version(),
        "torch": version("torch"),
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["vocabulary"]:
            make_vocabulary()
        case ["train", folder]:
            train(Path(folder))
        case _:
            sys.exit(__doc__)
