"""What does each means of speed buy, one added to the other?

    python -m benchmarks.speedups [--quick] [--device cuda]

1. A step of pretraining, MiniLM-6 with BERT's vocabulary, 128 tokens, dropout on: from the plainest program
   (every position guessed, attention written out, a mask that hides nothing, AdamW a tensor at a time) to
   what `bertlearn.training.train` does, and on to a compiled model and bf16.
2. Vectors for review sentences, MiniLM: from batches as the texts come to what `sentence_vectors` does.

Each line has all the means of the lines above it. All lines of a table run in turns; their outputs are
compared first.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.common import (
    Setting,
    Table,
    Times,
    Work,
    check_same,
    in_turns,
    keep,
    milliseconds,
    read_setting,
)
from benchmarks.pretraining_step import Case, RandomPairs, config_of
from bertlearn import (
    BertModel,
    WordPieceTokenizer,
    load_reviews,
    mean_pooling,
    minilm_path,
    prepacked_weights,
)
from bertlearn.model.heads import IGNORE, BertForPreTraining
from bertlearn.model.inference import buckets, encode_texts
from bertlearn.pretraining.masking import PretrainingBatch
from bertlearn.tokenizer.wordpiece import Encoding
from bertlearn.training.metrics import to_device

ROUNDS = 9
LONGEST = 256  # pieces; no review has as many


class Training(NamedTuple):
    """How a step is done; the defaults are the plainest."""

    masked_only: bool = False
    no_mask: bool = False
    fused_attention: bool = False
    fused_adamw: bool = False
    compiled: bool = False
    bf16: bool = False


class Inference(NamedTuple):
    """How vectors are made; the defaults are the plainest."""

    by_length: bool = False
    fused_attention: bool = False
    batch: int = 64
    packed: bool = False
    bf16: bool = False


TRAINING: dict[str, dict[str, Any]] = {  # what each line adds
    "as plain as can be": {},
    "logits for the masked positions only": {"masked_only": True},
    "no mask where nothing is padded": {"no_mask": True},
    "fused attention": {"fused_attention": True},
    "fused AdamW": {"fused_adamw": True},
    "compiled model": {"compiled": True},
    "bf16": {"bf16": True},
}
INFERENCE: dict[str, dict[str, Any]] = {
    "as the texts come, 64 at a time": {},
    "texts of like length together": {"by_length": True},
    "fused attention": {"fused_attention": True},
    "32 at a time": {"batch": 32},
    "packed weights": {"packed": True},
    "bf16": {"bf16": True},
}


def added_up(first: Any, lines: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return for each line all means that it and the lines above it name."""
    found, so_far = {}, first
    for name, means in lines.items():
        found[name] = so_far = so_far._replace(**means)
    return found


# 1. Training


def loss_of(model: nn.Module, batch: PretrainingBatch, means: Training) -> Tensor:
    """Return the loss of a batch, nats: the same number whatever the means."""
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "token_type_ids": batch.token_type_ids}
    if not means.no_mask:
        inputs["attention_mask"] = torch.ones_like(batch.input_ids)
    inputs["output_attentions"] = not means.fused_attention  # their price is the written-out path
    if means.masked_only:
        targets = {"labels": batch.labels, "next_sentence_label": batch.next_sentence_label}
        return model(**inputs, **targets).loss
    output = model(**inputs)
    guesses = cross_entropy(
        output.prediction_logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORE
    )
    return guesses + cross_entropy(output.seq_relationship_logits, batch.next_sentence_label)


def training_step(case: Case, means: Training, device: torch.device) -> tuple[Work, Callable[[], Tensor]]:
    """Return what does a step, and what gives the loss without dropout, on the same batch."""
    torch.manual_seed(0)
    model = BertForPreTraining(config_of(case.model)).to(device)
    batch = to_device(RandomPairs(case, 1).rows(0, case.batch), device)
    kind = {"fused": True} if means.fused_adamw else {"foreach": False}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, **kind)
    runs: Any = torch.compile(model) if means.compiled else model

    def loss() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=means.bf16):
            return loss_of(runs, batch, means)

    def step() -> None:
        model.train()
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def without_dropout() -> Tensor:
        model.eval()
        with torch.no_grad():
            return loss()

    return step, without_dropout


