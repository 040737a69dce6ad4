"""Loading and saving weights: transformers' folder layout, safetensors only (chapters 3 to 6).

A folder holds `config.json` and `model.safetensors` (and, for the tokenizer, `vocab.txt`). The sizes in the
config are compared with the headers of the weights before the model is built; `weights.py` reads both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bertlearn.files import (
    ADAPTER,
    ADAPTER_WEIGHTS,
    CONFIG,
    INDEX,
    SHARDS,
    WEIGHTS,
    find_folder,
    first_names,
    read_json,
    untied_state,
    write_whole,
)
from bertlearn.model.config import BertConfig
from bertlearn.model.weights import StoredTensor, find_tensors, read_tensors

EMBEDDINGS, DECODER = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
BIAS, DECODER_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"
FLOATS = ("F64", "F32", "F16", "BF16")  # the types of weights, as safetensors writes them
SAVED = (torch.float64, torch.float32, torch.float16, torch.bfloat16)  # the same types
LABELS = ("id2label", "num_labels")
NOT_WEIGHTS = ("embeddings.position_ids", "embeddings.token_type_ids")  # buffers that older versions stored

# What DataParallel, torch.compile, FSDP and activation checkpointing put before the names of what they wrap
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")

SIZES = {  # size in the config: a matrix that shows it, and whether in its rows (0) or its columns (1)
    "vocab_size": ("embeddings.word_embeddings.weight", 0),
    "hidden_size": ("embeddings.word_embeddings.weight", 1),
    "max_position_embeddings": ("embeddings.position_embeddings.weight", 0),
    "type_vocab_size": ("embeddings.token_type_embeddings.weight", 0),
    "intermediate_size": ("encoder.layer.0.intermediate.dense.weight", 0),
}

Model = TypeVar("Model", bound=nn.Module)
Entry = TypeVar("Entry")
Shapes = dict[str, tuple[int, ...]]  # by the name of the tensor


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
            Nothing is built before all sizes fit. NaN, infinity, or numbers too large for fp32.
    """
    folder = find_folder(folder_or_name)
    stored = rename_old_keys(find_tensors(folder), folder)
    values = read_json(folder / CONFIG)
    head = getattr(cls, "head_prefix", None)
    config = read_config(values, head, folder)
    if head is None:
        stored = encoder_tensors(stored)
    else:
        check_has_head(stored, head, cls, folder)
        check_task(values, cls, folder)
    check_types(stored, folder)
    stored, config = tie_decoder(stored, config, folder)
    check_sizes(stored, config, "" if head is None else "bert.", folder)
    build = builder(cls, stored)
    template = one_layer(build, config)
    stored = fill_tied(keep_needed(stored, template), template)
    found = {name: tensor.shape for name, tensor in stored.items()}
    check_shapes(found, shapes(template, config), f"the weights in {folder} do not fit its {CONFIG}")
    model = build(config)
    model.load_state_dict(read_tensors(stored), strict=True)
    check_numbers(model, folder)
    return model.eval()


