"""The benchmarks measure what they claim, compare the outputs of their peers, and run."""

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
from benchmarks import common, course, pretraining_step, scaling, search, tokenizer
from benchmarks.common import Setting, Table, check_same, in_turns, memory_of, peak, spread
from benchmarks.loops import Loop

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")


def test_the_tables_match_the_results() -> None:
    text = every.README.read_text(encoding="utf-8")
    assert every.with_tables(text) == text, "run python -m benchmarks --tables"
    assert all(f"<!-- {name} -->" in text for name in every.NAMES)


def test_chapter_4_extrapolates_the_measured_speeds() -> None:
    result = json.loads((common.RESULTS / "pretraining_cost.cpu.json").read_text(encoding="utf-8"))
    [base] = [runs for runs in result["raw"] if runs[0]["case"]["model"] == "base"]
    speeds = {run["case"]["length"]: round(run["tokens_per_second"]) for run in base}
    cells = nbformat.read(ROOT / "notebooks" / "04_pretraining.ipynb", as_version=4).cells
    assert sum(cell.source.startswith(f"measured = {speeds}") for cell in cells) == 1


def test_every_notebook_is_measured() -> None:
    result = json.loads((common.RESULTS / "course.cpu.json").read_text(encoding="utf-8"))
    names = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert [run["notebook"] for run in result["raw"]] == names
    runs = [{"notebook": name, "seconds": 60.0, "memory_mb": float(name[:2])} for name in names]
    assert course.rows(runs)[-1] == ["chapters 1 to 6", "360 (6.0 minutes)", "6"]


def test_peers_are_timed_in_turns_after_a_warmup() -> None:
    calls: list[str] = []

    def work(name: str, duration: float) -> None:
        calls.append(name)
        time.sleep(duration)

    times = in_turns({"a": lambda: work("a", 0.0), "b": lambda: work("b", 0.01)}, CPU, 3, warmup=2)
    assert calls == ["a", "b"] * 5
    assert times["b"].median >= 0.01 > times["a"].median
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == (3.0, 2.0, 4.0)
    assert spread([1.0]) == (1.0, 1.0, 1.0)


