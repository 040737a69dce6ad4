"""A release: the chapters that a class is given, their exercises and points, in `release.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bertlearn.course.grading.checks import checks_of
from bertlearn.files import write_whole

FORMAT = "bertlearn release 1"
NAME = "release.json"


@dataclass(frozen=True)
class ReleasedChapter:
    """A chapter's notebook, and the points of its exercises in their order."""

    notebook: str  # its name, without .ipynb
    exercises: Mapping[str, int]


@dataclass(frozen=True)
class Release:
    """What a class is given: chapters by number, from one version of the package."""

    version: str
    chapters: Mapping[int, ReleasedChapter]


def write_release(release: Release, folder: Path) -> None:
    """Write `release.json` into a folder."""
    text = json.dumps({"format": FORMAT, **asdict(release)}, indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / NAME, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))


def is_release(folder: Path) -> bool:
    """Return whether a folder has a release, of this version or another."""
    try:
        return bool(json.loads((folder / NAME).read_text(encoding="utf-8"))["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def read_release(folder: Path) -> Release:
    """Read the release in a folder.

    Raises:
        ValueError: the folder has none that this version of the package can grade.
    """
    path, remedy = folder / NAME, "make one with `bertlearn course build`"
    if not path.is_file():
        raise ValueError(f"{folder} is no release: it has no {NAME}; {remedy}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
        release = Release(
            str(content["version"]), {int(k): _chapter(v) for k, v in content["chapters"].items()}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} cannot be used ({type(error).__name__}: {error}); {remedy}") from error
    _check_exercises(release, path)
    return release


def _chapter(content: Mapping[str, object]) -> ReleasedChapter:
    notebook, exercises = content["notebook"], content["exercises"]
    if not isinstance(notebook, str) or not isinstance(exercises, dict):
        raise ValueError("a chapter needs the name of a notebook, and exercises with points")
    for name, points in exercises.items():
        if type(points) is not int or points < 1:
            raise ValueError(f"{name} has {points!r} points, expected a whole number from 1 on")
    return ReleasedChapter(notebook, exercises)


def _check_exercises(release: Release, path: Path) -> None:
    for number, chapter in release.chapters.items():
        unknown = sorted(chapter.exercises.keys() - checks_of(number).keys())
        if unknown:
            raise ValueError(
                f"{path} is a release of bertlearn {release.version}, and this version has no exercise "
                f"{unknown[0]!r} in chapter {number}; grade with that version, or build the release again"
            )