def save_pretrained(model: nn.Module, folder: str | Path) -> None:
    """Write the model's config and weights; existing files are replaced only by complete new ones.

    Then older weights in shards are removed with their index: beside it, the new ones might be
    taken for a shard.

    Raises:
        ValueError: weights that could not be loaded again, because they are quantized or their sizes are not
            those of the config, as after replacing a head; a folder with an adapter. Nothing is written.
        OSError: the disk is full or not writable; the older files are still there.
    """
    folder = Path(folder).expanduser()
    if adapters := [name for name in (ADAPTER, ADAPTER_WEIGHTS) if (folder / name).exists()]:
        raise ValueError(
            f"{folder} has an adapter ({adapters[0]}), and a model beside it could not be "
            "loaded; choose another folder"
        )
    untied = first_names(model).get(DECODER) == DECODER
    old: Any = model.config
    config = replace(old, tie_word_embeddings=not untied)
    check_can_be_saved(model, config)
    state = rename_old_keys(untied_state(model), folder)
    if untied:  # transformers then ties nothing, not even the two names of the bias
        state.setdefault(DECODER_BIAS, state[BIAS].clone())
    tensors = {name: tensor.contiguous().cpu() for name, tensor in state.items()}
    text = json.dumps({**config.to_dict(), "architectures": [type(model).__name__]}, indent=2) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
    write_whole(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
    for path in (folder / INDEX, *folder.glob(SHARDS)):
        path.unlink(missing_ok=True)


def read_config(values: dict[str, Any], head: str | None, folder: Path) -> BertConfig:
    """Return the config; labels that cannot be read are left out unless the head is a classifier."""
    try:
        return BertConfig.from_dict(values)
    except ValueError as error:
        if head != "classifier" and values.keys() & LABELS:
            return read_config({name: x for name, x in values.items() if name not in LABELS}, head, folder)
        raise ValueError(f"{folder / CONFIG}: {error}") from error


def rename_old_keys(stored: dict[str, Entry], folder: Path) -> dict[str, Entry]:
    """Return the tensors under their current names.

    Published weights also contain ids that are not weights (`position_ids`), and the oldest of them call
    LayerNorm's parameters `gamma` and `beta`. A model that was saved while it was wrapped, as for several
    devices, has the names of its wrappers in those of its tensors, such as `module.`.
    """
    renamed: dict[str, Entry] = {}
    for name, tensor in stored.items():
        new = _WRAPPERS.sub("", name)
        if new.endswith(NOT_WEIGHTS):
            continue
        new = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", new)
        new = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", new)
        if new in renamed:
            raise ValueError(f"{folder} holds {new} twice, under two names; remove one")
        renamed[new] = tensor
    return renamed


def check_has_head(names: Mapping[str, object], head: str, cls: type[nn.Module], folder: Path) -> None:
    """Refuse a folder without the head's tensors: an encoder alone, or a model for another task."""
    if any(name.startswith(f"{head}.") for name in names):
        return
    if not any(name.removeprefix("bert.") == SIZES["vocab_size"][0] for name in names):
        raise ValueError(
            f"the weights in {folder} have names other than BERT's, such as {min(names, default='none')}, "
            f"expected {EMBEDDINGS} and so on; save the model itself with transformers' save_pretrained"
        )
    found = "a model for another task" if any(name.startswith("bert.") for name in names) else "a BertModel"
    new = f"load BertModel from this one and copy its weights into .bert of a new {cls.__name__}(config)"
    if hasattr(cls, "from_encoder"):
        new = f"draw a new head: {cls.__name__}.from_encoder(BertModel.from_pretrained(folder), …)"
    raise ValueError(
        f"{folder} holds {found}, without the head that {cls.__name__} needs ({head}.…); take a folder saved "
        f"by {cls.__name__}, or {new}"
    )


def check_task(values: dict[str, Any], cls: type[nn.Module], folder: Path) -> None:
    """Refuse a model fine-tuned for another task, even if its head has the same names and shapes."""
    if not hasattr(cls, "from_encoder"):
        return
    classes = values.get("architectures") or [cls.__name__]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"architectures={classes!r} in {folder / CONFIG} is not a list of class names")
    if cls.__name__ not in classes:
        raise ValueError(
            f"{folder} was saved by {classes[0]}, not by {cls.__name__}; load it as {classes[0]}"
        )
    if values.get("problem_type") not in (None, "single_label_classification"):
        raise ValueError(
            f"problem_type={values['problem_type']!r} in {folder / CONFIG} is not supported; the heads here "
            "choose one label of several"
        )


def encoder_tensors(stored: dict[str, Entry]) -> dict[str, Entry]:
    """Return the encoder's tensors, which a model with heads has under `bert.`."""
    if any(name.startswith("bert.") for name in stored):
        return {name.removeprefix("bert."): t for name, t in stored.items() if name.startswith("bert.")}
    return stored


def tie_decoder(
    stored: dict[str, StoredTensor], config: BertConfig, folder: Path
) -> tuple[dict[str, StoredTensor], BertConfig]:
    """Decide as transformers does, by the tensors, whether the decoder is the word embeddings.

    It is not if the config says so, or if both exist and differ; if only one exists, it serves as both.
    Of the bias's two names, transformers adds the decoder's.

    Returns:
        The tensors under the names that a tied or an untied model needs, and the config that says which of
        the two it is.
    """
    if BIAS not in stored and DECODER_BIAS not in stored:  # no head for masked tokens
        return stored, config
    tied = config.tie_word_embeddings
    if not tied and DECODER not in stored:
        raise ValueError(
            f"{folder / CONFIG} has tie_word_embeddings=false, but the weights have no {DECODER}; if the "
            "model predicts tokens by its word embeddings, remove that line, otherwise save the model again"
        )
    stored = {**stored, BIAS: stored[DECODER_BIAS if DECODER_BIAS in stored else BIAS]}
    stored.pop(DECODER_BIAS, None)
    if tied and DECODER in stored:
        stored.setdefault(EMBEDDINGS, stored[DECODER])
        both = read_tensors({name: stored[name] for name in (EMBEDDINGS, DECODER)})
        tied = torch.equal(both[EMBEDDINGS].float(), both[DECODER].float())
    return stored, replace(config, tie_word_embeddings=tied)


def keep_needed(stored: dict[str, Entry], model: nn.Module) -> dict[str, Entry]:
    """Leave out parts that the model lacks: a pooler, or the head for pairs (`BertForMaskedLM`)."""
    optional = ("bert.pooler.", "cls.seq_relationship.")
    names = model.state_dict().keys()
    return {name: t for name, t in stored.items() if name in names or not name.startswith(optional)}


