"""Integrated gradients against the midpoint rule by hand, completeness, attention and deletion by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CONFIG, perturb

from bertlearn.analysis import attribution
from bertlearn.analysis.attribution import Attribution, attention_scores, deletion, integrated_gradients
from bertlearn.model.bert import mean_pooling
from bertlearn.model.heads import BertForMaskedLM, BertForSequenceClassification
from bertlearn.model.inference import predict
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

WORDS = [f"{first}{second}" for first in "bcdfghjklm" for second in "aeiou"]  # 50
TOKENIZER = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS, *(f"##{word}" for word in WORDS[:46])])
TEXT = "ba becobi du fe"


def classifier(pooling: str = "cls", labels: int = 3, seed: int = 0) -> BertForSequenceClassification:
    """Return a model perturbed so strongly that its scores differ between texts."""
    torch.manual_seed(seed)
    names = {number: f"label {number}" for number in range(labels)}
    config = replace(CONFIG, id2label=names, classifier_pooling=pooling, hidden_dropout_prob=0.3)
    model = BertForSequenceClassification(config).eval()
    perturb(model, seed, scale=0.2)
    return model


def some_texts(count: int, longest: int = 12) -> list[str]:
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, longest))) for _ in range(count)]


def log_odds(logits: torch.Tensor, label: int) -> torch.Tensor:
    probs = logits.softmax(-1)[..., label]
    return (probs / (1 - probs)).log()


def from_vectors(model: BertForSequenceClassification, words: torch.Tensor) -> torch.Tensor:
    """Return the logits (B, C) of word vectors (B, S, H), step by step from the lookup on."""
    embeddings = model.bert.embeddings
    positions = embeddings.position_embeddings.weight[: words.shape[1]]
    summed = embeddings.LayerNorm(words + positions + embeddings.token_type_embeddings.weight[0])
    states = model.bert.encoder(summed)[0][-1]
    if model.config.classifier_pooling == "cls":
        return model.classifier(model.bert.pooler(states))
    return model.classifier(mean_pooling(states, torch.ones(words.shape[:2])))


def midpoint_rule(
    model: BertForSequenceClassification, ids: list[int], baseline: list[int], label: int, steps: int
) -> torch.Tensor:
    """Return the scores (S,) of the tokens, computed point by point."""
    lookup = model.bert.embeddings.word_embeddings
    end, start = (lookup(torch.tensor([row])).detach() for row in (ids, baseline))
    total = torch.zeros_like(end)
    for step in range(steps):
        point = (start + (step + 0.5) / steps * (end - start)).requires_grad_()
        total += torch.autograd.grad(log_odds(from_vectors(model, point), label).sum(), point)[0]
    return ((end - start) * total / steps).sum(-1)[0]


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_scores_are_those_of_the_midpoint_rule(pooling: str, labels: int) -> None:
    model = classifier(pooling, labels)
    encoding = TOKENIZER.encode(TEXT)
    masked = [encoding.input_ids[0], *[TOKENIZER.mask_token_id] * 6, encoding.input_ids[-1]]
    for label in range(labels):
        found = integrated_gradients(model, TOKENIZER, TEXT, label, steps=7)
        expected = midpoint_rule(model, encoding.input_ids, masked, label, steps=7)
        assert found.scores == pytest.approx(expected.numpy(), abs=1e-5)
        assert found.label == label
        with torch.no_grad():
            ends = model(torch.tensor([encoding.input_ids, masked])).logits
        assert [found.log_odds, found.baseline_log_odds] == pytest.approx(
            log_odds(ends, label).tolist(), abs=1e-4
        )
    assert found.tokens == ["[CLS]", "ba", "be", "##co", "##bi", "du", "fe", "[SEP]"]
    assert abs(found.scores).max() > 0.01


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_scores_are_complete(pooling: str) -> None:
    model = classifier(pooling)
    for text in some_texts(5):
        found = integrated_gradients(model, TOKENIZER, text, steps=64)
        difference = found.log_odds - found.baseline_log_odds
        assert abs(difference) > 0.01
        assert found.scores.sum() == pytest.approx(difference, abs=2e-3)
        assert found.gap == pytest.approx(found.scores.sum() - difference, abs=1e-6)
        assert found.scores[0] == found.scores[-1] == 0  # [CLS] and [SEP] are also in the baseline
        assert abs(integrated_gradients(model, TOKENIZER, text, steps=2).gap) > abs(found.gap)


def test_many_points_are_split_into_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores are the same, and no batch has more tokens than allowed."""
    model, batch_sizes = classifier("mean"), []
    expected = integrated_gradients(model, TOKENIZER, TEXT, steps=10)
    monkeypatch.setattr(attribution, "TOKENS_AT_ONCE", 25)
    model.register_forward_pre_hook(lambda module, inputs: batch_sizes.append(inputs[0].shape[0]))
    found = integrated_gradients(model, TOKENIZER, TEXT, steps=10)
    assert found.scores == pytest.approx(expected.scores, abs=1e-6)
    assert max(batch_sizes) == 25 // 8 and sum(batch_sizes) >= 10


