"""An index of texts on disk, searched by meaning (chapter 9).

An index is a folder with three growing files and a record. `vectors.f16` has one vector of length 1 for each
text, in half precision; `texts.utf8` has the texts, one after the other; `ends.i64` says where each one ends.
What the record `index.json` counts is complete: it is replaced after each block of texts. What lies beyond
it is cut off when a build goes on, so a build that was interrupted is repeated with the same texts, and
continues.

Leaves out: deleting a text, and approximate neighbors. A scan of all vectors is exact.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from bertlearn.arguments import check_count
from bertlearn.files import check_output, file_lock, read_json, untied_state, write_whole
from bertlearn.model.bert import BertModel
from bertlearn.model.inference import check_fit, check_model, sentence_vectors
from bertlearn.tokenizer.inputs import check_filled
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

RECORD, LOCK = "index.json", ".lock"
VECTORS, TEXTS, ENDS = "vectors.f16", "texts.utf8", "ends.i64"
FORMAT = 1
BLOCK = 4096  # texts between two records
SCANNED = 65_536  # vectors in memory at a time during a search


class IndexFolderError(ValueError):
    """A folder is not an index, is damaged, or belongs to another model or other texts."""


class Hit(NamedTuple):
    """A text that was found."""

    row: int  # its position among the texts of the index, from 0
    score: float  # the cosine to the query, −1 to 1
    text: str


@dataclass(frozen=True)
class Record:
    """What is complete: the number of texts, the size of each file in bytes and its CRC-32."""

    model: str  # sha256 of weights and vocabulary
    hidden_size: int
    max_length: int
    texts: int = 0
    sizes: dict[str, int] = field(default_factory=lambda: dict.fromkeys((VECTORS, TEXTS, ENDS), 0))
    checksums: dict[str, int] = field(default_factory=lambda: dict.fromkeys((VECTORS, TEXTS, ENDS), 0))
    format: int = FORMAT


class SearchIndex:
    """Texts and their vectors in a folder.

    Args:
        folder: an index, or a new or empty folder for one.
        encoder: makes the vectors, such as MiniLM; an index belongs to the model that made it.
        tokenizer: the encoder's own.
        max_length: tokens of a text that are read; those beyond are ignored. None for the model's maximum, or
            what the index was made with.

    Attributes:
        record: what is in the folder.

    Raises:
        IndexFolderError: files that are not an index, are damaged, or were made with another model.
        ValueError: another kind of model, or a tokenizer that does not fit it.
        OSError: the folder cannot be read.
    """

    def __init__(
        self,
        folder: str | Path,
        encoder: BertModel,
        tokenizer: WordPieceTokenizer,
        max_length: int | None = None,
    ) -> None:
        check_model(encoder, BertModel)
        check_fit(encoder.config, tokenizer)
        self.folder, self.encoder, self.tokenizer = Path(folder), encoder, tokenizer
        most = encoder.config.max_position_embeddings
        length = check_count("max_length", max_length, most=most) if max_length is not None else most
        new = Record(_fingerprint(encoder, tokenizer), encoder.config.hidden_size, length)
        self.record = self._read(new, max_length)

    def __len__(self) -> int:
        """Return the number of texts."""
        return self.record.texts

    def build(self, texts: Iterable[str], batch_size: int = 32) -> None:
        """Make the index hold these texts, in this order; those that it holds already are skipped.

        Memory does not grow with the number of texts. After an interruption, even a killed process, the same
        call continues. More texts can be added by giving the old ones first.

        Args:
            texts: as a list, or one by one from a generator; none may be empty.
            batch_size: texts per batch.

        Raises:
            IndexFolderError: the index holds other texts than the first ones of these, or another process
                is at work in the folder.
            ValueError: an empty text, or one that is not valid Unicode; all texts of earlier blocks are kept.
            OSError: the disk is full or not writable; what the record counts is intact.
        """
        check_output(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with file_lock(self.folder / LOCK, wait=False) as held:
            if not held:
                raise IndexFolderError(f"another process is building the index in {self.folder}; let it end")
            numbered = enumerate(texts)
            self._skip_known(numbered)
            with ExitStack() as stack:
                files = {name: stack.enter_context(self._open(name)) for name in self.record.sizes}
                bar = stack.enter_context(tqdm(desc="index", unit=" texts", initial=len(self), delay=2))
                while block := [_checked(text, row) for row, text in islice(numbered, BLOCK)]:
                    self._append(files, block, batch_size)
                    bar.update(len(block))

    def search(self, query: str, k: int = 10) -> list[Hit]:
        """Return the k texts whose vectors are most similar to the query's, the most similar first.

        Raises:
            ValueError: an empty query, an index without texts, or k below 1.
        """
        check_filled(query.strip(), "query")
        scores, rows = self.nearest(self.vectors([query]), k)
        found = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return [Hit(row, score, self.text(row)) for row, score in found]

    def nearest(self, vectors: Tensor, k: int = 10) -> tuple[Tensor, Tensor]:
        """Return scores and rows of the k nearest texts for each vector, after a scan of all.

        Args:
            vectors: floats (Q, H), of length 1.
            k: number of texts; fewer come back if the index has fewer.

        Returns:
            The scores, float32 (Q, k), and the rows, int64 (Q, k), the most similar first.
        """
        if not len(self):
            raise ValueError(f"the index in {self.folder} has no texts yet; build it first")
        k = min(check_count("k", k), len(self))
        best, rows = torch.empty(len(vectors), 0), torch.empty(len(vectors), 0, dtype=torch.long)
        stored = self._map(VECTORS, np.float16).reshape(len(self), -1)
        for start in range(0, len(self), SCANNED):
            part = torch.from_numpy(stored[start : start + SCANNED].astype(np.float32))
            scores = vectors.float() @ part.T  # (Q, SCANNED)
            numbers = torch.arange(start, start + len(part)).expand(len(vectors), -1)
            best, rows = _best(torch.cat([best, scores], 1), torch.cat([rows, numbers], 1), k)
        return best, rows

    def vectors(self, texts: Sequence[str], batch_size: int = 32) -> Tensor:
        """Return the vectors of texts as the index has them, of length 1: float32 (N, H)."""
        raw = sentence_vectors(self.encoder, self.tokenizer, texts, batch_size, self.record.max_length)
        return F.normalize(raw, dim=1)

    def text(self, row: int) -> str:
        """Return one of the texts."""
        ends = self._map(ENDS, np.int64)
        start = int(ends[row - 1]) if row else 0
        with (self.folder / TEXTS).open("rb") as file:
            file.seek(start)
            return file.read(int(ends[row]) - start).decode()

    def _read(self, new: Record, max_length: int | None) -> Record:
        """Read and check the record; without one, return the new record."""
        path = self.folder / RECORD
        if not path.exists():
            _check_free(self.folder)
            return new
        record = _parse(path)
        if record.model != new.model:
            raise IndexFolderError(
                f"{self.folder} was made with another model or vocabulary; open it with that model, or build "
                "a new index in another folder"
            )
        if max_length not in (None, record.max_length):
            raise IndexFolderError(
                f"{self.folder} was made with max_length={record.max_length}, not {max_length}; leave it "
                "out, or build a new index in another folder"
            )
        for name in record.sizes:
            self._verify(record, name)
        return record

    def _verify(self, record: Record, name: str) -> None:
        path, size = self.folder / name, record.sizes[name]
        found = path.stat().st_size if path.exists() else 0
        if found < size or _crc(path, size) != record.checksums[name]:
            what = f"has {found:,} bytes, at least {size:,} expected" if found < size else "has changed"
            raise IndexFolderError(
                f"{path} {what}: the index is damaged; delete {self.folder} and build it again"
            )

    def _skip_known(self, numbered: Iterator[tuple[int, str]]) -> None:
        """Advance over the texts that the index holds, and check that they are the same."""
        checksum, count = 0, 0
        for row, text in islice(numbered, len(self)):
            checksum, count = zlib.crc32(_checked(text, row).encode(), checksum), count + 1
        if count < len(self) or checksum != self.record.checksums[TEXTS]:
            raise IndexFolderError(
                f"{self.folder} holds {len(self):,} texts, which are not the first of those given; give the "
                "same texts in the same order, new ones at the end, or choose another folder"
            )

    def _open(self, name: str) -> IO[bytes]:
        """Open a file for appending, without what an interrupted build left beyond the record."""
        path = self.folder / name
        path.touch()
        os.truncate(path, self.record.sizes[name])
        return path.open("ab")

    def _append(self, files: dict[str, IO[bytes]], block: list[str], batch_size: int) -> None:
        texts = [text.encode() for text in block]
        ends = self.record.sizes[TEXTS] + np.cumsum([len(text) for text in texts])
        vectors = self.vectors(block, batch_size).numpy().astype("<f2")
        parts = {VECTORS: vectors.tobytes(), TEXTS: b"".join(texts), ENDS: ends.astype("<i8").tobytes()}
        old = self.record
        for name, content in parts.items():
            files[name].write(content)
            files[name].flush()
            os.fsync(files[name].fileno())
        record = replace(
            old,
            texts=old.texts + len(block),
            sizes={name: size + len(parts[name]) for name, size in old.sizes.items()},
            checksums={name: zlib.crc32(parts[name], crc) for name, crc in old.checksums.items()},
        )
        written = json.dumps(asdict(record), indent=1) + "\n"
        write_whole(self.folder / RECORD, lambda path: path.write_text(written, encoding="utf-8"))
        self.record = record

    def _map(self, name: str, kind: type[np.generic]) -> np.ndarray:
        count = self.record.sizes[name] // np.dtype(kind).itemsize
        return np.memmap(self.folder / name, np.dtype(kind).newbyteorder("<"), "r", shape=(count,))


def _best(scores: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k highest scores of each query, and their rows."""
    kept = scores.topk(min(k, scores.shape[1]), dim=1)
    return kept.values, rows.gather(1, kept.indices)


