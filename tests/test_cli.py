"""The command line and the doctor: their output, also when something is broken."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import get_args

import pytest
import torch

from bertlearn import cli, data
from bertlearn.arguments import check_device
from bertlearn.course import commands, doctor
from bertlearn.course import corpus as course_corpus
from bertlearn.pretraining import corpus
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

FAKE_SOURCE = data.Status("reviews", "damaged", Path("folder"), 3_000_000)


def bertlearn(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bertlearn", *words]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the doctor find no notebooks and intact data, so that a test sees only what it breaks."""
    monkeypatch.setattr(doctor, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(
        course_corpus.Corpus, "status", lambda _: FAKE_SOURCE._replace(name="shards", state="intact")
    )
    monkeypatch.setattr(data, "status", lambda: [FAKE_SOURCE._replace(state="intact")])


def finding(topic: str) -> doctor.Finding:
    return next(f for f in doctor.examine().findings if f.topic == topic)


def test_help_names_every_command() -> None:
    text = bertlearn("--help").stdout
    assert "doctor" in text and "data" in text
    assert "--json" in bertlearn("doctor", "--help").stdout


def test_an_unknown_command_or_source_is_refused() -> None:
    assert bertlearn("doktor").returncode == 2
    result = bertlearn("data", "nonsense", "--check")
    assert result.returncode == 2
    assert "nonsense" in result.stdout + result.stderr


def test_source_names_are_those_of_the_table() -> None:
    assert set(get_args(cli.SourceName)) == set(data.SOURCES)


def test_data_of_a_chapter_and_all_data_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BERTLEARN_CACHE", str(tmp_path))
    chapter = bertlearn("data", "--chapter", "10", "--check").stdout.splitlines()
    assert sorted(line.split()[:2] for line in chapter) == [
        ["multilingual", "missing"],
        ["novel", "missing"],
        ["shop_reviews", "missing"],
    ]
    everything = bertlearn("data", "--all", "--check").stdout.splitlines()
    assert {line.split()[0] for line in everything} == {*data.SOURCES, "shards"}
    usual = bertlearn("data", "--check").stdout.splitlines()
    assert {line.split()[0] for line in usual} == {
        name for name, source in data.SOURCES.items() if source.chapter is None
    } | {"shards"}


def test_a_published_model_is_brought_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BERTLEARN_CACHE", str(tmp_path))
    missing = bertlearn("data", "--model", "bert-base-chinese", "--check")
    assert missing.returncode == 1 and missing.stdout.startswith("bert-base-chinese is not in ")
    refused = bertlearn("data", "--model", "bert-base-chinese", "--from", str(tmp_path / "nothing"))
    assert refused.returncode == 1 and "is not a folder" in refused.stderr
    alone = bertlearn("data", "--from", str(tmp_path))
    assert alone.returncode == 1 and "--from and --endpoint are for --model" in alone.stderr


def test_data_check_reports_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BERTLEARN_CACHE", str(tmp_path))
    result = bertlearn("data", "reviews", "bible", "--check")
    assert result.returncode == 1
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["reviews", "missing"],
        ["bible", "missing"],
    ]
    assert list(tmp_path.iterdir()) == []


def test_data_reports_a_failure_in_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(names: object) -> None:
        raise data.DataError("no network; do this")

    monkeypatch.setattr(data, "fetch", fail)
    assert cli._run(["data"]) == 1
    assert capsys.readouterr().err == "bertlearn data: no network; do this\n"


