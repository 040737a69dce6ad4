"""`bertlearn finetune`: from a user's file to a folder with which transformers computes the same scores."""

from __future__ import annotations

import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from conftest import CONFIG, perturb
from safetensors.torch import load_file

from bertlearn import cli
from bertlearn.finetuning import classifier
from bertlearn.finetuning.options import TableOptions
from bertlearn.finetuning.run import Finetuned
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.model.inference import predict
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.step import Stepper

GOOD, BAD = ["fine", "lovely", "great"], ["dull", "poor", "awful"]
PLAIN = [a + b for a in "bcdfghjklm" for b in "aeiou"]
Command = Callable[..., tuple[int, str, str]]
QUICK = ("--epochs", "6", "--batch-size", "8", "--learning-rate", "3e-3", "--precision", "fp32")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder with a pooler, and its tokenizer."""
    words = [*SPECIAL_TOKENS, *GOOD, *BAD, *PLAIN]
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    model = BertModel(CONFIG)
    perturb(model)
    model.save_pretrained(folder)
    WordPieceTokenizer([*words, *(f"[unused{i}]" for i in range(101 - len(words)))]).save_pretrained(folder)
    return folder


def review(rng: random.Random, words: list[str]) -> str:
    text = [*rng.choices(PLAIN, k=rng.randrange(2, 8)), rng.choice(words)]
    rng.shuffle(text)
    return " ".join(text)


def rows(count: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    return [(review(rng, [BAD, GOOD][i % 2]), ["rotten", "fresh"][i % 2]) for i in range(count)]


def write_csv(path: Path, header: tuple[str, ...], records: list[tuple[str, ...]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *records])
    return path


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "mine.csv", ("text", "label"), rows(300))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `bertlearn finetune` in this process; return its status, output and errors."""

    def command(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bertlearn", "finetune", *QUICK, *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        output = capsys.readouterr()
        return int(str(stopped.value)), output.out, output.err

    return command


def ours(folder: Path, texts: list, max_length: int = 32) -> list[dict[str, float]]:
    model = BertForSequenceClassification.from_pretrained(folder)
    probs = predict(model, WordPieceTokenizer.from_pretrained(folder), texts, max_length=max_length)
    names = model.config.id2label
    return [{names[number]: value for number, value in enumerate(row)} for row in probs.tolist()]


def theirs(folder: Path, texts: list) -> list[dict[str, float]]:
    pipe = transformers.pipeline("text-classification", model=str(folder), truncation=True, top_k=None)
    return [{one["label"]: one["score"] for one in pipe([text])[0]} for text in texts]


def agree(one: list[dict[str, float]], other: list[dict[str, float]]) -> bool:
    return all(a == pytest.approx(b, abs=1e-5) for a, b in zip(one, other, strict=True))


def test_a_file_becomes_a_folder_with_the_same_scores_in_transformers(
    run: Command, base: Path, mine: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    status, output, _ = run("--model", base, "--train", mine, "--output", out)
    assert status == 0
    assert output.splitlines()[:3] == [
        "2 labels: 'rotten' 135, 'fresh' 135",
        "270 texts to train on, 30 to validate on",
        "203 steps of 8 texts, truncated to 32 tokens",
    ]
    assert "validation accuracy 1.000, macro-F1 1.000; always predicting the commonest label: 0.500" in output
    texts = [text for text, _ in rows(20, seed=1)]
    scores = ours(out, texts)
    assert [max(one, key=one.get) for one in scores] == [label for _, label in rows(20, seed=1)]
    long = " ".join(["ba"] * 60 + ["lovely"])  # the model has 32 positions
    assert agree(ours(out, [*texts, long]), theirs(out, [*texts, long]))
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "tokenizer_config.json",
    }


def test_the_line_of_python_in_the_output_runs(
    run: Command, capsys: pytest.CaptureFixture[str], base: Path, mine: Path, tmp_path: Path
) -> None:
    for pooling, shown in (("cls", "from transformers import pipeline"), ("mean", "from bertlearn import")):
        out = tmp_path / f"it's {pooling}"
        words = ("--model", base, "--train", mine, "--output", out, "--pooling", pooling)
        output = run(*words)[1].splitlines()
        assert output[-1].startswith(shown) and output[-2] == f"the model is in {out}; to use it:"
        exec(output[-1], {})
        printed = capsys.readouterr().out
        expected = max(ours(out, ["a text"])[0].values())
        assert f"{expected:.6f}"[:5] in printed
        assert ("transformers loads the model but gives different scores" in output[3]) == (pooling == "mean")
        assert agree(ours(out, ["ba fine"]), theirs(out, ["ba fine"])) == (pooling == "cls")


def test_pairs_from_json_lines_with_a_file_to_validate_on(run: Command, base: Path, tmp_path: Path) -> None:
    for name, count, seed in (("train", 80, 0), ("valid", 30, 1)):
        lines = [
            {"said": text, "meant": "fine" if i % 4 < 2 else "dull", "same": i % 4 in (0, 3)}
            for i, (text, _) in enumerate(rows(count, seed))
        ]
        content = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(content, encoding="utf-8")
    files = ("--train", tmp_path / "train.jsonl", "--validation", tmp_path / "valid.jsonl")
    columns = ("--text-column", "said", "meant", "--label-column", "same")
    out = tmp_path / "out"
    status, output, _ = run("--model", base, "--output", out, *files, *columns)
    assert status == 0
    assert "2 labels: 'true' 40, 'false' 40\n80 texts to train on, 30 to validate on" in output
    pairs = [("ba be fine", "dull"), ("dull bi", "dull")]
    dictionaries = [{"text": one, "text_pair": other} for one, other in pairs]
    assert agree(ours(out, pairs), theirs(out, dictionaries))
    assert '{"text": "a text", "text_pair": "its partner"}' in output


def test_bad_rows_are_reported_and_the_others_used(run: Command, base: Path, tmp_path: Path) -> None:
    records = [*rows(60), ("alone",), ("", "fresh"), *rows(60, seed=1)]
    path = write_csv(tmp_path / "mine.csv", ("text", "label"), records)
    status, output, errors = run("--model", base, "--train", path, "--output", tmp_path / "out")
    assert status == 0 and "108 texts to train on" in output
    assert (
        f"{path}:62: does not have 2 fields like the header\n{path}:63: empty text in the column 'text'"
        in errors
    )


WRONG = {
    "no such file": (("--train", "none.csv"), "none.csv does not exist"),
    "no such column": (("--label-column", "stars"), "has no column 'stars'; its columns are 'text', 'label'"),
    "the text for the label": (
        ("--label-column", "text", "--text-column", "label"),
        "300 different labels in 300",
    ),
    "the same column": (("--label-column", "text"), "use one text column, or two for pairs of texts"),
    "three columns": (("--text-column", "a", "b", "c"), "use one text column, or two for pairs of texts"),
    "no such model": (("--model", "no-such-folder-or-model"), "'no-such-folder-or-model' is not a folder"),
    "unknown labels": (
        ("--validation", "other.csv"),
        "other.csv has the label 'boring', which no training text has",
    ),
    "many layers": (("--trainable-layers", "9"), "--trainable-layers=9, but the model has 2"),
}

# Options that are refused before anything is read; with the exit status.
WRONG_OPTIONS = {
    "no share": (2, ("--validation-share", "0"), "--validation-share=0.0 must lie in (0, 0.5]"),
    "no epochs": (2, ("--epochs", "0"), "--epochs=0 must be a whole number of at least 1"),
    "not a number": (2, ("--learning-rate", "nan"), "--learning-rate=nan must be a positive number"),
    "a large seed": (
        2,
        ("--seed", str(10**30)),
        f"--seed={10**30} must be a whole number from 0 to {2**64 - 1}",
    ),
    "micro-batches": (
        2,
        ("--micro-batch-size", str(10**9)),
        "--batch-size=8 is not a multiple of --micro-batch-size=1000000000; use a --micro-batch-size that "
        "divides it, or make --batch-size a multiple of 1000000000",
    ),
    "an empty model": (2, ("--model", ""), "--model is empty; give it a value, or leave it out"),
    "an empty column": (2, ("--text-column", "a", ""), "--text-column is empty; give it a value"),
    "an empty folder": (2, ("--output=",), "--output is empty; give it a value, or leave it out"),
    "no room": (1, ("--max-length", "0"), "--max-length=0 must be a whole number of at least 3"),
    "no room for a text": (1, ("--max-length", "2"), "--max-length=2 must be a whole number of at least 3"),
    "no room for a pair": (
        1,
        ("--text-column", "a", "b", "--max-length", "4"),
        "--max-length=4 must be a whole number of at least 5",
    ),
    "much dropout": (1, ("--dropout", "1.5"), "--dropout=1.5 must lie in [0, 1)"),
    "undefined dropout": (1, ("--dropout", "nan"), "--dropout=nan must lie in [0, 1)"),
    "no device": (1, ("--device", "gpu"), "--device='gpu' is not on this machine, where PyTorch "),
    "a device without memory": (1, ("--device", "meta"), "--device='meta' is not on this machine"),
    "a far device": (1, ("--device", "cuda:99"), "--device='cuda:99' is not on this machine"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_is_reported_in_one_line_and_nothing_is_written(
    name: str, run: Command, monkeypatch: pytest.MonkeyPatch, base: Path, mine: Path, tmp_path: Path
) -> None:
    words, message = WRONG[name]
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "other.csv", ("text", "label"), [("ba", "boring"), ("be", "fresh")])
    before = sorted(tmp_path.iterdir())
    usual = {"--model": base, "--train": mine, "--output": "out"}
    usual.pop(words[0], None)
    status, output, errors = run(*(word for pair in usual.items() for word in pair), *words)
    assert status in (1, 2)
    assert message in output + errors
    assert sorted(tmp_path.iterdir()) == before


def test_too_many_layers_are_refused_before_the_texts_are_encoded(
    run: Command, monkeypatch: pytest.MonkeyPatch, base: Path, mine: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(classifier.Setup, "features", pytest.fail)
    words = ("--model", base, "--train", mine, "--output", tmp_path / "out", "--trainable-layers", 3)
    status, _, errors = run(*words)
    assert status == 1 and "--trainable-layers=3, but the model has 2" in errors


@pytest.mark.parametrize("name", WRONG_OPTIONS)
def test_a_wrong_option_is_refused_by_its_own_name_before_anything_is_read(
    name: str, run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status, words, message = WRONG_OPTIONS[name]
    monkeypatch.setattr(classifier, "read_tables", pytest.fail)
    usual = ("--model", "none", "--train", "none.csv", "--output", tmp_path / "out")
    found, output, errors = run(*usual, *words)
    assert (found, output) == (status, "")
    assert errors.startswith(f"bertlearn finetune: {message}")
    assert errors.endswith("; see bertlearn finetune --help\n") == (status == 2)
    assert errors.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_an_error_is_one_line_and_status_1(tmp_path: Path) -> None:
    words = ("--model", "minilm", "--train", str(tmp_path / "none.csv"), "--output", str(tmp_path / "out"))
    result = subprocess.run(
        [sys.executable, "-m", "bertlearn", "finetune", *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(
        f"bertlearn finetune: {tmp_path / 'none.csv'} does not exist (working directory: "
    )
    assert result.stderr.count("\n") == 1


def test_a_folder_that_is_not_empty_is_refused_before_anything_is_read(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(classifier, "read_tables", pytest.fail)
    status, _, errors = run("--model", "none", "--train", "none.csv", "--output", tmp_path / "out")
    reason = f"{tmp_path / 'out'} already exists and is not empty; choose another folder, or empty it"
    assert status == 1 and errors == f"bertlearn finetune: {reason}\n"


def test_an_empty_folder_is_filled(run: Command, base: Path, mine: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    words = ("--model", base, "--train", mine, "--output", tmp_path / "out", "--epochs", "1")
    assert run(*words)[0] == 0
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_what_a_run_without_a_checkpoint_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".lock").touch()
    assert classifier.check_folder(tmp_path, resume=False) is False
    (tmp_path / "checkpoints" / "mine.txt").touch()
    with pytest.raises(ValueError, match="not empty"):
        classifier.check_folder(tmp_path, resume=False)


def test_a_full_disk_leaves_checkpoints_from_which_the_run_can_end(
    run: Command, monkeypatch: pytest.MonkeyPatch, base: Path, mine: Path, tmp_path: Path
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    words = ("--model", base, "--train", mine, "--output", tmp_path / "out", "--epochs", "1")
    with monkeypatch.context() as patch:
        patch.setattr(WordPieceTokenizer, "save_pretrained", full)  # the model is written by then
        status, _, errors = run(*words)
    assert status == 1 and "bertlearn finetune: [Errno 28] No space left" in errors
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoints"]
    assert list((tmp_path / "tmp").iterdir()) == []
    status, output, _ = run(*words, "--resume")
    assert status == 0 and "step 34 of 34 was the best" in output
    assert (tmp_path / "out" / "model.safetensors").is_file()


def interrupt_before(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Press Ctrl-C in this step, counted from the next start of a run."""
    update, steps = Stepper.update, []

    def counted(self: Stepper, stop_requested: Callable[[], bool]) -> bool:
        steps.append(1)
        if len(steps) == step:
            signal.raise_signal(signal.SIGINT)
        return update(self, stop_requested)

    monkeypatch.setattr(Stepper, "update", counted)


def test_a_stopped_run_keeps_its_best_model_and_continues(
    run: Command, monkeypatch: pytest.MonkeyPatch, base: Path, mine: Path, tmp_path: Path
) -> None:
    for name in ("whole", "parts"):  # the two have the same weights in the end
        words = ("--model", base, "--train", mine, "--output", tmp_path / name, "--epochs", "2")
        with monkeypatch.context() as patch:
            interrupt_before(patch, 40 if name == "parts" else 1000)
            status, output, _ = run(*words)
        if name == "parts":
            assert status == 3
            assert "step 34 of 40 was the best" in output
            assert output.endswith("stopped at step 40; to continue, repeat the command with --resume\n")
            assert len(ours(tmp_path / name, ["ba fine"])) == 1
            status, _, errors = run(*words)
            assert status == 1 and "has checkpoints of an earlier run; continue it with --resume" in errors
            status, output, _ = run(*words, "--resume")
        assert status == 0 and "of 68 was the best" in output
        assert not (tmp_path / name / "checkpoints").exists()
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[key], other[key]) for key in one | other)


def test_a_run_stopped_before_its_first_evaluation_says_that_there_is_no_model(
    run: Command, monkeypatch: pytest.MonkeyPatch, base: Path, mine: Path, tmp_path: Path
) -> None:
    interrupt_before(monkeypatch, 5)
    words = ("--model", base, "--train", mine, "--output", tmp_path / "out")
    status, output, _ = run(*words)
    assert status == 3
    assert "stopped at step 5, before the first evaluation, so there is no model yet; to continue" in output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoints"]


@pytest.mark.parametrize("name", [".", "link"])
def test_the_working_directory_and_a_link_are_filled(
    name: str, run: Command, monkeypatch: pytest.MonkeyPatch, base: Path, mine: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    try:
        (tmp_path / "link").symlink_to(tmp_path / "empty", target_is_directory=True)
    except OSError:
        pytest.skip("no permission to make links")
    output = tmp_path / "link" if name == "link" else "."
    assert run("--model", base, "--train", mine, "--output", output, "--epochs", "1")[0] == 0
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
        "vocab.txt",
    ]


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(classifier, "read_tables", pytest.fail)
    status, _, errors = run("--model", "none", "--train", "none.csv", "--output", tmp_path / "file" / "out")
    assert status == 1 and errors.startswith(f"bertlearn finetune: {tmp_path / 'file'} is a file, expected")


def test_a_model_is_rescued_if_its_folder_is_lost_during_the_run(
    run: Command, monkeypatch: pytest.MonkeyPatch, base: Path, mine: Path, tmp_path: Path
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    train_setup = classifier.train_setup

    def lose_folder(*args: object) -> Finetuned:
        tuned = train_setup(*args)
        shutil.rmtree(tmp_path / "out")
        (tmp_path / "out").touch()
        return tuned

    monkeypatch.setattr(classifier, "train_setup", lose_folder)
    status, _, errors = run("--model", base, "--train", mine, "--output", tmp_path / "out", "--epochs", "1")
    (rescued,) = (tmp_path / "tmp").iterdir()
    assert status == 1 and f"{tmp_path / 'out'} could not be written" in errors
    assert f"the model is in {rescued} instead: move it" in errors
    assert len(ours(rescued, ["ba fine"])) == 1


def test_many_skipped_rows_stop_the_command_unless_they_are_allowed(
    run: Command, base: Path, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "mine.csv", ("text", "label"), [*rows(60), *([("", "fresh")] * 10)])
    words = ("--model", base, "--train", path, "--output", tmp_path / "out", "--epochs", "1")
    status, _, errors = run(*words)
    assert status == 1
    assert f"{path}: 10 rows of 70 skipped: 10 × empty text in the column 'text'\n" in errors
    assert "14% of the rows were skipped, but at most 10% may be; correct the file, or allow more" in errors
    assert run(*words, "--max-skipped", "0.2")[0] == 0


def test_stray_quotes_are_refused_and_can_be_read_as_characters(
    run: Command, base: Path, tmp_path: Path
) -> None:
    lines = [f"{text}\t{label}" for text, label in rows(60)]
    lines[10], lines[30] = f'"{lines[10]}', lines[30].replace("\t", '"\t')
    path = tmp_path / "swallow.tsv"
    path.write_text("\n".join(["text\tlabel", *lines]), encoding="utf-8")
    words = ("--model", base, "--train", path, "--output", tmp_path / "out", "--epochs", "1")
    status, _, errors = run(*words)
    assert status == 1 and "swallow.tsv:12-32: 21 lines are one field, but 20 of them look like" in errors
    status, output, _ = run(*words, "--quoting", "none")
    assert status == 0 and "54 texts to train on, 6 to validate on" in output


def test_validation_texts_that_were_trained_on_are_noticed(run: Command, base: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "mine.csv", ("text", "label"), rows(60))
    other = write_csv(tmp_path / "other.csv", ("text", "label"), rows(60)[:30])
    words = ("--model", base, "--train", path, "--output", tmp_path / "out", "--epochs", "1")
    status, _, errors = run(*words, "--validation", tmp_path / ".." / tmp_path.name / "mine.csv")
    assert status == 1 and "mine.csv is the training file as well; validate on another" in errors
    status, _, errors = run(*words, "--validation", other)
    assert status == 1 and "all texts of" in errors
    write_csv(other, ("text", "label"), [*rows(60)[:3], *rows(27, seed=1)])
    status, output, _ = run(*words, "--validation", other)
    assert status == 0 and "warning: 3 validation texts (10%) are also training texts" in output


def test_a_rare_label_is_warned_of(run: Command, base: Path, tmp_path: Path) -> None:
    common, rare = (
        [row for row in rows(300) if row[1] == "fresh"],
        [("ba dull", "rotten"), ("be dull", "rotten")],
    )
    path = write_csv(tmp_path / "mine.csv", ("text", "label"), [*common, *rare])
    words = ("--model", base, "--train", path, "--output", tmp_path / "out", "--epochs", "1")
    status, output, _ = run(*words)
    assert status == 0 and "warning: 135 texts are labeled 'fresh' and only 1 'rotten'; " in output
    assert "macro-F1" in output.splitlines()[-3]


def test_a_batch_that_is_larger_than_the_training_set_has_all_of_it(
    run: Command, base: Path, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "mine.csv", ("text", "label"), rows(40))
    words = ("--model", base, "--train", path, "--output", tmp_path / "out")
    status, output, _ = run(*words, "--epochs", "1", "--batch-size", "1000000000")
    assert status == 0
    assert "1 steps of 36 texts, truncated to 32 tokens\n" in output
    assert "each step has all texts: there are fewer than --batch-size 1000000000\n" in output


def test_texts_that_the_vocabulary_cannot_spell_are_noticed(run: Command, base: Path, tmp_path: Path) -> None:
    chinese = [(f"电影 {word}", "01"[number % 2]) for number, word in enumerate(PLAIN)]
    path = write_csv(tmp_path / "mine.csv", ("text", "label"), chinese)
    other = write_csv(tmp_path / "other.csv", ("text", "label"), [("ba", "0"), ("be", "1")])
    words = ("--model", base, "--train", path, "--output", tmp_path / "out", "--epochs", "1")
    status, output, _ = run(*words, "--validation", other)
    assert status == 0
    sentence = "warning: 67% of the tokens of the training texts are [UNK], words that the model's vocabulary"
    assert sentence in output and "use a model for the language of these texts" in output
    assert "of the validation texts" not in output


def test_a_large_share_that_is_held_out_is_told(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier.read_tables(TableOptions(mine), seed=0)
    assert "held out" not in capsys.readouterr().err
    records = [(f"text {number}", f"label {number % 30}") for number in range(60)]
    path = write_csv(tmp_path / "rare.csv", ("text", "label"), records)
    assert len(classifier.read_tables(TableOptions(path), seed=0)[1].texts) == 30
    told = (
        "rare.csv: 30 texts of 60 (50%) are held out, more than --validation-share 0.1: each label needs one"
    )
    assert told in capsys.readouterr().err


def test_texts_of_which_much_is_cut_are_warned_of(run: Command, base: Path, tmp_path: Path) -> None:
    records = [("ba " * 40 + text, label) for text, label in rows(60)] + rows(40, seed=1)
    path = write_csv(tmp_path / "mine.csv", ("text", "label"), records)
    validation = write_csv(tmp_path / "valid.csv", ("text", "label"), rows(20, seed=2))
    files = ("--train", path, "--validation", validation)
    status, output, _ = run("--model", base, *files, "--output", tmp_path / "out", "--epochs", "1")
    assert status == 0 and "truncated to 32 tokens; 60 of 100 (60%) are longer\n" in output
    assert "warning: 60% of the training texts are longer than 32 tokens; the model does not see" in output
    assert (
        "warning: 60 of the training texts become the same tokens as one with another label, such as"
        in output
    )


def make(base: Path, mine: Path, seed: int = 0, **options: object) -> classifier.Setup:
    encoder, tokenizer = BertModel.from_pretrained(base), WordPieceTokenizer.from_pretrained(base)
    generator = torch.Generator().manual_seed(seed)
    tables = classifier.read_tables(TableOptions(mine), seed)
    return classifier.make_setup(encoder, tokenizer, *tables, generator, **options)


def test_options_reach_the_model(base: Path, mine: Path) -> None:
    setup = make(base, mine, pooling="mean", dropout=0.3, max_length=9)
    assert setup.model.config.classifier_pooling == "mean"
    assert setup.model.config.hidden_dropout_prob == 0.3
    assert setup.labels == ["fresh", "rotten"]
    assert max(len(row.input_ids) for row in setup.features(setup.train).encodings) == 9
    assert setup.features(setup.train).targets["labels"][:4] == [
        setup.labels.index(label) for label in setup.train.labels[:4]
    ]
    long = make(base, mine, max_length=512)
    assert long.max_length == 32
    other = make(base, mine, seed=1)
    assert not torch.equal(other.model.classifier.weight, long.model.classifier.weight)
    assert other.validation.texts != long.validation.texts


def test_help_explains_each_option() -> None:
    command = [sys.executable, "-m", "bertlearn", "finetune", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False).stdout
    for option in (
        "model",
        "output",
        "train",
        "validation",
        "validation-share",
        "text-column",
        "label-column",
    ):
        assert f"--{option}" in text
    for option in ("epochs", "batch-size", "micro-batch-size", "learning-rate", "warmup", "weight-decay"):
        assert f"--{option}" in text
    for option in (
        "layer-decay",
        "trainable-layers",
        "evaluations",
        "seed",
        "precision",
        "pooling",
        "dropout",
        "quoting",
        "max-skipped",
        "resume",
    ):
        assert f"--{option}" in text
    assert "--max-length" in text and "--device" in text and "minilm" in text and "snapshot" in text


def test_a_tokenizer_with_a_token_too_many_is_refused_before_training(
    run: Command, base: Path, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    larger = shutil.copytree(base, tmp_path / "larger")
    tokens = WordPieceTokenizer.from_pretrained(base).ids_to_tokens
    WordPieceTokenizer([*tokens, "marvellous"]).save_pretrained(larger)
    monkeypatch.setattr(WordPieceTokenizer, "encode", lambda *given: pytest.fail("a text was read"))
    status, output, errors = run("--model", larger, "--train", mine, "--output", tmp_path / "out")
    assert (status, output) == (1, "")
    assert errors == (
        "bertlearn finetune: the tokenizer has 102 tokens, but the model has embeddings for 101; use the "
        "tokenizer that belongs to this model\n"
    )
    assert not (tmp_path / "out").exists()
