"""Building shards: documents in, memory-mapped arrays out, in constant memory, by several processes.

One process reads and writes; the others, if any, cut sentences and tokenize. They hand back their blocks in
the order in which they got them, so the files are the same byte for byte whatever their number.
"""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import re
import signal
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import chain, pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tqdm.auto import tqdm

from bertlearn.data import DataError, Document
from bertlearn.pretraining.corpus.store import (
    DOCUMENTS,
    META,
    SENTENCES,
    TOKENS,
    VERSION,
    Shards,
    array_path,
    vocabulary_hash,
)
from bertlearn.pretraining.corpus.texts import SkippedRows, split_sentences

if TYPE_CHECKING:
    from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

SHARD_TOKENS = 1 << 27  # 256 MB at two bytes each
_BLOCK = 1 << 18  # characters handed to a process at a time, or one document
_SENTENCES_AT_ONCE = 512  # tokenized together; the library keeps much about each
_OURS = re.compile(rf"\d{{5,}}\.({TOKENS}|{SENTENCES}|{DOCUMENTS})\.npy")


class Encoded(NamedTuple):
    """A document as ids, one sentence after the other, and the number of ids in each sentence."""

    ids: NDArray[np.uint32]
    lengths: NDArray[np.int64]


def build_shards(
    documents: Iterable[Document],
    folder: str | Path,
    tokenizer: WordPieceTokenizer,
    workers: int = 1,
    shard_tokens: int = SHARD_TOKENS,
    overwrite: bool = False,
    problems: SkippedRows | None = None,
    total_bytes: int | None = None,
    progress: bool = True,
) -> Shards:
    """Tokenize documents into a folder of shards; a shard holds one source if that has enough documents.

    Special tokens that a text spells out, such as [MASK], are tokenized like any other characters.

    Args:
        documents: any number, streamed.
        folder: made if need be; while it is being filled it has no meta.json, and nothing reads it.
        tokenizer: stored with the shards.
        workers: processes that tokenize; 1 for none but this one. In a script of your own, more than one
            needs `if __name__ == "__main__":` around the call.
        shard_tokens: a shard is closed after so many tokens.
        overwrite: replace shards that the folder holds.
        problems: where to count documents of fewer than two pieces, which are left out.
        total_bytes: size of all texts as UTF-8, if known, for the progress bar.
        progress: show a progress bar and, at the end, a summary.

    Raises:
        ValueError: finished shards in the folder, not one document, or an argument out of range.
        DataError: no room or no right to write, or a process that died.
    """
    folder = Path(folder).expanduser()
    problems = SkippedRows() if problems is None else problems
    _check_counts(workers=workers, shard_tokens=shard_tokens)
    began = time.monotonic()
    with _explain_os_errors(folder), _all_or_nothing(folder, overwrite):
        tokenizer.save_pretrained(folder)
        with tqdm(total=total_bytes, unit="B", unit_scale=True, disable=not progress) as bar:
            blocks = _blocks(documents, bar)
            with closing(_encode_all(blocks, tokenizer.fast().to_str(), workers)) as encoded:
                kept = _long_enough(encoded, problems)
                records = _write_shards(folder, kept, tokenizer, shard_tokens)
            bar.total = bar.n  # what was left out will not come any more
        _write_meta(folder, tokenizer, records, problems)
    shards = Shards.open(folder)
    if progress:
        print(_summary(shards, problems, time.monotonic() - began))
    return shards


def check_free(folder: str | Path, overwrite: bool = False) -> None:
    """Refuse a folder that holds finished shards, unless they may be overwritten.

    Raises:
        ValueError: it does.
    """
    if (Path(folder).expanduser() / META).exists() and not overwrite:
        raise ValueError(
            f"{folder} holds finished shards; choose another folder, or overwrite=True (--overwrite)"
        )


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}={value!r} must be a whole number of at least 1")


@contextmanager
def _all_or_nothing(folder: Path, overwrite: bool) -> Iterator[None]:
    """Begin with an empty folder, and leave one behind unless all went well."""
    _make_room(folder, overwrite)
    try:
        yield
    except BaseException:
        _remove_ours(folder)
        raise


def encode(fast: tokenizers.Tokenizer, text: str) -> Encoded:
    """Cut a text into sentences and tokenize them; sentences without a piece are dropped."""
    sentences = split_sentences(text)
    found: list[list[int]] = []
    for first in range(0, len(sentences), _SENTENCES_AT_ONCE):
        batch = sentences[first : first + _SENTENCES_AT_ONCE]
        found += [one.ids for one in fast.encode_batch_fast(batch, add_special_tokens=False) if one.ids]
    lengths = np.array([len(ids) for ids in found], dtype=np.int64)
    return Encoded(np.fromiter(chain.from_iterable(found), np.uint32, lengths.sum()), lengths)


