"""The benchmarks: their tools measure what they say, peers are compared, and all of it runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from benchmarks import __main__ as every
from benchmarks import common, course, pretraining_step, scaling, tokenizer
from benchmarks.common import Setting, Table, check_same, in_turns, memory_of, peak, spread
from benchmarks.loops import Loop

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")


def test_the_tables_are_those_of_the_results() -> None:
    text = every.README.read_text(encoding="utf-8")
    assert every.with_tables(text) == text, "run python -m benchmarks --tables"
    assert all(f"<!-- {name} -->" in text for name in every.NAMES)


def test_chapter_4_extrapolates_what_the_benchmark_measured() -> None:
    result = json.loads((common.RESULTS / "pretraining_cost.cpu.json").read_text(encoding="utf-8"))
    [base] = [found for found in result["raw"] if found[0]["case"]["model"] == "base"]
    speeds = {one["case"]["length"]: round(one["tokens_per_second"]) for one in base}
    cells = nbformat.read(ROOT / "notebooks" / "04_pretraining.ipynb", as_version=4).cells
    assert sum(cell.source.startswith(f"measured = {speeds}") for cell in cells) == 1


def test_every_notebook_is_measured() -> None:
    result = json.loads((common.RESULTS / "course.cpu.json").read_text(encoding="utf-8"))
    names = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert [one["notebook"] for one in result["raw"]] == names
    found = [{"notebook": name, "seconds": 60.0, "memory_mb": float(name[:2])} for name in names]
    assert course.rows(found)[-1] == ["chapters 1 to 6", "360 (6.0 minutes)", "6"]


def test_peers_are_timed_in_turns_after_a_warm_up() -> None:
    told: list[str] = []

    def work(name: str, duration: float) -> None:
        told.append(name)
        time.sleep(duration)

    times = in_turns({"a": lambda: work("a", 0.0), "b": lambda: work("b", 0.01)}, CPU, 3, warmup=2)
    assert told == ["a", "b"] * 5
    assert times["b"].median >= 0.01 > times["a"].median
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == (3.0, 2.0, 4.0)
    assert spread([1.0]) == (1.0, 1.0, 1.0)


def test_ratios_are_taken_turn_by_turn() -> None:
    assert common.times_as_long([2.0, 40.0, 9.0], [1.0, 20.0, 3.0]) == "2.00× (2.00–2.50)"
    turns = {1: [4.0, 6.0, 8.0], 2: [2.0, 2.0, 4.0]}
    found = [{"model": "m", "processes": n, "threads_each": 2 // n, "turns": turns[n]} for n in turns]
    assert [row[-1] for row in scaling.shared(found)] == ["1.00× (1.00–1.00)", "2.00× (2.00–2.50)"]


def test_on_a_gpu_all_that_was_asked_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    in_turns({"a": lambda: None}, torch.device("cuda"), 2, warmup=1)
    assert len(waited) == 3
    in_turns({"a": lambda: None}, CPU, 2, warmup=1)
    assert len(waited) == 3


def take(megabytes: int) -> None:
    taken = np.ones(megabytes * 10**6 // 8)
    time.sleep(0.05)
    del taken


def test_the_memory_of_a_call_is_seen() -> None:
    assert 380 < memory_of(CPU, take, 400) < 450


def test_a_matrix_product_has_a_speed() -> None:
    assert peak(CPU, torch.float32) > 1e9


def test_outputs_that_differ_end_a_benchmark() -> None:
    one = torch.tensor([1.0, -100.0])
    check_same("x", one, one + 0.009, 1e-4)
    for other in (one + 0.02, one * float("nan")):
        with pytest.raises(SystemExit, match="would mean nothing"):
            check_same("x", one, other, 1e-4)


def test_a_loop_does_a_step_at_a_call_and_tells_errors() -> None:
    steps: list[int] = []

    def run(hold):
        for number in range(3):
            steps.append(number)
            if hold():
                return
        raise ValueError("over")

    loop = Loop(run)
    loop()
    assert steps == [0]
    loop()
    assert steps == [0, 1]
    loop.end()
    assert steps == [0, 1]
    loop = Loop(run)
    loop(), loop(), loop()
    with pytest.raises(ValueError, match="over"):
        loop()


def test_a_table_is_markdown() -> None:
    assert str(Table("T", ["a", "b"], [["1", "2"]])) == "T\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_result_tells_where_it_is_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setting = Setting("x", CPU, False, tmp_path / "x.json")
    common.keep(setting, [Table("T", ["a"], [["1"]])], {"n": 1})
    kept = json.loads(setting.output.read_text(encoding="utf-8"))
    assert kept["raw"] == {"n": 1} and kept["versions"]["torch"] == torch.__version__
    told = every.provenance(kept)
    assert kept["machine"]["processor"] in told and kept["date"] in told and "python -m benchmarks.x" in told
    assert "| 1 |" in capsys.readouterr().out


def test_a_run_that_is_cut_off_leaves_the_result_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "pretraining_step.cpu.json"
    output.write_text("before", encoding="utf-8")
    found = {"case": {}, "peak": 1.0}

    def measure(case: pretraining_step.Case, setting: Setting) -> dict[str, object]:
        if case.precision == "bf16":
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(sys, "argv", ["x", "--device", "cpu", "--output", str(output)])
    monkeypatch.setattr(pretraining_step, "measure", measure)
    monkeypatch.setattr(pretraining_step, "line", lambda found: ["tiny"])
    with pytest.raises(KeyboardInterrupt):
        pretraining_step.main()
    assert output.read_text(encoding="utf-8") == "before"
    partial = json.loads((tmp_path / f"{output.name}.partial").read_text(encoding="utf-8"))
    assert partial["raw"] == [found]
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(every, "RESULTS", tmp_path)
    output.unlink()
    assert every.section("pretraining_step") == "Not measured yet."


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "missing/x.json"], "there is no folder missing"),
        (["--device", "cuda"], "finds no GPU here"),
        ([], "needs no-such-package; install it"),
    ],
)
def test_what_cannot_work_is_said_before_it_is_measured(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", *options])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        common.read_setting("x", None, packages=["torch", "no-such-package"])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("speeds", [[1e9, 2e9], [2e9, 1e9]])
def test_the_share_of_the_peak_holds_all_peers_against_the_same_peak(
    speeds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = iter(speeds)
    monkeypatch.setattr(common, "peak", lambda device, dtype: next(peaks))
    monkeypatch.setattr(pretraining_step, "PEERS", {"ours": pretraining_step.PEERS["ours"]})
    case = pretraining_step.Case("tiny", 16, 2, "fp32")
    found = pretraining_step.measure(case, Setting("x", CPU, True, None))
    needed = pretraining_step.operations(pretraining_step.config_of("tiny"), 32, 16)
    assert found["peak"] == 2e9
    assert found["share_of_peak"]["ours"] == pytest.approx(needed / found["seconds"]["ours"]["median"] / 2e9)


def test_a_gpus_result_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H100")
    assert common.machine(torch.device("cuda"))["gpu"] == "H100"


def test_a_gpu_gets_larger_batches_and_its_best_is_compiled() -> None:
    case = pretraining_step.cases(Setting("x", torch.device("cuda"), False, None))[0]
    assert case.batch * case.length == 32_768
    seconds = {"ours": 3.0, "ours, compiled": 1.0, "Trainer": 4.0, "Trainer, compiled": 2.0}
    found = {
        "case": case._asdict(),
        "device": "cuda",
        "steps_a_turn": 10,
        "seconds": {name: {"median": value} for name, value in seconds.items()},
        "share_of_peak": dict.fromkeys(seconds, 0.5),
    }
    assert pretraining_step.line(found)[1:7] == ["300.0", "100.0", "400.0", "200.0", "4.00×", "2.00×"]
    assert pretraining_step.line(found | {"device": "cpu"})[5] == "1.33×"


def test_operations_are_those_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    case = pretraining_step.Case("tiny", 64, 8, "fp32")
    model = pretraining_step.models_of(case)[0]
    data = pretraining_step.RandomPairs(case, 1)
    with FlopCounterMode(display=False) as counter:
        model(**data.rows(0, 8)._asdict() | {"attention_mask": None}).loss.backward()
    counted = pretraining_step.operations(model.config, 8 * 64, 64)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_the_textbook_loop_learns_what_ours_learns() -> None:
    from bertlearn.tokenizer.learn import learn_wordpieces

    counts = {"films": 5, "film": 7, "flim": 2, "lim": 4, "so": 3}
    ours = learn_wordpieces(counts, 20, "frequency", 1, progress=False).vocab
    assert set(tokenizer.textbook(counts, 20)) == set(ours)


def test_torchs_layer_has_our_weights() -> None:
    ways = scaling.layers(CPU)
    x = torch.randn(2, 8, scaling.SHAPE["hidden_size"])
    for name, way in ways.items():
        check_same(name, ways["ours, fused"](x), way(x), 1e-5)


@pytest.mark.parametrize("name", every.NAMES)
def test_it_runs(name: str, tmp_path: Path) -> None:
    for package in ("accelerate", "sentence_transformers", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason="pip install -e '.[bench]'")
    if name == "pretraining_step" and not any(map(shutil.which, ("g++", "clang++", "cl"))):
        pytest.skip("torch.compile needs a C++ compiler")
    if name == "widgets":
        from tests.browser.lab import find_browser

        try:
            find_browser()
        except LookupError as missing:
            pytest.skip(str(missing))
    output = tmp_path / "result.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    kept = json.loads(output.read_text(encoding="utf-8"))
    assert kept["tables"] and all(table["rows"] for table in kept["tables"])
