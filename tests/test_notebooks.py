"""The notebooks are ready to commit, and with the solutions filled in every check passes.

nbval compares their outputs with those of a fresh run, in the same run of pytest.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import notebooks as tool  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
CHAPTERS = [path for path in NOTEBOOKS if tool.solutions_of(path.stem).is_file()]


def stem(path: Path) -> str:
    return path.stem


def test_all_chapters_exist() -> None:
    stems = ["00_welcome", "01_attention", "02_tokenization", "03_encoder", "04_pretraining"]
    stems += ["05_finetuning", "06_sentiment"]
    assert [path.stem for path in NOTEBOOKS] == [
        *stems,
        "07_making_it_fast",
    ]  # an extra chapter without exercises
    assert [path.stem for path in CHAPTERS] == stems


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_a_notebook_is_ready_to_commit(path: Path) -> None:
    assert tool.find_faults(tool.read(path), path.name) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_pictures_have_alt_text(path: Path) -> None:
    for cell in tool.code_cells(tool.read(path)):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) > 20


@pytest.mark.parametrize("path", CHAPTERS, ids=stem)
def test_exercises_are_stubs_and_have_solutions(path: Path) -> None:
    notebook = tool.read(path)
    stubs = [cell for cell in notebook.cells if "exercise" in tool.tags(cell)]
    assert len(stubs) >= (1 if path.stem == "00_welcome" else 5)
    for cell in stubs:
        assert "raise NotImplementedError" in cell.source
    filled = tool.solved(notebook, tool.solutions_of(path.stem))
    assert not any(
        "NotImplementedError" in cell.source for cell in filled.cells if "exercise" in tool.tags(cell)
    )


@pytest.mark.parametrize("path", CHAPTERS, ids=stem)
def test_with_the_solutions_every_check_passes(path: Path) -> None:
    notebook = tool.only_checks(tool.solved(tool.read(path), tool.solutions_of(path.stem)))
    tool.execute(notebook, path.parent)
    texts = [
        output.get("data", {}).get("text/plain", "") + output.get("text", "")
        for cell in tool.code_cells(notebook)
        for output in cell.outputs
    ]
    marks = [text[0] for text in texts if re.match(r"[✓✗–] ", text)]
    exercises = sum("exercise" in tool.tags(cell) for cell in notebook.cells)
    assert "✗" not in marks, [text for text in texts if text.startswith("✗")]
    assert "–" not in marks, [text for text in texts if text.startswith("–")]
    assert marks.count("✓") >= exercises


def small_notebook(*sources: str) -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    for count, cell in enumerate(notebook.cells, 1):
        cell.execution_count = count
    tool.normalize(notebook)
    return notebook


def test_faults_are_found() -> None:
    assert tool.find_faults(small_notebook("1 + 1"), "n") == []
    never_run = small_notebook("1 + 1")
    never_run.cells[0].execution_count = None
    assert any("never run" in fault for fault in tool.find_faults(never_run, "n"))
    assert any("over 20 lines" in fault for fault in tool.find_faults(small_notebook("x = 1\n" * 21), "n"))
    assert any("semicolon" in fault for fault in tool.find_faults(small_notebook("x = 1;"), "n"))
    assert any(
        "a path of the machine" in fault
        for fault in tool.find_faults(small_notebook("'/home/someone/x'"), "n")
    )
    ignoring = small_notebook("1")
    ignoring.cells[0].metadata["tags"] = ["nbval-ignore-output"]
    assert any("ignore their output" in fault for fault in tool.find_faults(ignoring, "n"))
    failed = small_notebook("1 / 0")
    failed.cells[0].outputs = [nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]
    assert any("an output is an error" in fault for fault in tool.find_faults(failed, "n"))


def test_normalizing_twice_changes_nothing_and_ids_follow_the_text() -> None:
    one, other = small_notebook("a = 1", "b = 2"), small_notebook("a = 1", "new = 0", "b = 2")
    assert one.cells[1].id == other.cells[2].id
    twins = small_notebook("a", "a")
    assert len({cell.id for cell in twins.cells}) == 2
    before = nbformat.writes(one)
    tool.normalize(one)
    assert nbformat.writes(one) == before


def test_progress_bars_are_kept_only_where_outputs_are_compared() -> None:
    notebook = small_notebook("bar")
    bar = nbformat.v4.new_output("display_data", {tool.WIDGET: {"model_id": "1"}, "text/plain": "0%"})
    text = nbformat.v4.new_output("stream", text="done")
    notebook.cells[0].outputs = [bar, text]
    tool.normalize(notebook)
    assert notebook.cells[0].outputs == [bar, text]
    notebook.cells[0].metadata["tags"] = ["nbval-ignore-output"]
    assert any("not normalized" in fault for fault in tool.find_faults(notebook, "n"))
    tool.normalize(notebook)
    assert notebook.cells[0].outputs == [text]


def test_a_live_widget_view_is_dropped_and_its_still_picture_is_kept() -> None:
    notebook = small_notebook("widget")
    still = nbformat.v4.new_output("display_data", {"text/html": "picture", "text/plain": "[widget]"})
    live = nbformat.v4.new_output("display_data", {tool.WIDGET: {"model_id": "1"}})
    notebook.cells[0].outputs = [still, live]
    tool.normalize(notebook)
    assert notebook.cells[0].outputs == [still]


def test_filling_in_replaces_the_stub_only(tmp_path: Path) -> None:
    notebook = small_notebook("import math", "def f(x):\n    raise NotImplementedError", "f(1)")
    notebook.cells[1].metadata["tags"] = ["exercise"]
    (tmp_path / "s.py").write_text("import math\n\n\ndef f(x):\n    return math.pi * x\n")
    filled = tool.solved(notebook, tmp_path / "s.py")
    assert [cell.source for cell in filled.cells] == [
        "import math",
        "def f(x):\n    return math.pi * x",
        "f(1)",
    ]
    assert "NotImplementedError" in notebook.cells[1].source
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match=r"empty.py has no solution for \['f'\]"):
        tool.solved(notebook, tmp_path / "empty.py")


def test_every_solution_belongs_to_an_exercise() -> None:
    for path in CHAPTERS:
        cells = [cell.source for cell in tool.read(path).cells if "exercise" in tool.tags(cell)]
        exercises = {
            node.name
            for source in cells
            for node in ast.parse(source).body
            if isinstance(node, ast.FunctionDef)
        }
        text = tool.solutions_of(path.stem).read_text(encoding="utf-8")
        solutions = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
        assert solutions == exercises


def test_only_what_the_checks_need_is_kept() -> None:
    notebook = small_notebook(
        "import math, torch",
        "slow = [n for n in range(9)]",
        "from bertlearn.course.checks import welcome as check",
        "seen = []",
        "seen.append(1)",
        "size = 2",
        "size = len(seen)",
        "def f(x):\n    raise NotImplementedError",
        "check.dot(f, size)",
        "print(slow, math.pi)",
    )
    notebook.cells[7].metadata["tags"] = ["exercise"]
    kept = [cell.source for cell in tool.only_checks(notebook).cells]
    assert kept == [notebook.cells[index].source for index in (2, 3, 4, 6, 7, 8)]
    assert len(notebook.cells) == 10
