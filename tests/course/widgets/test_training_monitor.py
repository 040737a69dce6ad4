"""The training monitor: it shows a run and its normal range, and can stop it."""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import traitlets

sys.path.insert(0, str(Path(__file__).parents[2]))
from tiny_training import options, tiny_model, tiny_task

from bertlearn.course import snapshots
from bertlearn.course.snapshots import Band
from bertlearn.course.widgets import TrainingMonitor, base, training_monitor
from bertlearn.pretraining.masking import PretrainingBatch
from bertlearn.pretraining.run import pretraining_targets
from bertlearn.training.loop import train
from bertlearn.training.metrics import Progress, Record

BAND = Band([100, 200, 400], [6.0, 5.0, 4.0], [0.1, 0.1, 0.3])


def evaluations(*points: tuple[int, float]) -> list[Record]:
    return [{"step": step, "valid_mlm_loss": loss} for step, loss in points]


def test_it_shows_what_the_run_records() -> None:
    monitor = TrainingMonitor()
    assert monitor.phase == "waiting"
    run = train(tiny_model(), tiny_task(), options(), callback=monitor)
    assert monitor.phase == "done"
    shown = {
        (quantity, name): dict(points)
        for quantity, curves in monitor.curves.items()
        for name, points in curves.items()
    }
    names = {
        "mlm_loss": ("loss", "training, mlm"),
        "nsp_loss": ("loss", "training, nsp"),
        "valid_mlm_loss": ("loss", "held-out text, mlm"),
        "mlm_accuracy": ("accuracy", "training, mlm"),
        "nsp_accuracy": ("accuracy", "training, nsp"),
        "learning_rate": ("learning rate", "learning rate"),
        "grad_norm": ("gradient", "gradient"),
    }
    assert shown.keys() == set(names.values())
    for key, name in names.items():
        recorded = {record["step"]: record[key] for record in run.history if key in record}
        assert shown[name] == pytest.approx(recorded, rel=1e-4)
    last = run.history[-1]
    assert (monitor.progress["first"], monitor.progress["step"], monitor.progress["until"]) == (0, 8, 8)
    assert monitor.progress["seconds"] == pytest.approx(last["seconds"], abs=0.5)
    assert monitor.progress["left"] == 0


def test_one_objective_needs_no_name_and_a_score_has_one() -> None:
    record = {"step": 5, "label_loss": 0.7, "valid_label_loss": 0.6, "valid_label_accuracy": 0.8}
    curves = TrainingMonitor.of_history([record]).curves
    assert curves["loss"] == {"held-out text": [(5, 0.6)], "training": [(5, 0.7)]}
    curves = TrainingMonitor.of_history([{**record, "valid_score": 0.5}]).curves
    assert curves["accuracy"] == {"held-out text, label": [(5, 0.8)], "held-out text, score": [(5, 0.5)]}


def test_where_a_loss_lies_relative_to_the_band() -> None:
    history = evaluations(
        (50, 9.0), (100, 6.19), (150, 5.71), (200, 4.79), (300, 4.88), (400, 3.43), (500, 1.0)
    )
    monitor = TrainingMonitor.of_history(history, BAND)
    assert [(found["step"], found["where"], found["off"]) for found in monitor.evaluations] == [
        (100, "inside", 1.9),
        (150, "above", 2.1),  # of 5.5 ± 0.1, halfway
        (200, "below", -2.1),
        (300, "inside", 1.9),  # of 4.5 ± 0.2
        (400, "inside", -1.9),
    ]
    assert TrainingMonitor.of_history(history).evaluations == []


def test_the_snapshots_themselves() -> None:
    records = [record for record in snapshots.history() if record["step"] <= 1500]
    monitor = TrainingMonitor.of_history(records, snapshots.band("breakthrough"))
    assert [found["step"] for found in monitor.evaluations] == [1000, 1250]
    assert len(monitor.curves["loss"]["training"]) == 30
    assert len(monitor.to_html()) < 100_000


