"""The answers to the exercises of chapter 8, as a teacher would write them on the board.

Shape letters: B batch, S sequence, H hidden, A heads, D = H / A, N tokens without padding.
"""

import torch


def rms_norm(x, weight, eps=1e-5):
    """Divide each token's features by their root mean square, then scale them: floats (..., H) → (..., H).

    weight: floats (H,).
    """
    # Unlike LayerNorm, nothing is subtracted: only the length of the vector changes, not its direction.
    mean_square = x.pow(2).mean(dim=-1, keepdim=True)  # (..., 1)
    return x / (mean_square + eps).sqrt() * weight


def geglu(x, up, gate, down):
    """Compute a gated feed-forward network without biases: floats (B, S, H) → (B, S, H).

    up, gate: floats (I, H), the weights of two linear layers, as nn.Linear stores them.
    down: floats (H, I). The features inside are gelu(x upᵀ) ∘ (x gateᵀ).
    """
    # One branch goes through GELU, the other stays linear and says how much of each feature passes.
    features = torch.nn.functional.gelu(x @ up.T) * (x @ gate.T)  # (B, S, I)
    return features @ down.T


def rotate(x, position_ids, theta=10000.0):
    """Rotate each pair of features (i, i + D/2) by an angle that grows with the position.

    x: queries or keys, floats (B, A, S, D), D even.
    position_ids: whole numbers (B, S).
    The angle of pair i at position p is p · theta^(−2i/D).
    """
    half = x.shape[-1] // 2
    frequencies = theta ** (-torch.arange(half) / half)  # (D/2,), from 1 down to nearly 1 / theta
    angles = position_ids[:, None, :, None] * frequencies  # (B, 1, S, D/2): the same for every head
    first, second = x[..., :half], x[..., half:]
    # The matrix of a rotation, (cos −sin; sin cos), applied to each pair at once.
    turned_first = first * angles.cos() - second * angles.sin()
    turned_second = second * angles.cos() + first * angles.sin()
    return torch.cat([turned_first, turned_second], dim=-1)


def attend_rotary(query, key, value, position_ids):
    """Attend with rotary positions: floats (B, A, S, D) each → (B, A, S, D).

    position_ids: whole numbers (B, S). Uses `rotate`.
    """
    # Scores shall depend on where tokens are, so queries and keys turn. Values are what is passed on.
    query, key = rotate(query, position_ids), rotate(key, position_ids)
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return scores.softmax(dim=-1) @ value


def local_mask(length, window):
    """Return which keys each query sees: booleans (S, S), True up to window / 2 tokens away on each side.

    length: S. window: an even number of tokens; a token also sees itself.
    """
    positions = torch.arange(length)
    distances = (positions[:, None] - positions[None, :]).abs()  # (S, S)
    return distances <= window // 2


def pre_norm_layer(x, attention, feed_forward, attention_norm, mlp_norm):
    """Compute one layer with pre-norm: floats (B, S, H) → (B, S, H).

    The four others are functions from floats (B, S, H) to (B, S, H).
    """
    # The residual stream is never normalized itself, so gradients flow back through it unchanged.
    x = x + attention(attention_norm(x))
    return x + feed_forward(mlp_norm(x))


def without_padding(x, attention_mask):
    """Return the vectors of real tokens, one below the other: (B, S, H) → (N, H).

    attention_mask: (B, S), 1 = keep, 0 = padding.
    """
    return x[attention_mask.bool()]  # row by row, so the tokens of a text stay together


def with_padding(tokens, attention_mask):
    """Put the vectors back where they were, with zeros for padding: (N, H) → (B, S, H)."""
    padded = tokens.new_zeros(*attention_mask.shape, tokens.shape[-1])
    padded[attention_mask.bool()] = tokens  # in the same order in which they were taken out
    return padded


def learning_rate(step, steps, warmup, stable, peak):
    """Return the learning rate of a step, counted from 1: warm-up, stable, decay.

    warmup and stable are numbers of steps. The rate rises linearly from 0 at step 0 to the peak at the
    last step of the warm-up, stays there, and falls linearly so that it would be 0 one step after the last.
    """
    if step <= warmup:
        return peak * step / warmup
    if step <= warmup + stable:
        return peak
    return peak * (steps + 1 - step) / (steps + 1 - warmup - stable)


def orthogonalize(gradient, iterations=5):
    """Return nearly the orthogonal matrix closest to a gradient, floats (rows, columns), as Muon does.

    The iteration X ← a X + (b X Xᵀ + c (X Xᵀ)²) X with a = 3.4445, b = −4.7750, c = 2.0315 brings every
    singular value to about 1. It starts at gradient / (Frobenius norm + 1e-7). For a matrix with more
    rows than columns, work on its transpose, so that X Xᵀ is small.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = gradient.shape[0] > gradient.shape[1]
    x = gradient.T if tall else gradient
    x = x / (x.norm() + 1e-7)  # no singular value is above 1 now, so the iteration converges
    for _ in range(iterations):
        products = x @ x.T
        x = a * x + (b * products + c * products @ products) @ x
    return x.T if tall else x
