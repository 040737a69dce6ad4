"""Reading documents from files of any size or from the hub, and splitting them into sentences.

Only one line is in memory at a time, and only a bounded part of a very long line. LF, CR or CRLF ends a line.
What cannot be read is skipped and counted, and the first few cases of each kind are printed with file and
line: one broken line in a thousand files must not end a night's work.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import math
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any

from tqdm.auto import tqdm

from bertlearn.data import DataError, Document
from bertlearn.pretraining.corpus.encoding import (
    SAMPLE,
    character_end,
    compression,
    foreign_encoding,
    other_format,
)
from bertlearn.pretraining.corpus.find import find_files
from bertlearn.tokenizer.unicode_tables import CONTROL, character_class

HUB = "hub:"
MAX_DOCUMENT = 1 << 20  # characters; a longer document is split into several
MAX_JSON_LINE = 1 << 26  # bytes; a line of JSON must fit into memory, so a longer one is skipped
MAX_SENTENCE = 2000  # characters; text without an end of sentence is split here
OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)  # what reading a damaged file may raise

_TOKENIZER_FILES = ("tokenizer_config.json", "config.json", "meta.json")  # beside a vocab.txt

_INVISIBLE = re.compile(rf"[\s{character_class(CONTROL)}]*")

_NO_ENDS = ("Mr", "Mrs", "Ms", "Dr", "St", "Prof", "Rev", "Gen", "vs", "cf", "No", r"e\.g", r"i\.e", "[A-Z]")
_NO_END = "".join(rf"(?<!\b{word}\.)" for word in _NO_ENDS)
_SENTENCE_END = re.compile(
    rf"""[.!?]{_NO_END}[.!?]*["”’')\]]*\s+(?=["“‘'(\[]*[A-Z0-9À-ÞΑ-ΩА-Я])|[。！？][”’」』]*"""
)


