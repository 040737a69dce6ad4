"""The checks of chapter 8 accept the library's functions and torch's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bertlearn.course.checks import modern as check
from bertlearn.course.exercise import Exercise
from bertlearn.model import modern
from bertlearn.model.bert import fused_attention
from bertlearn.model.config import ModernConfig
from bertlearn.training.optim import learning_rate_at
from bertlearn.training.options import TrainingOptions


def layer_of(hidden: int, inner: int, **switches: object) -> modern.ModernLayer:
    """Return a layer of the library, without dropout."""
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_attention_heads": 1}
    return modern.ModernLayer(ModernConfig(**sizes, **switches), 1).eval()


@torch.no_grad()
def geglu(x: Tensor, up: Tensor, gate: Tensor, down: Tensor) -> Tensor:
    layer = layer_of(x.shape[-1], len(up), gated=True, bias=False)
    for linear, weight in ((layer.up, up), (layer.gate, gate), (layer.down, down)):
        linear.weight.copy_(weight)
    return layer.feed_forward(x)


def rotate(x: Tensor, position_ids: Tensor, theta: float = 10_000.0) -> Tensor:
    return modern.rotate(x, modern.rotation(position_ids, x.shape[-1], theta))


def attend_rotary(query: Tensor, key: Tensor, value: Tensor, position_ids: Tensor) -> Tensor:
    return fused_attention(rotate(query, position_ids), rotate(key, position_ids), value)


def pre_norm_layer(
    x: Tensor, attention: Callable, feed_forward: Callable, attention_norm: Callable, mlp_norm: Callable
) -> Tensor:
    layer = layer_of(4, 8, pre_norm=True)
    layer.attend = lambda x, *_: (attention(x), None)
    layer.feed_forward = feed_forward
    del layer.attention_norm, layer.mlp_norm
    layer.attention_norm, layer.mlp_norm = attention_norm, mlp_norm
    return layer(x, modern.Surroundings(None, None, None))[0]


def learning_rate(step: int, steps: int, warmup: int, stable: int, peak: float) -> float:
    options = TrainingOptions(steps=steps, warmup=warmup / steps, stable=stable / steps, learning_rate=peak)
    return learning_rate_at(step, options)


def orthogonalize(gradient: Tensor, iterations: int = 5) -> Tensor:
    """Do what one step of torch's Muon does, in fp32, whose own is bf16: only its steps are compared."""
    from torch.optim import _muon

    as_it_is = gradient.double()
    wide = as_it_is.T if gradient.shape[0] > gradient.shape[1] else as_it_is
    wide = wide / wide.norm()
    a, b, c = _muon.DEFAULT_A, _muon.DEFAULT_B, _muon.DEFAULT_C
    for _ in range(iterations):
        left, values, right = torch.linalg.svd(wide, full_matrices=False)
        wide = left @ torch.diag(a * values + b * values**3 + c * values**5) @ right
    return (wide.T if gradient.shape[0] > gradient.shape[1] else wide).float()


RIGHT: dict[str, Callable] = {
    "rms_norm": lambda x, weight, eps=1e-5: torch.nn.functional.rms_norm(x, weight.shape, weight, eps),
    "geglu": geglu,
    "rotate": rotate,
    "attend_rotary": attend_rotary,
    "local_mask": lambda length, window: modern.local_mask(torch.arange(length)[None], window)[0, 0] == 0,
    "pre_norm_layer": pre_norm_layer,
    "without_padding": lambda x, mask: modern.without_padding(x, mask.bool()),
    "with_padding": lambda tokens, mask: modern.with_padding(tokens, mask.bool()),
    "learning_rate": learning_rate,
    "orthogonalize": orthogonalize,
}


def test_every_exercise_is_compared_with_the_library_or_with_torch() -> None:
    assert {name for name, value in vars(check).items() if isinstance(value, Exercise)} == RIGHT.keys()


@pytest.mark.parametrize("name", RIGHT)
def test_the_library_and_torch_agree_with_the_solution(name: str) -> None:
    result = replace(getattr(check, name), forbidden=())(RIGHT[name])  # the numbers alone
    assert result.ok, result


@pytest.mark.parametrize(
    ("exercise", "attempt", "mistake"),
    [
        (
            check.rms_norm,
            lambda x, weight, eps=1e-5: torch.nn.functional.layer_norm(x, weight.shape, weight, None, eps),
            "the mean subtracted, as in LayerNorm",
        ),
        (
            check.rotate,
            lambda x, p, theta=1e4: torch.view_as_real(
                torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
                * torch.polar(
                    torch.ones(()),
                    p[:, None, :, None] * theta ** (-torch.arange(x.shape[-1] // 2) * 2 / x.shape[-1]),
                )
            ).flatten(-2),
            "neighbors paired (2i, 2i + 1), not halves",
        ),
        (
            check.local_mask,
            lambda length, window: torch.ones(length, length).tril(window // 2 - 1).triu(1 - window // 2) > 0,
            "off by one: < in place of ≤",
        ),
        (
            check.attend_rotary,
            lambda q, k, v, p: fused_attention(rotate(q, p), rotate(k, p), rotate(v, p)),
            "values rotated as well",
        ),
    ],
)
def test_a_known_mistake_is_recognized_in_other_words(
    exercise: Exercise, attempt: Callable, mistake: str
) -> None:
    assert exercise(attempt).mistake == mistake