@pytest.mark.parametrize("step", [2, 5])
def test_stop_ends_the_run_and_the_next_one_starts_fresh(step: int) -> None:
    monitor, calls = TrainingMonitor(), []

    def count(batch: PretrainingBatch) -> dict[str, int]:
        calls.append(batch)
        if len(calls) == step:
            monitor.stop = True
        return pretraining_targets(batch)

    run = train(tiny_model(), tiny_task(count=count), options(), callback=monitor)
    assert (run.step, run.finished) == (step, False)
    assert (monitor.phase, monitor.heard) == ("stopped", True)
    assert monitor.progress["step"] == step
    monitor.step = step  # the record of the metrics so far
    assert train(tiny_model(), tiny_task(), options(), callback=monitor).finished
    assert (monitor.phase, monitor.stop, monitor.heard, monitor.step) == ("done", False, False, None)


def test_another_run_with_as_many_records_is_shown() -> None:
    monitor = TrainingMonitor.of_history(evaluations((1, 5.0)))
    monitor(Progress(1, 1, 0.0, 0, evaluations((1, 6.0)), False))
    assert monitor.curves["loss"] == {"held-out text": [(1, 6.0)]}


def test_a_run_in_two_parts_keeps_its_axis(tmp_path: Path) -> None:
    monitor = TrainingMonitor()
    train(tiny_model(), tiny_task(), options(), tmp_path, until=4, callback=monitor)
    assert (monitor.phase, monitor.progress["until"]) == ("done", 4)
    train(tiny_model(), tiny_task(), options(), tmp_path, resume=True, callback=monitor)
    assert monitor.progress["first"] == 3  # where the first record is
    assert [step for step, _ in monitor.curves["learning rate"]["learning rate"]] == [3, 4, 6, 8]


def test_at_most_five_messages_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(training_monitor.time, "monotonic", lambda: clock[0])
    monitor, sent = TrainingMonitor(), []
    monitor.observe(sent.append, "progress")
    history = evaluations(*((step, 1.0) for step in range(200)))
    for step in range(200):
        clock[0] = 100 + step / 100
        monitor(Progress(step, 1000, step / 100, step, history[:step], True))
    assert 9 <= len(sent) <= 11
    assert len(monitor.curves["loss"]["held-out text"]) < 199
    monitor(Progress(200, 1000, 2.0, 200, history, False))  # the end is always sent
    assert len(monitor.curves["loss"]["held-out text"]) == 200


def test_long_messages_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, sent = [100.0], []

    def receive(change: Any) -> None:
        sent.append(clock[0])
        clock[0] += 0.5  # it takes that long

    monkeypatch.setattr(training_monitor.time, "monotonic", lambda: clock[0])
    monitor = TrainingMonitor()
    monitor.observe(receive, "progress")
    for step in range(300):
        clock[0] += 0.1
        monitor(Progress(step, 1000, step / 10, step, [], True))
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert len(gaps) >= 2 and min(gaps) > 10


def test_speed_and_time_left_are_those_of_this_run() -> None:
    monitor = TrainingMonitor()
    monitor(Progress(900, 1000, 500.0, 1_000_000, [], True))
    assert (monitor.progress["speed"], monitor.progress["left"]) == (None, None)
    monitor(Progress(950, 1000, 510.0, 1_002_000, [], False))
    assert (monitor.progress["speed"], monitor.progress["left"]) == (200, 10.0)
    assert (monitor.phase, monitor.progress["seconds"]) == ("stopped", 10.0)


def test_the_notebook_keeps_the_end_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[tuple[dict[str, Any], dict[str, Any]]] = []
    monkeypatch.setattr(base, "publish_display_data", lambda data, **how: published.append((data, how)))
    monitor = TrainingMonitor(BAND)
    train(tiny_model(), tiny_task(), options(), callback=monitor)
    assert published == []  # it was not shown
    monitor._ipython_display_()
    train(tiny_model(), tiny_task(), options(), callback=monitor)
    (first, how), (view, _), (last, renewed) = published
    assert "application/vnd.jupyter.widget-view+json" in view
    assert renewed == {"transient": how["transient"], "update": True}
    assert first["text/plain"] == last["text/plain"] == "[widget] Training monitor: Training run"
    assert "bl-still" in last["text/html"]


