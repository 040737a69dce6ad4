"""How fast are shards built and read, and how does the memory grow with the text?

    python -m benchmarks.shards [--quick]

The course's own documents are repeated, each time with their lines in a different order, in one .txt file of
10 MB, 100 MB and 1 GB. `bertlearn data build` turns each file into shards; its memory is the peak of the
command and its workers together. Then examples are drawn at random and masked, as in training. For
comparison, the benchmark measures the tokens per second of the tiny model's training steps, forward and
backward, with the course's own vocabulary, in batches of 32 windows of 64 tokens. Needs 3.4 GB in the folder
for temporary files (`TMPDIR`).
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
from bertlearn.pretraining.models import new_model
from bertlearn.pretraining.options import PretrainOptions

SIZES = {"10 MB": 10, "100 MB": 100, "1 GB": 1000}
READING = {  # tokens per example, and whether it is a pair; the first run also loads the text from disk
    "windows of 64, first read": (64, False),
    "windows of 64": (64, False),
    "windows of 128": (128, False),
    "pairs of 128": (128, True),
    "pairs of 512": (512, True),
}
SAMPLING_INTERVAL = 0.05  # seconds between two measurements of the memory
CPU = torch.device("cpu")


def write_text(path: Path, megabytes: int) -> None:
    """Write real text of this size: documents separated by blank lines."""
    documents = [document.text.splitlines() for document in course_documents()]
    rng, written = random.Random(0), 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        while written < megabytes * 1e6:
            for lines in documents:
                rng.shuffle(lines)
                written += file.write("\n".join(lines) + "\n\n")
                if written >= megabytes * 1e6:
                    break


def check_free_space(folder: Path, megabytes: float) -> None:
    """End the benchmark if the disk of a folder has too little free space."""
    free = shutil.disk_usage(folder).free / 1e6
    if free < megabytes:
        raise SystemExit(
            f"{folder.parent} has {free:,.0f} MB of free space, but {megabytes:,.0f} MB are needed; "
            "set TMPDIR to a folder with more space"
        )


def build(text: Path, folder: Path, workers: int) -> tuple[float, float]:
    """Build the shards of a text; return the seconds and the peak memory of all processes together, in MB."""
    command = [sys.executable, "-m", "bertlearn", "data", "build", "--input", str(text)]
    command += ["--output", str(folder), "--vocab", str(SNAPSHOTS), "--workers", str(workers)]
    started, highest = time.perf_counter(), 0.0
    with psutil.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            highest = max(highest, memory_in(process))
            time.sleep(SAMPLING_INTERVAL)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit status {process.returncode}")
    return time.perf_counter() - started, highest / 1e6


def reading(folder: Path, length: int, pairs: bool, batches: int) -> float:
    """Return the tokens per second at which random batches of 32 examples are drawn and masked."""
    shards = Shards.open(folder)
    tokenizer = WordPieceTokenizer.from_pretrained(shards.folder)
    examples = Examples(shards, length, pairs, seed=0)
    generator = torch.Generator().manual_seed(0)

    def read() -> None:
        for index in range(batches):
            masked_batch(examples.rows(32 * index, 32), tokenizer, generator)

    return 32 * length * batches / seconds(read, CPU)


def training(length: int, steps: int) -> float:
    """Return the tokens per second of the recipe's training steps, forward and backward only."""
    options = PretrainOptions(max_length=length)
    tokenizer = WordPieceTokenizer.from_pretrained(SNAPSHOTS)
    model = new_model(options, tokenizer.vocab_size)
    assert isinstance(model, BertForMaskedLM)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, tokenizer.vocab_size, (32, length), generator=generator)
    labels = torch.where(torch.rand(ids.shape, generator=generator) < options.mask_probability, ids, -100)

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
        check_free_space(home, 3 * sum(sizes.values()))  # a text, and its shards built twice
        for label, size in sizes.items():
            text = home / f"{size}.txt"
            write_text(text, size)
            for workers in (1, 2):
                folder = home / f"{size}-{workers}"
                duration, memory = build(text, folder, workers)
                raw["building"].append(
                    {"text": label, "workers": workers, "mb_per_second": size / duration, "memory_mb": memory}
                )
                print(f"{label}, {workers} worker(s): {duration:.0f} s, {memory:.0f} MB", flush=True)
            text.unlink()
        largest = home / f"{max(sizes.values())}-1"
        for label, (length, pairs) in READING.items():
            speed = reading(largest, length, pairs, 5 if setting.quick else 100)
            raw["reading"].append({"what": label, "tokens_per_second": speed})
        trained = training(64, 1 if setting.quick else 20)
        raw["training_tokens_per_second"] = trained
    smallest = {run["workers"]: run["memory_mb"] for run in reversed(raw["building"])}
    build_rows = [
        [
            run["text"],
            str(run["workers"]),
            f"{run['mb_per_second']:.1f}",
            f"{run['memory_mb']:.0f}",
            f"{run['memory_mb'] / smallest[run['workers']]:.2f}×",
        ]
        for run in raw["building"]
    ]
    read_rows = [
        [
            run["what"],
            f"{run['tokens_per_second']:,.0f}",
            f"{run['tokens_per_second'] / trained:.0f}×",
        ]
        for run in raw["reading"]
    ]
    caption = (
        "Drawing and masking examples; the tiny model with the course's vocabulary trains on "
        f"{trained:,.0f} tokens per second in windows of 64"
    )
    columns = [
        "text",
        "tokenizing processes",
        "MB/s",
        "memory, MB",
        "relative to the smallest text",
    ]
    keep(
        setting,
        [
            Table("Building", columns, build_rows),
            Table(caption, ["", "tokens per second", "relative to training"], read_rows),
        ],
        raw,
    )


if __name__ == "__main__":
    main()
