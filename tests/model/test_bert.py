"""Parity with transformers on perturbed weights, the mistakes it must catch, and bad input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from conftest import largest, perturb, random_batch, twins
from torch import nn

from bertlearn.course.swap import use
from bertlearn.model import bert
from bertlearn.model.bert import BertModel, fused_attention, mean_pooling, scaled_dot_product_attention
from bertlearn.model.config import PRESETS, BertConfig

TOLERANCE = 1e-5


def parity(ours: BertModel, theirs: nn.Module, batch: dict[str, torch.Tensor]) -> float:
    """Return the largest difference over hidden states, pooler and, where they are given, attentions."""
    with torch.no_grad():
        expected = theirs(**batch, output_hidden_states=True, output_attentions=True)
        found = ours(**batch, output_hidden_states=True, output_attentions=True)
        fused = ours(**batch, output_hidden_states=True)
    pairs = [(found.pooler_output, expected.pooler_output), (fused.pooler_output, expected.pooler_output)]
    for states in (found.hidden_states, fused.hidden_states):
        pairs += zip(states, expected.hidden_states, strict=True)
    pairs += zip(found.attentions, expected.attentions, strict=bool(expected.attentions))
    return max(largest(one, other) for one, other in pairs)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "large"])
def test_every_preset_equals_transformers(preset: str) -> None:
    config = BertConfig.preset(preset, vocab_size=211, max_position_embeddings=64)
    ours, theirs = twins(config, seed=1)
    assert parity(ours, theirs, random_batch(config, batch=2, length=9)) < TOLERANCE


def test_large_equals_transformers_in_its_first_layers() -> None:
    config = BertConfig.preset("large", vocab_size=211, max_position_embeddings=64, num_hidden_layers=3)
    ours, theirs = twins(config, seed=1)
    assert parity(ours, theirs, random_batch(config, batch=2, length=9)) < TOLERANCE


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_masks_and_segments_equal_transformers(small_config: BertConfig, seed: int, kernel: str) -> None:
    ours, theirs = twins(small_config, seed, kernel)
    batch = random_batch(small_config, batch=5, length=32, seed=seed)
    with torch.no_grad():
        expected, found = theirs(**batch), ours(**batch)
        assert largest(found.last_hidden_state, expected.last_hidden_state) < TOLERANCE
        assert largest(found.pooler_output, expected.pooler_output) < TOLERANCE
        bare = ours(batch["input_ids"]).last_hidden_state
        assert largest(bare, theirs(batch["input_ids"]).last_hidden_state) < TOLERANCE
        batch["position_ids"] = batch["input_ids"] % 32
        moved = ours(**batch).last_hidden_state
        assert largest(moved, theirs(**batch).last_hidden_state) < TOLERANCE
        assert largest(moved, found.last_hidden_state) > 1e-2


def drop_query_bias(model: BertModel) -> None:
    for layer in model.encoder.layer:
        nn.init.zeros_(layer.attention.self.query.bias)


def swap_layer_norms(model: BertModel) -> None:
    for layer in model.encoder.layer:
        layer.attention.output.LayerNorm, layer.output.LayerNorm = (
            layer.output.LayerNorm,
            layer.attention.output.LayerNorm,
        )


def drop_segments(model: BertModel) -> None:
    nn.init.zeros_(model.embeddings.token_type_embeddings.weight)


@pytest.mark.parametrize("damage", [drop_query_bias, swap_layer_norms, drop_segments])
def test_parity_sees_wrong_weights(small_config: BertConfig, damage: Callable[[BertModel], None]) -> None:
    ours, theirs = twins(small_config)
    damage(ours)
    assert parity(ours, theirs, random_batch(small_config)) > 1e-4


WRONG_FUNCTIONS = {
    "tanh-GELU": {"gelu": lambda x: nn.functional.gelu(x, approximate="tanh")},
    "pre-LN": {"add_and_norm": lambda sublayer, residual, norm: residual + norm(sublayer)},
    "epsilon of 1e-5": {"layer_norm": lambda x, w, b, eps: nn.functional.layer_norm(x, w.shape, w, b, 1e-5)},
    "no root of d": {
        "scaled_dot_product_attention": lambda q, k, v, m: scaled_dot_product_attention(
            q * q.shape[-1] ** 0.5, k, v, m
        )
    },
    "no mask": {"scaled_dot_product_attention": lambda q, k, v, m: scaled_dot_product_attention(q, k, v)},
    "interleaved heads": {
        "split_heads": lambda x, heads: x.view(*x.shape[:2], -1, heads).permute(0, 3, 1, 2),
    },
}


@pytest.mark.parametrize("name", WRONG_FUNCTIONS)
def test_parity_sees_wrong_functions(small_config: BertConfig, name: str) -> None:
    ours, theirs = twins(small_config)
    batch = random_batch(small_config)
    if name == "epsilon of 1e-5":  # shows where a token's features vary little
        with torch.no_grad():
            for model in (ours, theirs):
                for table in ("word", "position", "token_type"):
                    getattr(model.embeddings, f"{table}_embeddings").weight.mul_(0.05)
    assert parity(ours, theirs, batch) < TOLERANCE
    with use(**WRONG_FUNCTIONS[name]):
        assert parity(ours, theirs, batch) > 1e-4


def test_plain_initialization_hides_the_same_mistakes(small_config: BertConfig) -> None:
    """Why every parity test perturbs: without it a missing bias or swapped LayerNorms cost nothing."""
    torch.manual_seed(0)
    ours, batch = BertModel(small_config).eval(), random_batch(small_config)
    with torch.no_grad():
        before = ours(**batch).last_hidden_state
        drop_query_bias(ours)
        swap_layer_norms(ours)
        assert largest(ours(**batch).last_hidden_state, before) == 0.0


def test_fused_and_written_out_attention_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 9, 8, generator=generator)
    mask = bert.additive_mask(torch.tensor([[1] * 9, [1] * 4 + [0] * 5]))
    written = scaled_dot_product_attention(query, key, value, mask)
    assert largest(written.context, fused_attention(query, key, value, mask)) < 1e-6
    assert largest(written.probs.sum(-1), torch.ones(2, 4, 9)) < 1e-6
    assert written.probs[1, :, :, 4:].abs().max() == 0


def test_a_fully_masked_row_gives_an_even_spread_and_no_nan() -> None:
    query = torch.randn(1, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    mask = bert.additive_mask(torch.zeros(1, 3))
    context, probs = scaled_dot_product_attention(query, query, query, mask)
    assert largest(probs, torch.full((1, 1, 3, 3), 1 / 3)) < 1e-6
    assert largest(fused_attention(query, query, query, mask), context) < 1e-6


def test_dropout_only_in_training(small_config: BertConfig) -> None:
    torch.manual_seed(0)
    model, batch = BertModel(small_config), random_batch(small_config)
    first, second = (model.train()(**batch).last_hidden_state for _ in range(2))
    assert largest(first, second) > 0.01
    first, second = (model.eval()(**batch).last_hidden_state for _ in range(2))
    assert largest(first, second) == 0


def test_dropped_attention_keeps_its_mean() -> None:
    torch.manual_seed(0)
    query = torch.zeros(400, 1, 20, 4)
    probs = scaled_dot_product_attention(query, query, query, dropout_p=0.25).probs
    assert abs((probs == 0).float().mean().item() - 0.25) < 0.005
    assert abs(probs.mean().item() - 1 / 20) < 0.0005


def test_outputs_come_only_when_asked_for(small_config: BertConfig) -> None:
    model, batch = BertModel(small_config).eval(), random_batch(small_config)
    output = model(**batch)
    assert output.attentions is None
    assert output.hidden_states is None
    full = model(**batch, output_attentions=True, output_hidden_states=True)
    assert len(full.attentions) == 2
    assert len(full.hidden_states) == 3
    assert full.hidden_states[-1] is full.last_hidden_state


def test_padding_changes_no_other_token(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    ids = torch.arange(1, 8)[None]
    padded = torch.cat([ids, torch.full((1, 5), 99)], dim=1)
    mask = torch.tensor([[1] * 7 + [0] * 5])
    with torch.no_grad():
        alone, beside = ours(ids).last_hidden_state, ours(padded, mask).last_hidden_state[:, :7]
    assert largest(alone, beside) < 1e-6


def test_gradients_reach_every_parameter(small_config: BertConfig) -> None:
    model = BertModel(small_config)
    output = model(**random_batch(small_config))
    (output.last_hidden_state.square().sum() + output.pooler_output.sum()).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # Softmax does not see a shift common to all keys, so the key bias never has a gradient but rounding.
    assert [name for name in silent if not name.endswith("key.bias")] == []


def test_mean_pooling_leaves_padding_out() -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]]])
    assert mean_pooling(states, torch.tensor([[1, 1, 0]])).tolist() == [[2.0, 4.0]]


def test_initialization_follows_the_config() -> None:
    torch.manual_seed(0)
    config = BertConfig.preset("mini", vocab_size=3000, initializer_range=0.05)
    model = BertModel(config)
    assert abs(model.embeddings.word_embeddings.weight.std().item() - 0.05) < 0.001
    assert abs(model.encoder.layer[0].output.dense.weight.std().item() - 0.05) < 0.001
    assert model.embeddings.word_embeddings.weight[0].abs().max() == 0
    assert model.encoder.layer[0].output.dense.bias.abs().max() == 0


def test_bfloat16_runs_and_stays_close(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    batch = random_batch(small_config)
    with torch.no_grad():
        exact = ours(**batch).last_hidden_state
        rough = ours.to(torch.bfloat16)(**batch).last_hidden_state.float()
    assert largest(exact, rough) < 0.25


BAD_INPUTS = {
    "id too large": (dict(input_ids=torch.tensor([[1, 101]])), "input_ids holds 101, expected 0 to 100"),
    "id negative": (dict(input_ids=torch.tensor([[-3, 1]])), "input_ids holds -3"),
    "too long": (dict(input_ids=torch.ones(1, 33, dtype=torch.long)), "33 tokens.*max_length=32"),
    "floats": (dict(input_ids=torch.ones(1, 3)), r"dtype torch.float32, expected torch.int64.*\.long\(\)"),
    "one axis": (dict(input_ids=torch.tensor([1, 2])), r"shape \(2,\), expected \(B, S\).*\[None\]"),
    "no tokens": (dict(input_ids=torch.ones(1, 0, dtype=torch.long)), "at least one token"),
    "None": (dict(input_ids=None), "input_ids is NoneType, expected a tensor"),
    "a whole batch": (dict(input_ids=(torch.ones(1, 2), None)), r"unpack it: model\(\*\*batch._asdict\(\)\)"),
    "a list": (dict(input_ids=[1, 2]), "input_ids is list"),
    "mask all zero": (
        dict(input_ids=torch.tensor([[1, 2], [1, 2]]), attention_mask=torch.tensor([[1, 1], [0, 0]])),
        "attention_mask is all 0 in row 1",
    ),
    "mask of another shape": (
        dict(input_ids=torch.tensor([[1, 2]]), attention_mask=torch.ones(1, 3)),
        r"attention_mask has shape \(1, 3\), expected that of input_ids, \(1, 2\)",
    ),
    "mask already additive": (
        dict(input_ids=torch.tensor([[1, 2]]), attention_mask=torch.tensor([[0.0, -1e9]])),
        "holds values other than 1 = keep and 0 = padding",
    ),
    "mask is a list": (
        dict(input_ids=torch.tensor([[1, 2]]), attention_mask=[[1, 1]]),
        "attention_mask is list",
    ),
    "segment 2": (
        dict(input_ids=torch.tensor([[1, 2]]), token_type_ids=torch.tensor([[0, 2]])),
        "token_type_ids holds 2, expected 0 to 1",
    ),
    "segments of another shape": (
        dict(input_ids=torch.tensor([[1, 2]]), token_type_ids=torch.tensor([[0]])),
        r"token_type_ids has shape \(1, 1\)",
    ),
    "position 32": (
        dict(input_ids=torch.tensor([[1, 2]]), position_ids=torch.tensor([[0, 32]])),
        "position_ids holds 32, expected 0 to 31",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_named(small_config: BertConfig, name: str) -> None:
    arguments, message = BAD_INPUTS[name]
    with pytest.raises(ValueError, match=message):
        BertModel(small_config)(**arguments)


def test_attention_modules_equal_transformers_names(small_config: BertConfig) -> None:
    ours, theirs = twins(small_config)
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_layer_norm_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0, 6.0]])  # mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5
    found = bert.layer_norm(x, torch.full((4,), 2.0), torch.ones(4), eps=0.5)  # root of 4 is 2
    assert largest(found, torch.tensor([[-1.0, 0.0, 1.0, 4.0]])) < 1e-6


def test_gelu_is_the_exact_form() -> None:
    x = torch.linspace(-4, 4, 81)
    expected = 0.5 * x * (1 + torch.erf(x / 2**0.5))
    assert largest(bert.gelu(x), expected) < 1e-6


def test_perturbing_is_seeded(small_config: BertConfig) -> None:
    one, other = (BertModel(small_config) for _ in range(2))
    other.load_state_dict(one.state_dict())
    perturb(one, seed=3)
    perturb(other, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
