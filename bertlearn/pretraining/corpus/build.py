"""Building shards: documents in, memory-mapped arrays out, in constant memory, with several processes.

The main process reads and writes; the worker processes, if any, split sentences and tokenize. Their results
are written in the order of the input, so the files are identical for any number of workers.
"""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import re
import shutil
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

from bertlearn.arguments import check_count
from bertlearn.data import DataError, Document
from bertlearn.files import CONFIG, write_whole
from bertlearn.pretraining.corpus.store import (
    DOCUMENTS,
    FILES,
    META,
    SENTENCES,
    TOKENS,
    UNKNOWN,
    VERSION,
    Shards,
    array_path,
    settings_of,
    vocabulary_hash,
)
from bertlearn.pretraining.corpus.texts import SkippedRows, split_sentences

if TYPE_CHECKING:
    from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

SHARD_TOKENS = 1 << 27  # 256 MB at two bytes each
_BLOCK = 1 << 18  # characters sent to a worker at a time (at least one document)
_SENTENCES_AT_ONCE = 512  # tokenized together; a limit, because the library stores much for each sentence
_UNFINISHED = ".unfinished"  # folder in the output folder, for shards that are not complete yet
_OURS = re.compile(rf"\d{{5,}}\.({TOKENS}|{SENTENCES}|{DOCUMENTS})\.npy")


class Encoded(NamedTuple):
    """A document as token ids, sentence by sentence, and the number of ids in each sentence."""

    ids: NDArray[np.uint32]
    lengths: NDArray[np.int64]


def build_shards(
    documents: Iterable[Document],
    folder: str | Path,
    tokenizer: WordPieceTokenizer,
    workers: int = 1,
    shard_tokens: int = SHARD_TOKENS,
    overwrite: bool = False,
    skipped: SkippedRows | None = None,
    total_bytes: int | None = None,
    progress: bool = True,
) -> Shards:
    """Tokenize documents and write them into a folder of shards.

    Where possible, a shard has documents of one source only, but never fewer than two documents if there are
    more. Special tokens that a text spells out, such as [MASK], are tokenized like any other characters.

    Args:
        documents: any number of documents; they are streamed.
        folder: created if it does not exist. Its files are replaced when the new ones are complete; after an
            error, it is as it was before.
        tokenizer: stored with the shards.
        workers: processes that tokenize; with 1, the current process does it. In a script of your own, more
            than one worker needs `if __name__ == "__main__":` around the call.
        shard_tokens: a shard with this many tokens is full, and the next document starts a new one.
        overwrite: replace finished shards in the folder.
        skipped: counts documents of fewer than two tokens, which are skipped.
        total_bytes: size of all texts in UTF-8, if known, for the progress bar.
        progress: show a progress bar and, at the end, a summary.

    Raises:
        ValueError: the folder has finished shards, there is no document, or an argument is out of range.
        DataError: the disk is full, the folder is not writable, or a worker process died.
    """
    folder = Path(folder).expanduser()
    skipped = SkippedRows() if skipped is None else skipped
    check_count("workers", workers)
    check_count("shard_tokens", shard_tokens)
    start = time.monotonic()
    check_free(folder, overwrite)
    with _explain_os_errors(folder), _unfinished(folder) as unfinished:
        tokenizer.save_pretrained(unfinished)  # one that cannot be saved is refused before the text is read
        with tqdm(total=total_bytes, unit="B", unit_scale=True, disable=not progress) as bar:
            blocks = _blocks(documents, bar)
            with closing(_encode_all(blocks, tokenizer.fast().to_str(), workers)) as encoded:
                kept = _skip_short(encoded, skipped)
                records = _write_shards(unfinished, kept, tokenizer, shard_tokens)
            bar.total = bar.n  # skipped text never advanced the bar
        _write_meta(unfinished, tokenizer, records, skipped)
        _move(unfinished, folder, tokenizer)
    shards = Shards.open(folder)
    if progress:
        unknown = sum(record[UNKNOWN] for record in records) / shards.tokens
        print(_summary(shards, unknown, skipped, time.monotonic() - start))
    return shards


