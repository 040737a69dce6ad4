"""The checks of chapter 3: LayerNorm, GELU, the sums around them, parameters, pooling, the causal mask.

`from bertlearn.course.checks import encoder as check`, then `check.layer_norm(layer_norm)`. The answers are
in `bertlearn.course.solutions.encoder`; each known mistake is an edit of one of them.
Shape letters: B batch, S sequence, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bertlearn.course.exercise import Exercise, Wrong
from bertlearn.course.solutions import encoder as solution
from bertlearn.model.bert import LayerNorm
from bertlearn.model.config import BertConfig


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- the sum of the three embeddings ---------------------------------------------------------------------


def _summands(batch: int, length: int, hidden: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    word, token_type = (_randn(batch, length, hidden, seed=number) for number in (seed, seed + 2))
    return word, _randn(length, hidden, seed=seed + 1), token_type


_SUM = "word + position + token_type"

sum_embeddings = Exercise(
    solution.sum_embeddings,
    cases={
        "two sentences of five tokens": _summands(2, 5, 8, seed=0),
        "four sentences of four tokens": _summands(4, 4, 6, seed=3),
    },
    wrong={
        "the positions forgotten": Wrong(
            "Would “dog bites man” and “man bites dog” get different vectors from yours?",
            (" + position", ""),
        ),
        "the token types forgotten": Wrong(
            "Two sentences, one sequence: what tells your vectors which one a token is in?",
            (" + token_type", ""),
        ),
        "concatenated instead of added": Wrong(
            "How many features does a token have after your step, and how many does layer 0 take?",
            (_SUM, "torch.cat([word, position.expand_as(word), token_type], dim=-1)"),
        ),
        "each embedding normalized before the sum": Wrong(
            "Is there a LayerNorm in this function? It comes once, on the finished sum.",
            (_SUM, "sum(torch.layer_norm(x, x.shape[-1:]) for x in (word, position, token_type))"),
        ),
        "the positions added along the batch axis": Wrong(
            "position is (S, H). Which axis of (B, S, H) should its S meet? Shapes align from the right.",
            ("+ position", "+ position[:, None]"),
        ),
        "the average instead of the sum": Wrong(
            "Your vectors point the right way. Are they as long as the sum?", (_SUM, f"({_SUM}) / 3")
        ),
        "multiplied instead of added": Wrong(
            "A factor near 0 wipes out the other two. Which operation keeps all three?",
            ("word + position + token_type", "word * position * token_type"),
        ),
        "LayerNorm after the sum": Wrong(
            "LayerNorm is the next exercise. What is this function to return?",
            (
                "word + position + token_type",
                "torch.layer_norm(word + position + token_type, word.shape[-1:])",
            ),
        ),
        "the word vectors changed in place": Wrong(
            "`+=` writes into the caller's tensor. Look at `word` after your call.",
            ("return word + position + token_type", "word += position\n    return word + token_type"),
        ),
        "the word vectors times √H": Wrong(
            "The original Transformer scales its embeddings by √H. Does BERT?",
            ("return word", "return word * word.shape[-1] ** 0.5"),
        ),
        "the first position for every token": Wrong(
            "Which position does the last token get in yours?", ("+ position", "+ position[0]")
        ),
        "the positions in reverse order": Wrong(
            "Which position does the first token get in yours?", ("+ position", "+ position.flip(0)")
        ),
    },
    hints=(
        "All three have features on the last axis and tokens on the one before it.",
        "Broadcasting aligns shapes from the right: (S, H) meets (B, S, H) without help.",
        "One line, two plus signs.",
    ),
    why=(
        "One vector now says what the token is, where it stands and which sentence it is in; layer 0 "
        "reads nothing else."
    ),
)


# --- LayerNorm -------------------------------------------------------------------------------------------


def _over(axes: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the edits that take mean and variance over other axes."""
    return ("x.mean(dim=-1", f"x.mean(dim={axes}"), ("**2).mean(dim=-1", f"**2).mean(dim={axes}")


