"""Run, normalize and check the course's notebooks.

python tools/notebooks.py run notebooks/01_attention.ipynb      execute in place, keep outputs, normalize
python tools/notebooks.py run --measure notebooks/*.ipynb       also store run time and memory in the notebook
python tools/notebooks.py solve 01_attention.ipynb out.ipynb    fill in the solutions (without executing)
python tools/notebooks.py check notebooks/*.ipynb               report what must not be committed
python tools/notebooks.py page 01_attention.ipynb out.html      write a page that needs no network
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbformat import NotebookNode

from bertlearn.course.cells import (
    bound,
    code_cells,
    functions,
    is_exercise,
    names_read,
    read,
    solutions_of,
    solved,
    tags,
    write,
)
from bertlearn.course.doctor import probe_seconds

KEPT_METADATA = ("bertlearn",)
PREDICTION = "prediction"  # the tag of a cell whose result the reader is asked to guess first
CHECKED = "# Numbers above, checked"  # begins a cell that is folded; JupyterLab shows this line of it
ANSWER = "answer"  # with it, the cell's code is folded as well: it would give the result away
WIDGET = "application/vnd.jupyter.widget-view+json"  # without a running kernel it would be an empty box
MAX_IGNORED = 0.1  # of the code cells
# What a chapter may hold, so that a reader comes through it.
MAX_LINES = 15  # of a code cell
MAX_WIDTH = 88  # characters of a line of code
MAX_CELLS = 150
MAX_WORDS = 4500  # of Markdown; see `words`


def execute(notebook: NotebookNode, folder: Path, timeout: int = 900) -> tuple[float, float]:
    """Run every cell in place; return the seconds and the kernel's peak memory in MB.

    Outputs are the same in every run: progress bars that appear only when a step is slow are off, and the
    kernel starts without any learner's exercises and guesses.
    """
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        coalesce_streams=True,  # otherwise the number of outputs would depend on timing
        resources={"metadata": {"path": folder}},
    )
    peak, done = [0.0], threading.Event()
    monitor = threading.Thread(target=_monitor_memory, args=(client, peak, done), daemon=True)
    monitor.start()
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as progress:
            client.execute(env=os.environ | {"BERTLEARN_PATIENCE": "inf", "BERTLEARN_PROGRESS": progress})
    finally:
        done.set()
    return time.monotonic() - started, peak[0]


def _monitor_memory(client: NotebookClient, peak: list[float], done: threading.Event) -> None:
    while not done.wait(0.2):
        try:
            pid = client.km.provisioner.pid  # known once the kernel runs
            peak[0] = max(peak[0], psutil.Process(pid).memory_info().rss / 1e6)
        except (AttributeError, psutil.Error):
            continue


def normalize(notebook: NotebookNode) -> None:
    """Drop what changes from run to run, so that an unchanged notebook gives no diff.

    A cell tagged `prediction` gets the metadata that fold its output until a reader runs it, and a first
    output without content: where outputs are folded, JupyterLab shows the first line of the first one.
    """
    kept = {key: value for key, value in notebook.metadata.items() if key in KEPT_METADATA}
    notebook.metadata = nbformat.from_dict(kept)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.nbformat_minor = 5
    count, seen = 0, set()
    for cell in notebook.cells:
        cell["id"] = _stable_id(cell.source, seen)
        cell.metadata = nbformat.from_dict(_kept_metadata(cell))
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = [output for output in cell.outputs if not _is_dropped(output, cell)]
            if PREDICTION in tags(cell) and cell.outputs:
                cell.outputs.insert(0, nbformat.v4.new_output("display_data"))
            for output in cell.outputs:
                if "execution_count" in output:
                    output["execution_count"] = count


def _kept_metadata(cell: NotebookNode) -> dict[str, object]:
    """Return a cell's tags, and what folds its output or its code.

    JupyterLab folds an output that is `outputs_hidden`, and unfolds it when the cell is run. `collapsed`
    is the older name, which other readers know. Code that is `source_hidden` stays folded until clicked.
    """
    kept: dict[str, object] = {key: value for key, value in cell.metadata.items() if key == "tags"}
    if cell.cell_type != "code":
        return kept
    prediction = PREDICTION in tags(cell)
    folded = {"outputs_hidden": True} if prediction else {}
    if (prediction and ANSWER in tags(cell)) or is_checked(cell):
        folded["source_hidden"] = True
    return kept | ({"collapsed": True} if prediction else {}) | ({"jupyter": folded} if folded else {})


def is_checked(cell: NotebookNode) -> bool:
    """Return whether a cell only checks numbers; its code, which tells what to guess, is folded."""
    return cell.source.startswith(CHECKED)


def _is_dropped(output: NotebookNode, cell: NotebookNode) -> bool:
    """Return whether an output has no content, or is a live widget view that adds nothing to the rest.

    The course's widgets emit the live view and a still picture as separate outputs. A progress bar has both
    in one output, which is dropped only where outputs are not compared.
    """
    data = output.get("data", {})
    empty = output.output_type == "display_data" and not data
    return empty or (WIDGET in data and (len(data) == 1 or "nbval-ignore-output" in tags(cell)))


def _stable_id(source: str, seen: set[str]) -> str:
    """Return an id derived from the cell's text, so that adding a cell changes no other cell's id."""
    identity = name = hashlib.sha256(source.encode()).hexdigest()[:8]
    while identity in seen:
        identity = f"{name}-{len(seen)}"
    seen.add(identity)
    return identity


def only_checks(notebook: NotebookNode) -> NotebookNode:
    """Return a copy with the exercises, their checks, and only those other code cells that they need.

    A cell is needed if it binds or changes a name that a needed cell below it reads. nbval runs the other
    cells as they are; running them again with the solutions would take minutes and test nothing new.
    """
    copy = nbformat.from_dict(notebook)
    exercises = {name for cell in filter(is_exercise, copy.cells) for name in functions(cell)}
    own = {name for cell in code_cells(copy) for name in _own_modules(ast.parse(cell.source))}
    kept, needed = [], set[str]()
    for cell in reversed(code_cells(copy)):
        tree = ast.parse(cell.source)
        binds, changes, reads = bound(tree), _changed(tree), names_read(tree)
        if is_exercise(cell) or reads & exercises or (binds | (changes - own)) & needed:
            kept.append(cell)
            needed = (needed - binds) | (reads - exercises)
    copy.cells = kept[::-1]
    return copy


def _own_modules(tree: ast.Module) -> set[str]:
    """Return the names imported from the package: a call of its functions changes no module."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bertlearn")
        for alias in node.names
    }


