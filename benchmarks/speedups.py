"""How much does each optimization gain when they are added one after the other?

    python -m benchmarks.speedups [--quick] [--device cuda]

1. A pretraining step of MiniLM-6 with BERT's vocabulary, 128 tokens per sequence and dropout. The baseline
   predicts every position, computes unfused attention, passes an attention mask that hides nothing, and
   updates one tensor at a time in AdamW. Optimizations lead from there to `bertlearn.training.train`, then to
   a compiled model and to bf16.
2. Vectors of review sentences with MiniLM. The baseline takes the texts in the given order; the optimizations
   lead to `sentence_vectors` within `prepacked_weights`, then to bf16.

Each line includes the optimizations of all lines above it. All lines of a table are timed in turns, after
their outputs have been compared.
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
from bertlearn.tokenizer.encoding import Encoding
from bertlearn.training.metrics import to_device

ROUNDS = 9
MAX_LENGTH = 256  # tokens; every review is shorter


class Training(NamedTuple):
    """Optimizations of a training step; the defaults are the baseline."""

    masked_only: bool = False
    no_mask: bool = False
    fused_attention: bool = False
    fused_adamw: bool = False
    compiled: bool = False
    bf16: bool = False


class Inference(NamedTuple):
    """Optimizations of inference; the defaults are the baseline."""

    by_length: bool = False
    fused_attention: bool = False
    batch: int = 64
    prepacked: bool = False
    bf16: bool = False


TRAINING: dict[str, dict[str, Any]] = {  # the optimization that each line adds
    "baseline": {},
    "logits for the masked positions only": {"masked_only": True},
    "no attention mask where nothing is padded": {"no_mask": True},
    "fused attention": {"fused_attention": True},
    "fused AdamW": {"fused_adamw": True},
    "compiled model": {"compiled": True},
    "bf16": {"bf16": True},
}
INFERENCE: dict[str, dict[str, Any]] = {
    "batches of 64 in the given order": {},
    "batches of similar length": {"by_length": True},
    "fused attention": {"fused_attention": True},
    "batches of 32": {"batch": 32},
    "prepacked weights": {"prepacked": True},
    "bf16": {"bf16": True},
}


def accumulate(baseline: Any, lines: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return for each line the optimizations of this line and of all lines above it."""
    setups, current = {}, baseline
    for name, added in lines.items():
        setups[name] = current = current._replace(**added)
    return setups


# 1. Training


def loss_of(model: nn.Module, batch: PretrainingBatch, setup: Training) -> Tensor:
    """Return the loss of a batch in nats; it does not depend on the optimizations."""
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "token_type_ids": batch.token_type_ids}
    if not setup.no_mask:
        inputs["attention_mask"] = torch.ones_like(batch.input_ids)
    inputs["output_attentions"] = not setup.fused_attention  # returning them requires unfused attention
    if setup.masked_only:
        targets = {"labels": batch.labels, "next_sentence_label": batch.next_sentence_label}
        return model(**inputs, **targets).loss
    output = model(**inputs)
    mlm_loss = cross_entropy(
        output.prediction_logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORE
    )
    return mlm_loss + cross_entropy(output.seq_relationship_logits, batch.next_sentence_label)


def training_step(case: Case, setup: Training, device: torch.device) -> tuple[Work, Callable[[], Tensor]]:
    """Return two functions on the same batch: one takes a step, one returns the loss without dropout."""
    torch.manual_seed(0)
    model = BertForPreTraining(config_of(case.model)).to(device)
    batch = to_device(RandomPairs(case, 1).rows(0, case.batch), device)
    kernel = {"fused": True} if setup.fused_adamw else {"foreach": False}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, **kernel)
    compiled: Any = torch.compile(model) if setup.compiled else model

    def loss() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=setup.bf16):
            return loss_of(compiled, batch, setup)

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
    """Return the model and the batch of the training steps."""
    if setting.quick:
        return Case("tiny", 128, 4, "fp32")
    return Case("MiniLM-6", 128, 256 if setting.device.type == "cuda" else 16, "fp32")