class SkippedRows:
    """Counts what was skipped, by kind of problem, and prints the first few cases of each kind.

    Args:
        shown: how many cases of each kind are printed.

    Attributes:
        counts: the number of cases of each kind.
        first: where the first case of each kind was found.
    """

    def __init__(self, shown: int = 3) -> None:
        self.shown = shown
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, kind: str, location: str) -> None:
        """Count one case, and print it if it is among the first; `location` is the file and line."""
        self.counts[kind] += 1
        self.first.setdefault(kind, location)
        if self.counts[kind] <= self.shown:
            more = " (further cases are only counted)" if self.counts[kind] == self.shown else ""
            tqdm.write(f"{location}: {kind}{more}", file=sys.stderr)

    def __str__(self) -> str:
        """Return all counts in one line."""
        return ", ".join(f"{count:,} × {kind}" for kind, count in self.counts.items()) or "nothing"

    def with_places(self) -> str:
        """Return all counts in one line, each with the place of its first case."""
        cases = (f"{count:,} × {kind} (first: {self.first[kind]})" for kind, count in self.counts.items())
        return ", ".join(cases) or "nothing"


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences: at line ends, and after . ! ? if a capital, digit or quote follows.

    Initials and a few abbreviations do not end a sentence. Other mistakes do no harm, since for BERT a
    "sentence" may be any span of contiguous text (Devlin et al. 2019, §3). A sentence without an end is split
    after at most 2,000 characters.
    """
    lines = _SENTENCE_END.sub(r"\g<0>\n", text).splitlines()
    return [part for line in lines if (sentence := line.strip()) for part in _bounded(sentence, MAX_SENTENCE)]


def read_documents(
    inputs: Sequence[str],
    skipped: SkippedRows,
    one_document_a_line: bool = False,
    field: str = "text",
    split: str = "train",
) -> Iterator[Document]:
    """Yield the documents of all inputs, one by one; each document's source is the input it comes from.

    Args:
        inputs: patterns of file names such as "books/**/*.txt". Files are read in alphabetical order, each
            once, however many names it has; ** does not follow links to folders. A .txt file has blank lines
            between documents, a .jsonl file one document per line; both may be compressed (.gz, .bz2, .xz).
            Or "hub:owner/name", "hub:owner/name@config" for a data set of the Hugging Face hub.
        skipped: counts what cannot be read.
        one_document_a_line: each line of a .txt file is a document.
        field: the field of a .jsonl line, or of a row of a data set, that contains the text.
        split: the split of a hub data set to read.

    Raises:
        ValueError: no file matches a pattern, or a file is of another kind, is not compressed as its name
            says, or is not UTF-8; raised before anything is read.
        DataError: a data set cannot be read, or the library for it is missing.
    """
    files = _matches(inputs, skipped)
    for paths in files.values():
        for path in paths:
            _check_content(path)
    return _read_all(files, skipped, one_document_a_line, field, split)


def input_bytes(inputs: Sequence[str]) -> int | None:
    """Return the total size of the files in bytes; None if that is not the size of their text.

    The size is unknown for hub data sets and for compressed files.
    """
    if not inputs or any(name.startswith(HUB) for name in inputs):
        return None
    paths = _all_files(inputs)
    return None if any(path.suffix in OPEN for path in paths) else sum(map(_size, paths))


def check_apart(inputs: Sequence[str], folder: str | Path) -> None:
    """Check that no text lies in the output folder: reading the text again would find what was written.

    Raises:
        ValueError: a file that is read lies in the folder.
    """
    output = Path(folder).expanduser().resolve()
    for path in _all_files(inputs):
        if path.parent.resolve() == output:
            raise ValueError(f"{path} is text to read, and lies in the output folder; choose another folder")


def is_empty(text: str) -> bool:
    """Return whether a text has only white space and characters that a tokenizer drops."""
    return _INVISIBLE.fullmatch(text) is not None


def sample_texts(documents: Iterable[Document], characters: int = 10_000_000) -> list[str]:
    """Return the texts of documents spread evenly over the input, with at most `characters` in total.

    These are all documents if they fit, else every second, every fourth, … one. Memory stays bounded.
    """
    kept: list[tuple[int, str]] = []
    size, step = 0, 1
    for number, document in enumerate(documents):
        if number % step == 0:
            kept.append((number, document.text))
            size += len(document.text)
        while size > characters and len(kept) > 1:
            step *= 2
            kept = [(index, text) for index, text in kept if index % step == 0]
            size = sum(len(text) for _, text in kept)
    return [text for _, text in kept]


def _bounded(text: str, max_length: int) -> Iterator[str]:
    """Yield parts of at most `max_length` characters, split after a space if there is one."""
    while len(text) > max_length:
        end = text.rfind(" ", 0, max_length) + 1 or max_length
        yield text[:end]
        text = text[end:]
    yield text


def _all_files(inputs: Sequence[str]) -> list[Path]:
    """Return the files of all inputs; skipped files are reported when the texts are read."""
    return [path for found in _matches(inputs, SkippedRows(shown=0)).values() for path in found]


def _matches(inputs: Sequence[str], skipped: SkippedRows) -> dict[str, list[Path]]:
    """Return the files that each input names, each real file once; none for a data set of the hub."""
    first_names: dict[tuple[int, ...], Path] = {}
    files: dict[str, list[Path]] = {}
    for name in dict.fromkeys(inputs):
        files[name] = []
        for path in [] if name.startswith(HUB) else _matching(name, skipped):
            first = first_names.setdefault(_identity(path), path)
            if first is path:
                files[name].append(path)
            elif first != path:
                skipped.add("another name of a file that is read already", str(path))
    return files


def _matching(pattern: str, skipped: SkippedRows) -> list[Path]:
    """Return the files of text that a pattern names."""
    path = _expanded(pattern)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name the files in it, such as {path / '**' / '*.txt'}")
    if path.exists() and not path.is_file():
        raise ValueError(
            f"{pattern} is not a regular file but a pipe, a socket or a device, which cannot be read several "
            "times; write its text to a file"
        )
    found = find_files(path, skipped)
    vocabularies = [path for path in found if _is_vocabulary(path)]
    for path in vocabularies:
        skipped.add("the vocabulary of a tokenizer, not text", str(path))
    if not found:
        raise ValueError(f"no file matches {pattern!r} (searched from {Path.cwd()}); check the spelling")
    paths = [path for path in found if path not in vocabularies]
    for path in paths:
        if kind_of(path) not in (".txt", ".jsonl"):
            raise ValueError(
                f"{path} is neither .txt nor .jsonl, nor one of these with {', '.join(OPEN)}; rename it, "
                "or use a pattern that excludes it"
            )
    return paths


def _expanded(pattern: str) -> Path:
    try:
        return Path(pattern).expanduser()
    except RuntimeError as error:  # ~ names an unknown user, or nobody has a home here
        raise ValueError(f"{pattern!r} has no home directory ({error}); write the path without ~") from error


def _identity(path: Path) -> tuple[int, ...]:
    """Return what all names of one file share; size and time help where inodes are not unique."""
    with suppress(FileNotFoundError):  # it may have just been deleted; reading it will report that
        stat = path.stat()
        return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
    return (hash(path),)


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _is_vocabulary(path: Path) -> bool:
    """Return whether a file is that of a tokenizer, as in a folder of shards or of a model."""
    return path.name == "vocab.txt" and any((path.parent / name).is_file() for name in _TOKENIZER_FILES)


def check_compression(path: Path) -> None:
    """Check that a file is compressed as its name says.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not.
    """
    with path.open("rb") as file:
        begin = file.read(8)
    found, expected = compression(begin), path.suffix if path.suffix in OPEN else ""
    if found and not expected:
        raise ValueError(f"{path} is compressed, as a {found} file; rename it to {path.name}{found}")
    if found != expected and begin:
        raise ValueError(
            f"{path} is {f'a {found} file' if found else 'not compressed'}, expected a {expected} file; "
            f"rename it to {path.stem}{found}"
        )


def _check_content(path: Path) -> None:
    """Check a sample of a file; one that cannot be read is reported when its turn comes.

    Raises:
        ValueError: it is not UTF-8 text, or not compressed as its name says.
    """
    begin = middle = b""
    with suppress(*_BROKEN):
        check_compression(path)
        with closing(OPEN.get(path.suffix, open)(path, "rb")) as file:
            begin = file.read(SAMPLE)
            if path.suffix not in OPEN and (size := path.stat().st_size) > 2 * SAMPLE:
                file.seek(size // 2)
                middle = file.read(SAMPLE)
    if found := other_format(begin):
        raise ValueError(
            f"{path} is {found}, expected text; unpack it or save its text as UTF-8, or use a pattern that "
            "excludes it"
        )
    if found := foreign_encoding(begin, middle):
        raise ValueError(
            f"{path} is {found}; expected UTF-8. Convert it, for example with `iconv -f UTF-16 -t UTF-8` and "
            "the right name of its encoding, or use a pattern that excludes it"
        )


def kind_of(path: Path) -> str:
    """Return the suffix that names a file's format, such as ".jsonl"; that of compression is ignored."""
    return Path(path.stem if path.suffix in OPEN else path.name).suffix.lower()


