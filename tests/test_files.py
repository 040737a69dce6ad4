"""Helpers for files: permissions, unreadable JSON, what the hub is asked for, output folders."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import CONFIG
from safetensors.torch import save_file

from bertlearn.data import Document
from bertlearn.files import (
    HUB_FILES,
    check_empty,
    check_output,
    find_folder,
    read_json,
    save_or_rescue,
    write_folder,
    write_whole,
)
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


def test_what_is_no_folder_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").touch()
    with pytest.raises(
        ValueError, match=r"vocab\.txt is a file, expected the folder that it is in; use '.*'"
    ):
        find_folder(tmp_path / "vocab.txt")


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer_config.json"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 4\n")
    with pytest.raises(ValueError, match=rf"{name} is a Git LFS pointer, .*`git lfs pull`"):
        WordPieceTokenizer.from_pretrained(tmp_path)


# Output folders


def link(path: Path, target: Path) -> Path:
    try:
        path.symlink_to(target, target_is_directory=True)
    except OSError:
        pytest.skip("no permission to make links")
    return path


def test_a_folder_that_can_be_written_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    link(tmp_path / "link", tmp_path / "there")
    for name in (".", "there", "link", "link/new", "new", "new/er/est", tmp_path / "absolute"):
        check_output(name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["link", "there"]


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "file/in/it"):
        with pytest.raises(ValueError, match=r"file is a file, expected a folder; choose another"):
            check_output(tmp_path / name)
    link(tmp_path / "link", tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"link is a link to .*nothing, which does not exist"):
        check_output(tmp_path / "link")


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that even the superuser cannot write to")
@pytest.mark.parametrize("name", ["/proc", "/proc/new"])
def test_a_folder_that_is_not_writable_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} cannot be written to .*choose another folder"):
        check_output(name)


def test_a_disk_that_is_too_small_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9 - 10**6, 10**6))
    check_output(tmp_path, 10**6)
    with pytest.raises(ValueError, match=r"has 1\.0 MB free, expected at least 2,500\.0 MB; free"):
        check_output(tmp_path / "new", 25 * 10**8)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_mount_point_is_empty(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    check_empty(tmp_path)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="already exists and is not empty"):
        check_empty(tmp_path)


def two_files(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).write_text(f"new {name}", encoding="utf-8")


def test_a_folder_is_written_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount point can be neither renamed nor removed, like the working directory on Windows."""
    monkeypatch.setattr(os, "rmdir", pytest.fail)
    monkeypatch.setattr(os, "rename", pytest.fail)
    for name in ("here", "there", "target"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    link(tmp_path / "link", tmp_path / "target")
    for name in (".", "../there", "../link"):
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", lambda path, **_: path.chmod(0o700))  # uses rmdir itself
            write_folder(name, two_files)
        assert (Path(name) / "a").read_text(encoding="utf-8") == "new a" and (Path(name) / "b").is_file()


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "a").touch()
        raise OSError("full")

    for name in ("new", "there"):
        with pytest.raises(OSError, match="full"):
            write_folder(tmp_path / name, fail)
        assert not (tmp_path / "new").exists()
        (tmp_path / "there").mkdir(exist_ok=True)
    assert list((tmp_path / "there").iterdir()) == []
    write_folder(tmp_path / "new" / "er", two_files)
    assert sorted(path.name for path in (tmp_path / "new" / "er").iterdir()) == ["a", "b"]


def test_files_are_replaced_only_on_request(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("old", encoding="utf-8")
    with pytest.raises(FileExistsError, match="b was created by then"):
        write_folder(tmp_path, two_files)
    assert [path.name for path in tmp_path.iterdir()] == ["b"] and (tmp_path / "b").read_text() == "old"
    write_folder(tmp_path, two_files, replace=True)
    assert (tmp_path / "b").read_text(encoding="utf-8") == "new b"


def test_a_result_is_rescued_if_its_folder_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "out").touch()
    with pytest.raises(
        OSError, match=r"out could not be written .*; the model is in .*bertlearn-\w+ instead"
    ) as error:
        save_or_rescue(tmp_path / "out", lambda folder: write_folder(folder, two_files))
    (rescued,) = (tmp_path / "tmp").iterdir()
    assert str(rescued) in str(error.value)
    assert sorted(path.name for path in rescued.iterdir()) == ["a", "b"]
