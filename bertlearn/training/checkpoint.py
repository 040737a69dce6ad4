"""The state of a training run in one file: written whole or not at all, read only if it is intact and fits.

A file is a safetensors file: the tensors of model and optimizer, and in its header, as JSON, the metadata of
the run and a checksum over everything (chapters 4 to 6). Nothing is pickled.
Leaves out: files split over several machines; process 0 writes all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bertlearn.files import write_whole

VERSION = 3
_NAME = re.compile(r"step-(\d{8,})\.safetensors")
_METADATA, _SHA256 = "bertlearn", "sha256"


class Checkpoint(NamedTuple):
    """What a run resumes from."""

    step: int
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]  # plain values: identity, history, …


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names the file and why."""


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write `folder/step-….safetensors`, then remove older ones until `keep` are left.

    Raises:
        OSError: the disk is full or not writable; the older checkpoints are all still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metadata = json.dumps({"version": VERSION, "step": checkpoint.step, **checkpoint.metadata})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    header = {_METADATA: metadata, _SHA256: _digest(metadata, tensors)}
    path = folder / f"step-{checkpoint.step:08d}.safetensors"
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata=header))
    _sync_folder(folder)
    # Later checkpoints do not count: one that could not be used must never push out the one just written.
    until_now = [old for old in find_checkpoints(folder) if _step(old) <= checkpoint.step]
    for old in until_now[keep:]:
        old.unlink(missing_ok=True)
    return path


def find_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the newest first."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_step, reverse=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        CheckpointError: truncated, changed, or not a checkpoint of this package.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _METADATA not in header:
            raise CheckpointError(f"{path} is not a training checkpoint of bertlearn")
        metadata = json.loads(header[_METADATA])
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error})") from error
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has format version {metadata.get('version')}, this bertlearn reads version {VERSION}, "
            "and only the one that began the run can continue it"
        )
    if header.get(_SHA256) != _digest(header[_METADATA], tensors):
        raise CheckpointError(f"{path} was changed or damaged: its checksum is not that of its content")
    return Checkpoint(metadata["step"], tensors, metadata)


def latest_checkpoint(folder: Path, identity: dict[str, Any]) -> Checkpoint | None:
    """Return the newest intact checkpoint of this run; None if the folder has none at all.

    Args:
        folder: the run's.
        identity: model, data and options of the run; the checkpoint's must be equal, field by field.

    Warns of each newer one that is skipped.

    Raises:
        CheckpointError: there are checkpoints, but none can be used; each is named with the reason.
    """
    problems, remedy = [], "copy an intact checkpoint into the folder"
    for path in find_checkpoints(folder):
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        if differing := _differences(checkpoint.metadata.get("identity", {}), identity):
            problems.append(f"{path} belongs to another run: {'; '.join(differing)}")
            remedy = "resume with the options of the earlier run"
            continue
        for problem in problems:
            warnings.warn(f"{problem}; resuming from {path.name}", stacklevel=2)
        return checkpoint
    if problems:
        raise CheckpointError(
            "no checkpoint can be used:\n  "
            + "\n  ".join(problems)
            + f"\n{remedy}, or choose another output folder"
        )
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove half-written files of a killed process; .tmp and six letters are safetensors' own."""
    for pattern in (".step-*.safetensors.*", ".history.csv.*", ".tmp??????"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    return [
        f"{name} is {found.get(name)!r} there and {expected.get(name)!r} here"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]


def _digest(metadata: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(metadata.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut; Windows has no such call and does not need it."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
