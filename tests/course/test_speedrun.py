"""The race: what a recipe must have, what is measured, and when it is a record."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bertlearn import cli
from bertlearn.course import speedrun
from bertlearn.course.corpus import course_shards
from bertlearn.course.speedrun import Attempt, RecipeError, attempt, counts, mean_of, read_recipe
from bertlearn.pretraining.corpus import Shards

RECIPES = Path(__file__).parents[2] / "benchmarks" / "recipes"


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text, encoding="utf-8")
    return path


WRONG = {
    "has STEPS = None": "def train(shards, seed): ...",
    "has STEPS = '5'": "STEPS = '5'\ndef train(shards, seed): ...",
    r"has no function train\(shards, seed\)": "STEPS = 5",
}


@pytest.mark.parametrize("message", WRONG)
def test_a_recipe_without_its_parts_is_refused(tmp_path: Path, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(written(tmp_path, WRONG[message]))
    with pytest.raises(RecipeError, match="is no file"):
        read_recipe(tmp_path / "none.py")


def test_the_recipes_of_the_table_can_be_read() -> None:
    paths = sorted(RECIPES.glob("*.py"))
    assert len(paths) >= 2
    assert read_recipe(RECIPES / "chapter4.py").STEPS == speedrun.STEPS
    assert all(read_recipe(path).__doc__ for path in paths)


def test_counted_neighbors_put_words_near_words_of_their_kind() -> None:
    recipe, shards = read_recipe(RECIPES / "neighbors.py"), course_shards("train")
    recipe.STEPS = 1
    model, vocab = recipe.train(shards, 0), Shards.open(shards).vocab
    words = torch.nn.functional.normalize(model.model.embeddings.word.weight.detach())
    for word, others in {"two": {"three", "four"}, "he": {"she"}, "good": {"great"}}.items():
        nearest = {vocab[i] for i in (words @ words[vocab.index(word)]).topk(8).indices.tolist()}
        assert others < nearest, (word, nearest)


def attempts(*accuracies: float) -> list[Attempt]:
    return [Attempt(i, 50.0 + i, 90.0, 200.0, 900_000, x) for i, x in enumerate(accuracies)]


def test_a_record_takes_five_seeds_their_mean_and_none_far_below() -> None:
    assert counts(attempts(0.25, 0.26, 0.25, 0.24, 0.25))
    assert not counts(attempts(0.25, 0.26, 0.25, 0.25))  # four seeds
    assert not counts(attempts(0.25, 0.25, 0.25, 0.25, 0.249))  # the mean
    assert not counts(attempts(0.3, 0.3, 0.3, 0.3, 0.239))  # one of them
    assert (
        str(mean_of(attempts(0.2, 0.3))) == "50 s, 0.25 of chapter 4's 200 s; 90 core seconds; accuracy 0.250"
    )


SMALL = """
import torch
from bertlearn.model.config import ModernConfig
from bertlearn.model.modern import ModernForMaskedLM
from bertlearn.pretraining.corpus import Shards

STEPS = 1

def train(shards, seed):
    torch.manual_seed(seed)
    assert torch.get_num_threads() == 2
    size = len(Shards.open(shards).vocab)
    return ModernForMaskedLM(ModernConfig(vocab_size=size, hidden_size={hidden}, num_attention_heads=2,
        num_hidden_layers=1, intermediate_size=16, max_position_embeddings=64, rope=True))
"""


def test_an_attempt_is_trained_and_evaluated_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = speedrun._child

    def child(*words: object) -> dict[str, object]:
        return {"reference_seconds": 100.0} if words[0] == "reference" else real(*words)

    monkeypatch.setattr(speedrun, "_child", child)
    found = attempt(written(tmp_path, SMALL.format(hidden=16)), 3)
    assert found.seed == 3 and found.reference_seconds == 100.0
    assert 0 <= found.accuracy < 0.06 and found.seconds < 30  # it has learned nothing
    assert found.parameters > 4096 * 16
    with pytest.raises(
        RecipeError, match=r"train ended with status 1.*at most [\d,]+, as many as chapter 4's"
    ):
        attempt(written(tmp_path, SMALL.format(hidden=512)), 0)
    with pytest.raises(RecipeError, match="train ended with status 1: ZeroDivisionError"):
        attempt(written(tmp_path, "STEPS = 1\ndef train(shards, seed):\n    1 / 0"), 0)


def test_the_command_prints_each_attempt_and_says_whether_it_is_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written(tmp_path, SMALL.format(hidden=16))
    for accuracy, status, verdict in ((0.26, 0, "It counts."), (0.2, 3, "It does not count")):
        monkeypatch.setattr(speedrun, "attempt", lambda _, seed, x=accuracy: attempts(*[x] * 6)[seed])
        assert cli._run(["speedrun", str(recipe)]) == status
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "mine.py: 1 steps, 5 seeds" and len(lines) == 8
        assert lines[5].startswith("seed 4: 54 s") and lines[-1].startswith(verdict)
    assert cli._run(["speedrun", str(tmp_path / "none.py")]) == 1
    assert "bertlearn speedrun: " in capsys.readouterr().err
