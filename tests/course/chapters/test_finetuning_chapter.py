"""What chapter 5's cells call."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bertlearn import BertModel, WordPieceTokenizer, minilm_path
from bertlearn.course.chapters import finetuning as chapter
from bertlearn.course.corpus import course_documents
from bertlearn.course.names import NamedText
from bertlearn.course.tasks import Cloze, FilmPair
from bertlearn.data.corpora import load_plots
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


def test_losses_are_collected_by_epoch() -> None:
    history = [{"step": float(n), "label_loss": float(n)} for n in range(1, 7)]
    history[2]["valid_label_loss"] = 0.5
    history.append({"step": 6.0, "valid_label_loss": 0.7})
    assert chapter.losses_by_epoch(history, epochs=2) == ([2.0, 5.0], [0.5, 0.7])


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


def test_held_out_verses_are_in_no_training_text() -> None:
    verses = chapter.held_out_verses()
    read = {line for x in course_documents("train") if x.source == "bible" for line in x.text.split("\n")}
    assert len(verses) > 300
    assert sum(verse in read for verse in verses) < 0.05 * len(verses)  # a few verses occur twice


def test_the_same_words_are_hidden_in_every_call(tokenizer: WordPieceTokenizer) -> None:
    (one, labels), (two, _) = (chapter.hide_words(tokenizer, ["a long film about the sea"] * 8) for _ in "ab")
    assert torch.equal(one.input_ids, two.input_ids)
    assert (labels != -100).any() and (one.input_ids == tokenizer.mask_token_id).any()


def test_runs_of_capitalized_words_are_names() -> None:
    text = "With Julie Taymor, Salma shines."
    spans = chapter.find_runs(text, chapter.is_capitalized)
    assert chapter.marked(text, spans) == "With [Julie Taymor], [Salma] shines."
    known = chapter.find_runs(text, chapter.is_known({"Taymor", "shines"}))
    assert chapter.marked(text, known) == "With Julie [Taymor], Salma [shines]."
    assert chapter.numbered([spans[:1], spans[1:]]) == {(0, spans[0]), (1, spans[1])}


def test_names_are_scored_strictly_and_in_part(tokenizer: WordPieceTokenizer) -> None:
    text = "Julie Taymor films Salma"
    both = [Span(0, 12, "PER"), Span(19, 24, "PER")]
    row = NamedText("a film", text, both)
    assert chapter.score_names([row], [both], tokenizer) == (1.0, 1.0)
    strict, partial = chapter.score_names([row], [[Span(0, 5, "PER"), both[1]]], tokenizer)
    assert strict == pytest.approx(0.5) and partial == pytest.approx(0.75)


def test_a_pair_is_compared_by_the_cosine_of_its_texts() -> None:
    calls = []

    def vectors_of(texts: list[str]) -> torch.Tensor:
        calls.append(texts)
        return torch.tensor([[float(len(text)), 1.0] for text in texts])

    pairs = [FilmPair("a", "a", 1), FilmPair("abcdefg", "a", 0)]
    cosines, labels = chapter.pair_cosines(pairs, vectors_of)
    torch.testing.assert_close(cosines, torch.tensor([1.0, 0.8]))  # (7 + 1) / (√50 · √2)
    assert labels.tolist() == [1, 0] and calls == [["a", "abcdefg"]]


def test_answers_are_shown_with_a_dash_for_none(capsys: pytest.CaptureFixture[str]) -> None:
    questions = [Cloze("Bees", "They make ….", "Bees make honey.", "honey", 10, 15)]
    questions.append(Cloze("Bees", "They fear ….", "Bees make honey.", "", 0, 0))
    chapter.show_answers(questions, ["", "wax"])
    lines = capsys.readouterr().out.split("\n")
    assert [line.split() for line in lines if "right" in line] == [
        ["right:", "honey", "reader:", "–"],
        ["right:", "–", "reader:", "wax"],
    ]


def test_verses_to_test_with_are_from_other_chapters() -> None:
    learn, test = chapter.load_verses(("Genesis", "Psalms"), learn=40, test=20)
    assert len(learn) == 40 and len(test) == 20
    assert {verse.book for verse in [*learn, *test]} == {"Genesis", "Psalms"}
    chapters = ({(verse.book, verse.chapter) for verse in part} for part in (learn, test))
    assert set.isdisjoint(*chapters)


def test_plots_lose_their_last_sentence() -> None:
    films, bodies, lasts = chapter.cut_plots(5)
    texts = {plot.film: " ".join(plot.text.split()) for plot in load_plots()}
    assert len(films) == len(bodies) == len(lasts) == 5
    for film, body, last in zip(films, bodies, lasts, strict=True):
        assert f"{body} {last}" == texts[film]


def test_words_are_counted_in_the_named_part() -> None:
    vectors = chapter.word_counts({"train": ["a sea", "a sky"], "test": ["sea sea moon"]}, {"test": "train"})
    assert vectors["test"].shape[1] == vectors["train"].shape[1] == 2  # moon is unknown
    assert math.isclose(vectors["test"].norm().item(), 1.0, abs_tol=1e-6)


def test_an_excerpt_stands_around_a_word_of_the_question() -> None:
    text = "x " * 60 + "the volcano erupted " + "y " * 60
    assert "volcano" in chapter.excerpt(text, "When did volcanoes erupt?")
    assert chapter.excerpt(text, "no such").startswith("…x x")
