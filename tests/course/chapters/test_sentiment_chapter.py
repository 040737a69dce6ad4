"""What chapter 6's cells call: tables add up, curves have their shapes, words are counted."""

from __future__ import annotations

import pytest
import torch

from bertlearn.analysis.behavior import Failure, Outcome
from bertlearn.course.chapters import sentiment as chapter
from bertlearn.course.results import Results, load_results
from bertlearn.data.corpora import Reviews, ReviewSet


def review_set(*pairs: tuple[str, int]) -> ReviewSet:
    return ReviewSet([text for text, _ in pairs], [label for _, label in pairs], ["film"] * len(pairs))


def test_answers_are_compared_with_labels_and_misses_shown(capsys: pytest.CaptureFixture[str]) -> None:
    part = review_set(("It is dull.", 0), ("Fine.", 1), ("A waste.", 0))
    assert chapter.print_agreement("you", "F r", [1, 0], part) == 2
    assert chapter.print_agreement("you", "f,f", [1, 2], part) == 1
    shown = capsys.readouterr().out
    assert "you: 2 of 2 right" in shown and " 2 is labeled r, not f: A waste." in shown
    assert "Fine." not in shown
    for letters in ("f", "fx"):
        with pytest.raises(ValueError, match="give 2, each f or r"):
            chapter.print_agreement("you", letters, [0, 1], part)


def test_learning_curves_have_three_runs_each() -> None:
    rows = [
        {"model": "one", "sentences": size, "accuracy": accuracy}
        for size, accuracy in ((300, 0.6), (100, 0.5), (100, 0.51), (100, 0.52), (100, 0.9))
    ]
    sizes, curves = chapter.learning_curves(Results("learning_curve", {}, rows))
    assert sizes == [100, 300]
    torch.testing.assert_close(curves["one"], torch.tensor([[0.5, 0.6], [0.51, 0.6], [0.52, 0.6]]))


def test_judgments_are_listed_by_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(chapter.JUDGED) == 40 and set(chapter.JUDGED.values()) == set(chapter.KINDS.values())
    monkeypatch.setattr(chapter, "JUDGED", {3: "clear", 5: "irony or a joke", 7: "clear", 9: "a typo"})
    found = chapter.print_judged([7, 5, 3, 9])
    assert next(iter(found)) == "clear" and sum(found.values()) == 4 and found["a typo"] == 1
    assert " 2 clear: rows 7, 3" in capsys.readouterr().out


def test_error_rates_are_those_of_the_group(capsys: pytest.CaptureFixture[str]) -> None:
    part = review_set(("It is not dull.", 1), ("Not a good film.", 0), ("Fine.", 1), ("A waste.", 0))
    reviews = Reviews(part.sentences, part.labels, part.films, part, part, part)
    odds = {"TF-IDF": [[-1.0, -1.0, 1.0, -1.0]], "MiniLM, fine-tuned": [[-1.0, 1.0, 1.0, -1.0]] * 2}
    rows = [
        {"model": name, "validation_log_odds": run, "test_log_odds": run}
        for name, runs in odds.items()
        for run in runs
    ]
    rates = chapter.print_error_rates(Results("models", {}, rows), reviews)
    assert rates["TF-IDF", "test", "negation"] == 0.5
    assert rates["MiniLM, fine-tuned", "validation", "negation"] == 1.0
    assert rates["MiniLM, fine-tuned", "test", "all"] == 0.5
    assert "negation" in capsys.readouterr().out


def test_heads_have_a_cost_and_each_order_its_curves() -> None:
    heads = load_results("heads")
    costs = chapter.head_costs(heads)
    assert costs.shape == (6, 12) and (costs < 0).sum() == 46
    row = heads.where(kind="one", layer=3, head=9)[0]
    whole = heads.where(kind="none")[0]
    torch.testing.assert_close(costs[3, 9].item(), row["loss"] - whole["loss"], atol=1e-6, rtol=0)
    off, curves = chapter.head_curves(heads)
    assert {order: tuple(runs.shape) for order, runs in curves.items()} == {
        "least important first": (1, len(off)),
        "most important first": (1, len(off)),
        "random": (3, len(off)),
    }


def test_negated_words_are_counted_and_others_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    part = review_set(
        ("Never a dull moment.", 1),
        ("It is anything but boring.", 1),
        ("Not only dull, but long.", 0),
        ("A dull film.", 0),
        ("Isn't it great?", 1),
        ("Great fun.", 1),
    )
    found = chapter.print_negated(part)
    assert found == {"praise": 1.0, "blame": 2 / 3}
    assert "4 sentences, 50% fresh" in capsys.readouterr().out


def test_a_failure_is_shown_where_the_texts_differ(capsys: pytest.CaptureFixture[str]) -> None:
    text = "word " * 30 + "prime cut"
    changed = text.replace("prime", "prmie")
    failure = Failure(text, changed, 0.9, 0.2)
    chapter.print_outcomes([Outcome("typo", "invariance", 1, 0, [failure])])
    shown = capsys.readouterr().out
    assert "prime cut" in shown and "prmie cut" in shown and "0.20" in shown


def test_adjectives_are_sorted_by_what_they_add(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(model: object, tokenizer: object, texts: list[str]) -> torch.Tensor:
        assert "An icy film about a family." in texts and "This is a red film." in texts
        p_fresh = torch.tensor([0.3 if "icy" in text else 0.6 for text in texts])
        return torch.stack([1 - p_fresh, p_fresh], dim=1)

    monkeypatch.setattr(chapter, "predict", fake)
    found = chapter.neutral_log_odds(None, None, ["red", "icy"])  # type: ignore[arg-type]
    assert list(found) == ["icy", "red"]
    assert found["red"] == pytest.approx(torch.tensor(0.6).logit().item(), abs=1e-5)
