"""The answers in a submitted notebook, found by the names of the exercises.

Neither the position nor the metadata of a cell counts: in a class, cells are copied, moved, merged and
broken. Of each notebook only imports, functions, classes and constants are used; no other line is ever run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat

COURSE = "bertlearn"
OUTSIDE = {
    "sys",
    "importlib",
    "inspect",
    "gc",
    "ctypes",
    "builtins",
    "pkgutil",
    "runpy",
}  # ways to find any code
BUILT_IN = {"__import__", "eval", "exec", "compile", "globals", "__builtins__", "open", "breakpoint"}


class SubmissionError(ValueError):
    """A file is no notebook that can be read; the message says why."""


@dataclass(frozen=True)
class Flag:
    """Something that a teacher should know about an answer: what it is, and the line that shows it."""

    kind: str
    line: str


REFERS, SYNTAX = "refers to the course's own code", "syntax error"


@dataclass(frozen=True)
class Submission:
    """What of a notebook is used: its statements in their order, and which of them are answers."""

    statements: tuple[ast.stmt, ...]  # imports, functions, classes and constants
    answers: dict[str, ast.FunctionDef]  # by exercise
    flags: dict[str, Flag]  # by exercise, those without an answer included
    broken: int  # cells that are no Python
    texts: dict[str, str]  # the answers as they were written, comments included


def read_submission(path: Path, exercises: Collection[str]) -> Submission:
    """Read a notebook and find its answers.

    Args:
        path: an .ipynb file.
        exercises: the names of the functions that are asked for.

    Raises:
        SubmissionError: the file cannot be read as a notebook.
    """
    cells, broken = list[tuple[str, ast.Module]](), dict[str, str]()
    for source in _sources(path):
        try:
            cells.append((source, ast.parse(source)))
        except (
            SyntaxError,
            ValueError,
            RecursionError,
            MemoryError,
        ) as error:  # a null character: ValueError
            broken[source] = (getattr(error, "text", None) or "").strip()[:120]
    statements = tuple(node for _, tree in cells for node in tree.body if _is_used(node))
    functions = {name: _last(statements, name) for name in exercises}
    answers = {name: node for name, node in functions.items() if node is not None}
    suspect = _names_of_the_course(statements)
    defined = {node.name: node for node in statements if isinstance(node, ast.FunctionDef)}
    flags = {name: _import_of(name, statements) or _broken(name, broken) for name in exercises} | {
        name: _reference(node, suspect, defined | answers) for name, node in answers.items()
    }
    found = {name: flag for name, flag in flags.items() if flag}
    texts = {name: _text(node, cells) for name, node in answers.items()}
    return Submission(statements, answers, found, len(broken), texts)


def defined_names(path: Path) -> set[str]:
    """Return the names of the functions that a notebook defines, without running or parsing its code."""
    try:
        return {name for source in _sources(path) for name in re.findall(r"^def (\w+)", source, re.MULTILINE)}
    except SubmissionError:
        return set()


def _sources(path: Path) -> Iterator[str]:
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        yield from [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise SubmissionError(f"{path.name} is no notebook that can be read: {error}") from error
    except nbformat.ValidationError as error:
        raise SubmissionError(f"{path.name} is no valid notebook: {error}") from error


def _is_used(node: ast.stmt) -> bool:
    """Return whether a statement defines something and does nothing else."""
    if isinstance(node, ast.Assign):
        try:
            ast.literal_eval(node.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return False
        return all(isinstance(target, ast.Name) for target in node.targets)
    return isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)


def _last(statements: Collection[ast.stmt], name: str) -> ast.FunctionDef | None:
    """Return the last function of a name that is no stub, else the stub, else None."""
    found = [node for node in statements if isinstance(node, ast.FunctionDef) and node.name == name]
    written = [node for node in found if not is_stub(node)]
    return [None, *found, *written][-1]


def needed_statements(submission: Submission) -> set[int]:
    """Return the ids of the statements that the answers need: a chapter's imports alone take seconds."""
    binding: dict[str, list[ast.stmt]] = {}
    for node in submission.statements:
        for name in _binds(node):
            binding.setdefault(name, []).append(node)
    needed, waiting = set[int](), [*submission.answers.values(), *binding.get("*", [])]
    while waiting:
        node = waiting.pop()
        if id(node) not in needed:
            needed.add(id(node))
            names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            waiting += [each for name in names for each in binding.get(name, [])]
    return needed


