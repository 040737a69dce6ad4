"""The learner's folder: what is copied, what is updated, and that no work is ever lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest

from bertlearn.course.folder import STATE, update_folder
from bertlearn.course.sources import CHECKOUT


def write(path: Path, sources: dict[str, str], output: str = "") -> None:
    """Write a notebook with these cells, by their ids; what begins with # is Markdown."""
    notebook = nbformat.v4.new_notebook()
    for number, source in sources.items():
        kind = nbformat.v4.new_markdown_cell if source.startswith("#") else nbformat.v4.new_code_cell
        notebook.cells.append(kind(source, id=number))
        if output and notebook.cells[-1].cell_type == "code":
            notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text=output)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def sources_of(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


FIRST = {"t": "# Attention", "a": "def f(x): ...", "s": "## The end", "b": "f(1)"}


@pytest.fixture
def course(tmp_path: Path) -> Path:
    write(tmp_path / "course" / "01.ipynb", FIRST)
    (tmp_path / "course" / "docs").mkdir()
    (tmp_path / "course" / "docs" / "glossary.md").write_text("words", "utf-8")
    return tmp_path / "course"


@pytest.fixture
def mine(course: Path, tmp_path: Path) -> Path:
    """Return the folder after the first copy."""
    update_folder(course, tmp_path / "mine", "1")
    return tmp_path / "mine"


def done(course: Path, mine: Path, version: str = "2") -> dict[str, str]:
    return {step.name: step.state for step in update_folder(course, mine, version)}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_everything_is_copied_once(course: Path, tmp_path: Path) -> None:
    (course / "source" / "__pycache__").mkdir(parents=True)
    (course / "source" / "__pycache__" / "bert.pyc").touch()
    mine = tmp_path / "new" / "mine"
    assert done(course, mine) == {"01.ipynb": "new", "docs/glossary.md": "new"}
    before = files(mine)
    assert before.keys() == {"01.ipynb", "docs/glossary.md", STATE}
    assert done(course, mine) == {} and files(mine) == before


def test_a_read_only_package_gives_a_folder_that_can_be_written(course: Path, tmp_path: Path) -> None:
    (course / "01.ipynb").chmod(0o444)
    update_folder(course, tmp_path / "mine", "1")
    assert os.access(tmp_path / "mine" / "01.ipynb", os.W_OK)
    assert (tmp_path / "mine" / "01.ipynb").stat().st_mode & 0o200


def test_a_notebook_that_was_only_run_is_updated(course: Path, mine: Path) -> None:
    write(mine / "01.ipynb", FIRST, output="1")
    assert done(course, mine) == {} and b"output_type" in (mine / "01.ipynb").read_bytes()
    write(course / "01.ipynb", FIRST | {"b": "f(2)"})
    assert done(course, mine) == {"01.ipynb": "updated"}
    assert sources_of(mine / "01.ipynb")[-1] == "f(2)"


@pytest.mark.parametrize(
    "change",
    [
        {"a": "def f(x): return x"},
        {"new": "mine"},
        {"a": "# def f(x): ..."},
        {"b": ""},
    ],
    ids=["edited", "added", "made text", "emptied"],
)
def test_work_is_kept_whatever_the_course_does(change: dict[str, str], course: Path, mine: Path) -> None:
    write(mine / "01.ipynb", FIRST | change, output="1")
    work = (mine / "01.ipynb").read_bytes()
    assert done(course, mine) == {}
    write(course / "01.ipynb", {"t2": "# Attention, again", "n": "g(1)"})
    assert done(course, mine) == {"01.ipynb": "kept"}
    assert sources_of(mine / "01-2.ipynb") == ["# Attention, again", "g(1)"]
    assert done(course, mine) == {}, "it was said once"
    write(course / "01.ipynb", {"n": "g(2)"})
    assert done(course, mine, "3") == {"01.ipynb": "kept"}
    assert (mine / "01.ipynb").read_bytes() == work


def test_moved_and_removed_cells_are_work_as_well(course: Path, mine: Path) -> None:
    for order in ("abst", "ta"):
        write(mine / "01.ipynb", {key: FIRST[key] for key in order})
        write(course / "01.ipynb", FIRST | {"b": f"f({order!r})"})
        assert done(course, mine, order) == {"01.ipynb": "kept"}


def test_answers_are_carried_into_the_new_version(course: Path, mine: Path) -> None:
    answer = "def f(x): return x"
    own = {"t": "# Attention", "a": answer, "own": "f(7)", "own2": "f(8)", "s": "## The end", "b": "f(9)"}
    write(mine / "01.ipynb", own, output="7")
    write(
        course / "01.ipynb",
        {"i": "# Hello", "t": "# Attention", "a": FIRST["a"], "c": "f(2)", "s": "## The end", "b": "f(3)"},
    )
    (step,) = update_folder(course, mine, "2")
    assert sources_of(mine / "01-2.ipynb") == [
        *("# Hello", "# Attention", answer, "f(7)", "f(8)", "f(2)", "## The end", "f(3)")
    ]
    assert nbformat.read(mine / "01-2.ipynb", as_version=4).cells[2].outputs[0].text == "7"
    nbformat.validate(nbformat.read(mine / "01-2.ipynb", as_version=4))
    assert str(step).splitlines() == [
        "  kept     01.ipynb",
        "           you changed it; the new version is 01-2.ipynb; your changed cells in it: 3 of 4",
        '           not carried over, since the course changed these cells: "The end" (1)',
        '           new in the course: "Hello" (1), "Attention" (1), "The end" (1)',
    ]


def test_where_ids_were_renewed_nothing_is_mixed_up(course: Path, mine: Path) -> None:
    """Some editors give every cell a new id."""
    write(mine / "01.ipynb", {f"x{key}": source for key, source in FIRST.items()})
    write(course / "01.ipynb", FIRST | {"b": "f(2)"})
    assert done(course, mine) == {"01.ipynb": "updated"}
    second = FIRST | {"a": "def f(x): 1", "b": "f(2)"}
    write(mine / "01.ipynb", {f"x{key}": source for key, source in second.items()})
    write(course / "01.ipynb", FIRST | {"b": "f(3)"})
    (step,) = update_folder(course, mine, "3")
    assert "your changed cells in it: 0 of 1" in step.details[0]
    assert sources_of(mine / "01-3.ipynb") == sources_of(course / "01.ipynb")


def test_a_version_put_beside_is_never_overwritten(course: Path, mine: Path) -> None:
    write(mine / "01.ipynb", FIRST | {"a": "mine"})
    write(mine / "01-2.ipynb", {"w": "work"})
    write(course / "01.ipynb", FIRST | {"b": "f(2)"})
    update_folder(course, mine, "2")
    assert sources_of(mine / "01-2.ipynb") == ["work"]
    assert sources_of(mine / "01-2-2.ipynb") == ["# Attention", "mine", "## The end", "f(2)"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"cells": [1]}', b'{"cells": [{}]}', b"\xff", b'{"cells": 1}']
)
def test_a_damaged_notebook_is_kept(content: bytes, course: Path, mine: Path) -> None:
    (mine / "01.ipynb").write_bytes(content)
    write(course / "01.ipynb", {"n": "g(1)"})
    assert done(course, mine) == {"01.ipynb": "kept"}
    assert (mine / "01.ipynb").read_bytes() == content and sources_of(mine / "01-2.ipynb") == ["g(1)"]


