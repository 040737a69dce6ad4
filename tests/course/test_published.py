"""Published models are brought whole, checked, and only as files that hold no code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import perturb

from bertlearn.course import published
from bertlearn.course.encoders import load_encoder
from bertlearn.data import DataError
from bertlearn.model.heads import BertForMaskedLM, BertForPreTraining
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS

NAME: published.Name = "bert-base-uncased"
SMALL = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def write_theirs(folder: Path, vocab_size: int, **sizes: int) -> transformers.BertForPreTraining:
    """Write what is on the hub, as transformers does: a model with both heads, and its tokenizer."""
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=vocab_size, **sizes)
    model = transformers.BertForPreTraining(config).eval()
    perturb(model, seed=0, scale=0.1)
    model.save_pretrained(folder)
    vocab = [*SPECIAL_TOKENS, *"abcde", *(f"[unused{i}]" for i in range(vocab_size - 10))]
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}', encoding="utf-8")
    return model


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERTLEARN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def copied(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a small model, whose sizes count as those of the published one."""
    monkeypatch.setitem(published.PUBLISHED, NAME, replace_sizes(published.PUBLISHED[NAME]))
    write_theirs(tmp_path / "copied", **SMALL, intermediate_size=64)
    return tmp_path / "copied"


def replace_sizes(known: published.Published) -> published.Published:
    return known._replace(sizes=SMALL)


def test_a_model_of_the_published_size_is_brought_and_gives_the_same(tmp_path: Path, cache: Path) -> None:
    theirs = write_theirs(tmp_path / "copied", 21128)
    published.bring("bert-base-chinese", tmp_path / "copied")
    shutil.rmtree(tmp_path / "copied")
    mine, tokenizer = published.load_published(BertForPreTraining, "bert-base-chinese")
    assert tokenizer.vocab_size == 21128
    batch = tokenizer.encode_batch(["a b", "c d e"], ["b", "d"])
    with torch.no_grad():
        ours, expected = mine(**batch._asdict()), theirs(**batch._asdict())
    keep = batch.attention_mask.bool()
    torch.testing.assert_close(
        ours.prediction_logits[keep], expected.prediction_logits[keep], rtol=1e-4, atol=1e-4
    )


def test_only_what_a_model_needs_is_taken(copied: Path, cache: Path) -> None:
    for name in ("pytorch_model.bin", "modeling.py", "README.md"):
        (copied / name).write_text("code")
    folder = published.bring(NAME, copied)
    assert folder == cache / "models" / NAME
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "tokenizer_config.json",
        published.ORIGIN,
    }
    origin = json.loads((folder / published.ORIGIN).read_text(encoding="utf-8"))
    assert origin["from"] == str(copied) and len(origin["sha256"]) == 64
    assert published.load_published(BertForMaskedLM, NAME)[1].vocab_size == 40
    assert load_encoder(NAME)[0].config.vocab_size == 40
    assert [path.name for path in (cache / "models").iterdir()] == [NAME]


def test_a_model_that_is_not_here_says_how_to_bring_it(cache: Path) -> None:
    assert not published.is_here(NAME)
    with pytest.raises(DataError, match=r"bertlearn data --model bert-base-uncased.*--endpoint.*--from"):
        published.load_published(BertForMaskedLM, NAME)


def damage(folder: Path, what: str) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if what == "another size":
        config["num_hidden_layers"] = 12
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    elif what == "half of the weights":
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif what == "a pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    else:
        (folder / what).unlink()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("another size", r"num_hidden_layers 12, which is not bert-base-uncased"),
        ("half of the weights", "does not hold bert-base-uncased"),
        ("a pickle", "does not hold bert-base-uncased"),
        ("config.json", r"has no config\.json"),
        ("vocab.txt", "vocab"),
    ],
)
def test_another_model_or_a_damaged_one_is_refused_and_the_older_one_stays(
    copied: Path, cache: Path, what: str, message: str
) -> None:
    before = {path.name: path.read_bytes() for path in published.bring(NAME, copied).iterdir()}
    damage(copied, what)
    with pytest.raises(ValueError, match=message) as caught:
        published.bring(NAME, copied)
    assert str(copied) in str(caught.value) and ".bringing" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in published.published_folder(NAME).iterdir()} == before
    assert [path.name for path in (cache / "models").iterdir()] == [NAME]


def test_a_mirror_is_asked_for_the_files_of_a_model(
    copied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, local_dir: str, **options: Any) -> str:
        asked.update(options, name=name)
        shutil.copytree(copied, local_dir, dirs_exist_ok=True)
        return local_dir

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    published.bring(NAME, endpoint="https://mirror.example")
    assert asked["name"] == "google-bert/bert-base-uncased" and asked["endpoint"] == "https://mirror.example"
    assert "*.bin" not in asked["allow_patterns"] and published.is_here(NAME)


def test_no_network_leaves_nothing_and_names_the_ways_out(
    copied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(DataError, match=r"could not be downloaded .*no route.*--endpoint.*--from"):
        published.bring(NAME)
    assert list((cache / "models").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": Path("nowhere")}, "is not a folder"),
        ({"endpoint": "mirror.example"}, "begins with https://"),
        ({"source": Path(), "endpoint": "https://mirror.example"}, "exclude each other"),
    ],
)
def test_wrong_sources_are_refused(cache: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        published.bring(NAME, **options)