_ROOT = "torch.sqrt(variance + eps)"
_WEIGHT, _BIAS = 1 + 0.5 * _randn(8, seed=6), 0.5 * _randn(8, seed=7)

layer_norm = Exercise(
    solution.layer_norm,
    cases={
        "the token 1, 2, 3, 6": (torch.tensor([[1.0, 2.0, 3.0, 6.0]]), torch.ones(4), torch.zeros(4), 1e-12),
        "two sentences of three tokens": (2 + 3 * _randn(2, 3, 8, seed=8), _WEIGHT, _BIAS, 1e-12),
        "a large ε": (1 + _randn(3, 8, seed=9), _WEIGHT, _BIAS, 0.5),
    },
    wrong={
        "ε outside the root": Wrong(
            "The paper adds ε to the variance, not to the standard deviation. Which is yours?",
            (_ROOT, "(torch.sqrt(variance) + eps)"),
        ),
        "the argument ε not used": Wrong(
            "Call yours with eps=0.5 and with eps=1e-12. Do the results differ?", (" + eps", "")
        ),
        "the unbiased variance": Wrong(
            "Do you divide by H or by H − 1? What is x.var()'s default in PyTorch?",
            ("(centered**2).mean(dim=-1, keepdim=True)", "x.var(dim=-1, keepdim=True)"),
        ),
        "normalized over the tokens": Wrong(
            "Take one token of your result: is the mean of its features 0?", *_over("-2")
        ),
        "normalized over the batch (BatchNorm)": Wrong(
            "Should a token's vector change when another sentence joins the batch?",
            *_over("tuple(range(x.dim() - 1))"),
        ),
        "normalized over the tokens and features of a sentence": Wrong(
            "Should a token's vector change when another word of its sentence does? Which axis has the "
            "features?",
            *_over("tuple(range(1, x.dim()))"),
        ),
        "one mean and variance for the whole tensor": Wrong(
            "How many means does a batch of 2 × 3 tokens need: one, or six?", *_over("None")
        ),
        "scale and shift forgotten": Wrong(
            "weight and bias were learned. Where do they enter your result?", (" * weight + bias", "")
        ),
        "the shift forgotten": Wrong("weight is in your result. Where does bias enter?", (" + bias", "")),
        "x.std() + ε: the unbiased variance, and ε outside the root": Wrong(
            "By what does x.std() divide, H or H − 1? And where does the paper put ε?",
            (_ROOT, "(x.std(dim=-1, keepdim=True) + eps)"),
        ),
        "the root forgotten": Wrong(
            "What is the variance of your result? It should be 1.", (_ROOT, "(variance + eps)")
        ),
        "the mean not subtracted": Wrong(
            "What is the mean of one token of your result, before the shift? It should be 0.",
            ("return centered", "return x"),
        ),
        "RMSNorm": Wrong(
            "That is what many later models use. What does LayerNorm subtract first, and yours does not?",
            ("x - x.mean(dim=-1, keepdim=True)", "x"),
        ),
        "the scale forgotten": Wrong("bias is in your result. Where does weight enter?", (" * weight", "")),
        "the shift before the scale": Wrong(
            "Scale first, then shift. Is your bias multiplied by the weight?",
            (
                "centered / torch.sqrt(variance + eps) * weight + bias",
                "(centered / torch.sqrt(variance + eps) + bias) * weight",
            ),
        ),
        "scaled by 1 + weight": Wrong(
            "With a weight of 1, should the result grow? Some later models store weight − 1; BERT does not.",
            (" * weight", " * (1 + weight)"),
        ),
        "the root of the standard deviation": Wrong(
            "x.std() is a root already. What is the variance of your result?",
            ("torch.sqrt(variance + eps)", "torch.sqrt(x.std(dim=-1, keepdim=True) + eps)"),
        ),
        "length 1 instead of variance 1": Wrong(
            "How long is your vector before scale and shift? It should be √H.",
            ("torch.sqrt(variance + eps)", "centered.norm(dim=-1, keepdim=True)"),
        ),
        "the mean of the squares of x": Wrong(
            "The variance is about distances from the mean. What do you square?", ("(centered**2)", "(x**2)")
        ),
        "keepdim forgotten": Wrong(
            "What is the shape of your mean? Against which axis does torch line it up when you subtract?",
            ("x.mean(dim=-1, keepdim=True)", "x.mean(dim=-1)"),
            ("(centered**2).mean(dim=-1, keepdim=True)", "(centered**2).mean(dim=-1)"),
        ),
        "weight and bias swapped": Wrong(
            "Which of the two multiplies, and which is added?", ("* weight + bias", "* bias + weight")
        ),
        "multiplied by the root": Wrong(
            "A token with a large variance should shrink. Does it in yours?",
            ("centered / torch", "centered * torch"),
        ),
    },
    hints=(
        "Mean and variance are taken over the last axis; keepdim=True keeps them broadcastable.",
        "The biased variance is the mean of the squared distances from the mean.",
        "Subtract the mean, divide by the root of (variance + ε), multiply by weight, add bias.",
    ),
    forbidden=("layer_norm",),
    why=(
        "Every token now has mean 0 and variance 1 before scale and shift, however large its features "
        "were; BERT does this twice in each layer."
    ),
)


