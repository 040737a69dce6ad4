"""Files: written whole or not at all, JSON with its faults named, and the folder of a model by its name.

Everything in the package that writes or looks for a file does so here. Leaves out: what is in the files.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG, WEIGHTS, VOCAB = "config.json", "model.safetensors", "vocab.txt"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary path)`, bring it to the disk, rename it to `path`: all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except SafetensorError as error:  # what save_file raises at a full disk is no OSError
        raise OSError(f"{path} could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_empty(folder: str | Path) -> None:
    """Refuse a place for a new model where something is already.

    Raises:
        ValueError: it is a file, or a folder with something in it.
    """
    folder = Path(folder).expanduser()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(f"{folder} is there and not empty; choose another folder, or empty it")


def write_folder(folder: str | Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary folder)` and rename it to `folder`, which must be free: all of it or nothing.

    Raises:
        OSError: the disk is full or not writable, or the folder has something in it.
    """
    folder = Path(folder).expanduser()
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        if folder.is_dir():
            folder.rmdir()  # refuses one that is not empty
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def find_folder(folder_or_name: str | Path) -> Path:
    """Return the folder itself, or the local copy of a hub model, downloaded when it is not there yet.

    Raises:
        FileNotFoundError: neither a folder nor a model that the hub (or its local cache) can give.
    """
    folder = Path(folder_or_name).expanduser()
    if folder.is_dir():
        return folder
    name = str(folder_or_name)
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise FileNotFoundError(f"no folder {name!r}, and it is not a hub name such as 'owner/model'")
    from huggingface_hub import snapshot_download  # slow to import, and rarely needed

    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS, VOCAB, "tokenizer*.json"]))
    except Exception as error:
        raise FileNotFoundError(
            f"{name!r} is no folder here, and the hub did not give it ({type(error).__name__}); check the "
            "spelling and the network, or use bertlearn.minilm_path(), which needs no hub"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or broken file is named in the error."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} has no {path.name}; a model folder needs {CONFIG} and {WEIGHTS}"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); fetch the model again") from error


def untied_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's tensors, each once: of tied ones the first name, as transformers' files have it."""
    state = model.state_dict()
    return {first: state[first] for first in dict.fromkeys(first_names(model).values())}


def first_names(model: nn.Module) -> dict[str, str]:
    """Return for each tensor of the model the first name under which it stands there."""
    first: dict[int, str] = {}
    named = model.state_dict(keep_vars=True)  # the parameters themselves: tied ones are the same object
    return {name: first.setdefault(id(tensor), name) for name, tensor in named.items()}
