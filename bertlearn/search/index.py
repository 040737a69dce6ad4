"""An index of texts on disk, searched by meaning (chapter 9).

An index is a folder with growing files and a record. `vectors.f16` has one vector of length 1 for each text,
in half precision; `texts.utf8` has the texts, one after the other; `ends.i64` says where each one ends. Two
more files say in the same way where each text comes from. What the record `index.json` counts is on the disk:
it is replaced after each block of texts. What lies beyond it is cut off when a build goes on, so a build that
was interrupted is repeated with the same texts, and continues.

Leaves out: deleting a text, and approximate neighbors. A scan of all vectors is exact.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from bertlearn.arguments import check_count
from bertlearn.files import check_output, file_lock
from bertlearn.model.bert import BertModel
from bertlearn.model.inference import check_fit, check_model, sentence_vectors
from bertlearn.search.record import (
    ENDS,
    LOCK,
    PLACE_ENDS,
    PLACES,
    TEXTS,
    VECTORS,
    IndexFolderError,
    Record,
    fingerprint,
    read_record,
    remove_unfinished,
    write_record,
)
from bertlearn.tokenizer.encoding import SubwordTokenizer
from bertlearn.tokenizer.inputs import check_filled

BLOCK = 1024  # texts between two records
SCANNED = 4096  # vectors at a time during a search: they fit into a processor's cache
SHORTEST = 3  # tokens: [CLS], one of the text, [SEP]


class Hit(NamedTuple):
    """A text that was found."""

    row: int  # its position among the texts of the index, from 0
    score: float  # the cosine to the query, −1 to 1
    text: str
    place: str = ""  # where the text comes from


class Entry(NamedTuple):
    """A text for the index."""

    text: str
    place: str = ""  # where it comes from, such as a file and a line


class SearchIndex:
    """Texts and their vectors in a folder.

    Args:
        folder: an index, or a new or empty folder for one.
        encoder: makes the vectors, such as MiniLM; an index belongs to the model that made it.
        tokenizer: the encoder's own.
        max_length: tokens of a text that are read. What lies beyond is not found; `record.cut` counts the
            texts that are longer. None for the model's maximum, or what the index was made with.

    Attributes:
        record: what is in the folder; `record.complete` is False if adding texts was interrupted.

    Raises:
        IndexFolderError: files that are not an index, are damaged, or were made with another model.
        ValueError: another kind of model, or a tokenizer that does not fit it.
        OSError: the folder cannot be read.
    """

    def __init__(
        self,
        folder: str | Path,
        encoder: BertModel,
        tokenizer: SubwordTokenizer,
        max_length: int | None = None,
    ) -> None:
        check_model(encoder, BertModel)
        check_fit(encoder.config, tokenizer)
        self.folder = Path(folder).expanduser()
        self.encoder, self.tokenizer = encoder, tokenizer
        most = encoder.config.max_position_embeddings
        length = most if max_length is None else check_count("max_length", max_length, SHORTEST, most)
        self._new = Record(fingerprint(encoder, tokenizer), encoder.config.hidden_size, length)
        self._max_length = max_length
        self.record = read_record(self.folder, self._new, max_length)

    def __len__(self) -> int:
        """Return the number of texts."""
        return self.record.texts

    def build(self, texts: Iterable[str | Entry], batch_size: int = 32) -> None:
        """Make the index hold these texts, in this order; those that it holds already are skipped.

        Memory does not grow with the number of texts. After an interruption, even a killed process, the same
        call continues. More texts can be added by giving the old ones first.

        Args:
            texts: as a list, or one by one from a generator, each with its place if wanted; none may be
                empty.
            batch_size: texts per batch.

        Raises:
            IndexFolderError: the index holds other texts than the first ones of these, or another process
                is at work in the folder.
            ValueError: an empty text, or one that is not valid Unicode; all texts of earlier blocks are kept.
            OSError: the disk is full or not writable; what the record counts is intact.
        """
        if isinstance(texts, str | bytes):
            raise ValueError(
                f"texts is {type(texts).__name__}, expected several; put a single text into a list"
            )
        check_output(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with file_lock(self.folder / LOCK, wait=False) as held:
            if not held:
                raise IndexFolderError(f"another process is building the index in {self.folder}; let it end")
            remove_unfinished(self.folder)
            self.record = read_record(self.folder, self._new, self._max_length)  # others may have built
            entries = (_checked(text, row) for row, text in enumerate(texts))
            self._skip_known(entries)
            self._append_all(entries, batch_size, len(texts) if isinstance(texts, Sized) else None)

    def search(self, query: str, k: int = 10) -> list[Hit]:
        """Return the k texts whose vectors are most similar to the query's, the most similar first.

        Raises:
            ValueError: an empty query, an index without texts, or k below 1.
        """
        _check_readable(query, "query")
        scores, rows = self.nearest(self.vectors([query]), k)
        found = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return [Hit(row, score, *self.entry(row)) for row, score in found]

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
        buffer = torch.empty(min(SCANNED, len(self)), self.record.hidden_size)  # new memory costs more
        for start in range(0, len(self), SCANNED):
            block = torch.from_numpy(stored[start : start + SCANNED])
            part = buffer[: len(block)].copy_(block)
            scores = vectors.float() @ part.T  # (Q, SCANNED)
            numbers = torch.arange(start, start + len(part)).expand(len(vectors), -1)
            best, rows = _best(torch.cat([best, scores], 1), torch.cat([rows, numbers], 1), k)
        return best, rows

    def vectors(self, texts: Sequence[str], batch_size: int = 32) -> Tensor:
        """Return the vectors of texts as the index has them, of length 1: float32 (N, H)."""
        raw = sentence_vectors(self.encoder, self.tokenizer, texts, batch_size, self.record.max_length)
        return F.normalize(raw, dim=1)

    def entry(self, row: int) -> Entry:
        """Return one of the texts, and where it comes from."""
        return Entry(self._string(TEXTS, ENDS, row), self._string(PLACES, PLACE_ENDS, row))

    def _string(self, name: str, ends_name: str, row: int) -> str:
        """Return one of the strings of a file; another file says where each of them ends."""
        ends = self._map(ends_name, np.int64)
        start = int(ends[row - 1]) if row else 0
        with (self.folder / name).open("rb") as file:
            file.seek(start)
            return file.read(int(ends[row]) - start).decode()

    def _entries(self) -> Iterator[Entry]:
        """Yield all texts, one by one."""
        yield from map(Entry, self._strings(TEXTS, ENDS), self._strings(PLACES, PLACE_ENDS))

    def _strings(self, name: str, ends_name: str) -> Iterator[str]:
        start = 0
        with (self.folder / name).open("rb") as file:
            for end in self._map(ends_name, np.int64):
                yield file.read(int(end) - start).decode()
                start = int(end)

    def _skip_known(self, entries: Iterator[Entry]) -> None:
        """Advance over the texts that the index holds, and check that they are the same."""
        remedy = (
            "give the same texts in the same order, new ones at the end, or build an index in another folder"
        )
        for row, known in enumerate(self._entries() if len(self) else ()):
            given = next(entries, None)
            if given is None:
                raise IndexFolderError(
                    f"{self.folder} holds {len(self):,} texts, only {row:,} given; {remedy}"
                )
            if given != known:
                raise IndexFolderError(
                    f"text {row + 1:,} is {_short(given)}, but {self.folder} holds {_short(known)}; {remedy}"
                )

    def _append_all(self, entries: Iterator[Entry], batch_size: int, total: int | None) -> None:
        with ExitStack() as stack:
            bar = stack.enter_context(
                tqdm(desc="index", unit=" texts", initial=len(self), total=total, delay=2)
            )
            while block := list(islice(entries, BLOCK)):
                self._keep(complete=False)
                self._append(block, batch_size)
                bar.update(len(block))
        self._keep(complete=True)

    def _append(self, block: list[Entry], batch_size: int) -> None:
        """Write texts behind what the record counts, and then count them."""
        texts, places = ([part.encode() for part in parts] for parts in zip(*block, strict=True))
        vectors = self.vectors([entry.text for entry in block], batch_size).numpy().astype("<f2")
        old = self.record
        parts = {
            VECTORS: vectors.tobytes(),
            TEXTS: b"".join(texts),
            ENDS: _ends(texts, old.sizes[TEXTS]),
            PLACES: b"".join(places),
            PLACE_ENDS: _ends(places, old.sizes[PLACES]),
        }
        for name, content in parts.items():
            _write_from(self.folder / name, old.sizes[name], content)
        self._keep(
            texts=old.texts + len(block),
            cut=old.cut + sum(self._is_cut(text) for text in texts),
            sizes={name: size + len(parts[name]) for name, size in old.sizes.items()},
            checksums={name: zlib.crc32(parts[name], crc) for name, crc in old.checksums.items()},
        )

    def _is_cut(self, text: bytes) -> bool:
        """Return whether a text has more tokens than are read, besides [CLS] and [SEP]."""
        room = self.record.max_length - 2
        return len(text) > room and len(self.tokenizer.tokenize(text.decode())) > room

    def _keep(self, **changes: Any) -> None:
        """Write the record with these changes, if they are any."""
        record = replace(self.record, **changes)
        if record != self.record:
            write_record(self.folder, record)
            self.record = record

    def _map(self, name: str, kind: type[np.generic]) -> np.ndarray:
        """Map a file into memory; what is written there does not reach the file, and nothing is."""
        count = self.record.sizes[name] // np.dtype(kind).itemsize
        return np.memmap(self.folder / name, np.dtype(kind).newbyteorder("<"), "c", shape=(count,))


def _best(scores: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k highest scores of each query, and their rows."""
    kept = scores.topk(min(k, scores.shape[1]), dim=1)
    return kept.values, rows.gather(1, kept.indices)


def _write_from(path: Path, size: int, content: bytes) -> None:
    """Write content behind the first `size` bytes, in place of what an interrupted build left there."""
    path.touch()
    os.truncate(path, size)
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _ends(strings: list[bytes], start: int) -> bytes:
    """Return where each of these strings ends, if the first one begins at `start`."""
    return (start + np.cumsum([len(string) for string in strings])).astype("<i8").tobytes()


def _checked(text: str | Entry, row: int) -> Entry:
    """Return a text that has something to read, with its place."""
    entry = text if isinstance(text, Entry) else Entry(text)
    _check_readable(entry.text, f"text {row}" + (f" ({entry.place})" if entry.place else ""))
    return entry


def _short(entry: Entry) -> str:
    return f"{entry.text[:40]!r}" + (f" ({entry.place})" if entry.place else "")


def _check_readable(text: str, name: str) -> None:
    check_filled(text.strip() if isinstance(text, str) else text, name)
