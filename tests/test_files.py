"""Helpers for files: permissions of what is written, unreadable JSON, what the hub is asked for."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import CONFIG
from safetensors.torch import save_file

from bertlearn.data import Document
from bertlearn.files import HUB_FILES, find_folder, read_json, write_folder, write_whole
from bertlearn.model.bert import BertModel
from bertlearn.pretraining.corpus import build_shards
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.checkpoint import Checkpoint, write_checkpoint
from bertlearn.training.metrics import write_history

TOKENIZER = WordPieceTokenizer([*SPECIAL_TOKENS, *"abcdefgh"])


@pytest.fixture(params=[0o022, 0o027, 0o002, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def save_model(folder: Path) -> None:
    BertModel(replace(CONFIG, num_hidden_layers=1)).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)


def save_checkpoint(folder: Path) -> None:
    write_checkpoint(folder, Checkpoint(1, {"model.weight": torch.ones(2)}, {}))


def save_history(folder: Path) -> None:
    write_history([{"step": 1}], folder / "history.csv")


def save_shards(folder: Path) -> None:
    build_shards([Document("s", "a b.\nc d.")], folder / "shards", TOKENIZER, progress=False)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no umask")
@pytest.mark.parametrize("save", [save_model, save_checkpoint, save_history, save_shards])
def test_what_is_saved_has_the_permissions_of_any_new_file(
    save: Callable[[Path], None], umask: int, tmp_path: Path
) -> None:
    write_folder(tmp_path / "saved", save)
    for path in [tmp_path / "saved", *(tmp_path / "saved").rglob("*")]:
        full = 0o777 if path.is_dir() else 0o666
        assert oct(stat.S_IMODE(path.stat().st_mode)) == oct(full & ~umask), path


@pytest.mark.skipif(os.name != "posix", reason="Windows has no umask")
def test_a_private_file_that_is_written_again_gets_them_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(1)}, path)
    path.chmod(0o600)
    write_whole(path, lambda temporary: save_file({"a": torch.ones(2)}, temporary))
    (tmp_path / "new").touch()
    assert path.stat().st_mode == (tmp_path / "new").stat().st_mode


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "holds a list, expected an object of fields"),
        ("7", "holds a int, expected an object of fields"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"vocab_size": ' + "9" * 5000 + "}", "is not valid JSON"),
        ("\ufeff{}", "is not valid JSON"),
    ],
    ids=["list", "number", "deep", "endless number", "byte order mark"],
)
def test_json_that_cannot_be_read_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"config\.json {message}"):
        read_json(path)


def test_the_hub_is_asked_for_every_shard_but_not_for_pickles(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.utils import filter_repo_objects

    asked: list[list[str]] = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda name, allow_patterns: asked.append(allow_patterns) or "/somewhere",
    )
    find_folder("owner/model")
    weights = ["model.safetensors", "model.safetensors.index.json", "model-00002-of-00003.safetensors"]
    others = ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "flax_model.msgpack", "README.md"]
    kept = filter_repo_objects([*weights, *others, "config.json", "vocab.txt"], allow_patterns=asked[0])
    assert list(kept) == [*weights, "config.json", "vocab.txt"]
    assert asked == [HUB_FILES]