# Work shared out


def _blocks(documents: Iterable[Document], bar: tqdm[Any]) -> Iterator[list[Document]]:
    """Gather documents into blocks that are worth sending to a process."""
    block: list[Document] = []
    size = 0
    for document in documents:
        block.append(document)
        size += len(document.text)
        bar.update(len(document.text.encode("utf-8")) + 1)
        if size >= _BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _encode_all(
    blocks: Iterable[list[Document]], fast_json: str, workers: int
) -> Generator[tuple[Document, Encoded], None, None]:
    """Give each document with its ids, in order; at most one block for each process is under way."""
    if workers == 1:
        fast = _load_fast(fast_json)
        for block in blocks:
            yield from ((document, encode(fast, document.text)) for document in block)
        return
    with _processes(workers, fast_json) as free, _explain_death():
        busy: deque[tuple[Connection, list[Document]]] = deque()
        for block in blocks:
            if not free:
                yield from _collect(busy, free)
            connection = free.popleft()
            connection.send([document.text for document in block])
            busy.append((connection, block))
        while busy:
            yield from _collect(busy, free)


def _collect(
    busy: deque[tuple[Connection, list[Document]]], free: deque[Connection]
) -> Iterator[tuple[Document, Encoded]]:
    """Wait for the block that was handed out first."""
    connection, block = busy.popleft()
    result: list[Encoded] = connection.recv()
    free.append(connection)
    return zip(block, result, strict=True)


@contextmanager
def _processes(workers: int, fast_json: str) -> Iterator[deque[Connection]]:
    """Start processes, each at the other end of a pipe; when this one dies, the pipes close and they end."""
    context = multiprocessing.get_context("spawn")  # the same on every system, and safe beside threads
    connections: deque[Connection] = deque()
    processes = []
    try:
        for _ in range(workers):
            here, there = context.Pipe()
            processes.append(context.Process(target=_work, args=(there, fast_json), daemon=True))
            processes[-1].start()
            there.close()
            connections.append(here)
        yield connections
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(connection: Connection, fast_json: str) -> None:
    """Tokenize blocks until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one cleans up
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a process for each core already
    fast = _load_fast(fast_json)
    with suppress(EOFError, ConnectionError):
        while True:
            connection.send([encode(fast, text) for text in connection.recv()])


def _load_fast(fast_json: str) -> tokenizers.Tokenizer:
    fast = tokenizers.Tokenizer.from_str(fast_json)
    fast.encode_special_tokens = True  # "[SEP]" in a text is text
    return fast


def _long_enough(
    encoded: Iterable[tuple[Document, Encoded]], problems: SkippedRows
) -> Iterator[tuple[Document, Encoded]]:
    for document, found in encoded:
        if len(found.ids) < 2:
            problems.add("document of fewer than 2 pieces", document.place or document.source)
        else:
            yield document, found


# Files


def _write_shards(
    folder: Path,
    encoded: Iterable[tuple[Document, Encoded]],
    tokenizer: WordPieceTokenizer,
    shard_tokens: int,
) -> list[dict[str, Any]]:
    """Write all shards and return their records; a new one begins when one is full or the source changes.

    None gets only one document where it can be helped, because a sentence pair may need another.
    """
    records = []
    with ExitStack() as open_files:
        writer = _ShardWriter(folder, 0, tokenizer, open_files)
        for current, following in pairwise(chain(encoded, [None])):
            assert current is not None  # only what follows the last one is
            document, found = current
            full = writer.tokens.length >= shard_tokens or document.source not in writer.sources
            if full and writer.documents.length >= 2 and following is not None:
                records.append(writer.finish())
                writer = _ShardWriter(folder, len(records), tokenizer, open_files)
            writer.add(document.source, found)
        records.append(writer.finish())
    if not records[0][DOCUMENTS]:
        raise ValueError("not one document of at least 2 pieces was read; see what was left out, and why")
    return records


class _ShardWriter:
    """One shard being written."""

    def __init__(
        self, folder: Path, number: int, tokenizer: WordPieceTokenizer, open_files: ExitStack
    ) -> None:
        self.sep = tokenizer.sep_token_id
        self.sources: dict[str, None] = {}  # a set in order
        self.tokens, self.sentences, self.documents = self.arrays = (
            _ArrayFile(array_path(folder, number, TOKENS), _dtype(tokenizer), (), open_files),
            _ArrayFile(array_path(folder, number, SENTENCES), "<i8", (), open_files),
            _ArrayFile(array_path(folder, number, DOCUMENTS), "<i8", (2,), open_files),
        )

    def add(self, source: str, document: Encoded) -> None:
        """Append a document."""
        self.sources[source] = None
        start = self.tokens.length
        self.documents.append(np.array([[self.sentences.length, start]]))
        self.sentences.append(start + np.cumsum(document.lengths) - document.lengths)
        self.tokens.append(np.append(document.ids, self.sep))

    def finish(self) -> dict[str, Any]:
        """Write what belongs at the end, close the files, and return the shard's record for meta.json."""
        count = self.documents.length
        self.documents.append(np.array([[self.sentences.length, self.tokens.length]]))
        digests = "".join(array.finish() for array in self.arrays)
        return {
            TOKENS: self.tokens.length,
            SENTENCES: self.sentences.length,
            DOCUMENTS: count,
            "sources": list(self.sources),
            "sha256": hashlib.sha256(digests.encode()).hexdigest(),
        }


