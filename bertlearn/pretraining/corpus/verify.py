"""Verifying shards: the checksums in meta.json against every byte on disk, once.

That takes a second for each GB. So the size, time of modification and inode of each verified file are
recorded, in the folder itself or, if that is read-only, in the user's own cache. One process verifies; others
that open the same shards wait for it.
Leaves out: damage to a disk that changes a file without changing its time; `force` finds that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from tqdm.auto import tqdm

from bertlearn.data import own_cache_folder
from bertlearn.files import file_lock, write_whole

RECORD = ".verified.json"  # in a folder of shards: what was verified
SHOWN_AFTER = 2.0  # seconds, before the progress bar appears
_CHUNK = 1 << 24  # bytes read at a time

State = dict[str, list[Any]]  # for each file its size, time of modification, inode, and shard's checksum


class Stored(NamedTuple):
    """One shard on disk: its mapped arrays by path, and their checksums in meta.json."""

    arrays: dict[Path, NDArray[Any]]
    sha256: str  # over the checksums of all arrays
    files: Sequence[str] | None  # the checksum of each array; older folders lack them


def verify(folder: Path, stored: Sequence[Stored], force: bool = False) -> None:
    """Check the contents of all arrays, unless they are remembered as verified.

    Args:
        folder: the folder of shards.
        stored: its shards.
        force: verify even what is remembered.

    Raises:
        ValueError: a file was changed or damaged, or cannot be read; the message names it.
    """
    state = _state(stored)
    records = (folder / RECORD, own_record(folder))
    if not force and any(_read(record) == state for record in records):
        return
    record = next((path for path in records if _can_write(path)), None)
    with nullcontext() if record is None else file_lock(_lock(record)):
        if not force and record is not None and _read(record) == state:
            return  # another process has verified them just now
        size = sum(array.nbytes for shard in stored for array in shard.arrays.values())
        with tqdm(total=size, unit="B", unit_scale=True, desc="verifying shards", delay=SHOWN_AFTER) as bar:
            for shard in stored:
                _verify_shard(shard, bar)
        if record is not None:
            with suppress(OSError):  # a full disk, for example: then the next opening verifies again
                write_whole(record, lambda path: path.write_text(json.dumps(state), encoding="utf-8"))


def own_record(folder: Path) -> Path:
    """Return where a user keeps the record of a folder that can only be read."""
    name = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return own_cache_folder() / "verified" / f"{name}.json"


def _state(stored: Iterable[Stored]) -> State:
    stats = {path: (path.stat(), shard.sha256) for shard in stored for path in shard.arrays}
    return {
        path.name: [stat.st_size, stat.st_mtime_ns, stat.st_ino, sha256]
        for path, (stat, sha256) in stats.items()
    }


def _read(record: Path) -> Any:
    """Return what a record remembers; None if there is none."""
    with suppress(OSError, ValueError):
        return json.loads(record.read_text(encoding="utf-8"))
    return None


def _lock(record: Path) -> Path:
    return record.with_suffix(".lock")


def _can_write(record: Path) -> bool:
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        _lock(record).open("ab").close()
        return True
    return False


def _verify_shard(shard: Stored, bar: tqdm[Any]) -> None:
    digests = [_digest(path, array, bar) for path, array in shard.arrays.items()]
    if hashlib.sha256("".join(digests).encode()).hexdigest() == shard.sha256:
        return
    expected = shard.files or [""] * len(digests)
    damaged = [path for path, one, other in zip(shard.arrays, digests, expected, strict=True) if one != other]
    # If each file is as listed, then the list itself was changed.
    names = " or ".join(str(path) for path in damaged) or str(next(iter(shard.arrays)).with_name("meta.json"))
    raise ValueError(
        f"{names} was changed or damaged after the shards were built: the checksum is not the one expected; "
        "copy the folder again, or build the shards again"
    )


def _digest(path: Path, array: NDArray[Any], bar: tqdm[Any]) -> str:
    """Return the sha256 of the items of an array, read from its file."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            file.seek(path.stat().st_size - array.nbytes)  # behind the header
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                bar.update(len(chunk))
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read to its end ({error}); copy it again, or build the shards again"
        ) from error
    return digest.hexdigest()