def check_free(folder: str | Path, overwrite: bool = False) -> None:
    """Check that a folder has no model, and no finished shards unless they may be overwritten.

    Raises:
        ValueError: the folder has one of these.
    """
    path = Path(folder).expanduser()
    if (path / CONFIG).exists():
        raise ValueError(
            f"{folder} has a model ({CONFIG}), and the shards would replace its vocabulary; "
            "choose another folder"
        )
    if (path / META).exists() and not overwrite:
        raise ValueError(
            f"{folder} has finished shards; choose another folder, or overwrite=True (--overwrite)"
        )


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Yield an empty folder inside `folder`, and remove it at the end; also a new `folder` without files."""
    is_new = not folder.exists()
    path = folder / _UNFINISHED
    if path.exists():  # of a build that was killed
        shutil.rmtree(path)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # there are files in it
                folder.rmdir()


def encode(fast: tokenizers.Tokenizer, text: str) -> Encoded:
    """Split a text into sentences and tokenize them; sentences without a token are dropped."""
    sentences = split_sentences(text)
    ids_of: list[list[int]] = []
    for first in range(0, len(sentences), _SENTENCES_AT_ONCE):
        batch = sentences[first : first + _SENTENCES_AT_ONCE]
        encodings = fast.encode_batch_fast(batch, add_special_tokens=False)
        ids_of += [encoding.ids for encoding in encodings if encoding.ids]
    lengths = np.array([len(ids) for ids in ids_of], dtype=np.int64)
    return Encoded(np.fromiter(chain.from_iterable(ids_of), np.uint32, lengths.sum()), lengths)


# Worker processes


def _blocks(documents: Iterable[Document], bar: tqdm[Any]) -> Iterator[list[Document]]:
    """Group documents into blocks that are large enough to be worth sending to a worker."""
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
    """Yield each document with its ids, in order; each worker has at most one block at a time."""
    if workers == 1:
        fast = _load_fast(fast_json)
        for block in blocks:
            yield from ((document, encode(fast, document.text)) for document in block)
        return
    with _worker_processes(workers, fast_json) as free, _explain_death():
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
    """Wait for the result of the block that was sent first, and return it."""
    connection, block = busy.popleft()
    result: list[Encoded] = connection.recv()
    free.append(connection)
    return zip(block, result, strict=True)


@contextmanager
def _worker_processes(workers: int, fast_json: str) -> Iterator[deque[Connection]]:
    """Start workers and yield a pipe to each; if this process dies, the pipes close and the workers end."""
    context = multiprocessing.get_context("spawn")  # the same on every system, and safe with threads
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
    """Tokenize blocks from the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the main one cleans up
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers already use all cores
    fast = _load_fast(fast_json)
    with suppress(EOFError, ConnectionError):
        while True:
            connection.send([encode(fast, text) for text in connection.recv()])


def _load_fast(fast_json: str) -> tokenizers.Tokenizer:
    fast = tokenizers.Tokenizer.from_str(fast_json)
    fast.encode_special_tokens = True  # "[SEP]" in a text is text
    return fast


def _skip_short(
    encoded: Iterable[tuple[Document, Encoded]], skipped: SkippedRows
) -> Iterator[tuple[Document, Encoded]]:
    """Yield the documents that a sentence pair can be made of: those of at least two tokens."""
    for document, encoded_document in encoded:
        if len(encoded_document.ids) < 2:
            skipped.add("document of fewer than 2 tokens", document.location or document.source)
        else:
            yield document, encoded_document


# Files


def _write_shards(
    folder: Path,
    encoded: Iterable[tuple[Document, Encoded]],
    tokenizer: WordPieceTokenizer,
    shard_tokens: int,
) -> list[dict[str, Any]]:
    """Write all shards and return their records for meta.json.

    A new shard begins when the current one is full or the source changes, but not before the current one has
    two documents, nor for the last document alone: a sentence pair may need a second document.
    """
    records = []
    with ExitStack() as open_files:
        writer = _ShardWriter(folder, 0, tokenizer, open_files)
        for current, following in pairwise(chain(encoded, [None])):
            assert current is not None  # None only follows the last document
            document, encoded_document = current
            full = writer.tokens.length >= shard_tokens or document.source not in writer.sources
            if full and writer.documents.length >= 2 and following is not None:
                records.append(writer.finish())
                writer = _ShardWriter(folder, len(records), tokenizer, open_files)
            writer.add(document.source, encoded_document)
        records.append(writer.finish())
    if not records[0][DOCUMENTS]:
        raise ValueError("no document of at least 2 tokens was read; see above what was skipped, and why")
    return records


