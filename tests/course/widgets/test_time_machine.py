"""The time machine: predictions, ranks and attention are the models' own; typed questions; bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import CONFIG, perturb

from bertlearn.course import snapshots
from bertlearn.course.snapshots import Snapshot
from bertlearn.course.widgets import TimeMachine
from bertlearn.model.heads import BertForMaskedLM
from bertlearn.model.inference import fill_mask
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

TEXT = "the king sent his [MASK] into the [MASK]."
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
HOSTILE = "</script><script>alert(1)</script>"


def tiny_snapshots(length: int = 64) -> list[Snapshot]:
    """Return three perturbed models whose vocabulary has a few dangerous words."""
    words = [HOSTILE, "$x^", "the", "king", "city", "##s", "<b>", ".", *(f"w{i}" for i in range(20))]
    tokenizer = WordPieceTokenizer(SPECIAL + words)
    snapshots = []
    for step in (0, 10, 100):
        torch.manual_seed(step)
        config = replace(CONFIG, vocab_size=tokenizer.vocab_size, max_position_embeddings=length)
        model = BertForMaskedLM(config).eval()
        perturb(model, step)
        snapshots.append(Snapshot(step, model, tokenizer))
    return snapshots


def test_guesses_are_those_of_fill_mask_at_every_snapshot() -> None:
    w = TimeMachine(TEXT)
    assert w.steps == list(snapshots.STEPS) and w.step == 40000
    assert len(w.seen["masks"]) == 2
    for step, guesses in zip(w.steps, w.seen["guesses"], strict=True):
        snapshot = snapshots.load_snapshot(step)
        expected = fill_mask(snapshot.model, snapshot.tokenizer, TEXT, 8)
        for mine, theirs in zip(guesses, expected, strict=True):
            assert [token for token, _ in mine] == [guess.token for guess in theirs]
            assert [p for _, p in mine] == pytest.approx([g.probability for g in theirs], abs=1e-5)


def test_attention_is_the_models_own() -> None:
    snapshots = tiny_snapshots()
    w = TimeMachine("the king [MASK] the city", snapshots=reversed(snapshots))
    S = len(w.seen["tokens"])
    sent = np.frombuffer(w.seen["weights"], "<u2").reshape(3, 2, 2, S, S) / 65535
    ids = torch.tensor([snapshots[0].tokenizer.encode(w.text).input_ids])
    for snapshot, weights in zip(snapshots, sent, strict=True):
        with torch.no_grad():
            own = torch.cat(snapshot.model(ids, output_attentions=True).attentions).numpy()
        assert abs(weights - own).max() < 1e-5


def test_the_right_word_has_its_rank() -> None:
    w = TimeMachine(TEXT, ["servants", "city"])
    for step, ranks in zip(w.steps, w.ranks, strict=True):
        snapshot = snapshots.load_snapshot(step)
        whole = fill_mask(snapshot.model, snapshot.tokenizer, TEXT, snapshot.tokenizer.vocab_size)
        for guesses, answer, (rank, p) in zip(whole, w.answers, ranks, strict=True):
            assert guesses[rank - 1].token == answer
            assert p == pytest.approx(guesses[rank - 1].probability, abs=1e-5)
    w.answers = ["", "city"]
    assert w.ranks[0][0] is None and w.ranks[-1][1][0] == 1 + sum(
        p > w.ranks[-1][1][1] for _, p in w.seen["guesses"][-1][1]
    )


def test_the_curve_is_that_of_the_long_run() -> None:
    records = [r for r in snapshots.history() if "valid_mlm_loss" in r]
    assert TimeMachine(TEXT).curve == [[int(r["step"]), r["valid_mlm_loss"]] for r in records]
    assert TimeMachine("the [MASK]", snapshots=tiny_snapshots()).curve == []


def test_the_snapshots_are_loaded_once() -> None:
    assert TimeMachine(TEXT).snapshots[3].model is TimeMachine("he said unto [MASK],").snapshots[3].model


def test_a_new_text_drops_what_belonged_to_the_old_one() -> None:
    w = TimeMachine(TEXT, ["servants", "city"], place=1, step=750)
    w.text = "he said unto [MASK],"
    assert (w.answers, w.place, w.step) == ([], 0, 750)
    assert w.seen["tokens"] == ["[CLS]", "he", "said", "unto", "[MASK]", ",", "[SEP]"]
    assert not any(w.ranks[0]) and "he said unto [MASK]," in w.description


def test_a_question_of_the_page_is_answered_with_its_number() -> None:
    w = TimeMachine(TEXT)
    w.asked = {"text": [4, {"text": "he said unto [MASK],", "answers": ["him"]}]}
    assert (w.text, w.answers, w.answered) == ("he said unto [MASK],", ["him"], {"text": [4, ""]})
    assert w.ranks[-1][0] == (1, pytest.approx(0.504, abs=0.002))


@pytest.mark.parametrize(
    ("text", "answers", "problem"),
    [
        ("he said unto him,", [], r"no \[MASK\] in 'he said unto him,'; write \[MASK\] where"),
        ("", [], r"no \[MASK\] in ''"),
        ("[MASK]" + " the" * 600, [], "603 tokens with .CLS. and .SEP. are too many; shorten the text to 64"),
    ],
)
def test_a_bad_text_is_refused_and_the_last_view_kept(text: str, answers: list[str], problem: str) -> None:
    w = TimeMachine(TEXT, ["servants", "city"])
    before = w.seen, w.ranks
    w.asked = {"text": [1, {"text": text, "answers": answers}]}
    assert w.answered["text"][0] == 1 and w.text == TEXT and (w.seen, w.ranks) == before
    with pytest.raises(ValueError, match=problem):
        raise ValueError(w.answered["text"][1])
    with pytest.raises(ValueError, match=problem):
        w.text = text
    with pytest.raises(ValueError, match=problem):
        TimeMachine(text)
    w.asked = {"text": [2, {"text": TEXT, "answers": []}]}
    assert w.answered == {"text": [2, ""]}


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        (["city"], r"1 right words were given for 2 \[MASK\]; give one for each"),
        (
            ["servants", "masterpiece"],
            "'masterpiece' is not a single token of the vocabulary, but master ##p",
        ),
        (["servants", "😀"], r"is not a single token of the vocabulary, but \[UNK\]"),
        (["servants", " "], "is not a single token of the vocabulary, but no token"),
    ],
)
def test_a_bad_answer_is_refused(answers: list[str], problem: str) -> None:
    w = TimeMachine(TEXT, ["servants", "city"])
    with pytest.raises(ValueError, match=problem):
        w.answers = answers
    assert w.answers == ["servants", "city"]
    with pytest.raises(ValueError, match=problem):
        TimeMachine(TEXT, answers)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("step", 700, "step=700 has no snapshot; choose among 0, 250, 500, 750, 1000, 3000, 10000, 40000"),
        ("layer", 2, "layer=2 does not exist; expected 0 to 1"),
        ("head", -1, "head=-1 does not exist; expected 0 to 1"),
        ("place", 2, "place=2 does not exist; expected 0 to 1"),
    ],
)
def test_a_bad_choice_is_refused(name: str, value: int, problem: str) -> None:
    w = TimeMachine(TEXT)
    before = getattr(w, name)
    with pytest.raises(ValueError, match=problem):
        setattr(w, name, value)
    assert getattr(w, name) == before
    with pytest.raises(ValueError, match=problem):
        TimeMachine(TEXT, **{name: value})


def test_bad_snapshots_are_refused() -> None:
    with pytest.raises(ValueError, match="no snapshots were given"):
        TimeMachine(TEXT, snapshots=[])
    snapshots = tiny_snapshots()
    with torch.no_grad():
        snapshots[1].model.bert.embeddings.word_embeddings.weight[7] = float("nan")
    with pytest.raises(ValueError, match="the model of step 10 gives NaN"):
        TimeMachine("the [MASK]", snapshots=snapshots)
    with pytest.raises(ValueError, match="shorten the text to 8"):
        TimeMachine("the the the the the the [MASK]", snapshots=tiny_snapshots(length=8))


@pytest.mark.parametrize(
    "text", ["😀 [MASK]", "שלום [MASK] عالم", "<b>[MASK]</b>\n\n$x^ [MASK] \\frac$", "[MASK]"]
)
def test_strange_texts_are_shown(text: str) -> None:
    w = TimeMachine(text)
    assert w.seen["tokens"][0] == "[CLS]" and len(w.picture().png()) > 5000 and w.to_html()


def test_picture_and_repr() -> None:
    w = TimeMachine("he said unto [MASK],")
    alt = w.picture().alt
    assert alt.startswith(
        "Guesses at step 40,000, and how likely they are at all steps. he said unto [MASK] ,:"
    )
    assert "him 0.50, them 0.12" in alt
    w.step = 3000
    assert "him 0.81" in w.picture().alt
    assert repr(w) == repr(TimeMachine("he said unto [MASK],"))
    assert repr(w) == "[widget] Time machine: 8 snapshots; he said unto [MASK],"


def test_an_exported_page_holds_no_markup_from_the_vocabulary_or_the_text() -> None:
    snapshots = tiny_snapshots()
    w = TimeMachine(f"the {HOSTILE} [MASK] [MASK]", [HOSTILE, "<b>"], snapshots=snapshots)
    assert w.ranks[0][0][0] >= 1
    page = w.to_html()
    assert "<script>alert" not in page and page.count("</script>") == 1
    assert "\\u003cscript>alert" in page


def test_an_exported_page_is_small() -> None:
    assert len(TimeMachine("the king sent his servants into the [MASK].", ["city"]).to_html()) < 70_000
    assert len(TimeMachine("[MASK] " * 62).to_html()) < 500_000