def fill_tied(state: dict[str, Entry], model: nn.Module) -> dict[str, Entry]:
    """Add the tensors that a file leaves out because they are tied to one that it contains."""
    first = first_names(model)
    return state | {name: state[first[name]] for name in first if name not in state and first[name] in state}


# The comparison of config and weights, which needs no memory for either


def check_can_be_saved(model: nn.Module, config: BertConfig) -> None:
    """Refuse weights that `load_pretrained` would refuse with this config.

    Raises:
        ValueError: something other than floats, or the names and shapes that differ from the config's.
    """
    state = rename_old_keys(model.state_dict(), Path())
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or tensor.dtype not in SAVED:
            raise ValueError(
                f"{name} is {repr(tensor)[:60]}, expected a tensor of {' or '.join(map(str, SAVED))}; a "
                "quantized model cannot be saved, only the one that it was made from"
            )
        if tensor.is_meta:
            raise ValueError(f"{name} is on the meta device, so there is nothing to save; load the model")
    template = one_layer(builder(type(model), state), config)
    check_shapes(
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        shapes(template, config),
        "the model is not saved, because its weights do not fit its config and could not be loaded; undo "
        "the change to the model, or set model.config and model.bert.config to one that fits",
    )


def check_types(stored: dict[str, StoredTensor], folder: Path) -> None:
    """Refuse tensors that are not floats: quantized weights mean nothing without their scales."""
    for name, tensor in stored.items():
        if tensor.dtype not in FLOATS:
            raise ValueError(
                f"{name} in {folder} has the type {tensor.dtype}, expected {', '.join(FLOATS)}; quantized "
                "weights are not supported, use the original ones"
            )


def check_sizes(stored: dict[str, StoredTensor], config: BertConfig, prefix: str, folder: Path) -> None:
    """Compare the sizes in the config with the matrices that show them.

    Raises:
        ValueError: sizes that differ, or matrices that are missing; the message names them all.
    """
    differences = []
    query = re.compile(rf"{prefix}encoder\.layer\.\d+\.attention\.self\.query\.weight")
    found = {"num_hidden_layers": sum(bool(query.fullmatch(name)) for name in stored)}
    for size, (name, axis) in SIZES.items():
        tensor = stored.get(prefix + name)
        if tensor is None or len(tensor.shape) != 2:
            differences.append(f"missing: {prefix + name}, a matrix")
        else:
            found[size] = tensor.shape[axis]
    differences += [
        f"{size}: {getattr(config, size)} in the config, {number} in the weights"
        for size, number in found.items()
        if getattr(config, size) != number
    ]
    _refuse(differences, f"the weights in {folder} do not fit its {CONFIG}")


def builder(cls: type[Model], names: Iterable[str]) -> Callable[[BertConfig], Model]:
    """Return a function from config to model; an encoder has a pooler if one is among the tensors' names."""
    if getattr(cls, "head_prefix", None) is not None:
        return cls
    return partial(cls, add_pooling_layer=any(name.startswith("pooler.") for name in names))


def one_layer(build: Callable[[BertConfig], Model], config: BertConfig) -> Model:
    """Return the model with one layer and without memory for its tensors."""
    with torch.device("meta"):
        return build(replace(config, num_hidden_layers=1))


def shapes(template: nn.Module, config: BertConfig) -> Shapes:
    """Return the shape of each tensor of a model of which `template` is the one with one layer."""
    found: Shapes = {}
    for name, tensor in template.state_dict().items():
        layers = range(config.num_hidden_layers if ".layer.0." in name else 1)
        found |= {name.replace(".layer.0.", f".layer.{layer}."): tuple(tensor.shape) for layer in layers}
    return found


def check_shapes(found: Shapes, expected: Shapes, problem: str) -> None:
    """Compare names and shapes of tensors with a model's.

    Raises:
        ValueError: `problem`, and a list of all differences.
    """
    differences = [f"missing: {name} {expected[name]}" for name in expected.keys() - found.keys()]
    differences += [f"unexpected: {name} {found[name]}" for name in found.keys() - expected.keys()]
    differences += [
        f"wrong shape: {name} is {found[name]}, the config asks for {expected[name]}"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    ]
    _refuse(differences, problem)


def check_numbers(model: nn.Module, folder: Path) -> None:
    """Refuse weights that are not finite in fp32: every result would be NaN.

    Raises:
        ValueError: the message names the first tensor.
    """
    for name, parameter in model.named_parameters():
        if not torch.stack(torch.aminmax(parameter.detach())).isfinite().all():
            raise ValueError(
                f"{name} in {folder} holds NaN, infinity or a number too large for fp32; use weights from "
                "before the training diverged, or download them again"
            )


def _refuse(differences: list[str], problem: str) -> None:
    if differences:
        lines = "\n  ".join(sorted(set(differences)))
        raise ValueError(f"{problem}:\n  {lines}")
