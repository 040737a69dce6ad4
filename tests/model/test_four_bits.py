"""Four-bit blocks against a plain reference, and against the bytes that their definition gives."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from torch import Tensor

from bertlearn.model.four_bits import BLOCK, pack_blocks, unpack_blocks


def reference_unpack(block: bytes) -> list[float]:
    """Return the 32 weights of one block, number by number."""
    (scale,) = struct.unpack("<e", block[:2])
    low = [byte % 16 for byte in block[2:]]
    high = [byte // 16 for byte in block[2:]]
    return [scale * (number - 8) for number in low + high]


def test_unpacking_equals_the_reference() -> None:
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (50, 18), dtype=np.uint8)
    blocks[:, 1] &= 0x3F  # finite, positive scales
    expected = [number for block in blocks for number in reference_unpack(block.tobytes())]
    assert unpack_blocks(torch.from_numpy(blocks)).tolist() == expected


def test_a_block_by_hand() -> None:
    numbers = torch.arange(32).float() % 16 - 8  # -8 … 7, twice
    (block,) = pack_blocks(numbers * 0.5)
    assert block[:2].tolist() == list(struct.pack("<e", 0.5))
    assert block[2:].tolist() == [17 * n for n in range(16)], "the same number in both halves of a byte"
    assert unpack_blocks(block[None]).tolist() == (numbers * 0.5).tolist()


@pytest.mark.parametrize("scale", [1e-4, 1.0, 300.0])
def test_no_weight_moves_by_more_than_a_step(scale: float) -> None:
    weights = torch.randn(64, 96, generator=torch.Generator().manual_seed(0)) * scale
    error = (unpack_blocks(pack_blocks(weights)).view(-1, BLOCK) - weights.view(-1, BLOCK)).abs()
    steps = weights.view(-1, BLOCK).abs().amax(1) / 8
    assert (error.amax(1) <= steps * 1.01).all(), "one step, at the end opposite to the largest"
    assert error.mean() < 0.3 * steps.mean()


def test_packing_again_changes_nothing() -> None:
    weights = torch.randn(320, generator=torch.Generator().manual_seed(1))
    once = unpack_blocks(pack_blocks(weights))
    assert torch.allclose(unpack_blocks(pack_blocks(once)), once, rtol=1e-3)
    assert unpack_blocks(pack_blocks(torch.zeros(64))).tolist() == [0.0] * 64


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.zeros(33), "33 numbers, expected a multiple of 32"),
        (torch.zeros(0), "0 numbers"),
        (torch.zeros(32, dtype=torch.int8), "expected a tensor of floats"),
        (torch.full((32,), torch.inf), "not finite or too large"),
        (torch.full((32,), torch.nan), "not finite or too large"),
        (torch.full((32,), 1e6), "not finite or too large"),
    ],
)
def test_weights_that_cannot_be_packed_are_refused(weights: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack_blocks(weights)


@pytest.mark.parametrize("blocks", [torch.zeros(2, 18), torch.zeros(2, 17, dtype=torch.uint8), None])
def test_other_blocks_are_refused(blocks: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(blocks, 18\)"):
        unpack_blocks(blocks)
