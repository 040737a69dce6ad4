"""How fast are shards built and read, and how much memory does it take, as the text grows?

    python -m benchmarks.shards [--quick]

The course's own documents, again and again, each time with its sentences in another order, as one .txt of
10 MB, 100 MB and 1 GB, built as `bertlearn data build` does it; a process of its own for each size, its
memory the highest of it and, with two workers, theirs. Then examples are drawn at random, masked, as in
training, beside the tokens a second that a step of the tiny model takes on this machine.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import Table, keep, memory_of, read_setting, seconds
from bertlearn import BertForMaskedLM, WordPieceTokenizer
from bertlearn.data import course_documents
from bertlearn.options import PretrainOptions
from bertlearn.pretrain import LADDER, masked_batch, new_model
from bertlearn.shards import Examples, Problems, Shards, build_shards, read_documents

SIZES = {"10 MB": 10, "100 MB": 100, "1 GB": 1000}
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


def build(text: Path, folder: Path, workers: int) -> None:
    """Build shards of a text, as the command does."""
    documents = read_documents([str(text)], Problems())
    build_shards(documents, folder, WordPieceTokenizer.from_pretrained(LADDER), workers, progress=False)


def build_timed(text: Path, folder: Path, workers: int) -> None:
    """Build, and leave the seconds beside the shards."""
    began = time.perf_counter()
    build(text, folder, workers)
    (folder / "seconds").write_text(str(time.perf_counter() - began), encoding="utf-8")


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
    tokenizer = WordPieceTokenizer.from_pretrained(LADDER)
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
        for label, size in sizes.items():
            text = home / f"{size}.txt"
            write_text(text, size)
            for workers in (1, 2):
                folder = home / f"{size}-{workers}"
                memory = memory_of(CPU, build_timed, text, folder, workers)
                taken = float((folder / "seconds").read_text(encoding="utf-8"))
                raw["building"].append(
                    {"text": label, "workers": workers, "mb_per_second": size / taken, "memory_mb": memory}
                )
                print(raw["building"][-1], flush=True)
            text.unlink()
        largest = home / f"{max(sizes.values())}-1"
        for length, pairs in ((64, False), (128, False), (128, True), (512, True)):
            drawn = reading(largest, length, pairs, 5 if setting.quick else 100)
            raw["reading"].append({"length": length, "pairs": pairs, "tokens_per_second": drawn})
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
            f"{'pairs' if one['pairs'] else 'windows'} of {one['length']}",
            f"{one['tokens_per_second']:,.0f}",
            f"{one['tokens_per_second'] / needed:.0f}×",
        ]
        for one in raw["reading"]
    ]
    caption = f"Drawing and masking examples; the tiny model learns from {needed:,.0f} tokens a second"
    columns = [
        "text",
        "processes that tokenize",
        "MB/s",
        "memory above the start, MB",
        "of the smallest text's",
    ]
    keep(
        "shards",
        setting,
        [
            Table("Building", columns, built),
            Table(caption, ["", "tokens a second", "of what training takes"], read),
        ],
        raw,
    )


if __name__ == "__main__":
    main()
