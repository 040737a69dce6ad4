"""The glossary is in order, in two languages, and about terms that the course uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
REQUIRED = {
    *("[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "##", "nats", "logits", "softmax", "token", "vocabulary"),
    *(
        "query",
        "key",
        "value",
        "perplexity",
        "warm-up",
        "AdamW",
        "epoch",
        "batch",
        "bootstrap",
        "calibration",
    ),
    *("attribution", "leak", "baseline", "GELU", "LayerNorm", "pooler", "checkpoint"),
}


class Entry(NamedTuple):
    """A row of the glossary."""

    term: str
    chinese: str
    meaning: str
    chapter: Path


def entries() -> list[Entry]:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| \[\d+\]\(\.\./(.+?)\) \|$", text, re.MULTILINE)
    assert len(rows) == text.count("\n|") - 2, "a row has another form"
    return [Entry(term, chinese, meaning, ROOT / path) for term, chinese, meaning, path in rows]


def test_terms_are_in_order_and_none_is_missing() -> None:
    terms = [entry.term for entry in entries()]
    keys = [term.strip("[]#").lower() or "zz" for term in terms]
    assert keys == sorted(keys) and len(set(keys)) == len(keys)
    assert len(terms) >= 100 and set(terms) >= REQUIRED


def test_each_has_chinese_and_a_sentence() -> None:
    for entry in entries():
        assert re.search(r"[\u4e00-\u9fff]{1,}", entry.chinese), entry.term
        assert entry.meaning[-1] in ".?" and len(entry.meaning.split()) >= 4, entry.term


@pytest.mark.parametrize("path", sorted({entry.chapter for entry in entries()}), ids=lambda path: path.stem)
def test_the_chapter_uses_its_terms(path: Path) -> None:
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells).lower()
    for entry in entries():
        if entry.chapter == path:
            term = re.sub(r" \(.*\)", "", entry.term).lower()
            for word in re.split(r",? ", term):  # the chapter may say "add and norm" or "additive"
                assert word[:5] in text, entry.term


def test_no_meaning_only_repeats_its_term() -> None:
    for entry in entries():
        first = entry.meaning.lower().split()[:4]
        assert entry.term.lower() not in " ".join(first), entry.term