class _ArrayFile:
    """A .npy file that grows: its header, written first, has room for the length it will have."""

    def __init__(self, path: Path, dtype: str, item_shape: tuple[int, ...], open_files: ExitStack) -> None:
        self.dtype, self.item_shape, self.length = dtype, item_shape, 0
        self.sha256 = hashlib.sha256()
        self.file = open_files.enter_context(path.open("xb"))
        self._write_header()

    def append(self, array: NDArray[Any]) -> None:
        """Write more items."""
        content = array.astype(self.dtype).tobytes()
        self.file.write(content)
        self.sha256.update(content)
        self.length += len(array)

    def finish(self) -> str:
        """Write the header anew, close the file, and return the sha256 of the items."""
        self.file.seek(0)
        self._write_header()
        self.file.close()
        return self.sha256.hexdigest()

    def _write_header(self) -> None:
        shape = (self.length, *self.item_shape)
        header = {"descr": self.dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, header)


def _write_meta(
    folder: Path,
    tokenizer: WordPieceTokenizer,
    records: list[dict[str, Any]],
    problems: SkippedRows,
) -> None:
    from bertlearn.files import write_whole

    totals = {name: sum(record[name] for record in records) for name in (TOKENS, SENTENCES, DOCUMENTS)}
    meta = {
        "version": VERSION,
        "vocabulary": vocabulary_hash(tokenizer.ids_to_tokens),
        "vocab_size": tokenizer.vocab_size,
        "do_lower_case": tokenizer.do_lower_case,
        "dtype": _dtype(tokenizer),
        **totals,
        "shards": records,
        "problems": dict(problems.counts),
    }
    text = json.dumps(meta, indent=1) + "\n"
    write_whole(folder / META, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))


def _dtype(tokenizer: WordPieceTokenizer) -> str:
    """Return the smallest type, little-endian everywhere, that holds every id."""
    return "<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4"


def _make_room(folder: Path, overwrite: bool) -> None:
    """Make the folder, and take away what an earlier build left in it."""
    check_free(folder, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_ours(folder)


def _remove_ours(folder: Path) -> None:
    """Remove the files of shards, meta.json first: without it nothing reads the others."""
    (folder / META).unlink(missing_ok=True)
    for path in list(folder.iterdir()):
        if _OURS.fullmatch(path.name):
            path.unlink()


def _summary(shards: Shards, problems: SkippedRows, seconds: float) -> str:
    size = sum(array.nbytes for shard in shards.shards for array in shard[:3])
    return (
        f"{shards.documents:,} documents, {shards.tokens:,} tokens ({size / 1e6:,.1f} MB, shards: "
        f"{len(shards.shards)}) in {shards.folder} after {seconds:,.0f} s; left out: {problems}"
    )


# What can go wrong


@contextmanager
def _explain_os_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = (
                "the disk is full; make room (about 2.5 bytes for each token), or choose another --output"
            )
        else:
            remedy = f"{error}; choose a folder that you can write to"
        raise DataError(f"building shards in {folder}: {remedy}. Nothing half-written is left") from error


@contextmanager
def _explain_death() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise DataError(
            "a process that tokenized ended before its time (killed for lack of memory?); use fewer workers. "
            'In a script, call build_shards under `if __name__ == "__main__":`'
        ) from error
