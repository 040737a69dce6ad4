"""The checks of chapter 8: norms, gates, rotary positions, windows, padding, a schedule, and Muon's step.

`from bertlearn.course.checks import modern as check`, then `check.rms_norm(rms_norm)`. The answers are in
`bertlearn.course.solutions.modern`; each known mistake is an edit of one of them.
Source of the formulas: Zhang & Sennrich 2019; Shazeer 2020; Su et al. 2021; Beltagy et al. 2020; Xiong et
al. 2020; Hu et al. 2024; Jordan et al. 2024.
Shape letters: B batch, S sequence, H hidden, A heads, D = H / A, N tokens without padding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bertlearn.course.exercise import Exercise, Wrong
from bertlearn.course.solutions import modern as solution


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- norms and gates -------------------------------------------------------------------------------------

rms_norm = Exercise(
    solution.rms_norm,
    cases={
        "three features": (torch.tensor([3.0, 4.0, 0.0]), torch.ones(3)),
        "two tokens, scaled": (_randn(1, 2, 4, seed=1) + 1.0, torch.tensor([1.0, 2.0, 0.5, -1.0])),
        "a batch": (_randn(2, 3, 4, seed=2) * 5.0 - 2.0, _randn(4, seed=3)),
        "features near zero": (_randn(1, 2, 4, seed=4) * 1e-3, torch.ones(4)),
        "all zeros": (torch.zeros(1, 1, 4), torch.ones(4)),
        "another epsilon": (_randn(1, 2, 4, seed=5), torch.ones(4), 0.5),
    },
    wrong={
        "the mean subtracted, as in LayerNorm": Wrong(
            "What does yours give for [1, 1, 1]? RMSNorm changes a vector's length, not its direction.",
            ("mean_square = x.pow(2)", "x = x - x.mean(dim=-1, keepdim=True)\n    mean_square = x.pow(2)"),
        ),
        "the variance in place of the mean square": Wrong(
            "The variance measures the distance from the mean. From which number does the root mean square?",
            ("x.pow(2).mean(dim=-1, keepdim=True)", "x.var(dim=-1, keepdim=True, unbiased=False)"),
        ),
        "the standard deviation, with N − 1": Wrong(
            "The deviation measures the distance from the mean. From which number does the root mean square?",
            ("x.pow(2).mean(dim=-1, keepdim=True)", "x.var(dim=-1, keepdim=True)"),
        ),
        "epsilon fixed": Wrong(
            "Which argument does your function ignore?", ("mean_square + eps", "mean_square + 1e-5")
        ),
        "the sum of squares, not their mean": Wrong(
            "After the norm, how long is a vector of H features in yours: 1, or √H?",
            (".mean(dim=-1", ".sum(dim=-1"),
        ),
        "epsilon outside the root": Wrong(
            "For features near 0, √(m + ε) and √m + ε differ a lot. Which one is asked for?",
            ("(mean_square + eps).sqrt()", "(mean_square.sqrt() + eps)"),
        ),
        "no epsilon": Wrong(
            "What is 0 / 0? A vector of zeros should stay one.",
            ("mean_square + eps", "mean_square"),
        ),
        "the root forgotten": Wrong(
            "Double the input: does your output stay the same?",
            ("(mean_square + eps).sqrt()", "(mean_square + eps)"),
        ),
        "over the tokens, not the features": Wrong(
            "Each token is normalized by itself. Along which axis do its features lie?",
            (".mean(dim=-1, keepdim=True)", ".mean(dim=0, keepdim=True)"),
        ),
        "over the whole batch": Wrong(
            "Does a token's result depend on other tokens in yours?",
            (".mean(dim=-1, keepdim=True)", ".mean()"),
        ),
        "the weight forgotten": Wrong(
            "Which learned vector scales the features at the end?", (".sqrt() * weight", ".sqrt()")
        ),
        "the weight added": Wrong(
            "The weight starts at 1. What does your function do to a feature at the beginning of training?",
            (".sqrt() * weight", ".sqrt() + weight"),
        ),
        "multiplied by the root": Wrong(
            "Double the input: should the output become four times as large?",
            ("x / (mean_square", "x * (mean_square"),
        ),
    },
    hints=(
        "Square the features, take their mean, take the root: one number for each token.",
        "keepdim=True keeps the last axis, with length 1, so that the division lines up.",
        "x / (x.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt(), then the weight.",
    ),
    forbidden=("rms_norm", "layer_norm"),
    why="Leaving out the mean saves a pass over the features. What it costs is measured below.",
)

_GELU = "torch.nn.functional.gelu(x @ up.T) * (x @ gate.T)"

geglu = Exercise(
    solution.geglu,
    cases={
        "one token": (
            _randn(1, 1, 2, seed=10),
            _randn(3, 2, seed=11),
            _randn(3, 2, seed=12),
            _randn(2, 3, seed=13),
        ),
        "a batch": (
            _randn(2, 3, 4, seed=14),
            _randn(5, 4, seed=15),
            _randn(5, 4, seed=16),
            _randn(4, 5, seed=17),
        ),
        "as many features inside as outside": (
            _randn(1, 2, 4, seed=18),
            _randn(4, 4, seed=19),
            _randn(4, 4, seed=20),
            _randn(4, 4, seed=21),
        ),
    },
    wrong={
        "GELU on the other branch": Wrong(
            "Which of the two goes through GELU, `up` or `gate`? Look at the formula in the docstring.",
            (_GELU, "(x @ up.T) * torch.nn.functional.gelu(x @ gate.T)"),
        ),
        "GELU on both branches": Wrong(
            "One branch stays linear. What would two GELUs do to a feature that both want negative?",
            ("(x @ gate.T)", "torch.nn.functional.gelu(x @ gate.T)"),
        ),
        "GELU of the product": Wrong(
            "Is the gate inside the GELU or outside?",
            (_GELU, "torch.nn.functional.gelu((x @ up.T) * (x @ gate.T))"),
        ),
        "no GELU": Wrong(
            "Yours is a product of two linear maps. Where is the activation?",
            (_GELU, "(x @ up.T) * (x @ gate.T)"),
        ),
        "the branches added": Wrong(
            "A gate that is 0 should stop a feature. Does it in yours?",
            (".T) * (x @", ".T) + (x @"),
        ),
        "a sigmoid gate (GLU)": Wrong(
            "That is the gated linear unit of 2017. Which activation is in the name GeGLU?",
            (_GELU, "(x @ up.T) * torch.sigmoid(x @ gate.T)"),
        ),
        "SwiGLU": Wrong(
            "SiLU in place of GELU makes it SwiGLU, which Llama has. Which one does ModernBERT have?",
            ("functional.gelu(", "functional.silu("),
        ),
        "ReLU in place of GELU": Wrong(
            "That is ReGLU. Which activation is in the name GeGLU?", ("functional.gelu(", "functional.relu(")
        ),
        "GELU by tanh": Wrong(
            "BERT and ModernBERT have the exact GELU, by erf. Which argument makes yours approximate?",
            ("gelu(x @ up.T)", 'gelu(x @ up.T, approximate="tanh")'),
        ),
        "up used twice": Wrong(
            "There are three matrices. Which one does your function never use?",
            ("(x @ gate.T)", "(x @ up.T)"),
        ),
        "the way back left out": Wrong(
            "What shape does your result have, and what shape does the residual need?",
            ("features @ down.T", "features"),
        ),
        "weights not transposed": Wrong(
            "nn.Linear stores (out, in). What does x @ up compute if both are square?",
            ("x @ up.T", "x @ up"),
            ("x @ gate.T", "x @ gate"),
            ("features @ down.T", "features @ down"),
        ),
    },
    hints=(
        "Two linear maps from H to I features, side by side; nn.Linear computes x @ weight.T.",
        "GELU on the first, a product with the second, feature by feature.",
        "Then back to H features with `down`.",
    ),
    why="A product of two features can say “this, but only if that”; a sum cannot.",
)


# --- rotary positions ------------------------------------------------------------------------------------


def _positions(*rows: list[int]) -> Tensor:
    return torch.tensor(rows)


_ANGLE = "theta ** (-torch.arange(half) / half)"

rotate = Exercise(
    solution.rotate,
    cases={
        "one pair of features": (_randn(1, 1, 3, 2, seed=30), _positions([0, 1, 2])),
        "two pairs": (_randn(1, 1, 3, 4, seed=31), _positions([0, 1, 2])),
        "two heads": (_randn(1, 2, 4, 4, seed=32), _positions([0, 1, 2, 3])),
        "texts that begin elsewhere": (_randn(2, 1, 3, 4, seed=33), _positions([0, 1, 2], [7, 8, 9])),
        "another theta": (_randn(1, 1, 4, 6, seed=34), _positions([0, 1, 2, 3]), 100.0),
        "far from the beginning": (_randn(1, 1, 2, 6, seed=35), _positions([60, 63]), 500.0),
    },
    wrong={
        "neighbors paired (2i, 2i + 1), not halves": Wrong(
            "The paper pairs neighbors, transformers pairs halves. Which one does the docstring ask for?",
            ("first, second = x[..., :half], x[..., half:]", "first, second = x[..., 0::2], x[..., 1::2]"),
            (
                "torch.cat([turned_first, turned_second], dim=-1)",
                "torch.stack([turned_first, turned_second], dim=-1).flatten(-2)",
            ),
        ),
        "neighbors paired, then put side by side": Wrong(
            "You take the features from one order and put them back in another. Pair i with i + D/2.",
            ("first, second = x[..., :half], x[..., half:]", "first, second = x[..., 0::2], x[..., 1::2]"),
        ),
        "rotated the other way": Wrong(
            "Look at one pair (1, 0) at position 1: should its second number become + sin or − sin?",
            ("- second * angles.sin()", "+ second * angles.sin()"),
            ("+ first * angles.sin()", "- first * angles.sin()"),
        ),
        "a sign wrong: no rotation": Wrong(
            "A rotation keeps lengths. Is the vector as long afterwards as before?",
            ("- second * angles.sin()", "+ second * angles.sin()"),
        ),
        "the second half's sine forgotten": Wrong(
            "Each pair turns as a whole. What becomes of the second number if the pair is (1, 0)?",
            (" + first * angles.sin()", ""),
        ),
        "the first half's sine forgotten": Wrong(
            "Each pair turns as a whole. What becomes of the first number if the pair is (0, 1)?",
            (" - second * angles.sin()", ""),
        ),
        "the same frequency for all pairs": Wrong(
            "With one frequency, which distances can no pair tell apart? Each pair has its own.",
            (_ANGLE, "torch.ones(half)"),
        ),
        "frequencies that grow": Wrong(
            "Is the exponent positive or negative? Pair 0 should be the fastest, with an angle of p.",
            ("(-torch.arange", "(torch.arange"),
        ),
        "−i/D in place of −2i/D": Wrong(
            "Between which exponents do the frequencies lie: from 0 to about −1, or to about −1/2?",
            ("/ half)", "/ x.shape[-1])"),
        ),
        "the exponent counted from 1": Wrong(
            "What is the angle of the first pair, i = 0, at position 1?",
            ("torch.arange(half)", "torch.arange(1, half + 1)"),
        ),
        "theta fixed at 10,000": Wrong(
            "ModernBERT has two thetas, one for its global layers. Which argument does your function ignore?",
            (_ANGLE, "10000.0 ** (-torch.arange(half) / half)"),
        ),
        "positions 0, 1, 2, … whatever the argument": Wrong(
            "Two texts of the batch may begin at different positions. Where does your function look?",
            (
                "position_ids[:, None, :, None]",
                "torch.arange(x.shape[-2])[None, None, :, None]",
            ),
        ),
        "positions along the heads": Wrong(
            "(B, S) meets (B, A, S, D/2). Which axis of your angles runs along the tokens?",
            ("position_ids[:, None, :, None]", "position_ids[:, :, None, None]"),
        ),
        "halves put back in the wrong order": Wrong(
            "At position 0 the angle is 0. What does your function do to that token?",
            ("[turned_first, turned_second]", "[turned_second, turned_first]"),
        ),
        "nothing rotated at all": Wrong(
            "Does your result depend on the position?", ("angles = position_ids", "angles = 0 * position_ids")
        ),
    },
    hints=(
        "First the angles: one for each position and each pair of features, an outer product.",
        "Then cut the features in halves: x[..., :half] and x[..., half:] hold the two numbers of each pair.",
        "A rotation by a: (u, v) → (u cos a − v sin a, v cos a + u sin a).",
    ),
    tolerance=1e-4,
    why="Position 0 turns nothing, and every position keeps the length of a vector: rotations only turn.",
)

_TURNED = "query, key = rotate(query, position_ids), rotate(key, position_ids)"


def _rotary_case(*shape: int, seed: int, start: int = 0) -> tuple[Tensor, ...]:
    query, key, value = (_randn(*shape, seed=seed + i) for i in range(3))
    return query, key, value, torch.arange(start, start + shape[-2]).expand(shape[0], -1)


attend_rotary = Exercise(
    solution.attend_rotary,
    cases={
        "one head": _rotary_case(1, 1, 3, 4, seed=40),
        "two heads": _rotary_case(1, 2, 4, 4, seed=50),
        "a batch": _rotary_case(2, 2, 5, 6, seed=60),
        "a text that begins at position 40": _rotary_case(1, 2, 4, 4, seed=70, start=40),
    },
    wrong={
        "values rotated as well": Wrong(
            "Two equal tokens at different places pass on the same content. Do they in yours?",
            ("scores.softmax(dim=-1) @ value", "scores.softmax(dim=-1) @ rotate(value, position_ids)"),
        ),
        "only the queries rotated": Wrong(
            "Is the score of a token with itself the same at every position?",
            (_TURNED, "query = rotate(query, position_ids)"),
        ),
        "only the keys rotated": Wrong(
            "Is the score of a token with itself the same at every position?",
            (_TURNED, "key = rotate(key, position_ids)"),
        ),
        "rotated only after the scores": Wrong(
            "What do scores know of positions if nothing is rotated before they are computed?",
            (_TURNED, ""),
            ("@ value", "@ rotate(value, position_ids)"),
        ),
        "no rotation": Wrong("Which argument does your function ignore?", (_TURNED, "")),
        "rotated twice": Wrong(
            "Twice the angle is twice the distance. How often should each vector turn?",
            (_TURNED, f"{_TURNED}; {_TURNED}"),
        ),
        "√D forgotten": Wrong(
            "Rotation keeps lengths, so the scores' variance is still D. What brings it back to 1?",
            (" / query.shape[-1] ** 0.5", ""),
        ),
        "softmax over the queries": Wrong(
            "Each query has a weight of 1 to give. Which sums come out as 1 in yours?",
            ("softmax(dim=-1)", "softmax(dim=-2)"),
        ),
    },
    hints=(
        "Compared with chapter 1, only the rotation before the scores is new.",
        "Which of query, key and value enter the scores?",
        "Rotate queries and keys by the same function; then attend as ever.",
    ),
    tolerance=1e-4,
    why="What a head learns about one distance holds at every position. Values are passed on as they are.",
)

local_mask = Exercise(
    solution.local_mask,
    cases={
        "a window of 2": (4, 2),
        "a window of 4": (7, 4),
        "a window of 6": (10, 6),
        "a window longer than the text": (3, 8),
        "one token": (1, 2),
    },
    wrong={
        "off by one: < in place of ≤": Wrong(
            "A window of 2 reaches one token to each side. How many does yours show in the middle?",
            ("<= window // 2", "< window // 2"),
        ),
        "off by one: a token too many on each side": Wrong(
            "A window of 2 reaches one token to each side. How many does yours show in the middle?",
            ("<= window // 2", "<= window // 2 + 1"),
        ),
        "the whole window on each side": Wrong(
            "Half of the window lies to the left. How far does yours reach?",
            ("window // 2", "window"),
        ),
        "only to the left": Wrong(
            "BERT sees both sides. Which ones does a query of yours see?",
            (
                "(positions[:, None] - positions[None, :]).abs()",
                "positions[:, None] - positions[None, :]\n    distances[distances < 0] = length + window",
            ),
        ),
        "the future as a whole": Wrong(
            "A negative distance is smaller than any window. What makes distances count both ways?",
            ("(positions[:, None] - positions[None, :]).abs()", "positions[:, None] - positions[None, :]"),
        ),
        "inverted": Wrong(
            "True means visible here. What does a query of yours see: the near or the far?", ("<=", ">")
        ),
        "without the token itself": Wrong(
            "A token's distance from itself is 0. Does it see itself in yours?",
            ("return distances <= window // 2", "return (distances <= window // 2) & (distances > 0)"),
        ),
        "blocks in place of a sliding window": Wrong(
            "Does the last token of one block see the first of the next in yours? They are neighbors.",
            (
                "(positions[:, None] - positions[None, :]).abs()",
                "(positions[:, None] // window - positions[None, :] // window).abs() * length",
            ),
        ),
        "one row for all queries": Wrong(
            "Each query has a window of its own. What shape does your result have?",
            ("return distances <= window // 2", "return (distances <= window // 2)[length // 2]"),
        ),
        "numbers in place of booleans": Wrong(
            "The docstring asks for booleans. What does a comparison of tensors return by itself?",
            ("return distances <= window // 2", "return (distances <= window // 2).float()"),
        ),
    },
    hints=(
        "Number the tokens: torch.arange(length). What is the distance of token i and token j?",
        "positions[:, None] - positions[None, :] holds all differences at once, shape (S, S).",
        "Compare the absolute distances with half of the window.",
    ),
    why="With a window, the work of a layer grows with the length of a text, not with its square.",
)


# --- the layer, and padding ------------------------------------------------------------------------------


def _scaled(by: float) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.tanh(x * by + 0.1)


def _norm(x: Tensor) -> Tensor:
    return x / (x.pow(2).mean(dim=-1, keepdim=True) + 1e-5).sqrt()


def _double_norm(x: Tensor) -> Tensor:
    return 2.0 * _norm(x)


_SUBLAYERS = (_scaled(1.5), _scaled(-0.7), _norm, _double_norm)

pre_norm_layer = Exercise(
    solution.pre_norm_layer,
    cases={
        "one token": (_randn(1, 1, 3, seed=80) * 3.0, *_SUBLAYERS),
        "a batch": (_randn(2, 3, 4, seed=81) * 2.0, *_SUBLAYERS),
        "large vectors": (_randn(1, 2, 4, seed=82) * 50.0, *_SUBLAYERS),
    },
    wrong={
        "post-norm, as in BERT": Wrong(
            "Follow x through your function: is it ever itself normalized? In pre-norm it is not.",
            ("x = x + attention(attention_norm(x))", "x = attention_norm(x + attention(x))"),
            ("x + feed_forward(mlp_norm(x))", "mlp_norm(x + feed_forward(x))"),
        ),
        "the residual normalized as well": Wrong(
            "What is added to the attention's result in yours: x, or its norm?",
            ("x = x + attention(attention_norm(x))", "x = attention_norm(x)\n    x = x + attention(x)"),
        ),
        "both residuals normalized": Wrong(
            "What is added to each sublayer's result in yours: x, or its norm?",
            ("x = x + attention(attention_norm(x))", "x = attention_norm(x)\n    x = x + attention(x)"),
            ("return x + feed_forward(mlp_norm(x))", "x = mlp_norm(x)\n    return x + feed_forward(x)"),
        ),
        "the first residual forgotten": Wrong(
            "What is left of x after your first line, if the attention returns zeros?",
            ("x = x + attention(", "x = attention("),
        ),
        "the second residual forgotten": Wrong(
            "What is left of x after your last line, if the feed-forward network returns zeros?",
            ("return x + feed_forward(", "return feed_forward("),
        ),
        "the norms swapped": Wrong(
            "Each norm has weights of its own. Which one belongs to the attention?",
            ("attention_norm(x)", "mlp_norm(x)"),
            ("feed_forward(mlp_norm(x))", "feed_forward(attention_norm(x))"),
        ),
        "the second norm forgotten": Wrong(
            "What does your feed-forward network read: the residual stream, or its norm?",
            ("mlp_norm(x)", "x"),
        ),
        "the first norm forgotten": Wrong(
            "What does your attention read: the residual stream, or its norm?", ("attention_norm(x)", "x")
        ),
        "norms after the sublayers, before the sum": Wrong(
            "Is the norm applied to what a sublayer reads, or to what it returns?",
            ("attention(attention_norm(x))", "attention_norm(attention(x))"),
            ("feed_forward(mlp_norm(x))", "mlp_norm(feed_forward(x))"),
        ),
        "the two sublayers in parallel": Wrong(
            "Does your feed-forward network see what the attention added?",
            (
                "x = x + attention(attention_norm(x))\n    return x + feed_forward(mlp_norm(x))",
                "return x + attention(attention_norm(x)) + feed_forward(mlp_norm(x))",
            ),
        ),
        "the feed-forward network first": Wrong(
            "In which order do the two sublayers come in a Transformer?",
            ("x = x + attention(attention_norm(x))", "x = x + feed_forward(mlp_norm(x))"),
            ("return x + feed_forward(mlp_norm(x))", "return x + attention(attention_norm(x))"),
        ),
        "a third norm at the end": Wrong(
            "The final norm comes once, after the last layer. Who applies it?",
            ("return x + feed_forward(mlp_norm(x))", "return mlp_norm(x + feed_forward(mlp_norm(x)))"),
        ),
    },
    hints=(
        "Two lines, one for each sublayer; each adds to x.",
        "A sublayer reads the norm of x, and its result is added to x itself.",
        "x = x + attention(attention_norm(x)), and the same again.",
    ),
    tolerance=1e-4,
    why="Each norm stands on a side branch, so x passes from the first layer to the last without one.",
)


def _padded(*lengths: int, hidden: int, seed: int) -> tuple[Tensor, Tensor]:
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return _randn(len(lengths), max(lengths), hidden, seed=seed), mask


without_padding = Exercise(
    solution.without_padding,
    cases={
        "one text": _padded(3, hidden=2, seed=90),
        "two texts": _padded(3, 1, hidden=2, seed=91),
        "three texts": _padded(2, 4, 1, hidden=3, seed=92),
        "padding on the left": (_randn(2, 3, 2, seed=93), torch.tensor([[0, 1, 1], [1, 1, 1]])),
    },
    wrong={
        "padding kept as zeros": Wrong(
            "How many rows does your result have, and how many real tokens are there?",
            ("x[attention_mask.bool()]", "(x * attention_mask[..., None]).flatten(0, 1)"),
        ),
        "everything kept": Wrong(
            "Which argument does your function ignore?", ("x[attention_mask.bool()]", "x.flatten(0, 1)")
        ),
        "the mask as row numbers": Wrong(
            "A tensor of whole numbers picks rows by number. What does 0 or 1 pick? Make it booleans.",
            ("attention_mask.bool()", "attention_mask"),
        ),
        "only the padding": Wrong(
            "Does 1 stand for a token or for padding?", ("attention_mask.bool()", "attention_mask == 0")
        ),
        "token by token across the texts": Wrong(
            "In which order do your tokens come: one text after the other, or all first tokens first?",
            (
                "x[attention_mask.bool()]",
                "x.transpose(0, 1)[attention_mask.bool().T]",
            ),
        ),
        "cut to the shortest text": Wrong(
            "How many tokens of the longest text are left in yours?",
            (
                "x[attention_mask.bool()]",
                "x[:, : int(attention_mask.sum(dim=1).min())].flatten(0, 1)",
            ),
        ),
        "the batch's axis kept": Wrong(
            "Which shape does the docstring ask for?",
            ("x[attention_mask.bool()]", "x[attention_mask.bool()][None]"),
        ),
    },
    hints=(
        "A boolean tensor as an index keeps what is True, and joins the axes that it covers.",
        "The mask covers the axes B and S; H stays.",
        "x[attention_mask.bool()] has the shape (N, H).",
    ),
    why="Every layer but attention treats tokens one by one, so padding need not be there at all.",
)

_TOKENS = torch.arange(1.0, 9.0)[:, None] * torch.tensor([1.0, 0.1])

with_padding = Exercise(
    solution.with_padding,
    cases={
        "one text": (_TOKENS[:3], torch.tensor([[1, 1, 1]])),
        "two texts": (_TOKENS[:4], torch.tensor([[1, 1, 1], [1, 0, 0]])),
        "three texts": (_TOKENS[:7], torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])),
        "padding on the left": (_TOKENS[:5], torch.tensor([[0, 1, 1], [1, 1, 1]])),
        "half precision": (_TOKENS[:4].half(), torch.tensor([[1, 1, 1], [1, 0, 0]])),
    },
    wrong={
        "always float32": Wrong(
            "Which dtype has your result if the tokens are in half precision? new_zeros keeps theirs.",
            ("tokens.new_zeros(", "torch.zeros("),
        ),
        "the tokens side by side, padding at the end": Wrong(
            "Where does the second text begin in yours? Each text has a row of its own.",
            (
                "padded[attention_mask.bool()] = tokens",
                "padded.view(-1, tokens.shape[-1])[: len(tokens)] = tokens",
            ),
        ),
        "always padded on the right": Wrong(
            "Look at the mask with padding on the left. Where do its tokens come to lie in yours?",
            ("attention_mask.bool()", "attention_mask.sort(dim=1, descending=True).values.bool()"),
        ),
        "filled across the texts": Wrong(
            "In which order were the tokens taken out: text by text, or position by position?",
            (
                "padded[attention_mask.bool()] = tokens",
                "padded.transpose(0, 1)[attention_mask.bool().T] = tokens",
            ),
        ),
        "ones for padding": Wrong(
            "What does padding hold in your result, and what should it?", ("new_zeros", "new_ones")
        ),
        "the order reversed": Wrong(
            "Is the first token of the first text still the first?", ("= tokens  #", "= tokens.flip(0)  #")
        ),
        "the padding filled": Wrong(
            "Does 1 stand for a token or for padding?",
            (
                "padded[attention_mask.bool()] = tokens",
                "padded[attention_mask.bool()] = tokens; padded[attention_mask == 0] = tokens[-1]",
            ),
        ),
    },
    hints=(
        "Begin with zeros of the shape (B, S, H): tokens.new_zeros(…) has the right dtype and device.",
        "A boolean tensor can also stand on the left of an assignment.",
        "padded[attention_mask.bool()] = tokens.",
    ),
    why="Attention needs whole texts; between the layers, the padding can stay away.",
)


# --- the training run ------------------------------------------------------------------------------------

learning_rate = Exercise(
    solution.learning_rate,
    cases={
        "the first step": (1, 10, 2, 4, 1.0),
        "the end of the warm-up": (2, 10, 2, 4, 1.0),
        "in the middle": (5, 10, 2, 4, 1.0),
        "the last step at the peak": (6, 10, 2, 4, 1.0),
        "the first step of the decay": (7, 10, 2, 4, 1.0),
        "the last step": (10, 10, 2, 4, 1.0),
        "BERT's schedule, without a stable phase": (6, 10, 2, 0, 0.5),
        "a long run": (1200, 1500, 90, 750, 2e-3),
    },
    wrong={
        "no stable phase": Wrong(
            "What is the rate in the middle of the stable phase in yours?",
            ("    if step <= warmup + stable:\n        return peak\n", ""),
            ("(steps + 1 - warmup - stable)", "(steps + 1 - warmup)"),
        ),
        "the decay measured from the warm-up": Wrong(
            "Where does the decay begin? The rate jumps there in yours.",
            ("(steps + 1 - warmup - stable)", "(steps + 1 - warmup)"),
        ),
        "0 at the last step": Wrong(
            "A step with a rate of 0 changes nothing. Where should the line reach 0?",
            ("(steps + 1 - step) / (steps + 1 - warmup", "(steps - step) / (steps - warmup"),
        ),
        "0 at the first step": Wrong(
            "Steps are counted from 1. What is the rate of the first one?",
            ("peak * step / warmup", "peak * (step - 1) / warmup"),
        ),
        "stable counted from the beginning": Wrong(
            "The stable phase begins after the warm-up. At which step does it end?",
            ("step <= warmup + stable", "step <= stable"),
        ),
        "stable read as the step at which it ends": Wrong(
            "`stable` is a number of steps. At which step does that phase end, if the warm-up comes first?",
            ("step <= warmup + stable", "step <= stable"),
            ("(steps + 1 - warmup - stable)", "(steps + 1 - max(warmup, stable))"),
        ),
        "never falling": Wrong(
            "What is the rate of the last step?",
            ("return peak * (steps + 1 - step) / (steps + 1 - warmup - stable)", "return peak"),
        ),
        "a cosine in place of a line": Wrong(
            "Halfway through the decay, a line and a cosine agree. Do they a quarter of the way?",
            (
                "peak * (steps + 1 - step) / (steps + 1 - warmup - stable)",
                "peak * 0.5 * (1 - math.cos(math.pi * (steps + 1 - step) / (steps + 1 - warmup - stable)))",
            ),
            ("    if step <= warmup:", "    import math\n\n    if step <= warmup:"),
        ),
        "the peak forgotten": Wrong(
            "Is your rate a share, or a learning rate?",
            ("peak * step / warmup", "step / warmup"),
            ("return peak\n", "return 1.0\n"),
            ("peak * (steps", "(steps"),
        ),
        "rising to the end": Wrong(
            "Should the rate rise or fall in the last phase?",
            ("(steps + 1 - step) / (steps", "(step - warmup - stable) / (steps"),
        ),
    },
    hints=(
        "Three phases, three returns.",
        "In the decay, the share left is (steps + 1 − step) / (steps + 1 − the last step at the peak).",
        "With stable = 0 your function must be BERT's schedule of chapter 4.",
    ),
    why="A run can go on from its stable phase; a schedule that always falls must know its end beforehand.",
)

orthogonalize = Exercise(
    solution.orthogonalize,
    cases={
        "a square matrix": (_randn(3, 3, seed=100),),
        "more columns than rows": (_randn(2, 5, seed=101),),
        "more rows than columns": (_randn(6, 3, seed=102),),
        "a large gradient": (_randn(3, 4, seed=103) * 1000.0,),
        "a small gradient": (_randn(3, 4, seed=104) * 0.01,),
        "one iteration": (_randn(3, 4, seed=105), 1),
    },
    wrong={
        "not divided by the norm": Wrong(
            "The iteration only works for singular values up to 1. What is the norm of a large gradient?",
            ("x = x / (x.norm() + 1e-7)", "x = x"),
        ),
        "divided by the largest number": Wrong(
            "The Frobenius norm is the root of the sum of all squares. Which number did you take?",
            ("x.norm()", "x.abs().max()"),
        ),
        "divided by its square": Wrong(
            "Is the Frobenius norm a sum of squares, or its root?", ("x.norm()", "x.pow(2).sum()")
        ),
        "divided by the spectral norm": Wrong(
            "That is the largest singular value. Which norm is the root of the sum of all squares?",
            ("x.norm()", "torch.linalg.matrix_norm(x, 2)"),
        ),
        "the exact answer, by a singular value decomposition": Wrong(
            "That is what the iteration aims at, and too slow for each step. Write the iteration itself.",
            (
                "return x.T if tall else x",
                "u, _, v = torch.linalg.svd(gradient, full_matrices=False)\n    return u @ v",
            ),
        ),
        "each row divided by its own norm": Wrong(
            "Orthogonalizing must not treat rows one by one. How many norms does a matrix have here?",
            ("x.norm()", "x.norm(dim=1, keepdim=True)"),
        ),
        "normalized, but not orthogonalized": Wrong(
            "Compute the singular values of your result. Are they all near 1?",
            ("range(iterations)", "range(0)"),
        ),
        "five iterations whatever the argument": Wrong(
            "Which argument does your function ignore?", ("range(iterations)", "range(5)")
        ),
        "the last term not squared": Wrong(
            "c multiplies (X Xᵀ)². How often do the products occur in your last term?",
            ("c * products @ products", "c * products"),
        ),
        "products squared number by number": Wrong(
            "Is (X Xᵀ)² a product of matrices, or of their numbers?",
            ("products @ products", "products * products"),
        ),
        "the transpose not undone": Wrong(
            "Which shape does your result have if there are more rows than columns?",
            ("return x.T if tall else x", "return x"),
        ),
        "the classic cubic iteration": Wrong(
            "1.5 X − 0.5 X Xᵀ X converges as well, but slowly. Which coefficients are asked for?",
            ("a, b, c = 3.4445, -4.7750, 2.0315", "a, b, c = 1.5, -0.5, 0.0"),
        ),
        "the sign of b lost": Wrong(
            "Do your numbers grow without end? One of the three coefficients is negative.",
            ("-4.7750", "4.7750"),
        ),
        "scaled back by the norm": Wrong(
            "How large should the singular values be: near 1, or as large as the gradient's?",
            ("return x.T if tall else x", "return (x.T if tall else x) * gradient.norm()"),
        ),
    },
    hints=(
        "Divide the matrix by gradient.norm(), the Frobenius norm, then repeat one line.",
        "With P = X Xᵀ the line is X ← a X + (b P + c P P) X.",
        "If there are more rows than columns: transpose first, and once more at the end.",
    ),
    tolerance=1e-3,
    why="Every direction that the gradient has now gets the same step, the rare ones as well as the common.",
)
