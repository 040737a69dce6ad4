"""The checks of chapter 1: softmax, masks, attention, heads, and two backward passes.

`from bertlearn.course.checks import attention as check`, then `check.softmax(softmax)`. The answers are in
`bertlearn.course.solutions.attention`; each known mistake is an edit of one of them.
Source of the formulas: Vaswani et al. 2017, §3.2; the gradients follow by the chain rule.
Shape letters: B batch, S sequence, H hidden, A heads, D = H / A.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bertlearn.course.edits import Edit
from bertlearn.course.exercise import Exercise, Wrong
from bertlearn.course.solutions import attention as solution


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _query_key_value(*shape: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return _randn(*shape, seed=seed), _randn(*shape, seed=seed + 1), _randn(*shape, seed=seed + 2)


def _mask(*rows: list[int]) -> Tensor:
    return solution.additive_mask(torch.tensor(rows))


# --- softmax ---------------------------------------------------------------------------------------------

_NO_MAXIMUM = ("(x - maximum).exp()", "x.exp()")
_SUM_OVER_ALL = ("powers.sum(dim=-1, keepdim=True)", "powers.sum()")

softmax = Exercise(
    solution.softmax,
    cases={
        "three scores": (torch.tensor([2.0, 1.0, -1.0]),),
        "2 by 3 scores": (_randn(2, 3, seed=1),),
        "3 by 3 scores": (_randn(3, 3, seed=2),),
        "a batch of heads": (_randn(2, 2, 3, 3, seed=3),),
        "scores near 1000": (torch.tensor([1000.0, 1001.0, 999.0]),),
        "rows near 1000 and near 0": (torch.tensor([[1000.0, 999.0], [1.0, 0.5]]),),
        "one large score among zeros": (1000 * torch.eye(3)[[0, 2, 1]],),
    },
    wrong={
        "softmax over the wrong axis": Wrong(
            "Which sums come out as 1, those of the rows or those of the columns?",
            ("x.max(dim=-1", "x.max(dim=0"),
            ("powers.sum(dim=-1", "powers.sum(dim=0"),
        ),
        "the logarithm of softmax": Wrong(
            "Can a weight be negative? Which function undoes a logarithm?",
            (
                "powers / powers.sum(dim=-1, keepdim=True)",
                "x - maximum - powers.sum(dim=-1, keepdim=True).log()",
            ),
        ),
        "softmax over the wrong axis, and no maximum subtracted": Wrong(
            "Which sums come out as 1, those of the rows or those of the columns? And what is exp(1000)?",
            ("powers.sum(dim=-1", "powers.sum(dim=0"),
            _NO_MAXIMUM,
        ),
        "one softmax over all numbers": Wrong(
            "Each query has a weight of 1 to share out. What do your rows sum to?",
            ("x.max(dim=-1, keepdim=True).values", "x.max()"),
            _SUM_OVER_ALL,
        ),
        "one softmax over all numbers, and no maximum subtracted": Wrong(
            "Each query has a weight of 1 to share out. What do your rows sum to? And what is exp(1000)?",
            _SUM_OVER_ALL,
            _NO_MAXIMUM,
        ),
        "no maximum subtracted": Wrong(
            "What is exp(1000) in float32, and what is that number divided by itself?", _NO_MAXIMUM
        ),
        "one maximum for all rows": Wrong(
            "A row near 0 loses 1000 because another row is large. What is exp(-1000), and the row's sum?",
            ("x.max(dim=-1, keepdim=True).values", "x.max()"),
        ),
        "keepdim forgotten": Wrong(
            "What is the shape of your sum? Against which axis does torch line it up when you divide?",
            ("powers.sum(dim=-1, keepdim=True)", "powers.sum(dim=-1)"),
        ),
        "divided by the maximum": Wrong(
            "Your largest weight is always 1. What do the weights of a row sum to?",
            ("powers.sum(dim=-1, keepdim=True)", "powers.amax(dim=-1, keepdim=True)"),
        ),
        "no exponential": Wrong(
            "What does your function give for a negative score? Can a weight be that?",
            ("(x - maximum).exp()", "x"),
        ),
    },
    hints=(
        "Three steps: make every score positive, add up each row, divide each row by its sum.",
        "The rows lie along the last axis, dim=-1, however many axes come before it. "
        "keepdim=True keeps that axis, with length 1, so that the division lines up.",
        "Adding the same number to every score of a row changes nothing. "
        "Which number makes the largest score of the row 0?",
    ),
    tolerance=1e-4,  # x − logsumexp(x) loses a digit near 1000, and is right
    forbidden=("softmax", "log_softmax", "softmin"),
)


# --- the mask --------------------------------------------------------------------------------------------

additive_mask = Exercise(
    solution.additive_mask,
    cases={
        "one sentence": (torch.tensor([[1, 1, 1]]),),
        "a padded batch": (torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),),
        "booleans": (torch.tensor([[True, True, False], [True, False, False]]),),
        "half precision": (torch.tensor([[1, 1, 0]]), torch.float16),
    },
    wrong={
        "the meaning inverted": Wrong(
            "In the batch, does 1 stand for a word or for padding? Which of them gets your 0?",
            ("== 0", "!= 0"),
        ),
        "−∞ for the masked keys": Wrong(
            "What is the softmax of a row in which every score is −∞? Subtract the maximum, step by step.",
            ("torch.finfo(dtype).min", "-torch.inf"),
        ),
        "−1e9 whatever the dtype": Wrong(
            "What is the most negative number that float16 can hold? Let torch.finfo tell you.",
            ("torch.finfo(dtype).min", "-1e9"),
        ),
        "(1 − mask) times −1e9": Wrong(
            "What does −1e9 become in float16? The dtype's own limit, from torch.finfo, fits every dtype.",
            ("zeros.masked_fill(masked, torch.finfo(dtype).min)", "masked.to(dtype) * -1e9"),
        ),
        "1 and 0 added to the scores": Wrong(
            "You add 1 to a word's score and 0 to that of padding. What factor does that 1 become after exp?",
            ("zeros.masked_fill(masked, torch.finfo(dtype).min)", "zeros.masked_fill(~masked, 1)"),
        ),
        "queries masked, not keys": Wrong(
            "Scores are (B, A, query, key). Which of the last two axes should your mask run along?",
            ("[:, None, None, :]", "[:, None, :, None]"),
        ),
        "shape (B, S)": Wrong(
            "Lay (B, S) against (B, A, S, S) from the right: which axis of the scores would your B meet?",
            ("[:, None, None, :]", ""),
        ),
        "float32 whatever the dtype": Wrong(
            "Which dtype would float16 scores have after your mask was added? Use the argument.",
            ("dtype=dtype", "dtype=torch.float32"),
            ("finfo(dtype)", "finfo(torch.float32)"),
        ),
    },
    hints=(
        "Start from zeros of shape (B, 1, 1, S) and put the large negative number where the mask is 0.",
        "attention_mask[:, None, None, :] has the shape; == 0 makes it boolean; masked_fill fills.",
        "The number is torch.finfo(dtype).min, and the zeros have that dtype too.",
    ),
)


# --- attention -------------------------------------------------------------------------------------------

_NOT_ADDED = ("scores = scores + attention_mask", "pass")

scaled_dot_product_attention = Exercise(
    solution.scaled_dot_product_attention,
    cases={
        "one head": _query_key_value(1, 1, 3, 4, seed=10),
        "a batch of three heads": _query_key_value(2, 3, 5, 4, seed=20),
        "a padded batch": (*_query_key_value(2, 2, 4, 3, seed=30), _mask([1, 1, 1, 1], [1, 1, 0, 0])),
        "a row with nothing to see": (*_query_key_value(1, 1, 2, 4, seed=40), _mask([0, 0])),
    },
    wrong={
        "√d missing": Wrong(
            "How does the variance of q · k grow with d? What do you divide by?",
            (" / math.sqrt(query.shape[-1])", ""),
        ),
        "divided by d instead of √d": Wrong(
            "The variance of q · k is d. By what must a number be divided for its variance to shrink d-fold?",
            ("math.sqrt(query.shape[-1])", "query.shape[-1]"),
        ),
        "multiplied by √d": Wrong(
            "Are your scores larger or smaller than q · k? Which of them saturates softmax?",
            ("/ math.sqrt", "* math.sqrt"),
        ),
        "√ of the sequence length": Wrong(
            "Over how many products does one q · k sum? Is that the number of words?",
            ("query.shape[-1]", "query.shape[-2]"),
        ),
        "√ of the hidden size": Wrong(
            "Over how many features does the q · k of one head sum: all H, or H / A?",
            ("query.shape[-1]", "query.shape[1] * query.shape[-1]"),
        ),
        "mask left out": Wrong(
            "How much weight do your probs give to the padding of the second sentence?", _NOT_ADDED
        ),
        "mask added after the softmax": Wrong(
            "Are your probs still probabilities? What do their rows sum to?",
            _NOT_ADDED,
            ("softmax(dim=-1)", "softmax(dim=-1) + (0 if attention_mask is None else attention_mask)"),
        ),
        "masked after the softmax": Wrong(
            "Padding has weight 0 now. But what do the rows with padding sum to?",
            _NOT_ADDED,
            ("softmax(dim=-1)", "softmax(dim=-1) * (1 if attention_mask is None else attention_mask == 0)"),
        ),
        "mask multiplied with the scores": Wrong(
            "What does a score become where the mask is 0, a key that may be seen?",
            ("scores + attention_mask", "scores * attention_mask"),
        ),
        "−∞ in place of the mask's number": Wrong(
            "What is the softmax of a row in which every score is −∞?",
            ("scores + attention_mask", "scores.masked_fill(attention_mask < 0, -torch.inf)"),
        ),
        "softmax over the queries": Wrong(
            "Scores are (query, key). Who shares out the weight of 1, a query or a key?",
            ("dim=-1", "dim=-2"),
        ),
        "softmax over the heads": Wrong(
            "With one head all your probs are 1. Along which axis do they sum to 1?", ("dim=-1", "dim=1")
        ),
        "query and key swapped": Wrong(
            "Row i should hold what word i looks for. Whose rows does your product begin with?",
            ("query @ key", "key @ query"),
        ),
        "scores returned in place of probs": Wrong(
            "The context is right. Which of your two matrices sums to 1 in each row?",
            ("return context, probs", "return context, scores"),
        ),
        "probs and context in the other order": Wrong(
            "Both are right. Which of the two does the docstring name first?",
            ("return context, probs", "return probs, context"),
        ),
    },
    hints=(
        "Four lines: scores, mask, softmax, context. The softmax may be torch's own, .softmax(dim=-1).",
        "scores = query @ key.transpose(-1, -2), divided by the root of the size that the product sums over: "
        "query.shape[-1].",
        "If attention_mask is not None, add it to the scores before the softmax; its shape broadcasts.",
    ),
    returns=("context", "probs"),
)


# --- heads -----------------------------------------------------------------------------------------------

split_heads = Exercise(
    solution.split_heads,
    cases={
        "two words in two heads": (torch.arange(8.0).view(1, 2, 4), 2),
        "three words in two heads": (torch.arange(24.0).view(1, 3, 8), 2),
        "a batch of three heads": (torch.arange(72.0).view(2, 4, 9), 3),
        "one head": (torch.arange(12.0).view(1, 3, 4), 1),
    },
    wrong={
        "view straight to (B, A, S, D)": Wrong(
            "Print head 0 of your result for x = torch.arange(8.0).view(1, 2, 4). Whose numbers are in it?",
            ("length, num_attention_heads, size", "num_attention_heads, length, size"),
            (".transpose(1, 2)", ""),
        ),
        "heads interleaved": Wrong(
            "Does head 0 get the first D features of a word, or every A-th of them?",
            ("num_attention_heads, size)", "size, num_attention_heads)"),
            ("transpose(1, 2)", "permute(0, 3, 1, 2)"),
        ),
        "tokens and heads not transposed": Wrong(
            "Yours is (B, S, A, D). Which two axes will `@` take for the matrix? Should it be those?",
            (".transpose(1, 2)", ""),
        ),
        "number and size of heads swapped": Wrong(
            "With H = 8 and 2 heads, how many heads does yours have, and how wide are they?",
            ("num_attention_heads, size)", "size, num_attention_heads)"),
        ),
        "heads before the batch": Wrong(
            "Compare your first two axes with (B, A, S, D): which is which?",
            ("transpose(1, 2)", "permute(2, 0, 1, 3)"),
        ),
        "tokens and features transposed": Wrong(
            "Yours is (B, A, D, S). Does a row of the last two axes hold one word's features?",
            ("transpose(1, 2)", "permute(0, 2, 3, 1)"),
        ),
    },
    hints=(
        "Two steps: cut the last axis into two, then change the order of two axes.",
        "x.view(B, S, A, D) cuts each word's own features. Words and heads are then axes 1 and 2.",
        "view only relabels numbers in the order they lie in memory; transpose moves the heads forward.",
    ),
)

_MERGED = "x.transpose(1, 2).reshape(batch, length, heads * size)"

merge_heads = Exercise(
    solution.merge_heads,
    cases={
        "two words in two heads": (torch.arange(8.0).view(1, 2, 2, 2),),
        "three words in two heads": (torch.arange(24.0).view(1, 2, 3, 4),),
        "a batch of three heads": (torch.arange(72.0).view(2, 3, 4, 3),),
        "one head": (torch.arange(12.0).view(1, 1, 3, 4),),
    },
    wrong={
        "reshape without transpose": Wrong(
            "Which words do the features of your first row come from? Try it on torch.arange(8.0).",
            (".transpose(1, 2)", ""),
        ),
        "heads interleaved": Wrong(
            "Do all features of head 0 come first in your row, or one feature of each head?",
            (".transpose(1, 2)", ".permute(0, 2, 3, 1)"),
        ),
        "words of one head side by side": Wrong(
            "Yours has one row for each head. How many rows should a sentence of S words have?",
            (_MERGED, "x.flatten(2)"),
        ),
        "view on a transposed tensor": Wrong(
            "view cannot reorder memory, and transpose left it in the old order. Which method copies?",
            (".reshape", ".view"),
        ),
        "words and features transposed": Wrong(
            "Which two axes did split_heads exchange? Exchange the same two back.",
            (".transpose(1, 2)", ".transpose(-1, -2)"),
        ),
        "heads averaged": Wrong(
            "How many features does each word have in yours, and how many did it have before?",
            (_MERGED, "x.mean(dim=1)"),
        ),
    },
    hints=(
        "Undo split_heads in the opposite order: first the axes, then the sizes.",
        "After transpose(1, 2) the tensor is (B, S, A, D): each word's heads lie side by side.",
        "reshape joins the last two axes, and copies where view would refuse.",
    ),
)


# --- backward --------------------------------------------------------------------------------------------

_DIAGONAL = Edit("(grad_probs - mean)", "(1 - probs) * grad_probs", function="softmax_backward")

softmax_backward = Exercise(
    solution.softmax_backward,
    cases={
        "one row": (torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[1.0, 0.0, 0.0]])),
        "2 by 3 scores": (_randn(2, 3, seed=50).softmax(-1), _randn(2, 3, seed=51)),
        "a batch of heads": (_randn(2, 2, 3, 3, seed=52).softmax(-1), _randn(2, 2, 3, 3, seed=53)),
        "a masked key": (torch.tensor([[0.6, 0.4, 0.0]]), torch.tensor([[0.5, -1.0, 3.0]])),
    },
    wrong={
        "only the diagonal, p (1 − p)": Wrong(
            "If one score rises, what do the other weights of its row do? Where is that in yours?",
            _DIAGONAL,
        ),
        "the sum over the row is missing": Wrong(
            "Adding 1 to all scores of a row changes no weight, so its gradient must sum to 0. Does yours?",
            (" - mean", ""),
        ),
        "the sum is not weighted by probs": Wrong(
            "Entry (i, j) of the Jacobian holds −p_i p_j. Which of the two factors is missing in your sum?",
            ("(probs * grad_probs).sum", "grad_probs.sum"),
        ),
        "the mean subtracted": Wrong(
            "Yours would be right if all weights were equal. Which average does a row of the Jacobian take?",
            ("(probs * grad_probs).sum", "grad_probs.mean"),
        ),
        "summed over the queries": Wrong(
            "Each row is a softmax of its own. Along which axis do its keys lie?", ("dim=-1", "dim=-2")
        ),
        "summed over everything": Wrong(
            "Can the gradient of one row depend on another? Is keepdim=True in the sum?",
            ("sum(dim=-1, keepdim=True)", "sum()"),
        ),
        "the sum added, not subtracted": Wrong(
            "Which sign does −p_i p_j have? Does your gradient sum to 0 over each row?",
            ("- mean", "+ mean"),
        ),
        "the outer factor probs is missing": Wrong(
            "What should be the gradient of a masked score, whose weight is 0?",
            ("probs * (grad_probs - mean)", "grad_probs - mean"),
        ),
    },
    hints=(
        "Multiply the Jacobian diag(p) − p pᵀ by the vector g, on paper, without building the matrix.",
        "diag(p) g is p * g. And p pᵀ g = p (pᵀ g): a single number for each row, times p.",
        "That number is (probs * grad_probs).sum(dim=-1, keepdim=True); both terms share the factor probs.",
    ),
)


def _backward_case(*shape: int, seed: int, attention_mask: Tensor | None = None) -> tuple[Tensor, ...]:
    query, key, value = _query_key_value(*shape, seed=seed)
    _, probs = solution.scaled_dot_product_attention(query, key, value, attention_mask)
    return query, key, value, probs, _randn(*shape, seed=seed + 3)


_KEY_NOT_TRANSPOSED = ("grad_products.transpose(-1, -2)", "grad_products")
_VALUE_NOT_TRANSPOSED = ("probs.transpose(-1, -2)", "probs")

attention_backward = Exercise(
    solution.attention_backward,
    cases={
        "one head": _backward_case(1, 1, 3, 4, seed=60),
        "a batch of three heads": _backward_case(2, 3, 5, 4, seed=70),
        "a masked key": _backward_case(1, 2, 3, 2, seed=80, attention_mask=_mask([1, 1, 0])),
    },
    wrong={
        "√d forgotten": Wrong(
            "The scores are Q Kᵀ / √d. What does that division do to the gradient?",
            (" / math.sqrt(query.shape[-1])", ""),
        ),
        "√d twice": Wrong(
            "In the forward pass, how often is each score divided by √d?",
            ("math.sqrt(query.shape[-1])", "query.shape[-1]"),
        ),
        "√d in the gradient of the values too": Wrong(
            "Does the value of a word ever pass through the division by √d?",
            ("@ grad_context", "@ grad_context / math.sqrt(query.shape[-1])"),
        ),
        "the softmax's backward left out": Wrong(
            "Yours takes the gradient of the weights for that of the scores. What lies between the two?",
            ("softmax_backward(probs, grad_probs)", "grad_probs"),
        ),
        "the softmax's backward with the diagonal only": Wrong(
            "Check softmax_backward alone first: does its gradient sum to 0 in each row?", _DIAGONAL
        ),
        "gradients of query and key swapped": Wrong(
            "The gradient of one factor of Q Kᵀ is built from the other. Which did you return first?",
            ("return grad_query, grad_key", "return grad_key, grad_query"),
        ),
        "transpose forgotten in the key's gradient": Wrong(
            "Key j appears in column j of the scores. Over which axis must its gradient sum?",
            _KEY_NOT_TRANSPOSED,
        ),
        "transpose forgotten in the value's gradient": Wrong(
            "Value j is used by every query i with weight p_ij. Over which axis must its gradient sum?",
            _VALUE_NOT_TRANSPOSED,
        ),
        "both transposes forgotten": Wrong(
            "Keys and values belong to columns, queries to rows. Over which axis does each gradient sum?",
            _KEY_NOT_TRANSPOSED,
            _VALUE_NOT_TRANSPOSED,
        ),
    },
    hints=(
        "Go backward through the forward pass, one line for each line of it: context, softmax, scores.",
        "For C = X Y the chain rule gives dX = dC Yᵀ and dY = Xᵀ dC. Begin with probs @ value.",
        "Divide the gradient of the scores by √d once; then dQ = dS K and dK = dSᵀ Q.",
    ),
    returns=("grad_query", "grad_key", "grad_value"),
)
