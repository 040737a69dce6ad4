"""The cells of a chapter's notebook: which are exercises, what they read, and the solutions filled in."""

from __future__ import annotations

import ast
import re
import symtable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

HEADING = re.compile(r"^#+ .*$", re.MULTILINE)
MINUTES = re.compile(r"^\*(Core|Going deeper) · (\d+) minutes\*$", re.MULTILINE)  # of a part of a chapter
SOLUTIONS = Path(__file__).parent / "solutions"


def read(path: Path) -> NotebookNode:
    """Read a notebook."""
    return nbformat.read(path, as_version=4)


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, in the same bytes on every system."""
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells with code in them."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def tags(cell: NotebookNode) -> list[str]:
    """Return a cell's tags."""
    return cell.metadata.get("tags", [])


def is_exercise(cell: NotebookNode) -> bool:
    """Return whether the learner writes an answer in a cell."""
    return "exercise" in tags(cell)


def functions(cell: NotebookNode) -> list[str]:
    """Return the names of the functions that a cell defines."""
    return [node.name for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef)]


def points(text: str) -> int:
    """Return the points of each exercise below a text: the stars of its last heading, and at least one."""
    return max(1, [text, *HEADING.findall(text)][-1].count("★"))


def is_core(text: str, before: bool) -> bool:
    """Return whether the part that goes on below a text is core; `before`: whether the part above it is."""
    return [before, *(kind == "Core" for kind, _ in MINUTES.findall(text))][-1]


def solutions_of(stem: str) -> Path:
    """Return the file with the solutions to a chapter's exercises: attention.py for 01_attention."""
    return SOLUTIONS / f"{stem.partition('_')[2]}.py"


def solved(notebook: NotebookNode, solutions: Path) -> NotebookNode:
    """Return a copy in which each cell tagged `exercise` holds the solution's functions of the same names."""
    text = solutions.read_text(encoding="utf-8")
    sources = {
        node.name: ast.get_source_segment(text, node)
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }
    copy = nbformat.from_dict(notebook)
    for cell in filter(is_exercise, copy.cells):
        names = functions(cell)
        missing = [name for name in names if name not in sources]
        if missing or not names:
            raise ValueError(
                f"{solutions.name} has no solution for {missing or cell.source.splitlines()[0]!r}"
            )
        cell.source = "\n\n\n".join(sources[name] or "" for name in names)
    return copy


def bound(tree: ast.AST) -> set[str]:
    """Return the names that a cell assigns or imports."""
    table = symtable.symtable(ast.unparse(tree), "cell", "exec")
    return {
        symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()
    }


def names_read(tree: ast.Module) -> set[str]:
    """Return the names that a cell reads before it binds them itself."""
    names, known = set[str](), set[str]()
    for statement in tree.body:
        names |= _read(statement) - _loop_names(statement) - known
        known |= bound(statement)
    return names


def _loop_names(statement: ast.stmt) -> set[str]:
    """Return the names that the statement's loops bind, without what the first one runs over."""
    loops = [node for node in ast.walk(statement) if isinstance(node, ast.For)]
    targets = {node.id for loop in loops for node in ast.walk(loop.target) if isinstance(node, ast.Name)}
    return targets.difference(*(_read(loop.iter) for loop in loops[:1]))


def _read(tree: ast.AST) -> set[str]:
    return _globals(symtable.symtable(ast.unparse(tree), "cell", "exec"))


def _globals(table: symtable.SymbolTable) -> set[str]:
    """Return the global names that a statement, or a function within it, refers to."""
    names = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global())
    }
    return names.union(*map(_globals, table.get_children()))