# --- residual and LayerNorm ------------------------------------------------------------------------------


def _norm(seed: int) -> LayerNorm:
    norm = LayerNorm(8).requires_grad_(False)
    norm.weight.add_(_randn(8, seed=seed), alpha=0.5)
    norm.bias.add_(_randn(8, seed=seed + 1), alpha=0.5)
    return norm


_NORM = "norm(residual + sublayer_output)"

add_and_norm = Exercise(
    solution.add_and_norm,
    cases={
        "two sentences of three tokens": (_randn(2, 3, 8, seed=10), _randn(2, 3, 8, seed=11), _norm(12)),
        "a sublayer that adds little": (
            0.1 * _randn(1, 4, 8, seed=14),
            _randn(1, 4, 8, seed=15),
            _norm(16),
        ),
    },
    wrong={
        "normalized before the sum, as pre-LN does, and not after it": Wrong(
            "BERT is post-LN. What does norm act on: the sublayer's output, or the sum?",
            (_NORM, "residual + norm(sublayer_output)"),
        ),
        "no residual": Wrong(
            "Where does the sublayer's input go in yours? Recall the 12 layers.", ("residual + ", "")
        ),
        "the residual normalized instead of the sum": Wrong(
            "First add, then normalize. In which order does yours go?",
            (_NORM, "norm(residual) + sublayer_output"),
        ),
        "the residual added twice": Wrong(
            "How often does the sublayer's input enter yours? Count it inside norm too.",
            (_NORM, f"residual + {_NORM}"),
        ),
        "the sum not normalized": Wrong(
            "What is each token's variance in your result?", (_NORM, "residual + sublayer_output")
        ),
        "both normalized before the sum": Wrong(
            "How often does BERT normalize here, and what?",
            ("norm(residual + sublayer_output)", "norm(residual) + norm(sublayer_output)"),
        ),
        "normalized twice": Wrong(
            "How often do you call norm?",
            ("norm(residual + sublayer_output)", "norm(norm(residual + sublayer_output))"),
        ),
        "the sublayer's output normalized before the sum as well": Wrong(
            "How often do you call norm? The first step is the sum alone.",
            ("norm(residual + sublayer_output)", "norm(residual + norm(sublayer_output))"),
        ),
        "subtracted instead of added": Wrong(
            "The sublayer writes into the stream. Which sign does its output get?",
            ("residual + sublayer_output", "residual - sublayer_output"),
        ),
        "multiplied instead of added": Wrong(
            "A sublayer that gives 0 should change nothing before the norm. What does yours make of it?",
            ("residual + sublayer_output", "residual * sublayer_output"),
        ),
        "LayerNorm without the learned weights": Wrong(
            "norm has a weight and a bias of its own. Do you call it, or a LayerNorm without them?",
            (
                "norm(residual + sublayer_output)",
                "torch.layer_norm(residual + sublayer_output, residual.shape[-1:])",
            ),
        ),
    },
    hints=(
        "Two steps, and their order is in the name.",
        "norm is called once, like a function, on the result of the first step.",
    ),
    why=(
        "The sum keeps what the layer received, and the norm keeps it from growing: that is what makes "
        "twelve layers trainable."
    ),
)


