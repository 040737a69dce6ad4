"""Text that is not UTF-8 is refused before it is read; a few damaged lines are not enough for that."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path

import pytest

from bertlearn.pretraining.corpus import SkippedRows, read_documents
from bertlearn.pretraining.corpus.encoding import SAMPLE

RUSSIAN = "Сегодня хорошая погода.\r\n\r\n"
CHINESE = "今天天气很好，我们去公园散步。\n"
JAPANESE = "今日はいい天気ですね。散歩に行きましょう。\n"
FRENCH = "L'été dernier, nous sommes allés à la mer.\nIl faisait beau.\n"
ENGLISH = "The weather is fine today.\nWe walk.\n"
THAI = "วันนี้อากาศดีมากเราไปเดินเล่นที่สวนสาธารณะกันเถอะ แล้วกินข้าว\n"


def stored_zip() -> bytes:
    """An archive that is not compressed, which looks like text."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", ENGLISH * 500)
    return stream.getvalue()


def read(path: Path) -> tuple[list[str], SkippedRows]:
    skipped = SkippedRows(shown=0)
    return [document.text for document in read_documents([str(path)], skipped)], skipped


@pytest.mark.parametrize("repeats", [1, 1000])
@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        (RUSSIAN, "utf-16", "UTF-16"),
        (ENGLISH, "utf-16", "UTF-16"),
        (RUSSIAN, "utf-16-be", "UTF-16 or UTF-32"),
        (RUSSIAN, "utf-16-le", "UTF-16 or UTF-32"),
        (ENGLISH, "utf-16-le", "UTF-16 or UTF-32"),
        (CHINESE, "utf-16-le", ""),
        (THAI, "utf-16-le", "UTF-16 or UTF-32"),
        (RUSSIAN, "utf-32", "UTF-32"),
        (CHINESE, "utf-32-le", "UTF-16 or UTF-32"),
        (FRENCH, "cp1252", "not UTF-8, perhaps Windows-1252"),
        (RUSSIAN, "cp1251", "not UTF-8"),
        (RUSSIAN, "koi8-r", "not UTF-8"),
        (JAPANESE, "shift-jis", "not UTF-8"),
        (JAPANESE, "euc-jp", "not UTF-8"),
        (JAPANESE, "iso2022_jp", "ISO-2022"),
        (CHINESE, "gb18030", "not UTF-8"),
        ("今天天氣很好。\n", "big5", "not UTF-8"),
        (CHINESE.strip(), "gb18030", "not UTF-8"),
    ],
)
def test_other_encodings_are_refused(
    tmp_path: Path, text: str, encoding: str, found: str, repeats: int
) -> None:
    content = (text * repeats).encode(encoding)
    for name, stored in (("a.txt", content), ("a.txt.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(stored)
        with pytest.raises(ValueError, match=rf"{name} is {found}.*expected UTF-8\. Convert it.*iconv"):
            read_documents([f"{tmp_path}/{name}"], SkippedRows())


def test_json_lines_too(tmp_path: Path) -> None:
    line = json.dumps({"text": RUSSIAN}, ensure_ascii=False) + "\n"
    for encoding in ("utf-16", "cp1251"):
        (tmp_path / "a.jsonl").write_bytes((line * 50).encode(encoding))
        with pytest.raises(ValueError, match=r"a\.jsonl is .*expected UTF-8"):
            read(tmp_path / "a.jsonl")


@pytest.mark.parametrize("text", [RUSSIAN, CHINESE, JAPANESE, FRENCH, ENGLISH, THAI, CHINESE.strip() * 9])
@pytest.mark.parametrize("shift", range(4))
def test_utf8_is_accepted_wherever_the_sample_cuts_it(tmp_path: Path, text: str, shift: int) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x" * shift + text * 900, encoding="utf-8")
    assert not read(path)[1].counts
    path.write_text(text, encoding="utf-8-sig")
    assert not read(path)[1].counts


def test_a_few_damaged_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"good\n" * 3 + b"caf\xe9\n" + b"nul \0 byte\n" + b"good\n" * 500)
    texts, skipped = read(path)
    assert skipped.counts == {"line is not UTF-8": 1} and texts[0].count("good") == 503
    path.write_bytes((FRENCH * 50).encode() + FRENCH.encode("cp1252") * 20)
    assert read(path)[1].counts == {"line is not UTF-8": 20}


def test_a_few_damaged_lines_of_an_old_mac(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"good\r" * 3 + b"caf\xe9\r" + FRENCH.replace("\n", "\r").encode() * 50)
    assert read(path)[1].counts == {"line is not UTF-8": 1}


def test_english_text_in_another_encoding_is_recognized_by_its_quotation_marks(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes((ENGLISH * 9 + "“Yes,” she said.\n").encode("cp1252") * 20)
    with pytest.raises(ValueError, match="not UTF-8, perhaps Windows-1252"):
        read(path)


def test_the_middle_of_a_file_is_looked_at_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(ENGLISH.encode() * (SAMPLE // len(ENGLISH) + 1) + (FRENCH * 5000).encode("cp1252"))
    with pytest.raises(ValueError, match="not UTF-8"):
        read(path)


PDF, RTF = b"%PDF-1.4\n" + ENGLISH.encode() * 99, b"{\\rtf1\\ansi " + ENGLISH.encode() + b"}"
GZIP = gzip.compress(ENGLISH.encode())
NOT_TEXT = {
    "gzip": ("a.txt", GZIP, r"is compressed, as a \.gz file; rename it to a\.txt\.gz"),
    "bzip2": ("a.jsonl", bz2.compress(b"text"), r"as a \.bz2 file; rename it to a\.jsonl\.bz2"),
    "xz for gzip": (
        "a.txt.gz",
        lzma.compress(b"text"),
        r"is a \.xz file, expected a \.gz file; rename it to a\.txt\.xz",
    ),
    "text for gzip": ("a.txt.gz", b"text", r"is not compressed, expected a \.gz file; rename it to a\.txt$"),
    "gzip in gzip": ("a.txt.gz", gzip.compress(GZIP), "is compressed twice, expected text; unpack"),
    "zip": ("a.txt", stored_zip(), "is a zip archive or an Office document .*, expected text; unpack it or"),
    "PDF": ("a.txt", PDF, "is a PDF, expected text; .* a pattern that excludes it"),
    "PDF in gzip": ("a.txt.gz", gzip.compress(PDF), "is a PDF, expected text"),
    "PostScript": ("a.txt", b"%!PS-Adobe-3.0\n" + ENGLISH.encode(), "is a PostScript file, expected text"),
    "RTF": ("a.txt", RTF, "is an RTF document, expected text"),
    "Zstandard": ("a.txt", b"\x28\xb5\x2f\xfd" + bytes(256), "is compressed with Zstandard, expected text"),
}


@pytest.mark.parametrize("kind", NOT_TEXT)
def test_files_that_are_not_text_are_refused_by_their_first_bytes(tmp_path: Path, kind: str) -> None:
    name, content, message = NOT_TEXT[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_documents([f"{tmp_path}/{name}"], SkippedRows())
    assert str(error.value).startswith(str(tmp_path / name))


def test_files_that_cannot_be_sampled_are_reported_in_their_turn(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"")[:-9])
    (tmp_path / "b.txt").touch()
    assert read(tmp_path / "*")[1].counts == {
        "cannot be read to the end (EOFError)": 1,
        "empty file": 1,
    }