def build_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str | Path
) -> tuple[int, str, str]:
    """Run `bertlearn data build` in this process; return its status, output and errors."""
    monkeypatch.setattr(sys, "argv", ["bertlearn", "data", "build", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    output = capsys.readouterr()
    return int(str(stopped.value)), output.out, output.err


def test_data_build_help_explains_each_option() -> None:
    text = bertlearn("data", "build", "--help").stdout
    for option in ("--output", "--input", "--vocab", "--vocab-size", "--split", "--lines", "--field"):
        assert option in text
    assert "--workers" in text and "--overwrite" in text and "hub:owner/name" in text
    assert "--limit-alphabet" in text
    assert "bertlearn data build" in bertlearn("data", "--help").stdout


def test_data_build_learns_a_vocabulary_and_then_uses_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("the film ends well\n\nthe film ends badly\n" * 5, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"body": "a film"}\n[]\n', encoding="utf-8")
    inputs = ["--input", f"{tmp_path}/*.txt", f"{tmp_path}/*.jsonl", "--field", "body"]
    status, out, err = build_data(
        monkeypatch, capsys, *inputs, "--output", tmp_path / "one", "--vocab-size", "60"
    )
    assert status == 0
    assert "7 documents" in out and "left out: 1 × not a JSON object" in out
    assert err.count("b.jsonl:2: not a JSON object") == 1  # though the input is read twice
    one = corpus.Shards.open(tmp_path / "one")
    assert 20 < len(one.vocab) <= 60
    for vocab in (tmp_path / "one", tmp_path / "one" / "vocab.txt"):
        words = [*inputs, "--output", tmp_path / "two", "--vocab", vocab, "--overwrite", "--lines"]
        assert build_data(monkeypatch, capsys, *words)[0] == 0
        two = corpus.Shards.open(tmp_path / "two")
        assert two.vocabulary == one.vocabulary and two.documents == 11
    status, _, err = build_data(monkeypatch, capsys, *inputs, "--output", tmp_path / "two")
    assert status == 1
    assert err.startswith("bertlearn data build: ") and "has finished shards" in err
    assert err.count("\n") == 1


def test_data_build_reads_a_vocabulary_file_as_transformers_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Only line feeds end a line, so the tokens after U+2028 keep their ids."""
    (tmp_path / "a.txt").write_text("the film ends well\n" * 9, encoding="utf-8")
    words = [*SPECIAL_TOKENS, "##\u2028", "the\x1c", "film", "ends", "well"]
    file = tmp_path / "words.txt"
    file.write_bytes("".join(f"{word} \r\n" for word in words).encode())
    WordPieceTokenizer(words[:5] + words[7:]).fast().save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for vocab, expected in (
        (file, [*SPECIAL_TOKENS, "##", "the\x1c", "film", "ends", "well"]),
        (Path("~/words.txt"), [*SPECIAL_TOKENS, "##", "the\x1c", "film", "ends", "well"]),
        (tmp_path / "tokenizer.json", [*SPECIAL_TOKENS, "film", "ends", "well"]),
    ):
        output = tmp_path / f"{vocab.parent.name}-{vocab.stem}"
        status, _, err = build_data(
            monkeypatch, capsys, "--input", tmp_path / "a.txt", "--vocab", vocab, "--output", output
        )
        assert status == 0, err
        assert list(corpus.Shards.open(output).vocab) == expected


def test_data_build_takes_the_course_texts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    splits = []

    def documents(split: str) -> list[data.Document]:
        splits.append(split)
        return [data.Document("plots", "two friends talk and talk")] * 3

    monkeypatch.setattr(course_corpus, "course_documents", documents)
    words = ["--output", tmp_path / "shards", "--split", "validation", "--vocab-size", "40"]
    assert build_data(monkeypatch, capsys, *words)[0] == 0
    assert splits == ["validation", "train"]  # the vocabulary is learned from the training text
    assert corpus.Shards.open(tmp_path / "shards").sources == ("plots",)


def test_data_build_learns_a_vocabulary_of_chinese(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    characters = [chr(0x4E00 + number) for number in range(5000)]
    (tmp_path / "a.txt").write_text("".join(characters * 2 + characters[:900] * 9), encoding="utf-8")
    words = ["--input", f"{tmp_path}/a.txt", "--output", tmp_path / "shards", "--vocab-size", 4096]
    with pytest.warns(
        UserWarning, match="5,000 different characters, of which the vocabulary keeps the 3,840"
    ):
        status, out, _ = build_data(monkeypatch, capsys, *words)
    assert status == 0
    assert out.startswith("learning a vocabulary of up to 4,096 tokens\n")
    with pytest.warns(UserWarning, match="keeps the 900 most frequent; .*: 45.30% of the text"):
        status, out, _ = build_data(monkeypatch, capsys, *words, "--overwrite", "--limit-alphabet", 900)
    assert status == 0 and "45.30% of them [UNK]" in out  # 8,200 of 18,101, one of which is [SEP]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input", "{utf16}"], "utf16.txt is UTF-16; expected UTF-8"),
        (["--input", "{text}", "--vocab-size", "0"], "--vocab-size=0 must be"),
        (["--input", "{text}", "--limit-alphabet", "0"], "--limit-alphabet=0 must be"),
        (["--input", "{many}", "--vocab-size", "5"], "--vocab-size=5 has no room for 5 special tokens"),
        (["--input", "{many}", "--vocab-size", "5"], "or a lower --limit-alphabet"),
        (["--input", "nowhere/*.txt"], "no file matches 'nowhere/*.txt'"),
        (["--split", "test"], "--split='test' is not for pretraining"),
        (["--vocab", "no such folder", "--input", "{text}"], "no folder 'no such folder'"),
        (["--workers", "0", "--vocab", "{vocab}", "--input", "{text}"], "--workers=0 must be"),
        (["--vocab", "{vocab}", "--input", "{empty}"], "no document of at least 2 tokens"),
    ],
)
def test_data_build_reports_an_error_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: list[str],
    message: str,
) -> None:
    files = {name: tmp_path / f"{name}.txt" for name in ("vocab", "text", "many", "empty", "utf16")}
    files["vocab"].write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", encoding="utf-8")
    files["text"].write_text("a a a", encoding="utf-8")
    files["many"].write_text("the film ends well\n" * 9, encoding="utf-8")
    files["utf16"].write_bytes(("Сегодня хорошая погода.\r\n\r\n" * 300).encode("utf-16"))
    files["empty"].touch()
    monkeypatch.setattr(data.corpora, "load_reviews", pytest.fail)
    words = [word.format(**files) for word in words]
    status, _, err = build_data(monkeypatch, capsys, *words, "--output", tmp_path / "out")
    assert status == 1
    last = err.splitlines()[-1]
    assert last.startswith("bertlearn data build: ") and message in last
    assert "Traceback" not in err and not list(tmp_path.glob("out/*.npy"))


def test_data_build_checks_its_output_before_it_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli, "_documents", pytest.fail)
    (tmp_path / "file").touch()
    status, _, err = build_data(monkeypatch, capsys, "--output", tmp_path / "file")
    assert status == 1 and err.startswith(f"bertlearn data build: {tmp_path / 'file'} is a file, expected")


def test_data_build_checks_the_space_for_its_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("some text\n" * 1_000_000, encoding="utf-8")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9 - 10**6, 10**6))
    monkeypatch.setattr(cli, "_learn_tokenizer", pytest.fail)
    words = ("--input", tmp_path / "a.txt", "--output", tmp_path / "out")
    status, _, err = build_data(monkeypatch, capsys, *words)
    assert status == 1 and "has 1.0 MB free, expected at least 2.5 MB; free some space" in err


@pytest.mark.parametrize(
    ("words", "message", "status"),
    [
        (["--workers", "0"], "--workers=0 must be a whole number of at least 1", 1),
        (
            ["--input", ""],
            "--input is empty; give it a value, or leave it out; see bertlearn data build --",
            2,
        ),
        (["--vocab", ""], "--vocab is empty; give it a value", 2),
    ],
)
def test_data_build_checks_its_options_before_it_reads(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: list[str],
    message: str,
    status: int,
) -> None:
    monkeypatch.setattr(cli, "_documents", pytest.fail)
    found, out, err = build_data(monkeypatch, capsys, "--output", tmp_path / "out", *words)
    assert (found, out) == (status, "")
    assert err.startswith(f"bertlearn data build: {message}") and err.count("\n") == 1


# Options of `bertlearn pretrain`.


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Shards of 9 documents with 5 tokens each."""
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, "the", "film", "ends", "well"])
    documents = [data.Document("films", "the film ends well")] * 9
    corpus.build_shards(documents, tmp_path / "shards", tokenizer, progress=False)
    return tmp_path / "shards"