# --- GELU ------------------------------------------------------------------------------------------------

_ERF, _PHI = "torch.erf(x / math.sqrt(2))", "(1 + torch.erf(x / math.sqrt(2))) / 2"

gelu = Exercise(
    solution.gelu,
    cases={
        "a grid from −6 to 6": (torch.linspace(-6, 6, 49),),
        "a batch": (2 * _randn(2, 3, 4, seed=18),),
        "numbers far from 0": (torch.tensor([-40.0, 40.0, 100.0]),),
    },
    wrong={
        "the tanh approximation": Wrong(
            "So close, and yet: by how much does yours differ at x = 2? BERT uses the exact Φ.",
            (_ERF, "torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))"),
        ),
        "the sigmoid approximation": Wrong(
            "1.702 is a fit by eye. Is your value at x = 2 the exact 1.9545?",
            (_PHI, "torch.sigmoid(1.702 * x)"),
        ),
        "ReLU": Wrong("What does yours give at x = −0.5? GELU gives −0.1543.", ("x * phi", "x.clamp(min=0)")),
        "SiLU: the logistic function for Φ": Wrong(
            "Which curve rises from 0 to 1 in your code: the normal distribution's, or the logistic one?",
            (_PHI, "torch.sigmoid(x)"),
        ),
        "the ½ forgotten": Wrong(
            "Φ is a probability. How large can your factor of x become?", ("))) / 2", ")))")
        ),
        "√2 forgotten": Wrong(
            "Φ(1) is 0.8413. What does your (1 + erf(…)) / 2 give for x = 1?", (" / math.sqrt(2)", "")
        ),
        "Φ(x) without the factor x": Wrong(
            "What does yours give for x = 100? A token with a large feature should keep it.",
            ("x * phi", "phi"),
        ),
        "the density instead of the distribution function": Wrong(
            "Φ(x) is the probability of a value below x: 0.5 at x = 0, and nearly 1 at x = 3. Is yours?",
            (_PHI, "torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)"),
        ),
        "x / 2 inside erf": Wrong(
            "Φ(1) is 0.8413. By what must x be divided inside erf: 2, or √2?",
            ("torch.erf(x / math.sqrt(2))", "torch.erf(x / 2)"),
        ),
        "Φ(−x) instead of Φ(x)": Wrong(
            "What does yours give for x = 100? A large feature should pass.", ("(1 + torch", "(1 - torch")
        ),
        "x times erf": Wrong(
            "What does yours give for x = −3? A strongly negative feature should become nearly 0.",
            ("(1 + torch.erf(x / math.sqrt(2))) / 2", "torch.erf(x / math.sqrt(2))"),
        ),
        "multiplied by √2 inside erf": Wrong(
            "Φ(1) is 0.8413. Is √2 a factor or a divisor of x?", ("x / math.sqrt(2)", "x * math.sqrt(2)")
        ),
        "only erf halved": Wrong(
            "What is your Φ(0)? Half of all values of a standard normal distribution lie below 0.",
            ("(1 + torch.erf(x / math.sqrt(2))) / 2", "1 + torch.erf(x / math.sqrt(2)) / 2"),
        ),
        "math.erf on a tensor": Wrong(
            "math.erf takes one number. Which library's erf takes a whole tensor?",
            ("torch.erf(", "math.erf("),
        ),
        "the tanh form without its cube": Wrong(
            "That is not even the approximation, which has a term with x³. BERT uses the exact Φ.",
            ("torch.erf(x / math.sqrt(2))", "torch.tanh(math.sqrt(2 / math.pi) * x)"),
        ),
    },
    hints=(
        "Φ(x) = (1 + erf(x / √2)) / 2.",
        "torch.erf works on whole tensors; math.sqrt(2) gives the root.",
        "Multiply that Φ(x) by x.",
    ),
    forbidden=("gelu",),
    why="This is the exact form that BERT was trained with; a real model runs on it at the end.",
)


