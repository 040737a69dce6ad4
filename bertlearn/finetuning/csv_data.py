"""A user's own labeled texts, from a CSV, TSV or JSON-lines file (chapter 6, and `bertlearn finetune`).

A bad row is left out, counted and told with its line; a file that cannot be meant is refused, with a remedy.
What is read is data and nothing else. Leaves out: guessing of separators, encodings and columns.
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

FEWEST = 20  # rows that are worth training on
SHOWN = 10  # names in a message
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
Row = dict[str, Any]


class LabeledTexts(NamedTuple):
    """Texts, or pairs of texts, and at the same index the name of the label."""

    texts: list[Any]  # of str, or of (str, str)
    labels: list[str]


# 1. Reading


def read_table(
    path: str | Path, text_columns: Sequence[str], label_column: str, problems: SkippedRows
) -> LabeledTexts:
    """Read labeled texts from a .csv, .tsv or .jsonl file in UTF-8, maybe packed (.gz, .bz2, .xz).

    A .csv has commas, a .tsv tabs; both have a header, and double quotes where needed. A .jsonl has an object
    a line.

    Args:
        path: of the file.
        text_columns: one column, or two for pairs of texts.
        label_column: its values are the labels, as text; in a .jsonl they may be numbers, true and false.
        problems: where to tell what is left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, one that is broken or empty, a column that is not there, or no row
            that can be used.
    """
    path = _check_path(Path(path).expanduser())
    texts: list[Any] = []
    labels = []
    for place, row in _rows(path, (*text_columns, label_column), problems):
        fault = _fault(row, text_columns, label_column)
        if fault:
            problems.add(fault, place)
            continue
        values = tuple(row[name] for name in text_columns)
        texts.append(values if len(values) > 1 else values[0])
        labels.append(_label(row[label_column]))
    if not texts:
        raise ValueError(f"{path} has no row that can be used; left out: {problems}")
    return LabeledTexts(texts, labels)


def _check_path(path: Path) -> Path:
    if not path.is_file():
        what = "is a folder, expected a file" if path.is_dir() else f"is not there (seen from {Path.cwd()})"
        raise FileNotFoundError(f"{path} {what}; check the spelling")
    if kind_of(path) not in (*_SEPARATORS, ".jsonl"):
        raise ValueError(
            f"{path} ends with {path.suffix or 'nothing'!r}, expected .csv, .tsv or .jsonl (or one of these "
            f"with {', '.join(OPEN)}); save or rename it as one of them"
        )
    return path


def _rows(path: Path, columns: Sequence[str], problems: SkippedRows) -> Iterator[tuple[str, Row]]:
    """Give each row with its place. Bytes that are not UTF-8 come as half surrogate pairs."""
    unpack = OPEN.get(path.suffix, open)
    try:
        with unpack(path, "rb") as binary:
            if binary.read(2) in _UTF16:
                raise ValueError(f"{path} is UTF-16, expected UTF-8; save it as UTF-8 (in Excel: CSV UTF-8)")
        with unpack(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            read = _json_rows if kind_of(path) == ".jsonl" else _csv_rows
            yield from read(path, file, columns, problems)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path} cannot be read to its end ({error}); make or fetch it again") from error


def _csv_rows(
    path: Path, file: IO[str], columns: Sequence[str], problems: SkippedRows
) -> Iterator[tuple[str, Row]]:
    header: list[str] = []
    for place, cells in _records(path, file, problems):
        if not header:
            header = [name.strip() for name in cells]
            _check_columns(path, header, columns)
        elif len(cells) != len(header):
            problems.add(f"not {len(header)} fields, as the header has", place)
        else:
            yield place, dict(zip(header, cells, strict=True))
    if not header:
        raise ValueError(f"{path} is empty, expected a header and rows; look at how it was written")


def _records(path: Path, file: IO[str], problems: SkippedRows) -> Iterator[tuple[str, list[str]]]:
    """Give the cells of each record that is not blank; one with a line break in quotes has several lines."""
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
        place = f"{path}:{begin}" + (f"-{reader.line_num}" if reader.line_num > begin else "")
        if fault:
            problems.add(fault, place)
        elif any(cells):
            yield place, cells


def _json_rows(
    path: Path, file: IO[str], columns: Sequence[str], problems: SkippedRows
) -> Iterator[tuple[str, Row]]:
    names: dict[str, None] = {}
    number = 0
    for number, line in enumerate(file, start=1):
        row, fault = _json_object(line)
        if fault:
            problems.add(fault, f"{path}:{number}")
        elif row is not None:
            names |= dict.fromkeys(row)
            yield f"{path}:{number}", row
    if number == 0:
        raise ValueError(f"{path} is empty, expected an object a line; look at how it was written")
    if names:
        _check_columns(path, list(names), columns)


def _json_object(line: str) -> tuple[Row | None, str]:
    """Return the object of a line and what is wrong with it; of a blank line neither."""
    if not line.strip():
        return None, ""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None, "not valid JSON"
    return (row, "") if isinstance(row, dict) else (None, "no JSON object")


def _check_columns(path: Path, names: list[str], columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in names]
    if missing and len(names) == 1 and any(separator in names[0] for separator in ";\t|"):
        raise ValueError(
            f"{path} begins with {names[0][:60]!r}, which is one column; save it with commas between "
            "columns, or with tabs as .tsv"
        )
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}; its columns are {_listed(names)}: name one of these, or, "
            "if they are a row, write a header above it"
        )
    for column in columns:
        if names.count(column) > 1:
            raise ValueError(f"{path} has {names.count(column)} columns {column!r}; rename all but one")


def _fault(row: Row, text_columns: Sequence[str], label_column: str) -> str:
    """Return why a row cannot be used; empty if it can."""
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
    """Return a label as text, JSON's true and 1 as they stand there; empty for what is no label."""
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value) if isinstance(value, bool | int | float) else ""


