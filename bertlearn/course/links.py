"""The links between the course's pages, and the folder of pages that the wheel brings.

In the repository, a chapter links to pages and modules outside `notebooks/`. A learner without the repository
gets one folder: the chapters, and in subfolders what they link to. `setup.py` imports this module while the
wheel is built, so it needs the standard library alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

# A link or picture whose target is a file beside the page, not an address: text, target, place in it.
LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s:#]+\.(?:ipynb|md|py|svg|png|webp))(#[^)\s]*)?\)")


def targets(text: str, source: Path) -> list[Path]:
    """Return the files that Markdown links, whether they exist or not; `source` is the file it is from."""
    return [_target(source, link[2]) for link in LINK.finditer(text)]


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


def _target(source: Path, link: str) -> Path:
    return Path(os.path.normpath(source.parent / link))


def pack(root: Path, target: Path) -> None:
    """Fill a folder with the chapters and everything that they link, directly or through other pages.

    Args:
        root: the repository.
        target: the folder, which is emptied first. The chapters are at its top, with links to match.

    Raises:
        ValueError: a link leads to no file.
    """
    shutil.rmtree(target, ignore_errors=True)
    places = {file: _place(file.relative_to(root)) for file in _linked_files(root)}
    for file, place in places.items():
        copy = target / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".ipynb":
            notebook = json.loads(file.read_text(encoding="utf-8"))
            for cell in notebook["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = relink("".join(cell["source"]), file, places).splitlines(keepends=True)
            text = json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"
            copy.write_text(text, encoding="utf-8", newline="\n")
        elif file.suffix == ".md":
            text = relink(file.read_text(encoding="utf-8"), file, places)
            copy.write_text(text, encoding="utf-8", newline="\n")
        else:
            shutil.copyfile(file, copy)


def _linked_files(root: Path) -> list[Path]:
    """Return the chapters and all that they link."""
    files = sorted(root.glob("notebooks/[0-9]*.ipynb"))
    for file in files:  # the list grows by what each page links
        for target in targets(_markdown(file), file):
            if not target.is_file():
                raise ValueError(f"{file} links to {target}, which is no file; correct the link")
            files += [target] if target not in files else []
    return files


def _markdown(page: Path) -> str:
    """Return the Markdown of a page; none of a file that is not one."""
    if page.suffix not in (".ipynb", ".md"):
        return ""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def _place(file: Path) -> PurePosixPath:
    """Return where a file of the repository is in the packed folder.

    Modules are under `source`, since a folder named `bertlearn` would look like the package that is used.
    """
    if file.suffix == ".py":
        return PurePosixPath("source", *file.parts)
    return PurePosixPath(*file.parts[file.parts[0] == "notebooks" :])
