"""The models that pretraining trains: new ones, or grown from those of an earlier run (chapters 4 and 8).

Source: Devlin et al. 2019, §3.1 and appendix A.2.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bertlearn.model.config import BertConfig, ModernConfig
from bertlearn.model.electra import ElectraForPreTraining
from bertlearn.model.heads import BertForMaskedLM, BertForPreTraining
from bertlearn.model.modern import ModernForMaskedLM
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.training.step import derive_seed

PretrainingModel = BertForMaskedLM | BertForPreTraining | ModernForMaskedLM | ElectraForPreTraining
POSITIONS = "bert.embeddings.position_embeddings.weight"


def new_model(options: PretrainOptions, vocab_size: int) -> PretrainingModel:
    """Return a model with a run's initial weights; the same options always give the same weights.

    Args:
        options: `training.seed` is the seed of the weights.
        vocab_size: V, the number of tokens in the vocabulary.
    """
    return _initial_model(_config(options, vocab_size=vocab_size), options)


def _config(options: PretrainOptions, **changes: Any) -> BertConfig:
    """Return the config of a new model: BERT's, or ModernBERT's at the size of the preset."""
    config = BertConfig.preset(
        options.preset,
        max_position_embeddings=options.max_length,
        initializer_range=options.initializer_range,
        hidden_dropout_prob=options.dropout,
        attention_probs_dropout_prob=options.dropout,
        **changes,
    )
    if options.architecture == "bert":
        return config
    gated = ModernConfig.gated_size(config.intermediate_size)
    values = {**asdict(config), "intermediate_size": gated, "layer_norm_eps": 1e-5, "unpadding": False}
    return ModernConfig.modernbert(**values)


def grown_model(folder: Path, options: PretrainOptions) -> PretrainingModel:
    """Return the model in a folder, with as many more positions as `options.max_length` needs.

    The added positions are not trained yet: they have the initial values of a new model. The same was true in
    the paper, where the first nine tenths of the steps never saw positions beyond 128 (Devlin et al. 2019,
    A.2).
    Dropout and `initializer_range` are those of the options.

    Args:
        folder: of a model with the heads that the options ask for, whose sizes are those of their preset.
        options: `max_length` is the number of positions needed; a larger number in the folder is kept.

    Raises:
        ValueError: a size that is not that of the preset, or heads that do not fit.
    """
    kind: Any = _kind(options)
    if kind is ElectraForPreTraining:
        raise ValueError(f"a run with objective='electra' cannot start from {folder}, which has no generator")
    try:
        start = kind.from_pretrained(folder)
    except ValueError as error:
        raise ValueError(f"with pairs={options.pairs}, start from a {kind.__name__}: {error}") from error
    _check_same_sizes(start.config, _config(options), folder, options.preset)
    config = replace(
        start.config,
        max_position_embeddings=max(options.max_length, start.config.max_position_embeddings),
        initializer_range=options.initializer_range,
        hidden_dropout_prob=options.dropout,
        attention_probs_dropout_prob=options.dropout,
    )
    model = _initial_model(config, options)
    state = start.state_dict()
    if POSITIONS in state:  # not if they are rotary
        positions = model.state_dict()[POSITIONS].clone()
        positions[: len(state[POSITIONS])] = state[POSITIONS]
        state[POSITIONS] = positions
    model.load_state_dict(state)
    return model


SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
SWITCHES = ("pre_norm", "bias", "norm", "gated", "rope", "local_attention")


def _check_same_sizes(config: BertConfig, expected: BertConfig, folder: Path, preset: str) -> None:
    for name in (*SIZES, *SWITCHES):
        found, right = getattr(config, name, None), getattr(expected, name, None)
        if found != right:
            raise ValueError(
                f"{folder} has {name}={found}, but the preset {preset!r} has {right}; choose the preset and "
                "the architecture of that model"
            )


def _kind(options: PretrainOptions) -> type[PretrainingModel]:
    if options.objective == "electra":
        return ElectraForPreTraining
    if options.architecture == "modern":
        return ModernForMaskedLM
    return BertForPreTraining if options.pairs else BertForMaskedLM


def _initial_model(config: BertConfig, options: PretrainOptions) -> PretrainingModel:
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(options.training.seed))
        model: Any = _kind(options)(config)  # type: ignore[arg-type]
    if options.positions == "sinusoidal":
        table = sinusoidal_positions(config.max_position_embeddings, config.hidden_size)
        scale = config.initializer_range * 2**0.5  # makes sines (variance 1/2) as large as random weights
        model.bert.embeddings.position_embeddings.weight.data.copy_(scale * table)
    return model


def sinusoidal_positions(length: int, hidden_size: int) -> Tensor:
    """Return the sinusoidal position embeddings of the original Transformer, one row per position.

    BERT learns its position embeddings. As initial values, these already encode which positions are close.

    Args:
        length: number of positions.
        hidden_size: number of features, an even number.

    Returns:
        floats (length, hidden_size) in [−1, 1]. Source: Vaswani et al. 2017, §3.5.
    """
    positions = torch.arange(length)[:, None]
    wavelengths = 10000 ** (torch.arange(0, hidden_size, 2) / hidden_size)
    angles = positions / wavelengths  # (length, hidden_size / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