# --- counting --------------------------------------------------------------------------------------------

count_parameters = Exercise(
    solution.count_parameters,
    cases={
        "MiniLM": (BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536),),
        "BERT-base": (BertConfig(),),
        "BERT-tiny": (BertConfig.preset("tiny"),),
        "an odd one": (
            BertConfig(
                vocab_size=100,
                hidden_size=12,
                num_hidden_layers=3,
                num_attention_heads=2,
                intermediate_size=20,
                max_position_embeddings=16,
                type_vocab_size=4,
            ),
        ),
    },
    wrong={
        "the biases forgotten": Wrong(
            "How many numbers are in nn.Linear(2, 3)? Not 6.",
            ("h * h + h", "h * h"),
            ("(h * i + i) + (i * h + h)", "h * i + i * h"),
        ),
        "the LayerNorms forgotten": Wrong(
            "You are short by a multiple of 2H. What learned two vectors of length H?", (", 2 * h", ", 0")
        ),
        "the pooler forgotten": Wrong(
            "You are short by one dense layer H → H. What comes after the last layer?", (" + pooler", "")
        ),
        "the projections counted for each head": Wrong(
            "A heads of size H / A: how large is the one matrix that makes all their queries?",
            ("4 * square", "(1 + 3 * config.num_attention_heads) * square"),
        ),
        "the feed-forward network counted once": Wrong(
            "H → I is half of it. How does a token get back to H features?", (" + (i * h + h)", "")
        ),
        "the attention's output projection forgotten": Wrong(
            "Query, key, value. Which fourth matrix mixes the heads' results?", ("4 * square", "3 * square")
        ),
        "the word embeddings alone": Wrong(
            "A token's first vector is a sum of three. Which two tables are missing?",
            (" + config.max_position_embeddings + config.type_vocab_size", ""),
        ),
        "one layer only": Wrong(
            "Does each layer have weights of its own?", ("config.num_hidden_layers * ", "")
        ),
        "LayerNorms without their bias": Wrong(
            "A LayerNorm scales and shifts: how many vectors of H? And a layer has how many LayerNorms?",
            (", 2 * h", ", h"),
        ),
        "only the matrices of a layer": Wrong(
            "A layer has six dense layers with biases, and two LayerNorms. Do you count them?",
            ("4 * square + norm", "4 * h * h"),
            ("(h * i + i) + (i * h + h) + norm", "2 * h * i"),
        ),
        "the embeddings' LayerNorm forgotten": Wrong(
            "You are short by 2H. What comes right after the sum of the three embeddings?",
            ("rows * h + norm", "rows * h"),
        ),
        "one LayerNorm for each layer": Wrong(
            "How often does a layer add and normalize?", ("4 * square + norm", "4 * square")
        ),
        "the position embeddings forgotten": Wrong(
            "How does BERT know where a token stands? That table is missing.",
            (" + config.max_position_embeddings", ""),
        ),
        "the segment embeddings forgotten": Wrong(
            "How does BERT know which sentence a token is in? That table is missing.",
            (" + config.type_vocab_size", ""),
        ),
        "the word embeddings forgotten": Wrong(
            "Which is the largest table of all?", ("config.vocab_size + ", "")
        ),
        "a pooler in each layer": Wrong(
            "The pooler comes once, after the last layer. How often do you count it?",
            ("(attention + feed_forward) + pooler", "(attention + feed_forward + pooler)"),
        ),
        "the feed-forward biases forgotten": Wrong(
            "nn.Linear(H, I) has I biases. How many do you count in the feed-forward network?",
            ("(h * i + i) + (i * h + h)", "h * i + i * h"),
        ),
        "the attention's biases forgotten": Wrong(
            "Query, key, value and output are Linear layers. Do you count their biases?",
            ("4 * square", "4 * h * h"),
        ),
        "I biases twice": Wrong(
            "The second Linear of the feed-forward network goes from I to H. How many biases does it have?",
            ("(i * h + h)", "(i * h + i)"),
        ),
        "an intermediate size of 4H": Wrong(
            "Four times H is usual, but the config has a field for it. Do you read it?",
            ("config.intermediate_size", "4 * config.hidden_size"),
        ),
        "the pooler without its bias": Wrong(
            "The pooler is a Linear layer like the others. What does it have besides its matrix?",
            ("pooler = square", "pooler = h * h"),
        ),
        "the decoder of masked words counted": Wrong(
            "The MLM head is not part of BertModel. Which part of it do you count?",
            ("pooler = square", "pooler = square + h * config.vocab_size + config.vocab_size"),
        ),
    },
    hints=(
        "A table with n rows has n · H numbers; a Linear from a to b has a · b + b; a LayerNorm has 2H.",
        "One layer: four Linear H → H, one H → I, one I → H, two LayerNorms.",
        "Three tables and a LayerNorm, then L layers, then one more Linear H → H for the pooler.",
    ),
    tolerance=1e-9,  # relative: every single parameter counts
    why="You can now tell the size of any BERT from its config, without loading it.",
)


