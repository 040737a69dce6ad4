"""Weights laid out for the processor's matrix product: the same numbers, sooner.

A product of matrices works on tiles that fit the processor's registers and caches. As they come, weights lie
row by row and are brought into tiles anew in every product; a model that only answers can have that done
once. Source: Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication", §4.
Leaves out: training, whose weights change with every step, and GPUs, whose libraries need none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

ONEDNN = torch.ops.mkldnn  # torch's door to oneDNN, the one that its compiler uses
PACKABLE = (torch.float32, torch.bfloat16)


@contextmanager
def prepacked_weights(model: nn.Module) -> Iterator[None]:
    """Let every `nn.Linear` of a model compute with weights in oneDNN's own layout for a while.

    Worth its while from some dozens of texts on: packing takes about as long as ten short ones, and as much
    memory as the weights. Where gradients are wanted, in autocast, on a GPU or without oneDNN all is as it
    was. The weights may not change meanwhile.

    Args:
        model: on the CPU, in fp32 or bf16.
    """
    packed = [module for module in model.modules() if type(module) is nn.Linear and _can_be_packed(module)]
    try:
        for linear in packed:
            vars(linear)["forward"] = _packed_forward(linear)  # hides the method; hooks still run
        yield
    finally:
        for linear in packed:
            vars(linear).pop("forward", None)


def _can_be_packed(linear: nn.Linear) -> bool:
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(ONEDNN, "_reorder_linear_weight")
        and linear.weight.device.type == "cpu"
        and linear.weight.dtype in PACKABLE
        and "forward" not in vars(linear)  # packed already
    )


def _packed_forward(linear: nn.Linear) -> Callable[[Tensor], Tensor]:
    """Return what `linear` computes, floats (..., O) from floats (..., I), with its weights packed."""
    weight, bias = ONEDNN._reorder_linear_weight(linear.weight.detach()), linear.bias

    def forward(x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or x.dtype != weight.dtype:
            return nn.functional.linear(x, linear.weight, linear.bias)
        return ONEDNN._linear_pointwise(x, weight, bias, "none", [], "")

    return forward