def test_picture_says_what_it_shows() -> None:
    monitor = TrainingMonitor(BAND, {"guessing": 6.5}, title="Mine")
    assert repr(monitor.picture()) == "[figure] Curves. Mine, loss: no step yet."
    record = {"step": 200, "learning_rate": 0.5, "mlm_loss": 6.0, "valid_mlm_loss": 5.1}
    monitor = TrainingMonitor.of_history(
        [{"step": 100, "mlm_loss": 8.0}, record], BAND, {"guessing": 6.5}, title="Mine"
    )
    curves = "held-out text from 5.1 to 5.1; training from 8 to 6; 1 of 1 evaluations inside the band."
    assert monitor.picture().alt == f"Curves. Mine, loss: {curves}"
    assert monitor.picture("Two curves.").alt == "Two curves."
    axes = monitor.picture().figure.axes[0]
    assert [line.get_label() for line in axes.lines] == ["guessing", "held-out text", "training"]
    assert axes.lines[2].get_xydata().tolist() == [[100, 8], [200, 6]]
    low, high = axes.collections[0].get_paths()[0].get_extents().get_points()
    assert (low.tolist(), high.tolist()) == ([100, pytest.approx(3.4)], [400, pytest.approx(6.2)])
    monitor.quantity, monitor.step = "learning rate", 200
    axes = monitor.picture().figure.axes[0]
    assert [line.get_xydata().tolist()[0] for line in axes.lines] == [[200, 0.5], [200, 0]]


def test_numbers_that_are_not_finite_are_left_out() -> None:
    history = [
        {"step": 1, "mlm_loss": math.nan},
        {"step": 2, "mlm_loss": math.inf},
        {"step": 3, "mlm_loss": 1.0},
    ]
    monitor = TrainingMonitor.of_history(history)
    assert monitor.curves["loss"] == {"training": [(3, 1.0)]}
    assert "NaN" not in monitor.to_html().split("start({")[1]


@pytest.mark.parametrize("title", ["", r"$\x$", "\n", "💥", "שלום", "<script>alert(1)</script>"])
def test_odd_names(title: str) -> None:
    monitor = TrainingMonitor.of_history(evaluations((1, 2.0)), lines={title: 1.0}, title=title)
    assert monitor.picture().png()
    assert "<script>alert" not in monitor.to_html()


def test_what_cannot_be_shown() -> None:
    with pytest.raises(ValueError, match=r"band is str, expected a Band, such as snapshots\.band"):
        TrainingMonitor("scratch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"std is .*expected finite numbers"):
        TrainingMonitor(BAND._replace(std=[0.1, math.nan, 0.1]))
    with pytest.raises(ValueError, match="guessing is inf; expected finite numbers"):
        TrainingMonitor(lines={"guessing": math.inf})
    for history in ([], [{"loss": 1.0}]):
        with pytest.raises(ValueError, match="not all with a step; give the history of a run"):
            TrainingMonitor.of_history(history)
    monitor = TrainingMonitor.of_history(evaluations((10, 1.0), (30, 1.0)))
    with pytest.raises(
        ValueError, match="step=20 has no record; there are 2 steps from 10 to 30; None is the newest"
    ):
        monitor.step = 20
    with pytest.raises(ValueError, match="step=1 has no record; there is no step yet"):
        TrainingMonitor().step = 1
    with pytest.raises(traitlets.TraitError, match="gradient"):
        monitor.quantity = "fun"


def test_a_run_with_a_monitor_learns_the_same() -> None:
    one, other = tiny_model(), tiny_model()
    train(one, tiny_task(), options(log_every=1), callback=TrainingMonitor())
    train(other, tiny_task(), options(log_every=1))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_training_curve_keeps_its_color_when_the_held_out_curve_begins() -> None:
    records = [{"step": float(step), "mlm_loss": 9.0 - step} for step in (1, 2)]
    evaluated = [*records, {"step": 3.0, "mlm_loss": 5.0, "valid_mlm_loss": 6.0}]
    colors = []
    for history in (records, evaluated):
        [axes] = TrainingMonitor.of_history(history).picture().figure.axes
        colors.append({line.get_label(): line.get_color() for line in axes.lines})
    assert len(colors[0]) < len(colors[1])
    assert colors[0]["training"] == colors[1]["training"] != colors[1]["held-out text"]
