"""Loading and saving weights: transformers' folder layout, safetensors only (chapters 3 to 6).

A folder holds `config.json` and `model.safetensors` (and, for the tokenizer, `vocab.txt`). Nothing is ever
unpickled: a pickle can run any program when it is opened. Leaves out: weights sharded over several files.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bertlearn.files import CONFIG, WEIGHTS, find_folder, first_names, read_json, untied_state, write_whole
from bertlearn.model.config import BertConfig

PICKLES = ("pytorch_model.bin", "model.pt", "model.pth", "model.ckpt")

Model = TypeVar("Model", bound=nn.Module)


def load_pretrained(cls: type[Model], folder_or_name: str | Path) -> Model:
    """Build `cls` from the folder's config and fill every tensor of it from the folder's weights.

    Args:
        cls: a model class of this package. A `BertModel` may be loaded from a model with heads: the heads are
            left out. If the folder has no pooler, neither does the model.
        folder_or_name: a folder, or a hub name such as "google-bert/bert-base-uncased".

    Returns:
        The model in evaluation mode, fp32 on the CPU.

    Raises:
        FileNotFoundError: no such folder, or a file is missing from it.
        ValueError: an unsupported config, a pickle, or tensors that do not fit; the message names them all.
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
    """Write the model's config and weights; existing files are replaced only by complete new ones.

    Raises:
        OSError: the disk is full or not writable; the older files are still there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config: Any = model.config
    tensors = {name: tensor.contiguous().cpu() for name, tensor in untied_state(model).items()}
    values = {**config.to_dict(), "architectures": [type(model).__name__]}
    text = json.dumps(values, indent=2) + "\n"
    write_whole(folder / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
    write_whole(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))


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
        raise ValueError(f"{path} is not a complete safetensors file ({error}); fetch it again") from error


def rename_old_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under their current names.

    Published weights also contain an index that is not a weight (`position_ids`), and the oldest of them call
    LayerNorm's parameters `gamma` and `beta`.
    """
    return {
        re.sub(
            r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
        ): tensor
        for name, tensor in state.items()
        if not name.endswith("embeddings.position_ids")
    }


def check_has_head(state: dict[str, Tensor], model: nn.Module, folder: Path) -> None:
    """Refuse a folder without the head's tensors: an encoder alone, or a model for another task."""
    parts = [part for part, module in model.named_children() if any(True for _ in module.parameters())]
    head = next(part for part in parts if part != "bert")
    if any(name.startswith(f"{head}.") for name in state):
        return
    cls = type(model).__name__
    found = "a model for another task" if any(name.startswith("bert.") for name in state) else "a BertModel"
    new = f"load BertModel from this one and assign it to .bert of a new {cls}(config)"
    if hasattr(model, "from_encoder"):
        new = f"draw a new head: {cls}.from_encoder(BertModel.from_pretrained(folder), …)"
    raise ValueError(
        f"{folder} holds {found}, without the head that {cls} needs ({head}.…); take a folder saved by "
        f"{cls}, or {new}"
    )


def check_task(values: dict[str, Any], cls: type[nn.Module], folder: Path) -> None:
    """Refuse a model fine-tuned for another task, even if its head has the same names and shapes."""
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
    """Return the encoder's tensors, which a model with heads has under `bert.`."""
    if any(name.startswith("bert.") for name in state):
        return {name.removeprefix("bert."): t for name, t in state.items() if name.startswith("bert.")}
    return state


def keep_needed(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Leave out parts that the model lacks: a pooler, or the head for pairs (`BertForMaskedLM`)."""
    optional = ("bert.pooler.", "cls.seq_relationship.")
    names = model.state_dict().keys()
    return {name: t for name, t in state.items() if name in names or not name.startswith(optional)}


def fill_tied(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Add the tensors that a file leaves out because they are tied to one that it contains."""
    first = first_names(model)
    return state | {name: state[first[name]] for name in first if name not in state and first[name] in state}


def check_state(state: dict[str, Tensor], model: nn.Module, folder: Path) -> None:
    """Compare names and shapes with the model's; raise one `ValueError` that lists all differences."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    differences = [f"missing: {name} {expected[name]}" for name in expected.keys() - found.keys()]
    differences += [f"unexpected: {name} {found[name]}" for name in found.keys() - expected.keys()]
    differences += [
        f"wrong shape: {name} is {found[name]}, the config asks for {expected[name]}"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    ]
    if differences:
        lines = "\n  ".join(sorted(differences))
        raise ValueError(f"{folder / WEIGHTS} does not fit its {CONFIG}:\n  {lines}")
