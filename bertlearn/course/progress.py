"""What the learner has done so far, kept on the learner's own disk: solved exercises and guesses.

A JSON file for each chapter, in the folder that `BERTLEARN_PROGRESS` names or in the user's data folder. It
is a convenience and never a reason to stop: what cannot be read counts as empty, and what cannot be written
is kept in memory until the kernel ends. A warning says so once.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

from platformdirs import user_data_dir

from bertlearn.files import write_whole

VARIABLE = "BERTLEARN_PROGRESS"
KINDS = ("exercises", "guesses")
_in_memory: dict[Path, dict[str, Any]] = {}  # chapters whose files could not be written
_warned: set[str] = set()


def folder() -> Path:
    """Return the folder of the learner's files, which may not exist yet."""
    named = os.environ.get(VARIABLE)
    if not named:
        return Path(user_data_dir("bertlearn", appauthor=False)) / "progress"
    try:
        return Path(named).expanduser()
    except RuntimeError:  # "~someone" without such a user
        return Path(named)


def load(chapter: int, kind: str) -> dict[str, Any]:
    """Return what was saved for a chapter, or an empty dictionary; it never raises for a damaged file.

    Args:
        chapter: the chapter's number.
        kind: "exercises" or "guesses".

    The caller checks the types inside: anyone may edit the file.
    """
    _check(chapter, kind)
    entries = _chapter(_path(chapter)).get(kind)
    return dict(entries) if isinstance(entries, dict) else {}


def save(chapter: int, kind: str, data: dict[str, Any]) -> None:
    """Keep `data` for a chapter, in place of what was saved under the same kind before.

    Args:
        chapter: the chapter's number.
        kind: "exercises" or "guesses".
        data: what JSON can hold.
    """
    _check(chapter, kind)
    path = _path(chapter)
    content = {**_chapter(path), kind: data}
    text = json.dumps(content, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        _in_memory.pop(path, None)
    except (OSError, ValueError) as error:  # ValueError: a null character in the folder's name
        _in_memory[path] = json.loads(text)
        _warn_once(
            "written",
            f"{path.parent} cannot be written to ({error}); your progress is kept until this "
            f"kernel ends. Set {VARIABLE} to a folder of yours to keep it longer",
        )


def _check(chapter: int, kind: str) -> None:
    if kind not in KINDS or not isinstance(chapter, int):
        raise ValueError(f"chapter={chapter!r}, kind={kind!r}: expected a number, and one of {KINDS}")


def _path(chapter: int) -> Path:
    return folder() / f"chapter_{chapter}.json"


def _chapter(path: Path) -> dict[str, Any]:
    """Return all that is kept for a chapter, empty if there is no file or only a damaged one."""
    if path in _in_memory:
        return _in_memory[path]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        _warn_once("read", f"{path} cannot be read ({error}); this chapter's progress starts anew")
        return {}
    return content if isinstance(content, dict) else {}


def _warn_once(what: str, message: str) -> None:
    if what not in _warned:
        _warned.add(what)
        warnings.warn(message, stacklevel=4)
