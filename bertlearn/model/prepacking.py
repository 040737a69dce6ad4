"""Weight prepacking: weights in the layout of the CPU's matrix product, which gives the same numbers faster.

A matrix product works on tiles that fit the processor's registers and caches. Weights are stored row by row
and copied into tiles in every product. A model that is only used, not trained, can have this done once.
Source: Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication", §4.
Leaves out: training, whose weights change with every step, and GPUs, whose libraries do not need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

ONEDNN = torch.ops.mkldnn  # torch's operators on oneDNN, those that its compiler uses
PREPACK, PRODUCT = "_reorder_linear_weight", "_linear_pointwise"  # private; models run without them
BF16_IS_SUPPORTED = (
    "_is_mkldnn_bf16_supported"  # asks the processor; without AVX-512 most have no bf16 product
)


@contextmanager
def prepacked_weights(model: nn.Module) -> Iterator[None]:
    """Let every `nn.Linear` of a model compute with prepacked weights inside the block.

    This pays off for several dozen texts or more: prepacking takes about as long as ten short texts, and as
    much memory as the weights. With gradients, under autocast, on a GPU or without oneDNN the model runs as
    usual. The weights must not change inside the block.

    Args:
        model: on the CPU, in fp32, or in bf16 if the processor multiplies it; others run as usual.
    """
    prepacked = [
        module for module in model.modules() if type(module) is nn.Linear and _can_be_prepacked(module)
    ]
    try:
        for linear in prepacked:
            vars(linear)["forward"] = _prepacked_forward(linear)  # shadows the method; hooks still run
        yield
    finally:
        for linear in prepacked:
            vars(linear).pop("forward", None)


def _can_be_prepacked(linear: nn.Linear) -> bool:
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(ONEDNN, PREPACK)
        and hasattr(ONEDNN, PRODUCT)
        and linear.weight.device.type == "cpu"
        and _computes_in(linear.weight.dtype)
        and "forward" not in vars(linear)  # already prepacked
    )


def _computes_in(dtype: torch.dtype) -> bool:
    """Tell whether oneDNN multiplies matrices of this type on this processor."""
    if dtype == torch.bfloat16:
        return hasattr(ONEDNN, BF16_IS_SUPPORTED) and getattr(ONEDNN, BF16_IS_SUPPORTED)()
    return dtype == torch.float32


def _prepacked_forward(linear: nn.Linear) -> Callable[[Tensor], Tensor]:
    """Return a function that computes what `linear` does, (..., I) → (..., O), with prepacked weights."""
    multiply = getattr(ONEDNN, PRODUCT)
    weight, bias = getattr(ONEDNN, PREPACK)(linear.weight.detach()), linear.bias

    def forward(x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or x.dtype != weight.dtype:
            return nn.functional.linear(x, linear.weight, linear.bias)
        return multiply(x, weight, bias, "none", [], "")

    return forward
