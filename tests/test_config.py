"""Sizes, presets and the fields that a BERT cannot have."""

from __future__ import annotations

import dataclasses

import pytest
import transformers

from bertlearn.config import BertConfig
from bertlearn.encoder import BertModel


def test_defaults_are_transformers() -> None:
    theirs = transformers.BertConfig()
    for field in dataclasses.fields(BertConfig):
        assert getattr(BertConfig(), field.name) == getattr(theirs, field.name), field.name


@pytest.mark.parametrize(
    ("preset", "millions"),  # Turc et al. 2019, table 1; Devlin et al. 2019, §3
    [("tiny", 4.4), ("mini", 11.2), ("small", 28.8), ("medium", 41.4), ("base", 109.5), ("large", 335.1)],
)
def test_presets_have_the_published_sizes(preset: str, millions: float) -> None:
    import torch

    with torch.device("meta"):
        model = BertModel(BertConfig.preset(preset))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_preset_takes_changes_and_names_the_choices() -> None:
    assert BertConfig.preset("tiny", vocab_size=10).vocab_size == 10
    with pytest.raises(ValueError, match="unknown preset 'huge'; choose one of tiny, mini"):
        BertConfig.preset("huge")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 100}, "hidden_size=100 is not divisible by num_attention_heads=12; use 96 or 108"),
        ({"hidden_size": 5}, "use 12"),
        ({"vocab_size": 0}, "vocab_size=0 must be a whole number of at least 1"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers=2.0 must be a whole number"),
        ({"num_attention_heads": True}, "num_attention_heads=True must be a whole number"),
        ({"hidden_dropout_prob": 1.0}, r"hidden_dropout_prob=1.0 is a probability: use a value in \[0, 1\)"),
        ({"hidden_act": "relu"}, "hidden_act='relu' is not supported"),
    ],
)
def test_impossible_sizes_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BertConfig(**fields)


def test_a_misspelt_field_and_a_change_are_refused() -> None:
    with pytest.raises(TypeError, match="hiden_size"):
        BertConfig(hiden_size=64)
    with pytest.raises(dataclasses.FrozenInstanceError):
        BertConfig().hidden_size = 64


def test_dictionaries_go_both_ways_and_extra_fields_are_ignored() -> None:
    config = BertConfig.preset("mini", vocab_size=77)
    assert BertConfig.from_dict({**config.to_dict(), "torch_dtype": "float32", "_name": "x"}) == config
    with pytest.raises(ValueError, match="a config is a dictionary of fields, got list"):
        BertConfig.from_dict([])
