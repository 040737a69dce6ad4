"""Reading documents from files of any size or from the hub, and cutting them into sentences.

One line is in memory at a time, and of a line never more than a bounded part. What cannot be read is left
out, counted, and the first few of each kind are told with file and line: one broken line in a thousand files
must not end a night's work.
"""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import json
import lzma
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from tqdm.auto import tqdm

from bertlearn.data import DataError, Document

HUB = "hub:"
MAX_DOCUMENT = 1 << 20  # characters; a longer document goes on as another one
MAX_JSON_LINE = 1 << 26  # bytes; JSON must be in memory whole, and a longer line is left out
MAX_SENTENCE = 2000  # characters; text without an end of sentence is cut here
OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

_NO_ENDS = ("Mr", "Mrs", "Ms", "Dr", "St", "Prof", "Rev", "Gen", "vs", "cf", "No", r"e\.g", r"i\.e", "[A-Z]")
_NO_END = "".join(rf"(?<!\b{word}\.)" for word in _NO_ENDS)
_SENTENCE_END = re.compile(
    rf"""[.!?]{_NO_END}[.!?]*["”’')\]]*\s+(?=["“‘'(\[]*[A-Z0-9À-ÞΑ-ΩА-Я])|[。！？][”’」』]*"""
)


class SkippedRows:
    """What was left out, counted by kind; the first few of each kind are printed as they come.

    Args:
        shown: how many of each kind are printed.

    Attributes:
        counts: how often, by kind.
    """

    def __init__(self, shown: int = 3) -> None:
        self.shown = shown
        self.counts: Counter[str] = Counter()

    def add(self, kind: str, place: str) -> None:
        """Count one problem; `place` is the file and line."""
        self.counts[kind] += 1
        if self.counts[kind] <= self.shown:
            more = " (more of these are only counted)" if self.counts[kind] == self.shown else ""
            tqdm.write(f"{place}: {kind}{more}", file=sys.stderr)

    def __str__(self) -> str:
        """Return all counts in one line."""
        return ", ".join(f"{count:,} × {kind}" for kind, count in self.counts.items()) or "nothing"


def split_sentences(text: str) -> list[str]:
    """Cut a text into sentences: at line ends, and after . ! ? before a capital, a digit or a quote.

    A few abbreviations and initials are known; other mistakes do no harm, since what BERT calls a sentence
    is any span of text (Devlin et al. 2019, §3). Without an end, a sentence is cut after 2,000 characters.
    """
    lines = _SENTENCE_END.sub(r"\g<0>\n", text).splitlines()
    return [part for line in lines if (sentence := line.strip()) for part in _bounded(sentence, MAX_SENTENCE)]


def read_documents(
    inputs: Sequence[str],
    problems: SkippedRows,
    one_document_a_line: bool = False,
    field: str = "text",
    split: str = "train",
) -> Iterator[Document]:
    """Stream documents; each input is the source of its documents.

    Args:
        inputs: patterns of file names such as "books/**/*.txt", read in alphabetical order, each file once;
            .txt holds documents between blank lines, .jsonl one a line, both may end with .gz, .bz2 or .xz.
            Or "hub:owner/name", "hub:owner/name@config" for a data set of the Hugging Face hub.
        problems: where to tell what is left out.
        one_document_a_line: each line of a .txt is a document.
        field: where a .jsonl line, or a row of a data set, has its text.
        split: part of the data set.

    Raises:
        ValueError: a pattern that no file matches, another kind of file; told before anything is read.
        DataError: the data set cannot be read, or the library for it is missing.
    """
    files = {given: [] if given.startswith(HUB) else _matches(given) for given in inputs}
    return _read_all(files, problems, one_document_a_line, field, split)


def input_bytes(inputs: Sequence[str]) -> int | None:
    """Return the size of all files, None where it says nothing about the text in them."""
    if not inputs or any(given.startswith(HUB) for given in inputs):
        return None
    paths = {path for given in inputs for path in _matches(given)}
    return None if any(path.suffix in OPEN for path in paths) else sum(path.stat().st_size for path in paths)


