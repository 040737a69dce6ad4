"""The names of a modern BERT's tensors in three formats, and its loading and saving.

A folder is in BERT's format if the model has no switch on, in ModernBERT's if transformers' ModernBERT is the
same model, else in our own, which transformers cannot read.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bertlearn.files import CONFIG, WEIGHTS, find_folder, read_json, write_whole
from bertlearn.model.config import BertConfig, ModernConfig
from bertlearn.model.pretrained import builder, check_numbers, check_shapes, rename_old_keys
from bertlearn.model.weights import find_tensors, read_tensors

OWN, BERT, MODERNBERT = "bertlearn_modern", "bert", "modernbert"  # model_type in config.json
Model = TypeVar("Model", bound=nn.Module)

# Our module, BERT's, ModernBERT's; "#" is the layer's number. Where several of our matrices have one name,
# the other format has them as one, one below the other.
NAMES = (
    ("embeddings.word", "embeddings.word_embeddings", "embeddings.tok_embeddings"),
    ("embeddings.position", "embeddings.position_embeddings", None),
    ("embeddings.token_type", "embeddings.token_type_embeddings", None),
    ("embeddings.norm", "embeddings.LayerNorm", "embeddings.norm"),
    ("layers.#.query", "encoder.layer.#.attention.self.query", "layers.#.attn.Wqkv"),
    ("layers.#.key", "encoder.layer.#.attention.self.key", "layers.#.attn.Wqkv"),
    ("layers.#.value", "encoder.layer.#.attention.self.value", "layers.#.attn.Wqkv"),
    ("layers.#.attention_output", "encoder.layer.#.attention.output.dense", "layers.#.attn.Wo"),
    ("layers.#.attention_norm", "encoder.layer.#.attention.output.LayerNorm", "layers.#.attn_norm"),
    ("layers.#.up", "encoder.layer.#.intermediate.dense", "layers.#.mlp.Wi"),
    ("layers.#.gate", None, "layers.#.mlp.Wi"),
    ("layers.#.down", "encoder.layer.#.output.dense", "layers.#.mlp.Wo"),
    ("layers.#.mlp_norm", "encoder.layer.#.output.LayerNorm", "layers.#.mlp_norm"),
    ("final_norm", None, "final_norm"),
    ("pooler.dense", "pooler.dense", None),
    ("dense", "cls.predictions.transform.dense", "head.dense"),
    ("norm", "cls.predictions.transform.LayerNorm", "head.norm"),
    ("decoder", "cls.predictions.decoder", "decoder"),
)
PREFIXES = {BERT: "bert.", MODERNBERT: "model.", OWN: "model."}  # of the encoder, in a model with a head

SAME = {  # BERT's field: ModernBERT's
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "max_position_embeddings": "max_position_embeddings",
    "initializer_range": "initializer_range",
    "pad_token_id": "pad_token_id",
    "layer_norm_eps": "norm_eps",
    "hidden_act": "hidden_activation",
    "hidden_dropout_prob": "mlp_dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "local_attention": "local_attention",
}
MODERNBERT_IS: dict[str, Any] = {
    "pre_norm": True,
    "bias": False,
    "norm": "layer",
    "gated": True,
    "rope": True,
    "token_types": False,
}


def format_of(config: ModernConfig) -> str:
    """Return the format in which a model is saved, as the `model_type` of its config.json."""
    plain = asdict(ModernConfig(**_of_bert(asdict(config))))
    if asdict(config) == plain:
        return BERT
    same = all(getattr(config, name) == value for name, value in MODERNBERT_IS.items())
    no_dropout = not (config.hidden_dropout_prob or config.attention_probs_dropout_prob)
    return MODERNBERT if same and no_dropout and config.local_attention else OWN


def names_in(kind: str, model: nn.Module) -> dict[str, list[str]]:
    """Return the tensors of one format, each with those of ours that it holds, one below the other."""
    names: dict[str, list[str]] = {}
    for name in model.state_dict():
        names.setdefault(_renamed(name, kind), []).append(name)
    return names


def _renamed(name: str, kind: str) -> str:
    if kind == OWN:
        return name
    inner = name.removeprefix("model.")
    module, _, parameter = inner.rpartition(".")
    number = re.search(r"\.(\d+)\.", module)
    key = re.sub(r"\.\d+\.", ".#.", module)
    column = {BERT: 1, MODERNBERT: 2}[kind]
    new = {row[0]: row[column] for row in NAMES}[key]
    assert new is not None, f"{name} has no place in the format {kind}"
    new = new.replace("#", number[1]) if number else new
    return f"{PREFIXES[kind] if inner != name else ''}{new}.{parameter}"


def load(cls: type[Model], folder_or_name: str | Path) -> Model:
    """Build `cls` and fill it from a folder in one of the three formats; fp32, in evaluation mode.

    Raises:
        FileNotFoundError: no such folder, or a file is missing from it.
        ValueError: another architecture, or tensors that do not fit; the message names them all.
    """
    folder = find_folder(folder_or_name)
    values = read_json(folder / CONFIG)
    config = read_config(values, folder)
    kind = values["model_type"]
    stored = rename_old_keys(find_tensors(folder), folder)
    if not _has_head(cls):  # of a model with a head, take the encoder
        stored = {name.removeprefix(PREFIXES[kind]): tensor for name, tensor in stored.items()}
    model = builder(cls, stored)(config)
    names = names_in(kind, model)
    tied = {_renamed("decoder.weight", kind): _renamed("model.embeddings.word.weight", kind)}
    stored |= {name: stored[other] for name, other in tied.items() if name in names and other in stored}
    bias = "cls.predictions.bias"  # the decoder's, under the name that BERT's files have
    if kind == BERT and bias in stored:
        stored["cls.predictions.decoder.bias"] = stored[bias]
    shapes = {name: tuple(tensor.shape) for name, tensor in stored.items() if name in names}
    expected = {name: _shape(model, parts) for name, parts in names.items()}
    check_shapes(shapes, expected, f"the weights in {folder} do not fit its {CONFIG}")
    tensors = read_tensors({name: stored[name] for name in names})
    model.load_state_dict(
        {mine: x for name, parts in names.items() for mine, x in _split(tensors[name], parts)}
    )
    check_numbers(model, folder)
    return model.eval()


def _has_head(model: nn.Module | type[nn.Module]) -> bool:
    return getattr(model, "head_prefix", None) is not None


def _shape(model: nn.Module, parts: list[str]) -> tuple[int, ...]:
    shape = model.state_dict()[parts[0]].shape
    return (shape[0] * len(parts), *shape[1:])


def _split(tensor: Tensor, parts: list[str]) -> list[tuple[str, Tensor]]:
    return list(zip(parts, tensor.chunk(len(parts)), strict=True))


def save(model: Any, folder: str | Path) -> None:
    """Write the model's config and weights; existing files are replaced only by complete new ones.

    Raises:
        OSError: the disk is full or not writable; the older files are still there.
    """
    folder = Path(folder).expanduser()
    kind = format_of(model.config)
    state = model.state_dict()
    tensors = {
        name: torch.cat([state[part] for part in parts]).contiguous().cpu()
        for name, parts in names_in(kind, model).items()
    }
    tensors.pop(_renamed("decoder.weight", kind), None)  # tied
    if kind == BERT and _has_head(model):
        tensors["cls.predictions.bias"] = tensors.pop("cls.predictions.decoder.bias")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(write_config(model, kind), indent=2) + "\n"
    write_whole(folder / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
    write_whole(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))


def write_config(model: Any, kind: str) -> dict[str, Any]:
    """Return the contents of config.json in one format."""
    config: ModernConfig = model.config
    head = "ForMaskedLM" if _has_head(model) else "Model"
    if kind == BERT:
        return {**BertConfig(**_of_bert(asdict(config))).to_dict(), "architectures": [f"Bert{head}"]}
    if kind == OWN:
        return {**asdict(config), "model_type": OWN, "architectures": [f"Modern{head}"]}
    thetas = {"full_attention": config.global_rope_theta, "sliding_attention": config.local_rope_theta}
    return {
        **{theirs: getattr(config, ours) for ours, theirs in SAME.items()},
        "model_type": MODERNBERT,
        "architectures": [f"ModernBert{head}"],
        "global_attn_every_n_layers": config.global_attn_every_n_layers,
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": x} for kind, x in thetas.items()},
        **{name: False for name in ("attention_bias", "mlp_bias", "norm_bias", "classifier_bias")},
        **{f"{name}_token_id": None for name in ("bos", "eos", "cls", "sep")},
    }


def read_config(values: dict[str, Any], folder: Path) -> ModernConfig:
    """Return the config that a config.json describes.

    Raises:
        ValueError: another architecture, or a variant of ModernBERT that is not supported.
    """
    kind = values.get("model_type")
    if kind == BERT:
        return ModernConfig(**_of_bert(asdict(BertConfig.from_dict(values))))
    if kind == OWN:
        known = {field.name for field in fields(ModernConfig)}
        return ModernConfig(**{name: value for name, value in values.items() if name in known})
    if kind == MODERNBERT:
        return _read_modernbert(values, folder)
    raise ValueError(f"model_type={kind!r} in {folder / CONFIG}; expected {BERT}, {MODERNBERT} or {OWN}")


def _read_modernbert(values: dict[str, Any], folder: Path) -> ModernConfig:
    for name in ("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"):
        if values.get(name):
            raise ValueError(f"{name}=true in {folder / CONFIG} is not supported; ModernBERT has no biases")
    rope = values.get("rope_parameters") or {}
    far = rope.get("full_attention", {}).get("rope_theta", values.get("global_rope_theta", 160_000.0))
    near = rope.get("sliding_attention", {}).get("rope_theta", values.get("local_rope_theta", 10_000.0))
    every = values.get("global_attn_every_n_layers", 3)
    kinds = values.get("layer_types")
    layers = range(values.get("num_hidden_layers", 22))
    if kinds not in (None, ["sliding_attention" if i % every else "full_attention" for i in layers]):
        raise ValueError(f"layer_types={kinds} in {folder / CONFIG}: expected every {every}rd layer global")
    same = {ours: values[theirs] for ours, theirs in SAME.items() if theirs in values}
    thetas = {"global_rope_theta": far, "local_rope_theta": near, "global_attn_every_n_layers": every}
    return ModernConfig.modernbert(**same, **thetas)


def _of_bert(values: dict[str, Any]) -> dict[str, Any]:
    """Return BERT's fields of a config."""
    return {field.name: values[field.name] for field in fields(BertConfig)}
