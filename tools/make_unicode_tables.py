"""Write bertlearn/tokenizer/unicode_tables.py: how the `tokenizers` library classifies every character.

    python3.11 tools/make_unicode_tables.py     (the oldest supported Python: see LOWERCASE)

The library has its own Unicode tables (of versions 8, 9 and 17), and each Python version has different ones.
So this script runs every code point through the library and stores the results.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

from tokenizers.normalizers import NFD, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

TABLES = Path(__file__).resolve().parent.parent / "bertlearn" / "tokenizer" / "unicode_tables.py"
CHARACTERS = [chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
FIRST_MARK, LAST_MARK = "\u0334", "\u0345"  # of the lowest and the highest combining class: 1 and 240

HEADER = '''"""Character classes of the `tokenizers` library; written by tools/make_unicode_tables.py.

Used by `bertlearn.tokenizer.words` (chapter 2), so that a text gives the same tokens under every Python.
Each table is a list of code points and ranges, in hexadecimal.
"""

from __future__ import annotations


def character_class(table: str) -> str:
    """Return the inside of a character class [...] of a regular expression that matches the table."""
    return "".join(
        "-".join(rf"\\U{int(point, 16):08x}" for point in item.split("-")) for item in table.split()
    )


def character_map(table: str) -> dict[int, str]:
    """Return a map for `str.translate` that replaces single characters."""
    pairs = (item.split(">") for item in table.split())
    return {int(one, 16): chr(int(other, 16)) for one, other in pairs}

'''


def normalize_with(step: str) -> dict[str, str]:
    """Return what each character becomes in one step of BERT's normalization."""
    steps = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    normalizer = BertNormalizer(**{name: name == step for name in steps})
    return {character: normalizer.normalize_str(character) for character in CHARACTERS}


def is_reordered(character: str) -> bool:
    """Return whether canonical decomposition reorders this character among its neighbors."""
    texts = f"a{character}{FIRST_MARK}", f"a{LAST_MARK}{character}"
    return any(NFD().normalize_str(text) != text for text in texts)


def ranges(characters: Iterable[str]) -> str:
    """Return characters, given in order, as hexadecimal ranges such as 'AD 600-605'."""
    runs: list[list[int]] = []
    for point in map(ord, characters):
        if runs and runs[-1][1] == point - 1:
            runs[-1][1] = point
        else:
            runs.append([point, point])
    return " ".join(f"{a:X}" if a == b else f"{a:X}-{b:X}" for a, b in runs)


def tables() -> Iterable[tuple[str, str, str]]:
    """Yield the name, the description and the content of each table."""
    cleaned, stripped, lower = (
        normalize_with("clean_text"),
        normalize_with("strip_accents"),
        normalize_with("lowercase"),
    )
    decomposed = {character: NFD().normalize_str(character) for character in CHARACTERS}
    marks = {c for c in CHARACTERS if stripped[c] == "" and decomposed[c] == c}
    reordered = {c for c in CHARACTERS if decomposed[c] == c and is_reordered(c)}
    split = BertPreTokenizer().pre_tokenize_str
    yield (
        "CONTROL",
        "dropped: control and format characters, private use, 0 and U+FFFD",
        ranges(c for c in CHARACTERS if cleaned[c] == ""),
    )
    yield "MARK", "dropped with accents: nonspacing marks", ranges(c for c in CHARACTERS if c in marks)
    yield "PUNCTUATION", "a word of its own", ranges(c for c in CHARACTERS if len(split(f"a{c}b")) == 3)
    yield (
        "DECOMPOSABLE",
        "changed by canonical decomposition, or reordered by it: combining marks",
        ranges(c for c in CHARACTERS if decomposed[c] != c or c in reordered),
    )
    yield (
        "KEPT_MARK",
        "combining marks that are not accents, and characters that decompose into them",
        ranges(c for c in CHARACTERS if any(part in reordered - marks for part in decomposed[c])),
    )
    yield (
        "LOWERCASE",
        "capitals that Python 3.11 does not know yet",
        " ".join(f"{ord(c):X}>{ord(lower[c]):X}" for c in CHARACTERS if lower[c] != c.lower()),
    )


def entry(name: str, description: str, table: str) -> str:
    """Return the source of one table."""
    return f'\n# {description}\n{name} = """\n{textwrap.fill(table, 108)}\n"""\n'


if __name__ == "__main__":
    TABLES.write_text(HEADER + "".join(entry(*table) for table in tables()), encoding="utf-8")
