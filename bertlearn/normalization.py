"""Layer normalization and the residual connection around it (chapter 3).

Source: Ba et al. 2016, eq. 4; the post-LN order is Vaswani et al. 2017, §5.4, which BERT keeps.
Leaves out: RMSNorm and pre-LN, which chapter 3 builds and measures beside this one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-12) -> Tensor:
    """Normalize each token's features to mean 0 and variance 1, then scale and shift them.

    (x − mean) / √(variance + eps) · weight + bias, with the biased variance (divided by H, not H − 1).

    Args:
        x: floats (..., H).
        weight: scale, floats (H,).
        bias: shift, floats (H,).
        eps: added to the variance, inside the root.

    Returns:
        floats (..., H), of x's dtype.
    """
    return nn.functional.layer_norm(x, weight.shape, weight, bias, eps)


def add_and_norm(sublayer_output: Tensor, residual: Tensor, norm: nn.Module) -> Tensor:
    """Add a sublayer's output to what went into it, then normalize the sum: post-LN.

    Args:
        sublayer_output: floats (B, S, H), after the sublayer's dropout.
        residual: floats (B, S, H), the sublayer's input.
        norm: the LayerNorm of this sublayer.

    Returns:
        floats (B, S, H).
    """
    return norm(sublayer_output + residual)


class LayerNorm(nn.Module):
    """`layer_norm` with its two learned vectors (H,): `weight`, which starts at 1, and `bias`, at 0."""

    def __init__(self, hidden_size: int, eps: float = 1e-12) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize floats (..., H) over the last axis."""
        return layer_norm(x, self.weight, self.bias, self.eps)
