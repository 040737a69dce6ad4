"""What makes the model fast changes no number: outputs and gradients, for shapes and paddings of chance.

Packed weights have a file of their own, `test_packing.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertlearn import (
    BertConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    WordPieceTokenizer,
    predict,
)
from bertlearn.model.heads import IGNORE

SEEDS = range(12)
ROUNDING = {"fp32": 2e-5, "bf16": 0.05}  # shares of the largest number


class Drawn(NamedTuple):
    """A model and a batch."""

    model: BertForPreTraining
    inputs: dict[str, Tensor]
    labels: Tensor
    relation: Tensor


def draw(seed: int, padded: bool = True) -> Drawn:
    """Return a small model with weights far from their beginning, and a batch; both in shapes of chance."""
    torch.manual_seed(seed)

    def between(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, ()))

    heads = between(1, 4)
    config = BertConfig(
        vocab_size=50,
        hidden_size=heads * between(3, 9),
        num_hidden_layers=between(1, 3),
        num_attention_heads=heads,
        intermediate_size=between(5, 40),
        max_position_embeddings=40,
    )
    model = BertForPreTraining(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    rows, length = between(1, 6), between(2, 40)
    ids = torch.randint(0, 50, (rows, length))
    lengths = torch.randint(1, length + 1, (rows, 1)) if padded else torch.full((rows, 1), length)
    keep = torch.arange(length) < lengths
    chosen = (torch.rand(rows, length) < 0.3) & keep
    chosen[0, 0] = True
    inputs = {
        "input_ids": ids,
        "attention_mask": keep.long(),
        "token_type_ids": torch.randint(0, 2, (rows, length)),
    }
    return Drawn(model, inputs, torch.where(chosen, ids, IGNORE), torch.randint(0, 2, (rows,)))


def results(
    drawn: Drawn, precision: str, all_positions: bool = False, **changed: Any
) -> tuple[Tensor, list[Tensor]]:
    """Return the loss and every parameter's gradient."""
    inputs = {**drawn.inputs, **changed}
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        if all_positions:
            output = drawn.model(**inputs)
            loss = cross_entropy(output.prediction_logits.flatten(0, 1).float(), drawn.labels.flatten())
            loss = loss + cross_entropy(output.seq_relationship_logits.float(), drawn.relation)
        else:
            loss = drawn.model(**inputs, labels=drawn.labels, next_sentence_label=drawn.relation).loss
    return loss, list(torch.autograd.grad(loss, list(drawn.model.parameters())))


def assert_same(found: tuple[Tensor, list[Tensor]], right: tuple[Tensor, list[Tensor]], share: float) -> None:
    scale = max(gradient.abs().max() for gradient in right[1])
    assert scale > 0.01
    torch.testing.assert_close(found[0].float(), right[0].float(), rtol=share, atol=0)
    for mine, theirs in zip(found[1], right[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=share * scale.item())


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "written_out", [{"output_attentions": True}, {"all_positions": True}], ids=["attention", "logits"]
)
def test_fused_attention_and_masked_logits(written_out: dict, seed: int, precision: str) -> None:
    drawn = draw(seed)
    assert_same(results(drawn, precision), results(drawn, "fp32", **written_out), ROUNDING[precision])


@pytest.mark.parametrize("seed", SEEDS)
def test_no_mask_where_nothing_is_padded(seed: int) -> None:
    drawn = draw(seed, padded=False)
    assert_same(results(drawn, "fp32", attention_mask=None), results(drawn, "fp32"), ROUNDING["fp32"])


@pytest.mark.parametrize("seed", range(4))
def test_the_graph_that_is_compiled(seed: int) -> None:
    """Without the C++ compiler behind it, whose code `benchmarks.speedups` compares."""
    torch.compiler.reset()  # after some recompilations torch would run it uncompiled, and not say so
    drawn = draw(seed)
    right = results(drawn, "fp32")
    compiled: Any = torch.compile(drawn.model, backend="aot_eager")
    assert_same(results(drawn._replace(model=compiled), "fp32"), right, ROUNDING["fp32"])


@pytest.mark.parametrize("seed", SEEDS)
def test_texts_of_like_length_together(seed: int) -> None:
    """One text at a time, nothing is sorted and nothing padded."""
    torch.manual_seed(seed)
    words = [chr(ord("a") + number) for number in range(26)]
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    encoder = draw(seed).model.bert
    generator = torch.Generator().manual_seed(seed)
    model = BertForSequenceClassification.from_encoder(encoder, ["a", "b", "c"], generator)
    nn.init.normal_(model.classifier.weight)
    lengths = torch.randint(1, 39, (10,)).tolist()
    texts = [" ".join(words[int(torch.randint(26, ()))] for _ in range(length)) for length in lengths]
    right = torch.cat([predict(model, tokenizer, [text]) for text in texts])
    assert right.std(0).max() > 1e-3
    for size in (2, 3, 10):
        torch.testing.assert_close(predict(model, tokenizer, texts, size), right, rtol=0, atol=1e-5)
