"""The answers to the exercises of chapter 3, as a teacher would write them on the board."""

import math

import torch


def sum_embeddings(word, position, token_type):
    """Return the sum of the three embeddings, floats (B, S, H)."""
    # Shapes align from the right: position (S, H) meets (B, S, H) as if it were (1, S, H),
    # so each sequence of the batch gets the same positions. No reshaping is needed.
    return word + position + token_type


def layer_norm(x, weight, bias, eps):
    """Normalize each token's features, then scale and shift them."""
    # The last axis holds the features. keepdim leaves (..., 1), which broadcasts against (..., H).
    centered = x - x.mean(dim=-1, keepdim=True)
    # The mean of the squares divides by H: the biased variance.
    variance = (centered**2).mean(dim=-1, keepdim=True)
    # ε goes inside the root, where it keeps a token of equal features from dividing by zero.
    return centered / torch.sqrt(variance + eps) * weight + bias


def add_and_norm(sublayer_output, residual, norm):
    """Add a sublayer's output to the sublayer's input, then normalize (post-LN)."""
    # The order is the point: first the sum, then the norm of the sum.
    return norm(residual + sublayer_output)


def gelu(x):
    """Return x · Φ(x) for each number in x."""
    # Φ is the standard normal distribution function. erf is defined for another width of the bell,
    # hence the root of two.
    phi = (1 + torch.erf(x / math.sqrt(2))) / 2
    return x * phi


def count_parameters(config):
    """Return how many numbers a BertModel of this config has, its pooler included."""
    h, i = config.hidden_size, config.intermediate_size
    # A Linear from a to b has a matrix a × b and b biases; a LayerNorm has a weight and a bias of length h.
    square, norm = h * h + h, 2 * h
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    embeddings = rows * h + norm
    # Query, key, value and output: the heads only cut these four matrices, they add none.
    attention = 4 * square + norm
    feed_forward = (h * i + i) + (i * h + h) + norm
    pooler = square
    return embeddings + config.num_hidden_layers * (attention + feed_forward) + pooler


def mean_pooling(hidden_states, attention_mask):
    """Return the average of each sequence's kept token vectors, floats (B, H)."""
    # One more axis lets the mask multiply whole tokens: padding becomes a row of zeros in the sum…
    keep = attention_mask[:, :, None]  # (B, S, 1)
    total = (hidden_states * keep).sum(dim=1)  # (B, H)
    # … and is left out of the count as well.
    return total / keep.sum(dim=1)  # (B, H) / (B, 1)


def causal_mask(length):
    """Return floats (length, length): 1 where the row's token may look at the column's token, else 0."""
    # The lower triangle with its diagonal: a token may look at itself and at what came before.
    return torch.ones(length, length).tril()


def scaled_dot_product_attention(query, key, value, attention_mask=None):
    """Return the context (B, A, S, D) and the probabilities (B, A, S, S)."""
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if attention_mask is not None:
        scores = scores + attention_mask  # before the softmax: a masked score becomes a probability of 0
    probs = scores.softmax(dim=-1)
    return probs @ value, probs