def measure_training(setting: Setting) -> dict[str, Times]:
    """Time a training step with more and more optimizations."""
    device, case = setting.device, training_case(setting)
    steps, losses = {}, {}
    for name, setup in accumulate(Training(), TRAINING).items():
        steps[name], without_dropout = training_step(case, setup, device)
        losses[name] = without_dropout()
    for name, loss in losses.items():
        tolerance = 0.02 if name == "bf16" else 1e-4
        check_same(name, loss, losses["baseline"], tolerance)
    return in_turns(steps, device, 2 if setting.quick else ROUNDS)


# 2. Inference


def batches_of(encodings: list[Encoding], setup: Inference) -> list[list[int]]:
    """Return the indices of the texts in each batch."""
    if setup.by_length:
        return buckets(encodings, setup.batch)
    rows = range(len(encodings))
    return [list(rows[start : start + setup.batch]) for start in rows[:: setup.batch]]


def vectors_of(
    model: BertModel, tokenizer: WordPieceTokenizer, encodings: list[Encoding], setup: Inference
) -> Tensor:
    """Return the mean of each text's token vectors, float32 (N, H) on the CPU, in any setup."""
    vectors = torch.empty(len(encodings), model.config.hidden_size)
    device = next(model.parameters()).device
    with torch.no_grad():
        for rows in batches_of(encodings, setup):
            batch = to_device(tokenizer.pad([encodings[row] for row in rows]), device)
            output = model(**batch._asdict(), output_attentions=not setup.fused_attention)
            vectors[rows] = mean_pooling(output.last_hidden_state.float(), batch.attention_mask).cpu()
    return vectors


def texts_of(setting: Setting) -> int:
    """Return the number of texts to encode."""
    return 64 if setting.quick else 1024


def measure_inference(setting: Setting, stack: ExitStack) -> dict[str, Times]:
    """Time the same texts with more and more optimizations; `stack` keeps the weights prepacked."""
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    texts = load_reviews().sentences[: texts_of(setting)]
    encodings = encode_texts(tokenizer, texts, MAX_LENGTH)
    works: dict[str, Callable[[], Tensor]] = {}
    # Models are shared where possible, since speed also depends on where the weights lie in memory.
    models: dict[tuple[bool, bool], BertModel] = {}
    for name, setup in accumulate(Inference(), INFERENCE).items():
        kind = setup.prepacked, setup.bf16
        if kind not in models:
            dtype = torch.bfloat16 if setup.bf16 else torch.float32
            models[kind] = BertModel.from_pretrained(minilm_path()).to(setting.device, dtype).eval()
            if setup.prepacked:
                stack.enter_context(prepacked_weights(models[kind]))
        works[name] = partial(vectors_of, models[kind], tokenizer, encodings, setup)
    expected = next(iter(works.values()))()
    for name, work in works.items():
        check_same(name, work(), expected, 0.05 if name == "bf16" else 1e-4)
    return in_turns(works, setting.device, 2 if setting.quick else ROUNDS, 0)


# The report


def table(caption: str, times: dict[str, Times], factor: float) -> Table:
    """Return a table of each line's time times `factor`, its own speedup and the cumulative speedup."""
    medians = [time.median for time in times.values()]
    rows = [
        [
            name if index == 0 else f"+ {name}",
            milliseconds(Times(*(factor * value for value in time))),
            f"{medians[index - 1] / time.median:.2f}×" if index else "",
            f"{medians[0] / time.median:.2f}×",
        ]
        for index, (name, time) in enumerate(times.items())
    ]
    return Table(
        caption, ["", "ms (interquartile range)", "speedup of this line", "cumulative speedup"], rows
    )


def main() -> None:
    setting = read_setting("speedups", __doc__)
    training = measure_training(setting)
    with ExitStack() as stack:
        inference = measure_inference(setting, stack)
    case = training_case(setting)
    tables = [
        table(f"A pretraining step, {case.model}, {case.batch} × {case.length} tokens", training, 1.0),
        table(
            f"Time per review sentence through MiniLM, over {texts_of(setting):,} sentences",
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
