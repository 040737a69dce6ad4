"""The bug hunt of chapter 4: each suspect has exactly one bug, and the verdict does not give it away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bertlearn.course import attempt, bug_hunt
from bertlearn.course.built import built
from bertlearn.course.compare import difference
from bertlearn.course.solutions import pretraining as solution
from bertlearn.data import Document
from bertlearn.model import heads
from bertlearn.model.config import BertConfig
from bertlearn.pretraining.corpus import Shards, build_shards
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


def stub() -> dict[str, str]:
    raise NotImplementedError


def raises() -> dict[str, str]:
    raise RuntimeError("boom <script>\nsecond line")


@pytest.fixture(scope="module")
def hunt(tmp_path_factory: pytest.TempPathFactory) -> tuple[heads.BertForMaskedLM, Shards]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnop", "."]
    text = " ".join("abcdefghijklmnop"[i * i % 16] + (" ." if i % 7 == 0 else "") for i in range(120))
    documents = [Document("test", text[i:]) for i in range(0, 60, 2)]
    folder = tmp_path_factory.mktemp("shards") / "hunt"
    shards = build_shards(documents, folder, WordPieceTokenizer(words), progress=False)
    torch.manual_seed(0)
    config = BertConfig.preset("tiny", vocab_size=len(words), max_position_embeddings=16)
    return heads.BertForMaskedLM(config).eval(), shards


HUNT = replace(
    bug_hunt.OPTIONS, max_length=16, training=replace(bug_hunt.OPTIONS.training, steps=2, batch_size=8)
)


@pytest.mark.parametrize("fault", bug_hunt.FAULTS)
def test_each_suspect_differs_from_the_healthy_run_only_by_its_bug(
    fault: str, hunt: tuple[heads.BertForMaskedLM, Shards]
) -> None:
    correct = bug_hunt.healthy(*hunt, HUNT)
    wrong = bug_hunt.FAULTS[fault](bug_hunt.healthy(*hunt, HUNT))
    ours, theirs = correct.task.batch(3, 8), wrong.task.batch(3, 8)
    differing = {name for name in ours._fields if difference(getattr(theirs, name), getattr(ours, name), 0.0)}
    weights, others = correct.model.state_dict(), wrong.model.state_dict()
    differing |= {name for name in weights if not torch.equal(weights[name], others[name])}
    model = correct.model.eval()
    with torch.no_grad():
        scores, changed = correct.task.score(model, ours), wrong.task.score(model, ours)
    differing |= {f"score of {name}" for name in scores if scores[name] != changed[name]}
    assert correct.task.identity == wrong.task.identity
    assert correct.task.count(ours) == wrong.task.count(ours)
    assert (
        differing
        == {
            "every token has a label": {"labels"},
            "nothing is masked": {"input_ids"},
            "the loss ignores class 0": {"score of nsp"},
            "the weights are not tied": {"cls.predictions.decoder.weight"},
        }[fault]
    )


def test_the_healthy_run_starts_from_the_given_model(
    hunt: tuple[heads.BertForMaskedLM, Shards],
) -> None:
    start, shards = hunt
    model, task = bug_hunt.healthy(start, shards, HUNT)
    batch = task.batch(0, 8)
    logits = model.eval()(batch.input_ids, batch.attention_mask, batch.token_type_ids).prediction_logits
    expected = start(batch.input_ids, batch.attention_mask, batch.token_type_ids).prediction_logits
    torch.testing.assert_close(logits, expected)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_every_suspect_trains_and_keeps_its_first_batch(
    hunt: tuple[heads.BertForMaskedLM, Shards],
) -> None:
    for letter in ("healthy", *"ABCD"):
        suspect = bug_hunt.train_suspect(letter, *hunt, HUNT)
        assert suspect.history[-1]["step"] == 2
        assert suspect.batch.labels.shape == (8, 16)
    with pytest.raises(ValueError, match="letter='E' is not a suspect"):
        bug_hunt.train_suspect("E", *hunt, HUNT)


def test_the_verdict_does_not_reveal_the_bug() -> None:
    correct = solution.bug_hunt()
    assert repr(bug_hunt.verdict(lambda: correct)).startswith("✓ bug_hunt: all four are found\n")
    assert repr(bug_hunt.verdict(stub)) == "– bug_hunt: not attempted yet"
    assert "it stops with RuntimeError: boom" in repr(bug_hunt.verdict(raises))
    assert "return a dictionary" in repr(bug_hunt.verdict(lambda: None))
    assert "yours:    None" in repr(bug_hunt.verdict(lambda: None))
    assert "without calling it" in repr(bug_hunt.verdict(correct))
    for letter, culprit in correct.items():
        for suspicion in set(bug_hunt.AGAINST) - {culprit}:
            result = bug_hunt.verdict(lambda letter=letter, said=suspicion: {**correct, letter: said})
            assert repr(result).startswith("✗ bug_hunt: 3 of 4 found")
            assert bug_hunt.AGAINST[suspicion] in repr(result)
            assert culprit not in repr(result)
    for answer in ({**correct, "A": "gremlins"}, {**correct, "A": ["a list"]}, {}):
        text = repr(bug_hunt.verdict(lambda answer=answer: answer))
        assert "A: no suspicion yet" in text or "A: " + repr(answer["A"]) in text
        assert text.count("the suspicions to choose from: 'every token has a label'") == 1


def test_an_endless_hunt_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> dict[str, str]:
        while True:
            pass

    monkeypatch.setattr(attempt, "SECONDS", 0.1)
    result = bug_hunt.verdict(endless)
    assert "stopped after 0.1 s of computing" in repr(result)
    assert result.reason == "took too long: it was stopped after 0.1 s of computing"


def test_a_wrong_hunt_says_why() -> None:
    correct = solution.bug_hunt()
    assert bug_hunt.verdict(lambda: {}).reason == "gave a wrong result: 0 of 4 found"
    assert bug_hunt.verdict(lambda: 3).reason == "gave a wrong result: it returns no dictionary"  # type: ignore[arg-type, return-value]
    assert bug_hunt.verdict(lambda: 1 / 0).reason.startswith("raised an error: it stops with ZeroDivision")  # type: ignore[arg-type, return-value]
    assert bug_hunt.verdict(lambda: correct).reason == ""


def test_a_solved_hunt_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTLEARN_PROGRESS", str(tmp_path))
    correct = solution.bug_hunt()
    bug_hunt.verdict(lambda: {**correct, "A": "nothing is wrong"})
    assert "nothing yet" in repr(built(4))
    bug_hunt.verdict(lambda: correct)
    assert "✓ bug_hunt" in repr(built(4))
