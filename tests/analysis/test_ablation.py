"""Heads off against zeroed columns of the output projection, cut edges against weights by hand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CONFIG, largest, perturb, random_batch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bertlearn.analysis.ablation import (
    head_importance,
    logits_without_each_head,
    without_edges,
    without_heads,
)
from bertlearn.finetuning.features import Features, text_features
from bertlearn.model import bert
from bertlearn.model.bert import AttentionOutput, BertModel
from bertlearn.model.heads import IGNORE, BertForSequenceClassification
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

HEADS = [(layer, head) for layer in range(2) for head in range(2)]
WORDS = [f"{first}{second}" for first in "bcdfghjklm" for second in "aeiou"]


def classifier() -> BertForSequenceClassification:
    torch.manual_seed(0)
    model = BertForSequenceClassification(CONFIG).eval()
    perturb(model, scale=0.2)
    return model


def with_zeroed_columns(
    model: BertForSequenceClassification, heads: list[tuple[int, int]]
) -> torch.nn.Module:
    """Return a copy whose output projections ignore the heads: their columns are 0."""
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
def test_switching_a_head_off_equals_zeroing_its_columns(heads: list[tuple[int, int]]) -> None:
    model, batch = classifier(), random_batch(CONFIG)
    with torch.no_grad():
        full = model(**batch).logits
        expected = with_zeroed_columns(model, heads)(**batch).logits
        for paths in ({}, {"output_attentions": True}):
            with without_heads(model, heads):
                assert largest(model(**batch, **paths).logits, expected) < 1e-5
        assert torch.equal(model(**batch).logits, full)
    assert hooks(model) == 0
    assert bool(heads) == (largest(expected, full) > 1e-3)


def test_hooks_are_also_removed_after_an_error() -> None:
    model = classifier()
    with pytest.raises(ZeroDivisionError), without_heads(model, iter(HEADS)):
        assert hooks(model) == 2
        _ = 1 / 0
    assert hooks(model) == 0


def test_contexts_nest_and_accept_a_bare_encoder() -> None:
    model, batch = classifier(), random_batch(CONFIG)
    with torch.no_grad():
        expected = with_zeroed_columns(model, [(0, 0), (0, 1)]).bert(**batch).last_hidden_state
        with without_heads(model, [(0, 0)]), without_heads(model.bert, [(0, 1), (0, 1)]):
            assert largest(model.bert(**batch).last_hidden_state, expected) < 1e-5


def test_gradients_do_not_pass_a_head_that_is_off() -> None:
    model, batch = classifier(), random_batch(CONFIG)
    with without_heads(model, [(1, 0)]):
        model(**batch).logits.sum().backward()
    gradient = model.bert.encoder.layer[1].attention.self.value.weight.grad
    assert not gradient[:16].any() and gradient[16:].any()


@pytest.mark.parametrize("head", [(2, 0), (0, 2), (-1, 0), (0, -1)])
def test_a_head_that_does_not_exist_is_refused(head: Any) -> None:
    model = classifier()
    message = r"no head .*; it has layers 0 to 1 with heads 0 to 1"
    with pytest.raises(ValueError, match=message), without_heads(model, [(0, 0), head]):
        pass
    assert hooks(model) == 0


def test_a_model_without_encoder_is_refused() -> None:
    message = "model is Linear, expected a BertModel or a model built on one"
    with pytest.raises(ValueError, match=message), without_heads(torch.nn.Linear(2, 2), []):
        pass


EDGES = [(0, 1, 2, 3), (0, 1, 2, 0), (0, 0, 0, 10), (1, 1, 4, 4)]


def weights_by_hand(monkeypatch: pytest.MonkeyPatch, edges: list[tuple[int, int, int, int]]) -> None:
    """Set the weights of the edges to 0 after the softmax, and divide each row by its sum."""
    original, calls = bert.scaled_dot_product_attention, list[None]()

    def cut(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, dropout: float) -> AttentionOutput:
        probs = original(query, key, value, mask, dropout).probs
        assert probs is not None
        for layer, head, q, k in edges:
            if layer == len(calls):
                probs[:, head, q, k] = 0
        calls.append(None)
        probs = probs / probs.sum(-1, keepdim=True)
        return AttentionOutput(probs @ value, probs)

    monkeypatch.setattr(bert, "scaled_dot_product_attention", cut)


@pytest.mark.parametrize("edges", [[], EDGES[:1], EDGES], ids=["none", "one", "four"])
@pytest.mark.parametrize("padded", [True, False], ids=["padded", "unpadded"])
def test_a_cut_edge_has_no_weight_and_its_row_is_renormalized(
    monkeypatch: pytest.MonkeyPatch, edges: list[tuple[int, int, int, int]], padded: bool
) -> None:
    model, batch = classifier(), random_batch(CONFIG)
    if not padded:
        del batch["attention_mask"]
    with torch.no_grad():
        full = model(**batch).logits
        with without_edges(model, edges):
            fused, explicit = model(**batch), model(**batch, output_attentions=True)
        assert torch.equal(model(**batch).logits, full) and hooks(model) == 0
        weights_by_hand(monkeypatch, edges)
        expected = model(**batch, output_attentions=True)
    for layer, head, query, key in edges:
        assert not explicit.attentions[layer][:, head, query, key].any()
    for ours, theirs in zip(explicit.attentions, expected.attentions, strict=True):
        assert largest(ours, theirs) < 1e-6
    assert largest(explicit.logits, expected.logits) < 1e-5 > largest(fused.logits, expected.logits)
    assert bool(edges) == (largest(expected.logits, full) > 1e-3)


def test_edges_and_heads_nest_and_accept_a_bare_encoder() -> None:
    model, batch = classifier(), random_batch(CONFIG)
    with torch.no_grad():
        with without_edges(model, EDGES), without_heads(model, [(0, 0)]):
            expected = model.bert(**batch).last_hidden_state
        with without_edges(model, EDGES[:2]), without_edges(model.bert, EDGES[2:]):
            assert (
                largest(with_zeroed_columns(model, [(0, 0)]).bert(**batch).last_hidden_state, expected) < 1e-5
            )
            assert largest(model.bert(**batch).last_hidden_state, expected) > 1e-3


@pytest.mark.parametrize("edge", [(0, 11), (11, 0), (-1, 0)])
def test_a_position_that_does_not_exist_is_refused_and_hooks_are_removed(edge: Any) -> None:
    model, batch = classifier(), random_batch(CONFIG)
    message = r"no edge from .* to .*; the text has tokens 0 to 10"
    with pytest.raises(ValueError, match=message), without_edges(model, [(1, 0, *edge)]):
        model(**batch)
    assert hooks(model) == 0
    with pytest.raises(ValueError, match=r"no head \(2, 0\)"), without_edges(model, [(2, 0, 0, 0)]):
        pass


@pytest.mark.parametrize("kept", [0, 5], ids=["all cut", "padding left"])
def test_a_token_must_keep_an_edge(kept: int) -> None:
    model, batch = classifier(), random_batch(CONFIG)
    batch["attention_mask"][:, 11 - kept :] = 0
    all_edges = [(1, 1, 3, key) for key in range(11 - kept)]
    with without_edges(model, all_edges[1:]):
        model(**batch)
    message = "all edges of token 3 in head 1 are cut; keep one, or switch the head off"
    with pytest.raises(ValueError, match=message), without_edges(model, all_edges):
        model(**batch)


def test_one_batch_of_heads_equals_each_head_alone() -> None:
    model, ids = classifier().train(), random_batch(CONFIG)["input_ids"][:1]
    logits = logits_without_each_head(model, ids)
    assert logits.shape == (2, 2, 2) and model.training and hooks(model) == 0
    model.eval()
    for layer, head in HEADS:
        with torch.no_grad(), without_heads(model, [(layer, head)]):
            assert largest(model(ids).logits[0], logits[layer, head]) < 1e-5
    assert len({round(value, 4) for value in logits[..., 0].flatten().tolist()}) == 4


def some_features() -> Features:
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS])
    texts = [" ".join(WORDS[start::step]) for start in range(6) for step in (5, 11, 17)]
    return text_features(tokenizer, texts, [row % 3 % 2 for row in range(18)], max_length=12)


def test_each_head_is_measured_alone() -> None:
    model, features = classifier().train(), some_features()
    rows = head_importance(model, features, batch_size=5)
    assert model.training
    assert [(row.layer, row.head) for row in rows] == [(None, None), *HEADS]
    batch, labels = features.batch(range(18)), torch.tensor(features.targets["labels"])
    inputs = {name: getattr(batch, name) for name in ("input_ids", "attention_mask", "token_type_ids")}
    for row, heads in zip(rows, [[], *([head] for head in HEADS)], strict=True):
        with torch.no_grad():
            logits = with_zeroed_columns(model, heads).eval()(**inputs).logits
        assert row.loss == pytest.approx(cross_entropy(logits, labels).item(), abs=1e-5)
        assert row.accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert len({round(row.loss, 4) for row in rows}) == 5


def test_features_of_another_task_are_refused() -> None:
    features = some_features()
    answers = Features(features.tokenizer, features.encodings, {"start_positions": [], "end_positions": []})
    with pytest.raises(ValueError, match=r"features has answers, but .* learns from one label per text"):
        head_importance(classifier(), answers)
    rows = [[0] * len(one.input_ids) for one in features.encodings]
    with pytest.raises(ValueError, match=r"has one label per token, but .*; use text_features"):
        head_importance(classifier(), Features(features.tokenizer, features.encodings, {"labels": rows}))
    with pytest.raises(ValueError, match=r"model is bertlearn.BertModel, expected bertlearn.BertForSequence"):
        head_importance(BertModel(CONFIG), features)
    with pytest.raises(ValueError, match="features is list, expected Features"):
        head_importance(classifier(), [])


def test_texts_without_a_label_do_not_count() -> None:
    model, features = classifier(), some_features()
    some = [label if row % 3 else IGNORE for row, label in enumerate(features.targets["labels"])]
    kept = [row for row, label in enumerate(some) if label != IGNORE]
    alone = Features(
        features.tokenizer,
        [features.encodings[row] for row in kept],
        {"labels": [some[row] for row in kept]},
    )
    marked = Features(features.tokenizer, features.encodings, {"labels": some})
    for one, other in zip(head_importance(model, marked), head_importance(model, alone), strict=True):
        assert one.accuracy == pytest.approx(other.accuracy)
        assert one.loss == pytest.approx(other.loss, abs=1e-6)


@pytest.mark.parametrize(("label", "message"), [(IGNORE, "no label but -100"), (5, "label 5, but the model")])
def test_labels_that_cannot_be_measured_are_refused(label: int, message: str) -> None:
    features = some_features()
    labels = {"labels": [label] * len(features)}
    with pytest.raises(ValueError, match=f"features has .*{message}"):
        head_importance(classifier(), Features(features.tokenizer, features.encodings, labels))


@pytest.mark.parametrize("heads", [(0, 1), {0: [1]}, [(0, 1.0)], [(0, 1, 1)], ["01"], [(0, None)]], ids=str)
def test_heads_in_another_form_are_refused(heads: Any) -> None:
    with (
        pytest.raises(ValueError, match=r"heads=.* is not a list of \(layer, head\), whole numbers from 0"),
        without_heads(classifier(), heads),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"edges=.* is not a list of \(layer, head, query, key\), whole"),
        without_edges(classifier(), heads),
    ):
        pass


@pytest.mark.parametrize("heads", [torch.tensor([[0, 1]]), np.array([[0, 1]]), [(False, True)]])
def test_heads_are_numbers_of_any_library(heads: Any) -> None:
    model, batch = classifier(), random_batch(CONFIG)
    with torch.no_grad():
        with without_heads(model, [(0, 1)]):
            expected = model(**batch).logits
        with without_heads(model, heads):
            assert torch.equal(model(**batch).logits, expected)


def test_several_texts_are_not_mixed_up_with_the_heads() -> None:
    model, ids = classifier(), random_batch(CONFIG)["input_ids"]
    for wrong in (ids[:2], ids, ids[0], ids[0].tolist()):  # two texts are as many as there are heads
        with pytest.raises(
            ValueError, match=r"input_ids is .*, expected a tensor \(1, S\), the ids of one te"
        ):
            logits_without_each_head(model, wrong)
    with pytest.raises(ValueError, match=r"model is bertlearn.BertModel, expected"):
        logits_without_each_head(model.bert, ids[:1])


def test_a_model_without_pooler_is_accepted() -> None:
    torch.manual_seed(0)
    encoder, batch = BertModel(CONFIG, add_pooling_layer=False).eval(), random_batch(CONFIG)
    perturb(encoder, scale=0.2)
    with torch.no_grad():
        full = encoder(**batch).last_hidden_state
        with without_heads(encoder, [(1, 1)]):
            off = encoder(**batch).last_hidden_state
        assert torch.equal(encoder(**batch).last_hidden_state, full)
        encoder.encoder.layer[1].attention.output.dense.weight[:, 16:] = 0  # D = 32 / 2
        assert largest(encoder(**batch).last_hidden_state, off) < 1e-5
    assert largest(off, full) > 1e-3