def sample_texts(documents: Iterable[Document], characters: int = 10_000_000) -> list[str]:
    """Return texts of documents from all over, about evenly, with at most so many characters.

    All of them where they fit; else every second one, every fourth one, …, in memory that stays bounded.
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


def _bounded(text: str, most: int) -> Iterator[str]:
    """Cut a text into parts of at most so many characters, after a space where there is one."""
    while len(text) > most:
        end = text.rfind(" ", 0, most) + 1 or most
        yield text[:end]
        text = text[end:]
    yield text


def _matches(pattern: str) -> list[Path]:
    """Return the files of a pattern, in order."""
    if Path(pattern).expanduser().is_dir():
        raise ValueError(
            f"{pattern} is a folder; name the files in it, such as {pattern.rstrip('/')}/**/*.txt"
        )
    found = (
        [pattern] if Path(pattern).is_file() else glob.glob(str(Path(pattern).expanduser()), recursive=True)
    )
    paths = [Path(name) for name in sorted(found) if Path(name).is_file()]
    if not paths:
        raise ValueError(f"no file matches {pattern!r} (seen from {Path.cwd()}); check the spelling")
    for path in paths:
        if kind_of(path) not in (".txt", ".jsonl"):
            raise ValueError(
                f"{path} is neither .txt nor .jsonl (nor one of these with {', '.join(OPEN)}); rename it, "
                "or name the files with a narrower pattern"
            )
    return paths


def kind_of(path: Path) -> str:
    """Return what a file holds by its ending, such as ".jsonl", also where it is packed."""
    return Path(path.stem if path.suffix in OPEN else path.name).suffix.lower()


def _read_all(
    files: dict[str, list[Path]], problems: SkippedRows, one_document_a_line: bool, field: str, split: str
) -> Iterator[Document]:
    seen: set[Path] = set()
    for source, paths in files.items():
        if source.startswith(HUB):
            found = _hub_texts(source.removeprefix(HUB), field, split, problems)
            yield from _documents(source, found, problems)
        for path in paths:
            if path not in seen:
                seen.add(path)
                found = _file_texts(path, problems, one_document_a_line, field)
                yield from _documents(source, found, problems)


def _documents(source: str, texts: Iterable[tuple[str, str]], problems: SkippedRows) -> Iterator[Document]:
    """Make documents of (text, place), bounded in size."""
    for text, place in texts:
        if not text.strip():
            problems.add("empty document", place)
            continue
        if len(text) > MAX_DOCUMENT:
            problems.add(f"longer than {MAX_DOCUMENT:,} characters, cut into several documents", place)
        for part in _bounded(text, MAX_DOCUMENT):
            yield Document(source, part, place)


def _file_texts(
    path: Path, problems: SkippedRows, one_document_a_line: bool, field: str
) -> Iterator[tuple[str, str]]:
    """Give the texts of a file, each with file and line."""
    try:
        with closing(OPEN.get(path.suffix, open)(path, "rb")) as file:
            if kind_of(path) == ".jsonl":
                yield from _json_texts(path, file, problems, field)
            elif one_document_a_line:
                yield from ((text, f"{path}:{number}") for number, text in _lines(path, file, problems))
            else:
                yield from _blocks(path, file, problems)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        problems.add(f"cannot be read to its end ({type(error).__name__})", str(path))


def _blocks(path: Path, file: IO[bytes], problems: SkippedRows) -> Iterator[tuple[str, str]]:
    """Give the texts between blank lines; one that grows too long goes on as another."""
    block: list[str] = []
    begin, size = 1, 0
    for number, line in _lines(path, file, problems):
        blank = not line.strip()
        if block and (blank or size + len(line) > MAX_DOCUMENT):
            if not blank:
                problems.add(
                    f"longer than {MAX_DOCUMENT:,} characters, cut into several documents", f"{path}:{begin}"
                )
            yield "\n".join(block), f"{path}:{begin}"
            block, size = [], 0
        if not blank:
            begin = begin if block else number
            block.append(line)
            size += len(line) + 1
    if block:
        yield "\n".join(block), f"{path}:{begin}"


def _json_texts(path: Path, file: IO[bytes], problems: SkippedRows, field: str) -> Iterator[tuple[str, str]]:
    for number, line in _lines(path, file, problems, MAX_JSON_LINE, cut=False):
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            problems.add("not valid JSON" if line.strip() else "empty line", place)
            continue
        text = row.get(field) if isinstance(row, dict) else None
        if not isinstance(row, dict):
            problems.add("no JSON object", place)
        elif not isinstance(text, str):
            problems.add(f"no text in the field {field!r}", place)
        elif _is_unicode(text, place, problems):
            yield text, place


def _lines(
    path: Path, file: IO[bytes], problems: SkippedRows, most: int = MAX_DOCUMENT, cut: bool = True
) -> Iterator[tuple[int, str]]:
    """Give the number and the text of each line that is UTF-8.

    Of a line of more than `most` bytes the parts are given one by one, or, if not `cut`, nothing.
    """
    number = 0
    for number, line in _raw_lines(path, file, problems, most, cut):
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError:
            problems.add("line is not UTF-8", f"{path}:{number}")
    if number == 0:
        problems.add("empty file", str(path))


def _raw_lines(
    path: Path, file: IO[bytes], problems: SkippedRows, most: int, cut: bool
) -> Iterator[tuple[int, bytes]]:
    number, held, skipping = 1, b"", False
    while (part := file.readline(most)) or held:
        held += part
        if number == 1:
            held = held.removeprefix(codecs.BOM_UTF8)
        if len(part) < most or part.endswith(b"\n"):  # the line is at its end, or the file
            if not skipping:
                yield number, held.rstrip(b"\r\n")
            number, held, skipping = number + 1, b"", False
        elif cut:
            end = held.rfind(b" ") + 1 or _character_end(held)
            yield number, held[:end]
            held = held[end:]
        else:
            if not skipping:
                problems.add(f"line of more than {most:,} bytes", f"{path}:{number}")
            held, skipping = b"", True


def _character_end(text: bytes) -> int:
    """Return where the last whole UTF-8 character ends: before the last byte that begins one."""
    begins = (place for place in range(len(text) - 1, len(text) - 5, -1) if text[place] & 0xC0 != 0x80)
    return next(begins, len(text))


def _is_unicode(text: str, place: str, problems: SkippedRows) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        problems.add("half a surrogate pair", place)
        return False
    return True


def _hub_texts(name: str, field: str, split: str, problems: SkippedRows) -> Iterator[tuple[str, str]]:
    """Stream the texts of a data set, each with its name and row."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise DataError(f"{HUB}{name} needs the datasets library: pip install 'bertlearn[hub]'") from error
    name, _, config = name.partition("@")
    try:
        for number, row in enumerate(load_dataset(name, config or None, split=split, streaming=True)):
            place = f"{HUB}{name} row {number}"
            if not isinstance(text := row.get(field), str):
                problems.add(f"no text in the field {field!r} (there are {', '.join(row)})", place)
            elif _is_unicode(text, place, problems):
                yield text, place
    except (OSError, ValueError) as error:
        raise DataError(
            f"{HUB}{name}, split {split!r}, could not be read ({type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}); check name, split and network"
        ) from error
