"""The exercises of chapter 3: LayerNorm, GELU, the sums around them, parameters, pooling, the causal mask.

Each wrong variant is a mistake that people really make; its question leads the learner to see it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bertlearn import embeddings, encoder, normalization
from bertlearn.checks.core import Exercise, Wrong
from bertlearn.config import BertConfig

Norm = Callable[[Tensor], Tensor]


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _norm_over(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, axes: tuple[int, ...], correction: int = 0
) -> Tensor:
    variance, mean = torch.var_mean(x, dim=axes, correction=correction, keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * weight + bias


# Exercise 1: the sum of the three embeddings.


def _position_forgotten(word: Tensor, position: Tensor, token_type: Tensor) -> Tensor:
    return word + token_type


def _token_type_forgotten(word: Tensor, position: Tensor, token_type: Tensor) -> Tensor:
    return word + position


def _concatenated(word: Tensor, position: Tensor, token_type: Tensor) -> Tensor:
    return torch.cat([word, position.expand_as(word), token_type], dim=-1)


def _normalized_one_by_one(word: Tensor, position: Tensor, token_type: Tensor) -> Tensor:
    def normalize(x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, x.shape[-1:])

    return normalize(word) + normalize(position) + normalize(token_type)


def _position_along_the_batch(word: Tensor, position: Tensor, token_type: Tensor) -> Tensor:
    return word + position[:, None] + token_type


def _averaged(word: Tensor, position: Tensor, token_type: Tensor) -> Tensor:
    return (word + position + token_type) / 3


sum_embeddings = Exercise(
    name="sum_embeddings",
    reference=embeddings.sum_embeddings,
    cases={
        "two sentences of five tokens": (
            _randn(2, 5, 8, seed=0),
            _randn(5, 8, seed=1),
            _randn(2, 5, 8, seed=2),
        ),
        "four sentences of four tokens": (
            _randn(4, 4, 6, seed=3),
            _randn(4, 6, seed=4),
            _randn(4, 4, 6, seed=5),
        ),
    },
    wrong={
        "the positions forgotten": Wrong(
            _position_forgotten, "Would “dog bites man” and “man bites dog” get different vectors from yours?"
        ),
        "the token types forgotten": Wrong(
            _token_type_forgotten,
            "Two sentences, one sequence: what tells your vectors which one a token is in?",
        ),
        "concatenated instead of added": Wrong(
            _concatenated, "How many features has a token after your step, and how many does layer 0 take?"
        ),
        "each embedding normalized before the sum": Wrong(
            _normalized_one_by_one,
            "Is there a LayerNorm in this function? It comes once, on the finished sum.",
        ),
        "the positions added along the batch axis": Wrong(
            _position_along_the_batch,
            "position is (S, H). Which axis of (B, S, H) should its S meet? Shapes align from the right.",
        ),
        "the average instead of the sum": Wrong(
            _averaged, "Your vectors point the right way. Are they as long as the sum?"
        ),
    },
    hints=(
        "All three have features on the last axis and tokens on the one before it.",
        "Broadcasting aligns shapes from the right: (S, H) meets (B, S, H) without help.",
        "One line, two plus signs.",
    ),
)


# Exercise 2: LayerNorm.


def _eps_outside(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return (x - mean) / (variance.sqrt() + eps) * weight + bias


def _eps_forgotten(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _norm_over(x, weight, bias, 0.0, (-1,))


def _unbiased_variance(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _norm_over(x, weight, bias, eps, (-1,), correction=1)


def _over_the_tokens(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _norm_over(x, weight, bias, eps, (-2,))


def _over_the_batch(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _norm_over(x, weight, bias, eps, tuple(range(x.dim() - 1)))


def _over_everything(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _norm_over(x, weight, bias, eps, tuple(range(x.dim())))


def _scale_and_shift_forgotten(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _norm_over(x, torch.ones_like(weight), torch.zeros_like(bias), eps, (-1,))


def _shift_forgotten(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _norm_over(x, weight, torch.zeros_like(bias), eps, (-1,))


def _divided_by_std(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return (x - x.mean(dim=-1, keepdim=True)) / (x.std(dim=-1, keepdim=True) + eps) * weight + bias


def _root_forgotten(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return (x - mean) / (variance + eps) * weight + bias


def _mean_not_subtracted(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return x / (x.var(dim=-1, correction=0, keepdim=True) + eps).sqrt() * weight + bias


def _rms_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return x / (x.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt() * weight + bias


_WEIGHT, _BIAS = 1 + 0.5 * _randn(8, seed=6), 0.5 * _randn(8, seed=7)

layer_norm = Exercise(
    name="layer_norm",
    reference=normalization.layer_norm,
    cases={
        "the token 1, 2, 3, 6": (torch.tensor([[1.0, 2.0, 3.0, 6.0]]), torch.ones(4), torch.zeros(4), 1e-12),
        "two sentences of three tokens": (2 + 3 * _randn(2, 3, 8, seed=8), _WEIGHT, _BIAS, 1e-12),
        "a large ε": (1 + _randn(3, 8, seed=9), _WEIGHT, _BIAS, 0.5),
    },
    wrong={
        "ε outside the root": Wrong(
            _eps_outside, "The paper adds ε to the variance, not to the standard deviation. Which is yours?"
        ),
        "the argument ε not used": Wrong(
            _eps_forgotten, "Call yours with eps=0.5 and with eps=1e-12. Do the results differ?"
        ),
        "the unbiased variance": Wrong(
            _unbiased_variance, "Do you divide by H or by H − 1? What is x.var()'s default in PyTorch?"
        ),
        "normalized over the tokens": Wrong(
            _over_the_tokens, "Take one token of your result: is the mean of its features 0?"
        ),
        "normalized over the batch (BatchNorm)": Wrong(
            _over_the_batch, "Should a token's vector change when another sentence joins the batch?"
        ),
        "one mean and variance for the whole tensor": Wrong(
            _over_everything, "How many means does a batch of 2 × 3 tokens need: one, or six?"
        ),
        "scale and shift forgotten": Wrong(
            _scale_and_shift_forgotten, "weight and bias were learned. Where do they enter your result?"
        ),
        "the shift forgotten": Wrong(_shift_forgotten, "weight is in your result. Where does bias enter?"),
        "x.std() + ε: the unbiased variance, and ε outside the root": Wrong(
            _divided_by_std, "By what does x.std() divide, H or H − 1? And where does the paper put ε?"
        ),
        "the root forgotten": Wrong(_root_forgotten, "What is the variance of your result? It should be 1."),
        "the mean not subtracted": Wrong(
            _mean_not_subtracted,
            "What is the mean of one token of your result, before the shift? It should be 0.",
        ),
        "RMSNorm": Wrong(
            _rms_norm,
            "That is what many later models use. What does LayerNorm take away first, and yours not?",
        ),
    },
    hints=(
        "Mean and variance are taken over the last axis; keepdim=True keeps them broadcastable.",
        "The biased variance is the mean of the squared distances from the mean.",
        "Subtract the mean, divide by the root of (variance + ε), multiply by weight, add bias.",
    ),
)


# Exercise 3: residual and LayerNorm.


def _only_sublayer_normalized(sublayer_output: Tensor, residual: Tensor, norm: Norm) -> Tensor:
    return residual + norm(sublayer_output)


def _no_residual(sublayer_output: Tensor, residual: Tensor, norm: Norm) -> Tensor:
    return norm(sublayer_output)


def _only_residual_normalized(sublayer_output: Tensor, residual: Tensor, norm: Norm) -> Tensor:
    return norm(residual) + sublayer_output


def _residual_twice(sublayer_output: Tensor, residual: Tensor, norm: Norm) -> Tensor:
    return residual + norm(sublayer_output + residual)


def _not_normalized(sublayer_output: Tensor, residual: Tensor, norm: Norm) -> Tensor:
    return sublayer_output + residual


def _learned_norm(seed: int) -> normalization.LayerNorm:
    norm = normalization.LayerNorm(8).requires_grad_(False)
    norm.weight.add_(_randn(8, seed=seed), alpha=0.5)
    norm.bias.add_(_randn(8, seed=seed + 1), alpha=0.5)
    return norm


add_and_norm = Exercise(
    name="add_and_norm",
    reference=normalization.add_and_norm,
    cases={
        "two sentences of three tokens": (
            _randn(2, 3, 8, seed=10),
            _randn(2, 3, 8, seed=11),
            _learned_norm(12),
        ),
        "a sublayer that adds little": (
            0.1 * _randn(1, 4, 8, seed=14),
            _randn(1, 4, 8, seed=15),
            _learned_norm(16),
        ),
    },
    wrong={
        "normalized before the sum, as pre-LN does, and not after it": Wrong(
            _only_sublayer_normalized,
            "BERT is post-LN. What does norm act on: the sublayer's output, or the sum?",
        ),
        "no residual": Wrong(
            _no_residual, "Where does the sublayer's input go in yours? Recall the 12 layers."
        ),
        "the residual normalized instead of the sum": Wrong(
            _only_residual_normalized, "First add, then normalize. In which order does yours go?"
        ),
        "the residual added twice": Wrong(
            _residual_twice, "How often does the sublayer's input enter yours? Count it inside norm too."
        ),
        "the sum not normalized": Wrong(_not_normalized, "What is each token's variance in your result?"),
    },
    hints=(
        "Two steps, and their order is in the name.",
        "norm is called once, like a function, on the result of the first step.",
    ),
)


# Exercise 4: GELU.


def _gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _gelu_sigmoid(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def _silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def _half_forgotten(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2)))


def _root_of_two_forgotten(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x))


def _phi_alone(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _density(x: Tensor) -> Tensor:
    return x * torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)


gelu = Exercise(
    name="gelu",
    reference=encoder.gelu,
    cases={
        "a grid from −6 to 6": (torch.linspace(-6, 6, 49),),
        "a batch": (2 * _randn(2, 3, 4, seed=18),),
        "numbers far from 0": (torch.tensor([-40.0, 40.0, 100.0]),),
    },
    wrong={
        "the tanh approximation": Wrong(
            _gelu_tanh, "So close, and yet: by how much does yours differ at x = 2? BERT uses the exact Φ."
        ),
        "the sigmoid approximation": Wrong(
            _gelu_sigmoid, "1.702 is a fit by eye. Is your value at x = 2 the exact 1.9545?"
        ),
        "ReLU": Wrong(_relu, "What does yours give at x = −0.5? GELU gives −0.1543."),
        "SiLU: the logistic function for Φ": Wrong(
            _silu,
            "Which curve rises from 0 to 1 in your code: the normal distribution's, or the logistic one?",
        ),
        "the ½ forgotten": Wrong(
            _half_forgotten, "Φ is a probability. How large can your factor of x become?"
        ),
        "√2 forgotten": Wrong(
            _root_of_two_forgotten, "Φ(1) is 0.8413. What does your (1 + erf(…)) / 2 give for x = 1?"
        ),
        "Φ(x) without the factor x": Wrong(
            _phi_alone, "What does yours give for x = 100? A token with a large feature should keep it."
        ),
        "the density instead of the distribution function": Wrong(
            _density,
            "Φ(x) is the probability of a value below x: 0.5 at x = 0, and nearly 1 at x = 3. Is yours?",
        ),
    },
    hints=(
        "Φ(x) = (1 + erf(x / √2)) / 2.",
        "torch.erf works on whole tensors; math.sqrt(2) gives the root.",
        "Multiply that Φ(x) by x.",
    ),
)


# Exercise 5: counting.


def _count(
    config: BertConfig,
    *,
    bias: int = 1,
    embedding_norms: int = 1,
    layer_norms: int = 2,
    projections: int = 4,
    dense: int = 2,
    pooler: int = 1,
    tables: int = 3,
    layers: int | None = None,
) -> int:
    """Count with some parts left out; the defaults leave nothing out."""
    h, i = config.hidden_size, config.intermediate_size
    rows = (config.vocab_size, config.max_position_embeddings, config.type_vocab_size)
    embedding = sum(rows[:tables]) * h + embedding_norms * 2 * h
    feed_forward = (h * i + bias * i) + (dense - 1) * (i * h + bias * h)
    layer = projections * (h * h + bias * h) + feed_forward + layer_norms * 2 * h
    return (
        embedding
        + (config.num_hidden_layers if layers is None else layers) * layer
        + pooler * (h * h + bias * h)
    )


def _all_parameters(config: BertConfig) -> int:
    return _count(config)


def _no_biases(config: BertConfig) -> int:
    return _count(config, bias=0)


def _no_layer_norms(config: BertConfig) -> int:
    return _count(config, embedding_norms=0, layer_norms=0)


def _no_pooler(config: BertConfig) -> int:
    return _count(config, pooler=0)


def _times_heads(config: BertConfig) -> int:
    return _count(config, projections=1 + 3 * config.num_attention_heads)


def _intermediate_once(config: BertConfig) -> int:
    return _count(config, dense=1)


def _no_output_projection(config: BertConfig) -> int:
    return _count(config, projections=3)


def _words_alone(config: BertConfig) -> int:
    return _count(config, tables=1)


def _one_layer(config: BertConfig) -> int:
    return _count(config, layers=1)


count_parameters = Exercise(
    name="count_parameters",
    reference=_all_parameters,
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
        "the biases forgotten": Wrong(_no_biases, "How many numbers are in nn.Linear(2, 3)? Not 6."),
        "the LayerNorms forgotten": Wrong(
            _no_layer_norms, "You are short by a multiple of 2H. What learned two vectors of length H?"
        ),
        "the pooler forgotten": Wrong(
            _no_pooler, "You are short by one dense layer H → H. What comes after the last layer?"
        ),
        "the projections counted for each head": Wrong(
            _times_heads, "A heads of size H / A: how large is the one matrix that makes all their queries?"
        ),
        "the feed-forward network counted once": Wrong(
            _intermediate_once, "H → I is half of it. How does a token get back to H features?"
        ),
        "the attention's output projection forgotten": Wrong(
            _no_output_projection, "Query, key, value. Which fourth matrix mixes the heads' results?"
        ),
        "the word embeddings alone": Wrong(
            _words_alone, "A token's first vector is a sum of three. Which two tables are missing?"
        ),
        "one layer only": Wrong(_one_layer, "Does each layer have weights of its own?"),
    },
    hints=(
        "A table with n rows has n · H numbers; a Linear from a to b has a · b + b; a LayerNorm has 2H.",
        "One layer: four Linear H → H, one H → I, one I → H, two LayerNorms.",
        "Three tables and a LayerNorm, then L layers, then one more Linear H → H for the pooler.",
    ),
    tolerance=1e-9,  # relative: every single parameter counts
)


# Exercise 6: mean pooling.


def _padding_counted(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return hidden_states.mean(dim=1)


def _divided_by_length(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return (hidden_states * attention_mask[..., None]).mean(dim=1)


def _first_token(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return hidden_states[:, 0]


def _maximum(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return hidden_states.masked_fill(attention_mask[..., None] == 0, -torch.inf).amax(dim=1)


def _sum(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return (hidden_states * attention_mask[..., None]).sum(dim=1)


def _over_the_features(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return hidden_states.mean(dim=-1)


def _batch_count(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return (hidden_states * attention_mask[..., None]).sum(dim=1) / attention_mask.sum()


mean_pooling = Exercise(
    name="mean_pooling",
    reference=encoder.mean_pooling,
    cases={
        "no padding": (_randn(2, 4, 6, seed=20), torch.ones(2, 4, dtype=torch.long)),
        "a padded batch": (
            1 + _randn(3, 5, 6, seed=21),
            torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]),
        ),
    },
    wrong={
        "padding counted": Wrong(
            _padding_counted, "Add ten [PAD] to a sentence: does your vector change? It must not."
        ),
        "padding left out, but divided by S": Wrong(
            _divided_by_length, "You add up 3 tokens of 5. By which number do you divide?"
        ),
        "[CLS] alone": Wrong(_first_token, "Which tokens enter your vector? Only the first?"),
        "the maximum instead of the mean": Wrong(
            _maximum, "That is max pooling. What would the mean of 1, 2 and 6 be?"
        ),
        "divided by the tokens of the whole batch": Wrong(
            _batch_count, "Should a text's vector change when another text joins the batch?"
        ),
        "the sum, not divided": Wrong(_sum, "Should a sentence twice as long have a vector twice as long?"),
        "the mean over the features": Wrong(
            _over_the_features, "One vector of H features a sentence: which axis should be gone?"
        ),
    },
    hints=(
        "Give the mask a third axis, (B, S, 1), and it multiplies whole tokens.",
        "Sum over the tokens; then divide by how many were kept, which is the mask's own sum.",
    ),
)


# Exercise 7: the causal mask.


def _causal_mask(length: int) -> Tensor:
    return torch.ones(length, length).tril()


def _past_hidden(length: int) -> Tensor:
    return torch.ones(length, length).triu()


def _itself_hidden(length: int) -> Tensor:
    return torch.ones(length, length).tril(-1)


def _inverted(length: int) -> Tensor:
    return torch.ones(length, length).triu(1)


def _additive(length: int) -> Tensor:
    return torch.full((length, length), -torch.inf).triu(1)


def _additive_finite(length: int) -> Tensor:
    return torch.full((length, length), torch.finfo(torch.float32).min).triu(1)


def _nothing_hidden(length: int) -> Tensor:
    return torch.ones(length, length)


causal_mask = Exercise(
    name="causal_mask",
    reference=_causal_mask,
    cases={"one token": (1,), "two tokens": (2,), "five tokens": (5,)},
    wrong={
        "the past hidden, the future kept": Wrong(
            _past_hidden, "Row 0 is what the first token sees. How many tokens does it see in yours?"
        ),
        "each token hidden from itself": Wrong(
            _itself_hidden, "What may the first token look at in yours? Its row has no 1 in it."
        ),
        "inverted: 1 where hidden": Wrong(
            _inverted,
            "In this course 1 = keep. What does the last token, which may see everything, see in yours?",
        ),
        "already additive": Wrong(
            _additive,
            "0 and −∞ is what the scores need. The task asks for one step before: 1 = may look, 0 = may not.",
        ),
        "already additive, with a finite number": Wrong(
            _additive_finite,
            "0 and −10³⁸ is what the scores need. The task asks for 1 = may look, 0 = may not.",
        ),
        "nothing hidden": Wrong(
            _nothing_hidden, "That is BERT's own view. Who must not see whom in a decoder?"
        ),
    },
    hints=(
        "Row i is what token i may look at: itself and what came before.",
        "A lower triangle, its diagonal included. PyTorch has a method for triangles.",
    ),
)
