"""Grading: answers are found by name, run apart, and each kind of submission ends with the right rows."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest

from bertlearn import cli
from bertlearn.course.grading import grades, stops
from bertlearn.course.grading.checks import checks_of
from bertlearn.course.grading.grades import Row, chapter_of, grade, has_ended, read_rows, write_rows
from bertlearn.course.grading.release import Release, ReleasedChapter, write_release
from bertlearn.course.grading.stops import NO_CHAPTER
from bertlearn.course.grading.submission import (
    REFERS,
    SYNTAX,
    SubmissionError,
    is_stub,
    needed_statements,
    read_submission,
)
from bertlearn.course.grading.worker import NO_FUNCTION, WAITED
from bertlearn.course.grading.workers import Stopped, Workers

SOLUTIONS = Path(sys.modules["bertlearn"].__file__ or "").parent / "course" / "solutions"
NAMES = list(checks_of(2))


def release_of(*chapters: int, points: int = 1) -> Release:
    """Return a release in which each exercise of some chapters has the same points."""
    return Release(
        "0",
        {each: ReleasedChapter(f"{each:02}_n", dict.fromkeys(checks_of(each), points)) for each in chapters},
    )


CHAPTER_2 = release_of(2)


def notebook(path: Path, *sources: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)), encoding="utf-8")
    return path


def solved(*changes: tuple[str, str]) -> str:
    text = (SOLUTIONS / "tokenization.py").read_text(encoding="utf-8")
    for before, after in changes:
        assert text.count(before) == 1
        text = text.replace(before, after)
    return text


STUBS = "\n\n".join(
    f"def {name}(*values):\n    '''What to do.'''\n    raise NotImplementedError" for name in NAMES
)
OWN = "def strip_accents(text):\n    return text"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    folder = tmp_path_factory.mktemp("submitted")
    notebook(folder / "right" / "02.ipynb", "%%bash\necho hi", solved(), "raise SystemExit", "1 +")
    notebook(folder / "stubs" / "02.ipynb", STUBS)
    wrong = ('left + right.removeprefix("##")', 'left + right.lstrip("#")')
    notebook(folder / "wrong" / "02.ipynb", solved(wrong), STUBS)  # the stubs once more, below the answers
    notebook(folder / "loop" / "02.ipynb", "def longest_match(*values):\n    while True:\n        pass", OWN)
    notebook(folder / "dies" / "02.ipynb", "import os\ndef strip_accents(text):\n    os._exit(0)")
    (folder / "no_notebook.ipynb").write_text("{", encoding="utf-8")
    return grade(release_of(2, points=3), folder, folder.parent / "grades.csv", jobs=2)


def of(table: list[Row], student: str) -> dict[str, Row]:
    return {row.exercise: row for row in table if row.student == student}


def test_right_answers_score_whatever_else_is_in_the_notebook(table: list[Row]) -> None:
    right = of(table, "right")
    assert list(right) == NAMES
    assert all(row.score == row.points == 3 and row.attempted and not row.flag for row in right.values())


def test_stubs_score_nothing_and_are_not_attempted(table: list[Row]) -> None:
    assert all((row.score, row.attempted, row.flag) == (0, False, "") for row in of(table, "stubs").values())


def test_a_wrong_answer_is_named_and_a_stub_below_an_answer_does_not_count(table: list[Row]) -> None:
    wrong = of(table, "wrong")
    assert wrong["apply_merge"].mistake == "every # taken away" and wrong["apply_merge"].score == 0
    assert sum(row.score for row in wrong.values()) == 3 * (len(NAMES) - 1)


def test_a_wrong_answer_without_a_known_mistake_has_a_reason(tmp_path: Path) -> None:
    raises = "def longest_match(*values):\n    raise ValueError('\\u202e<b>\\ud800\\n' + 'a' * 999)"
    folder = notebook(
        tmp_path / "in" / "s.ipynb", f"X = 1\n\n{raises}", "def strip_accents(text):\n    return 3"
    ).parent
    rows = of(grade(CHAPTER_2, folder, tmp_path / "grades.csv"), "s")
    reason = rows["longest_match"].reason
    assert re.match(
        r"raised an error: on “.+” it stops with ValueError: <b> a{90,}…, in the line `raise V", reason
    )
    assert len(reason) <= 300 and reason.isprintable()
    assert rows["strip_accents"].reason.startswith("gave a wrong result: on “")
    assert read_rows(tmp_path / "grades.csv") == list(rows.values())


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "ended the program that ran them (status 0), as exit()"),
        (3, "ended the program that ran them (status 3), with an error that could not be caught"),
        (-9, "killed by the system (status -9): out of memory, or out of computing time"),
        (-11, "the program that ran the answers crashed (SIGSEGV)"),
        (-77, "the program that ran the answers crashed (status -77)"),
    ],
)
def test_the_end_of_a_process_is_said_in_plain_words(status: int, said: str) -> None:
    problem = stops.ended(status)
    assert said in problem and stops.remedy(problem) is not stops.remedy("no notebook that can be read")


def test_each_problem_of_a_notebook_has_a_remedy_of_its_own() -> None:
    problems = [stops.too_long(3), *map(stops.ended, (0, -9, -11)), stops.OVERWRITTEN, stops.NO_CHAPTER]
    assert len({stops.remedy(problem).student for problem in problems}) == len(problems)
    assert all(stops.remedy(problem).teacher for problem in problems)


def test_an_endless_loop_costs_only_its_own_exercise(table: list[Row]) -> None:
    loop = of(table, "loop")
    assert loop["longest_match"].score == 0 and loop["longest_match"].attempted
    reason = loop["longest_match"].reason
    assert re.fullmatch(
        r"took too long: it was stopped after 1\d s .* at the line `(while True:|pass)`", reason
    )
    assert loop["strip_accents"].attempted and loop["apply_merge"].flag == NO_FUNCTION


def test_a_submission_that_ends_its_process_or_is_no_notebook_stops_no_other(table: list[Row]) -> None:
    dead = of(table, "dies")["strip_accents"]
    assert (dead.score, dead.attempted) == (0, True)
    assert dead.reason.startswith("ended the program that ran it: status 0, as with os._exit")
    [unread] = of(table, "no_notebook").values()
    assert (unread.chapter, unread.exercise, unread.flag) == (None, "", NO_CHAPTER)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("from bertlearn.course.checks import welcome as c\ndef f(x):\n    y = c.f.solution(x)\n    return y",
         "y = c.f.solution(x)"),
        ("def f(x):\n    from bertlearn.course.solutions import tokenization\n    return tokenization.f(x)",
         "from bertlearn.course.solutions import tokenization"),
        ("def helper(x):\n    return bertlearn.f(x)\nimport bertlearn\ndef f(x):\n    return helper(x)",
         "return bertlearn.f(x)"),
        ("import sys\ndef f(x):\n    return sys.modules['a'].f(x)", "return sys.modules['a'].f(x)"),
        ("import os\ndef f(x):\n    return os.sys.modules['a'].f(x)", "return os.sys.modules['a'].f(x)"),
        ("def f(x):\n    return __import__('a').f(x)", "return __import__('a').f(x)"),
        ("import importlib as i\ndef f(x):\n    return i.import_module('a').f(x)",
         "return i.import_module('a').f(x)"),
        ("def f(x):\n    return ().__class__.__base__.__subclasses__()",
         "return ().__class__.__base__.__subclasses__()"),
        ("def f(x):\n    return load('bertlearn.course')", "return load('bertlearn.course')"),
    ],
)  # fmt: skip
def test_an_answer_that_refers_to_the_course_is_flagged_with_its_line(
    tmp_path: Path, source: str, line: str
) -> None:
    flag = read_submission(notebook(tmp_path / "n.ipynb", source), ["f"]).flags["f"]
    assert (flag.kind, flag.line) == (REFERS, line)


@pytest.mark.parametrize(
    "source",
    [
        "import math\ndef f(x):\n    '''As in the course.'''\n    return math.exp(x)",
        "from bertlearn import load_reviews\nreviews = load_reviews()\ndef f(x):\n    return x.exp()",
        "import torch\ndef g(x):\n    return x\ndef f(x):\n    return torch.softmax(g(x), dim=-1).__len__()",
    ],
)
def test_honest_answers_are_not_flagged(tmp_path: Path, source: str) -> None:
    assert read_submission(notebook(tmp_path / "n.ipynb", source), ["f"]).flags == {}


def test_an_answer_that_is_not_a_function_of_its_own_scores_nothing(tmp_path: Path) -> None:
    taken = "from bertlearn.course.solutions.tokenization import *\nstrip_accents = strip_accents"
    notebook(tmp_path / "in" / "02.ipynb", taken)
    rows = grade(CHAPTER_2, tmp_path / "in", tmp_path / "grades.csv")
    line = "from bertlearn.course.solutions.tokenization import *"
    assert {(row.score, row.flag) for row in rows} == {(0, f"{NO_FUNCTION}: {REFERS}: {line}")}


def test_a_name_that_is_imported_instead_of_written_is_shown_with_its_line(tmp_path: Path) -> None:
    source = "import torch\nfrom bertlearn import load_reviews, x as f\nfrom torch import g"
    flags = read_submission(notebook(tmp_path / "n.ipynb", source), ["f", "g", "h"]).flags
    assert {name: flag.line for name, flag in flags.items()} == {
        "f": "from bertlearn import load_reviews, x as f"
    }


def test_a_cell_that_is_no_python_shows_where_python_stops(tmp_path: Path) -> None:
    notebook(
        tmp_path / "in" / "s.ipynb",
        "x = 1\ndef strip_accents(text):\n    return (text",
        OWN.replace("strip", "x"),
    )
    row = of(grade(CHAPTER_2, tmp_path / "in", tmp_path / "grades.csv"), "s")["strip_accents"]
    assert (row.attempted, row.flag) == (False, f"{NO_FUNCTION}: {SYNTAX}: return (text")


def test_a_flagged_answer_scores_nothing_though_it_is_right(tmp_path: Path) -> None:
    taken = "    from bertlearn.course.solutions import tokenization as s\n    return s.strip_accents(text)"
    source = f"def strip_accents(text):\n{taken}"
    notebook(tmp_path / "in" / "s.ipynb", source)
    row = of(grade(CHAPTER_2, tmp_path / "in", tmp_path / "grades.csv"), "s")["strip_accents"]
    assert row.score == 0 and row.flag.startswith(REFERS) and "solutions" in row.flag


def test_a_stopped_grading_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, to, seen = tmp_path / "in", tmp_path / "grades.csv", []
    for name in ("a", "b"):
        notebook(folder / name / "n.ipynb", OWN)

    def stop(student: str, rows: object) -> None:
        seen.append(student)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grade(CHAPTER_2, folder, to, report=stop)
    assert len({row.student for row in read_rows(to)}) == 1 and not has_ended(read_rows(to))
    counts: list[tuple[int, int]] = []

    def begin(done: int, total: int) -> None:
        counts.append((done, total))

    grade(CHAPTER_2, folder, to, report=lambda student, rows: seen.append(student), begin=begin)
    assert sorted(seen) == ["a", "b"] and counts == [(1, 2)] and has_ended(read_rows(to))
    notebook(folder / "a" / "n.ipynb", solved())  # handed in again
    grade(CHAPTER_2, folder, to, report=lambda student, rows: seen.append(student))
    assert seen[2:] == ["a"]
    rows = read_rows(to)
    assert len(rows) == 2 * len(NAMES) and sum(row.score for row in rows) == len(NAMES)


def test_each_notebook_is_graded_as_the_chapter_whose_functions_it_has(tmp_path: Path) -> None:
    notebook(tmp_path / "in" / "a" / "01 mine.ipynb", OWN)
    notebook(tmp_path / "in" / "a" / "mine.ipynb", "def softmax(x):\n    return x")
    notebook(tmp_path / "in" / "b" / "2_other.ipynb", "def unknown():\n    return 1")
    notebook(tmp_path / "in" / "b" / "other.ipynb", "def unknown():\n    return 1")
    (tmp_path / "in" / "1_broken.ipynb").write_text("{", encoding="utf-8")
    rows = grade(release_of(1, 2), tmp_path / "in", tmp_path / "grades.csv", jobs=2)
    assert {row.file: row.chapter for row in rows} == {
        "1_broken.ipynb": 1,
        "a/01 mine.ipynb": 2,
        "a/mine.ipynb": 1,
        "b/2_other.ipynb": 2,
        "b/other.ipynb": None,
    }
    assert [row.exercise for row in rows if row.file == "a/mine.ipynb"] == list(checks_of(1))
    [broken] = of(rows, "1_broken").values()
    assert "1_broken.ipynb is no notebook that can be read" in broken.flag and broken.points == 7
    assert read_rows(tmp_path / "grades.csv") == rows


def test_an_exercise_of_two_chapters_is_told_apart_by_the_name_of_the_file(tmp_path: Path) -> None:
    pooled = "def mean_pooling(a, b):\n    return a"
    release = release_of(1, 3, 5)
    for name, expected in {"03_x": 3, "5": 5, "1_x": None, "x": None, "00003x": 3}.items():
        assert chapter_of(notebook(tmp_path / f"{name}.ipynb", pooled), release) == expected
    both = notebook(tmp_path / "5_both.ipynb", pooled, "def gelu(x):\n    return x")
    assert chapter_of(both, release) == 3


def test_what_is_graded_counts_for_resuming(tmp_path: Path) -> None:
    folder, to, seen = tmp_path / "in", tmp_path / "grades.csv", list[str]()
    notebook(folder / "s.ipynb", OWN)

    def run(release: Release) -> list[Row]:
        return grade(release, folder, to, report=lambda student, rows: seen.append(student))

    run(CHAPTER_2)
    run(release_of(1, 2))  # chapter 2 is the same as before
    assert len(seen) == 1
    rows = run(release_of(2, points=2))
    assert len(seen) == 2 and len(rows) == len(NAMES) and {row.points for row in rows} == {2}
    only = Release("0", {2: ReleasedChapter("n", {"strip_accents": 2})})
    assert [row.exercise for row in run(only)] == ["strip_accents"]


@pytest.mark.parametrize(
    "written",
    ["[]", "{}", "x", '{"grade": 1}', '{"grade": {"exercise": "strip_accents"}}\\n{"end": true}', '{"a": 1}'],
)
def test_answers_that_write_over_their_grades_score_nothing(tmp_path: Path, written: str) -> None:
    source = "import os, sys\ndef strip_accents(text):\n    open(sys.argv[2], 'w').write(W)\n    os._exit(0)"
    notebook(tmp_path / "in" / "s.ipynb", f"W = {written!r}", source)
    [row] = grade(CHAPTER_2, tmp_path / "in", tmp_path / "grades.csv")
    assert (row.score, row.points, row.flag) == (0, len(NAMES), "the answers wrote over their grades")


def test_ctrl_c_starts_no_other_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        notebook(tmp_path / "in" / str(number) / "n.ipynb", OWN)
    started = []

    def graded(found: Any, *limits: float) -> list[Row]:
        started.append(found)
        time.sleep(0.2)
        return [
            Row(found.student, found.file, 2, "strip_accents", 1, 0, True, "", "", "", "", found.checksum)
        ]

    def stop(student: str, rows: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(grades, "_grade_file", graded)
    with pytest.raises(KeyboardInterrupt):
        grade(CHAPTER_2, tmp_path / "in", tmp_path / "grades.csv", report=stop)
    assert len(started) <= 2


def test_a_file_that_cannot_be_read_stops_no_other(tmp_path: Path) -> None:
    notebook(tmp_path / "in" / "a" / "n.ipynb", OWN)
    (tmp_path / "in" / "2b.ipynb").mkdir()  # a folder of that name: reading it fails
    rows = grade(CHAPTER_2, tmp_path / "in", tmp_path / "grades.csv")
    assert "no notebook that can be read" in of(rows, "2b")[""].flag and len(of(rows, "a")) == len(NAMES)


def test_a_submission_has_a_limit_of_time(tmp_path: Path) -> None:
    source = "import time\ndef strip_accents(text):\n    time.sleep(1000)"
    notebook(tmp_path / "in" / "s.ipynb", source)
    own = "def longest_match(word, vocab):\n    return []"
    notebook(tmp_path / "in" / "t.ipynb", source, own)
    rows = grade(CHAPTER_2, tmp_path / "in", tmp_path / "grades.csv", seconds=30)
    late = of(rows, "t")
    assert late["strip_accents"].reason.startswith("took too long: it was stopped after 10 s, waiting")
    assert late["longest_match"].attempted and not late["longest_match"].flag  # the others are still checked
    assert of(rows, "s")["longest_match"].flag == NO_FUNCTION


def test_a_long_call_that_nothing_can_interrupt_ends_the_time_of_its_notebook(tmp_path: Path) -> None:
    workers = Workers()
    source = "import ctypes\ndef strip_accents(text):\n    ctypes.PyDLL(None).sleep(1000)"
    path = notebook(tmp_path / "s.ipynb", source)
    found = workers.grade(path, 2, 20, 6000)
    assert found["strip_accents"]["reason"] == "took too long: the notebook's 20 s ended while it was checked"
    assert found["longest_match"]["flag"] == NO_FUNCTION


def test_ctrl_c_ends_what_is_running_at_once(tmp_path: Path) -> None:
    path = notebook(tmp_path / "s.ipynb", "import time\ndef strip_accents(text):\n    time.sleep(1000)")
    workers = Workers()
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(workers.grade, path, 2, 600, 6000)
        while not workers._running and not task.done():
            time.sleep(0.05)
        [process] = workers._running
        workers.stop()
        with pytest.raises(Stopped):
            task.result(timeout=20)
        assert process.poll() is not None
        with pytest.raises(Stopped):
            workers.grade(path, 2, 600, 6000)


def test_nothing_is_written_outside_the_table(tmp_path: Path) -> None:
    source = (
        "def strip_accents(text):\n    return text\ndef longest_match(*values):\n    raise ValueError('a')"
    )
    path = notebook(tmp_path / "in" / "s.ipynb", source)
    before = path.read_bytes()
    grade(CHAPTER_2, tmp_path / "in", tmp_path / "out" / "grades.csv")
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["grades.csv", "s.ipynb"]


def test_the_table_is_safe_in_a_spreadsheet_and_comes_back(tmp_path: Path) -> None:
    rows = [Row("=cmd|' /C calc'!A0", "f.ipynb", 1, "softmax", 2, 2, True, "", 'a, "b"\nc', "", "", "0")]
    write_rows(tmp_path / "t.csv", rows)
    with (tmp_path / "t.csv").open(newline="") as file:
        assert list(csv.reader(file))[1][0].startswith("'=")
    assert read_rows(tmp_path / "t.csv")[0]._replace(student=rows[0].student) == rows[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: grade(CHAPTER_2, p / "none", p / "t.csv"), "is no folder"),
        (lambda p: grade(CHAPTER_2, p, p / "t.csv"), "has no notebook"),
        (lambda p: checks_of(99), "chapter=99: expected one of 0, 1, 2, 3, 4, 5, 6"),
        (lambda p: read_rows(p / "other.csv"), "is not a table of grades"),
        (lambda p: read_rows(p / "numbers.csv"), "is not a table of grades"),
        (lambda p: read_submission(p / "other.csv", []), "no notebook that can be read"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, call: Callable[[Path], object], message: str) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "numbers.csv").write_text(f"{','.join(Row._fields)}\n{'x,' * len(Row._fields)}\n")
    with pytest.raises((ValueError, SubmissionError), match=message):
        call(tmp_path)


def test_every_exercise_of_the_notebooks_has_a_check() -> None:
    notebooks = Path(__file__).parents[3] / "notebooks"
    for chapter in range(1, 10):
        [path] = notebooks.glob(f"0{chapter}_*.ipynb")
        cells = nbformat.read(path, as_version=4).cells
        asked = [cell.source for cell in cells if "exercise" in cell.metadata.get("tags", [])]
        names = [line[4:].split("(")[0] for text in asked for line in text.splitlines() if line[:4] == "def "]
        assert set(names) <= set(checks_of(chapter)), chapter


def test_a_stub_may_have_a_docstring() -> None:
    stub, written = ast.parse(
        "def f():\n    '''x'''\n    raise NotImplementedError\ndef g():\n    return 1"
    ).body
    assert isinstance(stub, ast.FunctionDef) and isinstance(written, ast.FunctionDef)
    assert is_stub(stub) and not is_stub(written)
    assert grades.student_of(Path("a/b/n.ipynb"), Path("a")) == "b"


def test_the_command_grades_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook(tmp_path / "in" / "ann" / "02.ipynb", solved())
    notebook(tmp_path / "in" / "bob" / "02.ipynb", OWN)
    write_release(release_of(2, points=2), tmp_path)
    words = ["course", "grade", str(tmp_path), str(tmp_path / "in"), "--to", str(tmp_path / "g.csv")]
    monkeypatch.setattr(sys, "argv", ["bertlearn", *words, "--jobs", "2"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert re.search(r"ann +chapter 2: 14 of 14 points", out)
    assert re.search(r"bob +chapter 2: 0 of 14 points", out)
    assert {row.student for row in read_rows(tmp_path / "g.csv")} == {"ann", "bob"}
    assert "already graded" not in out
    notebook(tmp_path / "in" / "bob" / "02.ipynb", OWN, "X = 1")
    with pytest.raises(SystemExit):
        cli.main()
    resumed = capsys.readouterr()
    assert "1 of 2 already graded" in resumed.out and "grading: 100%" in resumed.err.split("\r")[-1]


def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["course", "grade", str(tmp_path), str(tmp_path), "--to", str(tmp_path / "g.csv")]
    monkeypatch.setattr(sys, "argv", ["bertlearn", *words])
    for message in ("is no release: it has no release.json", "has no notebook (.ipynb) in it"):
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1 and message in capsys.readouterr().err
        write_release(CHAPTER_2, tmp_path)


def test_only_what_the_answers_need_is_run(tmp_path: Path) -> None:
    source = (
        "import a, b.c as d, math\nfrom e import f as g\nUSED = 1\nLEFT = 3\n"
        "class Unused:\n    import os; os._exit(1)\n"
        "def helper(x):\n    return Used(x, USED)\n"
        "class Used:\n    rounded = staticmethod(math.floor)\n"
        "def softmax(x):\n    return helper(g(x))\n"
        "def unused():\n    return d"
    )
    submission = read_submission(notebook(tmp_path / "n.ipynb", source), ["softmax"])
    needed = needed_statements(submission)
    kept = [ast.unparse(node).split("\n")[0] for node in submission.statements if id(node) in needed]
    assert kept == [
        "import a, b.c as d, math",
        "from e import f as g",
        "USED = 1",
        "def helper(x):",
        "class Used:",
        "def softmax(x):",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes only there")
def test_a_name_in_another_encoding_stops_no_other(tmp_path: Path) -> None:
    notebook(tmp_path / "in" / "ann" / "02.ipynb", OWN)
    notebook(tmp_path / "in" / os.fsdecode("张".encode("gb18030")) / "02.ipynb", OWN)
    write_rows(tmp_path / "t.csv", rows := grade(CHAPTER_2, tmp_path / "in", tmp_path / "grades.csv"))
    assert {row.student for row in read_rows(tmp_path / "t.csv")} == {"ann", "\\udcd5\\udcc5"}
    assert sum(row.attempted for row in rows) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_worker_ends_by_itself_when_its_grader_was_killed(tmp_path: Path) -> None:
    endless = "def strip_accents(text):\n    while True:\n        try:\n            while True: pass\n"
    path = notebook(tmp_path / "n.ipynb", endless + "        except BaseException: pass")
    limits = {"megabytes": 6000, "seconds": 12, "answer": 1000}
    task = json.dumps({"chapter": 2, "path": str(path), "skip": [], **limits})
    words = ["-m", "bertlearn.course.grading.worker", task, str(tmp_path / "out")]
    run = subprocess.run([sys.executable, *words], timeout=600, stderr=subprocess.DEVNULL)
    assert run.returncode in (WAITED, -signal.SIGKILL, -signal.SIGXCPU)
    assert (tmp_path / "out").read_text() == '{"begin": "strip_accents"}\n'
