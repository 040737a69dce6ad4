"""The checks of chapter 1: softmax, masks, attention, heads, and two backward passes.

Each exercise holds the right answer and the mistakes that people make, as functions that make them.
Source of the formulas: Vaswani et al. 2017, §3.2; the gradients follow by the chain rule.
Shape letters: B batch, S sequence, H hidden, A heads, D = H / A.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bertlearn.attention import additive_mask as _right_mask
from bertlearn.attention import merge_heads as _right_merge
from bertlearn.attention import split_heads as _right_split
from bertlearn.checks.core import Exercise, Wrong

Mask = Tensor | None
Pair = tuple[Tensor, Tensor]
Triple = tuple[Tensor, Tensor, Tensor]


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- softmax ---------------------------------------------------------------------------------------------


def _softmax(x: Tensor) -> Tensor:
    return x.softmax(dim=-1)


def _softmax_first_axis(x: Tensor) -> Tensor:
    return x.softmax(dim=0)


def _softmax_first_axis_unsafe(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum(dim=0)


def _softmax_of_everything(x: Tensor) -> Tensor:
    return x.flatten().softmax(dim=0).view(x.shape)


def _softmax_of_everything_unsafe(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum()


def _softmax_unsafe(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum(dim=-1, keepdim=True)


def _softmax_one_maximum_for_all(x: Tensor) -> Tensor:
    powers = (x - x.max()).exp()
    return powers / powers.sum(dim=-1, keepdim=True)


def _softmax_keepdim_forgotten(x: Tensor) -> Tensor:
    powers = (x - x.max(dim=-1, keepdim=True).values).exp()
    return powers / powers.sum(dim=-1)


def _softmax_divided_by_maximum(x: Tensor) -> Tensor:
    powers = (x - x.max(dim=-1, keepdim=True).values).exp()
    return powers / powers.max(dim=-1, keepdim=True).values


def _softmax_without_exp(x: Tensor) -> Tensor:
    return x / x.sum(dim=-1, keepdim=True)


def _log_softmax(x: Tensor) -> Tensor:
    return x.log_softmax(dim=-1)


softmax = Exercise(
    name="softmax",
    reference=_softmax,
    cases={
        "three scores": (torch.tensor([2.0, 1.0, -1.0]),),
        "2 by 3 scores": (_normal(2, 3, seed=1),),
        "3 by 3 scores": (_normal(3, 3, seed=2),),
        "a batch of heads": (_normal(2, 2, 3, 3, seed=3),),
        "scores near 1000": (torch.tensor([1000.0, 1001.0, 999.0]),),
        "rows near 1000 and near 0": (torch.tensor([[1000.0, 999.0], [1.0, 0.5]]),),
        "one large score among zeros": (
            torch.tensor([[1000.0, 0.0, 0.0], [0.0, 0.0, 1000.0], [0.0, 1000.0, 0.0]]),
        ),
    },
    wrong={
        "softmax over the wrong axis": Wrong(
            _softmax_first_axis, "Which sums come out as 1, those of the rows or those of the columns?"
        ),
        "the logarithm of softmax": Wrong(
            _log_softmax, "Can a weight be negative? Which function undoes a logarithm?"
        ),
        "softmax over the wrong axis, and no maximum subtracted": Wrong(
            _softmax_first_axis_unsafe,
            "Which sums come out as 1, those of the rows or those of the columns? And what is exp(1000)?",
        ),
        "one softmax over all numbers": Wrong(
            _softmax_of_everything,
            "Each query has a weight of 1 to share out. What do your rows sum to?",
        ),
        "one softmax over all numbers, and no maximum subtracted": Wrong(
            _softmax_of_everything_unsafe,
            "Each query has a weight of 1 to share out. What do your rows sum to? And what is exp(1000)?",
        ),
        "no maximum subtracted": Wrong(
            _softmax_unsafe, "What is exp(1000) in float32, and what is that number divided by itself?"
        ),
        "one maximum for all rows": Wrong(
            _softmax_one_maximum_for_all,
            "A row near 0 loses 1000 because another row is large. What is exp(-1000), and the row's sum?",
        ),
        "keepdim forgotten": Wrong(
            _softmax_keepdim_forgotten,
            "What is the shape of your sum? Against which axis does torch line it up when you divide?",
        ),
        "divided by the maximum": Wrong(
            _softmax_divided_by_maximum,
            "Your largest weight is always 1. What do the weights of a row sum to?",
        ),
        "no exponential": Wrong(
            _softmax_without_exp, "What does your function give for a negative score? Can a weight be that?"
        ),
    },
    hints=(
        "Three steps: make every score positive, add up each row, divide each row by its sum.",
        "The rows lie along the last axis, dim=-1, however many axes come before it. "
        "keepdim=True keeps that axis, with length 1, so that the division lines up.",
        "Adding the same number to every score of a row changes nothing. "
        "Which number makes the largest score of the row 0?",
    ),
)


# --- the mask --------------------------------------------------------------------------------------------


def _mask_inverted(attention_mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    return _right_mask(attention_mask == 0, dtype)


def _mask_infinite(attention_mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    masked = attention_mask[:, None, None, :] == 0
    return torch.zeros(masked.shape, dtype=dtype).masked_fill(masked, -math.inf)


def _mask_one_number_for_every_dtype(attention_mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    masked = attention_mask[:, None, None, :] == 0
    return torch.zeros(masked.shape, dtype=dtype).masked_fill(masked, -1e9)


def _mask_multiplied(attention_mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    return (1 - attention_mask[:, None, None, :].to(dtype)) * -1e9


def _mask_not_converted(attention_mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    return attention_mask[:, None, None, :].to(dtype)


def _mask_on_queries(attention_mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    return _right_mask(attention_mask, dtype).transpose(-1, -2)


def _mask_without_axes(attention_mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    return _right_mask(attention_mask, dtype)[:, 0, 0]


def _mask_of_one_dtype(attention_mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    return _right_mask(attention_mask, torch.float32)


additive_mask = Exercise(
    name="additive_mask",
    reference=_right_mask,
    cases={
        "one sentence": (torch.tensor([[1, 1, 1]]),),
        "a padded batch": (torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),),
        "booleans": (torch.tensor([[True, True, False], [True, False, False]]),),
        "half precision": (torch.tensor([[1, 1, 0]]), torch.float16),
    },
    wrong={
        "the meaning inverted": Wrong(
            _mask_inverted, "In the batch, does 1 stand for a word or for padding? Which of them gets your 0?"
        ),
        "−∞ for the masked keys": Wrong(
            _mask_infinite,
            "What is the softmax of a row in which every score is −∞? Subtract the maximum, step by step.",
        ),
        "−1e9 whatever the dtype": Wrong(
            _mask_one_number_for_every_dtype,
            "What is the most negative number that float16 can hold? Let torch.finfo tell you.",
        ),
        "(1 − mask) times −1e9": Wrong(
            _mask_multiplied,
            "What does −1e9 become in float16? The dtype's own limit, from torch.finfo, fits every dtype.",
        ),
        "1 and 0 added to the scores": Wrong(
            _mask_not_converted,
            "You add 1 to a word's score and 0 to that of padding. What factor does exp make of that 1?",
        ),
        "queries masked, not keys": Wrong(
            _mask_on_queries,
            "Scores are (B, A, query, key). Which of the two last axes should your mask run along?",
        ),
        "shape (B, S)": Wrong(
            _mask_without_axes,
            "Lay (B, S) against (B, A, S, S) from the right: which axis of the scores would your B meet?",
        ),
        "float32 whatever the dtype": Wrong(
            _mask_of_one_dtype,
            "Which dtype would float16 scores have after your mask was added? Use the argument.",
        ),
    },
    hints=(
        "Start from zeros of shape (B, 1, 1, S) and put the large negative number where the mask is 0.",
        "attention_mask[:, None, None, :] has the shape; == 0 makes it boolean; masked_fill fills.",
        "The number is torch.finfo(dtype).min, and the zeros have that dtype too.",
    ),
)


# --- attention -------------------------------------------------------------------------------------------


def _scores(query: Tensor, key: Tensor, attention_mask: Tensor | None, divisor: float) -> Tensor:
    scores = query @ key.transpose(-1, -2) / divisor
    return scores if attention_mask is None else scores + attention_mask


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    divisor: float | None = None,
    dim: int = -1,
) -> Pair:
    divisor = math.sqrt(query.shape[-1]) if divisor is None else divisor
    probs = _scores(query, key, attention_mask, divisor).softmax(dim=dim)
    return probs @ value, probs


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    return _attend(q, k, v, mask)


def _attention_unscaled(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    return _attend(q, k, v, mask, divisor=1.0)


def _attention_over_d(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    return _attend(q, k, v, mask, divisor=q.shape[-1])


def _attention_times_root(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    return _attend(q, k, v, mask, divisor=q.shape[-1] ** -0.5)


def _attention_root_of_length(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    return _attend(q, k, v, mask, divisor=math.sqrt(q.shape[-2]))


def _attention_root_of_hidden(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    return _attend(q, k, v, mask, divisor=math.sqrt(q.shape[-1] * q.shape[1]))


def _attention_over_queries(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    return _attend(q, k, v, mask, dim=-2)


def _attention_over_heads(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    return _attend(q, k, v, mask, dim=1)


def _attention_swapped(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    return _attend(k, q, v, mask)


def _attention_mask_ignored(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    return _attend(q, k, v, None)


def _attention_mask_added_after(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    _, probs = _attend(q, k, v, None)
    probs = probs if mask is None else probs + mask
    return probs @ v, probs


def _attention_zeroed_after(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    _, probs = _attend(q, k, v, None)
    probs = probs if mask is None else probs.masked_fill(mask < 0, 0.0)
    return probs @ v, probs


def _attention_mask_multiplied(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    scores = _scores(q, k, None, math.sqrt(q.shape[-1]))
    probs = (scores if mask is None else scores * mask).softmax(dim=-1)
    return probs @ v, probs


def _attention_infinite_mask(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    if mask is not None:
        mask = mask.masked_fill(mask < 0, -math.inf)
    return _attend(q, k, v, mask)


def _attention_scores_returned(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    context, _ = _attend(q, k, v, mask)
    return context, _scores(q, k, mask, math.sqrt(q.shape[-1]))


def _attention_order_swapped(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Pair:
    context, probs = _attend(q, k, v, mask)
    return probs, context


def _three(*shape: int, seed: int) -> Triple:
    return _normal(*shape, seed=seed), _normal(*shape, seed=seed + 1), _normal(*shape, seed=seed + 2)


scaled_dot_product_attention = Exercise(
    name="scaled_dot_product_attention",
    reference=_attention,
    cases={
        "one head": _three(1, 1, 3, 4, seed=10),
        "a batch of three heads": _three(2, 3, 5, 4, seed=20),
        "a padded batch": (
            *_three(2, 2, 4, 3, seed=30),
            _right_mask(torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])),
        ),
        "a row with nothing to see": (
            *_three(1, 1, 2, 4, seed=40),
            _right_mask(torch.tensor([[0, 0]])),
        ),
    },
    wrong={
        "√d missing": Wrong(
            _attention_unscaled, "How does the variance of q · k grow with d? What do you divide by?"
        ),
        "divided by d instead of √d": Wrong(
            _attention_over_d,
            "The variance of q · k is d. By what must a number be divided for its variance to shrink by d?",
        ),
        "multiplied by √d": Wrong(
            _attention_times_root,
            "Are your scores larger or smaller than q · k? Which of them saturates softmax?",
        ),
        "√ of the sequence length": Wrong(
            _attention_root_of_length,
            "Over how many products does one q · k sum? Is that the number of words?",
        ),
        "√ of the hidden size": Wrong(
            _attention_root_of_hidden,
            "Over how many features does the q · k of one head sum: all H, or H / A?",
        ),
        "mask left out": Wrong(
            _attention_mask_ignored,
            "How much weight do your probs give to the padding of the second sentence?",
        ),
        "mask added after the softmax": Wrong(
            _attention_mask_added_after, "Are your probs still probabilities? What do their rows sum to?"
        ),
        "masked after the softmax": Wrong(
            _attention_zeroed_after, "Padding has weight 0 now. But what do the rows with padding sum to?"
        ),
        "mask multiplied with the scores": Wrong(
            _attention_mask_multiplied,
            "What does a score become where the mask is 0, a key that may be seen?",
        ),
        "−∞ in place of the mask's number": Wrong(
            _attention_infinite_mask, "What is the softmax of a row in which every score is −∞?"
        ),
        "softmax over the queries": Wrong(
            _attention_over_queries,
            "Scores are (query, key). Who shares out the weight of 1, a query or a key?",
        ),
        "softmax over the heads": Wrong(
            _attention_over_heads, "With one head all your probs are 1. Along which axis do they sum to 1?"
        ),
        "query and key swapped": Wrong(
            _attention_swapped,
            "Row i should hold what word i looks for. Whose rows does your product begin with?",
        ),
        "scores returned in place of probs": Wrong(
            _attention_scores_returned,
            "The context is right. Which of your two matrices sums to 1 in each row?",
        ),
        "probs and context in the other order": Wrong(
            _attention_order_swapped, "Both are right. Which of the two does the docstring name first?"
        ),
    },
    hints=(
        "Four lines: scores, mask, softmax, context. The softmax may be torch's own, .softmax(dim=-1).",
        "scores = query @ key.transpose(-1, -2), divided by the root of the size that the product sums over: "
        "query.shape[-1].",
        "If attention_mask is not None, add it to the scores before the softmax; its shape broadcasts.",
    ),
)


# --- heads -----------------------------------------------------------------------------------------------


def _split_by_view_alone(x: Tensor, num_attention_heads: int) -> Tensor:
    batch, length, hidden = x.shape
    return x.view(batch, num_attention_heads, length, hidden // num_attention_heads)


def _split_interleaved(x: Tensor, num_attention_heads: int) -> Tensor:
    batch, length, hidden = x.shape
    return x.view(batch, length, hidden // num_attention_heads, num_attention_heads).permute(0, 3, 1, 2)


def _split_not_transposed(x: Tensor, num_attention_heads: int) -> Tensor:
    return _right_split(x, num_attention_heads).transpose(1, 2)


def _split_sizes_swapped(x: Tensor, num_attention_heads: int) -> Tensor:
    return _right_split(x, x.shape[-1] // num_attention_heads)


def _split_heads_first(x: Tensor, num_attention_heads: int) -> Tensor:
    return _right_split(x, num_attention_heads).transpose(0, 1)


def _split_heads_last(x: Tensor, num_attention_heads: int) -> Tensor:
    return _right_split(x, num_attention_heads).transpose(-1, -2)


split_heads = Exercise(
    name="split_heads",
    reference=_right_split,
    cases={
        "two words in two heads": (torch.arange(8.0).view(1, 2, 4), 2),
        "three words in two heads": (torch.arange(24.0).view(1, 3, 8), 2),
        "a batch of three heads": (torch.arange(72.0).view(2, 4, 9), 3),
        "one head": (torch.arange(12.0).view(1, 3, 4), 1),
    },
    wrong={
        "view straight to (B, A, S, D)": Wrong(
            _split_by_view_alone,
            "Print head 0 of your result for x = torch.arange(8.0).view(1, 2, 4). Whose numbers are in it?",
        ),
        "heads interleaved": Wrong(
            _split_interleaved, "Does head 0 get the first D features of a word, or every A-th of them?"
        ),
        "tokens and heads not transposed": Wrong(
            _split_not_transposed,
            "Yours is (B, S, A, D). Which two axes will `@` take for the matrix? Should it be those?",
        ),
        "number and size of heads swapped": Wrong(
            _split_sizes_swapped,
            "With H = 8 and 2 heads, how many heads does yours have, and how wide are they?",
        ),
        "heads before the batch": Wrong(
            _split_heads_first, "Compare your first two axes with (B, A, S, D): which is which?"
        ),
        "tokens and features transposed": Wrong(
            _split_heads_last,
            "Yours is (B, A, D, S). Does a row of the last two axes hold one word's features?",
        ),
    },
    hints=(
        "Two steps: cut the last axis into two, then change the order of two axes.",
        "x.view(B, S, A, D) cuts each word's own features. Words and heads are then axes 1 and 2.",
        "view only relabels numbers in the order they lie in memory; transpose moves the heads forward.",
    ),
)


def _merge_by_view_alone(x: Tensor) -> Tensor:
    batch, heads, length, size = x.shape
    return x.reshape(batch, length, heads * size)


def _merge_interleaved(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(2)


def _merge_words_of_a_head(x: Tensor) -> Tensor:
    return x.flatten(2)


def _merge_view_after_transpose(x: Tensor) -> Tensor:
    batch, heads, length, size = x.shape
    return x.transpose(1, 2).view(batch, length, heads * size)


def _merge_wrong_axes(x: Tensor) -> Tensor:
    batch, heads, length, size = x.shape
    return x.transpose(-1, -2).reshape(batch, length, heads * size)


def _merge_by_mean(x: Tensor) -> Tensor:
    return x.mean(dim=1)


merge_heads = Exercise(
    name="merge_heads",
    reference=_right_merge,
    cases={
        "two words in two heads": (torch.arange(8.0).view(1, 2, 2, 2),),
        "three words in two heads": (torch.arange(24.0).view(1, 2, 3, 4),),
        "a batch of three heads": (torch.arange(72.0).view(2, 3, 4, 3),),
        "one head": (torch.arange(12.0).view(1, 1, 3, 4),),
    },
    wrong={
        "reshape without transpose": Wrong(
            _merge_by_view_alone,
            "Which words do the features of your first row come from? Try it on torch.arange(8.0).",
        ),
        "heads interleaved": Wrong(
            _merge_interleaved,
            "Do all features of head 0 come first in your row, or one feature of each head?",
        ),
        "words of one head side by side": Wrong(
            _merge_words_of_a_head,
            "Yours has one row for each head. How many rows should a sentence of S words have?",
        ),
        "view on a transposed tensor": Wrong(
            _merge_view_after_transpose,
            "view cannot reorder memory, and transpose left it in the old order. Which method copies?",
        ),
        "words and features transposed": Wrong(
            _merge_wrong_axes, "Which two axes did split_heads exchange? Exchange the same two back."
        ),
        "heads averaged": Wrong(
            _merge_by_mean, "How many features does each word have in yours, and how many did it have before?"
        ),
    },
    hints=(
        "Undo split_heads in the opposite order: first the axes, then the sizes.",
        "After transpose(1, 2) the tensor is (B, S, A, D): each word's heads lie side by side.",
        "reshape joins the last two axes, and copies where view would refuse.",
    ),
)


# --- backward --------------------------------------------------------------------------------------------


def _softmax_backward(probs: Tensor, grad_probs: Tensor) -> Tensor:
    return probs * (grad_probs - (probs * grad_probs).sum(dim=-1, keepdim=True))


def _softmax_backward_diagonal(probs: Tensor, grad_probs: Tensor) -> Tensor:
    return probs * (1 - probs) * grad_probs


def _softmax_backward_no_sum(probs: Tensor, grad_probs: Tensor) -> Tensor:
    return probs * grad_probs


def _softmax_backward_plain_sum(probs: Tensor, grad_probs: Tensor) -> Tensor:
    return probs * (grad_probs - grad_probs.sum(dim=-1, keepdim=True))


def _softmax_backward_mean(probs: Tensor, grad_probs: Tensor) -> Tensor:
    return probs * (grad_probs - grad_probs.mean(dim=-1, keepdim=True))


def _softmax_backward_column_sum(probs: Tensor, grad_probs: Tensor) -> Tensor:
    return probs * (grad_probs - (probs * grad_probs).sum(dim=-2, keepdim=True))


def _softmax_backward_total_sum(probs: Tensor, grad_probs: Tensor) -> Tensor:
    return probs * (grad_probs - (probs * grad_probs).sum())


def _softmax_backward_plus(probs: Tensor, grad_probs: Tensor) -> Tensor:
    return probs * (grad_probs + (probs * grad_probs).sum(dim=-1, keepdim=True))


def _softmax_backward_not_weighted(probs: Tensor, grad_probs: Tensor) -> Tensor:
    return grad_probs - (probs * grad_probs).sum(dim=-1, keepdim=True)


softmax_backward = Exercise(
    name="softmax_backward",
    reference=_softmax_backward,
    cases={
        "one row": (torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[1.0, 0.0, 0.0]])),
        "2 by 3 scores": (_normal(2, 3, seed=50).softmax(-1), _normal(2, 3, seed=51)),
        "a batch of heads": (_normal(2, 2, 3, 3, seed=52).softmax(-1), _normal(2, 2, 3, 3, seed=53)),
        "a masked key": (torch.tensor([[0.6, 0.4, 0.0]]), torch.tensor([[0.5, -1.0, 3.0]])),
    },
    wrong={
        "only the diagonal, p (1 − p)": Wrong(
            _softmax_backward_diagonal,
            "If one score rises, what do the other weights of its row do? Where is that in yours?",
        ),
        "the sum over the row is missing": Wrong(
            _softmax_backward_no_sum,
            "Adding 1 to all scores of a row changes no weight, so its gradient must sum to 0. Does yours?",
        ),
        "the sum is not weighted by probs": Wrong(
            _softmax_backward_plain_sum,
            "Entry (i, j) of the Jacobian holds −p_i p_j. Which of the two factors is missing in your sum?",
        ),
        "the mean subtracted": Wrong(
            _softmax_backward_mean,
            "Yours would be right if all weights were equal. Which average does a row of the Jacobian take?",
        ),
        "summed over the queries": Wrong(
            _softmax_backward_column_sum,
            "Each row is a softmax of its own. Along which axis do its keys lie?",
        ),
        "summed over everything": Wrong(
            _softmax_backward_total_sum,
            "Can the gradient of one row depend on another? Is keepdim=True in the sum?",
        ),
        "the sum added, not subtracted": Wrong(
            _softmax_backward_plus,
            "Which sign does −p_i p_j have? Does your gradient sum to 0 over each row?",
        ),
        "the outer factor probs is missing": Wrong(
            _softmax_backward_not_weighted,
            "What should be the gradient of a masked score, whose weight is 0?",
        ),
    },
    hints=(
        "Multiply the Jacobian diag(p) − p pᵀ by the vector g, on paper, without building the matrix.",
        "diag(p) g is p * g. And p pᵀ g = p (pᵀ g): a single number for each row, times p.",
        "That number is (probs * grad_probs).sum(dim=-1, keepdim=True); both terms share the factor probs.",
    ),
)


def _backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    probs: Tensor,
    grad_context: Tensor,
    through_softmax: Callable[[Tensor, Tensor], Tensor] = _softmax_backward,
) -> tuple[Tensor, Tensor]:
    """Return the gradient of the scaled scores, divided by √D, and that of the values."""
    grad_scores = through_softmax(probs, grad_context @ value.transpose(-1, -2))
    return grad_scores / math.sqrt(query.shape[-1]), probs.transpose(-1, -2) @ grad_context


def _attention_backward(q: Tensor, k: Tensor, v: Tensor, probs: Tensor, grad: Tensor) -> Triple:
    grad_products, grad_value = _backward(q, k, v, probs, grad)
    return grad_products @ k, grad_products.transpose(-1, -2) @ q, grad_value


def _attention_backward_unscaled(q: Tensor, k: Tensor, v: Tensor, probs: Tensor, grad: Tensor) -> Triple:
    root = math.sqrt(q.shape[-1])
    grad_query, grad_key, grad_value = _attention_backward(q, k, v, probs, grad)
    return grad_query * root, grad_key * root, grad_value


def _attention_backward_scaled_twice(q: Tensor, k: Tensor, v: Tensor, probs: Tensor, grad: Tensor) -> Triple:
    root = math.sqrt(q.shape[-1])
    grad_query, grad_key, grad_value = _attention_backward(q, k, v, probs, grad)
    return grad_query / root, grad_key / root, grad_value


def _attention_backward_all_scaled(q: Tensor, k: Tensor, v: Tensor, probs: Tensor, grad: Tensor) -> Triple:
    grad_query, grad_key, grad_value = _attention_backward(q, k, v, probs, grad)
    return grad_query, grad_key, grad_value / math.sqrt(q.shape[-1])


def _attention_backward_no_softmax(q: Tensor, k: Tensor, v: Tensor, probs: Tensor, grad: Tensor) -> Triple:
    grad_products, grad_value = _backward(q, k, v, probs, grad, lambda p, g: g)
    return grad_products @ k, grad_products.transpose(-1, -2) @ q, grad_value


def _attention_backward_diagonal(q: Tensor, k: Tensor, v: Tensor, probs: Tensor, grad: Tensor) -> Triple:
    grad_products, grad_value = _backward(q, k, v, probs, grad, _softmax_backward_diagonal)
    return grad_products @ k, grad_products.transpose(-1, -2) @ q, grad_value


def _attention_backward_swapped(q: Tensor, k: Tensor, v: Tensor, probs: Tensor, grad: Tensor) -> Triple:
    grad_query, grad_key, grad_value = _attention_backward(q, k, v, probs, grad)
    return grad_key, grad_query, grad_value


def _attention_backward_key_not_transposed(
    q: Tensor, k: Tensor, v: Tensor, probs: Tensor, grad: Tensor
) -> Triple:
    grad_products, grad_value = _backward(q, k, v, probs, grad)
    return grad_products @ k, grad_products @ q, grad_value


def _attention_backward_value_not_transposed(
    q: Tensor, k: Tensor, v: Tensor, probs: Tensor, grad: Tensor
) -> Triple:
    grad_query, grad_key, _ = _attention_backward(q, k, v, probs, grad)
    return grad_query, grad_key, probs @ grad


def _attention_backward_no_transposes(q: Tensor, k: Tensor, v: Tensor, probs: Tensor, grad: Tensor) -> Triple:
    grad_products, _ = _backward(q, k, v, probs, grad)
    return grad_products @ k, grad_products @ q, probs @ grad


def _backward_case(*shape: int, seed: int, attention_mask: Tensor | None = None) -> tuple[Tensor, ...]:
    query, key, value = _three(*shape, seed=seed)
    _, probs = _attend(query, key, value, attention_mask)
    return query, key, value, probs, _normal(*shape, seed=seed + 3)


attention_backward = Exercise(
    name="attention_backward",
    reference=_attention_backward,
    cases={
        "one head": _backward_case(1, 1, 3, 4, seed=60),
        "a batch of three heads": _backward_case(2, 3, 5, 4, seed=70),
        "a masked key": _backward_case(
            1, 2, 3, 2, seed=80, attention_mask=_right_mask(torch.tensor([[1, 1, 0]]))
        ),
    },
    wrong={
        "√d forgotten": Wrong(
            _attention_backward_unscaled,
            "The scores are Q Kᵀ / √d. What does that division do to the gradient?",
        ),
        "√d twice": Wrong(
            _attention_backward_scaled_twice, "In the forward pass, how often is each score divided by √d?"
        ),
        "√d in the gradient of the values too": Wrong(
            _attention_backward_all_scaled, "Does the value of a word ever pass through the division by √d?"
        ),
        "the softmax's backward left out": Wrong(
            _attention_backward_no_softmax,
            "Yours takes the gradient of the weights for that of the scores. What lies between the two?",
        ),
        "the softmax's backward with the diagonal only": Wrong(
            _attention_backward_diagonal,
            "Check softmax_backward alone first: does its gradient sum to 0 in each row?",
        ),
        "gradients of query and key swapped": Wrong(
            _attention_backward_swapped,
            "The gradient of one factor of Q Kᵀ is built from the other. Which did you return first?",
        ),
        "transpose forgotten in the key's gradient": Wrong(
            _attention_backward_key_not_transposed,
            "Key j appears in column j of the scores. Over which axis must its gradient sum?",
        ),
        "transpose forgotten in the value's gradient": Wrong(
            _attention_backward_value_not_transposed,
            "Value j is used by every query i with weight p_ij. Over which axis must its gradient sum?",
        ),
        "both transposes forgotten": Wrong(
            _attention_backward_no_transposes,
            "Keys and values belong to columns, queries to rows. Over which axis does each gradient sum?",
        ),
    },
    hints=(
        "Go backward through the forward pass, one line for each line of it: context, softmax, scores.",
        "For C = X Y the chain rule gives dX = dC Yᵀ and dY = Xᵀ dC. Begin with probs @ value.",
        "Divide the gradient of the scores by √d once; then dQ = dS K and dK = dSᵀ Q.",
    ),
)
