"""BERT-base as it was published, English or Chinese, for those who bring it (chapters 4 to 6 and 10).

No chapter needs it, and no package carries it. `bertlearn data --model NAME` brings it from the hub, from a
mirror or from a folder that someone copied.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from torch import nn

from bertlearn.data import DataError, cache_folder
from bertlearn.files import CONFIG, HUB_FILES, WEIGHTS, read_json
from bertlearn.model.heads import BertForPreTraining
from bertlearn.model.pretrained import load_pretrained
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

Name = Literal["bert-base-uncased", "bert-base-chinese"]
ORIGIN = "origin.json"  # where the files came from, and the sha256 of the weights

Model = TypeVar("Model", bound=nn.Module)


class Published(NamedTuple):
    """A published model: its name on the hub, and the sizes that tell it from others."""

    hub_name: str
    sizes: dict[str, int]


_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
PUBLISHED: dict[str, Published] = {
    "bert-base-uncased": Published("google-bert/bert-base-uncased", {"vocab_size": 30522, **_BASE}),
    "bert-base-chinese": Published("google-bert/bert-base-chinese", {"vocab_size": 21128, **_BASE}),
}


def published_folder(name: Name) -> Path:
    """Return where the model is, or would be, in the cache."""
    return cache_folder() / "models" / name


def is_here(name: Name) -> bool:
    """Return whether the model was brought into the cache."""
    return (published_folder(name) / ORIGIN).is_file()


def how_to_bring(name: Name) -> str:
    """Return a sentence for what could not run without the model."""
    return (
        f"{name} is not here. `bertlearn data --model {name}` brings it "
        "(about 440 MB); behind a firewall add --endpoint with a mirror, without a network --from with a "
        "folder"
    )


def load_published(cls: type[Model], name: Name) -> tuple[Model, WordPieceTokenizer]:
    """Return the model, as `cls` reads it, and its tokenizer.

    Raises:
        DataError: it is not in the cache; the message says how to bring it.
    """
    if not is_here(name):
        raise DataError(how_to_bring(name))
    folder = published_folder(name)
    return load_pretrained(cls, folder), WordPieceTokenizer.from_pretrained(folder)


def bring(name: Name, source: Path | None = None, endpoint: str | None = None) -> Path:
    """Bring the model into the cache, complete and checked, or leave the cache as it was.

    Args:
        name: which one.
        source: a folder that holds its files; None for the hub.
        endpoint: the address of a mirror of the hub; None for the hub itself.

    Returns:
        The folder in the cache.

    Raises:
        ValueError: both a folder and a mirror; a folder that holds another model, or damaged files.
        DataError: the download failed.
        OSError: the disk is full or not writable.
    """
    if source is not None and endpoint is not None:
        raise ValueError("--from and --endpoint exclude each other; give one of them")
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        raise ValueError(f"--endpoint={endpoint!r} is not an address; it begins with https://")
    folder = published_folder(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".bringing-", dir=folder.parent))
    try:
        if source is None:
            _download(PUBLISHED[name].hub_name, new, endpoint)
        else:
            _copy(source.expanduser(), new)
        _check(new, name, source or PUBLISHED[name].hub_name)
        origin = {"from": str(source or endpoint or "hub"), "sha256": _sha256(new / WEIGHTS)}
        (new / ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
        _exchange(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return folder


def _download(hub_name: str, target: Path, endpoint: str | None) -> None:
    from huggingface_hub import snapshot_download  # slow to import, and rarely needed

    with tempfile.TemporaryDirectory(prefix=".download-", dir=target) as folder:
        try:
            snapshot_download(hub_name, allow_patterns=HUB_FILES, local_dir=folder, endpoint=endpoint)
        except Exception as error:
            raise DataError(
                f"{hub_name} could not be downloaded ({type(error).__name__}: {str(error)[:200]}); check the "
                "network, give a mirror with --endpoint, or copy the folder from a machine that has it and "
                "give it with --from"
            ) from error
        _copy(Path(folder), target, shutil.move)


def _copy(source: Path, target: Path, take: Callable[[str, Path], object] = shutil.copyfile) -> None:
    """Take the model's files from a folder, and nothing else: no pickle, no code."""
    if not source.is_dir():
        raise ValueError(f"--from={str(source)!r} is not a folder; give the one with {CONFIG} and {WEIGHTS}")
    for pattern in HUB_FILES:
        for path in source.glob(pattern):
            take(str(path), target / path.name)


def _check(folder: Path, name: Name, source: object) -> None:
    """Refuse files that do not load, or that are another model's."""
    try:
        found = read_json(folder / CONFIG)
        wrong = {
            size: found.get(size)
            for size, number in PUBLISHED[name].sizes.items()
            if found.get(size) != number
        }
        if wrong:
            told = ", ".join(f"{size} {number}" for size, number in wrong.items())
            raise ValueError(f"it has {told}, which is not {name}")
        load_pretrained(BertForPreTraining, folder)
        WordPieceTokenizer.from_pretrained(folder)
    except (FileNotFoundError, ValueError) as error:
        text = str(error).replace(str(folder), str(source))
        raise ValueError(f"{source} does not hold {name}: {text}") from error


def _exchange(new: Path, folder: Path) -> None:
    """Put a finished folder in the place of an older one."""
    old = folder.with_name(f"{new.name}-old")
    with suppress(FileNotFoundError):
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
