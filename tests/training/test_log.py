"""TensorBoard gets the numbers of history.csv, also after a resume, and what is missing is named at once."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tiny_training import options, tiny_model, tiny_task

from bertlearn.training.log import FOLDER
from bertlearn.training.loop import HISTORY, train
from bertlearn.training.metrics import Record, read_history

event_files = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def logged(folder: Path) -> dict[int, Record]:
    """Return what TensorBoard shows, by step; what was purged is left out."""
    events = event_files.EventAccumulator(str(folder / FOLDER)).Reload()
    found: dict[int, Record] = {}
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            found.setdefault(event.step, {"step": event.step})[name] = event.value
    return found


def assert_same(folder: Path) -> None:
    history = read_history(folder / HISTORY)
    found = logged(folder)
    assert list(sorted(found)) == [record["step"] for record in history]
    for record in history:
        assert found[int(record["step"])] == pytest.approx(record, rel=1e-6)


def test_the_same_numbers_as_in_the_history_also_after_a_resume(tmp_path: Path) -> None:
    made = options(log_to="tensorboard", log_every=1)
    train(tiny_model(), tiny_task(), made, tmp_path, until=6)
    (tmp_path / "step-00000006.safetensors").unlink()  # as if the run had died: it goes on from step 5
    run = train(tiny_model(), tiny_task(), made, tmp_path, resume=True)
    assert [record["step"] for record in run.history] == list(range(1, 9))
    assert_same(tmp_path)


def test_a_run_that_logged_to_csv_may_go_on_with_tensorboard(tmp_path: Path) -> None:
    train(tiny_model(), tiny_task(), options(), tmp_path, until=5)
    assert not (tmp_path / FOLDER).exists()
    train(tiny_model(), tiny_task(), options(log_to="tensorboard"), tmp_path, resume=True)
    assert set(logged(tmp_path)) == {6, 8}


def test_what_is_missing_is_named_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny_task(batch=lambda first, count: pytest.fail("training began"))
    with pytest.raises(ValueError, match="has nowhere to write to; give the run a folder"):
        train(tiny_model(), task, options(log_to="tensorboard"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs the package tensorboard; install it with `pip install"):
        train(tiny_model(), task, options(log_to="tensorboard"), tmp_path)
    with pytest.raises(ValueError, match="log_to='wandb' is unknown; use csv, tensorboard"):
        options(log_to="wandb")
