"""The links between the course's pages, and the folder of pages that the wheel brings.

In the repository, a chapter links to pages and modules outside `notebooks/`. A learner without the repository
gets one folder: the chapters, and in subfolders what they link to. `setup.py` imports this module while the
wheel is built, so it needs the standard library alone.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
from collections.abc import Callable
from pathlib import Path

_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)[^)#\s]+")  # to a file, without an anchor
_PAGES = (".ipynb", ".md")


def change_links(page: Path, change: Callable[[str], str]) -> str:
    """Return the text of a notebook or a Markdown page with its links to files changed.

    Args:
        page: the file; of a notebook, only the Markdown cells are changed.
        change: called with each link, without its anchor; returns the new one.
    """
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return _changed(text, change)
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = [_changed(line, change) for line in "".join(cell["source"]).splitlines(True)]
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def _changed(markdown: str, change: Callable[[str], str]) -> str:
    return _LINK.sub(lambda found: change(found[0]), markdown)


def pack(root: Path, target: Path) -> None:
    """Fill a folder with the chapters and everything that they link to, directly or through other pages.

    Args:
        root: the repository.
        target: the folder, which is emptied first. The chapters are at its top, with links to match.

    Raises:
        ValueError: a link leads to no file.
    """
    shutil.rmtree(target, ignore_errors=True)
    names = [f"notebooks/{path.name}" for path in sorted(root.glob("notebooks/[0-9]*.ipynb"))]
    for name in names:  # the list grows by what each page links to
        copy = target / _place(name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.suffix in _PAGES:
            text, linked = _moved_page(root, name)
            copy.write_text(text, encoding="utf-8", newline="\n")
            names += [other for other in linked if other not in names]
        else:
            shutil.copyfile(root / name, copy)


def _moved_page(root: Path, name: str) -> tuple[str, list[str]]:
    """Return the text of a page with links for its new place, and the files that it links to."""
    linked: dict[str, None] = {}  # in order, and each once

    def moved(link: str) -> str:
        file = posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
        if not (root / file).is_file():
            raise ValueError(f"{name} links to {link}, but {file} is no file; correct the link")
        linked[file] = None
        return posixpath.relpath(_place(file), posixpath.dirname(_place(name)) or ".")

    return change_links(root / name, moved), list(linked)


def _place(name: str) -> str:
    """Return where a file of the repository is in the packed folder.

    Modules are under `source`, since a folder named `bertlearn` would look like the package that is used.
    """
    return f"source/{name}" if name.endswith(".py") else name.removeprefix("notebooks/")
