"""Telling UTF-8 text from text in other encodings, and from other files, by a sample of the bytes."""

from __future__ import annotations

import codecs

SAMPLE = 1 << 14  # bytes

_BOMS = {  # the longer ones first: that of UTF-16 begins that of UTF-32
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_COMPRESSED = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ": ".xz"}  # first bytes, and the extension
_NOT_TEXT = {
    b"PK\x03\x04": "a zip archive or an Office document (.xlsx, .docx)",
    b"\xd0\xcf\x11\xe0": "an old Office document (.xls, .doc)",
    b"%PDF": "a PDF",
    b"%!PS": "a PostScript file",
    b"{\\rtf": "an RTF document",
    b"PAR1\x15": "a Parquet file",
    b"ARROW1\0": "an Arrow file",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!\x1a": "a RAR archive",
    **dict.fromkeys(_COMPRESSED, "compressed twice"),
}
_ISO_2022 = (b"\x1b$B", b"\x1b$@", b"\x1b$)C", b"\x1b$A")  # they switch to Japanese, Korean, Chinese
_CONTINUING = bytes(range(0x80, 0xC0))  # bytes that continue a character in UTF-8
_ENOUGH = 10  # lines that are not UTF-8; fewer are damage, unless the text is short


def compression(begin: bytes) -> str:
    """Return the extension of compressed content, by its first bytes; an empty string if there is none."""
    return _named(begin, _COMPRESSED)


def other_format(begin: bytes) -> str:
    """Return what content is if it is not text, by its first bytes, in words, or an empty string."""
    return _named(begin, _NOT_TEXT)


def _named(begin: bytes, names: dict[bytes, str]) -> str:
    return next((name for magic, name in names.items() if begin.startswith(magic)), "")


def foreign_encoding(begin: bytes, middle: bytes = b"") -> str:
    """Return what a text is encoded in if it is not UTF-8, in words; an empty string if it is.

    A few damaged lines do not count: UTF-8 must be invalid in most lines that are not ASCII, and they must be
    at least half of a short text, or ten lines and 5 % of a long one.

    Args:
        begin: the text's first bytes, at most `SAMPLE` of them.
        middle: more bytes from elsewhere in the text.
    """
    for bom, name in _BOMS.items():
        if begin.startswith(bom):
            return name
    sample = begin + middle
    if sample.count(0) * 500 > len(sample):
        return "UTF-16 or UTF-32, or no text at all: it has NUL bytes"
    if any(switch in sample for switch in _ISO_2022):
        return "ISO-2022: it has its escape sequences"
    parts = [part[: character_end(part)] if len(part) == SAMPLE else part for part in (begin, middle)]
    lines = (parts[0] + b"\n" + parts[1].lstrip(_CONTINUING)).splitlines()
    lines = [line for line in lines if line.strip()]
    not_ascii = [line for line in lines if not line.isascii()]
    wrong = sum(not _is_utf8(line) for line in not_ascii)
    if wrong > len(not_ascii) / 2 and wrong >= max(len(lines) / 20, min(_ENOUGH, len(lines) / 2)):
        return "not UTF-8, perhaps Windows-1252, Shift-JIS or GB18030"
    return ""


def character_end(text: bytes) -> int:
    """Return an index at which UTF-8 may be split: that of the last byte that begins a character."""
    begins = (index for index in range(len(text) - 1, len(text) - 5, -1) if text[index] & 0xC0 != 0x80)
    return next(begins, len(text))


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