def _read_all(
    files: dict[str, list[Path]], skipped: SkippedRows, one_document_a_line: bool, field: str, split: str
) -> Iterator[Document]:
    for source, paths in files.items():
        if source.startswith(HUB):
            texts = _hub_texts(source.removeprefix(HUB), field, split, skipped)
            yield from _documents(source, texts, skipped)
        for path in paths:
            texts = _file_texts(path, skipped, one_document_a_line, field)
            yield from _documents(source, texts, skipped)


def _documents(source: str, texts: Iterable[tuple[str, str]], skipped: SkippedRows) -> Iterator[Document]:
    """Yield documents of bounded size from pairs of text and location."""
    for text, location in texts:
        if is_empty(text):
            skipped.add("empty document", location)
            continue
        if len(text) > MAX_DOCUMENT:
            skipped.add(f"longer than {MAX_DOCUMENT:,} characters, split into several documents", location)
        for part in _bounded(text, MAX_DOCUMENT):
            yield Document(source, part, location)


def _file_texts(
    path: Path, skipped: SkippedRows, one_document_a_line: bool, field: str
) -> Iterator[tuple[str, str]]:
    """Yield the texts of a file, each with its location (file and line)."""
    try:
        with closing(OPEN.get(path.suffix, open)(path, "rb")) as file:
            if kind_of(path) == ".jsonl":
                yield from _json_texts(path, file, skipped, field)
            elif one_document_a_line:
                yield from ((text, f"{path}:{number}") for number, text in _lines(path, file, skipped))
            else:
                yield from _blocks(path, file, skipped)
    except _BROKEN as error:
        skipped.add(f"cannot be read to the end ({type(error).__name__})", str(path))


def _blocks(path: Path, file: IO[bytes], skipped: SkippedRows) -> Iterator[tuple[str, str]]:
    """Yield the texts between blank lines; a text that grows too long is split into several."""
    block: list[str] = []
    number = first_line = size = 0
    for number, line in _lines(path, file, skipped):
        blank = not line.strip()
        if block and (blank or size + len(line) > MAX_DOCUMENT):
            if not blank:
                skipped.add(
                    f"longer than {MAX_DOCUMENT:,} characters, split into several documents",
                    f"{path}:{first_line}",
                )
            yield "\n".join(block), f"{path}:{first_line}"
            block, size = [], 0
        if not blank:
            first_line = first_line if block else number
            block.append(line)
            size += len(line) + 1
    if block:
        yield "\n".join(block), f"{path}:{first_line}"
    elif number and not first_line:
        skipped.add("only blank lines", str(path))


