"""Helpers for files: atomic writes, JSON with clear errors, and finding a model's folder by name.

Leaves out: the contents of the files, for which the calling modules are responsible.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG, WEIGHTS, VOCAB = "config.json", "model.safetensors", "vocab.txt"
INDEX, SHARDS = "model.safetensors.index.json", "model-*-of-*.safetensors"  # of weights in several files
HUB_FILES = [CONFIG, WEIGHTS, INDEX, SHARDS, VOCAB, "tokenizer*.json"]  # what is downloaded


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically: `write` fills a temporary file, which is flushed and renamed to `path`.

    The file gets the permissions of any new file, those that the umask leaves.

    Args:
        path: the file to write.
        write: called with the path of the temporary file, which exists and is empty.

    Raises:
        OSError: the disk is full or not writable; an earlier file at `path` stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        write(temporary)
        if temporary.stat().st_mode != mode:  # safetensors replaces the file by a private one
            temporary.chmod(stat.S_IMODE(mode))
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except SafetensorError as error:  # save_file raises this, not an OSError, when the disk is full
        raise OSError(f"{path} could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_empty(folder: str | Path) -> None:
    """Check that a new model can be written to `folder`: it does not exist yet, or is an empty folder.

    Raises:
        ValueError: the path is a file, or a folder that is not empty.
    """
    folder = Path(folder).expanduser()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(f"{folder} already exists and is not empty; choose another folder, or empty it")


def write_folder(folder: str | Path, write: Callable[[Path], object]) -> None:
    """Write a folder atomically: `write` fills a temporary folder, which is renamed to `folder`.

    Args:
        folder: the folder to write; it must not exist yet, or be empty.
        write: called with the path of the temporary folder, which exists.

    Raises:
        OSError: the disk is full or not writable, or `folder` is not empty.
    """
    folder = Path(folder).expanduser()
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        if folder.is_dir():
            folder.rmdir()  # raises OSError if the folder is not empty
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def find_folder(folder_or_name: str | Path) -> Path:
    """Return the folder itself, or the local copy of a hub model, which is downloaded if necessary.

    Args:
        folder_or_name: a folder, or a hub name such as "google-bert/bert-base-uncased".

    Raises:
        FileNotFoundError: there is no such folder, and neither the hub nor its local cache has the model.
    """
    folder = Path(folder_or_name).expanduser()
    if folder.is_dir():
        return folder
    name = str(folder_or_name)
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise FileNotFoundError(f"no folder {name!r} exists, and it is not a hub name such as 'owner/model'")
    from huggingface_hub import snapshot_download  # slow to import, and rarely needed

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except Exception as error:
        raise FileNotFoundError(
            f"{name!r} is not a folder, and it could not be downloaded from the hub "
            f"({type(error).__name__}); check the spelling and the network, or use bertlearn.minilm_path(), "
            "which does not need the hub"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a model folder and return its object.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not valid JSON, or holds no object.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} has no {path.name}; a model folder needs {CONFIG} and {WEIGHTS}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); download the model again") from error
    if not isinstance(values, dict):
        raise ValueError(
            f"{path} holds a {type(values).__name__}, expected an object of fields; download the model again"
        )
    return values


def untied_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's state dict without duplicates: tied tensors appear once, under their first name.

    transformers' model files follow the same rule.
    """
    state = model.state_dict()
    return {first: state[first] for first in dict.fromkeys(first_names(model).values())}


def first_names(model: nn.Module) -> dict[str, str]:
    """Return a dict from each name in the state dict to the first name of the same tensor."""
    first: dict[int, str] = {}
    named = model.state_dict(keep_vars=True)  # keeps the parameters themselves, so tied ones are one object
    return {name: first.setdefault(id(tensor), name) for name, tensor in named.items()}
