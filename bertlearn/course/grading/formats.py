"""Notebooks and tests for other graders: nbgrader and otter.

Both run a whole notebook, with the answers, in one kernel. So cells that grading does not need are tagged
`skip-execution`, which those graders obey and JupyterLab ignores. Both check an answer by `check_answer`, so
that all graders agree; the chapter's own check, just below each answer, stays as it is, with its hints.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from bertlearn.course import cells

NBGRADER_CONFIG = "nbgrader_config.py"
SKIP = "skip-execution"
STUB = "raise NotImplementedError"
DEFINES = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


def skip_what_grading_does_not_need(notebook: NotebookNode, stem: str) -> None:
    """Tag the code cells that no answer needs.

    What is left: the answers, cells that only define something, and those that import what the course's
    own answers use. A student's own cells have no tag, and run.
    """
    filled = cells.solved(notebook, cells.solutions_of(stem))
    answers = [cell for each in (notebook, filled) for cell in each.cells if cells.is_exercise(cell)]
    used = {name for cell in answers for name in cells.names_read(ast.parse(cell.source))}
    for cell in cells.code_cells(notebook):
        tree = ast.parse(cell.source)
        if not (cells.is_exercise(cell) or _only_defines(tree) or cells.bound(tree) & used):
            cell.metadata["tags"] = [*cells.tags(cell), SKIP]


def _only_defines(tree: ast.Module) -> bool:
    """Return whether a cell has nothing but imports, functions, classes and constants."""
    return all(
        isinstance(node, DEFINES)
        or (isinstance(node, ast.Assign) and not cells.names_read(ast.Module([node], [])))
        for node in tree.body
    )


def nbgrader_source(
    notebook: NotebookNode, chapter: int, stem: str, exercises: Mapping[str, int]
) -> NotebookNode:
    """Return a notebook for `nbgrader generate_assignment`, with the solutions in its solution regions.

    Below each answer and the chapter's own check comes a locked cell that gives the points. It fails until
    the answer is right; the tag lets JupyterLab go on with the cells below.
    """
    text = cells.solutions_of(stem).read_text(encoding="utf-8")
    made, waiting = list[NotebookNode](), list[str]()
    for cell in nbformat.from_dict(notebook).cells:
        made.append(cell)
        if cells.is_exercise(cell):
            waiting = cells.functions(cell)
            cell.source = _with_regions(cell.source, text)
            cell.metadata["nbgrader"] = _nbgrader(f"answer-{'-'.join(waiting)}", solution=True)
        elif cell.cell_type == "code" and waiting:
            made += [_grade_cell(chapter, name, exercises[name]) for name in waiting if name in exercises]
            waiting = []
    return nbformat.from_dict({**notebook, "cells": made})


def _nbgrader(name: str, **values: object) -> dict[str, object]:
    usual = {"schema_version": 3, "grade": False, "solution": False, "locked": False, "task": False}
    return {**usual, "grade_id": name, **values}


def _grade_cell(chapter: int, name: str, points: int) -> NotebookNode:
    cell = nbformat.v4.new_code_cell(
        f"# Gives the {'point' if points == 1 else f'{points} points'} of `{name}`. "
        "For a hint, use the check above.\n"
        "from bertlearn.course.grading import check_answer\n\n"
        f'result = check_answer({chapter}, "{name}", {name})\n'
        "print(result)\n"
        "assert result.ok",
        id=f"grade-{name}"[:64],
    )
    cell.metadata["tags"] = ["raises-exception"]
    cell.metadata["nbgrader"] = _nbgrader(f"grade-{name}", grade=True, locked=True, points=points)
    return cell


def _with_regions(stub: str, solutions: str) -> str:
    """Return a cell of stubs in which each `raise NotImplementedError` is the solution, between marks."""
    lines = stub.splitlines()
    for function in reversed([node for node in ast.parse(stub).body if isinstance(node, ast.FunctionDef)]):
        last = function.body[-1]
        indent = " " * last.col_offset
        region = [
            f"{indent}### BEGIN SOLUTION",
            *_body(function.name, solutions),
            f"{indent}### END SOLUTION",
        ]
        lines[last.lineno - 1 : last.end_lineno] = region
    return "\n".join(lines)


def _body(name: str, solutions: str) -> list[str]:
    """Return the lines of a solution below its docstring, comments included."""
    [function] = [
        node for node in ast.parse(solutions).body if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    docstring = function.body[0].end_lineno
    return solutions.splitlines()[docstring : function.end_lineno]


def write_nbgrader_config(folder: Path, keep_outputs: bool) -> None:
    """Write the settings with which nbgrader works in a release's folder."""
    (folder / NBGRADER_CONFIG).write_text(
        '"""Settings of nbgrader for this release; run nbgrader in this folder."""\n\n'
        "import os\nfrom pathlib import Path\n\n"
        'c = get_config()\nc.CourseDirectory.course_id = "bertlearn"\n'
        'c.CourseDirectory.source_directory = "instructor"\n'
        'c.CourseDirectory.release_directory = "student"\n'
        f'c.ClearSolutions.code_stub = {{"python": "{STUB}"}}\n'
        f"c.ClearOutput.enabled = {not keep_outputs}\n"
        "c.OverwriteCells.add_missing_cells = True  # a deleted test counts as failed, not as absent\n"
        "c.Execute.timeout = 300  # seconds for each cell\n"
        "# What students solve is not what you have solved.\n"
        'os.environ["BERTLEARN_PROGRESS"] = str(Path(__file__).resolve().parent / ".progress")\n',
        encoding="utf-8",
        newline="\n",
    )


def write_otter_tests(chapter: int, exercises: Mapping[str, int], folder: Path) -> None:
    """Write a test for each exercise, from which `otter generate` makes an autograder."""
    (folder / "tests").mkdir(parents=True)
    for name, points in exercises.items():
        (folder / "tests" / f"{name}.py").write_text(
            "import os\n\nfrom bertlearn.course.grading import check_answer\n"
            "from otter.test_files import test_case\n\n"
            f'OK_FORMAT = False\n\nname = "{name}"\npoints = {points}\n'
            'os.environ["BERTLEARN_PROGRESS"] = os.path.abspath("progress")  # not your own\n\n\n'
            f"@test_case()\ndef test_{name}({name}):\n"
            f'    result = check_answer({chapter}, "{name}", {name})\n'
            "    assert result.ok, str(result)\n",
            encoding="ascii",
            newline="\n",
        )
    (folder / "otter_config.json").write_text('{"show_stdout": false}\n', encoding="ascii", newline="\n")
