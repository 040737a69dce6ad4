"""Heads switched off against their columns struck from the output projection; everything put back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from conftest import CONFIG, largest, perturb, random_batch
from torch.nn.functional import cross_entropy

from bertlearn.ablation import head_importance, without_heads
from bertlearn.encoder import BertModel
from bertlearn.finetune import Features, text_features
from bertlearn.finetuning import BertForSequenceClassification
from bertlearn.tokenization import SPECIAL_TOKENS, WordPieceTokenizer

HEADS = [(layer, head) for layer in range(2) for head in range(2)]
WORDS = [f"{first}{second}" for first in "bcdfghjklm" for second in "aeiou"]


def classifier() -> BertForSequenceClassification:
    torch.manual_seed(0)
    model = BertForSequenceClassification(CONFIG).eval()
    perturb(model, scale=0.2)
    return model


def struck(model: BertForSequenceClassification, heads: list[tuple[int, int]]) -> torch.nn.Module:
    """Return a copy whose output projections take nothing from the heads: their columns are 0."""
    model = copy.deepcopy(model)
    for layer, head in heads:
        dense = model.bert.encoder.layer[layer].attention.output.dense
        with torch.no_grad():
            dense.weight[:, 16 * head : 16 * (head + 1)] = 0  # D = 32 / 2
    return model


def hooks(model: torch.nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize(
    "heads", [[], *([head] for head in HEADS), [(0, 1), (1, 0)], [(1, 0), (1, 1)], HEADS]
)
def test_a_head_is_off_as_if_nothing_were_taken_from_it(heads: list[tuple[int, int]]) -> None:
    model, batch = classifier(), random_batch(CONFIG)
    with torch.no_grad():
        whole = model(**batch).logits
        expected = struck(model, heads)(**batch).logits
        for paths in ({}, {"output_attentions": True}):
            with without_heads(model, heads):
                assert largest(model(**batch, **paths).logits, expected) < 1e-5
        assert torch.equal(model(**batch).logits, whole)
    assert hooks(model) == 0
    assert bool(heads) == (largest(expected, whole) > 1e-3)


def test_all_is_put_back_after_an_error_too() -> None:
    model = classifier()
    with pytest.raises(ZeroDivisionError), without_heads(model, iter(HEADS)):
        assert hooks(model) == 2
        _ = 1 / 0
    assert hooks(model) == 0


def test_contexts_nest_and_a_bare_encoder_serves() -> None:
    model, batch = classifier(), random_batch(CONFIG)
    with torch.no_grad():
        expected = struck(model, [(0, 0), (0, 1)]).bert(**batch).last_hidden_state
        with without_heads(model, [(0, 0)]), without_heads(model.bert, [(0, 1), (0, 1)]):
            assert largest(model.bert(**batch).last_hidden_state, expected) < 1e-5


def test_gradients_do_not_pass_a_head_that_is_off() -> None:
    model, batch = classifier(), random_batch(CONFIG)
    with without_heads(model, [(1, 0)]):
        model(**batch).logits.sum().backward()
    gradient = model.bert.encoder.layer[1].attention.self.value.weight.grad
    assert not gradient[:16].any() and gradient[16:].any()


@pytest.mark.parametrize("head", [(2, 0), (0, 2), (-1, 0), (0, -1), (0.5, 0)])
def test_a_head_that_is_not_there_is_named(head: Any) -> None:
    model = classifier()
    message = r"no head .*; it has layers 0 to 1 with heads 0 to 1"
    with pytest.raises(ValueError, match=message), without_heads(model, [(0, 0), head]):
        pass
    assert hooks(model) == 0


def test_what_is_no_encoder_is_named() -> None:
    message = "model is Linear, expected a BertModel or a model built on one"
    with pytest.raises(ValueError, match=message), without_heads(torch.nn.Linear(2, 2), []):
        pass


def some_features() -> Features:
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS])
    texts = [" ".join(WORDS[start::step]) for start in range(6) for step in (5, 11, 17)]
    return text_features(tokenizer, texts, [row % 3 % 2 for row in range(18)], max_length=12)


def test_each_head_is_measured_by_itself() -> None:
    model, features = classifier().train(), some_features()
    rows = head_importance(model, features, batch_size=5)
    assert model.training
    assert [(row.layer, row.head) for row in rows] == [(None, None), *HEADS]
    batch, labels = features.batch(range(18)), torch.tensor(features.targets["labels"])
    inputs = {name: getattr(batch, name) for name in ("input_ids", "attention_mask", "token_type_ids")}
    for row, heads in zip(rows, [[], *([head] for head in HEADS)], strict=True):
        with torch.no_grad():
            logits = struck(model, heads).eval()(**inputs).logits
        assert row.loss == pytest.approx(cross_entropy(logits, labels).item(), abs=1e-5)
        assert row.accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert len({round(row.loss, 4) for row in rows}) == 5


def test_another_task_is_named() -> None:
    features = some_features()
    answers = Features(features.tokenizer, features.encodings, {"start_positions": [], "end_positions": []})
    with pytest.raises(
        ValueError, match="BertForSequenceClassification with start_positions, end_positions; expe"
    ):
        head_importance(classifier(), answers)
    with pytest.raises(ValueError, match="BertModel with labels; expected a BertForSequenceClassification"):
        head_importance(BertModel(CONFIG), features)


def test_a_model_without_pooler_is_an_encoder_too() -> None:
    torch.manual_seed(0)
    encoder, batch = BertModel(CONFIG, add_pooling_layer=False).eval(), random_batch(CONFIG)
    perturb(encoder, scale=0.2)
    with torch.no_grad():
        whole = encoder(**batch).last_hidden_state
        with without_heads(encoder, [(1, 1)]):
            off = encoder(**batch).last_hidden_state
        assert torch.equal(encoder(**batch).last_hidden_state, whole)
        encoder.encoder.layer[1].attention.output.dense.weight[:, 16:] = 0  # D = 32 / 2
        assert largest(encoder(**batch).last_hidden_state, off) < 1e-5
    assert largest(off, whole) > 1e-3