@pytest.mark.parametrize(
    "record", [None, "", "{", "[]", '{"01.ipynb": 1}', '{"01.ipynb": [["a"]]}', '{"01.ipynb": []}']
)
def test_without_a_record_what_differs_is_kept(record: str | None, course: Path, mine: Path) -> None:
    (mine / STATE).unlink()
    if record is not None:
        (mine / STATE).write_text(record, "utf-8")
    write(course / "01.ipynb", FIRST | {"b": "f(2)"})
    (mine / "docs" / "glossary.md").write_text("my words", "utf-8")
    assert done(course, mine) == {"01.ipynb": "kept", "docs/glossary.md": "kept"}
    assert (mine / "docs" / "glossary-2.md").read_text("utf-8") == "words"
    assert done(course, mine) == {}


def test_deleting_a_file_brings_it_back_and_what_the_course_drops_stays(course: Path, mine: Path) -> None:
    (mine / "01.ipynb").unlink()
    (course / "docs" / "glossary.md").unlink()
    assert done(course, mine) == {"01.ipynb": "new"}
    assert (mine / "docs" / "glossary.md").exists()


def test_a_full_disk_leaves_nothing_half_written(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy ends in the middle of the second file; the next one completes it."""

    def write_bytes(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2] if b"words" in content else content)
        if b"words" in content:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(content)

    mine = tmp_path / "mine"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(OSError, match="No space left"):
            update_folder(course, mine, "1")
    assert files(mine).keys() == {"01.ipynb"}
    write(mine / "01.ipynb", FIRST | {"a": "mine"})
    work = (mine / "01.ipynb").read_bytes()
    assert done(course, mine, "1") == {"01.ipynb": "kept", "docs/glossary.md": "new"}
    assert (mine / "01.ipynb").read_bytes() == work


def test_a_disk_with_too_little_room_is_refused_first(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage: Any = type("Usage", (), {"free": 100})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ValueError, match="free some space"):
        update_folder(course, tmp_path / "mine", "1")
    assert not (tmp_path / "mine").exists()


def test_a_chapter_of_the_course_keeps_every_answer(tmp_path: Path) -> None:
    """A word is corrected in chapter 1 while a learner has solved everything: all answers come along."""
    course, mine = tmp_path / "course", tmp_path / "mine"
    course.mkdir()
    shutil.copy(CHECKOUT / "01_attention.ipynb", course)
    update_folder(course, mine, "1")
    answers = change_cells(mine / "01_attention.ipynb", "exercise", "# my answer")
    assert answers > 3
    text = json.loads((course / "01_attention.ipynb").read_bytes())
    text["cells"][0].update(source="# Corrected", id="corrected")
    (course / "01_attention.ipynb").write_text(json.dumps(text), "utf-8")
    (step,) = update_folder(course, mine, "2")
    assert f"your changed cells in it: {answers} of {answers}" in str(step)
    assert sources_of(mine / "01_attention-2.ipynb")[1:] == sources_of(mine / "01_attention.ipynb")[1:]


def change_cells(path: Path, tag: str, line: str) -> int:
    """Append a line to the cells with a tag; return how many these are."""
    notebook = nbformat.read(path, as_version=4)
    tagged: Sequence[Any] = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]
    for cell in tagged:
        cell.source += f"\n{line}"
    nbformat.write(notebook, path)
    return len(tagged)
