"""Releases: what the notebooks of a class hold in each format, and that it is graded alike."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import types
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import mistune
import nbformat
import pytest
from nbformat import NotebookNode

from bertlearn import cli
from bertlearn.course import cells
from bertlearn.course.checks import CHAPTERS
from bertlearn.course.grading import build as building
from bertlearn.course.grading.build import build, read_chapter
from bertlearn.course.grading.checks import checks_of
from bertlearn.course.grading.formats import SKIP
from bertlearn.course.grading.grades import chapter_of
from bertlearn.course.grading.release import NAME, read_release
from bertlearn.course.grading.submission import read_submission
from bertlearn.course.links import relink
from bertlearn.course.sources import chapter_files

FORMATS = ("plain", "nbgrader", "otter")
FOUR = ("softmax", "split_heads", "merge_heads", "softmax_backward")  # of the seven of chapter 1
WRONG = "def {name}(*values, **named):\n    return None"


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, as otter does: its tests keep the progress there."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a release of all chapters in each format."""
    folders = {name: tmp_path_factory.mktemp("release") / name for name in FORMATS}
    for name, folder in folders.items():
        build(list(CHAPTERS), folder, name)  # type: ignore[arg-type]
    return folders


def notebooks_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.ipynb"))


def answered(
    notebook: NotebookNode, number: int, right: Collection[str], wrong: bool = False
) -> NotebookNode:
    """Return a copy with the right answers to some exercises; the others are stubs, or wrong."""
    copy, chapter = nbformat.from_dict(notebook), read_chapter(number)
    filled = cells.solved(chapter.notebook, cells.solutions_of(chapter.path.stem))
    stubs, solutions = (list(filter(cells.is_exercise, each.cells)) for each in (chapter.notebook, filled))
    for cell, stub, solution in zip(filter(cells.is_exercise, copy.cells), stubs, solutions, strict=True):
        [name] = cells.functions(cell)
        other = WRONG.format(name=name) if wrong else stub.source
        cell.source = solution.source if name in right else other
    return copy


@pytest.mark.parametrize("name", FORMATS)
def test_the_release_says_what_is_in_it(releases: dict[str, Path], name: str) -> None:
    release = read_release(releases[name])
    assert list(release.chapters) == list(CHAPTERS)
    for number, chapter in release.chapters.items():
        assert chapter.notebook == chapter_files()[number].stem
        assert set(chapter.exercises) == set(checks_of(number))
    assert dict(release.chapters[1].exercises) == {
        "softmax": 1, "additive_mask": 1, "scaled_dot_product_attention": 2, "split_heads": 1,
        "merge_heads": 1, "softmax_backward": 2, "attention_backward": 3,
    }  # fmt: skip
    assert release.chapters[4].exercises["bug_hunt"] == 3 and release.chapters[0].exercises == {"dot": 1}


@pytest.mark.parametrize("name", ["plain", "otter"])
def test_student_versions_have_stubs_and_points_and_instructor_versions_have_answers(
    releases: dict[str, Path], name: str
) -> None:
    for number, chapter in read_release(releases[name]).chapters.items():
        student, instructor = (
            cells.read(releases[name] / side / f"{chapter.notebook}.ipynb")
            for side in ("student", "instructor")
        )
        nbformat.validate(student)
        text = "\n".join(cell.source for cell in student.cells if cell.cell_type == "markdown")
        source = "\n".join(cell.source for cell in read_chapter(number).notebook.cells)
        for points in set(chapter.exercises.values()):
            shown = "*1 point*" if points == 1 else f"*{points} points*"
            assert text.count(shown) == list(chapter.exercises.values()).count(points)
            assert shown not in source
        for cell, other in zip(student.cells, instructor.cells, strict=True):
            if cells.is_exercise(cell):
                assert "raise NotImplementedError" in cell.source
                assert "raise NotImplementedError" not in other.source
        assert "not attempted yet" not in "".join(
            str(output) for cell in cells.code_cells(instructor) for output in cell.outputs
        )
    assert "Do not give" in (releases[name] / "instructor" / "README.md").read_text()


def test_outputs_are_kept_or_cleared(releases: dict[str, Path], tmp_path: Path) -> None:
    source = read_chapter(0).notebook
    kept = cells.read(releases["plain"] / "student" / "00_welcome.ipynb")
    assert [cell.get("outputs") for cell in kept.cells] == [cell.get("outputs") for cell in source.cells]
    build([0], tmp_path / "r", outputs="clear")
    for side in ("student", "instructor"):
        cleared = cells.read(tmp_path / "r" / side / "00_welcome.ipynb")
        assert all(not cell.outputs and cell.execution_count is None for cell in cells.code_cells(cleared))


