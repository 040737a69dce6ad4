"""Known mistakes as edits of the solution: a few characters of its source are replaced.

Most mistakes are small changes to the correct answer, so each is written as just that change. `edited`
applies it to the source of the solution's module and compiles the module's functions again, so that the
solution calls the edited version of a helper. What is compiled is kept, because pairs of mistakes share most
of it.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Sequence
from functools import cache
from types import CodeType, ModuleType
from typing import Any, NamedTuple


class Edit(NamedTuple):
    """One replacement in the source of a solution."""

    before: str
    after: str
    function: str = ""  # the function that contains the text; the solution itself if empty
    occurrence: int = 0  # which occurrence, counted from 1; 0 if the text occurs only once


def edited(solution: Callable[..., Any], edits: Sequence[Edit]) -> Callable[..., Any]:
    """Return a copy of a solution with edits applied in order; the solution itself does not change.

    Args:
        solution: a function at the top of its module, whose source can be read.
        edits: what to replace, in the solution or in another function of its module.

    Raises:
        ValueError: a text does not occur, or it occurs more than once and no occurrence is given.
        OSError: the source cannot be read.
    """
    module = sys.modules[solution.__module__]
    sources = dict(_function_sources(module))
    for edit in edits:
        name = edit.function or solution.__name__
        sources[name] = _replaced(sources[name], edit, name)
    scope = dict(vars(module))
    for name, source in sources.items():
        exec(_compiled(name, source), scope)
    return scope[solution.__name__]


@cache
def _compiled(name: str, source: str) -> CodeType:
    return compile(source, f"<{name}, edited>", "exec")


@cache
def _function_sources(module: ModuleType) -> dict[str, str]:
    text = inspect.getsource(module)
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    lines = text.splitlines(keepends=True)
    return {node.name: "".join(lines[_first_line(node) - 1 : node.end_lineno]) for node in functions}


def _first_line(function: ast.FunctionDef) -> int:
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def _replaced(source: str, edit: Edit, name: str) -> str:
    count = source.count(edit.before)
    if count == 0 or edit.occurrence > count or (count > 1 and not edit.occurrence):
        raise ValueError(
            f"{edit.before!r} occurs {count}× in {name}, and occurrence={edit.occurrence}; change the "
            "text, or give the occurrence"
        )
    parts = source.split(edit.before)
    split = max(1, edit.occurrence)
    return edit.before.join(parts[:split]) + edit.after + edit.before.join(parts[split:])
