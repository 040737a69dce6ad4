"""The learner's folder: copies of the course's notebooks, brought up to date without touching any work.

A notebook counts as changed when the source of a cell was edited, or cells were added, moved or removed.
Running it changes only its outputs. `.bertlearn.json` in the folder records the course's version of each file
at the last update. So three versions can be compared cell by cell: that one, the learner's, and the new one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bertlearn.files import check_output, write_whole

STATE = ".bertlearn.json"
SHOWN = 4  # sections in a list of changes

Cell = dict[str, Any]
Digests = list[tuple[str, str]]  # id and digest of each cell; any other file counts as one cell


class Step(NamedTuple):
    """What was done with a file of the folder."""

    state: Literal["new", "updated", "kept"]
    name: str
    details: Sequence[str] = ()

    def __str__(self) -> str:
        """Return the step as lines of text."""
        return "\n".join([f"  {self.state:<8} {self.name}", *(f"           {line}" for line in self.details)])


def update_folder(source: Path, folder: Path, version: str) -> list[Step]:
    """Copy the course's files that are new, or have changed in the course and not in the folder.

    A file that changed in both is kept; the new version is put beside it, with its version in its name.

    Args:
        source: the folder with the course's files.
        folder: the learner's folder, which may not exist yet.
        version: of the course.

    Returns:
        What was done, file by file; nothing for files that stay as they are.

    Raises:
        ValueError: the folder cannot be written, or its disk is full.
        OSError: a file could not be read or written. Files written before are whole; call it again.
    """
    names = [path.relative_to(source).as_posix() for path in sorted(source.rglob("*")) if path.is_file()]
    names = [name for name in names if "__pycache__" not in name]  # pip compiles the modules
    check_output(
        folder, sum((source / name).stat().st_size for name in names if not (folder / name).exists())
    )
    recorded = _read_state(folder / STATE)
    steps, state = [], {}
    for name in names:
        new = (source / name).read_bytes()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        steps.append(_update_file(new, folder / name, recorded.get(name), name, version))
        state[name] = _digests(new)
    if state != recorded:
        _write(folder / STATE, json.dumps(state, indent=0).encode())
    return [step for step in steps if step]


def _update_file(new: bytes, own: Path, before: Digests | None, name: str, version: str) -> Step | None:
    """Bring one file up to date; `before` is the course's version at the last update, None if unknown."""
    if not own.exists():
        _write(own, new)
        return Step("new", name)
    mine = own.read_bytes()
    if _same(mine, _digests(new)):
        return None
    if before and _same(mine, before):
        _write(own, new)
        return Step("updated", name)
    if before and _same(new, before):
        return None
    return Step("kept", name, _put_beside(new, own, mine, before or [], version))


def _put_beside(new: bytes, own: Path, mine: bytes, before: Digests, version: str) -> list[str]:
    """Write the new version beside the learner's, with the learner's cells where they fit; describe it."""
    new_cells, my_cells = _cells(new), _cells(mine)
    if not new_cells or not my_cells or not before:
        beside = _write_beside(new, own, version)
        return [f"you changed it; the new version is {beside.name}"]
    notebook = json.loads(new)
    notebook["cells"], carried, left = carry_over(new_cells, my_cells, before)
    merged = json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"
    beside = _write_beside(merged.encode(), own, version)
    return [
        f"you changed it; the new version is {beside.name}; your changed cells in it: {carried} of "
        f"{carried + len(left)}",
        *_sections("not carried over, since the course changed these cells", my_cells, left),
        *_sections("new in the course", new_cells, _unknown(new_cells, before)),
    ]


def carry_over(new: list[Cell], mine: list[Cell], before: Digests) -> tuple[list[Cell], int, list[Cell]]:
    """Put the learner's changed cells into the course's new version.

    A changed cell takes the place of the course's cell with its id, if the course left that one as it was. An
    added cell goes behind the cell that it was behind, or the nearest one before that is still there.

    Args:
        new: the cells of the course's new version.
        mine: the learner's cells.
        before: the course's version that the learner's cells came from.

    Returns:
        The cells of both, how many of the learner's are among them, and those that found no place.
    """
    cells, base, behind, left = list(new), dict(before), "", []
    changed = _unknown(mine, before)
    for cell in mine:
        own_id, ids = cell.get("id", ""), [one.get("id") for one in cells]
        if cell in changed:
            if own_id in ids and _digest(cells[ids.index(own_id)]) == base.get(own_id):
                cells[ids.index(own_id)] = cell
            elif own_id not in base and behind in ids:
                cells.insert(ids.index(behind) + 1, cell)
                ids.append(own_id)
            else:
                left.append(cell)
        behind = own_id if own_id in ids else behind
    return cells, len(changed) - len(left), left


def _unknown(cells: list[Cell], known: Digests) -> list[Cell]:
    """Return the cells whose source is not among those known; empty cells are left out."""
    digests = {digest for _, digest in known}
    return [cell for cell in cells if _digest(cell) not in digests and "".join(cell["source"]).strip()]


def _sections(what: str, cells: list[Cell], wanted: list[Cell]) -> list[str]:
    """Return a line that says in which sections of a notebook the wanted cells are, if there are any."""
    section, counts = "the beginning", Counter[str]()
    for cell in cells:
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^#+ +(.+)", "".join(cell["source"]), re.MULTILINE)
            section = headings[-1].strip() if headings else section
        counts[section] += cell in wanted
    found = [f'"{name}" ({number})' for name, number in (+counts).items()]
    more = f", and {len(found) - SHOWN} more sections" if len(found) > SHOWN else ""
    return [f"{what}: {', '.join(found[:SHOWN])}{more}"] if found else []


def _write_beside(content: bytes, own: Path, version: str) -> Path:
    """Write a new version under the first name that is free, or that has the same cells already."""
    numbers = chain([""], (f"-{number}" for number in count(2)))
    names = (own.with_name(f"{own.stem}-{version}{number}{own.suffix}") for number in numbers)
    beside = next(p for p in names if not p.exists() or _same(p.read_bytes(), _digests(content)))
    if not beside.exists():
        _write(beside, content)
    return beside


def _write(path: Path, content: bytes) -> None:
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def _same(content: bytes, digests: Digests) -> bool:
    """Return whether a file's cells have these sources; their ids, which some editors renew, may differ."""
    return [digest for _, digest in _digests(content)] == [digest for _, digest in digests]


def _digests(content: bytes) -> Digests:
    cells = _cells(content)
    return [(cell.get("id", ""), _digest(cell)) for cell in cells] or [("", _hash(content))]


def _cells(content: bytes) -> list[Cell]:
    """Return the cells of a notebook; none if the content is not one, or is damaged."""
    try:
        cells = json.loads(content)["cells"]
        return [{**cell, "source": "".join(cell["source"])} for cell in cells if cell["cell_type"]]
    except (ValueError, TypeError, LookupError, RecursionError):
        return []


def _digest(cell: Cell) -> str:
    return _hash(f"{cell['cell_type']}\n{cell['source']}".encode("utf-8", "surrogatepass"))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _read_state(path: Path) -> dict[str, Digests]:
    """Return what was recorded; nothing if the record is missing or damaged: then every change is kept."""
    try:
        recorded = json.loads(path.read_bytes())
        return {name: [(str(i), str(digest)) for i, digest in cells] for name, cells in recorded.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
