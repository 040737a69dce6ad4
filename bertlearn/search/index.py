"""An index of texts on disk, searched by meaning (chapter 9).

An index is a folder with three growing files and a record. `vectors.f16` has one vector of length 1 for each
text, in half precision; `texts.utf8` has the texts, one after the other; `ends.i64` says where each one ends.
What the record `index.json` counts is complete: it is replaced after each block of texts. What lies beyond
it is cut off when a build goes on, so a build that was interrupted is repeated with the same texts, and
continues.

Leaves out: deleting a text, and approximate neighbors. A scan of all vectors is exact.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

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
    FILES,
    LOCK,
    TEXTS,
    VECTORS,
    IndexFolderError,
    Record,
    fingerprint,
    read_record,
    remove_unfinished,
    write_record,
)
from bertlearn.tokenizer.inputs import check_filled
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

BLOCK = 4096  # texts between two records
SCANNED = 4096  # vectors at a time during a search: they fit into a processor's cache
SHORTEST = 3  # tokens: [CLS], one of the text, [SEP]


class Hit(NamedTuple):
    """A text that was found."""

    row: int  # its position among the texts of the index, from 0
    score: float  # the cosine to the query, −1 to 1
    text: str


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
            numbered = enumerate(texts)
            self._skip_known(numbered)
            self._append_all(numbered, batch_size)

    def search(self, query: str, k: int = 10) -> list[Hit]:
        """Return the k texts whose vectors are most similar to the query's, the most similar first.

        Raises:
            ValueError: an empty query, an index without texts, or k below 1.
        """
        _check_readable(query, "query")
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

    def text(self, row: int) -> str:
        """Return one of the texts."""
        ends = self._map(ENDS, np.int64)
        start = int(ends[row - 1]) if row else 0
        with (self.folder / TEXTS).open("rb") as file:
            file.seek(start)
            return file.read(int(ends[row]) - start).decode()

    def _skip_known(self, numbered: Iterator[tuple[int, str]]) -> None:
        """Advance over the texts that the index holds, and check that they are the same."""
        texts, ends, length = 0, 0, 0  # two checksums, and the bytes so far
        for row, text in islice(numbered, len(self)):
            content = _checked(text, row).encode()
            length += len(content)
            texts, ends = zlib.crc32(content, texts), zlib.crc32(length.to_bytes(8, "little"), ends)
        if {TEXTS: texts, ENDS: ends} != {name: self.record.checksums[name] for name in (TEXTS, ENDS)}:
            raise IndexFolderError(
                f"{self.folder} holds {len(self):,} texts, which are not the first of those given; give the "
                "same texts in the same order, new ones at the end, or choose another folder"
            )

    def _append_all(self, numbered: Iterator[tuple[int, str]], batch_size: int) -> None:
        with ExitStack() as stack:
            files = {name: stack.enter_context(self._open(name)) for name in FILES}
            bar = stack.enter_context(tqdm(desc="index", unit=" texts", initial=len(self), delay=2))
            while block := [_checked(text, row) for row, text in islice(numbered, BLOCK)]:
                self._append(files, block, batch_size)
                bar.update(len(block))

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
        for name, content in parts.items():
            files[name].write(content)
            files[name].flush()
            os.fsync(files[name].fileno())
        old = self.record
        record = replace(
            old,
            texts=old.texts + len(block),
            sizes={name: size + len(parts[name]) for name, size in old.sizes.items()},
            checksums={name: zlib.crc32(parts[name], crc) for name, crc in old.checksums.items()},
        )
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


def _checked(text: str, row: int) -> str:
    """Return a text that has something to read."""
    _check_readable(text, f"text {row}")
    return text


def _check_readable(text: str, name: str) -> None:
    check_filled(text.strip() if isinstance(text, str) else text, name)
