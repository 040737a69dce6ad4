"""AdamW as BERT's own code sets it up, and the learning rate of each step (chapter 4).

Source: Devlin et al. 2019, appendix A.2. Leaves out: schedules other than BERT's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bertlearn.training.options import TrainingOptions


def learning_rate_at(step: int, options: TrainingOptions) -> float:
    """Return the learning rate of a step, counted from 1: it rises linearly, then falls linearly.

    Both lines reach 0 just outside the run, one step before the first and one after the last.
    """
    warmup = round(options.warmup * options.steps)
    if step <= warmup:
        return options.learning_rate * step / warmup
    return options.learning_rate * (options.steps + 1 - step) / (options.steps + 1 - warmup)


def check_trainable(model: nn.Module) -> None:
    """Check that updates of AdamW can change a model's weights.

    Raises:
        ValueError: gradients are off, in this block or for all parameters; weights of fewer than 32 bits.
    """
    parameters = list(model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not torch.is_grad_enabled():
        raise ValueError(
            "torch.no_grad or torch.inference_mode is on, but training needs gradients; train outside of it"
        )
    if any(parameter.is_inference() for parameter in parameters):
        raise ValueError(
            "the model was made inside torch.inference_mode, so it has no gradients; make or load it outside"
        )
    if not trained:
        raise ValueError(
            f"all {len(parameters)} parameters are frozen, so there is nothing to train; use "
            "model.requires_grad_(True), or freeze fewer"
        )
    if small := [parameter.dtype for parameter in trained if parameter.itemsize < 4]:
        raise ValueError(
            f"the weights are {small[0]}, which most updates are too small to change; use model.float(), and "
            "precision='bf16' if matrix products should be computed in 16 bits"
        )


def make_optimizer(
    model: nn.Module, options: TrainingOptions, multipliers: Mapping[str, float] | None = None
) -> torch.optim.AdamW:
    """Return AdamW, fused, without decay on biases and LayerNorm (all parameters with one axis).

    Args:
        model: frozen parameters are left out.
        options: how to train.
        multipliers: of the learning rate, by parameter name, see `Task`; each group carries its own under
            "multiplier", for the code that sets the learning rate.

    Raises:
        ValueError: a multiplier for a parameter that the model does not have.
    """
    named, multipliers = dict(model.named_parameters()), multipliers or {}
    if unknown := sorted(multipliers.keys() - named.keys()):
        raise ValueError(
            f"multipliers name {unknown[0]!r}, which is not a parameter; see model.named_parameters()"
        )
    trained = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    groups: list[dict[str, Any]] = []
    for multiplier in sorted({multipliers.get(name, 1.0) for name in named}):
        own = [p for name, p in trained.items() if multipliers.get(name, 1.0) == multiplier]
        matrices, vectors = [p for p in own if p.dim() > 1], [p for p in own if p.dim() <= 1]
        groups += [
            {"params": matrices, "weight_decay": options.weight_decay, "multiplier": multiplier},
            {"params": vectors, "weight_decay": 0.0, "multiplier": multiplier},
        ]
    return torch.optim.AdamW(
        groups, lr=0.0, betas=(options.beta1, options.beta2), eps=options.epsilon, fused=True
    )
