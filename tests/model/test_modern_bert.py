"""The modern BERT equals transformers' at both ends, on weights far from their initial values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import ModernBertConfig as ReferenceConfig
from transformers import ModernBertForMaskedLM as ReferenceMaskedLM
from transformers import ModernBertModel as ReferenceModel

from bertlearn import BertConfig, BertForMaskedLM, BertModel
from bertlearn.model.config import ModernConfig
from bertlearn.model.modern import ModernForMaskedLM, ModernModel, local_mask, rotate, rotation
from bertlearn.model.modern_files import format_of

V = 60
SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 24,
    "num_hidden_layers": 5,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "pad_token_id": 0,
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LENGTHS = (90, 40, 7)


def perturbed(model: nn.Module, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def batch() -> tuple[Tensor, Tensor]:
    """Return ids and mask of three texts, one of them longer than several windows."""
    ids = torch.randint(1, V, (3, 90), generator=torch.Generator().manual_seed(1))
    return ids, (torch.arange(90) < torch.tensor(LENGTHS)[:, None]).long()


def reference(**changes: Any) -> ReferenceConfig:
    no_ids = {f"{name}_token_id": None for name in ("bos", "eos", "cls", "sep")}
    return ReferenceConfig(**SIZES, local_attention=16, max_position_embeddings=128, **no_ids, **changes)


def largest_difference(found: Tensor, right: Tensor, mask: Tensor) -> float:
    return float((found - right)[mask.bool()].abs().max())


@pytest.mark.parametrize("unpadding", [False, True])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_modernbert_is_that_of_transformers(tmp_path: Path, unpadding: bool, attention: str) -> None:
    theirs = perturbed(ReferenceMaskedLM(reference()))
    theirs.set_attn_implementation(attention)
    theirs.save_pretrained(tmp_path)
    mine = ModernForMaskedLM.from_pretrained(tmp_path)
    mine.model.config = replace(mine.config, unpadding=unpadding)
    ids, mask = batch()
    right = theirs(ids, attention_mask=mask).logits
    assert right.std() > 0.3
    assert largest_difference(mine(ids, mask).prediction_logits, right, mask) < 1e-5
    alone = mine(ids[2:, :7]).prediction_logits  # without padding
    assert largest_difference(alone, right[2:, :7], torch.ones(1, 7)) < 1e-5


@torch.no_grad()
def test_modernbert_goes_back_to_transformers(tmp_path: Path) -> None:
    config = replace(
        ModernConfig.modernbert(**SIZES, local_attention=16, local_rope_theta=500.0), unpadding=False
    )
    mine, (ids, mask) = perturbed(ModernForMaskedLM(config)), batch()
    mine.save_pretrained(tmp_path / "head")
    theirs = ReferenceMaskedLM.from_pretrained(tmp_path / "head").eval()
    right = mine(ids, mask).prediction_logits
    assert largest_difference(theirs(ids, attention_mask=mask).logits, right, mask) < 1e-5
    mine.model.save_pretrained(tmp_path / "encoder")
    encoder = ReferenceModel.from_pretrained(tmp_path / "encoder").eval()
    states = mine.model(ids, mask).last_hidden_state
    assert largest_difference(encoder(ids, attention_mask=mask).last_hidden_state, states, mask) < 1e-5
    again = ModernModel.from_pretrained(tmp_path / "head")  # the encoder of a model with a head
    assert again.pooler is None
    assert largest_difference(again(ids, mask).last_hidden_state, states, mask) < 1e-5


@torch.no_grad()
def test_with_all_switches_off_it_is_bert(tmp_path: Path) -> None:
    bert, (ids, mask) = perturbed(BertForMaskedLM(BertConfig(**SIZES))), batch()
    segments = (torch.arange(90) > 30).long().expand(3, 90).contiguous()
    bert.save_pretrained(tmp_path)
    mine = ModernForMaskedLM.from_pretrained(tmp_path)
    right = bert(ids, mask, segments, output_attentions=True, output_hidden_states=True)
    found = mine(ids, mask, segments, output_attentions=True, output_hidden_states=True)
    torch.testing.assert_close(found.prediction_logits, right.prediction_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.hidden_states, right.hidden_states, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.attentions, right.attentions, rtol=0, atol=1e-5)
    mine.save_pretrained(tmp_path / "again")
    again = BertForMaskedLM.from_pretrained(tmp_path / "again")
    assert torch.equal(again(ids, mask).prediction_logits, bert(ids, mask).prediction_logits)


@torch.no_grad()
def test_the_pooler_comes_along(tmp_path: Path) -> None:
    bert, (ids, mask) = perturbed(BertModel(BertConfig(**SIZES))), batch()
    bert.save_pretrained(tmp_path)
    found = ModernModel.from_pretrained(tmp_path)(ids, mask).pooler_output
    torch.testing.assert_close(found, bert(ids, mask).pooler_output, rtol=0, atol=1e-5)


SWITCHES: dict[str, dict[str, Any]] = {
    "pre_norm": {"pre_norm": True},
    "bias": {"bias": False},
    "norm": {"norm": "rms"},
    "gated": {"gated": True},
    "rope": {"rope": True},
    "token_types": {"token_types": False},
    "local_attention": {"local_attention": 16},
}


@pytest.mark.parametrize("name", SWITCHES)
@torch.no_grad()
def test_each_switch_has_an_effect_and_keeps_it_through_a_folder(name: str, tmp_path: Path) -> None:
    ids, mask = batch()

    def outcome(config: ModernConfig) -> tuple[Any, Tensor]:
        torch.manual_seed(0)
        model = perturbed(ModernForMaskedLM(config))
        return model, model(ids, mask).prediction_logits

    _, plain = outcome(ModernConfig(**SIZES))
    model, switched = outcome(ModernConfig(**SIZES, **SWITCHES[name]))
    assert largest_difference(switched, plain, mask) > 0.01
    assert format_of(model.config) == "bertlearn_modern"
    model.save_pretrained(tmp_path)
    again = ModernForMaskedLM.from_pretrained(tmp_path)
    assert again.config == model.config
    assert torch.equal(again(ids, mask).prediction_logits, switched)
    encoder = ModernModel.from_pretrained(tmp_path)
    assert torch.equal(encoder(ids, mask)[0], model.model(ids, mask)[0])


@torch.no_grad()
def test_unpadding_changes_nothing_but_the_tokens_that_are_computed() -> None:
    ids, mask = batch()
    torch.manual_seed(0)
    model = perturbed(ModernModel(ModernConfig(**SIZES, rope=True, local_attention=16)))
    plain = model(ids, mask, output_hidden_states=True)
    rows: list[int] = []
    model.layers[2].up.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0].numel() // 24))
    model.config = replace(model.config, unpadding=True)
    without = model(ids, mask, output_hidden_states=True)
    assert rows == [sum(LENGTHS)]
    assert largest_difference(without.last_hidden_state, plain.last_hidden_state, mask) < 1e-5
    assert not without.last_hidden_state[mask == 0].any()
    assert largest_difference(without.hidden_states[2], plain.hidden_states[2], mask) < 1e-5


def test_gradients_are_the_same_without_padding() -> None:
    ids, mask = batch()
    labels = torch.where(mask.bool() & (ids % 3 == 0), ids, -100)
    gradients = []
    for unpadding in (False, True):
        torch.manual_seed(0)
        model = perturbed(ModernForMaskedLM(ModernConfig(**SIZES, **NO_DROPOUT, unpadding=unpadding)))
        loss = model(ids, mask, labels=labels).loss
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-6)


def test_scores_of_rotated_vectors_depend_on_the_distance_alone() -> None:
    query, key = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0))

    def score(i: int, j: int) -> Tensor:
        at = [rotation(torch.tensor([[position]]), 8, 10_000.0) for position in (i, j)]
        return (rotate(query, at[0]) * rotate(key, at[1])).sum()

    torch.testing.assert_close(score(3, 10), score(503, 510), rtol=0, atol=1e-4)
    assert abs(score(3, 10) - score(3, 11)) > 0.01
    assert abs(score(3, 10) - score(10, 3)) > 0.01
    torch.testing.assert_close(score(4, 4), (query * key).sum())


def test_a_window_reaches_half_its_size_to_each_side() -> None:
    mask = local_mask(torch.arange(12)[None], 6)
    visible = (mask[0, 0] == 0).int()
    assert visible[5].tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    assert visible[0].tolist() == [1] * 4 + [0] * 8


def test_every_third_layer_is_global() -> None:
    config = ModernConfig(**SIZES, local_attention=16)
    assert [config.is_local(layer) for layer in range(5)] == [False, True, True, False, True]
    assert not any(replace(config, local_attention=0).is_local(layer) for layer in range(5))


WRONG: dict[str, Callable[[], object]] = {
    "norm='batch' is neither": lambda: ModernConfig(norm="batch"),
    "a head has 3": lambda: ModernConfig(hidden_size=36, num_attention_heads=12, rope=True),
    "local_attention=7 must be an even": lambda: ModernConfig(local_attention=7),
    "global_attn_every_n_layers=0": lambda: ModernConfig(global_attn_every_n_layers=0),
    "token_type_ids holds a 1": lambda: ModernModel(ModernConfig(**SIZES, token_types=False))(
        torch.ones(1, 2, dtype=torch.int64), None, torch.ones(1, 2, dtype=torch.int64)
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_value_is_named(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WRONG[message]()


def test_other_variants_are_refused(tmp_path: Path) -> None:
    ReferenceMaskedLM(reference(mlp_bias=True)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="mlp_bias=true"):
        ModernForMaskedLM.from_pretrained(tmp_path)
    ReferenceMaskedLM(reference(layer_types=["full_attention"] * 5)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="layer_types="):
        ModernForMaskedLM.from_pretrained(tmp_path)


def test_missing_and_misshapen_tensors_are_all_named(tmp_path: Path) -> None:
    model = ModernForMaskedLM(ModernConfig(**SIZES, rope=True))
    model.save_pretrained(tmp_path)
    other = ModernForMaskedLM(ModernConfig(**SIZES, rope=True, gated=True))
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "config.json").replace(tmp_path / "config.json")
    with pytest.raises(ValueError, match=r"missing: model\.layers\.0\.gate\.weight"):
        ModernForMaskedLM.from_pretrained(tmp_path)
