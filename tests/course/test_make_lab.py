"""The tool that makes the labs' results continues where it stopped, and writes a file once all is there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bertlearn.course import knockout, objectives
from bertlearn.course.results import PROVENANCE

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import make_lab as tool


def lab(calls: list[int], timed: bool, fails_at: int | None = None) -> tool.Lab:
    def run(seed: int) -> list[dict]:
        calls.append(seed)
        if seed == fails_at and calls.count(seed) == 1:
            raise KeyboardInterrupt
        return [{"on": "rope", "seed": seed}]

    return tool.Lab("command", {}, {f"rope-{n}": (lambda n=n: run(n)) for n in range(3)}, timed)


@pytest.mark.parametrize("timed", [False, True])
def test_a_series_continues_and_ends_with_a_file(
    timed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []
    monkeypatch.setitem(tool.LABS, "objectives", lambda: lab(calls, timed, fails_at=1))
    monkeypatch.setattr(tool, "RESULTS", tmp_path)
    arguments = ["objectives", "--work", str(tmp_path / "work")]
    with pytest.raises(KeyboardInterrupt):
        tool.main(arguments)
    tool.main([*arguments, "--part", "2/2"])
    assert calls == [0, 1, 1] and "2 of 3 runs are finished" in capsys.readouterr().out
    tool.main(arguments)
    assert calls == [0, 1, 1, 2]
    results = tmp_path / "objectives.json"
    if timed:
        assert "times are missing" in capsys.readouterr().out and not results.exists()
        monkeypatch.setattr(tool, "relative_times", lambda: {"rope": 1.25})
        tool.main([*arguments, "--time"])
    stored = json.loads(results.read_text())
    more = {"relative_time": 1.25} if timed else {}
    assert stored["rows"] == [{"on": "rope", "seed": seed} | more for seed in range(3)]
    assert set(stored["provenance"]) == set(PROVENANCE)
    tool.main(["objectives", "--work", str(tmp_path / "elsewhere")])
    assert calls == [0, 1, 1, 2]  # what the results have is not run again


def test_the_runs_of_both_labs() -> None:
    knock_outs, variants = tool.knockout_lab(), tool.objectives_lab()
    assert len(knock_outs.runs) == len(tool.SEEDS) * len(knockout.knock_outs()) and knock_outs.timed
    assert {"bert-0", "rope-1", "pre_norm+no_bias+geglu+rope+local+muon+wsd+whole+mask_30-1"} < set(
        knock_outs.runs
    )
    assert len(variants.runs) == len(tool.SEEDS) * len(objectives.VARIANTS) and not variants.timed
    assert {"base-0", "pairs,+SOP-1"} < set(variants.runs)


def test_a_row_has_all_yardsticks(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = dict.fromkeys(("review_loss", "review_accuracy"), 0.123456)
    scores |= dict.fromkeys(("loss", "accuracy", "next_accuracy", "order_accuracy"))
    monkeypatch.setattr(objectives, "scores", lambda model, seed: scores)
    [row] = tool.objective("not pretrained", 1)
    assert row.keys() == scores.keys() | {"variant", "seed", "parameters", "core_seconds"}
    assert row["review_loss"] == 0.1235 and row["loss"] is None and row["seed"] == 1
