"""The tensors of a model's folder: first what the files' headers say, then the numbers (chapters 3 to 6).

A header gives the shape and the type of each tensor; safetensors refuses one that does not fit the length of
its file. So a model can be compared with its weights before memory is allocated for either. The weights are
in one file, or sharded over several, with an index. Nothing is ever unpickled: a pickle can run any program
when it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from safetensors import SafetensorError, safe_open
from torch import Tensor

from bertlearn.files import ADAPTER, ADAPTER_WEIGHTS, CONFIG, INDEX, WEIGHTS, check_fetched, read_json

PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth", "model.ckpt")
_SHARD = re.compile(r"[\w.-]+\.safetensors")  # a file of the same folder
_ADAPTED = re.compile(
    r"base_model\.model\.|.*\.(base_layer|lora_\w+|ia3_l|modules_to_save|original_module)\."
)


class StoredTensor(NamedTuple):
    """A tensor that has not been read: where it is, and what the header of its file says about it."""

    file: Path
    name: str  # in the file
    shape: tuple[int, ...]
    dtype: str  # as safetensors writes it, such as "F32"


def find_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a folder by their names; only headers are read.

    Raises:
        FileNotFoundError: there are no weights, or a shard is missing.
        ValueError: only a pickle or an adapter, an incomplete file, or shards that differ from their index.
    """
    for name in (ADAPTER, ADAPTER_WEIGHTS):
        if (folder / name).is_file():
            raise ValueError(f"{folder} has {name}: {_MERGE}")
    if (folder / WEIGHTS).is_file():
        stored = read_header(folder / WEIGHTS)
        _check_not_a_shard(stored, folder)
    elif (folder / INDEX).is_file():
        stored = read_shard_headers(folder)
    else:
        _refuse_missing(folder)
    if adapted := next(filter(_ADAPTED.match, stored), None):
        raise ValueError(f"the weights in {folder} have {adapted}: {_MERGE}")
    return stored


def _refuse_missing(folder: Path) -> NoReturn:
    """Say what is there in place of weights."""
    pickles = [name for name in PICKLES if (folder / name).is_file()]
    if pickles:
        raise ValueError(
            f"{folder} has {pickles[0]} but no {WEIGHTS}: a pickle can run any program when opened "
            "and is never loaded here; save the model as safetensors with transformers' save_pretrained"
        )
    raise FileNotFoundError(f"{folder} has no {WEIGHTS}; a model folder needs {CONFIG} and {WEIGHTS}")


def _check_not_a_shard(names: Collection[str], folder: Path) -> None:
    """Refuse one shard of several under the name of the file for all tensors."""
    try:
        shard_of = _read_index(folder / INDEX)
    except (FileNotFoundError, ValueError):  # the file alone counts, as it does for transformers
        return
    shards = {shard_of.get(name) for name in names}
    if len(shards) == 1 and None not in shards and len(names) < len(shard_of):
        raise ValueError(
            f"{folder / WEIGHTS} is only one of several files: {INDEX} calls it {shards.pop()}. Give it that "
            f"name, or delete it if that file is there as well; if it is a whole model, delete {INDEX}"
        )


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of one file."""
    with _opened(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {
            name: StoredTensor(path, name, tuple(part.get_shape()), part.get_dtype())
            for name, part in slices.items()
        }


def read_shard_headers(folder: Path) -> dict[str, StoredTensor]:
    """Return the tensors of all shards; refuse shards that do not hold exactly what the index says."""
    shard_of = _read_index(folder / INDEX)
    stored: dict[str, StoredTensor] = {}
    for shard in sorted(set(shard_of.values())):
        if not (folder / shard).is_file():
            raise FileNotFoundError(f"{folder} has no {shard}, which {INDEX} names; download the model again")
        for name, tensor in read_header(folder / shard).items():
            if shard_of.get(name) != shard:
                place = f"places in {shard_of[name]}" if name in shard_of else "does not name"
                raise ValueError(f"{folder / shard} holds {name}, which {INDEX} {place}; {_SAVE_AGAIN}")
            stored[name] = tensor
    missing = sorted(shard_of.keys() - stored.keys())
    if missing:
        raise ValueError(
            f"{folder / shard_of[missing[0]]} lacks {missing[0]}, which {INDEX} places there; {_SAVE_AGAIN}"
        )
    return stored


def read_tensors(stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """Read the numbers of the tensors, under the same names."""
    tensors: dict[str, Tensor] = {}
    for path in {tensor.file for tensor in stored.values()}:
        with _opened(path) as file:
            here = {name: tensor for name, tensor in stored.items() if tensor.file == path}
            tensors |= {name: file.get_tensor(tensor.name) for name, tensor in here.items()}
    return tensors


_MERGE = (
    "an adapter such as LoRA's, which is not supported; merge it into its model with peft's "
    "merge_and_unload(), and save that into a new folder"
)
_SAVE_AGAIN = "download the model again, or save it again with transformers' save_pretrained"


def _read_index(path: Path) -> dict[str, str]:
    """Return the name of each tensor's shard; refuse an index that leads out of its folder."""
    shard_of = read_json(path).get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of:
        raise ValueError(f"{path} has no weight_map, which names the file of each tensor; {_SAVE_AGAIN}")
    for name, shard in shard_of.items():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise ValueError(
                f"{path} places {name} in {shard!r}, expected the name of a .safetensors file of the same "
                f"folder; {_SAVE_AGAIN}"
            )
    return shard_of


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        check_fetched(path)
        raise ValueError(f"{path} is not a complete safetensors file ({error}); fetch it again") from error
