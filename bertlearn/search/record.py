"""What an index says of itself: its model, and how much of its files is complete (chapter 9)."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from bertlearn.files import LOST, read_json, untied_state, write_whole
from bertlearn.model.bert import BertModel
from bertlearn.tokenizer.encoding import SubwordTokenizer

RECORD, LOCK = "index.json", ".lock"
VECTORS, TEXTS, ENDS = "vectors.f16", "texts.utf8", "ends.i64"
PLACES, PLACE_ENDS = "places.utf8", "place_ends.i64"
FILES = (VECTORS, TEXTS, ENDS, PLACES, PLACE_ENDS)
FORMAT = 2


class IndexFolderError(ValueError):
    """A folder is not an index, is damaged, or belongs to another model or other texts."""


@dataclass(frozen=True)
class Record:
    """What is in the files: the number of texts, the size of each file in bytes and its CRC-32."""

    model: str  # see `fingerprint`
    hidden_size: int
    max_length: int
    texts: int = 0
    cut: int = 0  # texts longer than max_length, of which only the beginning is found
    complete: bool = True  # False while texts are added, and after an interruption
    sizes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FILES, 0))
    checksums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FILES, 0))
    format: int = FORMAT


def read_record(folder: Path, new: Record, max_length: int | None) -> Record:
    """Read and check the record of an index; without one, return the new record.

    Args:
        folder: an index, or a folder for one.
        new: what the record of a new index would be.
        max_length: what the user asks for; None if nothing.

    Raises:
        IndexFolderError: another model, another length, damaged files, or a folder of something else.
    """
    if not (folder / RECORD).exists():
        _check_free(folder)
        return new
    record = _parse(folder / RECORD)
    if record.model != new.model:
        raise IndexFolderError(
            f"{folder} was made with another model or tokenizer; open it with that model, or build a new "
            "index in another folder"
        )
    if max_length not in (None, record.max_length):
        raise IndexFolderError(
            f"{folder} was made with max_length={record.max_length}, not {max_length}; leave it out, or "
            "build a new index in another folder"
        )
    for name in FILES:
        _verify(folder / name, record.sizes[name], record.checksums[name])
    return record


def write_record(folder: Path, record: Record) -> None:
    """Replace the record, atomically."""
    written = json.dumps(asdict(record), indent=1) + "\n"
    write_whole(folder / RECORD, lambda path: path.write_text(written, encoding="utf-8"))


def fingerprint(encoder: BertModel, tokenizer: SubwordTokenizer) -> str:
    """Return the sha256 of all that decides which vector a text gets: weights, sizes, tokenizer."""
    settings = list(tokenizer.settings.values())
    digest = sha256(json.dumps([list(tokenizer.vocab), settings]).encode())
    digest.update(json.dumps(asdict(encoder.config), sort_keys=True).encode())
    for name, tensor in sorted(untied_state(encoder).items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_free(folder: Path) -> None:
    """Refuse a folder with files of something else; a build that was killed early may have left some."""
    own = {LOCK, *FILES, LOST, ".DS_Store"}
    if folder.exists() and (
        not folder.is_dir()
        or any(path.name not in own and not _is_unfinished(path) for path in folder.iterdir())
    ):
        raise IndexFolderError(f"{folder} is not an index and not an empty folder; choose another one")


def remove_unfinished(folder: Path) -> None:
    """Remove records that a killed process did not finish writing."""
    for path in folder.iterdir():
        if _is_unfinished(path):
            path.unlink()


def _is_unfinished(path: Path) -> bool:
    return path.name.startswith(f".{RECORD}.")


def _parse(path: Path) -> Record:
    """Return the record of an index."""
    remedy = f"delete {path.parent} and build the index again"
    try:
        content = read_json(path)
    except ValueError as error:
        raise IndexFolderError(f"{path} is damaged: it is no JSON object; {remedy}") from error
    if content.get("format") != FORMAT:
        raise IndexFolderError(f"{path} has format {content.get('format')!r}, expected {FORMAT}; {remedy}")
    try:
        record = Record(**content)
        sound = record.sizes[ENDS] == record.sizes[PLACE_ENDS] == 8 * record.texts
        sound &= record.sizes[VECTORS] == 2 * record.texts * record.hidden_size
        sound &= set(record.sizes) == set(record.checksums) == set(FILES)
    except (TypeError, KeyError):
        sound = False
    if not sound:
        raise IndexFolderError(f"{path} is damaged: its numbers do not fit; {remedy}")
    return record


def _verify(path: Path, size: int, checksum: int) -> None:
    found = path.stat().st_size if path.exists() else 0
    if found < size or _crc(path, size) != checksum:
        what = f"has {found:,} bytes, at least {size:,} expected" if found < size else "has changed"
        raise IndexFolderError(
            f"{path} {what}: the index is damaged; delete {path.parent} and build it again"
        )


def _crc(path: Path, size: int) -> int:
    """Return the CRC-32 of the first `size` bytes of a file."""
    checksum = 0
    with open(path if size else os.devnull, "rb") as file:
        while size:
            part = file.read(min(size, 1 << 22))
            checksum, size = zlib.crc32(part, checksum), size - len(part)
    return checksum