def test_a_label_may_be_any_whole_number() -> None:
    model = classifier()
    expected = integrated_gradients(model, TOKENIZER, TEXT, 2, steps=4).scores
    for label in (np.int64(2), torch.tensor(2)):
        found = integrated_gradients(model, TOKENIZER, TEXT, label, steps=4)
        assert found.label == 2 and found.scores == pytest.approx(expected)


def test_by_default_the_predicted_label_is_explained() -> None:
    model = classifier("mean", labels=2, seed=1)
    seen = set()
    for text in some_texts(12):
        found = integrated_gradients(model, TOKENIZER, text, steps=4)
        probs = predict(model, TOKENIZER, [text])[0]
        assert found.label == probs.argmax()
        assert found.log_odds == pytest.approx(probs.logit()[found.label].item(), abs=1e-4)
        other = integrated_gradients(model, TOKENIZER, text, 1 - found.label, steps=4)
        assert other.scores == pytest.approx(-found.scores, abs=1e-5)  # p(label 1) = 1 − p(label 0)
        seen.add(found.label)
    assert seen == {0, 1}


def test_the_model_is_left_as_it_was() -> None:
    model = classifier("mean")
    expected = integrated_gradients(model, TOKENIZER, TEXT).scores
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.train()
    with torch.no_grad():
        assert integrated_gradients(model, TOKENIZER, TEXT).scores == pytest.approx(expected, abs=1e-6)
    attention_scores(model, TOKENIZER, TEXT)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    "text", ["[CLS] [SEP]", "[MASK]", "[PAD] ba [UNK]", "<b>ba</b>", "ba " * 600, "日本"]
)
def test_odd_texts_are_scored(text: str) -> None:
    model = classifier("mean")
    found = integrated_gradients(model, TOKENIZER, text)
    attention = attention_scores(model, TOKENIZER, text)
    assert found.tokens == attention.tokens == TOKENIZER.encode(text, max_length=32).tokens
    assert len(found.scores) == len(attention.scores) == len(found.tokens) <= 32
    assert np.isfinite(found.scores).all() and abs(found.gap) < 0.01
    short = integrated_gradients(model, TOKENIZER, text, max_length=3)
    assert len(short.scores) == len(short.tokens) == 3
    assert deletion(model, TOKENIZER, [text], [found.scores], 2).shape == (1,)


# Attention.


def test_attention_is_averaged_over_heads_and_over_the_tokens_that_the_classifier_reads() -> None:
    ids = torch.tensor([TOKENIZER.encode(TEXT).input_ids])
    for pooling in ("cls", "mean"):
        model = classifier(pooling)
        with torch.no_grad():
            layers = [probs[0].mean(0) for probs in model(ids, output_attentions=True).attentions]
        for layer, probs in ((0, layers[0]), (1, layers[1]), (-1, layers[1]), (-2, layers[0])):
            found = attention_scores(model, TOKENIZER, TEXT, layer)
            expected = probs[0] if pooling == "cls" else probs.sum(0) / len(probs)
            assert found.scores == pytest.approx(expected.numpy(), abs=1e-6)
            assert found.scores.sum() == pytest.approx(1, abs=1e-5)
        assert found.tokens[2:5] == ["be", "##co", "##bi"]


