"""A user's tables: reading, skipped rows and the reasons, refused files, splits."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import random
import sys
from pathlib import Path

import pytest

from bertlearn.finetuning import csv_data
from bertlearn.finetuning.csv_data import Quoting, read_table
from bertlearn.finetuning.labeled_texts import LabeledTexts
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
    rows, skipped = read_with_skipped(path, texts, label)
    assert not skipped
    return rows


def read_with_skipped(
    path: Path, texts: tuple[str, ...] = ("text",), label: str = "label", quoting: Quoting = "checked"
) -> tuple[LabeledTexts, dict[str, int]]:
    skipped = SkippedRows()
    return read_table(path, texts, label, skipped, quoting), dict(skipped.counts)


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
    "the header again": ("csv", b"text,label", "repeats the header", "3"),
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
    "NaN for a label": ("jsonl", b'{"text": "a", "label": NaN}', "no label in the column 'label'", "2"),
    "-Infinity for a label": (
        "jsonl",
        b'{"text": "a", "label": -Infinity}',
        "no label in the column 'label'",
        "2",
    ),
    "null for a label": ("jsonl", b'{"text": "a", "label": null}', "no label in the column 'label'", "2"),
    "a list for a label": (
        "jsonl",
        b'{"text": "a", "label": ["pos"]}',
        "no label in the column 'label'",
        "2",
    ),
    "a field twice": (
        "jsonl",
        b'{"text": "a", "label": "pos", "label": "neg"}',
        "has the field 'label' several times",
        "2",
    ),
    "invisible text": ("csv", "\u200b\u200e \ufeff\xad,pos".encode(), "empty text in the column 'text'", "3"),
    "an invisible label": ("csv", "fine,\u200b".encode(), "no label in the column 'label'", "3"),
    "a label that is missing in pandas": (
        "csv",
        b"fine,nan",
        "'nan' as the label, which stands for a missing value (rename it if it is a label)",
        "3",
    ),
    "a label that is missing in Excel": (
        "tsv",
        b"fine\t#N/A",
        "'#N/A' as the label, which stands for a missing value (rename it if it is a label)",
        "3",
    ),
    "a number too large for a label": (
        "jsonl",
        b'{"text": "a", "label": ' + b"9" * 5000 + b"}",
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
    rows, skipped = read_with_skipped(path)
    assert rows == LabeledTexts(["first", "last"], ["pos", "neg"])
    assert skipped == {kind: 1}
    assert capsys.readouterr().err == f"{path}:{lines}: {kind}\n"


def test_the_first_few_of_each_kind_are_shown_and_all_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "mine.csv", "text,label\n" + ",pos\n" * 50 + "fine,\n" * 2 + "a,b\n")
    assert list(read_with_skipped(path)[1].values()) == [50, 2]
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 3 + 2
    assert shown[2].startswith(f"{path}:4: ") and shown[2].endswith("only counted)")


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
    "a header alone": ("mine.csv", b"text,label\n", "has a header but no rows, expected labeled texts"),
    "a header after a separator": ("mine.csv", b"sep=,\ntext,label\n", "has a header but no rows"),
    "a separator alone": ("mine.csv", b"sep=,\n", "is empty, expected a header"),
    "blank lines for objects": ("mine.jsonl", b"\n \n", "is empty, expected one object per line"),
    "bad rows alone": (
        "mine.csv",
        b"text,label\n,pos\n",
        r"no usable row; skipped: 1 × empty text.*; expected a text, a label and .*row\.names = FALSE\)\)",
    ),
    "broken JSON alone": (
        "mine.jsonl",
        b"{\n{\n",
        "no usable row; skipped: 2 × not valid JSON; expected one JSON object",
    ),
    "no header": (
        "mine.csv",
        b"a film,pos\nmore,neg\n",
        "no column 'text'; its columns are 'a film', 'pos'; use one.*--text-column.*add a header line above",
    ),
    "no label column": (
        "mine.csv",
        b"text,Label\na,pos\n",
        "no column 'label'; its columns are 'text', 'Label'",
    ),
    "no label field": (
        "mine.jsonl",
        b'{"text": "a", "stars": 5}\n',
        r"no column 'label'; its columns are 'text', 'stars'; use one .*-text-column, --label-column\)$",
    ),
    "semicolons": (
        "mine.csv",
        b"text;label\na;pos\n",
        "begins with 'text;label', which is a single column; save it with commas",
    ),
    "Excel's semicolons": (
        "mine.csv",
        b"sep=;\r\ntext;label\r\na;pos\r\n",
        "begins with 'sep=;', which is a single column; save it with commas",
    ),
    "commas": (
        "mine.tsv",
        b"text,label\na,pos\n",
        r"begins with 'text,label', which is a single column; save it .* as \.csv",
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
    "UTF-32": ("mine.csv", "text,label\na,pos\n".encode("utf-32"), "is UTF-32, expected UTF-8"),
    "UTF-16 without a mark": (
        "mine.csv",
        "text,label\na,pos\n".encode("utf-16-le"),
        "is UTF-16 or UTF-32, or no text at all: it has NUL bytes, expected UTF-8",
    ),
    "objects in UTF-16": (
        "mine.jsonl",
        '{"text": "a", "label": "b"}'.encode("utf-16-be"),
        "is UTF-16 or UTF-32",
    ),
    "zeros": ("mine.csv", bytes(500), "no text at all: it has NUL bytes"),
    "Latin-1": (
        "mine.csv",
        b"text,label\n" + "café,pos\n".encode("latin-1") * 30,
        "is not UTF-8, perhaps Windows-1252.*, expected UTF-8; save it as UTF-8",
    ),
    "a gzip without its extension": (
        "mine.csv",
        gzip.compress(b"text,label\na,pos\n"),
        r"is compressed, as a \.gz file; rename it to mine\.csv\.gz",
    ),
    "a gzip in a gzip": (
        "mine.csv.gz",
        gzip.compress(gzip.compress(b"text,label\na,pos\n")),
        "is compressed twice, expected text; unpack it",
    ),
    "bzip2 for gzip": (
        "mine.csv.gz",
        bz2.compress(b"text,label\na,pos\n"),
        r"is a \.bz2 file, expected a \.gz file; rename it to mine\.csv\.bz2",
    ),
    "a renamed workbook": (
        "mine.csv",
        b"PK\x03\x04" + bytes(range(256)),
        r"is a zip archive or an Office document \(\.xlsx, .*, expected text; .* save the table as CSV UTF-8",
    ),
    "a renamed PDF": ("mine.csv.gz", gzip.compress(b"%PDF-1.7\n"), "is a PDF, expected text"),
    "an array": (
        "mine.jsonl",
        b'[{"text": "a", "label": "pos"}, {"text": "b", "label": "neg"}]',
        r"begins with '\[\{.*', expected one JSON object per line.*lines=True",
    ),
    "an array of several lines": (
        "mine.jsonl",
        b'\n[\n {\n  "text": "a",\n  "label": "pos"\n }\n]',
        r"begins with '\[', expected one JSON object per line",
    ),
    "columns": (
        "mine.jsonl",
        b'{"text": {"0": "a", "1": "b"}, "label": {"0": "pos", "1": "neg"}}',
        r"begins with '\{.*', expected one JSON object per line, with a text and a label",
    ),
    "lists": (
        "mine.jsonl",
        b'{"text": ["a", "b"], "label": ["pos", "neg"]}',
        "expected one JSON object per line",
    ),
    "a table for objects": (
        "mine.jsonl",
        b"text,label\na,pos\n",
        r"begins with 'text,label', expected one .*, or give a table the extension \.csv",
    ),
    "no gzip": (
        "mine.csv.gz",
        b"text,label\n",
        r"is not compressed, expected a \.gz file; rename it to mine\.csv$",
    ),
    "half a gzip": (
        "mine.csv.gz",
        gzip.compress(b"text,label\na,pos\n" * 99)[:-9],
        "cannot be read to its end",
    ),
    "no bzip2": ("mine.jsonl.bz2", b"text,label\n", "is not compressed"),
    "no xz": ("mine.tsv.xz", b"text,label\n", "is not compressed"),
    "a picture": ("mine.csv", bytes(range(256)), "no text at all: it has NUL bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_right_is_refused(name: str, tmp_path: Path) -> None:
    file, content, message = REFUSED[name]
    path = written(tmp_path, file, content)
    with pytest.raises(ValueError, match=message) as error:
        read_with_skipped(path)
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


def test_the_line_in_which_excel_names_the_separator_is_no_header(tmp_path: Path) -> None:
    for ending, separator in (("csv", ","), ("tsv", "\t")):
        begin, end = GOOD[ending]
        path = written(tmp_path, f"mine.{ending}", f"\ufeffsep={separator}\r\n".encode() + begin + end)
        assert read(path) == LabeledTexts(["first", "last"], ["pos", "neg"])


def test_a_first_line_that_is_cut_off_costs_one_row(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.jsonl", b'"label": "pos"}\n' + b"".join(GOOD["jsonl"]))
    assert read_with_skipped(path)[1] == {"not valid JSON": 1}


def test_nul_in_a_text_is_a_character(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.csv", "text,label\n" + "a\0,pos\n" * 9)
    assert read(path).texts == ["a\0"] * 9


def test_byte_order_marks_between_joined_files_change_nothing(tmp_path: Path) -> None:
    for ending, (begin, end) in GOOD.items():
        path = written(
            tmp_path, f"mine.{ending}", "\ufeff".encode() + begin + "\ufeff".encode() + end.strip()
        )
        assert read(path) == LabeledTexts(["first", "last"], ["pos", "neg"])


def test_reading_a_large_file_shows_progress(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(csv_data, "PATIENCE", 0)
    read(written(tmp_path, "mine.csv", "text,label\n" + "a,pos\n" * 1000))
    assert "read mine.csv" in terminal.getvalue() and " rows/s" in terminal.getvalue()


def test_a_field_may_be_of_any_length(tmp_path: Path) -> None:
    text = "\n".join(f"log line {number}, with a comma" for number in range(12_000))
    limit = csv.field_size_limit()
    path = written(tmp_path, "mine.csv", f'text,label\nfirst,pos\n"{text}",neg\nlast,pos\n')
    assert read(path) == LabeledTexts(["first", text, "last"], ["pos", "neg", "pos"])
    assert csv.field_size_limit() == limit


def test_json_labels_are_kept_as_written(tmp_path: Path) -> None:
    values = ("true", "false", "1", "0", "2.5", '" spam "')
    lines = "".join(f'{{"text": "a", "label": {value}}}\n\n' for value in values)
    assert read(written(tmp_path, "mine.jsonl", lines)).labels == ["true", "false", "1", "0", "2.5", "spam"]


def test_a_large_number_or_a_repeated_field_beside_the_text_does_no_harm(tmp_path: Path) -> None:
    lines = f'{{"n": {"9" * 5000}, "text": "a", "label": 1}}\n{{"id": 1, "id": 2, "text": "b", "label": 2}}\n'
    assert read(written(tmp_path, "mine.jsonl", lines)) == LabeledTexts(["a", "b"], ["1", "2"])


@pytest.mark.parametrize("header", ["text, label", '"text", "label"', "text,label"])
def test_a_space_after_the_comma_changes_nothing(tmp_path: Path, header: str) -> None:
    path = written(tmp_path, "mine.csv", f'{header}\n"a film, good", "pos"\nanother, neg\n')
    assert read(path) == LabeledTexts(["a film, good", "another"], ["pos", "neg"])


def test_a_pair_of_stray_quotes_is_found_with_a_space_after_the_comma(tmp_path: Path) -> None:
    lines = [f"a film {number}, {'pos' if number % 2 else 'neg'}\n" for number in range(60)]
    lines[10], lines[20] = '"' + lines[10], lines[20].replace(",", '",')
    with pytest.raises(ValueError, match=r"mine\.csv:12-22: 11 lines are one field"):
        read(written(tmp_path, "mine.csv", "text, label\n" + "".join(lines)))


def test_pairs_come_from_two_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.csv", "b,kind,a\none,yes,two\nthree,no,four\n")
    assert read(path, ("a", "b"), "kind").texts == [("two", "one"), ("four", "three")]
    with pytest.raises(ValueError, match="has no column 'c'"):
        read(path, ("a", "c"), "kind")


# Stray quotes.


def table(ending: str, order: tuple[str, ...] = ("text", "label"), count: int = 60) -> list[list[str]]:
    """Return the lines of a table as fields: a header and rows whose columns are in this order."""
    values = [
        {"id": str(i), "text": f"a {'good' if i % 2 else 'bad'} film {i}", "label": "pos" if i % 2 else "neg"}
        for i in range(count)
    ]
    return [list(order), *([row[name] for name in order] for row in values)]


def joined(fields: list[list[str]], ending: str) -> str:
    return "".join({"csv": ",", "tsv": "\t"}[ending].join(row) + "\n" for row in fields)


ORDERS = [("text", "label"), ("label", "text"), ("id", "text", "label"), ("text", "label", "id")]


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("first", "last"), [(11, 31), (11, 12), (1, 60)])
def test_a_pair_of_stray_quotes_that_hides_rows_is_refused(
    tmp_path: Path, first: int, last: int, order: tuple[str, ...], ending: str
) -> None:
    fields, column = table(ending, order), order.index("text")
    fields[first][column] = '"' + fields[first][column]
    fields[last][column] += '"'
    path = written(
        tmp_path, f"mine.{ending}", joined(fields, ending) + joined(table(ending, order)[1:], ending)
    )
    message = (
        rf"mine.{ending}:{first + 1}-{last + 1}: {last - first + 1} lines are one field, .*--quoting none"
    )
    with pytest.raises(ValueError, match=message):
        read(path)
    rows, skipped = read_with_skipped(path, quoting="none")
    assert len(rows.texts) == 120 and not skipped
    assert rows.texts[first - 1] == fields[first][column] and set(rows.labels) == {"pos", "neg"}
    assert len(read_with_skipped(path, quoting="standard")[0].texts) == 120 - (last - first)


def test_a_stray_quote_before_a_quoted_field_is_refused(tmp_path: Path) -> None:
    lines = ['"open,pos', "lost,neg", '"quoted, with a comma",pos', "last,neg"]
    path = written(tmp_path, "mine.csv", "\n".join(["text,label", "first,pos", *lines]))
    with pytest.raises(
        ValueError, match=r"mine\.csv:3-5: not valid CSV .* so where this row ends is unknown"
    ):
        read(path)
    rows, skipped = read_with_skipped(path, quoting="standard")
    assert rows.texts == ["first", "last"] and list(skipped.values()) == [3]


def test_a_quote_that_is_never_closed_says_how_many_lines_are_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = "not valid CSV (the quote that opens in line 3 is never closed)"
    path = written(tmp_path, "cut.csv", 'text,label\nfirst,pos\n"a text of\n\nseveral lines, cut')
    rows, skipped = read_with_skipped(path)
    assert rows.texts == ["first"] and skipped == {kind: 3}
    assert capsys.readouterr().err.startswith(f"{path}:3: {kind}\n{path}:4: {kind}\n")
    path = written(tmp_path, "mine.csv", 'text,label\nfirst,pos\n"open,pos\nlost,pos\nalso lost,pos\n')
    with pytest.raises(
        ValueError, match=r"mine\.csv:3-5: 2 lines are lost.*never closed.*2 of them look like"
    ):
        read(path)


def test_the_rest_of_a_broken_row_is_no_row(tmp_path: Path) -> None:
    path = written(
        tmp_path, "mine.csv", 'text,label\nfirst,pos\n""two\nlines",neg\n5" long,pos\n6" long,neg\n'
    )
    rows, skipped = read_with_skipped(path)
    assert rows == LabeledTexts(["first", '5" long', '6" long'], ["pos", "pos", "neg"])
    assert skipped == {"not valid CSV (',' expected after '\"')": 1, "ends a row that is not valid CSV": 1}


def test_a_header_with_a_stray_quote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mine\.csv:1-3, the header, is not valid CSV"):
        read(written(tmp_path, "mine.csv", 'text,"label\na,pos\nb,neg\n'))


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_fields_of_several_lines_are_no_stray_quotes(
    tmp_path: Path, order: tuple[str, ...], ending: str, quoting: int
) -> None:
    separator = {"csv": ",", "tsv": "\t"}[ending]
    texts = [
        "Shopping:\n\nmilk, 2\nbread, 1\n",
        f'first line\r\n"second" line{separator}1\r\nthird line',
        f"one{separator}two{separator}three\nfour{separator}five{separator}six\n",
        "It was good.\nYes, pos",
        '"',
        "I give it\n1",
    ]
    stream = io.StringIO(newline="")
    values = [{"id": i, "text": f"{texts[i % 6]} {i}", "label": ["1", "2", "pos"][i % 3]} for i in range(200)]
    writer = csv.writer(stream, delimiter=separator, quoting=quoting)
    writer.writerows([order, *([row[name] for name in order] for row in values)])
    rows = read(written(tmp_path, f"mine.{ending}", stream.getvalue()))
    assert rows == LabeledTexts([row["text"] for row in values], [row["label"] for row in values])
