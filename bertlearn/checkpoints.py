"""The state of a training run in one file: written whole or not at all, read only if it is intact and fits.

Used by `training` (chapters 4 to 6). A file is a safetensors file: the tensors of model and optimizer, and
beside them, as JSON in its header, the facts of the run and a checksum over everything. Nothing is pickled.
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

from bertlearn.weights import write_whole

VERSION = 1
_NAME = re.compile(r"step-(\d{8,})\.safetensors")
_FACTS, _SHA256 = "bertlearn", "sha256"


class Checkpoint(NamedTuple):
    """What a run goes on from."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]  # plain values: identity, history, …


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names the file and why."""


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write `folder/step-….safetensors`, then remove all older ones but `keep` − 1.

    Raises:
        OSError: the disk is full or not writable; every older checkpoint still stands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = json.dumps({"version": VERSION, "step": checkpoint.step, **checkpoint.facts})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    header = {_FACTS: facts, _SHA256: _digest(facts, tensors)}
    path = folder / f"step-{checkpoint.step:08d}.safetensors"
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata=header))
    _sync_folder(folder)
    # A later one that could not be used does not count: it must never push out the one just written.
    upto = [old for old in find_checkpoints(folder) if _step(old) <= checkpoint.step]
    for old in upto[keep:]:
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
        if _FACTS not in header:
            raise CheckpointError(f"{path} is no training checkpoint of bertlearn")
        facts = json.loads(header[_FACTS])
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error})") from error
    if facts.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has format version {facts.get('version')}, this bertlearn reads version {VERSION}"
        )
    if header.get(_SHA256) != _digest(header[_FACTS], tensors):
        raise CheckpointError(f"{path} was changed or damaged: its checksum is not that of its content")
    return Checkpoint(facts["step"], tensors, facts)


def latest_checkpoint(folder: Path, identity: dict[str, Any]) -> Checkpoint | None:
    """Return the newest checkpoint that is whole and belongs to this run; None if the folder has none at all.

    Args:
        folder: of the run.
        identity: what the run is (model, data, options); it must be the checkpoint's, field by field.

    Warns of each newer one that was passed over. Raises:
        CheckpointError: there are checkpoints, but none can be used; each is named with the reason.
    """
    problems = []
    for path in find_checkpoints(folder):
        try:
            checkpoint = read_checkpoint(path)
            _check_identity(path, checkpoint.facts.get("identity", {}), identity)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            warnings.warn(f"{problem}; going on from {path.name}", stacklevel=2)
        return checkpoint
    if problems:
        raise CheckpointError(
            "no checkpoint can be used:\n  "
            + "\n  ".join(problems)
            + "\nchoose another output folder to begin anew"
        )
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written; .tmp and six letters is safetensors' own."""
    for pattern in (".step-*.safetensors.*", ".history.csv.*", ".tmp??????"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _check_identity(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    names = sorted(found.keys() | expected.keys())
    differing = [
        f"{name} is {found.get(name)!r} there and {expected.get(name)!r} here"
        for name in names
        if found.get(name) != expected.get(name)
    ]
    if differing:
        raise CheckpointError(f"{path} is of another run: {'; '.join(differing)}")


def _digest(facts: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut; Windows has no such call and needs none."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
