"""The readability tool sees what it says it sees; the course's prose is held to it."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import readability as tool  # noqa: E402


@pytest.mark.parametrize("path", tool.PAGES, ids=lambda path: path.stem)
def test_prose_reads_well_as_far_as_a_program_can_see(path: Path) -> None:
    assert list(map(str, tool.findings(path))) == []


@pytest.mark.parametrize(
    "text",
    [
        "Who pretrains a BERT asks sooner or later.",
        "It takes some 40 steps.",
        "The others learn it, too.",
        "A model has not a mask.",
        "To itself, for among vectors of equal length none fits better.",
        "It is half as much again.",
        "word " * 40 + ".",
    ],
)
def test_stumbling_blocks_are_found(text: str) -> None:
    assert tool.prose_findings(text, "n", "cell 1")


@pytest.mark.parametrize(
    "text",
    [
        "Who directed Frida? Anyone who knows may say.",
        "Some films are better. In some cases, 3 of them are.",
        "This is not too long. Too many words are.",
        "The model has not seen it.",
        "`x = some 40`\n\n```\n" + "word " * 60 + "\n```",
        "| " + "word " * 60 + "|",
        "- " + "word " * 30 + "\n- " + "word " * 30,
        "![" + "word " * 60 + "](images/x.svg)",
    ],
)
def test_what_reads_well_is_left_alone(text: str) -> None:
    assert tool.prose_findings(text, "n", "cell 1") == []


def test_sentences_are_taken_apart() -> None:
    text = "# A title\n\nOne sentence. **Another** one?\nStill it. A list:\n\n- first\n- second"
    expected = ["# A title", "One sentence.", "**Another** one?", "Still it.", "A list:", "first", "second"]
    assert [sentence.lstrip("# ") for sentence in tool.sentences(text)] == [e.lstrip("# ") for e in expected]


def test_a_term_is_explained_at_its_first_occurrence() -> None:
    bad = ["The loss fell by two nats.", "A nat is a unit: nats measure losses."]
    assert [f.what for f in tool.unexplained(1, bad, "n")] == ["“nats” is not explained"]
    assert tool.unexplained(1, bad[::-1], "n") == []
    assert tool.unexplained(1, ["By two [nats](../docs/glossary.md)."], "n") == []
    assert tool.unexplained(2, bad, "n") == []  # explained in chapter 1
    assert tool.unexplained(1, ["```\nnats\n```"], "n") == []


def test_terms_are_in_the_glossary() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").lower()
    for term in tool.TERMS:
        assert f"\n| {term.strip('`')}".lower() in glossary, term


def test_the_command_prints_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("It takes some 40 steps.")])
    nbformat.write(notebook, tmp_path / "n.ipynb")
    assert tool.main([str(tmp_path / "n.ipynb")]) == 1
    assert "n.ipynb, cell 1: “some” before a number" in capsys.readouterr().out
    (tmp_path / "fine.md").write_text("All is well.", encoding="utf-8")
    assert tool.main([str(tmp_path / "fine.md")]) == 0
    assert capsys.readouterr().out == "nothing found\n"