def links(nodes: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the targets of the links and pictures in parsed Markdown."""
    for node in nodes:
        if node["type"] in ("link", "image"):
            yield node["attrs"]["url"]
        yield from links(node.get("children", []))


def markdown_of(path: Path) -> list[str]:
    if path.suffix == ".md":
        return [path.read_text(encoding="utf-8")]
    return [cell.source for cell in cells.read(path).cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_link_to_a_file_resolves_inside_the_release(releases: dict[str, Path], name: str) -> None:
    parse = mistune.create_markdown(renderer="ast", plugins=["table"])
    count = 0
    for path in [*notebooks_in(releases[name]), *releases[name].rglob("docs/*.md")]:
        for text in markdown_of(path):
            for link in links(parse(text)):  # type: ignore[arg-type]
                if not link.startswith(("http", "#")):
                    count += 1
                    assert (path.parent / link.partition("#")[0]).is_file(), (path, link)
    assert count > 50


def test_links_to_what_is_not_released_become_text(tmp_path: Path) -> None:
    places = {tmp_path / "a.ipynb": Path("a.ipynb"), tmp_path / "g.md": Path("docs/g.md")}
    text = "[one](a.ipynb#x), [`two`](b.ipynb), ![three [3]](g.md), [four](https://x.y/a.md), f[5](x)"
    assert relink(text, tmp_path / "g.md", places) == (  # type: ignore[arg-type]
        "[one](../a.ipynb#x), `two`, ![three [3]](g.md), [four](https://x.y/a.md), f[5](x)"
    )


def run_needed(notebook: NotebookNode) -> tuple[dict[str, object], set[str]]:
    """Run the cells that a grader runs; return their names, and the grade cells that raise nothing."""
    space: dict[str, object] = {"__name__": "__main__"}
    passed = set()
    for cell in cells.code_cells(notebook):
        if SKIP in cells.tags(cell):
            continue
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            exec(compile(cell.source, "<cell>", "exec"), space)
            passed.add(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
    return space, {name.removeprefix("grade-") for name in passed if name.startswith("grade-")}


def otter_passed(tests: Path, space: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Run otter's test files as otter does; return the names of those that pass."""
    module = types.ModuleType("otter.test_files")
    module.test_case = lambda: lambda function: function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "otter.test_files", module)
    passed = set()
    for path in tests.glob("*.py"):
        scope: dict[str, object] = {}
        exec(path.read_text(encoding="utf-8"), scope)
        with contextlib.suppress(AssertionError):
            scope[f"test_{path.stem}"](space.get(path.stem))  # type: ignore[operator]
            passed.add(str(scope["name"]))
    return passed


