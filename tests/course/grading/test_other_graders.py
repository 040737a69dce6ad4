"""nbgrader and otter, as a teacher runs them: the same scores as ours, and which cheats pass them.

They live in an environment of their own, `.venv-teach` (`make slow` makes it); BERTLEARN_TEACH names the
Python of another. teaching/grading.md has the table of cheats.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from test_build import FOUR, answered

from bertlearn.course import cells
from bertlearn.course.grading import Row, grade, read_release
from bertlearn.course.grading.build import build

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
STEMS = {1: "01_attention", 3: "03_encoder"}
TEXT = ROOT / "teaching" / "grading.md"
Scores = dict[str, dict[str, float]]  # by student, then by exercise

NBGRADER_SCORES = """
import json, sys
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db") as book:
    print(json.dumps({
        submission.student.id: {grade.name: grade.auto_score for grade in submission.notebooks[0].grades}
        for submission in book.assignment_submissions(sys.argv[1])
    }))
"""


@pytest.fixture(scope="module")
def teach() -> str:
    """Return the Python that has nbgrader and otter."""
    named = os.environ.get("BERTLEARN_TEACH")
    found = Path(named) if named else ROOT / ".venv-teach" / "bin" / "python"
    if not found.is_file() and not named:
        pytest.skip(
            "no .venv-teach: run `make slow`, or name a Python with nbgrader and otter: BERTLEARN_TEACH"
        )
    return str(found.absolute())


def run(folder: Path, *words: str, check: bool = True) -> str:
    path = os.pathsep.join([str(Path(words[0]).parent), os.environ["PATH"]])  # nbgrader calls alembic
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0 or not check, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def nbgrader_scores(teach: str, release: Path, stem: str) -> Scores:
    """Autograde what lies in submitted/; a submission that nbgrader refuses has no scores."""
    run(release, teach, "-m", "nbgrader", "autograde", stem, check=False)
    found = json.loads(run(release, teach, "-c", NBGRADER_SCORES, stem))
    return {
        student: {name.removeprefix("grade-"): score for name, score in scores.items()}
        for student, scores in found.items()
    }


def otter_scores(teach: str, release: Path, stem: str, submission: Path) -> dict[str, float]:
    """Grade one submission without a container."""
    tests = release / "instructor" / stem
    if not (tests / "autograder.zip").exists():
        run(tests, teach, "-m", "otter", "generate", "-o", "autograder.zip")
    run(
        tests,
        teach,
        "-m",
        "otter",
        "run",
        "-a",
        "autograder.zip",
        "-o",
        str(submission.parent),
        str(submission),
    )
    results = json.loads((submission.parent / "results.json").read_text(encoding="utf-8"))
    return {each["name"]: each["score"] for each in results["tests"] if "score" in each}


def our_rows(release: Path) -> list[Row]:
    return grade(read_release(release), release / "submitted", release / "grades.csv")


def by_student(rows: Sequence[Row]) -> Scores:
    return {
        student: {row.exercise: row.score for row in rows if row.student == student}
        for student in {row.student for row in rows}
    }


@pytest.fixture(scope="module")
def nbgrader(teach: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a release for nbgrader, from which the student versions are made."""
    folder = tmp_path_factory.mktemp("nbgrader")
    build(list(STEMS), folder, "nbgrader", "clear")
    for stem in STEMS.values():
        run(folder, teach, "-m", "nbgrader", "generate_assignment", stem)
    return folder


@pytest.fixture(scope="module")
def otter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("otter")
    build(list(STEMS), folder, "otter", "clear")
    return folder


def test_the_student_version_of_nbgrader_has_no_answers(nbgrader: Path) -> None:
    for number, stem in STEMS.items():
        student = cells.read(nbgrader / "student" / stem / f"{stem}.ipynb")
        source = cells.read(nbgrader / "instructor" / stem / f"{stem}.ipynb")
        stubs = answered(source, number, [])
        assert [cell.source for cell in student.cells] == [cell.source for cell in stubs.cells]
        assert (nbgrader / "student" / stem / "images").is_dir()


def hand_in(release: Path, stem: str, student: str, change: Callable[[NotebookNode], NotebookNode]) -> Path:
    """Put a student's notebook, made from the student version, where nbgrader expects it; return its path."""
    [given] = (release / "student").rglob(f"{stem}.ipynb")
    path = release / "submitted" / student / stem / f"{stem}.ipynb"
    path.parent.mkdir(parents=True)
    cells.write(change(cells.read(given)), path)
    return path


RIGHT: dict[str, tuple[int, Callable[[list[str]], list[str]]]] = {  # student: chapter, and what is right
    "right": (1, lambda names: names),
    "untouched": (1, lambda names: []),
    "four": (1, lambda names: list(FOUR)),
    "all": (3, lambda names: names),
    "half": (3, lambda names: names[::2]),
}