# --- mean pooling ----------------------------------------------------------------------------------------

_MEAN = "total / keep.sum(dim=1)"

mean_pooling = Exercise(
    solution.mean_pooling,
    cases={
        "no padding": (_randn(2, 4, 6, seed=20), torch.ones(2, 4, dtype=torch.long)),
        "a padded batch": (
            1 + _randn(3, 5, 6, seed=21),
            torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]),
        ),
    },
    wrong={
        "padding counted": Wrong(
            "Add ten [PAD] to a sentence: does your vector change? It must not.",
            (_MEAN, "hidden_states.mean(dim=1)"),
        ),
        "padding left out, but divided by S": Wrong(
            "You add up 3 tokens of 5. By which number do you divide?", ("keep.sum(dim=1)", "keep.shape[1]")
        ),
        "[CLS] alone": Wrong(
            "Which tokens enter your vector? Only the first?", (_MEAN, "hidden_states[:, 0]")
        ),
        "the maximum instead of the mean": Wrong(
            "That is max pooling. What would the mean of 1, 2 and 6 be?",
            (_MEAN, "hidden_states.masked_fill(keep == 0, -torch.inf).amax(dim=1)"),
        ),
        "divided by the tokens of the whole batch": Wrong(
            "Should a text's vector change when another text joins the batch?",
            ("keep.sum(dim=1)", "keep.sum()"),
        ),
        "the sum, not divided": Wrong(
            "Should a sentence twice as long have a vector twice as long?", (" / keep.sum(dim=1)", "")
        ),
        "the mean over the features": Wrong(
            "One vector of H features per sentence: which axis should be gone?",
            (_MEAN, "hidden_states.mean(dim=-1)"),
        ),
        "padding added, but not counted": Wrong(
            "You divide by the right number. Which vectors are in your sum? Those of [PAD] are not 0.",
            ("(hidden_states * keep).sum", "hidden_states.sum"),
        ),
        "divided twice": Wrong(
            "mean() already divides by S. What is left to do if you take a sum instead?",
            ("keep).sum(dim=1)", "keep).mean(dim=1)"),
        ),
        "the padding alone": Wrong(
            "Which number of the mask means “keep”?",
            ("attention_mask[:, :, None]", "1 - attention_mask[:, :, None]"),
        ),
        "scaled to length 1": Wrong(
            "Cosines come later. How long is the mean itself?",
            ("total / keep.sum(dim=1)", "torch.nn.functional.normalize(total, dim=-1)"),
        ),
        "one vector for the batch": Wrong(
            "How many vectors should come out for three texts?",
            ("total / keep.sum(dim=1)", "hidden_states[attention_mask == 1].mean(dim=0)"),
        ),
        "the last token": Wrong(
            "That is the vector of [SEP]. Which tokens should enter the mean?",
            (
                "total / keep.sum(dim=1)",
                "hidden_states[torch.arange(len(keep)), attention_mask.sum(dim=1) - 1]",
            ),
        ),
        "[CLS] left out": Wrong(
            "The mask has a 1 for [CLS] as well. Over how many tokens is your mean?",
            (
                "keep = attention_mask[:, :, None]",
                "hidden_states, keep = hidden_states[:, 1:], attention_mask[:, 1:, None]",
            ),
        ),
        "an axis too many": Wrong(
            "Your numbers are right. What is the shape of your result, and what should it be?",
            ("total / keep.sum(dim=1)", "(total / keep.sum(dim=1))[:, None]"),
        ),
        "[CLS] and [SEP] left out": Wrong(
            "The mask has a 1 for both of them. Over how many tokens is your mean?",
            (
                "keep = attention_mask[:, :, None]",
                "hidden_states, keep = hidden_states[:, 1:-1], attention_mask[:, 2:, None]",
            ),
        ),
    },
    hints=(
        "Give the mask a third axis, (B, S, 1), and it multiplies whole tokens.",
        "Sum over the tokens; then divide by how many were kept, which is the mask's own sum.",
    ),
    why=(
        "A text's vector no longer depends on how much padding its batch needs; the search below runs on "
        "such vectors."
    ),
)


