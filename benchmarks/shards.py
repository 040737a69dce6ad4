"""How fast are shards built and read, and how much memory does it take, as the text grows?

    python -m benchmarks.shards [--quick]

The course's own documents, again and again, each time with its sentences in another order, as one .txt of
10 MB, 100 MB and 1 GB, built by `bertlearn data build` from start to end; its memory is the highest of the
command and its workers together. Then examples are drawn at random, masked, as in training, beside the
tokens a second that the tiny model learns from on this machine, forward and backward, with the course's own
vocabulary, in batches of 32 windows of 64 tokens. Needs 3.4 GB in the folder for temporary files (`TMPDIR`).
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.common import Table, keep, memory_in, read_setting, seconds
from bertlearn import BertForMaskedLM, WordPieceTokenizer
from bertlearn.course.corpus import course_documents
from bertlearn.course.snapshots import SNAPSHOTS
from bertlearn.pretraining.corpus import Examples, Shards
from bertlearn.pretraining.masking import masked_batch
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import new_model

SIZES = {"10 MB": 10, "100 MB": 100, "1 GB": 1000}
READING = {  # tokens of an example, and whether it is a pair; the first one also has to fetch the text
    "windows of 64, text not read before": (64, False),
    "windows of 64": (64, False),
    "windows of 128": (128, False),
    "pairs of 128": (128, True),
    "pairs of 512": (512, True),
}
LOOK = 0.05  # seconds between two looks at the memory
CPU = torch.device("cpu")


def write_text(path: Path, megabytes: int) -> None:
    """Write real text of a size, a document after the other, with blank lines between."""
    documents = [document.text.splitlines() for document in course_documents()]
    chance, written = random.Random(0), 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        while written < megabytes * 1e6:
            for lines in documents:
                chance.shuffle(lines)
                written += file.write("\n".join(lines) + "\n\n")
                if written >= megabytes * 1e6:
                    break


def check_room(folder: Path, megabytes: float) -> None:
    """End the benchmark if a folder has no room for the text and its shards, built twice."""
    free = shutil.disk_usage(folder).free / 1e6
    if free < megabytes:
        raise SystemExit(
            f"{folder.parent} has {free:,.0f} MB left, and {megabytes:,.0f} are needed; "
            "set TMPDIR to a larger folder"
        )


def build(text: Path, folder: Path, workers: int) -> tuple[float, float]:
    """Build shards of a text; return the seconds and the most memory of all processes together, MB."""
    command = [sys.executable, "-m", "bertlearn", "data", "build", "--input", str(text)]
    command += ["--output", str(folder), "--vocab", str(SNAPSHOTS), "--workers", str(workers)]
    began, highest = time.perf_counter(), 0.0
    with psutil.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            highest = max(highest, memory_in(process))
            time.sleep(LOOK)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - began, highest / 1e6


def reading(folder: Path, length: int, pairs: bool, batches: int) -> float:
    """Return how many tokens a second are drawn and masked, in batches of 32 from anywhere in the text."""
    shards = Shards.open(folder)
    tokenizer = WordPieceTokenizer.from_pretrained(shards.folder)
    examples = Examples(shards, length, pairs, seed=0)
    generator = torch.Generator().manual_seed(0)

    def read() -> None:
        for number in range(batches):
            masked_batch(examples.rows(32 * number, 32), tokenizer, generator)

    return 32 * length * batches / seconds(read, CPU)


def training(length: int, steps: int) -> float:
    """Return the tokens a second of the recipe's training steps, forward and backward only."""
    options = PretrainOptions(max_length=length)
    tokenizer = WordPieceTokenizer.from_pretrained(SNAPSHOTS)
    model = new_model(options, tokenizer.vocab_size)
    assert isinstance(model, BertForMaskedLM)
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(5, tokenizer.vocab_size, (32, length), generator=chance)
    labels = torch.where(torch.rand(ids.shape, generator=chance) < options.mask_probability, ids, -100)

    def train() -> None:
        for _ in range(steps):
            model(ids, labels=labels).loss.backward()

    train()
    return 32 * length * steps / seconds(train, CPU)


def main() -> None:
    setting = read_setting("shards", __doc__, ["cpu"])
    sizes = {"1 MB": 1} if setting.quick else SIZES
    raw: dict[str, Any] = {"building": [], "reading": []}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        check_room(home, 3 * sum(sizes.values()))
        for label, size in sizes.items():
            text = home / f"{size}.txt"
            write_text(text, size)
            for workers in (1, 2):
                folder = home / f"{size}-{workers}"
                taken, memory = build(text, folder, workers)
                raw["building"].append(
                    {"text": label, "workers": workers, "mb_per_second": size / taken, "memory_mb": memory}
                )
                print(f"{label}, {workers} at work: {taken:.0f} s, {memory:.0f} MB", flush=True)
            text.unlink()
        largest = home / f"{max(sizes.values())}-1"
        for label, (length, pairs) in READING.items():
            drawn = reading(largest, length, pairs, 5 if setting.quick else 100)
            raw["reading"].append({"what": label, "tokens_per_second": drawn})
        needed = training(64, 1 if setting.quick else 20)
        raw["training_tokens_per_second"] = needed
    smallest = {one["workers"]: one["memory_mb"] for one in reversed(raw["building"])}
    built = [
        [
            one["text"],
            str(one["workers"]),
            f"{one['mb_per_second']:.1f}",
            f"{one['memory_mb']:.0f}",
            f"{one['memory_mb'] / smallest[one['workers']]:.2f}×",
        ]
        for one in raw["building"]
    ]
    read = [
        [
            one["what"],
            f"{one['tokens_per_second']:,.0f}",
            f"{one['tokens_per_second'] / needed:.0f}×",
        ]
        for one in raw["reading"]
    ]
    caption = (
        "Drawing and masking examples; the tiny model with the course's vocabulary learns from "
        f"{needed:,.0f} tokens a second, in windows of 64"
    )
    columns = [
        "text",
        "processes that tokenize",
        "MB/s",
        "memory, MB",
        "of the smallest text's",
    ]
    keep(
        setting,
        [
            Table("Building", columns, built),
            Table(caption, ["", "tokens a second", "of what training takes"], read),
        ],
        raw,
    )


if __name__ == "__main__":
    main()
