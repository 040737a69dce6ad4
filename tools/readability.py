"""Find what makes the course's prose and code hard to read, as far as a program can see it.

python tools/readability.py                        every notebook, README, page of docs/ and teaching/
python tools/readability.py notebooks/01*.ipynb    some of them

It sees long sentences, habits of wording that a native reader stumbles over, and terms of the glossary that
are used before they are explained. (`tools/notebooks.py check` looks at the size of chapters, cells and lines
of code.) It does not see whether a sentence is true, clear or worth reading: a person has to.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *(
        path
        for kind in ("docs/*.md", "teaching/**/*.md", "notebooks/*.ipynb")
        for path in sorted(ROOT.glob(kind))
    ),
]
MAX_SENTENCE = 36  # words

HABITS = {
    r"^Who [a-z][^?]*[.]$": "a bare “who” as subject: write “anyone who”",
    r"\bsome \d": "“some” before a number: write “about”",
    r",? too\.(?:\s|$)": "a trailing “too”: write “also” before the verb",
    r"\b(?:has|have|had) not (?:a|an|any|the)\b": "“has not”: write “lacks” or “does not have”",
    r"[,;] for among\b": "“for among”: write “because”",
    r"\bwhat (?:is|are) no\b": "a riddle: name the thing",
    r"\bhalf as much again\b": "“half as much again”: say 1.5 times",
    r"\bnot seldom\b|\bnought\b|\bwhereof\b|\bthereof\b": "an old-fashioned word",
}
# Terms that a chapter explains at their first occurrence, or links to the glossary for.
TERMS = {
    "[CLS]": 1,
    "nats": 1,
    "softmax": 1,
    "[UNK]": 2,
    "`##`": 2,
    "offsets": 2,
    "residual stream": 3,
    "GELU": 3,
    "dropout": 3,
    "logits": 4,
    "weight decay": 4,
    "warm-up": 4,
    "perplexity": 4,
    "epoch": 4,
    "BIO": 5,
    "bootstrap": 6,
    "calibration": 6,
    "integrated gradients": 6,
}
# What a paragraph that explains a term has: emphasis, a verb that defines, a colon, a bracket, or the link.
_EXPLAINED = r"\*|:|\(|glossary\.md|\b(?:is|are|means?|called|marks?|opens|closes|unit)\b"
_SENTENCE_END = r"(?:(?<=[.!?:;])[*_”\")]*\s+(?=[A-Z*“\"(`$]))| · "
_BLOCK_END = r"\n\s*\n|\n\s*(?=[-*>] |\d+\. |#+ )"


class Finding(NamedTuple):
    """Something to mend: in which file, where in it, and what."""

    file: str
    place: str
    what: str

    def __str__(self) -> str:
        """Return a line for the terminal."""
        return f"{self.file}, {self.place}: {self.what}"


def prose(markdown: str) -> str:
    """Return the text of Markdown that is read as sentences: no code, tables, formulas, images or links."""
    text = re.sub(r"```.*?```", " ", markdown, flags=re.DOTALL)
    text = re.sub(r"\$\$.*?\$\$", " ", text, flags=re.DOTALL)
    text = re.sub(r"!\[.*?\]\([^)]*\)", " ", text)
    text = re.sub(r"`[^`\n]* [^`\n]*`", "`code`", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("|", "    ", "<"))]
    return "\n".join(lines)


def sentences(markdown: str) -> Iterator[str]:
    """Yield the sentences of the paragraphs and list items of Markdown."""
    for block in re.split(_BLOCK_END, prose(markdown)):
        line = re.sub(r"^(?:[-*>]|\d+\.|#+) ", "", " ".join(block.split()))
        yield from (part for part in re.split(_SENTENCE_END, line) if part)


def prose_findings(markdown: str, file: str, place: str) -> list[Finding]:
    """List long sentences and stumbling wording."""
    found = []
    for sentence in sentences(markdown):
        length = len(re.findall(r"[\w$`][^\s]*", sentence))
        if length > MAX_SENTENCE:
            found.append(Finding(file, place, f"{length} words in “{sentence[:60]}…”"))
        for pattern, remedy in HABITS.items():
            if hit := re.search(pattern, sentence):
                found.append(Finding(file, place, f"{remedy}, in “{hit[0].strip()[:60]}”"))
    return found


def unexplained(chapter: int, cells: Iterable[str], file: str) -> list[Finding]:
    """List the terms of a chapter whose first sentence neither explains them nor links to the glossary."""
    texts, found = list(cells), []
    for term in (term for term, home in TERMS.items() if home == chapter):
        pattern = re.compile(rf"(?<!\w){re.escape(term)}(?!\w)", re.IGNORECASE)
        first = next((text for text in texts if pattern.search(_without_blocks(text))), None)
        if first is None:
            continue
        paragraph = next(p for p in re.split(r"\n\s*\n", first) if pattern.search(_without_blocks(p)))
        if not re.search(_EXPLAINED, paragraph):
            place = f"“{' '.join(paragraph.split())[:50]}…”"
            found.append(Finding(file, place, f"“{term}” is not explained"))
    return found


def _without_blocks(text: str) -> str:
    return re.sub(r"```.*?```", " ", text, flags=re.DOTALL)


def notebook_findings(path: Path) -> list[Finding]:
    """List what to mend in a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    texts = {number: cell.source for number, cell in enumerate(cells, 1) if cell.cell_type == "markdown"}
    found = [finding for n, text in texts.items() for finding in prose_findings(text, path.name, f"cell {n}")]
    if path.name[:2].isdigit():
        found += unexplained(int(path.name[:2]), texts.values(), path.name)
    return found


def findings(path: Path) -> list[Finding]:
    """List what to mend in a notebook or a page of Markdown."""
    if path.suffix == ".ipynb":
        return notebook_findings(path)
    return prose_findings(path.read_text(encoding="utf-8"), path.name, "text")


def main(names: list[str]) -> int:
    """Print the findings in these files, or in all; return how many there are."""
    paths = [Path(name) for name in names] or PAGES
    found = [finding for path in paths for finding in findings(path)]
    print("\n".join(map(str, found)) or "nothing found")
    return len(found)


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
