"""Answers that are more alike than chance explains: a question for the teacher, never a mark.

Most answers to an exercise are alike: they are short, and the text before the exercise leads to them. So an
answer counts as a twin of another student's only in one of three cases.

- *identical*: equal to the character, comments included. It needs comments with `WORDS` words or more that
  are not those of the published answer, or more than `IDENTICAL` statements in an order that is neither that
  of the published answer nor common in the class. Anything shorter two people write alike by chance.
- *alike*: equal but for the names of variables, comments and docstrings, with more than `LONG` statements,
  and neither like the published answer nor common.
- *the same rare mistake*: wrong, no known mistake, equal but for names, with more than `WRONG` statements,
  and in two or three submissions of a class of at least `CLASS`.

An answer is common if more than a tenth of the class, and at least three students, wrote it.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bertlearn.course.grading.submission import Submission, SubmissionError, is_stub, read_submission

if TYPE_CHECKING:
    from bertlearn.course.grading.grades import Row

WORDS, IDENTICAL, LONG, WRONG, CLASS = 8, 5, 12, 3, 10
SOLUTIONS = Path(__file__).parents[1] / "solutions"
Place = tuple[str, int | None, str]  # file, chapter, exercise


class Answer(NamedTuple):
    """One answer, and what it is compared by."""

    student: str
    place: Place
    text: str  # as it was written
    structure: str  # without comments and docstrings, its variables numbered
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
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    words = sum(len(line.split()) for line in comments(text) if line not in _published_comments())
    wrong = not (row.score or row.mistake or row.flag)
    place = (row.file, row.chapter, row.exercise)
    return Answer(row.student, place, lines, structure(function), statements(function), words, wrong)


def _twins(answers: Sequence[Answer], students: int, published: frozenset[str]) -> dict[Place, str]:
    """Return the twins in the answers to one exercise, the most telling way first."""
    alike = _grouped(answers, lambda answer: answer.structure)
    least = max(3, students // 10 + 1)
    common = published.union(key for key, group in alike.items() if _students(group) >= least)
    reasons: dict[tuple[Place, str], str] = {}
    for text_group in _grouped(answers, lambda answer: answer.text).values():
        if _is_telling(text_group[0], common):
            _note(reasons, text_group, "identical")
    for key, group in alike.items():
        if key not in common and group[0].statements > LONG:
            _note(reasons, group, "alike")
        wrong = key not in published and all(answer.wrong for answer in group)
        if wrong and students >= CLASS and _students(group) <= 3 and group[0].statements > WRONG:
            _note(reasons, group, "the same rare mistake")
    found: dict[Place, list[str]] = defaultdict(list)
    for (place, student), reason in sorted(reasons.items()):
        found[place].append(f"{student} ({reason})")
    return {place: "; ".join(names) for place, names in found.items()}


def _is_telling(answer: Answer, common: frozenset[str]) -> bool:
    """Return whether two people hardly write this answer to the character."""
    return answer.words >= WORDS or (answer.statements > IDENTICAL and answer.structure not in common)


def _grouped(answers: Iterable[Answer], key: Callable[[Answer], str]) -> Mapping[str, Sequence[Answer]]:
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[key(answer)].append(answer)
    return groups


def _students(group: Iterable[Answer]) -> int:
    return len({answer.student for answer in group})


def _note(reasons: dict[tuple[Place, str], str], group: Sequence[Answer], reason: str) -> None:
    for one in group:
        for other in group:
            if one.student != other.student:
                reasons.setdefault((one.place, other.student), reason)


def structure(function: ast.FunctionDef) -> str:
    """Return what remains of a function without comments, docstrings, hints of types and its own names."""
    tree = ast.parse(ast.unparse(function))
    for node in ast.walk(tree):
        _strip(node)
    own = {name for node in ast.walk(tree) for name in _bound(node)}
    numbers: dict[str, str] = {}
    for node in ast.walk(tree):
        for field in ("id", "arg", "name"):
            name = getattr(node, field, None)
            if name in own and not isinstance(node, ast.keyword | ast.alias):
                setattr(node, field, numbers.setdefault(name, f"_{len(numbers)}"))
    return ast.dump(tree)


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
def _published(exercise: str) -> frozenset[str]:
    """Return the structures of the published answers of that name."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOLUTIONS.glob("*.py")]
    return frozenset(
        structure(node)
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == exercise and not is_stub(node)
    )
