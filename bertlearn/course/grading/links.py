"""Links of notebooks that move to another folder: what they link comes along, or the link becomes text."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode

from bertlearn.course import cells

# A link or picture whose target is a file beside the notebook, not an address: text, target, place in it.
LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s:#]+\.(?:ipynb|md|py|svg|png|webp))(#[^)\s]*)?\)")
FOLDERS = {".svg": "images", ".png": "images", ".webp": "images", ".md": "docs"}  # where they are copied


def write_notebooks(notebooks: Mapping[Path, NotebookNode], folder: Path) -> None:
    """Write notebooks into a folder, with the pictures and pages that they link; other links become text.

    Args:
        notebooks: by the path of each notebook's source, from which its links start.
        folder: created if it does not exist.
    """
    places = {source: PurePosixPath(source.name) for source in notebooks}
    for source, notebook in notebooks.items():
        for target in _linked(_markdown(notebook), source):
            if target not in places and target.suffix in FOLDERS:
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


def relink(text: str, source: Path, places: Mapping[Path, PurePosixPath]) -> str:
    """Return Markdown with its links to files as they are in their new places.

    Args:
        text: Markdown.
        source: the file that it comes from.
        places: where files have gone, this one too; a link to any other file becomes its text.
    """

    def new(link: re.Match[str]) -> str:
        target = _target(source, link[2])
        if target not in places:
            return link[1]
        away = Path(os.path.relpath(places[target], places[source].parent)).as_posix()
        start, end = link.start(2) - link.start(), link.end(2) - link.start()
        return f"{link[0][:start]}{away}{link[0][end:]}"

    return LINK.sub(new, text)


def _relinked(notebook: NotebookNode, source: Path, places: Mapping[Path, PurePosixPath]) -> NotebookNode:
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, source, places)
    return copy


def _markdown(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def _linked(text: str, source: Path) -> list[Path]:
    """Return the files that a text links and that exist."""
    targets = [_target(source, link[2]) for link in LINK.finditer(text)]
    return [target for target in targets if target.is_file()]


def _target(source: Path, link: str) -> Path:
    return Path(os.path.normpath(source.parent / link))