Refusal = Callable[..., tuple[object, str]]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Return a function that runs a command which is refused; it returns the status and the message."""

    def run(*words: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["bertlearn", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mask-probability", "0"], "--mask-probability=0.0 must lie between 0 and 1"),
        (["--dropout", "1.5"], "--dropout=1.5 must lie in [0, 1)"),
        (["--initializer-range", "nan"], "--initializer-range=nan must be a positive number"),
        (["--max-length", "0"], "--max-length=0 must be a whole number of at least 8"),
        (["--max-length", "60"], "--max-length=60 cannot be split into chunks of --short-length=8; use for"),
        (["--learning-rate", "inf"], "--learning-rate=inf must be a positive number"),
        (["--seed", str(2**64)], f"--seed={2**64} must be a whole number from 0 to {2**64 - 1}"),
        (["--micro-batch-size", "5"], "--batch-size=16 is not a multiple of --micro-batch-size=5; use"),
        (["--data", ""], "--data is empty; give it a value, or leave it out"),
    ],
)
def test_pretrain_refuses_an_option_by_its_own_name(
    refusal: Refusal, tmp_path: Path, words: list[str], message: str
) -> None:
    status, error = refusal("pretrain", "--data", "none", "--output", str(tmp_path / "out"), *words)
    assert status == 2 and list(tmp_path.iterdir()) == []
    assert error.startswith(f"bertlearn pretrain: {message}") and error.count("\n") == 1
    assert error.endswith("; see bertlearn pretrain --help\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--batch-size", "100000000"],
            "--batch-size=100000000 sequences of --max-length=8 tokens are more than the whole text, which "
            "has 45; use smaller values, or more text",
        ),
        (["--batch-size", "6"], "--batch-size=6 sequences of --max-length=8 tokens are more than the whole"),
        (["--device", "gpu"], "--device='gpu' is not on this machine, where PyTorch "),
    ],
)
def test_pretrain_refuses_what_the_machine_and_the_text_cannot_give(
    refusal: Refusal, tmp_path: Path, shards: Path, words: list[str], message: str
) -> None:
    usual = ("--data", str(shards), "--output", str(tmp_path / "out"), "--max-length", "8")
    status, error = refusal("pretrain", *usual, *words)
    assert status == 1 and not (tmp_path / "out").exists()
    assert error.startswith(f"bertlearn pretrain: {message}") and error.count("\n") == 1


def test_devices_that_exist_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for device in (None, "cpu", "cpu:0"):
        check_device(device)
    accelerator = torch.accelerator
    monkeypatch.setattr(accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(accelerator, "device_count", lambda: 2)
    for device in ("cuda", "cuda:1"):
        check_device(device)
    for device in ("cuda:2", "mps"):
        with pytest.raises(
            ValueError, match=f"device='{device}' is not on .* finds cpu and cuda:0 to cuda:1"
        ):
            check_device(device)
    monkeypatch.setattr(accelerator, "current_accelerator", lambda check_available: None)
    with pytest.raises(ValueError, match=r"device='cuda' is not on .* finds cpu; choose"):
        check_device("cuda")


def test_only_names_of_options_are_rewritten(capsys: pytest.CaptureFixture[str]) -> None:
    message = "seed=1 and max_length=2 (or max_length), but no seed, 'max_length=3' or a/seed=4"
    assert cli._fail("pretrain", message) == 1
    shown = "--seed=1 and --max-length=2 (or --max-length), but no seed, 'max_length=3' or a/seed=4"
    assert capsys.readouterr().err == f"bertlearn pretrain: {shown}\n"


def test_words_that_are_no_options_are_refused_with_the_help_of_the_command() -> None:
    for words in (["finetune", "--epochs", "many"], ["pretrain", "--step", "9"], ["finetune"]):
        result = bertlearn(*words)
        text = " ".join((result.stdout + result.stderr).replace("│", " ").split())
        assert result.returncode == 2 and f"bertlearn {words[0]} --help" in text
        assert "dummy" not in text


def test_data_build_refuses_unknown_options(tmp_path: Path) -> None:
    assert bertlearn("data", "build").returncode == 2
    result = bertlearn("data", "build", "--output", str(tmp_path / "x"), "--inptu", "a.txt")
    assert result.returncode == 2
    assert "--inptu" in result.stdout + result.stderr


@pytest.mark.usefixtures("quick")
def test_a_healthy_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.doctor() == 0
    out = capsys.readouterr().out
    assert "✗" not in out
    assert out.endswith("All is well.\n")
    assert commands.doctor(json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    topics = [f["topic"] for f in report["findings"]]
    assert topics == [
        "Python",
        "packages",
        "device",
        "bfloat16",
        "memory",
        "disk",
        "data: reviews",
        "data: shards",
        "data: chapter 7",  # only said; without them nothing is wrong
        "data: chapter 10",
    ]


@pytest.mark.usefixtures("quick")
def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHON", (99, 0))
    assert finding("Python").problem == "the course needs 99.0 or newer"
    assert "install Python 99.0" in finding("Python").remedy


@pytest.mark.usefixtures("quick")
def test_a_missing_and_a_different_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = metadata.version
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "0.1" if name == "numpy" else real(name))
    assert "differ from the lock: " in finding("packages").value
    assert "numpy 0.1 (locked: " in finding("packages").value
    monkeypatch.setattr(doctor, "_installed", lambda name: None if name == "anywidget" else "1")
    assert finding("packages").problem == "not installed: anywidget"
    assert "make setup" in finding("packages").remedy


@pytest.mark.usefixtures("quick")
def test_a_missing_torch_stops_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    report = doctor.examine()
    broken = next(f for f in report.findings if f.topic == "device")
    assert not report.ok
    assert broken.problem.startswith("ModuleNotFoundError")
    assert "make setup" in broken.remedy
    assert "data: reviews" in str(report)


@pytest.mark.usefixtures("quick")
def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**12, 10**12, 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert finding("disk").problem == "less than 1 GB"
    assert "BERTLEARN_CACHE" in finding("disk").remedy


@pytest.mark.usefixtures("quick")
def test_damaged_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "status", lambda: [FAKE_SOURCE])
    assert finding("data: reviews").value == "damaged"
    assert finding("data: reviews").remedy == "run `bertlearn data`"


@pytest.mark.usefixtures("quick")
def test_shards_that_are_damaged_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course_corpus.Corpus, "status", lambda _: FAKE_SOURCE)
    assert finding("data: shards").remedy == "run `bertlearn data`"
    monkeypatch.setattr(course_corpus.Corpus, "status", lambda _: FAKE_SOURCE._replace(state="missing"))
    assert finding("data: shards").value == "missing; chapter 4 builds them"
    assert not finding("data: shards").problem


@pytest.mark.usefixtures("quick")
def test_little_memory_for_a_chapter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measurement = {"seconds": 60, "memory_mb": 10**9, "probe_seconds": 0.5}
    (tmp_path / "07_huge.ipynb").write_text(json.dumps({"metadata": {"bertlearn": measurement}}))
    assert finding("memory").problem == "07_huge needs 1000000000 MB"


@pytest.mark.usefixtures("quick")
def test_chapters_are_scaled_by_the_speed_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measurement = {"seconds": 120, "memory_mb": 500, "probe_seconds": 0.5}
    (tmp_path / "01_one.ipynb").write_text(json.dumps({"metadata": {"bertlearn": measurement}}))
    (tmp_path / "02_unmeasured.ipynb").write_text(json.dumps({"metadata": {}}))
    monkeypatch.setattr(doctor, "probe_seconds", lambda: 1.5)
    assert list(doctor.chapters()) == [doctor.Chapter("01_one", 6.0, 500)]
    assert "01_one" in str(doctor.examine())


def test_the_lock_is_read_with_its_markers() -> None:
    text = "# note\nnumpy==2.1\nwin-only==1 ; sys_platform == 'nowhere'\nScikit_Learn==1.5\n"
    assert dict(doctor._locked_versions(text)) == {"numpy": "2.1", "scikit-learn": "1.5"}
