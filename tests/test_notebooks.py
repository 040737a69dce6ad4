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

README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
CHAPTERS = [path for path in NOTEBOOKS if tool.solutions_of(path.stem).is_file()]


def stem(path: Path) -> str:
    return path.stem


def test_all_chapters_exist() -> None:
    stems = ["00_welcome", "01_attention", "02_tokenization", "03_encoder", "04_pretraining"]
    stems += ["05_finetuning", "06_sentiment", "07_family", "08_modern", "09_at_work"]
    assert [path.stem for path in NOTEBOOKS] == [
        *stems,
        "90_making_it_fast",
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


@pytest.mark.parametrize("path", CHAPTERS[1:], ids=stem)
def test_each_section_says_whether_it_is_core_and_how_long_it_takes(path: Path) -> None:
    text = "\n".join(cell.source for cell in tool.read(path).cells if cell.cell_type == "markdown")
    numbered = re.findall(r"^## (\d+.*)\n+(.*)", text, re.MULTILINE)
    assert len(numbered) >= 8
    for heading, line in numbered:
        if not re.search("summary|in short", heading.lower()):
            assert re.fullmatch(r"\*(Core|Going deeper) · \d+ minutes\*", line), heading
    core = sum(int(minutes) for minutes in re.findall(r"\*Core · (\d+) minutes\*", text))
    [hours] = re.findall(rf"^\| {int(path.stem[:2])} \|.*\| ([\d.]+) h \|", README, re.MULTILINE)
    assert abs(core / 60 - float(hours)) <= 0.06


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


def faults_of(*sources: str, prediction: int | None = None) -> str:
    """Return the faults of a notebook of these cells, one of which may be a prediction with an output."""
    notebook = small_notebook(*sources)
    if prediction is not None:
        notebook.cells[prediction].metadata["tags"] = ["prediction"]
        notebook.cells[prediction].outputs = [nbformat.v4.new_output("stream", text="1\n")]
        tool.normalize(notebook)
    return "\n".join(tool.find_faults(notebook, "n"))


def test_a_chapter_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "MAX_LINES", 15)
    monkeypatch.setattr(tool, "MAX_WIDTH", 88)
    assert faults_of("x = 1\n" * 15, "x" * 88) == ""
    assert faults_of("x = 1\n" * 16) == "n: cell 1 has over 15 lines"
    assert faults_of("1", "x" * 89) == "n: cell 2 has a line of 89 characters, over 88"
    monkeypatch.setattr(tool, "MAX_CELLS", 2)
    assert faults_of("1", "2") == ""
    assert faults_of("1", "2", "3") == "n: 3 cells, more than 2"


def test_a_chapter_has_a_limit_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "MAX_WORDS", 2)
    notebook = small_notebook("one, two, three")
    notebook.cells.append(nbformat.v4.new_markdown_cell("one two"))
    tool.normalize(notebook)
    assert tool.find_faults(notebook, "n") == []
    notebook.cells[1].source += " three"
    tool.normalize(notebook)
    assert tool.find_faults(notebook, "n") == ["n: 3 words, more than 2"]


def test_words_are_those_that_are_read() -> None:
    text = (
        "# A title\n\nThe *best-known* model – [BERT](https://a.b/c) – is √d.\n"
        "![Alt text of many words](images/a.svg)\n\n```python\nx = 1  # no word\n```\n\n"
        "| letter | name |\n|---|---|\n| $d_k$ | head size |\n"
        "\n<details><summary>What it says</summary>\n\nFolded.\n</details>\n"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    notebook.cells.append(nbformat.v4.new_code_cell("'not read'"))
    read = "A title The best-known model BERT is √d letter name $d_k$ head size Folded."
    assert tool.words(notebook) == len(read.split())


def test_the_output_of_a_prediction_is_folded() -> None:
    notebook = small_notebook("1 + 1", "2")
    notebook.cells[0].metadata["tags"] = ["prediction"]
    assert any("not normalized" in fault for fault in tool.find_faults(notebook, "n"))
    tool.normalize(notebook)
    assert notebook.cells[0].metadata == {
        "tags": ["prediction"],
        "collapsed": True,
        "jupyter": {"outputs_hidden": True},
    }
    assert notebook.cells[1].metadata == {}
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="secret\n")]
    for _ in range(2):
        tool.normalize(notebook)
        assert [output.get("data") for output in notebook.cells[0].outputs] == [{}, None]
    nbformat.validate(notebook)
    assert tool.find_faults(notebook, "n") == []
    notebook.cells[0].metadata["tags"] = []
    notebook.cells[1].metadata["scrolled"] = True
    tool.normalize(notebook)
    assert notebook.cells[0].metadata == {"tags": []} and len(notebook.cells[0].outputs) == 1
    assert notebook.cells[1].metadata == {}


