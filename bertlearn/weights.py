"""Weights in and out: transformers' own folder layout, safetensors only (chapters 3 to 6).

A folder holds `config.json` and `model.safetensors` (and, for the tokenizer, `vocab.txt`). Nothing is
ever unpickled: a pickle can run any program when it is opened. Leaves out: sharded checkpoints.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bertlearn.config import BertConfig

CONFIG, WEIGHTS, VOCAB = "config.json", "model.safetensors", "vocab.txt"
PICKLES = ("pytorch_model.bin", "model.pt", "model.pth", "model.ckpt")


Model = TypeVar("Model", bound=nn.Module)


class PreTrainedModel(nn.Module):
    """A model with a `config` that is kept in a folder as transformers' class of the same name keeps it."""

    config: BertConfig

    @classmethod
    def from_pretrained(cls, folder_or_name: str | Path) -> Self:
        """Load config and weights from a folder in transformers' layout, or from the hub by name.

        The model comes in evaluation mode (dropout off). Raises what `load_pretrained` raises.
        """
        return load_pretrained(cls, folder_or_name)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, which transformers reads as well."""
        save_pretrained(self, folder)


def load_pretrained(cls: type[Model], folder_or_name: str | Path) -> Model:
    """Build `cls` from the folder's config and fill it with the folder's weights, every tensor of them.

    Args:
        cls: a model class of this package. A `BertModel` may be loaded from a model with heads: they are
            left out, and so is the pooler of a model that was saved without.
        folder_or_name: a folder, or a hub name such as "google-bert/bert-base-uncased".

    Returns:
        The model in evaluation mode, fp32 on the CPU.

    Raises:
        FileNotFoundError: no such folder, or a file missing in it.
        ValueError: an unsupported config, a pickle, or tensors that do not fit; each is named.
    """
    folder = find_folder(folder_or_name)
    state = rename_old_keys(read_safetensors(folder))
    values = read_json(folder / CONFIG)
    config = BertConfig.from_dict(values)
    if hasattr(cls, "base_model_prefix"):
        model = cls(config)
        check_has_head(state, model, folder)
        check_task(values, cls, folder)
    else:
        state = encoder_state(state)
        model = cls(config, add_pooling_layer=any(name.startswith("pooler.") for name in state))
    state = fill_tied(keep_needed(state, model), model)
    check_state(state, model, folder)
    model.load_state_dict(state, strict=True)
    return model.eval()


def save_pretrained(model: nn.Module, folder: str | Path) -> None:
    """Write the model's config and weights; existing files are replaced only when the new ones are whole.

    Raises:
        OSError: disk full or not writable; what stood in the folder before still stands.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config: Any = model.config
    tensors = {name: tensor.contiguous().cpu() for name, tensor in untied_state(model).items()}
    values = {**config.to_dict(), "architectures": [type(model).__name__]}
    text = json.dumps(values, indent=2) + "\n"
    write_whole(folder / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
    write_whole(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))


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


def read_safetensors(folder: Path) -> dict[str, Tensor]:
    """Read the folder's tensors; refuse a folder that has only a pickle."""
    path = folder / WEIGHTS
    if not path.is_file():
        pickles = [name for name in PICKLES if (folder / name).is_file()]
        if pickles:
            raise ValueError(
                f"{folder} has {pickles[0]} but no {WEIGHTS}: a pickle can run any program when opened "
                "and is never loaded here; save the model as safetensors with transformers' save_pretrained"
            )
        raise FileNotFoundError(f"{folder} has no {WEIGHTS}; a model folder needs {CONFIG} and {WEIGHTS}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); fetch it again") from error


def rename_old_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under today's names.

    Published checkpoints also hold an index that is no weight (`position_ids`), and the oldest of them
    LayerNorm's `gamma` and `beta`.
    """
    return {
        re.sub(
            r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
        ): tensor
        for name, tensor in state.items()
        if not name.endswith("embeddings.position_ids")
    }


def check_has_head(state: dict[str, Tensor], model: nn.Module, folder: Path) -> None:
    """Refuse a folder without the tensors of the model's head: an encoder alone, or another task's model."""
    parts = [part for part, module in model.named_children() if any(True for _ in module.parameters())]
    head = next(part for part in parts if part != "bert")
    if any(name.startswith(f"{head}.") for name in state):
        return
    cls = type(model).__name__
    found = "a model for another task" if any(name.startswith("bert.") for name in state) else "a BertModel"
    new = f"load BertModel from this one and put it into a new {cls}(config) as .bert"
    if hasattr(model, "from_encoder"):
        new = f"draw a new head: {cls}.from_encoder(BertModel.from_pretrained(folder), …)"
    raise ValueError(
        f"{folder} holds {found}, without the head that {cls} needs ({head}.…); take a folder saved by "
        f"{cls}, or {new}"
    )


def check_task(values: dict[str, Any], cls: type[nn.Module], folder: Path) -> None:
    """Refuse a fine-tuned model of another task, though its head may have the same names and shapes."""
    if not hasattr(cls, "from_encoder"):
        return
    classes = values.get("architectures") or [cls.__name__]
    if cls.__name__ not in classes:
        raise ValueError(
            f"{folder} was saved by {classes[0]}, not by {cls.__name__}; load it as {classes[0]}"
        )
    if values.get("problem_type") not in (None, "single_label_classification"):
        raise ValueError(
            f"problem_type={values['problem_type']!r} in {folder / CONFIG} is not supported; the heads here "
            "choose one label of several"
        )


def encoder_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder's tensors of a model with heads, where they stand under `bert.`."""
    if any(name.startswith("bert.") for name in state):
        return {name.removeprefix("bert."): t for name, t in state.items() if name.startswith("bert.")}
    return state


def keep_needed(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Leave out whole parts that the model has not: a pooler, or the head for pairs (`BertForMaskedLM`)."""
    optional = ("bert.pooler.", "cls.seq_relationship.")
    names = model.state_dict().keys()
    return {name: t for name, t in state.items() if name in names or not name.startswith(optional)}


def untied_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's tensors, each once: of tied ones the first name, as transformers' files have it."""
    state = model.state_dict()
    return {first: state[first] for first in dict.fromkeys(_first_names(model).values())}


def fill_tied(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Add the names that a file leaves out because their tensor is tied to one that is there."""
    first = _first_names(model)
    return state | {name: state[first[name]] for name in first if name not in state and first[name] in state}


def _first_names(model: nn.Module) -> dict[str, str]:
    """Return for each tensor of the model the first name under which it stands there."""
    first: dict[int, str] = {}
    named = model.state_dict(keep_vars=True)  # the parameters themselves: tied ones are the same object
    return {name: first.setdefault(id(tensor), name) for name, tensor in named.items()}


def check_state(state: dict[str, Tensor], model: nn.Module, folder: Path) -> None:
    """Compare names and shapes with the model's; raise one `ValueError` that lists every difference."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    problems = [f"missing: {name} {expected[name]}" for name in expected.keys() - found.keys()]
    problems += [f"unexpected: {name} {found[name]}" for name in found.keys() - expected.keys()]
    problems += [
        f"misshapen: {name} is {found[name]}, the config asks for {expected[name]}"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    ]
    if problems:
        lines = "\n  ".join(sorted(problems))
        raise ValueError(f"{folder / WEIGHTS} does not fit its {CONFIG}:\n  {lines}")
