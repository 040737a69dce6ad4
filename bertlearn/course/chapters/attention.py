"""What chapter 1's cells call: saturation, and a few plain helpers.

The ideas of the chapter are in its cells; here is only what would make those cells long.
Shape letters: B batch, S sequence, D features of a head, K keys, N queries.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bertlearn.course.figures import PALETTE, Picture, new_figure
from bertlearn.data import load_reviews
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


class Saturation(NamedTuple):
    """How sharp softmax has become over many queries."""

    largest: float  # the largest weight, mean
    derivative: float  # the size of the derivative of the weights by the scores, median


def saturation(scores: Tensor) -> Saturation:
    """Measure how sharp the weights of many queries are.

    Args:
        scores: floats (N, K), one row for each query.
    """
    probs = scores.softmax(dim=-1)
    jacobian = torch.diag_embed(probs) - probs[:, :, None] * probs[:, None, :]  # (N, K, K), section 12
    sizes = jacobian.norm(dim=(1, 2))
    return Saturation(probs.amax(dim=-1).mean().item(), sizes.median().item())


def plot_saturation(
    sizes: Sequence[int], plain: Sequence[Saturation], divided: Sequence[Saturation]
) -> Picture:
    """Draw both measures over d, without and with the division by √d.

    Args:
        sizes: the numbers of features.
        plain: what was measured for q · k at each size.
        divided: what was measured for q · k / √d at each size.
    """
    figure, (left, right) = new_figure(9.0, 3.4, columns=2)
    for name, curve, color, line in (("q · k", plain, 0, "-"), ("q · k / √d", divided, 1, "--")):
        style = {"color": PALETTE[color], "linestyle": line, "marker": "o", "markersize": 4, "label": name}
        left.plot(sizes, [row.largest for row in curve], **style)
        right.plot(sizes, [row.derivative for row in curve], **style)
    left.set(title="Largest of 32 weights (mean)", ylabel="weight", ylim=(0, 1), xscale="log")
    right.set(title="How strongly weights react to scores", ylabel="size of the derivative (median)")
    right.set(xscale="log", yscale="log")
    for axes in (left, right):
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xlabel("d, features of query and key")
        axes.minorticks_off()
        axes.legend(frameon=False)
    return Picture(figure, _saturation_alt(sizes, plain, divided))


def _saturation_alt(sizes: Sequence[int], plain: Sequence[Saturation], divided: Sequence[Saturation]) -> str:
    parts = [f"Two plots over d from {sizes[0]} to {sizes[-1]}."]
    for name, curve in (("Undivided", plain), ("Divided by √d", divided)):
        first, last = curve[0], curve[-1]
        parts.append(f"{name}, the largest weight goes from {first.largest:.2f} to {last.largest:.2f}")
        parts.append(f"and the derivative from {first.derivative:.2g} to {last.derivative:.1g}.")
    return " ".join(parts)


def reviews_of_length(tokenizer: WordPieceTokenizer, length: int, count: int) -> list[str]:
    """Return the first `count` reviews of exactly `length` tokens, so that a batch of them has no padding."""
    fitting = (text for text in load_reviews().sentences if len(tokenizer.encode(text).tokens) == length)
    return list(islice(fitting, count))


def source(function: Callable[..., Any]) -> str:
    """Return the source of a function without its docstring."""
    text = textwrap.dedent(inspect.getsource(function))
    [definition] = ast.parse(text).body
    lines = text.splitlines()
    if isinstance(definition, ast.FunctionDef) and ast.get_docstring(definition) is not None:
        del lines[definition.body[0].lineno - 1 : definition.body[0].end_lineno]
    return "\n".join(lines)


def compare_gradients(mine: Sequence[Tensor], autograd: Mapping[str, Tensor | None]) -> None:
    """Print for each gradient whether it equals autograd's exactly or up to rounding, and how far it is off.

    Raises:
        AssertionError: a gradient differs by more than rounding.
    """
    for gradient, (name, expected) in zip(mine, autograd.items(), strict=True):
        assert expected is not None, f"{name} has no gradient yet; call backward first"
        exact, close = torch.equal(gradient, expected), torch.allclose(gradient, expected, atol=1e-5)
        largest = (gradient - expected).abs().max()
        print(f"{name:3} exact: {exact!s:6} approximate: {close!s:6} largest difference: {largest:.0e}")
        assert close, f"{name} is off by {largest:.1e}"