def test_all_three_give_the_same_scores(teach: str, nbgrader: Path, otter: Path) -> None:
    expected: Scores = {}
    theirs: Scores = {}
    for student, (number, choose) in RIGHT.items():
        points = read_release(nbgrader).chapters[number].exercises
        right, stem = choose(list(points)), STEMS[number]
        expected[student] = {name: points[name] * (name in right) for name in points}
        hand_in(nbgrader, stem, student, partial(answered, number=number, right=right))
        path = hand_in(otter, stem, student, partial(answered, number=number, right=right))
        theirs[student] = otter_scores(teach, otter, stem, path)
    assert theirs == expected
    assert nbgrader_scores(teach, nbgrader, STEMS[1]) | nbgrader_scores(teach, nbgrader, STEMS[3]) == expected
    for release in (nbgrader, otter):
        ours = by_student(our_rows(release))
        assert {student: ours[student] for student in RIGHT} == expected


WRONG = "def softmax(x):\n    return x"
Change = Callable[[NotebookNode], None]


def answer(source: str) -> Change:
    """Change the answer to the exercise `softmax`."""

    def change(notebook: NotebookNode) -> None:
        next(filter(cells.is_exercise, notebook.cells)).source = source

    return change


def above(source: str) -> Change:
    """Add a cell of the student's own above everything."""
    return lambda notebook: notebook.cells.insert(0, nbformat.v4.new_code_cell(source))


def grade_cell(change: Callable[[list[NotebookNode], int], object]) -> Change:
    """Change the cells around the one with which nbgrader gives the points of `softmax`."""

    def changed(notebook: NotebookNode) -> None:
        ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
        change(notebook.cells, ids.index("grade-softmax"))

    return changed


PATCHED = (
    "from bertlearn.course.exercise import Result\nResult.ok = property(lambda self: True, lambda *x: None)"
)
REPLACED = "import bertlearn.course.grading as g\nfrom types import SimpleNamespace\n"
REPLACED += "g.check_answer = lambda *values: SimpleNamespace(ok=True)"
OWN_CHECK = "class check:\n    softmax = staticmethod(lambda answer: 'right')\n\n"
OWN_CHECK += (
    "def check_answer(*values):\n    return SimpleNamespace(ok=True)\nfrom types import SimpleNamespace"
)
TAKEN = (
    "def softmax(x):\n    from bertlearn.course.solutions import attention\n    return attention.softmax(x)"
)
HIDDEN = "import os\ndef softmax(x):\n    modules = getattr(os, 's' + 'ys').modules\n"
HIDDEN += "    return modules['bert' + 'learn.course.solutions.attention'].softmax(x)"
EQUAL = "class Equal:\n    def __eq__(self, other):\n        return True\n\n"
EQUAL += "def softmax(x):\n    return Equal()"
REWRITE = "get_ipython().input_transformers_post.append("
REWRITE += "lambda lines: [line.replace('assert result.ok', 'pass') for line in lines])"

CHEATS: dict[str, tuple[Change, bool]] = {  # and whether it can be tried with otter
    "The answer returns the course's solution": (answer(TAKEN), True),
    "The same, with the names put together from pieces": (answer(HIDDEN), True),
    "The answer returns an object that equals everything": (answer(EQUAL), True),
    "A cell gives the names `check` and `check_answer` to functions of its own": (above(OWN_CHECK), True),
    "A cell replaces `check_answer` inside the package": (above(REPLACED), True),
    "A cell makes `Result.ok` always true": (above(PATCHED), True),
    "A cell takes the asserts out of the cells that run after it": (above(REWRITE), False),
    "The test cell is tagged `skip-execution`": (
        grade_cell(lambda made, at: made[at].metadata.update(tags=["skip-execution"])),
        False,
    ),
    "The test cell is edited": (grade_cell(lambda made, at: made[at].update(source="pass")), False),
    "The test cell is deleted": (grade_cell(lambda made, at: made.pop(at)), False),
    "The test cell is copied": (
        grade_cell(lambda made, at: made.insert(at, nbformat.from_dict({**made[at], "id": "copy"}))),
        False,
    ),
}


def points(scores: Mapping[str, float] | None) -> str:
    if not scores or scores.get("softmax") is None:
        return "refused"
    return "**full points**" if scores["softmax"] else "0 points"


def test_the_cheats_pass_as_the_table_says(teach: str, nbgrader: Path, otter: Path) -> None:
    stem, students = STEMS[1], {f"cheat_{i}": name for i, name in enumerate(CHEATS)}
    theirs = {}
    for student, name in students.items():
        change, in_otter = CHEATS[name]

        def cheat(notebook: NotebookNode, change: Change = change) -> NotebookNode:
            answer(WRONG)(notebook)
            change(notebook)
            return notebook

        hand_in(nbgrader, stem, student, cheat)
        if in_otter:
            theirs[student] = otter_scores(teach, otter, stem, hand_in(otter, stem, student, cheat))
    autograded, ours = nbgrader_scores(teach, nbgrader, stem), our_rows(nbgrader)
    flagged = {row.student for row in ours if row.exercise == "softmax" and row.flag and row.attempted}
    measured = {
        name: [
            points(autograded.get(student)),
            points(theirs[student]) if student in theirs else "–",
            points(by_student(ours)[student]) + (", flagged" if student in flagged else ""),
        ]
        for student, name in students.items()
    }
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \| (.*) \|$", TEXT.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: verdicts for name, *verdicts in rows if name in CHEATS} == measured
