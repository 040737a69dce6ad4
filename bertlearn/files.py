"""Helpers for files: output folders, atomic writes, locks, JSON with clear errors, finding a model by name.

Leaves out: the contents of the files, for which the calling modules are responsible.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from safetensors import SafetensorError

if TYPE_CHECKING:
    from torch import Tensor, nn

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOST = "lost+found"  # in every mount point of some file systems
CONFIG, WEIGHTS, VOCAB = "config.json", "model.safetensors", "vocab.txt"
INDEX, SHARDS = "model.safetensors.index.json", "model-*-of-*.safetensors"  # of weights in several files
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # peft's; not a whole model
_LFS_POINTER = b"version https://git-lfs"
_TOKENIZER_FILES = (VOCAB, "tokenizer*.json", "special_tokens_map.json", "added_tokens.json")
HUB_FILES = [CONFIG, WEIGHTS, INDEX, SHARDS, ADAPTER, *_TOKENIZER_FILES]  # what is downloaded


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically: `write` fills a temporary file, which is flushed and renamed to `path`.

    The file gets the permissions of any new file, as the umask allows.

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


def check_output(folder: str | Path, size: int = 0) -> None:
    """Check that files can be written to `folder`, by creating it and a file in it; nothing is left behind.

    Args:
        folder: the folder; it may exist, be a link to a folder, or not exist yet.
        size: minimum number of bytes that will be written.

    Raises:
        ValueError: it is a file or a link to nothing, cannot be written to, or its disk has less space.
    """
    folder = Path(folder).expanduser()
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    first = next((path for path in (folder, *folder.parents) if path not in missing), folder)
    if not first.is_dir():
        raise ValueError(f"{first} is a file, expected a folder; choose another folder")
    for path in missing:
        if path.is_symlink():
            raise ValueError(
                f"{path} is a link to {path.readlink()}, which does not exist; choose another folder"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ValueError(
            f"{folder} cannot be written to ({error.strerror}); choose another folder"
        ) from error
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
    if free < size:
        raise ValueError(
            f"the disk of {folder} has {free / 1e6:,.1f} MB free, expected at least {size / 1e6:,.1f} MB; "
            "free some space, or choose a folder on another disk"
        )


def check_empty(folder: str | Path, allowed: Sequence[str] = ()) -> None:
    """Check that a new model can be written to `folder`: it does not exist yet, or is an empty folder.

    Args:
        folder: the folder to write.
        allowed: names of files or folders that may be in it.

    Raises:
        ValueError: the path is a file, or a folder that is not empty.
    """
    folder = Path(folder).expanduser()
    if folder.is_file() or (folder.is_dir() and {x.name for x in folder.iterdir()} - {LOST, *allowed}):
        raise ValueError(f"{folder} already exists and is not empty; choose another folder, or empty it")


def write_folder(folder: str | Path, write: Callable[[Path], object], replace: bool = False) -> None:
    """Write files into a folder, all or none: `write` fills a temporary folder in it, and they are moved up.

    Args:
        folder: created if it does not exist; it may also be the working directory, a link or a mount point.
        write: called with the path of the temporary folder, which exists.
        replace: replace files of the same name.

    Raises:
        OSError: the disk is full or not writable, or a file of the same name is there and is not replaced.
    """
    folder = Path(folder).expanduser()
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".", dir=folder))
    try:
        write(temporary)
        written = sorted(temporary.iterdir())
        for path in written:
            if not replace and (folder / path.name).exists():
                raise FileExistsError(f"{folder / path.name} was created by then, and is not replaced")
        for path in written:
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # there are files in it
                folder.rmdir()


def save_or_rescue(folder: str | Path, save: Callable[[Path], object]) -> None:
    """Save the result of a long run in a folder or, if that fails, in a temporary one: it must not be lost.

    Args:
        folder: where it should be saved.
        save: called with the folder to write to.

    Raises:
        OSError: `folder` could not be written; the message names the temporary folder, if that was written.
    """
    try:
        save(Path(folder).expanduser())
    except OSError as error:
        rescue = Path(tempfile.mkdtemp(prefix="bertlearn-"))
        try:
            save(rescue)
        except OSError:
            shutil.rmtree(rescue, ignore_errors=True)
            raise error from None
        raise OSError(
            f"{folder} could not be written ({error}); the model is in {rescue} instead: move it from there"
        ) from error


def find_folder(folder_or_name: str | Path) -> Path:
    """Return the folder itself, or the local copy of a hub model, which is downloaded if necessary.

    Args:
        folder_or_name: a folder, or a hub name such as "google-bert/bert-base-uncased".

    Raises:
        FileNotFoundError: there is no such folder, and neither the hub nor its local cache has the model.
        ValueError: it is a file.
    """
    folder = Path(folder_or_name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ValueError(f"{folder} is a file, expected the folder that it is in; use {str(folder.parent)!r}")
    name = str(folder_or_name)
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise FileNotFoundError(f"no folder {name!r} exists, and it is not a hub name such as 'owner/model'")
    from huggingface_hub import snapshot_download  # slow to import, and rarely needed

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except Exception as error:
        raise FileNotFoundError(
            f"{name!r} is not a folder, and it could not be downloaded from the hub "
            f"({type(error).__name__}); check the spelling and the network, or use MiniLM, which does not "
            "need the hub: bertlearn.minilm_path(), on the command line minilm"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a model folder and return its object.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not valid JSON, or not an object.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} has no {path.name}; a model folder needs {CONFIG} and {WEIGHTS}"
        )
    check_fetched(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); download the model again") from error
    if not isinstance(values, dict):
        raise ValueError(
            f"{path} holds a {type(values).__name__}, expected an object of fields; download the model again"
        )
    return values


def check_fetched(path: Path) -> None:
    """Check that a file is not a Git LFS pointer, which stands in for a file that was not fetched.

    Raises:
        ValueError: it is a pointer.
    """
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise ValueError(
                f"{path} is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder"
            )


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


@contextmanager
def file_lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the operating system's lock on a file; the lock ends with the process, even if it is killed.

    Where the file system has no locks, as on some network disks, a warning says so, and other processes are
    not kept out.

    Args:
        path: created if it does not exist, and left in place; its content plays no role.
        wait: wait until another process releases the lock.

    Yields whether the lock is held: False if another process holds it and `wait` is off.

    Raises:
        OSError: the file cannot be opened for writing.
    """
    with path.open("ab") as file:
        while not (held := _take_lock(file, path)) and wait:
            time.sleep(0.1)
        try:
            yield held
        finally:
            if held and sys.platform == "win32":  # elsewhere, closing the file is enough
                _at_lock(file)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)


def _take_lock(file: IO[bytes], path: Path) -> bool:
    """Return whether the lock is now held; a file system without locks counts as if it were."""
    try:
        if sys.platform == "win32":
            _at_lock(file)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        warnings.warn(f"{path} cannot be locked ({error}); other processes are not kept out", stacklevel=4)
    return True


def _at_lock(file: IO[bytes]) -> None:
    """Go to the byte that Windows locks, far beyond the content, which then stays readable."""
    file.seek(1 << 30)