def _checked(text: str, row: int) -> str:
    """Return a text that has something to read."""
    check_filled(text.strip() if isinstance(text, str) else text, f"text {row}")
    return text


def _fingerprint(encoder: BertModel, tokenizer: WordPieceTokenizer) -> str:
    """Return the sha256 of all weights and of the vocabulary, on whatever device and in whatever order."""
    digest = sha256("\n".join(tokenizer.vocab).encode())
    for name, tensor in sorted(untied_state(encoder).items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_free(folder: Path) -> None:
    """Refuse a folder with files of something else."""
    own = {LOCK, VECTORS, TEXTS, ENDS}  # of a build that ended before its first block
    others = folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - own)
    if others:
        raise IndexFolderError(f"{folder} is not an index and not an empty folder; choose another one")


def _parse(path: Path) -> Record:
    """Return the record of an index."""
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise IndexFolderError(f"{path} has format {content.get('format')!r}, expected {FORMAT}")
    try:
        record = Record(**content)
        sound = record.sizes[ENDS] == 8 * record.texts
        sound &= record.sizes[VECTORS] == 2 * record.texts * record.hidden_size
        sound &= set(record.sizes) == set(record.checksums) == {VECTORS, TEXTS, ENDS}
    except (TypeError, KeyError):
        sound = False
    if not sound:
        raise IndexFolderError(f"{path} is damaged; delete {path.parent} and build the index again")
    return record


def _crc(path: Path, size: int) -> int:
    """Return the CRC-32 of the first `size` bytes of a file."""
    checksum = 0
    with path.open("rb") if size else open(os.devnull, "rb") as file:
        while size:
            part = file.read(min(size, 1 << 22))
            checksum, size = zlib.crc32(part, checksum), size - len(part)
    return checksum