def _json_texts(path: Path, file: IO[bytes], skipped: SkippedRows, field: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of a file of JSON lines, each with its location."""
    for number, line in _lines(path, file, skipped, MAX_JSON_LINE, cut=False):
        location = f"{path}:{number}"
        row, fault = json_object(line, (field,))
        if row is None:
            skipped.add(fault or "empty line", location)
        elif not isinstance(text := row.get(field), str):
            skipped.add(f"no text in the field {field!r}", location)
        elif _is_unicode(text, location, skipped):
            yield text, location


class _RepeatedFieldError(ValueError):
    """An object has a field twice; which of the values counts is unknown."""


def json_object(line: str, fields: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
    """Return the object of a line of JSON, or what is wrong with the line; neither if the line is blank.

    Args:
        line: the line.
        fields: those that are read; none may be there twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        names = [name for name, _ in pairs] if len(row) < len(pairs) else []
        if repeated := [field for field in fields if names.count(field) > 1]:
            raise _RepeatedFieldError(f"has the field {repeated[0]!r} several times")
        return row

    if not line.strip():
        return None, ""
    try:
        row = json.loads(line.removeprefix("\ufeff"), object_pairs_hook=unique, parse_int=_whole_number)
    except _RepeatedFieldError as error:
        return None, str(error)
    except (ValueError, RecursionError):
        return None, "not valid JSON"
    return (row, "") if isinstance(row, dict) else (None, "not a JSON object")


def _whole_number(digits: str) -> int | float:
    """Return a number; infinity if it has more digits than Python reads, since the text is elsewhere."""
    try:
        return int(digits)
    except ValueError:
        return math.inf


def _lines(
    path: Path, file: IO[bytes], skipped: SkippedRows, max_bytes: int = MAX_DOCUMENT, cut: bool = True
) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line that is valid UTF-8.

    A line of more than `max_bytes` bytes is yielded in parts if `cut`, else skipped.
    """
    number = 0
    for number, line in _raw_lines(path, file, skipped, max_bytes, cut):
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError:
            skipped.add("line is not UTF-8", f"{path}:{number}")
    if number == 0:
        skipped.add("empty file", str(path))


def _raw_lines(
    path: Path, file: IO[bytes], skipped: SkippedRows, max_bytes: int, cut: bool
) -> Iterator[tuple[int, bytes]]:
    """Yield the number and bytes of each line; a very long line is split or skipped, see `_lines`."""
    number, buffer, skipping = 1, b"", False
    for part in _line_parts(file, max_bytes):
        buffer += part
        if number == 1:
            buffer = buffer.removeprefix(codecs.BOM_UTF8)
        if part.endswith(b"\n"):
            if not skipping:
                yield number, buffer.removesuffix(b"\n")
            number, buffer, skipping = number + 1, b"", False
        elif len(buffer) < max_bytes:  # the rest follows, or it is the end of the file
            continue
        elif cut:
            end = buffer.rfind(b" ") + 1 or character_end(buffer)
            yield number, buffer[:end]
            buffer = buffer[end:]
        else:
            if not skipping:
                skipped.add(f"line of more than {max_bytes:,} bytes", f"{path}:{number}")
            buffer, skipping = b"", True
    if buffer and not skipping:
        yield number, buffer


def _line_parts(file: IO[bytes], max_bytes: int) -> Iterator[bytes]:
    r"""Yield the lines of a file in parts of at most `max_bytes` bytes; the last part of a line ends with \n.

    In the file, \n, \r, \r\n or \r\r\n (a \r\n that was converted once more) ends a line.
    """
    after_return = False
    while part := file.readline(max_bytes):
        if part.endswith(b"\n"):
            part = part.rstrip(b"\r\n") + b"\n"
        is_rest = after_return and part == b"\n"  # of a \r\n that was read in two parts
        after_return = part.endswith(b"\r")
        if not is_rest:
            yield from io.BytesIO(part.replace(b"\r", b"\n"))


def _is_unicode(text: str, location: str, skipped: SkippedRows) -> bool:
    """Return whether a text has no lone surrogates; count it as skipped if it has."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        skipped.add("half a surrogate pair", location)
        return False
    return True


def _hub_texts(name: str, field: str, split: str, skipped: SkippedRows) -> Iterator[tuple[str, str]]:
    """Stream the texts of a hub data set, each with its location (name and row)."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise DataError(f"{HUB}{name} needs the datasets library: pip install 'bertlearn[hub]'") from error
    name, _, config = name.partition("@")
    try:
        for number, row in enumerate(load_dataset(name, config or None, split=split, streaming=True)):
            location = f"{HUB}{name} row {number}"
            if not isinstance(text := row.get(field), str):
                skipped.add(f"no text in the field {field!r} (the fields are {', '.join(row)})", location)
            elif _is_unicode(text, location, skipped):
                yield text, location
    except (OSError, ValueError) as error:
        raise DataError(
            f"{HUB}{name}, split {split!r}, could not be read ({type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}); check the name, the split and the network"
        ) from error
