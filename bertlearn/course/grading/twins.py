"""Answers that are more alike than chance explains: a question for the teacher, never a mark.

Most answers to an exercise are alike: they are short, and the text before the exercise leads to them. So an
answer is *ordinary* if most of its lines, whatever its variables are called, are those of the published
answer, or of an answer that more than a tenth of the class, and at least three students, wrote. An answer
counts as a twin of another student's only in one of three cases.

- *identical*: equal to the character, comments included. It has comments with at least `WORDS` words that are
  not those of the published answer, or it has more than `LONGER` statements and is not ordinary. Anything
  shorter two people write alike by chance.
- *alike*: equal but for the names of variables, comments and docstrings, with more than `LONG` statements,
  and not ordinary.
- *the same rare mistake*: wrong, no known mistake, equal but for names, with more than `WRONG` statements,
  not ordinary, and in two or three submissions of a class of at least `CLASS`.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from difflib import SequenceMatcher
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bertlearn.course.grading.submission import Submission, SubmissionError, is_stub, read_submission

if TYPE_CHECKING:
    from bertlearn.course.grading.grades import Row

WORDS, LONGER, LONG, WRONG, CLASS = 8, 8, 12, 3, 10
IDENTICAL, RARE, ALIKE = "identical", "the same rare mistake", "alike"  # the most telling first
MOST = 0.7  # of the lines, as difflib counts them
SOLUTIONS = Path(__file__).parents[1] / "solutions"
Place = tuple[str, int | None, str]  # file, chapter, exercise


class Answer(NamedTuple):
    """One answer, and what it is compared by."""

    student: str
    place: Place
    text: str  # as it was written
    structure: str  # without comments and docstrings, its variables numbered
    lines: tuple[str, ...]  # the same, its variables without names
    statements: int
    words: int  # in comments that are not those of the published answer
    wrong: bool  # in a way that is no known mistake


def find_twins(rows: Iterable[Row], submitted: Path) -> dict[Place, str]:
    """Return, for each answer that has twins, whose answers they are and in what way.

    Args:
        rows: the table of grades.
        submitted: the folder with the notebooks; one that is no longer there has no twins.
    """
    exercises: dict[tuple[int | None, str], list[Answer]] = defaultdict(list)
    students: dict[int | None, set[str]] = defaultdict(set)
    for (file, chapter), group in groupby(rows, key=lambda row: (row.file, row.chapter)):
        graded = [row for row in group if row.exercise]
        students[chapter].update(row.student for row in graded)
        for answer in _answers(graded, submitted / file):
            exercises[chapter, answer.place[2]].append(answer)
    found: dict[Place, str] = {}
    for (chapter, exercise), answers in exercises.items():
        found |= _twins(answers, len(students[chapter]), _published(exercise))
    return found


def _answers(rows: Sequence[Row], path: Path) -> Iterator[Answer]:
    """Yield the answers of a notebook that was graded, so that reading it is safe."""
    try:
        submission = read_submission(path, [row.exercise for row in rows]) if rows else None
    except SubmissionError:
        return
    for row in rows:
        with suppress(RecursionError):  # an expression nested a thousand times
            if submission and row.exercise in submission.answers and row.attempted:
                yield _answer(row, submission)


def _answer(row: Row, submission: Submission) -> Answer:
    function, text = submission.answers[row.exercise], submission.texts[row.exercise]
    as_written = "\n".join(line.rstrip() for line in text.splitlines())
    words = sum(len(line.split()) for line in comments(text) if line not in _published_comments())
    wrong = not (row.score or row.mistake or row.flag)
    place = (row.file, row.chapter, row.exercise)
    return Answer(row.student, place, as_written, *outline(function), statements(function), words, wrong)


def _twins(
    answers: Sequence[Answer], students: int, published: Iterable[tuple[str, ...]]
) -> dict[Place, str]:
    """Return the twins in the answers to one exercise, the most telling way first."""
    alike = list(_grouped(answers, lambda answer: answer.structure))
    least = max(3, students // 10 + 1)
    usual = [*published, *(group[0].lines for group in alike if _students(group) >= least)]
    reasons: dict[tuple[Place, str], str] = {}
    for group in _grouped(answers, lambda answer: answer.text):
        own = group[0].statements > LONGER and not _is_ordinary(group[0], usual)
        if group[0].words >= WORDS or own:
            _note(reasons, group, IDENTICAL)
    for group in alike:
        if group[0].statements <= WRONG or _is_ordinary(group[0], usual):
            continue
        if students >= CLASS and _students(group) <= 3 and all(answer.wrong for answer in group):
            _note(reasons, group, RARE)
        if group[0].statements > LONG:
            _note(reasons, group, ALIKE)
    found: dict[Place, list[str]] = defaultdict(list)
    for (place, student), reason in sorted(reasons.items()):
        found[place].append(f"{student} ({reason})")
    return {place: "; ".join(names) for place, names in found.items()}


def _is_ordinary(answer: Answer, usual: Iterable[tuple[str, ...]]) -> bool:
    return any(SequenceMatcher(None, answer.lines, lines, autojunk=False).ratio() >= MOST for lines in usual)


def _grouped(answers: Iterable[Answer], key: Callable[[Answer], str]) -> Iterator[list[Answer]]:
    """Yield the answers of several students that have the same key."""
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[key(answer)].append(answer)
    yield from (group for group in groups.values() if _students(group) > 1)


def _students(group: Iterable[Answer]) -> int:
    return len({answer.student for answer in group})


def _note(reasons: dict[tuple[Place, str], str], group: Sequence[Answer], reason: str) -> None:
    for one in group:
        for other in group:
            if one.student != other.student:
                reasons.setdefault((one.place, other.student), reason)


def outline(function: ast.FunctionDef) -> tuple[str, tuple[str, ...]]:
    """Return a function without comments, docstrings and types: its variables numbered, and without names."""
    tree = ast.parse(ast.unparse(function))
    for node in ast.walk(tree):
        _strip(node)
    own = {name for node in ast.walk(tree) for name in _bound(node)}
    numbers: dict[str, str] = {}
    numbered = _with_names(tree, own, lambda name: numbers.setdefault(name, f"_{len(numbers)}"))
    nameless = _with_names(tree, set(numbers.values()), lambda name: "_")
    return numbered, tuple(line.strip() for line in nameless.splitlines())


def _with_names(tree: ast.AST, own: Collection[str], new: Callable[[str], str]) -> str:
    """Return the code of a tree in which the given names are replaced; the tree changes."""
    for node in ast.walk(tree):
        for field in ("id", "arg", "name"):
            name: str = getattr(node, field, None) or ""
            if name in own and not isinstance(node, ast.keyword | ast.alias):
                setattr(node, field, new(name))
    return ast.unparse(tree)


def _bound(node: ast.AST) -> list[str]:
    """Return the names that a node gives a value inside the function."""
    match node:
        case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name):
            return [name]
        case ast.ExceptHandler(name=str(name)):
            return [name]
    return []


def _strip(node: ast.AST) -> None:
    """Take a docstring and the hints of types away."""
    if isinstance(node, ast.FunctionDef):
        node.returns = None
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    if isinstance(node, ast.arg):
        node.annotation = None


def statements(function: ast.FunctionDef) -> int:
    """Return how many statements a function has, its first line and docstrings not counted."""
    inside = [node for node in ast.walk(function) if isinstance(node, ast.stmt) and node is not function]
    return sum(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in inside)


def comments(text: str) -> list[str]:
    """Return the comments in a piece of Python, without their #."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return []
    return [token.string.lstrip("# ").rstrip() for token in tokens if token.type == tokenize.COMMENT]


@cache
def _published_comments() -> frozenset[str]:
    return frozenset(
        line for path in SOLUTIONS.glob("*.py") for line in comments(path.read_text(encoding="utf-8"))
    )


@cache
def _published(exercise: str) -> frozenset[tuple[str, ...]]:
    """Return the lines of the published answers of that name."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOLUTIONS.glob("*.py")]
    return frozenset(
        outline(node)[1]
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == exercise and not is_stub(node)
    )
