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
        "2 to the power of the scores": Wrong(
            "A score that is higher by 1 should weigh e times as much. How much more does it weigh in yours?",
            ("(x - maximum).exp()", "torch.exp2(x - maximum)"),
        ),
        "a sigmoid of each score": Wrong(
            "A sigmoid looks at one score alone. What do the weights of a row sum to?",
            ("powers / powers.sum(dim=-1, keepdim=True)", "x.sigmoid()"),
        ),
        "the lowest score gets the most": Wrong(
            "Which score should get the largest weight? Which one does in yours?",
            ("(x - maximum)", "(maximum - x)"),
        ),
        "not divided by the sum, and no maximum subtracted": Wrong(
            "What do the weights of a row sum to? One step is missing. And what is exp(1000)?",
            ("powers / powers.sum(dim=-1, keepdim=True)", "powers"),
            ("(x - maximum).exp()", "x.exp()"),
        ),
        "the mean subtracted instead of the maximum": Wrong(
            "One score is 1000 and the others are 0. How far above the mean is it, and what is exp of that?",
            ("x.max(dim=-1, keepdim=True).values", "x.mean(dim=-1, keepdim=True)"),
        ),
        "divided by the mean": Wrong(
            "What do the weights of a row sum to: 1, or the number of scores?",
            ("powers.sum(", "powers.mean("),
        ),
        "the absolute scores, without an exponential": Wrong(
            "The scores 2 and −2 get the same weight in yours. Should they?",
            ("(x - maximum).exp()", "x.abs()"),
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
    why=(
        "Each row sums to 1, and subtracting the maximum keeps every exponential finite; attention uses "
        "this function on every row of scores."
    ),
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
        "(1 − mask) times the lowest number": Wrong(
            "Right for whole numbers and float32. What is 1 − True in torch, and which dtype has a whole "
            "number "
            "times a Python float?",
            ("attention_mask[:, None, None, :] == 0", "1 - attention_mask[:, None, None, :]"),
            ("zeros.masked_fill(masked, torch.finfo(dtype).min)", "masked * torch.finfo(dtype).min"),
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
        "float32 with the lowest number of the dtype": Wrong(
            "Your number fits the dtype, but which dtype does your result have? 0.0 makes it float32.",
            ("dtype=dtype", "dtype=torch.float32"),
        ),
        "shape (B, 1, S)": Wrong(
            "Lay (B, 1, S) against (B, A, S, S) from the right: which axis of the scores does your B meet?",
            ("[:, None, None, :]", "[:, None, :]"),
        ),
        "a boolean mask": Wrong(
            "Your mask will be added to scores. What do True and False add, and what should they add?",
            ("zeros.masked_fill(masked, torch.finfo(dtype).min)", "masked"),
        ),
        "the largest number instead of the lowest": Wrong(
            "Which keys win the softmax in yours, the words or the padding?",
            ("finfo(dtype).min", "finfo(dtype).max"),
        ),
        "finfo's tiny": Wrong(
            "torch.finfo(dtype).tiny is just above 0. How far down does that push a score?",
            ("finfo(dtype).min", "finfo(dtype).tiny"),
        ),
        "−10,000": Wrong(
            "Early BERT code used −10,000. Which number does the task ask for, for any dtype?",
            ("torch.finfo(dtype).min", "-10000.0"),
        ),
        "1 − mask of booleans": Wrong(
            "The mask may hold booleans, and torch refuses 1 − True. Which comparison works for numbers "
            "and booleans alike?",
            ("attention_mask[:, None, None, :] == 0", "(1 - attention_mask[:, None, None, :]).bool()"),
        ),
        "a row for each query": Wrong(
            "Your numbers are right, but each row is there S times. Which axis can broadcasting repeat for "
            "you?",
            ("torch.finfo(dtype).min)", "torch.finfo(dtype).min).expand(-1, -1, zeros.shape[-1], -1)"),
        ),
    },
    hints=(
        "Start from zeros of shape (B, 1, 1, S) and put the large negative number where the mask is 0.",
        "attention_mask[:, None, None, :] has the shape; == 0 makes it boolean; masked_fill fills.",
        "The number is torch.finfo(dtype).min, and the zeros have that dtype too.",
    ),
    why=(
        "The lowest number of the dtype turns into a weight of exactly 0 after the softmax, and adding "
        "it works for every head and query at once."
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
        "a mask of small numbers": (
            *_query_key_value(1, 2, 3, 4, seed=45),
            torch.tensor([[[[0.0, -1.0, -2.0]]]]),
        ),
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
        "mask added before the division by √d": Wrong(
            "By what is your mask divided? Scores are divided first, then the mask is added.",
            ("/ math.sqrt(query.shape[-1])", "/ (scale := math.sqrt(query.shape[-1]))"),
            ("scores + attention_mask", "scores + attention_mask / scale"),
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
        "√ of the number of heads": Wrong(
            "Over how many products does one q · k sum? Is that the number of heads?",
            ("query.shape[-1]", "query.shape[1]"),
        ),
        "mask subtracted": Wrong(
            "The mask holds a large negative number for padding. What does subtracting it do to that score?",
            ("scores + attention_mask", "scores - attention_mask"),
        ),
        "the words masked, not the padding": Wrong(
            "In this mask 0 means that a key may be seen. Which entries do you fill?",
            (
                "scores + attention_mask",
                "scores.masked_fill(attention_mask == 0, torch.finfo(scores.dtype).min)",
            ),
        ),
        "softmax over the batch": Wrong(
            "Should one sentence's weights depend on another sentence? Along which axis do yours sum to 1?",
            ("dim=-1", "dim=0"),
        ),
        "keys mixed instead of values": Wrong(
            "Keys decide how much each word counts. What is it that gets mixed?",
            ("probs @ value", "probs @ key"),
        ),
        "the weights transposed before mixing": Wrong(
            "Row i of probs belongs to query i. Whose weights mix your row i of the context?",
            ("probs @ value", "probs.transpose(-1, -2) @ value"),
        ),
        "the context mixed by the scores": Wrong(
            "Your probs are right. Are they what you multiply the values by?",
            ("probs @ value", "scores @ value"),
        ),
        "no softmax": Wrong(
            "Can a weight be negative? What do your rows sum to?", ("scores.softmax(dim=-1)", "scores")
        ),
        "log-softmax": Wrong(
            "Can a weight be negative? Which function undoes a logarithm?",
            ("scores.softmax(", "scores.log_softmax("),
        ),
        "the context alone": Wrong(
            "The docstring names two results. Which one is missing?",
            ("return context, probs", "return context"),
        ),
        "divided by √d after the softmax": Wrong(
            "What do your rows sum to? The division belongs to the scores.",
            (" / math.sqrt(query.shape[-1])", ""),
            ("softmax(dim=-1)", "softmax(dim=-1) / math.sqrt(query.shape[-1])"),
        ),
        "√d of the context": Wrong(
            "The weights come from scores that are divided by √d. What do you divide instead?",
            (" / math.sqrt(query.shape[-1])", ""),
            ("probs @ value", "probs @ value / math.sqrt(query.shape[-1])"),
        ),
    },
    hints=(
        "Four lines: scores, mask, softmax, context. The softmax may be torch's own, .softmax(dim=-1).",
        "scores = query @ key.transpose(-1, -2), divided by the root of the size that the product sums over: "
        "query.shape[-1].",
        "If attention_mask is not None, add it to the scores before the softmax; its shape broadcasts.",
    ),
    returns=("context", "probs"),
    why="This is the whole of attention: chapter 3 runs a real BERT on this very function.",
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
        "view to (B, A, D, S), then transposed": Wrong(
            "The shape is right. Print head 0 for x = torch.arange(8.0).view(1, 2, 4): whose numbers are "
            "in it?",
            ("length, num_attention_heads, size", "num_attention_heads, size, length"),
            ("transpose(1, 2)", "transpose(-1, -2)"),
        ),
        "heads laid along the batch": Wrong(
            "Yours is (B · A, S, D). Which axis does the docstring keep for the heads?",
            ("return x.transpose(1, 2)", "return x.transpose(1, 2).reshape(-1, length, size)"),
        ),
    },
    hints=(
        "Two steps: cut the last axis into two, then change the order of two axes.",
        "x.view(B, S, A, D) cuts each word's own features. Words and heads are then axes 1 and 2.",
        "view only relabels numbers in the order they lie in memory; transpose moves the heads forward.",
    ),
    why="Each head now works on a small matrix of its own, and all heads are multiplied at once.",
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
        "shape (B, H, S)": Wrong(
            "Does a row of yours hold one word's features, or one feature of every word?",
            (
                "x.transpose(1, 2).reshape(batch, length, heads * size)",
                "x.transpose(-1, -2).reshape(batch, heads * size, length)",
            ),
        ),
        "heads added up": Wrong(
            "How many features does each word have in yours? Each head should keep its own.",
            ("x.transpose(1, 2).reshape(batch, length, heads * size)", "x.sum(dim=1)"),
        ),
        "transposed, but not merged": Wrong(
            "The order is right. Which two axes still have to become one?",
            ("x.transpose(1, 2).reshape(batch, length, heads * size)", "x.transpose(1, 2)"),
        ),
        "the first head alone": Wrong(
            "Where have the other heads gone?",
            ("x.transpose(1, 2).reshape(batch, length, heads * size)", "x[:, 0]"),
        ),
        "reshaped first, transposed afterwards": Wrong(
            "Try it on torch.arange(8.0).view(1, 2, 2, 2). Which step has to come first?",
            (
                "x.transpose(1, 2).reshape(batch, length, heads * size)",
                "x.reshape(batch, heads * size, length).transpose(1, 2)",
            ),
        ),
    },
    hints=(
        "Undo split_heads in the opposite order: first the axes, then the sizes.",
        "After transpose(1, 2) the tensor is (B, S, A, D): each word's heads lie side by side.",
        "reshape joins the last two axes, and copies where view would refuse.",
    ),
    why="Merging undoes splitting exactly, so that one linear layer can mix what the heads have found.",
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
        "keepdim forgotten": Wrong(
            "What is the shape of your sum? Against which axis does torch line it up when you subtract?",
            ("dim=-1, keepdim=True", "dim=-1"),
        ),
        "the sign reversed": Wrong(
            "Take a key with the largest gradient of the row: should its score rise or fall with it?",
            ("probs * (grad_probs - mean)", "probs * (mean - grad_probs)"),
        ),
        "the sum not multiplied by probs": Wrong(
            "Both terms of (diag(p) − p pᵀ) g have a factor p. Where is it in your second one?",
            ("probs * (grad_probs - mean)", "probs * grad_probs - mean"),
        ),
        "the backward of log-softmax": Wrong(
            "That is right for log_softmax. Which function has been applied here?",
            ("probs * (grad_probs - mean)", "grad_probs - probs * grad_probs.sum(dim=-1, keepdim=True)"),
        ),
        "the mean of p · g instead of its sum": Wrong(
            "p pᵀ g contains the dot product of p and g. Is a dot product divided by the number of keys?",
            (".sum(dim=-1, keepdim=True)", ".mean(dim=-1, keepdim=True)"),
        ),
    },
    hints=(
        "Multiply the Jacobian diag(p) − p pᵀ by the vector g, on paper, without building the matrix.",
        "diag(p) g is p * g. And p pᵀ g = p (pᵀ g): a single number for each row, times p.",
        "That number is (probs * grad_probs).sum(dim=-1, keepdim=True); both terms share the factor probs.",
    ),
    why=(
        "Your gradient sums to 0 in each row, as it must: adding the same number to all scores changes "
        "no weight."
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
        "√d in the gradient of the values as well": Wrong(
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
        "√d in the query's gradient only": Wrong(
            "Scores are Q Kᵀ / √d. Does the division concern the keys as well?",
            ("grad_key = grad_products", "grad_key = grad_scores"),
        ),
        "√d in the key's gradient only": Wrong(
            "Scores are Q Kᵀ / √d. Does the division concern the queries as well?",
            ("grad_query = grad_products", "grad_query = grad_scores"),
        ),
        "multiplied by √d": Wrong(
            "Forward, each score was divided by √d. What does the chain rule do with a constant factor of "
            "1/√d?",
            ("grad_scores / math", "grad_scores * math"),
        ),
        "√ of the sequence length": Wrong(
            "By which size did the forward pass divide: the number of words, or the features of a head?",
            ("query.shape[-1]", "query.shape[-2]"),
        ),
        "√ of the number of heads": Wrong(
            "By which size did the forward pass divide: the number of heads, or the features of a head?",
            ("query.shape[-1]", "query.shape[1]"),
        ),
        "queries multiplied by queries, keys by keys": Wrong(
            "For C = X Y, dX is built from Y. What is the gradient of the queries built from?",
            ("grad_products @ key", "grad_products @ query"),
            ("transpose(-1, -2) @ query", "transpose(-1, -2) @ key"),
        ),
        "the value's gradient without the weights": Wrong(
            "A value that got a weight of 0 contributed nothing. What gradient does it get in yours?",
            ("probs.transpose(-1, -2) @ grad_context", "grad_context"),
        ),
        "the value's gradient first": Wrong(
            "In which order does the docstring name the three gradients?",
            ("return grad_query, grad_key, grad_value", "return grad_value, grad_query, grad_key"),
        ),
        "the three gradients in the opposite order": Wrong(
            "In which order does the docstring name the three gradients?",
            ("return grad_query, grad_key, grad_value", "return grad_value, grad_key, grad_query"),
        ),
        "gradients of key and value swapped": Wrong(
            "In which order does the docstring name the three gradients?",
            ("return grad_query, grad_key, grad_value", "return grad_query, grad_value, grad_key"),
        ),
        "the softmax's backward without its sum": Wrong(
            "Check softmax_backward alone first: does its gradient sum to 0 in each row?",
            Edit(" - mean", "", function="softmax_backward"),
        ),
        "the softmax's backward with an unweighted sum": Wrong(
            "In the softmax's backward, is the gradient weighted by probs before it is summed?",
            Edit("(probs * grad_probs).sum", "grad_probs.sum", function="softmax_backward"),
        ),
        "the softmax's backward over the queries": Wrong(
            "Each row of probs is a softmax of its own. Along which axis do you sum?",
            Edit("dim=-1", "dim=-2", function="softmax_backward"),
        ),
    },
    hints=(
        "Go backward through the forward pass, one line for each line of it: context, softmax, scores.",
        "For C = X Y the chain rule gives dX = dC Yᵀ and dY = Xᵀ dC. Begin with probs @ value.",
        "Divide the gradient of the scores by √d once; then dQ = dS K and dK = dSᵀ Q.",
    ),
    returns=("grad_query", "grad_key", "grad_value"),
    why="You have written what autograd computes at every training step of every layer.",
)