def test_the_code_of_an_answer_is_folded_as_well() -> None:
    notebook = small_notebook("x = 1\nassert x == 1")
    notebook.cells[0].metadata["tags"] = ["prediction", "answer"]
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="secret\n")]
    tool.normalize(notebook)
    assert notebook.cells[0].metadata["jupyter"] == {"outputs_hidden": True, "source_hidden": True}
    assert tool.find_faults(notebook, "n") == []


def test_the_code_of_a_cell_that_checks_numbers_is_folded() -> None:
    notebook = small_notebook("# Numbers above, checked.\nx = 1\nassert x", "assert 1")
    tool.normalize(notebook)
    assert [cell.metadata for cell in notebook.cells] == [{"jupyter": {"source_hidden": True}}, {}]
    assert tool.find_faults(notebook, "n") == []
    not_checks = "n: cell 1 is folded as a check, but asserts nothing or shows something"
    assert faults_of("# Numbers above, checked.\nx = 1") == not_checks
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="1\n")]
    assert tool.find_faults(notebook, "n") == [not_checks]


def test_no_assert_below_a_guess_tells_its_result() -> None:
    asked, shown = "guess.number('a', 'How many?')", "guess.result('a', 1)"
    told = faults_of(asked, shown, "x = 2\nassert x", prediction=1)
    assert told == "n: cell 3 asserts in plain sight, just below a guess"
    assert (
        faults_of(asked, shown, "# Numbers above, checked.\nassert 1", "x = 2\nassert x", prediction=1) == ""
    )


def test_faults_of_predictions_are_found() -> None:
    assert faults_of("x = 1", "x", prediction=1) == ""
    assert faults_of("x = 1", "y = 1\nfor _ in 'a':\n    assert x", prediction=1) == (
        "n: cell 2 is a prediction with an assert"
    )
    silent = small_notebook("x = 1")
    silent.cells[0].metadata["tags"] = ["prediction"]
    tool.normalize(silent)
    assert tool.find_faults(silent, "n") == ["n: cell 1 is a prediction without an output"]


def test_faults_of_guesses_are_found() -> None:
    asked, shown = "guess.number('a', 'How many?')", "guess.result('a', 1)"
    assert faults_of(asked, shown, prediction=1) == ""
    assert faults_of(asked, shown) == "n: the result of 'a' is in no prediction"
    assert faults_of(asked, asked, shown, prediction=2) == "n: the guess 'a' is asked twice"
    assert faults_of(asked, f"{shown}\n{shown}", prediction=1) == "n: the result of 'a' is shown twice"
    assert faults_of(asked) == "n: the guess 'a' has no result"
    assert faults_of(shown, asked, prediction=0) == "n: a result is shown before its guess 'a' is asked"


def test_notebooks_run_without_any_learners_progress(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BERTLEARN_PROGRESS", str(tmp_path))
    (tmp_path / "chapter_1.json").write_text("{}", encoding="utf-8")
    notebook = small_notebook("import os; print(os.listdir(os.environ['BERTLEARN_PROGRESS']))")
    tool.execute(notebook, tmp_path)
    assert notebook.cells[0].outputs[0].text == "[]\n"


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


def test_a_call_of_the_package_changes_none_of_its_modules() -> None:
    sources = {
        "from bertlearn.course import chapter": "",
        "chapter.show(1)": "",
        "x = 1": "",
        "def double(n):\n    raise NotImplementedError": "exercise",
        "chapter.use(double, x)": "",
    }
    cells = [nbformat.v4.new_code_cell(text) for text in sources]
    for cell, tag in zip(cells, sources.values(), strict=True):
        cell.metadata["tags"] = [tag] if tag else []
    kept = tool.only_checks(nbformat.v4.new_notebook(cells=cells))
    assert [cell.source for cell in kept.cells] == [text for text in sources if text != "chapter.show(1)"]