def training_case(setting: Setting) -> Case:
    """Return the model and batch of the steps."""
    if setting.quick:
        return Case("tiny", 128, 4, "fp32")
    return Case("MiniLM-6", 128, 256 if setting.device.type == "cuda" else 16, "fp32")


def measure_training(setting: Setting) -> dict[str, Times]:
    """Time a step with ever more means."""
    device, case = setting.device, training_case(setting)
    steps, losses = {}, {}
    for name, means in added_up(Training(), TRAINING).items():
        steps[name], without_dropout = training_step(case, means, device)
        losses[name] = without_dropout()
    for name, loss in losses.items():
        tolerance = 0.02 if name == "bf16" else 1e-4
        check_same(name, loss, losses["as plain as can be"], tolerance)
    return in_turns(steps, device, 2 if setting.quick else ROUNDS)


# 2. Inference


def batches_of(encodings: list[Encoding], means: Inference) -> list[list[int]]:
    """Return the texts' numbers, batch by batch."""
    if means.by_length:
        return buckets(encodings, means.batch)
    numbers = range(len(encodings))
    return [list(numbers[first : first + means.batch]) for first in numbers[:: means.batch]]


def vectors_of(
    model: BertModel, tokenizer: WordPieceTokenizer, encodings: list[Encoding], means: Inference
) -> Tensor:
    """Return the mean of each text's token vectors, float32 (N, H) on the CPU, whatever the means."""
    found = torch.empty(len(encodings), model.config.hidden_size)
    device = next(model.parameters()).device
    with torch.no_grad():
        for rows in batches_of(encodings, means):
            batch = to_device(tokenizer.pad([encodings[row] for row in rows]), device)
            output = model(**batch._asdict(), output_attentions=not means.fused_attention)
            found[rows] = mean_pooling(output.last_hidden_state.float(), batch.attention_mask).cpu()
    return found


def texts_of(setting: Setting) -> int:
    """Return how many texts are read."""
    return 64 if setting.quick else 1024


def measure_inference(setting: Setting, prepared: ExitStack) -> dict[str, Times]:
    """Time the same texts with ever more means; models stay packed until `prepared` ends."""
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    texts = load_reviews().sentences[: texts_of(setting)]
    encodings = encode_texts(tokenizer, texts, LONGEST)
    works: dict[str, Callable[[], Tensor]] = {}
    models: dict[tuple[bool, bool], BertModel] = {}  # shared, since each place in memory has its own speed
    for name, means in added_up(Inference(), INFERENCE).items():
        kind = means.packed, means.bf16
        if kind not in models:
            dtype = torch.bfloat16 if means.bf16 else torch.float32
            models[kind] = BertModel.from_pretrained(minilm_path()).to(setting.device, dtype).eval()
            if means.packed:
                prepared.enter_context(prepacked_weights(models[kind]))
        works[name] = partial(vectors_of, models[kind], tokenizer, encodings, means)
    right = next(iter(works.values()))()
    for name, work in works.items():
        check_same(name, work(), right, 0.05 if name == "bf16" else 1e-4)
    return in_turns(works, setting.device, 2 if setting.quick else ROUNDS, 0)


# The report


def table(caption: str, times: dict[str, Times], per: float) -> Table:
    """Return the lines in order: what each takes, what its means bought, and what all so far did."""
    medians = [time.median for time in times.values()]
    rows = [
        [
            name if number == 0 else f"+ {name}",
            milliseconds(Times(*(per * value for value in time))),
            f"{medians[number - 1] / time.median:.2f}×" if number else "",
            f"{medians[0] / time.median:.2f}×",
        ]
        for number, (name, time) in enumerate(times.items())
    ]
    return Table(caption, ["", "ms (middle half)", "this line bought", "all so far"], rows)


def main() -> None:
    setting = read_setting("speedups", __doc__)
    training = measure_training(setting)
    with ExitStack() as prepared:
        inference = measure_inference(setting, prepared)
    case = training_case(setting)
    tables = [
        table(f"A step of pretraining, {case.model}, {case.batch} × {case.length} tokens", training, 1.0),
        table(
            f"A review sentence through MiniLM, of {texts_of(setting):,} that are read",
            inference,
            1 / texts_of(setting),
        ),
    ]
    raw = {
        part: {name: time._asdict() for name, time in times.items()}
        for part, times in (("training", training), ("inference", inference))
    }
    keep(setting, tables, raw)


if __name__ == "__main__":
    main()
