"""A user's tables: reading, skipped rows and the reasons, refused files, splits."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from bertlearn.finetuning.csv_data import (
    LabeledTexts,
    check_classes,
    check_known,
    describe_labels,
    read_table,
    split_off,
)
from bertlearn.pretraining.corpus import SkippedRows

GOOD = {
    "csv": (b"text,label\nfirst,pos\n", b"\nlast,neg\n"),
    "tsv": (b"text\tlabel\nfirst\tpos\n", b"\nlast\tneg\n"),
    "jsonl": (b'{"text": "first", "label": "pos"}\n', b'\n{"text": "last", "label": "neg"}\n'),
}


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def read(path: Path, texts: tuple[str, ...] = ("text",), label: str = "label") -> LabeledTexts:
    skipped = SkippedRows()
    rows = read_table(path, texts, label, skipped)
    assert not skipped.counts
    return rows


# Skipped rows.

BAD_ROWS = {
    "a field too few": ("csv", b"alone", "does not have 2 fields like the header", "3"),
    "a field too many": ("csv", b"a,pos,more", "does not have 2 fields like the header", "3"),
    "no text": ("csv", b",pos", "empty text in the column 'text'", "3"),
    "blanks for a text": ("csv", b'" \t ",pos', "empty text in the column 'text'", "3"),
    "no label": ("csv", b"fine, ", "no label in the column 'label'", "3"),
    "latin-1": ("csv", b"caf\xe9,pos", "not UTF-8", "3"),
    "latin-1 in the label": ("csv", b"coffee,caf\xe9", "not UTF-8", "3"),
    "more after a quote": ("csv", b'"a" b,pos', "not valid CSV (',' expected after '\"')", "3"),
    "two lines and no label": ("csv", b'"two\nlines",', "no label in the column 'label'", "3-4"),
    "a field without end": (
        "csv",
        b"a" * 131_073 + b",pos",
        "not valid CSV (field larger than field limit (131072))",
        "3",
    ),
    "commas for tabs": ("tsv", b"a,pos", "does not have 2 fields like the header", "3"),
    "half an object": ("jsonl", b'{"text": "a", "label":', "not valid JSON", "2"),
    "a list": ("jsonl", b'["a", "pos"]', "not a JSON object", "2"),
    "a word": ("jsonl", b'"a"', "not a JSON object", "2"),
    "a deep nest": ("jsonl", b"[" * 100_000, "not valid JSON", "2"),
    "an empty object": ("jsonl", b"{}", "no text in the column 'text'", "2"),
    "no text field": ("jsonl", b'{"label": "pos"}', "no text in the column 'text'", "2"),
    "a number for a text": ("jsonl", b'{"text": 5, "label": "pos"}', "no text in the column 'text'", "2"),
    "null for a text": ("jsonl", b'{"text": null, "label": "pos"}', "no text in the column 'text'", "2"),
    "an empty text": ("jsonl", b'{"text": "", "label": "pos"}', "empty text in the column 'text'", "2"),
    "null for a label": ("jsonl", b'{"text": "a", "label": null}', "no label in the column 'label'", "2"),
    "a list for a label": (
        "jsonl",
        b'{"text": "a", "label": ["pos"]}',
        "no label in the column 'label'",
        "2",
    ),
    "half a character": ("jsonl", b'{"text": "\\ud83d", "label": "pos"}', "not UTF-8", "2"),
    "latin-1 in an object": ("jsonl", b'{"text": "caf\xe9", "label": "pos"}', "not UTF-8", "2"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_reported_with_its_line_and_skipped(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ending, bad, kind, lines = BAD_ROWS[name]
    begin, end = GOOD[ending]
    path = written(tmp_path, f"mine.{ending}", begin + bad + end)
    skipped = SkippedRows()
    rows = read_table(path, ("text",), "label", skipped)
    assert rows == LabeledTexts(["first", "last"], ["pos", "neg"])
    assert skipped.counts == {kind: 1}
    assert capsys.readouterr().err == f"{path}:{lines}: {kind}\n"


def test_the_first_few_of_each_kind_are_shown_and_all_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "mine.csv", "text,label\n" + ",pos\n" * 50 + "fine,\n" * 2 + "a,b\n")
    skipped = SkippedRows()
    read_table(path, ("text",), "label", skipped)
    assert list(skipped.counts.values()) == [50, 2]
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 3 + 2
    assert shown[2].startswith(f"{path}:4: ") and shown[2].endswith("only counted)")


def test_an_unclosed_quote_is_reported_and_skips_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.csv", 'text,label\nfirst,pos\n"open,pos\nlost,neg\n')
    skipped = SkippedRows()
    assert read_table(path, ("text",), "label", skipped).texts == ["first"]
    assert list(skipped.counts) == ["not valid CSV (unexpected end of data)"]


# Files that are refused.

REFUSED = {
    "a spreadsheet": (
        "mine.xlsx",
        b"PK",
        r"has the extension '\.xlsx', expected \.csv, \.tsv or \.jsonl.*save or rename",
    ),
    "no ending": ("mine", b"text,label\n", "has the extension '', expected"),
    "one JSON value": ("mine.json", b"[]", r"has the extension '\.json'"),
    "nothing": ("mine.csv", b"", "is empty, expected a header and rows"),
    "blank lines": ("mine.csv", b"\n\n , \n"[:2], "is empty, expected a header and rows"),
    "no object": ("mine.jsonl", b"", "is empty, expected one object per line"),
    "a header alone": ("mine.csv", b"text,label\n", "has no usable row; skipped: nothing"),
    "bad rows alone": (
        "mine.csv",
        b"text,label\n,pos\n",
        "no usable row; skipped: 1 × empty text",
    ),
    "broken JSON alone": ("mine.jsonl", b"{\n{\n", "no usable row; skipped: 2 × not valid JSON"),
    "no header": (
        "mine.csv",
        b"a film,pos\nmore,neg\n",
        "no column 'text'; its columns are 'a film', 'pos'; use one.*add a header line above",
    ),
    "no label column": (
        "mine.csv",
        b"text,Label\na,pos\n",
        "no column 'label'; its columns are 'text', 'Label'",
    ),
    "no label field": (
        "mine.jsonl",
        b'{"text": "a", "stars": 5}\n',
        "no column 'label'; its columns are 'text', 'stars'",
    ),
    "semicolons": (
        "mine.csv",
        b"text;label\na;pos\n",
        "begins with 'text;label', which is a single column; save it with commas",
    ),
    "tabs": (
        "mine.csv",
        b"text\tlabel\na\tpos\n",
        r"begins with 'text\\tlabel', which is a single column.*as \.tsv",
    ),
    "a column twice": ("mine.csv", b"text,label,text\na,pos,b\n", "has 2 columns 'text'; rename all but one"),
    "UTF-16": (
        "mine.csv",
        "text,label\na,pos\n".encode("utf-16"),
        "is UTF-16, expected UTF-8; save it as UTF-8",
    ),
    "no gzip": ("mine.csv.gz", b"text,label\n", "cannot be read to its end .*create or download it again"),
    "half a gzip": (
        "mine.csv.gz",
        gzip.compress(b"text,label\na,pos\n" * 99)[:-9],
        "cannot be read to its end",
    ),
    "no bzip2": ("mine.jsonl.bz2", b"text,label\n", "cannot be read to its end"),
    "no xz": ("mine.tsv.xz", b"text,label\n", "cannot be read to its end"),
    "a picture": ("mine.csv", bytes(range(256)), "has no column 'text'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_right_is_refused(name: str, tmp_path: Path) -> None:
    file, content, message = REFUSED[name]
    path = written(tmp_path, file, content)
    with pytest.raises(ValueError, match=message) as error:
        read_table(path, ("text",), "label", SkippedRows(shown=0))
    assert str(error.value).startswith(str(path))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"none\.csv does not exist \(working directory: .*check the spelling"
    ):
        read(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match="is a folder, expected a file"):
        read(tmp_path)


# Reading.


def test_what_csv_writes_is_read_back(tmp_path: Path) -> None:
    rng = random.Random(0)
    letters = "ab ,;\"'\n\r\t<>&é中😀\x00\x1b=@"
    texts = ["x" + "".join(rng.choices(letters, k=rng.randrange(30))) for _ in range(1000)]
    for ending, separator in ((".csv", ","), (".tsv", "\t")):
        stream = io.StringIO()
        writer = csv.writer(stream, delimiter=separator)
        writer.writerows([("number", "text", "label"), *((i, t, f"l{i % 3}") for i, t in enumerate(texts))])
        rows = read(written(tmp_path, f"mine{ending}", stream.getvalue()))
        assert rows == LabeledTexts(texts, [f"l{i % 3}" for i in range(1000)])
    lines = "".join(json.dumps({"text": text, "label": "a"}) + "\n" for text in texts)
    assert read(written(tmp_path, "mine.jsonl", lines)).texts == texts


@pytest.mark.parametrize("ending", [".csv", ".CSV", ".csv.gz"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_byte_order_marks_line_ends_and_compression_change_nothing(
    tmp_path: Path, mark: str, line_end: str, ending: str
) -> None:
    content = (mark + line_end.join(["text , label", "", "one, pos ", ",", "two,neg", ""])).encode("utf-8")
    path = written(tmp_path, f"mine{ending}", gzip.compress(content) if ending.endswith("gz") else content)
    assert read(path) == LabeledTexts(["one", "two"], ["pos", "neg"])


def test_json_labels_are_kept_as_written(tmp_path: Path) -> None:
    values = ("true", "false", "1", "0", "2.5", '" spam "')
    lines = "".join(f'{{"text": "a", "label": {value}}}\n\n' for value in values)
    assert read(written(tmp_path, "mine.jsonl", lines)).labels == ["true", "false", "1", "0", "2.5", "spam"]


def test_pairs_come_from_two_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.csv", "b,kind,a\none,yes,two\nthree,no,four\n")
    assert read(path, ("a", "b"), "kind").texts == [("two", "one"), ("four", "three")]
    with pytest.raises(ValueError, match="has no column 'c'"):
        read(path, ("a", "c"), "kind")


# Checks before training.


def table(**counts: int) -> LabeledTexts:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return LabeledTexts([f"text {number}" for number in range(len(labels))], labels)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (table(a=10, b=9), "mine.csv has 19 usable rows, expected at least 20; label more"),
        (table(a=30), "only one label, 'a', expected two or more"),
        (
            table(**{f"l{i}": 1 for i in range(30)}),
            "30 different labels in 30 rows, .*'l9', and 20 more; 'y' is",
        ),
        (table(a=20, b=1, c=1), "only one text labeled 'b', 'c', expected two or more"),
        (
            LabeledTexts([*["x"] * 5, *map(str, range(20))], [*["a"] * 5, *["b"] * 20]),
            "only one text labeled 'a'",
        ),
    ],
)
def test_tables_without_enough_to_learn_are_refused(rows: LabeledTexts, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_classes(rows, "mine.csv", "y")


def test_a_learnable_table_passes() -> None:
    check_classes(table(a=18, b=2), "mine.csv", "y")
    check_known(table(a=1), ["a", "b"], "mine.csv")


def test_labels_that_no_training_text_has_are_refused() -> None:
    with pytest.raises(
        ValueError, match="the label 'c', 'd', which no training text has; the training labels are 'a', 'b'"
    ):
        check_known(table(a=1, d=1, c=1), ["a", "b"], "mine.csv")


# Splitting.


def test_a_share_of_each_label_is_split_off() -> None:
    rows = table(common=900, rare=100, two=2)
    train, validation = split_off(rows, 0.1, seed=0)
    assert Counter(validation.labels) == {"common": 90, "rare": 10, "two": 1}
    assert sorted(train.texts + validation.texts) == sorted(rows.texts)
    labels = dict(zip(*rows, strict=True))
    assert all(
        labels[text] == label for part in (train, validation) for text, label in zip(*part, strict=True)
    )
    assert split_off(rows, 0.1, seed=0) == (train, validation)
    assert split_off(rows, 0.1, seed=1)[1].texts != validation.texts


def test_a_text_that_repeats_is_in_one_part_only() -> None:
    texts = [f"text {number % 40}" for number in range(200)]
    labels = ["ab"[number % 40 % 2] for number in range(100)] + [
        "ab"[number % 3 % 2] for number in range(100)
    ]
    train, validation = split_off(LabeledTexts(texts, labels), 0.2, seed=0)
    assert not set(train.texts) & set(validation.texts)
    assert len(train.texts) + len(validation.texts) == 200


def test_labels_are_shown_quoted_and_shortened() -> None:
    line = describe_labels(["a"] * 1500 + ["\x1b[31mred"] * 2 + ["<b>" + "x" * 99])
    assert line == f"3 labels: 'a' 1,500, '\\x1b[31mred' 2, '<b>{'x' * 37}' 1"
    assert describe_labels([str(i) for i in range(50)]).endswith("'9' 1, and 40 more")