# Deletion.


def test_only_the_highest_scored_tokens_are_replaced() -> None:
    model = classifier()
    ids = torch.tensor(TOKENIZER.encode(TEXT).input_ids)
    scores = np.array([9.0, 0.5, -1.0, 0.7, 0.7, 0.1, 0.2, 8.0])  # [CLS] and [SEP] score highest
    with torch.no_grad():
        before = model(ids[None]).logits[0]
        label = int(before.argmax())
        for count, positions in ((0, []), (1, [3]), (2, [3, 4]), (4, [3, 4, 1, 6]), (99, [1, 2, 3, 4, 5, 6])):
            masked = ids.clone()
            masked[positions] = TOKENIZER.mask_token_id
            drop = log_odds(before, label) - log_odds(model(masked[None]).logits[0], label)
            found = deletion(model, TOKENIZER, [TEXT], [scores], count)
            assert found == pytest.approx([drop.item()], abs=1e-4)
    explained = integrated_gradients(model, TOKENIZER, TEXT)
    assert found[0] == pytest.approx(explained.log_odds - explained.baseline_log_odds, abs=1e-4)


def test_deletion_in_batches_equals_each_text_alone() -> None:
    model, texts = classifier("mean"), some_texts(40)
    scores = [np.random.default_rng(row).random(len(text.split()) + 2) for row, text in enumerate(texts)]
    alone = [deletion(model, TOKENIZER, [text], [one], 2)[0] for text, one in zip(texts, scores, strict=True)]
    for size in (1, 7, 64):
        assert deletion(model, TOKENIZER, texts, scores, 2, batch_size=size) == pytest.approx(alone, abs=1e-4)
    assert np.std(alone) > 0.1
    assert deletion(model, TOKENIZER, [], [], 2).shape == (0,)


def test_the_label_is_the_one_predicted_for_the_full_text() -> None:
    """Masking may change the predicted label; the drop is measured for the original one."""
    model, texts = classifier("mean", labels=2, seed=1), some_texts(12)
    attributions = [integrated_gradients(model, TOKENIZER, text, steps=2) for text in texts]
    drops = deletion(model, TOKENIZER, texts, [one.scores for one in attributions], 99)
    assert drops == pytest.approx([one.log_odds - one.baseline_log_odds for one in attributions], abs=1e-4)
    assert min(one.log_odds for one in attributions) > 0 > min(one.baseline_log_odds for one in attributions)


def test_integrated_gradients_find_the_tokens_that_matter() -> None:
    model, texts = classifier("mean", labels=2), some_texts(40)
    found = [integrated_gradients(model, TOKENIZER, text, steps=16).scores for text in texts]
    rng = np.random.default_rng(0)
    drops = {
        "found": deletion(model, TOKENIZER, texts, found, 2).mean(),
        "random": deletion(model, TOKENIZER, texts, [rng.random(len(one)) for one in found], 2).mean(),
        "negated": deletion(model, TOKENIZER, texts, [-one for one in found], 2).mean(),
    }
    assert drops["found"] > drops["random"] + 0.1
    assert drops["random"] > drops["negated"] + 0.1


