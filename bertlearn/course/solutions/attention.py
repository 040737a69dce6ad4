"""The answers to the exercises of chapter 1, as a teacher would write them on the board.

Shape letters: B batch, S sequence, H hidden, A heads, D = H / A.
"""

import math

import torch


def softmax(x):
    """Turn scores into weights: floats (..., S) → floats (..., S), positive, each row summing to 1."""
    # Subtracting each row's own maximum changes no weight and makes the largest exponent 0: no overflow.
    maximum = x.max(dim=-1, keepdim=True).values  # (..., 1), which broadcasts against (..., S)
    powers = (x - maximum).exp()
    return powers / powers.sum(dim=-1, keepdim=True)


def additive_mask(attention_mask, dtype=torch.float32):
    """Turn (B, S), 1 = keep, 0 = padding (numbers or booleans), into floats (B, 1, 1, S) of `dtype`."""
    masked = attention_mask[:, None, None, :] == 0  # True for padding; the last axis is that of the keys
    zeros = torch.zeros(masked.shape, dtype=dtype, device=masked.device)
    # A finite number: a row in which everything is masked becomes an even spread, and not NaN.
    return zeros.masked_fill(masked, torch.finfo(dtype).min)


def scaled_dot_product_attention(query, key, value, attention_mask=None):
    """Mix the values by how well queries and keys match.

    query, key, value: floats (B, A, S, D).
    attention_mask: numbers to add to the scores, broadcasting to (B, A, S, S), or None.
    Returns (context, probs): floats (B, A, S, D) and (B, A, S, S).
    """
    # Row i, column j: query i times key j, a sum of D products whose variance √D brings back to 1.
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])  # (B, A, S, S)
    if attention_mask is not None:
        scores = scores + attention_mask  # before the softmax, so that padding gets no share at all
    probs = scores.softmax(dim=-1)  # over the keys: each query has a weight of 1 to give
    context = probs @ value
    return context, probs


def split_heads(x, num_attention_heads):
    """Cut each word's features into heads: (B, S, H) → (B, A, S, D), with H = A · D."""
    batch, length, hidden = x.shape
    size = hidden // num_attention_heads
    # Cut within each word first: its features lie side by side in memory, and view only relabels them.
    x = x.view(batch, length, num_attention_heads, size)  # (B, S, A, D)
    # Then bring the heads forward, so that `@` sees one (S, D) matrix for each head.
    return x.transpose(1, 2)  # (B, A, S, D)


def merge_heads(x):
    """Lay the heads side by side again: (B, A, S, D) → (B, S, H)."""
    batch, heads, length, size = x.shape
    # The same two steps in the opposite order. reshape copies here; view would refuse, because transpose
    # has changed the order of the axes and not that of the memory.
    return x.transpose(1, 2).reshape(batch, length, heads * size)


def softmax_backward(probs, grad_probs):
    """Return the gradient of the scores from the softmax's result and the gradient of that result.

    probs, grad_probs and the result: floats (..., S); softmax was taken over the last axis.
    """
    # (diag(p) − p pᵀ) g = p ∘ g − p (p · g) = p ∘ (g − p · g), where p · g is one number for each row:
    # the mean gradient, each key counted by its weight. Keys above that mean gain, keys below it lose.
    mean = (probs * grad_probs).sum(dim=-1, keepdim=True)  # (..., 1)
    return probs * (grad_probs - mean)


def attention_backward(query, key, value, probs, grad_context):
    """Return (grad_query, grad_key, grad_value), each floats (B, A, S, D).

    query, key, value, grad_context: floats (B, A, S, D); probs: floats (B, A, S, S).
    """
    # context = probs @ value
    grad_value = probs.transpose(-1, -2) @ grad_context  # a value is used by every query: sum over them
    grad_probs = grad_context @ value.transpose(-1, -2)  # (B, A, S, S)
    # probs = softmax(scores); a masked key has the weight 0, so its gradient is 0 as well.
    grad_scores = softmax_backward(probs, grad_probs)
    # scores = query @ keyᵀ / √D, plus the mask, which is a constant.
    grad_products = grad_scores / math.sqrt(query.shape[-1])
    grad_query = grad_products @ key
    grad_key = grad_products.transpose(-1, -2) @ query  # a key has a column: sum over the queries
    return grad_query, grad_key, grad_value
