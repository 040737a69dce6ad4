"""`bertlearn search` as a user types it: an index of own texts, asked, continued, and refused."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import CONFIG, perturb
from task_models import WORDS

from bertlearn import cli
from bertlearn.model.bert import BertModel
from bertlearn.search import SearchIndex, index
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command in this process with a small model."""
    torch.manual_seed(0)
    model = BertModel(CONFIG)
    perturb(model, scale=0.3)
    model.save_pretrained(tmp_path / "model")
    WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS]).save_pretrained(tmp_path / "model")

    def run(*words: str | Path) -> tuple[int, str, str]:
        arguments = ["search", "--model", tmp_path / "model", "--index", tmp_path / "index", *words]
        monkeypatch.setattr(sys, "argv", ["bertlearn", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        printed = capsys.readouterr()
        return int(str(stopped.value)), printed.out, printed.err

    return run


def texts(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def test_an_index_is_made_asked_and_asked_again(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(texts("ba be bi", "ko ku", "ga ge gi go"), encoding="utf-8")
    status, out, _ = command("--input", tmp_path / "notes.txt", "--query", "ko ku", "ba be bi", "--k", "1")
    assert status == 0 and "3 texts; skipped: nothing" in out
    found = [line.split() for line in out.splitlines() if line.startswith(" ")]
    places = [Path(words[1]).name for words in found[::2]]
    assert places == ["notes.txt:2", "notes.txt:1"] and found[1::2] == [["ko", "ku"], ["ba", "be", "bi"]]
    again = command("--query", "ko ku", "--k", "1")
    assert again[0] == 0 and again[1] in out


def test_queries_are_read_from_the_terminal(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text(texts("ba be bi", "ko ku"), encoding="utf-8")
    assert command("--input", tmp_path / "notes.txt")[0] == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("ko ku\nba be\n\nnot asked\n"))
    status, out, _ = command()
    assert status == 0 and out.count("1.000") == 1 and "not asked" not in out
    monkeypatch.setattr(sys, "stdin", io.StringIO("ko ku"))
    assert command()[0] == 0


def test_json_lines_grow_the_index_and_bad_lines_are_counted(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    rows = [json.dumps({"body": "ba be"}), "{broken", json.dumps({"body": "ko ku"})]
    path.write_text(texts(*rows), encoding="utf-8")
    status, out, _ = command("--input", path, "--field", "body")
    assert status == 0 and "2 texts; skipped: 1 ×" in out
    path.write_text(texts(*rows, json.dumps({"body": "ga ge"})), encoding="utf-8")
    assert "3 texts" in command("--input", path, "--field", "body")[1]
    path.write_text(texts(*rows[2:]), encoding="utf-8")
    status, _, err = command("--input", path, "--field", "body")
    assert status == 1 and "text 1 is 'ko ku'" in err and "notes.jsonl:1), but" in err


def test_nothing_in_a_text_reaches_the_terminal_as_a_command(command: Command, tmp_path: Path) -> None:
    hostile = "ba \x1b[2J\x1b]0;gotcha\x07 be \u202e bi"
    (tmp_path / "notes.jsonl").write_text(json.dumps({"text": hostile}) + "\n", encoding="utf-8")
    status, out, err = command("--input", tmp_path / "notes.jsonl", "--query", "ba \x1b[31m be")
    assert status == 0
    assert not set("\x1b\x07\u202e") & set(out + err)


def test_a_long_text_without_spaces_is_cut_and_shown(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("电" * 300 + "\n", encoding="utf-8")
    _, out, _ = command("--input", tmp_path / "notes.txt", "--query", "电")
    assert "电" * 198 + " …" in out and "电" * 199 not in out


def test_input_without_a_text_is_refused_with_the_reason(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text('{"body": "ba be"}\n', encoding="utf-8")
    status, _, err = command("--input", tmp_path / "notes.jsonl")
    assert status == 1 and "no text to index; skipped: 1 ×" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "is not an index; correct --index, or make one with --input"),
        (("--query", "ba"), "is not an index"),
        (("--query", " "), "--query is blank"),
        (("--query", "caf\udce9"), r"the query 'caf\udce9' is not UTF-8"),
        (("--input", "nothing/*.txt"), "nothing/*.txt"),
        (("--query", "ba", "--k", "0"), "k=0"),
        (("--query", "ba", "--device", "cuda:77"), "cuda:77"),
    ],
)
def test_mistakes_are_refused_in_one_line(command: Command, words: tuple[str, ...], message: str) -> None:
    status, out, err = command(*words)
    assert status == 1 and out == "" and message in err and err.count("\n") == 1 and "Traceback" not in err


def test_texts_that_are_cut_are_counted(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(texts("ba be bi", "ko ku", "ga " * 7), encoding="utf-8")
    _, out, _ = command("--input", tmp_path / "notes.txt", "--max-length", "6")
    assert "longer than 6 tokens: 1; only their beginning is found" in out
    assert command("--query", "ba", "--max-length", "99")[0] == 1


def test_an_interrupted_index_says_so_until_it_is_complete(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text(texts("ba be bi", "ko ku", "ga ge"), encoding="utf-8")
    monkeypatch.setattr(index, "BLOCK", 2)
    vectors = SearchIndex.vectors

    def interrupt(self: SearchIndex, block: list[str], batch_size: int = 32) -> torch.Tensor:
        if "ga ge" in block:
            raise KeyboardInterrupt
        return vectors(self, block, batch_size)

    with monkeypatch.context() as patch:
        patch.setattr(SearchIndex, "vectors", interrupt)
        status, _, err = command("--input", tmp_path / "notes.txt")
        assert status == 130 and "keeps 2 texts; repeat the command to go on" in err
    status, out, err = command("--query", "ko ku", "--k", "1")
    assert status == 0 and "ko ku" in out and "is not complete" in err and "from 2 texts" in err
    assert "3 texts" in command("--input", tmp_path / "notes.txt")[1]
    assert command("--query", "ko ku")[2].endswith("index: 3 texts\n")


def test_help_explains_each_option(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bertlearn", "search", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    text = capsys.readouterr().out
    for option in ("--index", "--query", "--input", "--field", "--model", "--max-length", "--k", "--device"):
        assert option in text
