"""Makes a release: the notebooks that a class is given, and those with the answers, from the course's own."""

from __future__ import annotations

import ast
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import nbformat
from nbformat import NotebookNode

import bertlearn
from bertlearn.course import cells
from bertlearn.course.checks import CHAPTERS
from bertlearn.course.grading import formats
from bertlearn.course.grading.links import write_notebooks
from bertlearn.course.grading.release import Release, ReleasedChapter, is_release, write_release
from bertlearn.course.sources import chapter_files
from bertlearn.files import LOST, check_output

Format = Literal["plain", "nbgrader", "otter"]
Outputs = Literal["keep", "clear"]

STUDENT, INSTRUCTOR = "student", "instructor"
OURS = (STUDENT, INSTRUCTOR, formats.NBGRADER_CONFIG)  # what a later release into the same folder replaces
WARNING = "These notebooks and tests hold the answers. Do not give this folder to students.\n"


@dataclass(frozen=True)
class Chapter:
    """A chapter as the course has it: its source and the points of its exercises."""

    number: int
    path: Path
    notebook: NotebookNode
    exercises: dict[str, int]


def build(
    chapters: Sequence[int],
    to: Path,
    format: Format = "plain",
    outputs: Outputs = "keep",
    core: bool = False,
) -> Release:
    """Write a release into a folder; a release that is there already is replaced.

    Args:
        chapters: the numbers of the chapters that are given out.
        to: a new or empty folder, or one with a release; other files in it stay.
        format: for which grader the notebooks are made.
        outputs: whether the notebooks show the outputs that the course stores.
        core: whether only the exercises of core parts get points; those that go deeper stay, without points.

    Raises:
        ValueError: a chapter does not exist or has no exercises, or the folder holds other things.
        OSError: the folder could not be written; an earlier release may be half replaced, and can be again.
    """
    if format not in get_args(Format) or outputs not in get_args(Outputs):
        allowed = f"expected one of {get_args(Format)} and one of {get_args(Outputs)}"
        raise ValueError(f"format={format!r}, outputs={outputs!r}: {allowed}")
    _check_folder(to)
    sources = [read_chapter(number, core) for number in _checked(chapters)]
    released = {each.number: ReleasedChapter(each.path.stem, each.exercises) for each in sources}
    release = Release(bertlearn.__version__, released)
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".release-", dir=to) as temporary:
        WRITERS[format](sources, Path(temporary), outputs)
        _replace(Path(temporary), to)
    write_release(release, to)
    return release


def read_chapter(number: int, core: bool = False) -> Chapter:
    """Read a chapter's notebook, and the points of its exercises: the stars of the headings above them.

    Args:
        number: of the chapter.
        core: leave out the exercises of parts that go deeper.
    """
    path = chapter_files()[number]
    notebook = cells.read(path)
    exercises = {
        name: cells.points(heading.source)
        for cell, heading in _exercises(notebook, core)
        for name in cells.functions(cell)
    }
    return Chapter(number, path, notebook, exercises)


def student_version(chapter: Chapter, outputs: Outputs) -> NotebookNode:
    """Return a copy that shows the points of each exercise, with stored outputs or without."""
    copy = nbformat.from_dict(chapter.notebook)
    for cell, heading in _exercises(copy):
        points = sum(chapter.exercises.get(name, 0) for name in cells.functions(cell))
        before, title, after = heading.source.rpartition(cells.HEADING.findall(heading.source)[-1])
        said = (
            f"{points} {'point' if points == 1 else 'points'}" if points else "for yourself, without points"
        )
        heading.source = f"{before}{title}\n\n*{said}*{after}"
    for cell in copy.cells if outputs == "clear" else []:
        _clear(cell)
    return copy


