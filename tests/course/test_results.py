"""The stored results have the declared columns and provenance, and a fresh run agrees with them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bertlearn.course import knockout, objectives
from bertlearn.course.corpus import course_shards
from bertlearn.course.results import COLUMNS, PROVENANCE, RESULTS, check_rows, load_results, summarize
from bertlearn.course.tasks import Cloze
from bertlearn.data import load_reviews
from bertlearn.data.sources import SOURCES
from bertlearn.pretraining.corpus import Shards
from bertlearn.training.metrics import Progress

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import make_lab as lab  # noqa: E402
import make_results as tool  # noqa: E402
import make_search  # noqa: E402
import make_tuned  # noqa: E402
import make_work  # noqa: E402
import stored_runs  # noqa: E402

LABS = ("knockout", "objectives")  # the results that tools/make_lab.py makes
TOOLS = {
    name: made
    for made in (tool.TOOL, make_search.TOOL, make_tuned.TOOL, make_work.TOOL)
    for name in made.experiments
}


def test_all_files_exist_and_are_small() -> None:
    files = sorted(RESULTS.glob("*.json"))
    assert [file.stem for file in files] == sorted([*TOOLS, *LABS])
    assert sorted(COLUMNS) == sorted([*TOOLS, *LABS])
    assert sum(file.stat().st_size for file in files) < 1e6


@pytest.mark.parametrize("name", TOOLS)
def test_rows_and_provenance_match_the_script(name: str, tmp_path: Path) -> None:
    made = TOOLS[name]
    found, experiment = load_results(name), made.experiments[name](tmp_path)
    assert found.rows
    assert set(found.provenance) == set(PROVENANCE)
    assert found.provenance["settings"] == json.loads(json.dumps(experiment.settings)), "run make results"
    assert found.provenance["data"] == {source: SOURCES[source].sha256 for source in made.sources}
    assert found.provenance["command"] == f"{made.command} {name}"


def test_the_knock_out_lab_has_every_run_and_its_times() -> None:
    found = load_results("knockout")
    check_rows("knockout", found.rows)
    names = [lab.name_of(on) for on in knockout.knock_outs()]
    runs = {(row["on"], row["seed"]) for row in found.rows}
    assert runs == {(name, seed) for name in names for seed in lab.SEEDS}
    for name, seed in runs:
        steps = [row["step"] for row in found.where(on=name, seed=seed)]
        assert sorted(steps) == [500, 1000, knockout.STEPS], (name, seed)
    assert {row["relative_time"] for row in found.where(on="")} == {1.0}


def test_the_objectives_lab_has_every_run() -> None:
    found = load_results("objectives")
    check_rows("objectives", found.rows)
    runs = [(row["variant"], row["seed"]) for row in found.rows]
    assert sorted(runs) == sorted((name, seed) for name in objectives.VARIANTS for seed in lab.SEEDS)


@pytest.mark.parametrize("name", LABS)
def test_a_labs_provenance_is_that_of_its_script(name: str) -> None:
    provenance, made = load_results(name).provenance, lab.LABS[name]()
    assert set(provenance) == set(PROVENANCE)
    assert provenance["settings"] == json.loads(json.dumps(made.settings)), "run tools/make_lab.py"
    assert provenance["data"] == Shards.open(course_shards("train")).fingerprint
    assert provenance["command"] == made.command


def test_every_run_of_the_script_is_in_its_file(tmp_path: Path) -> None:
    models = [f"{row['model']} {row['seed']}".removesuffix(" None") for row in load_results("models").rows]
    assert models == list(tool.models(tmp_path).runs)
    points = [f"{r['model']} {r['sentences']} {r['seed']}" for r in load_results("learning_curve").rows]
    assert (
        points[: len(tool.learning_curve(tmp_path).runs) - 1] == list(tool.learning_curve(tmp_path).runs)[:-1]
    )
    assert len(load_results("split").rows) == 2 * len(tool.split(tmp_path).runs)
    choices = list(dict.fromkeys(run_of(row) for row in load_results("finetuning").rows))
    assert choices == list(tool.finetuning(tmp_path).runs)


def run_of(row: dict) -> str:
    """Return the name of the run that a row of "finetuning" comes from; each cloze run has two rows."""
    if row["setting"] == "task":
        return f"{row['task']} {row['seed']}"
    subject = f"{row['model']}," if row["setting"] == "recipe" else row["setting"]
    return f"{subject} {row['value']} {row['seed']}"


@pytest.mark.parametrize("row", load_results("models").rows, ids=lambda row: f"{row['model']} {row['seed']}")
def test_scores_follow_from_the_stored_log_odds(row: dict) -> None:
    reviews = load_reviews()
    for subset, column in ((reviews.validation, "validation_accuracy"), (reviews.test, "accuracy")):
        odds = np.array(row["test_log_odds" if column == "accuracy" else "validation_log_odds"])
        assert ((odds > 0) == np.array(subset.labels)).mean() == pytest.approx(row[column], abs=2e-3)


@pytest.mark.slow
def test_a_fresh_run_agrees_with_the_stored_ones() -> None:
    """Another seed of a model that trains in seconds, and the deterministic baseline."""
    name, count = "own BERT, pretrained", 1000
    stored = summarize(load_results("learning_curve").where(model=name, sentences=count), "accuracy", "model")
    fresh = tool.curve_point(name, count, seed=7)[0]["accuracy"]
    assert fresh == pytest.approx(stored[name].mean, abs=max(4 * stored[name].std, 0.03))
    tfidf = load_results("models").where(model="TF-IDF")[0]
    assert tool.tfidf_model()[0]["accuracy"] == pytest.approx(tfidf["accuracy"], abs=0.003)


@pytest.mark.slow
def test_a_fresh_run_of_the_lab_agrees_with_the_stored_ones() -> None:
    """Rotary positions up to the first evaluation: a stored seed again, and a new seed."""
    on = frozenset({"rope"})
    stored = load_results("knockout").where(on="rope", step=500)
    again, fresh = (_first_evaluation(on, seed) for seed in (0, 7))
    [same] = [row for row in stored if row["seed"] == 0]
    assert again["valid_mlm_loss"] == pytest.approx(same["loss"], abs=0.05)
    assert again["valid_mlm_accuracy"] == pytest.approx(same["accuracy"], abs=0.01)
    by_seed = summarize(stored, "loss", "on")["rope"]
    assert fresh["valid_mlm_loss"] == pytest.approx(by_seed.mean, abs=max(6 * by_seed.std, 0.1))


def _first_evaluation(on: frozenset[str], seed: int) -> dict[str, float]:
    """Return the record of a run at the first step at which it is evaluated, and stop there."""

    def evaluated(progress: Progress) -> bool:
        return any("valid_mlm_loss" in record for record in progress.history)

    history = knockout.run(on, seed, callback=evaluated).history
    return next(record for record in history if "valid_mlm_loss" in record)


def test_wrong_rows_are_refused() -> None:
    row = load_results("split").rows[0]
    with pytest.raises(ValueError, match=r"split.json, row 1: accuracy is '0.7', expected float; run"):
        check_rows("split", [row, row | {"accuracy": "0.7"}])
    with pytest.raises(ValueError, match="row 0: colour is missing or unknown"):
        check_rows("split", [row | {"colour": 1}])
    with pytest.raises(ValueError, match="name='model' is not a results file; choose among models, learning"):
        load_results("model")


def test_an_interrupted_series_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def run(seed: int) -> list[dict]:
        calls.append(seed)
        if seed == 1 and len(calls) == 2:
            raise KeyboardInterrupt
        return [{"model": "m", "split": "film", "seed": seed, "accuracy": 0.5}]

    runs = {str(seed): (lambda seed=seed: run(seed)) for seed in range(3)}
    monkeypatch.setitem(tool.EXPERIMENTS, "split", lambda work: stored_runs.Experiment({}, runs))
    monkeypatch.setattr(stored_runs, "RESULTS", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        tool.TOOL.compute(tmp_path / "work", "split", (1, 1))
    assert not (tmp_path / "split.json").exists()
    tool.TOOL.compute(tmp_path / "work", "split", (1, 1))
    assert calls == [0, 1, 1, 2]
    assert [row["seed"] for row in json.loads((tmp_path / "split.json").read_text())["rows"]] == [0, 1, 2]
    monkeypatch.setitem(tool.EXPERIMENTS, "split", lambda work: stored_runs.Experiment({"new": 1}, runs))
    tool.TOOL.compute(tmp_path / "work", "split", (1, 1))
    assert calls == [0, 1, 1, 2, 0, 1, 2]  # other settings: all runs anew


def test_splits_by_film_share_no_film() -> None:
    films = load_reviews().films
    train, test = tool.split_rows(films, by_film=True, seed=0)
    assert sorted(train + test) == list(range(len(films)))
    assert not {films[row] for row in train} & {films[row] for row in test}
    assert len(test) / len(films) == pytest.approx(0.1, abs=0.01)
    assert len(tool.split_rows(films, by_film=False, seed=0)[1]) / len(films) == pytest.approx(0.1, abs=0.001)


def test_sentences_are_sampled_without_repeats_and_then_repeated() -> None:
    once, thrice = tool.sample_sentences(300, 0), tool.sample_sentences(300, 0, times=3)
    assert len(set(once.sentences)) == 300
    assert thrice.sentences == once.sentences * 3 and thrice.labels == once.labels * 3


def test_answers_are_scored_by_exact_match_and_by_words() -> None:
    def item(answer: str) -> Cloze:
        return Cloze("", "", "", answer, 0, 0)

    items = [item("Abraham Lincoln"), item("Lincoln"), item(""), item("Mary")]
    predictions = ["abraham lincoln", "Abraham Lincoln", "", ""]
    assert tool.exact_match(predictions, items) == 2 / 4
    assert tool.answer_f1(predictions, items) == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)
    assert tool.answer_f1(["Tom"], [item("")]) == 0
