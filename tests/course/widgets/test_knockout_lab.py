"""The knock-out lab: its numbers are those of the rows, its switches are checked, its runs are its own."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from scipy.stats import ttest_1samp

from bertlearn.course.knockout import BERT, MODERN, SWITCHES, knock_outs
from bertlearn.course.widgets import KnockoutLab, knockout_lab
from bertlearn.course.widgets.knockout_lab import name
from tests.every_widget import knockout_rows

ROWS = knockout_rows()


class Process:
    """A run that reports what a test tells it to."""

    made: ClassVar[list[Process]] = []

    def __init__(self, on: list[str], seed: int, steps: int, receive: Any) -> None:
        self.given, self.receive, self.stopped = (on, seed, steps), receive, False
        Process.made.append(self)

    def stop(self) -> None:
        self.stopped = True
        self.receive({"state": "stopped", "problem": ""})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Process]]:
    """Replace the processes; yield those that were started."""
    Process.made = []
    monkeypatch.setattr(knockout_lab, "LiveRun", Process)
    yield Process.made


def finals(on: frozenset[str], column: str) -> list[float]:
    """Return a column of the last step of each seed."""
    return [row[column] for row in ROWS if set(row["on"].split()) == on and row["step"] == 1500]


def test_every_stored_combination_has_its_seeds_its_mean_and_its_interval() -> None:
    stored = KnockoutLab(ROWS).stored
    assert [frozenset(run["on"]) for run in stored] == knock_outs()
    for run in stored:
        values = finals(frozenset(run["on"]), "accuracy")
        assert run["values"]["accuracy"] == values
        mean, margin = run["estimates"]["accuracy"]
        interval = ttest_1samp(values, 0).confidence_interval()
        assert mean == pytest.approx(statistics.mean(values), abs=1e-5)
        assert [mean - margin, mean + margin] == pytest.approx(list(interval), abs=3e-5)
        [time] = set(finals(frozenset(run["on"]), "relative_time"))
        assert run["estimates"]["time"] == [time, None]


def test_differences_are_taken_seed_by_seed() -> None:
    run = next(run for run in KnockoutLab(ROWS).stored if run["on"] == ["rope"])
    for end, switches in (("BERT", BERT), ("Modern", MODERN)):
        pairs = zip(finals(frozenset({"rope"}), "loss"), finals(switches, "loss"), strict=True)
        differences = [own - other for own, other in pairs]
        assert run["off"][end]["loss"][0] == pytest.approx(statistics.mean(differences), abs=1e-5)
        assert run["off"][end]["loss"][1] == pytest.approx(0, abs=1e-3)  # all seeds shift the loss alike
    assert run["estimates"]["loss"][1] > 0.05


def test_the_curve_has_the_means_of_all_steps() -> None:
    run = next(run for run in KnockoutLab(ROWS).stored if run["on"] == ["muon"])
    for step, loss, accuracy in run["curve"]:
        rows = [row for row in ROWS if row["on"] == "muon" and row["step"] == step]
        assert loss == pytest.approx(statistics.mean(row["loss"] for row in rows), abs=1e-5)
        assert accuracy == pytest.approx(statistics.mean(row["accuracy"] for row in rows), abs=1e-5)
    assert [step for step, *_ in run["curve"]] == [500, 1000, 1500]


@pytest.mark.parametrize(
    ("on", "words"),
    [
        (BERT, "BERT"),
        (MODERN, "Modern"),
        ({"rope"}, "BERT with rope"),
        ({"muon", "rope", "geglu"}, "BERT with geglu, rope and muon"),
        (MODERN - {"muon"}, "Modern without muon"),
        (MODERN ^ {"mask_30", "mask_15"}, "Modern without mask_30, with mask_15"),
    ],
)
def test_a_combination_is_named_after_the_nearer_end(on: set[str], words: str) -> None:
    assert name(on) == words
    lab = KnockoutLab(ROWS, on=on)
    assert lab.on == [switch for switch in SWITCHES if switch in on]
    assert repr(lab) == f"[widget] Knock-out lab: {words}"


def test_switches_are_put_in_order_and_wrong_ones_named() -> None:
    lab = KnockoutLab(ROWS)
    lab.on = ["dropout", "rope", "pre_norm"]
    assert lab.on == ["pre_norm", "rope", "dropout"]
    for on, problem in (
        (["rotary"], "there is no switch 'rotary'; there are pre_norm"),
        (["mask_30", "mask_15"], "mask_15 and mask_30 are both on; choose one of them"),
    ):
        with pytest.raises(ValueError, match=problem):
            lab.on = on
        with pytest.raises(ValueError, match=problem):
            KnockoutLab(ROWS, on=on)
    assert lab.on == ["pre_norm", "rope", "dropout"]


def test_rows_without_an_end_are_refused() -> None:
    with pytest.raises(ValueError, match="rows has no run of BERT, with which the others are compared"):
        KnockoutLab([row for row in ROWS if row["on"]])
    with pytest.raises(ValueError, match="rows has no run of Modern"):
        KnockoutLab([row for row in ROWS if len(row["on"].split()) < 2])
    with pytest.raises(ValueError, match="rows has no run of BERT"):
        KnockoutLab([])
    with pytest.raises(ValueError, match="there is no switch 'rotary'"):
        KnockoutLab([*ROWS, {**ROWS[0], "on": "rotary"}])


def test_a_run_is_started_followed_and_kept(made: list[Process]) -> None:
    lab = KnockoutLab(ROWS, on=["geglu", "rope"], steps=9)
    lab.running = True
    assert made[0].given == (["geglu", "rope"], 0, 9)
    lab.on = []  # the switches may move on while it runs
    made[0].receive({"step": 3, "until": 9, "seconds": 1.0, "curve": [[3, 6.0, 0.1]]})
    [run] = lab.live
    assert (run["on"], run["state"], run["step"]) == (["geglu", "rope"], "running", 3)
    made[0].receive({"step": 9, "until": 9, "seconds": 3.0, "curve": [[3, 6.0, 0.1], [9, 5.0, 0.2]]})
    made[0].receive({"state": "done", "problem": ""})
    assert not lab.running and lab.live[0]["state"] == "done" and lab.live[0]["curve"][-1] == [9, 5.0, 0.2]
    lab.on = ["geglu", "rope"]
    lab.running = True
    assert made[1].given[1] == 1 and len(lab.live) == 2, "another seed"


def test_a_stopped_run_keeps_what_was_evaluated(made: list[Process]) -> None:
    lab = KnockoutLab(ROWS, on=["geglu", "rope"])
    lab.running = True
    made[0].receive({"step": 500, "until": 1500, "seconds": 9.0, "curve": [[500, 6.0, 0.1]]})
    lab.running = False
    assert made[0].stopped and [run["state"] for run in lab.live] == ["stopped"]
    lab.running = True
    lab.close()
    assert made[1].stopped and len(lab.live) == 1, "a run without an evaluation leaves nothing"


def test_a_failed_run_says_why_and_the_next_one_clears_that(made: list[Process]) -> None:
    lab = KnockoutLab(ROWS, on=["geglu", "rope"])
    lab.running = True
    made[0].receive({"state": "failed", "problem": "no memory"})
    assert (lab.problem, lab.running, lab.live) == ("no memory", False, [])
    lab.running = True
    assert lab.problem == ""


def test_a_run_in_its_own_process() -> None:
    lab = KnockoutLab(ROWS, on=["rope", "muon"], steps=3)
    lab.running = True
    lab.wait()
    [run] = lab.live
    assert run["state"] == "done" and [step for step, *_ in run["curve"]] == [1, 2, 3]
    assert not lab.running and lab.problem == ""


def test_picture() -> None:
    lab = KnockoutLab(ROWS, on=["rope"])
    alt = lab.picture().alt
    mean = statistics.mean(finals(BERT, "accuracy"))
    assert f"accuracy on held-out text: BERT {mean:.3f}, Modern" in alt and "Chosen: BERT with rope." in alt
    lab.quantity = "time"
    assert "time of a step, BERT = 1: BERT 1.000" in lab.picture().alt
    assert len(lab.picture().png()) > 5000
