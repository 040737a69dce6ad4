"""Where the data lie and whether they are what they should be (all chapters).

A file counts only when its sha256 is the one in the table of sources; every loader asks here first.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from platformdirs import user_cache_dir

from bertlearn.data.sources import Member, Source

TEMPORARY = ".fetch-"  # how temporary folders in the cache begin

State = Literal["intact", "missing", "damaged"]


class DataError(RuntimeError):
    """Data could not be fetched or read; the message says what to do about it."""


class Status(NamedTuple):
    """What the cache holds of one source: `size` in bytes on disk, `state` after comparing the checksums."""

    name: str
    state: State
    folder: Path
    size: int


def cache_folder() -> Path:
    """Return the folder of the cached data: `BERTLEARN_CACHE`, or the user's cache directory."""
    chosen = os.environ.get("BERTLEARN_CACHE")
    return Path(chosen).expanduser() if chosen else Path(user_cache_dir("bertlearn", appauthor=False))


def member_path(source: Source, member: Member) -> Path:
    """Return where the cache holds this file."""
    return cache_folder() / source.name / member.name


def is_intact(path: Path, member: Member) -> bool:
    """Say whether the file at `path` is, byte by byte, the one in the table."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == member.sha256


def source_status(source: Source) -> Status:
    """Compare what is cached of one source with the table.

    Returns:
        "missing" if a file is not there, else "damaged" if one is not as it should be, else "intact".
    """
    paths = [(member_path(source, member), member) for member in source.members]
    present = [(path, member) for path, member in paths if path.is_file()]
    state: State = "intact"
    if len(present) < len(paths):
        state = "missing"
    elif not all(is_intact(path, member) for path, member in present):
        state = "damaged"
    size = sum(path.stat().st_size for path, _ in present)
    return Status(source.name, state, cache_folder() / source.name, size)


def damaged_error(source: Source, path: Path) -> DataError:
    """Return the error for a cached file that is not the one in the table."""
    return DataError(
        f"{path} was changed or damaged (its sha256 is not that of {source.package} {source.version}) "
        "and is not loaded; fetch it again with `bertlearn data`, or in Python with "
        f'bertlearn.data.fetch(["{source.name}"])'
    )


@contextmanager
def explain_os_errors(source: Source) -> Iterator[None]:
    """Turn what the disk and the person at the keyboard can do into messages with a remedy."""
    folder = cache_folder()
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped while fetching {source.name}; nothing half-written is left, run the same again to go on"
        ) from None
    except OSError as error:
        raise DataError(f"{source.name}: {_remedy(error, folder)}") from error


def _remedy(error: OSError, folder: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"the disk of {folder} is full; make room, or set BERTLEARN_CACHE to a folder on another disk"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return (
            f"{folder} cannot be read or written by you, and the data are not all in it; let its owner run "
            "`bertlearn data`, or set BERTLEARN_CACHE to a folder of your own"
        )
    return f"{folder} could not be used ({error}); set BERTLEARN_CACHE to another folder"