@pytest.mark.parametrize(("number", "right"), [(1, []), (1, FOUR), (3, ["gelu"]), (4, ["bug_hunt"])])
def test_stubs_and_wrong_answers_get_no_points(
    releases: dict[str, Path], number: int, right: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stem = chapter_files()[number].stem
    source = cells.read(releases["nbgrader"] / "instructor" / stem / f"{stem}.ipynb")
    student = cells.read(releases["otter"] / "student" / f"{stem}.ipynb")
    for wrong in (False, True):
        _, passed = run_needed(answered(source, number, right, wrong))
        assert passed == set(right)
        space, _ = run_needed(answered(student, number, right, wrong))
        assert otter_passed(releases["otter"] / "instructor" / stem / "tests", space, monkeypatch) == passed


@pytest.mark.parametrize("number", CHAPTERS)
def test_right_answers_get_all_points(
    releases: dict[str, Path], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chapter = read_release(releases["plain"]).chapters[number]
    stem, exercises = chapter.notebook, set(chapter.exercises)
    source = cells.read(releases["nbgrader"] / "instructor" / stem / f"{stem}.ipynb")
    assert run_needed(source)[1] == exercises
    student = cells.read(releases["otter"] / "student" / f"{stem}.ipynb")
    space, _ = run_needed(answered(student, number, exercises))
    assert otter_passed(releases["otter"] / "instructor" / stem / "tests", space, monkeypatch) == exercises


def test_the_solution_regions_of_nbgrader_leave_the_stub_of_the_chapter(releases: dict[str, Path]) -> None:
    for number, chapter in read_release(releases["nbgrader"]).chapters.items():
        stem = chapter.notebook
        source = cells.read(releases["nbgrader"] / "instructor" / stem / f"{stem}.ipynb")
        nbformat.validate(source)
        stubs = [cell.source for cell in read_chapter(number).notebook.cells if cells.is_exercise(cell)]
        for cell, stub in zip(filter(cells.is_exercise, source.cells), stubs, strict=True):
            head, _, rest = cell.source.partition("    ### BEGIN SOLUTION\n")
            body, _, tail = rest.partition("    ### END SOLUTION")
            assert body.strip() and not tail and f"{head}    raise NotImplementedError" == stub


def test_grade_cells_are_locked_follow_the_check_and_have_the_points(releases: dict[str, Path]) -> None:
    for chapter in read_release(releases["nbgrader"]).chapters.values():
        path = releases["nbgrader"] / "instructor" / chapter.notebook / f"{chapter.notebook}.ipynb"
        made = cells.read(path).cells
        graded = {}
        for index, cell in enumerate(made):
            data = cell.metadata.get("nbgrader", {})
            if data.get("grade"):
                name = data["grade_id"].removeprefix("grade-")
                graded[name] = data["points"]
                assert data["locked"] and not data["solution"] and data["schema_version"] == 3
                assert name in made[index - 1].source and name in cells.functions(made[index - 2])
        assert graded == chapter.exercises


def test_most_cells_are_skipped_when_grading(releases: dict[str, Path]) -> None:
    for path in notebooks_in(releases["otter"] / "student"):
        code = cells.code_cells(cells.read(path))
        assert sum(SKIP in cells.tags(cell) for cell in code) > len(code) / 2


def test_a_release_is_replaced_whole_and_other_files_stay(tmp_path: Path) -> None:
    build([0], tmp_path, "nbgrader")
    (tmp_path / "gradebook.db").write_text("grades")
    (tmp_path / "student").mkdir()
    build([1], tmp_path)
    assert list(read_release(tmp_path).chapters) == [1]
    assert not list(tmp_path.rglob("00_welcome*")) and not (tmp_path / "nbgrader_config.py").exists()
    assert (tmp_path / "gradebook.db").read_text() == "grades"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_release_that_fails_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build([0], tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fails(*values: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(building, "_write_instructor", fails)
    with pytest.raises(OSError, match="no space left"):
        build([1], tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("format", ["plain", "nbgrader", "otter"])
def test_with_core_what_goes_deeper_gets_no_points_and_stays_in_the_notebook(
    tmp_path: Path, format: str
) -> None:
    release = build([1], tmp_path, format, core=True)
    deeper = {"softmax_backward", "attention_backward"}
    assert release.chapters[1].exercises.keys() == set(read_chapter(1).exercises) - deeper
    notebook = nbformat.read(next(tmp_path.glob("*/**/01_attention.ipynb")), as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert all(f"def {name}(" in text for name in deeper)
    assert text.count("*for yourself, without points*") == 2
    assert read_release(tmp_path) == release


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: build([90], p / "r"), r"chapter 90 \(90_making_it_fast\) has no exercises to grade"),
        (lambda p: build([1, 99], p / "r"), "chapter 99 does not exist; choose from 0, 1, 2, 3, 4, 5, 6"),
        (lambda p: build([], p / "r"), "no chapter is named"),
        (lambda p: build([1], p), "is not empty and holds no release"),
        (lambda p: build([1], p / "r", "moodle"), "format='moodle'"),
        (lambda p: build([1], p / "file"), "is a file, expected a folder"),
        (lambda p: read_release(p), r"is no release: it has no release.json; make one with"),
        (lambda p: read_release(p / "broken"), "release.json cannot be used .*make one with"),
        (lambda p: read_release(p / "points"), "softmax has 0 points, expected a whole number from 1 on"),
        (lambda p: read_release(p / "old"), "no exercise 'hardmax' in chapter 1; grade with that version"),
    ],
)
def test_what_cannot_be_built_or_read_is_named(
    tmp_path: Path, call: Callable[[Path], object], message: str
) -> None:
    (tmp_path / "file").write_text("")
    for name, text in {
        "broken": "{",
        "points": release_text({"softmax": 0}),
        "old": release_text({"hardmax": 1}),
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / NAME).write_text(text)
    with pytest.raises(ValueError, match=message):
        call(tmp_path)
    assert not (tmp_path / "r").exists()


def release_text(exercises: dict[str, int]) -> str:
    chapters = {"1": {"notebook": "01_attention", "exercises": exercises}}
    return json.dumps({"format": "bertlearn release 1", "version": "0.0", "chapters": chapters})


def test_a_release_of_another_version_can_be_replaced(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(release_text({"hardmax": 1}))
    build([0], tmp_path)
    assert list(read_release(tmp_path).chapters) == [0]


def test_each_notebook_of_a_release_is_known_by_its_functions(releases: dict[str, Path]) -> None:
    release = read_release(releases["plain"])
    for number, chapter in release.chapters.items():
        path = releases["plain"] / "student" / f"{chapter.notebook}.ipynb"
        assert chapter_of(path, release) == number
        named_otherwise = path.rename(path.with_name("my work.ipynb"))
        assert chapter_of(named_otherwise, release) == number
        named_otherwise.rename(path)


def test_the_cells_that_nbgrader_adds_are_no_answers(releases: dict[str, Path]) -> None:
    path = releases["nbgrader"] / "instructor" / "01_attention" / "01_attention.ipynb"
    submission = read_submission(path, checks_of(1))
    assert not submission.flags and not submission.broken and set(submission.answers) == set(checks_of(1))


def test_the_command_builds_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["course", "build", "--chapters", "1", "0", "--to", str(tmp_path / "r"), "--format", "nbgrader"]
    monkeypatch.setattr(sys, "argv", ["bertlearn", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out = capsys.readouterr().out
    assert ended.value.code == 0 and "chapter 1 · 01_attention · exercises: 7 · points: 11" in out
    assert "nbgrader generate_assignment 00_welcome" in out
    assert list(read_release(tmp_path / "r").chapters) == [0, 1]
