"""Checkpoints: whole or not at all, refused by name when they are not what they should be."""

from __future__ import annotations

import json
import os
import pickle
import random
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from bertlearn.training import checkpoint
from bertlearn.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    find_checkpoints,
    latest_checkpoint,
    read_checkpoint,
    remove_leftovers,
    write_checkpoint,
)

IDENTITY = {"data": "a", "steps": 9}


def write(folder: Path, step: int, keep: int = 9, **identity: object) -> Path:
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "model.weight": torch.randn(3, 4, generator=generator),
        "model.half": torch.randn(5, generator=generator).to(torch.bfloat16),
        "optimizer.step.weight": torch.tensor(float(step)),
    }
    metadata = {"identity": IDENTITY | identity, "history": [{"step": step, "loss": 0.1 + 0.2}]}
    return write_checkpoint(folder, Checkpoint(step, tensors, metadata), keep)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the checkpoints of steps 10 and 20."""
    write(tmp_path, 10)
    write(tmp_path, 20)
    return tmp_path


def test_a_checkpoint_comes_back_with_every_bit(tmp_path: Path) -> None:
    found = read_checkpoint(write(tmp_path, 20))
    generator = torch.Generator().manual_seed(20)
    assert found.step == 20
    assert torch.equal(found.tensors["model.weight"], torch.randn(3, 4, generator=generator))
    assert found.tensors["model.half"].dtype == torch.bfloat16
    assert found.tensors["optimizer.step.weight"].shape == ()
    assert found.metadata["history"] == [{"step": 20, "loss": 0.1 + 0.2}]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def replace_by_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"model.weight": [1.0]}))


def replace_by_weights(path: Path) -> None:
    save_file({"model.weight": torch.zeros(2)}, path)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def rewrite(path: Path, metadata: dict[str, object]) -> None:
    found = read_checkpoint(path)
    text = json.dumps({**found.metadata, **metadata})
    header = {"bertlearn": text, "sha256": checkpoint._digest(text, found.tensors)}
    save_file(found.tensors, path, metadata=header)


def make_another_version(path: Path) -> None:
    rewrite(path, {"version": 7})


def make_foreign(path: Path) -> None:
    rewrite(path, {"identity": {"data": "b", "steps": 9, "pairs": True}})


DAMAGES = {
    truncate: "is truncated or damaged",
    empty: "is truncated or damaged",
    flip_last_bit: "was changed or damaged: its checksum is not that of its content",
    replace_by_pickle: "is truncated or damaged",
    replace_by_weights: "is not a training checkpoint of bertlearn",
    replace_by_folder: "is truncated or damaged",
    make_another_version: "has format version 7, this bertlearn reads version 3, and only the one that began",
    make_foreign: "belongs to another run: data is 'b' there and 'a' here; pairs is True there and None here",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_bad_checkpoint_is_named_and_the_one_before_it_used(run: Path, damage) -> None:
    damage(run / "step-00000020.safetensors")
    with pytest.warns(UserWarning) as caught:
        found = latest_checkpoint(run, IDENTITY)
    assert found is not None
    assert found.step == 10
    assert [str(warning.message) for warning in caught] == [str(caught[0].message)]
    text = str(caught[0].message)
    assert text.startswith(f"{run / 'step-00000020.safetensors'} {DAMAGES[damage]}")
    assert text.endswith("; resuming from step-00000010.safetensors")


def test_when_none_can_be_used_each_is_named(run: Path) -> None:
    truncate(run / "step-00000010.safetensors")
    make_foreign(run / "step-00000020.safetensors")
    with pytest.raises(CheckpointError) as error:
        latest_checkpoint(run, IDENTITY)
    text = str(error.value)
    assert "step-00000010.safetensors is truncated" in text
    assert "step-00000020.safetensors belongs to another run: data is 'b' there" in text
    assert text.endswith("resume with the options of the earlier run, or choose another output folder")


def test_options_are_no_remedy_for_a_damaged_checkpoint(run: Path) -> None:
    truncate(run / "step-00000010.safetensors")
    flip_last_bit(run / "step-00000020.safetensors")
    with pytest.raises(CheckpointError) as error:
        latest_checkpoint(run, IDENTITY)
    remedy = "\ncopy an intact checkpoint into the folder, or choose another output folder"
    assert str(error.value).endswith(remedy)


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "step-1.txt").write_text("a note")
    assert latest_checkpoint(tmp_path, IDENTITY) is None
    assert latest_checkpoint(tmp_path / "nowhere", IDENTITY) is None


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, 10)
    whole, chance = path.read_bytes(), random.Random(0)
    for place in chance.sample(range(8 * len(whole)), 400):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="step-00000010"):
            read_checkpoint(path)


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        write(tmp_path, step, keep=2)
    assert [path.name for path in find_checkpoints(tmp_path)] == [
        "step-00000020.safetensors",
        "step-00000015.safetensors",
    ]


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for step in (99_999_999, 100_000_000):
        write(tmp_path, step)
    assert find_checkpoints(tmp_path)[0].name == "step-100000000.safetensors"
    assert latest_checkpoint(tmp_path, IDENTITY).step == 100_000_000


def test_a_bad_later_checkpoint_pushes_none_out(run: Path) -> None:
    """The run goes on from step 10 because 20 is bad; 15 must not be thrown away for 20's sake."""
    truncate(run / "step-00000020.safetensors")
    write(run, 15, keep=1)
    with pytest.warns(UserWarning, match="step-00000020.safetensors is truncated"):
        assert latest_checkpoint(run, IDENTITY).step == 15
    assert [path.name for path in find_checkpoints(run)] == [
        "step-00000020.safetensors",
        "step-00000015.safetensors",
    ]


def test_half_written_files_are_ignored_and_removed(run: Path) -> None:
    half = [run / ".step-00000030.safetensors.ab12", run / ".history.csv.ab12", run / ".tmpAbC123"]
    for path in half:
        path.write_bytes(b"half")
    (run / "notes.txt").write_text("stays")
    assert len(find_checkpoints(run)) == 2
    remove_leftovers(run)
    assert not any(path.exists() for path in half)
    assert (run / "notes.txt").exists()
    assert len(find_checkpoints(run)) == 2


def test_the_disk_has_it_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file itself is synced, then renamed, then the folder is synced, then old ones go."""
    calls = []

    def noting(name: str):
        real = getattr(os, name)

        def call(*args):
            calls.append(name)
            return real(*args)

        return call

    write(tmp_path, 10)
    for name in ("fsync", "replace", "unlink"):
        monkeypatch.setattr(os, name, noting(name))
    write(tmp_path, 20, keep=1)
    calls = [name for name in calls if name != "unlink"]
    assert calls == (["fsync", "replace", "fsync"] if os.name == "posix" else ["fsync", "replace"])


@pytest.mark.parametrize("error", [OSError(28, "No space left"), SafetensorError("I/O error: No space left")])
def test_a_full_disk_leaves_what_was_there(
    run: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(tensors: dict, path: Path, metadata: dict) -> None:
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        write(run, 30, keep=1)
    assert sorted(path.name for path in run.iterdir()) == [
        "step-00000010.safetensors",
        "step-00000020.safetensors",
    ]
    assert latest_checkpoint(run, IDENTITY).step == 20
