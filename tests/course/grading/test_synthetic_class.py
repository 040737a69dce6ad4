"""A whole class is graded, and every row is the one that the submission must get."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from bertlearn.course.grading.build import build
from bertlearn.course.grading.grades import grade, read_rows

sys.path.insert(0, str(Path(__file__).parent))
from synthetic_class import SIXTY, Chapter, differences, main, make_class, make_members, write_class

TELLING = ("untidy", "mistaken", "broken", "cheats", "hogs", "ends")  # endless loops: see test_grades.py


def test_six_telling_students_get_the_rows_that_they_must(tmp_path: Path) -> None:
    chapter = Chapter(1)
    members = make_members(chapter, TELLING)
    write_class(tmp_path / "in", members, chapter)
    rows = grade(chapter.release, tmp_path / "in", tmp_path / "grades.csv", jobs=2)
    assert differences(rows, members) == []
    assert {row.student for row in rows} == set(members) and read_rows(tmp_path / "grades.csv") == rows
    wrong = [row._replace(score=1 - row.score) if row.exercise else row._replace(flag="") for row in rows]
    named = {line.split(" (")[0] for line in differences(wrong, members)}
    assert named == set(members)  # the comparison sees what is wrong


@pytest.mark.slow
def test_a_class_of_sixty_gets_the_rows_that_it_must(tmp_path: Path) -> None:
    chapter = Chapter(1)
    members = make_class(chapter, 60)
    write_class(tmp_path / "in", members, chapter)
    rows = grade(chapter.release, tmp_path / "in", tmp_path / "grades.csv", jobs=2, seconds=120)
    assert differences(rows, members) == []
    assert len({row.student for row in rows}) == 60 and sum(bool(row.twins) for row in rows) == 6


@pytest.mark.parametrize("chapter", range(1, 10))
def test_every_chapter_has_a_class(tmp_path: Path, chapter: int) -> None:
    lines: list[str] = []
    words = ["--chapter", str(chapter), "--students", "61", "--seed", "3"]
    main([str(tmp_path), *words], lines.append)
    assert len(list(tmp_path.rglob("*.ipynb"))) == len(lines) == 61 and sum(SIXTY.values()) == 60
    assert {line.split()[-1] for line in lines} == set(SIXTY)
    course = Chapter(chapter)
    assert make_class(course, 20, 3) == make_class(course, 20, 3) != make_class(course, 20, 4)


SPY = """
def softmax(x):
    import pathlib, tempfile, os
    for folder in (".", "~", tempfile.gettempdir(), os.environ["HOME"]):
        pathlib.Path(folder).expanduser().joinpath("left_behind").write_text("here")
    return x
"""


def test_nothing_is_left_outside_the_output(tmp_path: Path) -> None:
    release, work, home, temporary = (tmp_path / name for name in ("release", "work", "home", "temporary"))
    build([1], release, outputs="clear")
    for folder in (tmp_path / "in" / "spy", work, home, temporary):
        folder.mkdir(parents=True)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SPY)])
    (tmp_path / "in" / "spy" / "n.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    work.chmod(0o500)
    homes = dict.fromkeys(
        ("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"), str(home)
    )
    places = homes | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary)) | _cache()
    command = [sys.executable, "-m", "bertlearn", "course", "grade", str(release), str(tmp_path / "in")]
    environment = os.environ | places | {"PYTHONPATH": str(Path(__file__).parents[3])}
    run = subprocess.run([*command, "--to", str(tmp_path / "grades.csv")], cwd=work, env=environment)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert run.returncode == 0 and set(after) - set(before) == {tmp_path / "grades.csv"}
    assert {path: after[path] for path in before} == before
    assert list(home.iterdir()) == list(temporary.iterdir()) == []
    [row] = [row for row in read_rows(tmp_path / "grades.csv") if row.exercise == "softmax"]
    assert row.attempted and not row.score


def _cache() -> dict[str, str]:
    from bertlearn.data.cache import cache_folder

    return {"BERTLEARN_CACHE": str(cache_folder())}
