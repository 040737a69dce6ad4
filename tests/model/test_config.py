"""Sizes, presets and the fields that a BERT cannot have."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import transformers

from bertlearn.model.bert import BertModel
from bertlearn.model.config import BertConfig


def test_defaults_are_transformers() -> None:
    theirs = {  # the pooling is ModernBERT's there
        "classifier_pooling": transformers.ModernBertConfig().classifier_pooling,
        **transformers.BertConfig().to_dict(),
    }
    for field in dataclasses.fields(BertConfig):
        assert getattr(BertConfig(), field.name) == theirs[field.name], field.name


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
        (
            {"hidden_dropout_prob": 1.0},
            r"hidden_dropout_prob=1.0 is not a probability; use a value in \[0, 1\)",
        ),
        ({"hidden_act": "relu"}, "hidden_act='relu' is not supported"),
        ({"classifier_dropout": -0.1}, "classifier_dropout=-0.1 is not a probability"),
        ({"classifier_pooling": "max"}, "classifier_pooling='max' is neither 'cls' nor 'mean'"),
        (
            {"id2label": ["a", "b"]},
            r"id2label is list, expected a dictionary; use dict\(enumerate\(labels\)\)",
        ),
        (
            {"id2label": {1: "a", 2: "b"}},
            r"id2label numbers the labels \[1, 2\], expected 0, 1, 2, … without",
        ),
        ({"id2label": {"0": "a", "x": "b"}}, "id2label numbers the labels"),
        ({"id2label": {}}, "id2label numbers the labels"),
        (
            {"id2label": {0: "a", 1: "a"}},
            r"id2label names the labels \['a', 'a'\], expected distinct texts",
        ),
        ({"id2label": {0: 0, 1: 1}}, "expected distinct texts; rename them"),
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


def test_labels_go_both_ways_through_json_and_an_encoder_has_none_in_its_file() -> None:
    config = BertConfig(id2label={1: "good", 0: "bad", 2: "so so"}, classifier_dropout=0.2)
    assert (config.num_labels, config.label2id) == (3, {"bad": 0, "good": 1, "so so": 2})
    written = json.loads(json.dumps(config.to_dict()))
    assert (written["id2label"]["2"], written["label2id"]["good"]) == ("so so", 1)
    assert "classifier_pooling" not in written
    assert BertConfig.from_dict(written) == config
    assert list(BertConfig.from_dict(written).id2label) == [0, 1, 2]
    heads = {"id2label": None, "label2id": None, "classifier_dropout": None, "classifier_pooling": None}
    assert BertConfig.from_dict({**BertConfig().to_dict(), **heads}) == BertConfig()
    assert not {*heads, "num_labels"} & BertConfig().to_dict().keys()
    assert not [name for name in heads if name in repr(config)]
    assert hash(config) == hash(BertConfig.from_dict(written))


def test_the_default_labels_are_not_shared() -> None:
    BertConfig().id2label[0] = "changed"
    assert BertConfig().id2label[0] == "LABEL_0"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("vocab_size", "101", "vocab_size='101' must be a whole number of at least 1"),
        ("hidden_size", 64.0, "hidden_size=64.0 must be a whole number"),
        ("type_vocab_size", None, "type_vocab_size=None must be a whole number"),
        ("max_position_embeddings", [512], r"max_position_embeddings=\[512\] must be a whole number"),
        ("hidden_dropout_prob", None, "hidden_dropout_prob=None is not a probability"),
        ("attention_probs_dropout_prob", "0.1", "attention_probs_dropout_prob='0.1' is not a probability"),
        ("hidden_dropout_prob", True, "hidden_dropout_prob=True is not a probability"),
        ("hidden_dropout_prob", math.nan, "hidden_dropout_prob=nan is not a probability"),
        ("classifier_dropout", "none", "classifier_dropout='none' is not a probability"),
        ("initializer_range", "y", "initializer_range='y' must be a number of at least 0"),
        ("initializer_range", -0.1, "initializer_range=-0.1 must be a number of at least 0"),
        ("initializer_range", math.nan, "initializer_range=nan must be a number"),
        ("layer_norm_eps", "1e-12", "layer_norm_eps='1e-12' must be a number of at least 0"),
        ("layer_norm_eps", None, "layer_norm_eps=None must be a number"),
        ("layer_norm_eps", False, "layer_norm_eps=False must be a number"),
        ("layer_norm_eps", math.inf, "layer_norm_eps=inf must be a number"),
        ("pad_token_id", 30522, "pad_token_id=30522 is not the id of a token; use 0 to 30521, or None"),
        ("pad_token_id", -1, "pad_token_id=-1 is not the id of a token"),
        ("pad_token_id", 1.0, "pad_token_id=1.0 is not the id of a token"),
        ("pad_token_id", True, "pad_token_id=True is not the id of a token"),
        ("hidden_act", ["gelu"], r"hidden_act=\['gelu'\] is not supported"),
        ("hidden_act", None, "hidden_act=None is not supported"),
        ("tie_word_embeddings", "no", "tie_word_embeddings='no' must be True or False"),
        ("num_labels", "three", "num_labels='three' must be a whole number from 1 to 1000000"),
        ("num_labels", 0, "num_labels=0 must be a whole number from 1"),
        ("num_labels", True, "num_labels=True must be a whole number from 1"),
        ("num_labels", 10**12, "num_labels=1000000000000 must be .*name more labels in id2label"),
        ("id2label", "good, bad", "id2label is str, expected a dictionary"),
        ("id2label", {"0": None, "1": "a"}, "id2label names the labels .*, expected distinct texts"),
        ("id2label", {"0": 1, "1": "1"}, "id2label names the labels .*, expected distinct texts"),
        ("classifier_pooling", ["cls"], r"classifier_pooling=\['cls'\] is neither"),
    ],
)
def test_a_file_with_a_wrong_value_is_refused_with_a_sentence(
    field: str, value: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        BertConfig.from_dict({**BertConfig().to_dict(), field: value})


def test_labels_without_names_are_numbered_as_in_transformers() -> None:
    values = {**BertConfig().to_dict(), "num_labels": 3}
    assert BertConfig.from_dict(values).id2label == transformers.BertConfig(**values).id2label
    named = {**values, "id2label": {"0": "bad", "1": "good", "2": "so so"}}
    assert BertConfig.from_dict(named).id2label == transformers.BertConfig(**named).id2label
    assert BertConfig.from_dict({**values, "num_labels": None}) == BertConfig()
    with pytest.raises(ValueError, match="num_labels=2, but id2label has 3 labels; correct one of them"):
        BertConfig.from_dict({**named, "num_labels": 2})


def test_a_model_without_padding_and_a_tied_flag_go_both_ways() -> None:
    config = BertConfig(pad_token_id=None, tie_word_embeddings=False, hidden_act="gelu_python")
    written = json.loads(json.dumps(config.to_dict()))
    assert (written["pad_token_id"], written["tie_word_embeddings"]) == (None, False)
    assert BertConfig.from_dict(written) == config
    assert "tie_word_embeddings" not in BertConfig().to_dict()
    assert not transformers.BertConfig(**written).tie_word_embeddings
