"""`bertlearn data build` with awkward texts: it says what was skipped, and never mixes texts and shards."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest

from bertlearn import cli
from bertlearn.pretraining.corpus import Shards

GOOD = "\n\n".join(f"The film {number} was good. It had a good end." for number in range(30)) + "\n"


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run the command on files in a folder; return its status, its last error and the output folder."""
    monkeypatch.chdir(tmp_path)

    def run(files: dict[str, str | bytes], *options: str, output: str = "out") -> tuple[int, str, Path]:
        for name, content in files.items():
            path = Path("in", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        words = ["--input", "in/*", "--output", output, "--vocab-size", "100", *options]
        monkeypatch.setattr(sys, "argv", ["bertlearn", "data", "build", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        errors = capsys.readouterr().err.splitlines()
        return int(str(stopped.value)), errors[-1] if errors else "", tmp_path / output

    return run


EMPTY_GZIP = gzip.compress(b"", mtime=0)
ROWS = [{"content": f"The film {number}."} for number in range(20)]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, ROWS)), "20 × no text in the field 'text' (first: {}:1)"),
        ("a.jsonl", json.dumps(ROWS), "1 × not a JSON object (first: {}:1)"),
        (
            "a.txt.gz",
            gzip.compress(b"", mtime=0)[:-9],
            "1 × cannot be read to the end (EOFError) (first: {})",
        ),
        ("a.txt", "", "1 × empty file (first: {})"),
        ("a.jsonl", '{"text": " "}\n{"text": "\\u200b"}\n', "2 × empty document (first: {}:1)"),
        ("a.txt", "\u200b\u200d\x01\n\n" * 9, "9 × empty document (first: {}:1)"),
        ("a.txt", " \n\t\n" * 50, "1 × only blank lines (first: {})"),
    ],
)
def test_text_of_which_all_is_skipped_is_named(build, name: str, content: str | bytes, found: str) -> None:
    status, error, output = build({name: content})
    assert status == 1
    assert "no text to learn a vocabulary from was read; skipped: " in error
    assert found.format(Path("in", name)) in error and "--field" in error
    assert not output.exists()


def test_a_text_without_spaces_is_named(build) -> None:
    status, error, output = build({"a.txt": "a" * 3_000_000})
    assert status == 1 and not output.exists()
    assert (
        "all words of the texts are longer than 100 characters, such as 'aaaaaaaaaaaaaaaaaaaa'… of " in error
    )
    assert error.endswith("put spaces between the words")


def test_a_text_of_a_single_word_is_named(build) -> None:
    status, error, output = build({"a.txt": "hi\n"})
    assert status == 1 and not output.exists()
    assert error == (
        "bertlearn data build: no word of the texts has only characters that occur 2 times; give more text"
    )


def test_a_failed_build_leaves_nothing_and_keeps_what_was_there(build) -> None:
    assert build({"a.txt": "hello"})[0] == 1
    assert not Path("out").exists()
    assert build({"a.txt": GOOD})[0] == 0
    before = Shards.open("out").fingerprint
    status, error, _ = build({"a.txt": "hello"}, "--overwrite")
    assert status == 1 and "no document of at least 2 tokens" in error
    assert Shards.open("out").fingerprint == before


def test_an_output_folder_with_the_texts_is_refused(build) -> None:
    for output in ("in", "./in/../in"):
        status, error, folder = build({"a.txt": GOOD}, output=output)
        assert status == 1 and "a.txt is text to read, and lies in the output folder; choose another" in error
        assert [path.name for path in folder.iterdir()] == ["a.txt"]
    assert build({"a.txt": GOOD}, output="in/out")[0] == 0


def test_a_vocabulary_that_is_none_is_named(build) -> None:
    Path("words.csv").write_text("text,label\nthe film,1\n", encoding="utf-8")
    status, error, _ = build({"a.txt": GOOD}, "--vocab", "words.csv")
    assert status == 1 and "words.csv has no [PAD] [UNK] [CLS] [SEP] [MASK]; BERT needs" in error


def test_old_line_ends_separate_documents(build) -> None:
    build({"a.txt": GOOD})
    status, _, output = build({"a.txt": GOOD.replace("\n", "\r")}, output="old")
    assert status == 0
    assert Shards.open(output).fingerprint == Shards.open("out").fingerprint
