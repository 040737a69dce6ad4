"""Links of notebooks that move to another folder: what they link comes along, or the link becomes text."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode

from bertlearn.course import cells
from bertlearn.course.links import relink, targets

FOLDERS = {".svg": "images", ".png": "images", ".webp": "images", ".md": "docs"}  # where they are copied


def write_notebooks(notebooks: Mapping[Path, NotebookNode], folder: Path) -> None:
    """Write notebooks into a folder, with the pictures and pages that they link; other links become text.

    Args:
        notebooks: by the path of each notebook's source, from which its links start.
        folder: created if it does not exist.
    """
    places = {source: PurePosixPath(source.name) for source in notebooks}
    for source, notebook in notebooks.items():
        for target in targets(_markdown(notebook), source):
            if target not in places and target.suffix in FOLDERS and target.is_file():
                places[target] = PurePosixPath(FOLDERS[target.suffix], target.name)
    for source, place in places.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if source in notebooks:
            cells.write(_relinked(notebooks[source], source, places), path)
        elif source.suffix == ".md":
            text = relink(source.read_text(encoding="utf-8"), source, places)
            path.write_text(text, encoding="utf-8", newline="\n")
        else:
            shutil.copyfile(source, path)


def _relinked(notebook: NotebookNode, source: Path, places: Mapping[Path, PurePosixPath]) -> NotebookNode:
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, source, places)
    return copy


def _markdown(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