def test_ratios_are_taken_turn_by_turn() -> None:
    assert common.times_as_long([2.0, 40.0, 9.0], [1.0, 20.0, 3.0]) == "2.00× (2.00–2.50)"
    turns = {1: [4.0, 6.0, 8.0], 2: [2.0, 2.0, 4.0]}
    results = [{"model": "m", "processes": n, "threads_each": 2 // n, "turns": turns[n]} for n in turns]
    assert [row[-1] for row in scaling.process_rows(results)] == ["1.00× (1.00–1.00)", "2.00× (2.00–2.50)"]


def test_a_gpu_is_synchronized_after_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    synchronized = []
    monkeypatch.setattr(torch.cuda, "synchronize", synchronized.append)
    in_turns({"a": lambda: None}, torch.device("cuda"), 2, warmup=1)
    assert len(synchronized) == 3
    in_turns({"a": lambda: None}, CPU, 2, warmup=1)
    assert len(synchronized) == 3


def allocate(megabytes: int) -> None:
    array = np.ones(megabytes * 10**6 // 8)
    time.sleep(0.05)
    del array


def test_the_memory_of_a_call_is_measured() -> None:
    assert 380 < memory_of(CPU, allocate, 400) < 450


def test_the_peak_speed_is_plausible() -> None:
    assert peak(CPU, torch.float32) > 1e9


def test_outputs_that_differ_end_a_benchmark() -> None:
    one = torch.tensor([1.0, -100.0])
    check_same("x", one, one + 0.009, 1e-4)
    for other in (one + 0.02, one * float("nan")):
        with pytest.raises(SystemExit, match="would be meaningless"):
            check_same("x", one, other, 1e-4)


def test_a_loop_takes_one_step_per_call_and_raises_errors() -> None:
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


def test_a_result_has_its_provenance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setting = Setting("x", CPU, False, tmp_path / "x.json")
    common.keep(setting, [Table("T", ["a"], [["1"]])], {"n": 1})
    kept = json.loads(setting.output.read_text(encoding="utf-8"))
    assert kept["raw"] == {"n": 1} and kept["versions"]["torch"] == torch.__version__
    line = every.provenance(kept)
    assert kept["machine"]["processor"] in line and kept["date"] in line and "python -m benchmarks.x" in line
    assert "| 1 |" in capsys.readouterr().out


def test_an_interrupted_run_keeps_the_previous_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "pretraining_step.cpu.json"
    output.write_text("previous", encoding="utf-8")
    result = {"case": {}, "peak": 1.0}

    def measure(case: pretraining_step.Case, setting: Setting) -> dict[str, object]:
        if case.precision == "bf16":
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(sys, "argv", ["x", "--device", "cpu", "--output", str(output)])
    monkeypatch.setattr(pretraining_step, "measure", measure)
    monkeypatch.setattr(pretraining_step, "line", lambda result: ["tiny"])
    with pytest.raises(KeyboardInterrupt):
        pretraining_step.main()
    assert output.read_text(encoding="utf-8") == "previous"
    partial = json.loads((tmp_path / f"{output.name}.partial").read_text(encoding="utf-8"))
    assert partial["raw"] == [result]
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(every, "RESULTS", tmp_path)
    output.unlink()
    assert every.section("pretraining_step") == "Not measured yet."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "missing/x.json"], "there is no folder missing"),
        (["--device", "cuda"], "torch finds no GPU"),
        ([], "needs no-such-package; install with"),
    ],
)
def test_options_that_cannot_work_are_rejected_first(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", *options])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        common.read_setting("x", None, packages=["torch", "no-such-package"])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("speeds", [[1e9, 2e9], [2e9, 1e9]])
def test_the_share_of_the_peak_uses_the_same_peak_for_all_peers(
    speeds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = iter(speeds)
    monkeypatch.setattr(common, "peak", lambda device, dtype: next(peaks))
    monkeypatch.setattr(pretraining_step, "PEERS", {"ours": pretraining_step.PEERS["ours"]})
    case = pretraining_step.Case("tiny", 16, 2, "fp32")
    result = pretraining_step.measure(case, Setting("x", CPU, True, None))
    needed = pretraining_step.operations(pretraining_step.config_of("tiny"), 32, 16)
    assert result["peak"] == 2e9
    assert result["share_of_peak"]["ours"] == pytest.approx(
        needed / result["seconds"]["ours"]["median"] / 2e9
    )


def test_a_result_names_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H100")
    assert common.machine(torch.device("cuda"))["gpu"] == "H100"


def test_a_gpu_gets_larger_batches_and_its_best_is_compiled() -> None:
    case = pretraining_step.cases(Setting("x", torch.device("cuda"), False, None))[0]
    assert case.batch * case.length == 32_768
    seconds = {"ours": 3.0, "ours, compiled": 1.0, "Trainer": 4.0, "Trainer, compiled": 2.0}
    result = {
        "case": case._asdict(),
        "device": "cuda",
        "steps_a_turn": 10,
        "seconds": {name: {"median": value} for name, value in seconds.items()},
        "share_of_peak": dict.fromkeys(seconds, 0.5),
    }
    assert pretraining_step.line(result)[1:7] == ["300.0", "100.0", "400.0", "200.0", "4.00×", "2.00×"]
    assert pretraining_step.line(result | {"device": "cpu"})[5] == "1.33×"


def test_operations_agree_with_those_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    case = pretraining_step.Case("tiny", 64, 8, "fp32")
    model = pretraining_step.models_of(case)[0]
    data = pretraining_step.RandomPairs(case, 1)
    with FlopCounterMode(display=False) as counter:
        model(**data.rows(0, 8)._asdict() | {"attention_mask": None}).loss.backward()
    counted = pretraining_step.operations(model.config, 8 * 64, 64)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_the_textbook_loop_learns_the_same_vocabulary_as_ours() -> None:
    from bertlearn.tokenizer.learn import learn_wordpieces

    counts = {"films": 5, "film": 7, "flim": 2, "lim": 4, "so": 3}
    ours = learn_wordpieces(counts, 20, "frequency", 1, progress=False).vocab
    assert set(tokenizer.textbook(counts, 20)) == set(ours)


def test_torchs_layer_has_our_weights() -> None:
    variants = scaling.layers(CPU)
    x = torch.randn(2, 8, scaling.SHAPE["hidden_size"])
    for name, layer in variants.items():
        check_same(name, variants["ours, fused"](x), layer(x), 1e-5)


def test_recall_counts_the_expected_rows_in_any_order() -> None:
    expected = torch.tensor([[3, 1, 2, 0], [7, 6, 5, 4]])
    found = torch.tensor([[0, 1, 2, 3], [7, -1, 9, 6]])  # faiss fills up with -1
    assert search.recall(found, expected) == 0.75


def test_an_index_is_extrapolated_by_a_line_that_does_not_fall() -> None:
    small = {"texts": 50_000, "seconds": 99.0, "bytes": {}, "open": 0.2, "query": 0.9}
    large = {"texts": 200_000, "seconds": 36.0, "bytes": {"a": 3, "b": 4}, "open": 0.5, "query": 0.6}
    guess = search.extrapolate([small, large])
    assert guess == pytest.approx({"seconds": 180.0, "bytes": 35, "open": 2.1, "query": 0.6})


def test_an_index_that_differs_ends_the_benchmark(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        for name in (*search.FILES, search.RECORD):
            (tmp_path / folder / name).write_bytes(b"same")
    search.check_identical(tmp_path / "one", tmp_path / "other")
    (tmp_path / "other" / search.ENDS).write_bytes(b"diff")
    with pytest.raises(SystemExit, match=r"ends\.i64 differs"):
        search.check_identical(tmp_path / "one", tmp_path / "other")


def test_the_texts_of_an_index_are_distinct_and_read_back_as_they_were(tmp_path: Path) -> None:
    queries = search.write_texts(tmp_path / "texts.txt", 500)
    case = search.Case(tmp_path, tmp_path / "texts.txt", 400, 64)
    texts = list(search.lines(case))
    assert len(set(texts)) == 400 and len(set(queries)) == search.QUERIES
    assert {len(text.split()) for text in texts} == {search.WORDS}
    assert not set(texts) & set(queries)


@pytest.mark.slow
@pytest.mark.parametrize("name", every.NAMES)
def test_a_benchmark_runs(name: str, tmp_path: Path) -> None:
    for package in ("accelerate", "sentence_transformers", "onnxruntime", "onnxscript", "faiss"):
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
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert completed.returncode == 0, completed.stderr[-2000:]
    kept = json.loads(output.read_text(encoding="utf-8"))
    assert kept["tables"] and all(table["rows"] for table in kept["tables"])


def test_what_chapter_9_quotes_is_in_the_results() -> None:
    text = (ROOT / "notebooks" / "09_at_work.ipynb").read_text(encoding="utf-8")
    results = json.loads((ROOT / "benchmarks" / "results" / "search.cpu.json").read_text(encoding="utf-8"))
    found = results["raw"]["neighbors"]
    ours, graph = (
        f"{1000 * np.median(found['query'][name]):.{digits}f} ms"
        for name, digits in (("ours, exact", 0), ("faiss, HNSW, efSearch 64", 1))
    )
    recall = f"{found['recall']['faiss, HNSW, efSearch 64']:.0%}".replace("%", " %")
    assert f"{found['texts']:,} short texts, the exact scan takes {ours} on one core" in text
    assert f"HNSW {graph}, at a recall of {recall}" in text