# What callers may get wrong.


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an empty text": ({"text": ""}, "text is empty"),
    "nothing but spaces": ({"text": " \n "}, r"text=' \\n ' has no token but \[CLS\] and \[SEP\]"),
    "nothing that prints": ({"text": "\u200b"}, "give a text with words"),
    "no text": ({"text": 7}, "text is int, expected str"),
    "no label": ({"label": 3}, "label=3 is not the id of a label; use 0 to 2"),
    "a negative label": ({"label": -1}, "label=-1 is not the id of a label"),
    "a name": ({"label": "fresh"}, "label='fresh' is not the id of a label"),
    "no steps": ({"steps": 1}, "steps=1 must be a whole number of at least 2"),
    "half a step": ({"steps": 0.5}, "steps=0.5 must be a whole number"),
    "another model": (
        {"model": BertForMaskedLM(CONFIG)},
        "model is BertForMaskedLM, expected BertForSequence",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_invalid_arguments_are_refused(name: str) -> None:
    changes, message = BAD[name]
    arguments = {"model": classifier(), "tokenizer": TOKENIZER, "text": TEXT} | changes
    with pytest.raises(ValueError, match=message):
        integrated_gradients(**arguments)
    if arguments.keys() == {"model", "tokenizer", "text"}:
        with pytest.raises(ValueError, match=message):
            attention_scores(**arguments)


@pytest.mark.parametrize("layer", [2, -3, 0.5, "1"])
def test_a_layer_that_does_not_exist_is_refused(layer: int) -> None:
    with pytest.raises(ValueError, match=f"layer={layer!r} must be a whole number from -2 to 1"):
        attention_scores(classifier(), TOKENIZER, TEXT, layer)


@pytest.mark.parametrize(
    ("texts", "scores", "count", "message"),
    [
        ([TEXT], [np.ones(6)], 1, r"scores has shape \(6,\) for a text of 8 tokens"),
        ([TEXT], [np.full(8, np.nan)], 1, "scores holds float64 .*, expected finite numbers"),
        ([TEXT], [["1"] * 8], 1, "scores holds <U1 .*, expected finite numbers"),
        ([TEXT], [np.ones((8, 2))], 1, r"scores has shape \(8, 2\)"),
        ([TEXT], [], 1, "1 texts but scores for 0"),
        ([TEXT], [np.ones(8)], -1, "count=-1 must be a whole number"),
        ([TEXT, ""], [np.ones(8), np.ones(2)], 1, "text is empty"),
        ([TEXT, " "], [np.ones(8), np.ones(2)], 1, "give a text with words"),
    ],
)
def test_invalid_deletions_are_refused(texts: list, scores: list, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        deletion(classifier(), TOKENIZER, texts, scores, count)


def test_an_attribution_holds_plain_numbers() -> None:
    found = integrated_gradients(classifier(), TOKENIZER, TEXT)
    assert Attribution(*found) is not None and isinstance(found.gap, float) and isinstance(found.label, int)


@pytest.mark.parametrize("score", [integrated_gradients, attention_scores])
def test_a_tokenizer_with_a_token_too_many_is_refused(score: Any) -> None:
    larger = WordPieceTokenizer([*TOKENIZER.ids_to_tokens, "one", "two"])
    with pytest.raises(
        ValueError, match=r"the tokenizer has \d+ tokens, but the model has embeddings for 101"
    ):
        score(classifier(), larger, TEXT)
    with pytest.raises(
        ValueError, match=r"the tokenizer has \d+ tokens, but the model has embeddings for 101"
    ):
        deletion(classifier(), larger, [TEXT], [np.zeros(7)], 1)


def test_scores_with_a_gradient_are_numbers_too() -> None:
    scores = np.arange(8.0)
    expected = deletion(classifier(), TOKENIZER, [TEXT], [scores], 2)
    tensor = torch.tensor(scores, requires_grad=True)
    assert deletion(classifier(), TOKENIZER, [TEXT], [tensor], 2) == pytest.approx(expected)


def test_gradients_are_there_in_inference_mode_too() -> None:
    expected = integrated_gradients(classifier(), TOKENIZER, TEXT).scores
    model = classifier()
    with torch.inference_mode():
        assert integrated_gradients(model, TOKENIZER, TEXT).scores == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("score", [integrated_gradients, attention_scores])
def test_weights_that_are_not_numbers_give_no_scores(score: Any) -> None:
    model = classifier()
    with torch.no_grad():
        model.bert.encoder.layer[0].attention.self.query.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"the model returns .* NaN or infinite numbers"):
        score(model, TOKENIZER, TEXT)
