"""Finding the files that a pattern names, as `glob` does, but without following links below a folder.

A folder that a pattern names is read even if it is a link. The links to folders that `**` meets are not
followed: they may lead back to where they are, without end, or out of the folder.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bertlearn.pretraining.corpus.texts import SkippedRows


def find_files(pattern: Path, skipped: SkippedRows) -> list[Path]:
    """Return the files that a pattern names, in alphabetical order.

    Args:
        pattern: a file, or a pattern with *, ?, [a-z] and ** (any number of folders). Names that begin with a
            dot are found only by a part of the pattern that also begins with one.
        skipped: counts links that are not followed or lead nowhere, folders that cannot be read, and what is
            neither a folder nor a regular file.
    """
    if pattern.is_file():  # even if its name looks like a pattern
        return [pattern]
    parts = pattern.parts[bool(pattern.anchor) :]
    found = set(_expand(Path(pattern.anchor), parts, skipped))
    files = []
    for path in sorted(found, key=str):
        if path.is_file():
            files.append(path)
        elif path.is_symlink() and not path.exists():
            skipped.add("link to a file that does not exist", str(path))
        elif path.exists() and not path.is_dir():
            skipped.add("not a regular file but a pipe, a socket or a device", str(path))
    return files


def _expand(start: Path, parts: Sequence[str], skipped: SkippedRows) -> Iterator[Path]:
    """Yield the paths below `start` that match the parts of a pattern; those without * may not exist."""
    if not parts:
        yield start
        return
    first, *rest = parts
    if first == "**":
        for folder in _folders(start, skipped):
            yield from _expand(folder, rest or ["*"], skipped)
    elif glob.has_magic(first):
        for name in _names(start, skipped):
            if fnmatch(name, first) and (first.startswith(".") or not name.startswith(".")):
                yield from _expand(start / name, rest, skipped)
    else:
        yield from _expand(start / first, rest, skipped)


def _folders(start: Path, skipped: SkippedRows) -> Iterator[Path]:
    """Yield a folder and all folders below it, without hidden ones and without following links."""
    for folder, names, _ in os.walk(start, onerror=lambda error: _report(error, skipped)):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for link in (path for name in names if (path := Path(folder, name)).is_symlink()):
            skipped.add("link to a folder, which is not followed", str(link))
        yield Path(folder)


def _names(folder: Path, skipped: SkippedRows) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        _report(error, skipped)
        return []


def _report(error: OSError, skipped: SkippedRows) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):  # these are simply no matches
        skipped.add(f"folder cannot be read ({type(error).__name__})", str(error.filename))
