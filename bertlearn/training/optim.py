"""AdamW as BERT's own code sets it up, Muon beside it, and the learning rate of each step (chapters 4 and 8).

Source: Devlin et al. 2019, appendix A.2; warm-up, stable, decay: Hu et al. 2024 (MiniCPM), §4;
Muon: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bertlearn.training.options import TrainingOptions


def learning_rate_at(step: int, options: TrainingOptions) -> float:
    """Return the learning rate of a step, counted from 1: it rises linearly, may stay, then falls linearly.

    Both lines reach 0 just outside the run, one step before the first and one after the last.
    """
    warmup = round(options.warmup * options.steps)
    fall = warmup + round(options.stable * options.steps)  # the last step at the peak
    if step <= warmup:
        return options.learning_rate * step / warmup
    return options.learning_rate * min(1.0, (options.steps + 1 - step) / (options.steps + 1 - fall))


def check_trainable(model: nn.Module) -> None:
    """Check that updates can change a model's weights.

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


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon for some groups of parameters and AdamW for the others, used like one optimizer."""

    def __init__(self, muon: torch.optim.Muon, adamw: torch.optim.AdamW) -> None:
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self.parts = (muon, adamw)
        muon.state = adamw.state = self.state  # one dictionary for both, by parameter

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for part in self.parts:
            part.step()


_IN_LAYER = re.compile(r"\.\d+\.")  # the names of a stack's parameters have the number of the layer


def make_optimizer(
    model: nn.Module, options: TrainingOptions, multipliers: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """Return AdamW, fused, without decay on biases and LayerNorm (all parameters with one axis).

    With `options.optimizer` "muon", the matrices of the layers are Muon's, each by itself: queries, keys and
    values too, which are one matrix elsewhere. Embeddings and heads remain AdamW's, as its author advises.

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
    for_muon = {
        name: parameter
        for name, parameter in trained.items()
        if options.optimizer == "muon" and parameter.dim() == 2 and _IN_LAYER.search(name)
    }
    rest = {name: parameter for name, parameter in trained.items() if name not in for_muon}
    groups = _groups(rest, options, multipliers)
    betas = options.beta1, options.beta2
    adamw = torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=options.epsilon, fused=True)
    if not for_muon:
        return adamw
    groups = _groups(for_muon, options, multipliers)
    for group in groups:
        group["multiplier"] *= options.muon_learning_rate / options.learning_rate
    return MuonAndAdamW(torch.optim.Muon(groups, lr=0.0), adamw)


def _groups(
    trained: Mapping[str, nn.Parameter], options: TrainingOptions, multipliers: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return groups of parameters with the same multiplier and the same decay."""
    groups: list[dict[str, Any]] = []
    for multiplier in sorted({multipliers.get(name, 1.0) for name in trained}):
        own = [p for name, p in trained.items() if multipliers.get(name, 1.0) == multiplier]
        matrices, vectors = [p for p in own if p.dim() > 1], [p for p in own if p.dim() <= 1]
        groups += [
            {"params": matrices, "weight_decay": options.weight_decay, "multiplier": multiplier},
            {"params": vectors, "weight_decay": 0.0, "multiplier": multiplier},
        ]
    return groups