class _ShardWriter:
    """Writes one shard."""

    def __init__(
        self, folder: Path, number: int, tokenizer: WordPieceTokenizer, open_files: ExitStack
    ) -> None:
        self.sep, self.unk, self.unknown = tokenizer.sep_token_id, tokenizer.unk_token_id, 0
        self.sources: dict[str, None] = {}  # an ordered set
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
        self.unknown += int((document.ids == self.unk).sum())

    def finish(self) -> dict[str, Any]:
        """Write the final row of documents, close the files, and return the shard's record for meta.json."""
        count = self.documents.length
        self.documents.append(np.array([[self.sentences.length, self.tokens.length]]))
        digests = [array.finish() for array in self.arrays]
        return {
            TOKENS: self.tokens.length,
            SENTENCES: self.sentences.length,
            DOCUMENTS: count,
            UNKNOWN: self.unknown,
            "sources": list(self.sources),
            "sha256": hashlib.sha256("".join(digests).encode()).hexdigest(),
            FILES: dict(zip((TOKENS, SENTENCES, DOCUMENTS), digests, strict=True)),
        }


class _ArrayFile:
    """A .npy file that grows. Its header is written first and again at the end, when the length is known."""

    def __init__(self, path: Path, dtype: str, item_shape: tuple[int, ...], open_files: ExitStack) -> None:
        self.dtype, self.item_shape, self.length = dtype, item_shape, 0
        self.sha256 = hashlib.sha256()
        self.file = open_files.enter_context(path.open("xb"))
        self._write_header()

    def append(self, array: NDArray[Any]) -> None:
        """Append items to the file."""
        content = array.astype(self.dtype).tobytes()
        self.file.write(content)
        self.sha256.update(content)
        self.length += len(array)

    def finish(self) -> str:
        """Write the final header, close the file, and return the sha256 of the items."""
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
    skipped: SkippedRows,
) -> None:
    totals = {
        name: sum(record[name] for record in records) for name in (TOKENS, SENTENCES, DOCUMENTS, UNKNOWN)
    }
    meta = {
        "version": VERSION,
        "vocabulary": vocabulary_hash(tokenizer.ids_to_tokens),
        "vocab_size": tokenizer.vocab_size,
        "do_lower_case": tokenizer.do_lower_case,
        "settings": settings_of(tokenizer),
        "dtype": _dtype(tokenizer),
        **totals,
        "shards": records,
        "problems": dict(skipped.counts),  # the key of version 1 of the format
    }
    text = json.dumps(meta, indent=1) + "\n"
    write_whole(folder / META, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))


def _dtype(tokenizer: WordPieceTokenizer) -> str:
    """Return the smallest dtype for the ids of the vocabulary, little-endian on every system."""
    return "<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4"


def _move(unfinished: Path, folder: Path, tokenizer: WordPieceTokenizer) -> None:
    """Replace earlier shards; meta.json goes first and comes last: without it, nothing reads the others."""
    (folder / META).unlink(missing_ok=True)
    for path in list(folder.iterdir()):
        if _OURS.fullmatch(path.name):
            path.unlink()
    for path in list(unfinished.glob("*.npy")):
        os.replace(path, folder / path.name)
    tokenizer.save_pretrained(folder)  # which removes what else an earlier one consisted of
    os.replace(unfinished / META, folder / META)


def _summary(shards: Shards, unknown: float, skipped: SkippedRows, seconds: float) -> str:
    size = sum(array.nbytes for shard in shards.shards for array in shard[:3])
    return (
        f"{shards.documents:,} documents, {shards.tokens:,} tokens, {unknown:.2%} of them [UNK] "
        f"({size / 1e6:,.1f} MB, shards: {len(shards.shards)}) in {shards.folder} after {seconds:,.0f} s; "
        f"left out: {skipped}"
    )


# Errors


@contextmanager
def _explain_os_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = (
                "the disk is full; free some space (about 2.5 bytes per token), or choose another --output"
            )
        else:
            remedy = f"{error}; choose a folder that you can write to"
        raise DataError(f"building shards in {folder}: {remedy}. No incomplete files are left") from error


@contextmanager
def _explain_death() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise DataError(
            "a worker process died, perhaps because memory ran out; use fewer workers. In a script, call "
            'build_shards under `if __name__ == "__main__":`'
        ) from error