def _binds(node: ast.stmt) -> list[str]:
    """Return the names that a statement gives a value."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [(alias.asname or alias.name).partition(".")[0] for alias in names]
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]


def is_stub(function: ast.FunctionDef) -> bool:
    """Return whether a body is at most a docstring and `raise NotImplementedError`, `pass` or `...`."""
    return all(
        isinstance(node, ast.Pass)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Raise) and "NotImplementedError" in ast.unparse(node))
        for node in function.body
    )


def _text(answer: ast.FunctionDef, cells: Collection[tuple[str, ast.Module]]) -> str:
    """Return an answer as it stands in its cell."""
    source = next(source for source, tree in cells if any(node is answer for node in tree.body))
    return ast.get_source_segment(source, answer) or ""


def _names_of_the_course(statements: Collection[ast.stmt]) -> frozenset[str]:
    """Return the names that the notebook's imports bind to the course or to ways to reach it."""
    return frozenset(
        (alias.asname or alias.name).partition(".")[0]
        for node in statements
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if _modules(node) & ({COURSE} | OUTSIDE)
    )


def _modules(node: ast.Import | ast.ImportFrom) -> set[str]:
    """Return the packages that an import names; a relative one could be any, and counts as the course."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {COURSE} if node.level else {(node.module or "").partition(".")[0]}


def _import_of(name: str, statements: Collection[ast.stmt]) -> Flag | None:
    """Return the line that takes a name from the course instead of defining it."""
    for node in statements:
        imports = isinstance(node, ast.Import | ast.ImportFrom) and {name, "*"} & set(_binds(node))
        if imports and _refers(node, frozenset()):
            return Flag(REFERS, _on_one_line(node))
    return None


def _broken(name: str, cells: Mapping[str, str]) -> Flag | None:
    """Return the line at which Python stops to read the cell that would define a function."""
    begin = re.compile(rf"^def {re.escape(name)}\b", re.MULTILINE)
    return next((Flag(SYNTAX, line) for source, line in cells.items() if begin.search(source)), None)


def _reference(
    answer: ast.FunctionDef, suspect: frozenset[str], defined: dict[str, ast.FunctionDef]
) -> Flag | None:
    """Return the first line of an answer, or of a function it calls, that refers to the course's code."""
    seen, waiting = set[str](), [answer]
    while waiting:
        function = waiting.pop()
        for node in ast.walk(function):
            if _refers(node, suspect):
                return Flag(REFERS, _line(function, node))
            if isinstance(node, ast.Name) and node.id in defined and node.id not in seen:
                seen.add(node.id)
                waiting.append(defined[node.id])
    return None


def _refers(node: ast.AST, suspect: frozenset[str]) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom():
            return bool(_modules(node) & ({COURSE} | OUTSIDE))
        case ast.Name(id=name):
            return name in suspect or name in BUILT_IN
        case ast.Attribute(attr=name):
            return name in OUTSIDE or (name.startswith("__") and name not in ("__name__", "__len__"))
        case ast.Constant(value=str() as text):
            return COURSE in text
    return False


def _line(function: ast.FunctionDef, node: ast.AST) -> str:
    """Return the statement, on one line, that a node is in."""
    inside = [each for each in ast.walk(function) if isinstance(each, ast.stmt) and each is not function]
    holding = [each for each in inside if any(child is node for child in ast.walk(each))]
    statement = min(holding, key=lambda each: len(ast.unparse(each)), default=function)
    return _on_one_line(statement)


def _on_one_line(statement: ast.stmt) -> str:
    return " ".join(ast.unparse(statement).split())[:120]