# 2. Checking, and splitting off a part


def check_classes(rows: LabeledTexts, path: str | Path, label_column: str) -> None:
    """Refuse what no classifier can be learned from.

    Raises:
        ValueError: fewer than 20 rows, nearly as many labels as rows, one label only, or a label that only
            one text has.
    """
    size, counts = len(rows.labels), Counter(rows.labels)
    if size < FEWEST:
        raise ValueError(f"{path} has {size} rows that can be used, expected at least {FEWEST}; label more")
    if 2 * len(counts) > size:
        raise ValueError(
            f"{path} has {len(counts):,} different labels in {size:,} rows, such as {_listed(counts)}; "
            f"{label_column!r} is probably not the column of the labels"
        )
    if len(counts) == 1:
        raise ValueError(
            f"{path} has one label only, {_listed(counts)}, expected two or more; add texts with another one"
        )
    different = Counter(label for _, label in set(zip(rows.texts, rows.labels, strict=True)))
    rare = sorted(label for label, count in different.items() if count == 1)
    if rare:
        raise ValueError(
            f"{path} has only one text labeled {_listed(rare)}, expected two or more of each label; add "
            "some, or mend the label"
        )


def check_known(rows: LabeledTexts, known: Sequence[str], path: str | Path) -> None:
    """Refuse texts to validate on with labels that are not among those learned.

    Raises:
        ValueError: there is such a label.
    """
    unknown = sorted(set(rows.labels) - set(known))
    if unknown:
        raise ValueError(
            f"{path} has the label {_listed(unknown)}, which is not among those to train on, "
            f"{_listed(known)}; mend it, or add texts with it to those"
        )


def split_off(rows: LabeledTexts, share: float, seed: int) -> tuple[LabeledTexts, LabeledTexts]:
    """Return the rows in two parts, the second with about this share of each label's texts, at least one.

    A text that occurs several times is in one part only. The same seed gives the same parts.
    """
    chosen = set()
    for label in sorted(set(rows.labels)):
        own = {text: None for text, other in zip(*rows, strict=True) if other == label}
        count = max(1, round(share * len(own)))
        chosen |= set(random.Random(f"{seed} {label}").sample(list(own), count))
    return _select(rows, chosen, False), _select(rows, chosen, True)


def _select(rows: LabeledTexts, chosen: set[Any], inside: bool) -> LabeledTexts:
    found = [(text, label) for text, label in zip(*rows, strict=True) if (text in chosen) == inside]
    return LabeledTexts([text for text, _ in found], [label for _, label in found])


def describe_labels(labels: Sequence[str]) -> str:
    """Return the labels with their counts in one line, the most frequent first."""
    counts = Counter(labels)
    shown = [f"{label[:40]!r} {count:,}" for label, count in counts.most_common(SHOWN)]
    return f"{len(counts):,} labels: {_joined(shown, len(counts))}"


def _listed(names: Iterable[str]) -> str:
    """Return names in one line, quoted, so that none can pass for anything else."""
    names = list(names)
    return _joined([repr(name[:40]) for name in names[:SHOWN]], len(names))


def _joined(shown: list[str], count: int) -> str:
    more = [f"and {count - len(shown):,} more"] if count > len(shown) else []
    return ", ".join([*shown, *more])
