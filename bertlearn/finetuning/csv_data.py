"""A user's own labeled texts, from a CSV, TSV or JSON-lines file (chapter 6, and `bertlearn finetune`).

A row that cannot be used is skipped, counted and reported with its line. A file that cannot be right, such as
one whose quotes hide rows inside a field, is an error whose message suggests a remedy. The content of a file
is never interpreted as anything but data. Leaves out: guessing separators, encodings and columns.
"""

from __future__ import annotations

import csv
import json
import lzma
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from tqdm.auto import tqdm

from bertlearn.finetuning.labeled_texts import LabeledTexts, listed
from bertlearn.model.inference import PATIENCE
from bertlearn.pretraining.corpus import SkippedRows
from bertlearn.pretraining.corpus.encoding import SAMPLE, foreign_encoding, other_format
from bertlearn.pretraining.corpus.texts import OPEN, check_compression, is_empty, json_object, kind_of

Quoting = Literal["checked", "standard", "none"]
Row = dict[str, Any]

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_MISSING = {"nan", "-nan", "<na>", "#n/a", "#na", "#ref!", "#value!", "#name?", "#div/0!", "#null!", "#num!"}
_IN_PANDAS = 'in pandas: to_json(…, orient="records", lines=True)'
_OBJECTS = (
    f"one JSON object per line ({_IN_PANDAS}) with a text, and with a string, number or Boolean as label"
)
_RECORDS = (
    "a text, a label and as many fields as the header in each row (in R: write.csv(…, row.names = FALSE)), "
    "and double quotes around fields that have the separator"
)
_BOM = "\ufeff"
_LONGEST = 2**31 - 1  # characters in a field: the most that every system accepts
_HELP = (
    "use --quoting none if quotes mean nothing in this file, --quoting standard if they are right as they are"
)


# 1. Files and rows