# --- the causal mask -------------------------------------------------------------------------------------

_TRIANGLE = "torch.ones(length, length).tril()"

causal_mask = Exercise(
    solution.causal_mask,
    cases={"one token": (1,), "two tokens": (2,), "five tokens": (5,)},
    wrong={
        "the past hidden, the future kept": Wrong(
            "Row 0 is what the first token sees. How many tokens does it see in yours?", ("tril()", "triu()")
        ),
        "each token hidden from itself": Wrong(
            "What may the first token look at in yours? Its row has no 1 in it.", ("tril()", "tril(-1)")
        ),
        "inverted: 1 where hidden": Wrong(
            "In this course 1 = keep. What does the last token, which may see everything, see in yours?",
            ("tril()", "triu(1)"),
        ),
        "already additive": Wrong(
            "The scores need 0 and −∞. The task asks for the step before that: 1 = may look, 0 = may not.",
            (_TRIANGLE, "torch.full((length, length), -torch.inf).triu(1)"),
        ),
        "already additive, with a finite number": Wrong(
            "The scores need 0 and −10³⁸. The task asks for the step before that: 1 = may look, 0 = may not.",
            (_TRIANGLE, "torch.full((length, length), torch.finfo(torch.float32).min).triu(1)"),
        ),
        "nothing hidden": Wrong(
            "That is BERT's own view. Who must not see whom in a decoder?", (".tril()", "")
        ),
        "booleans or whole numbers": Wrong(
            "The triangle is right. Which dtype does the task ask for?",
            ("torch.ones(length, length).tril()", "torch.ones(length, length).tril().long()"),
        ),
        "only the token itself": Wrong(
            "May the last token look at the first one?",
            ("torch.ones(length, length).tril()", "torch.eye(length)"),
        ),
        "only the token itself and the one before": Wrong(
            "May the last token look at the first one?", ("tril()", "tril().triu(-1)")
        ),
        "the next token visible": Wrong(
            "How many tokens does the first token see in yours? It should see itself alone.",
            ("tril()", "tril(1)"),
        ),
        "each row sums to 1": Wrong(
            "Sharing out a weight of 1 is the softmax's job. What should the entries be?",
            (
                "torch.ones(length, length).tril()",
                "torch.ones(length, length).tril() / torch.ones(length, length).tril().sum(dim=1, "
                "keepdim=True)",
            ),
        ),
        "two axes too many": Wrong(
            "What is the shape of your result, and what does the docstring say?",
            ("torch.ones(length, length).tril()", "torch.ones(length, length).tril()[None, None]"),
        ),
    },
    hints=(
        "Row i is what token i may look at: itself and what came before.",
        "A lower triangle, its diagonal included. PyTorch has a method for triangles.",
    ),
    why="With this one triangle an encoder layer becomes the layer of a GPT.",
)