def _changed(tree: ast.Module) -> set[str]:
    """Return the names whose objects a cell writes to, or calls a method on for its side effect."""
    names = set[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                names.add(_root(node))
            case ast.Expr(value=ast.Call(func=ast.Attribute() as method)):
                names.add(_root(method))
    return names


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def find_faults(notebook: NotebookNode, name: str) -> list[str]:
    """List what must be fixed before a notebook is committed."""
    faults = []
    cells = code_cells(notebook)
    if any(cell.execution_count is None for cell in cells):
        faults.append("a code cell was never run")
    if any(output.output_type == "error" for cell in cells for output in cell.outputs):
        faults.append("an output is an error")
    if any(output.get("name") == "stderr" for cell in cells for output in cell.outputs):
        faults.append("an output is on stderr")
    ignored = sum("nbval-ignore-output" in tags(cell) for cell in cells)
    if ignored > MAX_IGNORED * len(cells):
        faults.append(f"{ignored} of {len(cells)} code cells ignore their output")
    faults += _size_faults(notebook) + _prediction_faults(cells) + _guess_faults(cells)
    faults += [
        f"cell {c.execution_count} ends in a semicolon" for c in cells if c.source.rstrip().endswith(";")
    ]
    if re.search(r"/(tmp|work|root|home)/\w", nbformat.writes(notebook)):
        faults.append("a path of the machine it ran on")
    fresh = nbformat.from_dict(notebook)
    normalize(fresh)
    if nbformat.writes(fresh) != nbformat.writes(notebook):
        faults.append("not normalized: run it through tools/notebooks.py")
    return [f"{name}: {fault}" for fault in faults]


def _size_faults(notebook: NotebookNode) -> list[str]:
    faults = []
    if len(notebook.cells) > MAX_CELLS:
        faults.append(f"{len(notebook.cells)} cells, more than {MAX_CELLS}")
    if (count := words(notebook)) > MAX_WORDS:
        faults.append(f"{count} words, more than {MAX_WORDS}")
    for cell in code_cells(notebook):
        lines = cell.source.splitlines()
        if len(lines) > MAX_LINES:
            faults.append(f"cell {cell.execution_count} has over {MAX_LINES} lines")
        if (width := max(map(len, lines))) > MAX_WIDTH:
            faults.append(f"cell {cell.execution_count} has a line of {width} characters, over {MAX_WIDTH}")
    return faults


def words(notebook: NotebookNode) -> int:
    """Return the number of Markdown words that are read: no code, pictures, addresses, labels of folds.

    The words of a table count as others do; its rules do not.
    """
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    text = re.sub(r"^ *(```|~~~).*?^ *\1", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<details><summary>.*?</summary>|</details>", "", text)
    text = re.sub(r"!\[.*?\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return sum(any(map(str.isalnum, word)) for word in re.split(r"[\s|]+", text))


def _prediction_faults(cells: list[NotebookNode]) -> list[str]:
    """A prediction cell shows its result, and no assert in plain sight gives it away, there or just below."""
    faults = []
    for cell, above in zip(cells, [None, *cells], strict=False):
        if is_checked(cell):
            if cell.outputs or not _has_assert(cell):
                wrong = "is folded as a check, but asserts nothing or shows something"
                faults.append(f"cell {cell.execution_count} {wrong}")
        elif _shows_result(above) and _has_assert(cell) and ANSWER not in tags(cell):
            faults.append(f"cell {cell.execution_count} asserts in plain sight, just below a guess")
        if PREDICTION in tags(cell):
            if not cell.outputs:
                faults.append(f"cell {cell.execution_count} is a prediction without an output")
            if _has_assert(cell) and ANSWER not in tags(cell):
                faults.append(f"cell {cell.execution_count} is a prediction with an assert")
    return faults


def _shows_result(cell: NotebookNode | None) -> bool:
    return cell is not None and any(method == "result" for method, _ in _guess_calls(cell))


def _has_assert(cell: NotebookNode) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source)))