def instructor_version(chapter: Chapter, outputs: Outputs) -> NotebookNode:
    """Return the student version with the solutions filled in.

    Where a cell uses an answer, its stored output is left out: it belongs to the unanswered exercise.
    """
    copy = cells.solved(student_version(chapter, outputs), cells.solutions_of(chapter.path.stem))
    for cell in cells.code_cells(copy):
        if cells.names_read(ast.parse(cell.source)) & chapter.exercises.keys():
            _clear(cell)
    return copy


def _plain(chapters: Sequence[Chapter], to: Path, outputs: Outputs) -> None:
    write_notebooks({each.path: student_version(each, outputs) for each in chapters}, to / STUDENT)
    _write_instructor(chapters, to, outputs)


def _otter(chapters: Sequence[Chapter], to: Path, outputs: Outputs) -> None:
    students = {each.path: student_version(each, outputs) for each in chapters}
    for each in chapters:
        formats.skip_what_grading_does_not_need(students[each.path], each.path.stem)
        formats.write_otter_tests(each.number, each.exercises, to / INSTRUCTOR / each.path.stem)
    write_notebooks(students, to / STUDENT)
    _write_instructor(chapters, to, outputs)


def _nbgrader(chapters: Sequence[Chapter], to: Path, outputs: Outputs) -> None:
    """Write only the instructor's side: nbgrader makes the student version from it, and keeps a database."""
    for each in chapters:
        notebook = student_version(each, outputs)
        formats.skip_what_grading_does_not_need(notebook, each.path.stem)
        notebook = formats.nbgrader_source(notebook, each.number, each.path.stem, each.exercises)
        write_notebooks({each.path: notebook}, to / INSTRUCTOR / each.path.stem)
    _write_warning(to)
    formats.write_nbgrader_config(to, keep_outputs=outputs == "keep")


WRITERS: dict[str, Callable[[Sequence[Chapter], Path, Outputs], None]] = {
    "plain": _plain,
    "nbgrader": _nbgrader,
    "otter": _otter,
}


def _write_instructor(chapters: Sequence[Chapter], to: Path, outputs: Outputs) -> None:
    write_notebooks({each.path: instructor_version(each, outputs) for each in chapters}, to / INSTRUCTOR)
    _write_warning(to)


def _write_warning(to: Path) -> None:
    (to / INSTRUCTOR / "README.md").write_text(WARNING, encoding="utf-8", newline="\n")


def _exercises(notebook: NotebookNode, core: bool = False) -> Iterator[tuple[NotebookNode, NotebookNode]]:
    """Yield the cell of each exercise, or of each in a core part, with the cell of the last heading above."""
    heading, in_core = None, True
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            in_core = cells.is_core(cell.source, in_core)
            heading = cell if cells.HEADING.search(cell.source) else heading
        elif cells.is_exercise(cell) and heading is not None and (in_core or not core):
            yield cell, heading


def _clear(cell: NotebookNode) -> None:
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None


def _checked(chapters: Sequence[int]) -> list[int]:
    """Return the numbers once each, in order, if all of them have exercises."""
    files, choose = chapter_files(), f"choose from {', '.join(map(str, CHAPTERS))}"
    for number in chapters:
        if number not in files:
            raise ValueError(f"chapter {number} does not exist; {choose}")
        if number not in CHAPTERS:
            raise ValueError(f"chapter {number} ({files[number].stem}) has no exercises to grade; {choose}")
    if not chapters:
        raise ValueError(f"no chapter is named; {choose}")
    return sorted(set(chapters))


def _check_folder(to: Path) -> None:
    check_output(to)
    if to.is_dir() and not is_release(to) and {path.name for path in to.iterdir()} - {LOST}:
        raise ValueError(f"{to} is not empty and holds no release; choose a new folder, or empty this one")


def _replace(new: Path, to: Path) -> None:
    """Move what was built into the folder, in place of what an earlier release left there."""
    for name in OURS:
        old = to / name
        if old.is_dir():
            shutil.rmtree(old)
        old.unlink(missing_ok=True)
        if (new / name).exists():
            (new / name).rename(old)
