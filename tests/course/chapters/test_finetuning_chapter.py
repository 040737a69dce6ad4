"""What chapter 5's cells call."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bertlearn import BertModel, WordPieceTokenizer, minilm_path
from bertlearn.course.chapters import finetuning as chapter
from bertlearn.course.names import NamedText
from bertlearn.finetuning.spans import Span
from bertlearn.model.config import BertConfig


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer.from_pretrained(minilm_path())


def test_a_loss_curve_is_a_mean_over_records_of_training() -> None:
    history = [{"step": float(n), "label_loss": float(n)} for n in range(1, 8)] + [
        {"step": 7.0, "other": 1.0}
    ]
    assert chapter.loss_curve(history, width=5) == ([3.0, 6.5], [3.0, 6.5])


def test_dropout_is_set_in_a_copy() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)).eval()
    noisy = chapter.with_dropout(model, 0.5)
    assert noisy.training and noisy[1].p == 0.5
    assert not model.training and model[1].p == 0.1


def test_movement_is_a_share_of_each_part() -> None:
    torch.manual_seed(0)
    config = BertConfig.preset("tiny", vocab_size=50)
    before, after = (BertModel(config, add_pooling_layer=False) for _ in range(2))
    after.load_state_dict(before.state_dict())
    with torch.no_grad():
        for parameter in after.encoder.layer[1].parameters():
            parameter.mul_(1.1)
    moved = chapter.movement(before, after, 2)
    assert moved == pytest.approx({"embeddings": 0.0, "layer 0": 0.0, "layer 1": 0.1}, abs=1e-5)


def test_the_same_words_are_hidden_in_every_call(tokenizer: WordPieceTokenizer) -> None:
    (one, labels), (two, _) = (chapter.hide_words(tokenizer, ["a long film about the sea"] * 8) for _ in "ab")
    assert torch.equal(one.input_ids, two.input_ids)
    assert (labels != -100).any() and (one.input_ids == tokenizer.mask_token_id).any()


def test_runs_of_capitalized_words_are_names() -> None:
    text = "With Julie Taymor, Salma shines."
    spans = chapter.find_runs(text, chapter.is_capitalized)
    assert chapter.marked(text, spans) == "With [Julie Taymor], [Salma] shines."
    assert chapter.numbered([spans[:1], spans[1:]]) == {(0, spans[0]), (1, spans[1])}


def test_names_are_scored_strictly_and_in_part(tokenizer: WordPieceTokenizer) -> None:
    text = "Julie Taymor films Salma"
    both = [Span(0, 12, "PER"), Span(19, 24, "PER")]
    row = NamedText("a film", text, both)
    assert chapter.score_names([row], [both], tokenizer) == (1.0, 1.0)
    strict, partial = chapter.score_names([row], [[Span(0, 5, "PER"), both[1]]], tokenizer)
    assert strict == pytest.approx(0.5) and partial == pytest.approx(0.75)


def test_words_are_counted_in_the_named_part() -> None:
    vectors = chapter.word_counts({"train": ["a sea", "a sky"], "test": ["sea sea moon"]}, {"test": "train"})
    assert vectors["test"].shape[1] == vectors["train"].shape[1] == 2  # moon is unknown
    assert math.isclose(vectors["test"].norm().item(), 1.0, abs_tol=1e-6)


def test_an_excerpt_stands_around_a_word_of_the_question() -> None:
    text = "x " * 60 + "the volcano erupted " + "y " * 60
    assert "volcano" in chapter.excerpt(text, "When did volcanoes erupt?")
    assert chapter.excerpt(text, "no such").startswith("…x x")
