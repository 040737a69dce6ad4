"""A user's own labeled texts, from a CSV, TSV or JSON-lines file (chapter 6, and `bertlearn finetune`).

A row that cannot be used is skipped, counted and reported with its line. A file that cannot be right is an
error, whose message suggests a remedy. The content of a file is never interpreted as anything but data.
Leaves out: guessing separators, encodings and columns.
"""

from __future__ import annotations

import codecs
import csv
import json
import lzma
import random
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from bertlearn.pretraining.corpus import SkippedRows
from bertlearn.pretraining.corpus.texts import OPEN, kind_of

MIN_ROWS = 20  # fewer are not worth training on
SHOWN = 10  # maximum number of names in a message
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
Row = dict[str, Any]


class LabeledTexts(NamedTuple):
    """Texts or pairs of texts, each with the name of its label at the same index."""

    texts: list[Any]  # of str, or of (str, str)
    labels: list[str]


# 1. Reading


def read_table(
    path: str | Path, text_columns: Sequence[str], label_column: str, skipped: SkippedRows
) -> LabeledTexts:
    """Read labeled texts from a .csv, .tsv or .jsonl file in UTF-8, possibly compressed (.gz, .bz2, .xz).

    A .csv file has commas, a .tsv file tabs; both have a header, and double quotes where needed. A .jsonl
    file has one object per line.

    Args:
        path: of the file.
        text_columns: one column, or two for pairs of texts.
        label_column: its values are the labels, as text; in a .jsonl file they may also be numbers or
            Booleans.
        skipped: counts and reports the rows that are skipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, broken or empty, lacks a column, or has no usable row.
    """
    path = _check_path(Path(path).expanduser())
    texts: list[Any] = []
    labels = []
    for location, row in _rows(path, (*text_columns, label_column), skipped):
        fault = _fault(row, text_columns, label_column)
        if fault:
            skipped.add(fault, location)
            continue
        values = tuple(row[name] for name in text_columns)
        texts.append(values if len(values) > 1 else values[0])
        labels.append(_label(row[label_column]))
    if not texts:
        raise ValueError(f"{path} has no usable row; skipped: {skipped}")
    return LabeledTexts(texts, labels)


def _check_path(path: Path) -> Path:
    if not path.is_file():
        if path.is_dir():
            raise FileNotFoundError(f"{path} is a folder, expected a file; check the spelling")
        raise FileNotFoundError(
            f"{path} does not exist (working directory: {Path.cwd()}); check the spelling"
        )
    if kind_of(path) not in (*_SEPARATORS, ".jsonl"):
        raise ValueError(
            f"{path} has the extension {path.suffix!r}, expected .csv, .tsv or .jsonl (or one of these "
            f"with {', '.join(OPEN)}); save or rename it as one of them"
        )
    return path


def _rows(path: Path, columns: Sequence[str], skipped: SkippedRows) -> Iterator[tuple[str, Row]]:
    """Yield each row with its file and line. Bytes that are not UTF-8 become lone surrogates."""
    open_file = OPEN.get(path.suffix, open)
    try:
        with open_file(path, "rb") as binary:
            if binary.read(2) in _UTF16:
                raise ValueError(f"{path} is UTF-16, expected UTF-8; save it as UTF-8 (in Excel: CSV UTF-8)")
        with open_file(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            read_rows = _json_rows if kind_of(path) == ".jsonl" else _csv_rows
            yield from read_rows(path, file, columns, skipped)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(
            f"{path} cannot be read to its end ({error}); create or download it again"
        ) from error


def _csv_rows(
    path: Path, file: IO[str], columns: Sequence[str], skipped: SkippedRows
) -> Iterator[tuple[str, Row]]:
    header: list[str] = []
    for location, cells in _records(path, file, skipped):
        if not header:
            header = [name.strip() for name in cells]
            _check_columns(path, header, columns)
        elif len(cells) != len(header):
            skipped.add(f"does not have {len(header)} fields like the header", location)
        else:
            yield location, dict(zip(header, cells, strict=True))
    if not header:
        raise ValueError(f"{path} is empty, expected a header and rows; check how it was created")


def _records(path: Path, file: IO[str], skipped: SkippedRows) -> Iterator[tuple[str, list[str]]]:
    """Yield the cells of each record that is not blank; with quoted line breaks it spans several lines."""
    reader = csv.reader(file, delimiter=_SEPARATORS[kind_of(path)], strict=True)
    while True:
        begin = reader.line_num + 1
        try:
            cells = next(reader, None)
            fault = ""
        except csv.Error as error:
            cells, fault = [], f"not valid CSV ({error})"
        if cells is None:
            return
        location = f"{path}:{begin}" + (f"-{reader.line_num}" if reader.line_num > begin else "")
        if fault:
            skipped.add(fault, location)
        elif any(cells):
            yield location, cells


def _json_rows(
    path: Path, file: IO[str], columns: Sequence[str], skipped: SkippedRows
) -> Iterator[tuple[str, Row]]:
    names: dict[str, None] = {}
    number = 0
    for number, line in enumerate(file, start=1):
        row, fault = _json_object(line)
        if fault:
            skipped.add(fault, f"{path}:{number}")
        elif row is not None:
            names |= dict.fromkeys(row)
            yield f"{path}:{number}", row
    if number == 0:
        raise ValueError(f"{path} is empty, expected one object per line; check how it was created")
    if names:
        _check_columns(path, list(names), columns)


def _json_object(line: str) -> tuple[Row | None, str]:
    """Return the object of a line, or what is wrong with the line; neither if the line is blank."""
    if not line.strip():
        return None, ""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None, "not valid JSON"
    return (row, "") if isinstance(row, dict) else (None, "not a JSON object")


def _check_columns(path: Path, names: list[str], columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in names]
    if missing and len(names) == 1 and any(separator in names[0] for separator in ";\t|"):
        raise ValueError(
            f"{path} begins with {names[0][:60]!r}, which is a single column; save it with commas between "
            "columns, or with tabs as .tsv"
        )
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}; its columns are {_listed(names)}; use one of these, or, "
            "if these are data, add a header line above them"
        )
    for column in columns:
        if names.count(column) > 1:
            raise ValueError(f"{path} has {names.count(column)} columns {column!r}; rename all but one")