def _guess_faults(cells: list[NotebookNode]) -> list[str]:
    """A guess has a name of its own, and its result is shown once, further down, in a prediction cell."""
    faults, asked, shown = [], list[str](), list[str]()
    for cell in cells:
        for method, name in _guess_calls(cell):
            if method == "result":
                faults += [] if name in asked else [f"a result is shown before its guess {name!r} is asked"]
                faults += [f"the result of {name!r} is shown twice"] if name in shown else []
                faults += [] if PREDICTION in tags(cell) else [f"the result of {name!r} is in no prediction"]
            elif name in asked:
                faults.append(f"the guess {name!r} is asked twice")
            (shown if method == "result" else asked).append(name)
    return faults + [f"the guess {name!r} has no result" for name in asked if name not in shown]


def _guess_calls(cell: NotebookNode) -> list[tuple[str, str]]:
    """Return the calls guess.number("name", …), choice, curve and result of a cell: method and name."""
    calls = []
    for node in ast.walk(ast.parse(cell.source)):
        match node:
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Name(id="guess"), attr="number" | "choice" | "curve" | "result" as method
                ),
                args=[ast.Constant(value=str() as name), *_],
            ):
                calls.append((method, name))
    return calls


def run(paths: list[Path], measure: bool) -> None:
    for path in paths:
        notebook = read(path)
        before = probe_seconds() if measure else 0.0
        seconds, megabytes = execute(notebook, path.parent)
        if measure:
            notebook.metadata["bertlearn"] = {
                "seconds": round(seconds),
                "memory_mb": int(round(megabytes, -1)),
                "probe_seconds": round((before + probe_seconds()) / 2, 4),
            }
        normalize(notebook)
        write(notebook, path)
        print(f"{path.name}: {seconds:.0f} s, {megabytes:.0f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("run", "check"):
        commands.add_parser(command).add_argument("paths", nargs="+", type=Path)
    commands.choices["run"].add_argument(
        "--measure", action="store_true", help="also store run time and memory in the notebook"
    )
    for command in ("solve", "page"):
        commands.add_parser(command).add_argument("notebook", type=Path)
        commands.choices[command].add_argument("out", type=Path)
    args = parser.parse_args()
    if args.command == "run":
        run(args.paths, args.measure)
    elif args.command == "solve":
        write(solved(read(args.notebook), solutions_of(args.notebook.stem)), args.out)
    elif args.command == "page":
        from notebook_page import page  # nbconvert takes a second to import

        args.out.write_text(page(read(args.notebook), args.notebook.parent), encoding="utf-8", newline="\n")
    else:
        faults = [fault for path in args.paths for fault in find_faults(read(path), path.name)]
        print("\n".join(faults) or "all notebooks are ready to commit")
        return bool(faults)
    return 0


if __name__ == "__main__":
    sys.exit(main())