def read_table(
    path: str | Path,
    text_columns: Sequence[str],
    label_column: str,
    skipped: SkippedRows,
    quoting: Quoting = "checked",
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
        quoting: "standard" reads a .csv or .tsv file with double quotes around fields; "checked" also
            does so, but refuses quotes that seem to hide rows; for "none", a quote is a character like
            any other.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, broken or empty, lacks a column, has no usable row, or has
            stray quotes.
    """
    path = _check_path(Path(path).expanduser())
    texts: list[Any] = []
    labels = []
    rows = _rows(path, (*text_columns, label_column), skipped, quoting)
    bar = tqdm(rows, f"read {path.name}", unit=" rows", delay=PATIENCE, leave=False, disable=None)
    for location, row in bar:
        fault = _fault(row, text_columns, label_column)
        if fault:
            skipped.add(fault, location)
            continue
        values = tuple(row[name] for name in text_columns)
        texts.append(values if len(values) > 1 else values[0])
        labels.append(_label(row[label_column]))
    if not texts:
        expected = _RECORDS if kind_of(path) in _SEPARATORS else _OBJECTS
        raise ValueError(f"{path} has no usable row; skipped: {skipped}; expected {expected}")
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


def _rows(
    path: Path, columns: Sequence[str], skipped: SkippedRows, quoting: Quoting
) -> Iterator[tuple[str, Row]]:
    """Yield each row with its file and line. Bytes that are not UTF-8 become lone surrogates."""
    open_file = OPEN.get(path.suffix, open)
    try:
        check_compression(path)
        with open_file(path, "rb") as binary:
            _check_content(path, binary)
        with open_file(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            if kind_of(path) == ".jsonl":
                yield from _json_rows(path, file, columns, skipped)
            else:
                with _fields_of_any_length():
                    yield from _csv_rows(path, file, columns, skipped, quoting)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(
            f"{path} cannot be read to its end ({error}); create or download it again"
        ) from error


def _check_content(path: Path, file: IO[bytes]) -> None:
    """Refuse, by its first bytes, a file that is not UTF-8 text, and JSON lines that are not objects."""
    begin = file.read(SAMPLE)
    if found := other_format(begin):
        raise ValueError(f"{path} is {found}, expected text; unpack it, or save the table as CSV UTF-8")
    if b"\0" not in re.split(rb"[\r\n]", begin)[0]:
        begin = begin.replace(b"\0", b" ")  # inside a text, NUL is a character like any other
    if found := foreign_encoding(begin):
        raise ValueError(f"{path} is {found}, expected UTF-8; save it as UTF-8 (in Excel: CSV UTF-8)")
    if kind_of(path) == ".jsonl":
        _check_objects(path, begin.decode("utf-8-sig", errors="replace"))


def _check_objects(path: Path, begin: str) -> None:
    """Refuse a .jsonl file that begins with an array, or with lines none of which is an object."""
    lines = [line.strip() for line in begin.splitlines() if line.strip()]
    has_objects = any(line.startswith("{") for line in lines)
    if lines and (not has_objects or re.match(r"\s*\[\s*{", begin)):
        raise _no_object_per_line(path, lines[0])


def _no_object_per_line(path: Path, begin: str) -> ValueError:
    return ValueError(
        f"{path} begins with {begin[:40]!r}, expected one JSON object per line, with a text and a label; "
        f"write it so ({_IN_PANDAS}), or give a table the extension .csv or .tsv"
    )


def _json_rows(
    path: Path, file: IO[str], columns: Sequence[str], skipped: SkippedRows
) -> Iterator[tuple[str, Row]]:
    names: dict[str, None] = {}
    is_empty = True
    for number, line in enumerate(file, start=1):
        row, fault = json_object(line, columns)
        is_empty = is_empty and row is None and not fault
        if fault:
            skipped.add(fault, f"{path}:{number}")
        elif row is not None:
            if not names and all(isinstance(row.get(name), dict | list) for name in columns):
                raise _no_object_per_line(path, line)  # a whole table, column by column
            names |= dict.fromkeys(row)
            yield f"{path}:{number}", row
    if is_empty:
        raise ValueError(f"{path} is empty, expected one object per line; check how it was created")
    if names:
        _check_columns(path, list(names), columns)


def _check_columns(path: Path, names: list[str], columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in names]
    if missing and len(names) == 1 and any(separator in names[0] for separator in ",;\t|"):
        raise ValueError(
            f"{path} begins with {names[0][:60]!r}, which is a single column; save it with commas between "
            "columns as .csv, or with tabs as .tsv"
        )
    if missing:
        no_header = ", or, if these are data, add a header line above them"
        raise ValueError(
            f"{path} has no column {missing[0]!r}; its columns are {listed(names)}; use one of these "
            f"(--text-column, --label-column){no_header if kind_of(path) in _SEPARATORS else ''}"
        )
    for column in columns:
        if names.count(column) > 1:
            raise ValueError(f"{path} has {names.count(column)} columns {column!r}; rename all but one")


def _fault(row: Row, text_columns: Sequence[str], label_column: str) -> str:
    """Return why a row cannot be used; an empty string if it can."""
    for name in text_columns:
        if not isinstance(row.get(name), str):
            return f"no text in the column {name!r}"
        if is_empty(row[name]):
            return f"empty text in the column {name!r}"
    label = _label(row.get(label_column))
    if not label:
        return f"no label in the column {label_column!r}"
    if label.casefold() in _MISSING:
        return f"{label!r} as the label, which stands for a missing value (rename it if it is a label)"
    try:
        "".join([*(row[name] for name in text_columns), label]).encode("utf-8")
    except UnicodeEncodeError:
        return "not UTF-8"
    return ""


def _label(value: Any) -> str:
    """Return a label as text, JSON's true and 1 as they are written; an empty string if it is not a label."""
    if isinstance(value, str):
        return "" if is_empty(value) else value.strip()
    return json.dumps(value) if isinstance(value, bool | int | float) and math.isfinite(value) else ""


# 2. Records of CSV and TSV, and stray quotes


class _Record(NamedTuple):
    """A record of the file, which spans several lines if a quoted field has line breaks."""

    first: int  # number of its first line
    lines: list[str]
    cells: list[str]  # empty if the line is blank, or not valid
    fault: str  # why it is not valid, or empty
    unclosed: bool  # whether a quote is still open at the end of the file

    def location(self, path: Path) -> str:
        last = self.first + len(self.lines) - 1
        return f"{path}:{self.first}" + (f"-{last}" if last > self.first else "")


def _csv_rows(
    path: Path, file: IO[str], columns: Sequence[str], skipped: SkippedRows, quoting: Quoting
) -> Iterator[tuple[str, Row]]:
    records = (record for record in _records(path, file, quoting) if record.fault or record.cells)
    header = next(records, None)
    if header is not None and header.cells == ["sep=", ""]:
        header = next(records, None)  # Excel names the separator in a first line
    if header is None:
        raise ValueError(f"{path} is empty, expected a header and rows; check how it was created")
    if header.fault:
        raise ValueError(f"{header.location(path)}, the header, is {header.fault}; correct it, or {_HELP}")
    names = [name.strip() for name in header.cells]
    _check_columns(path, names, columns)
    hidden = _HiddenRows(len(names), names.index(columns[-1]), _SEPARATORS[kind_of(path)])
    after_fault = False
    record: _Record | None = None
    for record in records:
        hidden.add(record)
        if record.fault:
            _skip_broken(path, record, skipped, quoting)
        elif after_fault and sum(line.count('"') for line in record.lines) % 2:
            skipped.add("ends a row that is not valid CSV", record.location(path))
        elif record.cells == header.cells:
            skipped.add("repeats the header", record.location(path))
        elif len(record.cells) != len(names):
            skipped.add(f"does not have {len(names)} fields like the header", record.location(path))
        else:
            yield record.location(path), dict(zip(names, record.cells, strict=True))
        after_fault = bool(record.fault)
    if record is None:
        raise ValueError(f"{path} has a header but no rows, expected labeled texts; check how it was created")
    if quoting == "checked":
        hidden.check(path)


def _records(path: Path, file: IO[str], quoting: Quoting) -> Iterator[_Record]:
    """Yield each record of the file; those that are blank have no cells."""
    lines: list[str] = []

    def collected() -> Iterator[str]:
        for line in file:
            lines.append(line.removeprefix(_BOM))  # one is inside the file if files were joined
            yield lines[-1]

    separator = _SEPARATORS[kind_of(path)]
    reader = csv.reader(
        collected(),
        delimiter=separator,
        strict=True,
        quoting=csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL,
        skipinitialspace=separator == ",",  # as in "a text", "label"
    )
    while True:
        first, cells, fault = reader.line_num + 1, None, ""
        try:
            cells = next(reader, None)
        except csv.Error as error:
            fault = f"not valid CSV ({error})"
        if cells is None and not fault:
            return
        unclosed = "unexpected end of data" in fault
        if unclosed:
            fault = f"not valid CSV (the quote that opens in line {first} is never closed)"
        shown = cells if cells and any(map(str.strip, cells)) else []
        yield _Record(first, lines.copy(), shown, fault, unclosed)
        lines.clear()


def _skip_broken(path: Path, record: _Record, skipped: SkippedRows, quoting: Quoting) -> None:
    """Count each line of a record that is not valid; refuse one whose end is unknown."""
    if quoting == "checked" and len(record.lines) > 1 and not record.unclosed:
        raise ValueError(
            f"{record.location(path)}: {record.fault}, so where this row ends is unknown; double the quotes "
            f"inside a quoted field, or {_HELP}"
        )
    for number in range(record.first, record.first + len(record.lines)):
        skipped.add(record.fault, f"{path}:{number}")


class _HiddenRows:
    """Finds rows that a stray quote has made part of a field.

    At least half of the lines of such a field would be rows by themselves, with a label that other rows have.
    """

    def __init__(self, fields: int, label_index: int, separator: str) -> None:
        self.fields, self.label_index, self.separator = fields, label_index, separator
        self.labels: set[str] = set()
        self.suspects: list[tuple[_Record, list[str]]] = []  # with the label of each line, or ""

    def add(self, record: _Record) -> None:
        """Note the label of a row, and those of the lines inside its fields."""
        self.labels.add(self._label(record.cells))
        if len(record.lines) == 1:
            self.labels.add(self._label(self._split(record.lines[0])))  # with the space after a comma
            return
        for lines in self._quoted_lines(record):
            labels = [self._label(cells) for cells in lines]
            if any(labels):
                self.suspects.append((record, labels))

    def _label(self, cells: list[str]) -> str:
        return cells[self.label_index].strip('"') if len(cells) == self.fields else ""

    def _quoted_lines(self, record: _Record) -> Iterator[list[list[str]]]:
        """Yield the lines of each field, split into cells; what is outside of the field is blank."""
        if record.fault:
            yield [self._split(line) for line in record.lines[1:] if line.strip()]
        for index, cell in enumerate(record.cells):
            lines = [self._split(line) for line in re.split(r"[\r\n]+", cell) if line.strip()]
            if len(lines) > 1:
                lines[0] = [""] * index + lines[0]
                lines[-1] = lines[-1] + [""] * (len(record.cells) - index - 1)
                yield lines

    def _split(self, line: str) -> list[str]:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=self.separator))

    def check(self, path: Path) -> None:
        """Refuse the file if rows are hidden."""
        known = {label for label in self.labels if label.strip()}
        for record, labels in self.suspects:
            hidden = sum(label in known for label in labels)
            if 2 * hidden >= len(labels):
                problem = "are lost, since its quote is never closed" if record.unclosed else "are one field"
                raise ValueError(
                    f"{record.location(path)}: {len(labels)} lines {problem}, but {hidden} of them look like "
                    f"rows of their own; correct the quotes in line {record.first}, or {_HELP}"
                )


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Lift csv's limit on the length of a field: after an error, the rest of a field would become rows."""
    before = csv.field_size_limit(_LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)