def _fault(row: Row, text_columns: Sequence[str], label_column: str) -> str:
    """Return why a row cannot be used; an empty string if it can."""
    for name in text_columns:
        if not isinstance(row.get(name), str):
            return f"no text in the column {name!r}"
        if not row[name].strip():
            return f"empty text in the column {name!r}"
    label = _label(row.get(label_column))
    if not label:
        return f"no label in the column {label_column!r}"
    try:
        "".join([*(row[name] for name in text_columns), label]).encode("utf-8")
    except UnicodeEncodeError:
        return "not UTF-8"
    return ""


def _label(value: Any) -> str:
    """Return a label as text, JSON's true and 1 as they are written; an empty string if it is not a label."""
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value) if isinstance(value, bool | int | float) else ""


# 2. Checks, and splitting off a validation set


def check_classes(rows: LabeledTexts, path: str | Path, label_column: str) -> None:
    """Check that a classifier can be trained on the rows.

    Raises:
        ValueError: fewer than 20 rows, more than half as many labels as rows, only one label, or a label
            that only one text has.
    """
    size, counts = len(rows.labels), Counter(rows.labels)
    if size < MIN_ROWS:
        raise ValueError(f"{path} has {size} usable rows, expected at least {MIN_ROWS}; label more")
    if 2 * len(counts) > size:
        raise ValueError(
            f"{path} has {len(counts):,} different labels in {size:,} rows, such as {_listed(counts)}; "
            f"{label_column!r} is probably not the label column"
        )
    if len(counts) == 1:
        raise ValueError(
            f"{path} has only one label, {_listed(counts)}, expected two or more; add texts with others"
        )
    distinct_texts = Counter(label for _, label in set(zip(rows.texts, rows.labels, strict=True)))
    rare = sorted(label for label, count in distinct_texts.items() if count == 1)
    if rare:
        raise ValueError(
            f"{path} has only one text labeled {_listed(rare)}, expected two or more for each label; add "
            "texts, or correct the label"
        )


def check_known(rows: LabeledTexts, known: Sequence[str], path: str | Path) -> None:
    """Check that validation texts have only labels that the training texts have.

    Raises:
        ValueError: there is another label.
    """
    unknown = sorted(set(rows.labels) - set(known))
    if unknown:
        raise ValueError(
            f"{path} has the label {_listed(unknown)}, which no training text has; the training labels are "
            f"{_listed(known)}; correct it, or add training texts with it"
        )


def split_off(rows: LabeledTexts, share: float, seed: int) -> tuple[LabeledTexts, LabeledTexts]:
    """Split the rows into training and held-out rows: about this share of each label's texts, at least one.

    A text that occurs several times is in one part only. The same seed gives the same split.
    """
    held_out = set()
    for label in sorted(set(rows.labels)):
        texts = {text: None for text, other in zip(*rows, strict=True) if other == label}
        count = max(1, round(share * len(texts)))
        held_out |= set(random.Random(f"{seed} {label}").sample(list(texts), count))
    return _select(rows, held_out, False), _select(rows, held_out, True)


def _select(rows: LabeledTexts, texts: set[Any], inside: bool) -> LabeledTexts:
    selected = [(text, label) for text, label in zip(*rows, strict=True) if (text in texts) == inside]
    return LabeledTexts([text for text, _ in selected], [label for _, label in selected])


def describe_labels(labels: Sequence[str]) -> str:
    """Return the labels and their counts in one line, the most frequent first."""
    counts = Counter(labels)
    shown = [f"{label[:40]!r} {count:,}" for label, count in counts.most_common(SHOWN)]
    return f"{len(counts):,} labels: {_joined(shown, len(counts))}"


def _listed(names: Iterable[str]) -> str:
    """Return names in one line, each quoted, so that none can be mistaken for part of the message."""
    names = list(names)
    return _joined([repr(name[:40]) for name in names[:SHOWN]], len(names))


def _joined(shown: list[str], count: int) -> str:
    more = [f"and {count - len(shown):,} more"] if count > len(shown) else []
    return ", ".join([*shown, *more])
