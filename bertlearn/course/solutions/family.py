"""The answers to the exercises of chapter 7, as a teacher would write them on the board.

Shape letters: B batch, S sequence, V vocabulary, D size of a vector, K negative samples, N masked tokens.
"""

import torch


def ppmi(counts, smoothing=0.75):
    """Weight co-occurrence counts, floats (V, V): max(0, log(p(w, c) / (p(w) p(c)))), of the same shape.

    Row w is a word, column c its neighbor. p(c) is smoothed: proportional to the count of c to the power
    `smoothing`. A pair that never occurred has the weight 0.
    """
    pair = counts / counts.sum()  # p(w, c)
    word = pair.sum(dim=1, keepdim=True)  # p(w), (V, 1)
    powers = counts.sum(dim=0, keepdim=True) ** smoothing
    context = powers / powers.sum()  # p(c), (1, V)
    ratio = pair / (word * context)
    # Below a ratio of 1 the logarithm is negative, at 0 it is −∞, and both become 0.
    return ratio.clamp(min=1).log().nan_to_num()


def negative_distribution(counts, power=0.75):
    """Return how likely each word is drawn as a negative sample: floats (V,) from counts (V,), sum 1."""
    weights = counts.float() ** power
    return weights / weights.sum()


def skipgram_gradients(word, neighbor, negatives):
    """Return the gradients of −log σ(w·c) − Σ log σ(−w·n) for w, c and each n: (D,), (D,), (K, D).

    word w, neighbor c: floats (D,); negatives n: floats (K, D).
    """
    # The derivative of −log σ(z) is σ(z) − 1: how far the true pair is from being certain.
    right = torch.sigmoid(word @ neighbor) - 1  # a number below 0: pull together
    # The derivative of −log σ(−z) is σ(z): how much the model believes in a false pair.
    wrong = torch.sigmoid(negatives @ word)  # (K,), above 0: push apart
    grad_word = right * neighbor + wrong @ negatives
    grad_neighbor = right * word
    grad_negatives = wrong[:, None] * word  # (K, D)
    return grad_word, grad_neighbor, grad_negatives


def prefix_mask(length, prefix):
    """Return what each token sees: booleans (S, S), rows are queries, columns are keys.

    All tokens see the first `prefix` tokens; beyond them, a token sees itself and what comes before it. So
    prefix=0 is GPT's mask, and prefix=length is BERT's.
    """
    positions = torch.arange(length)
    causal = positions[None, :] <= positions[:, None]  # (S, S)
    return causal | (positions < prefix)  # the keys of the prefix are visible to everyone


def permutation_mask(order):
    """Return what each token sees when tokens are predicted in a given order: booleans (S, S).

    order: whole numbers (S,); order[0] is the position that is predicted first. A token sees the positions
    that come before its own in the order, and not itself: that would be the answer.
    """
    turn = torch.empty_like(order)
    turn[order] = torch.arange(len(order))  # at which turn each position is predicted
    return turn[None, :] < turn[:, None]


def replaced_labels(original_ids, corrupted_ids, attention_mask):
    """Return the discriminator's labels: whole numbers (B, S), 1 replaced, 0 original, −100 padding.

    original_ids, corrupted_ids: whole numbers (B, S), the text and what the generator made of it.
    attention_mask: (B, S), 1 = keep, 0 = padding.
    """
    # Not "where was masked": where the generator guessed right, nothing was replaced.
    labels = (corrupted_ids != original_ids).long()
    return labels.masked_fill(attention_mask == 0, -100)


def sample_tokens(logits, numbers):
    """Draw a token for each row: whole numbers (N,) from logits (N, V) and random numbers (N,) in [0, 1).

    The token is the first one at which the sum of the probabilities exceeds the row's number. No gradient
    passes through the draw.
    """
    probabilities = logits.detach().softmax(dim=-1)
    sums = probabilities.cumsum(dim=-1)  # (N, V), rising to 1
    below = (sums <= numbers[:, None]).sum(dim=-1)  # how many tokens end before the number
    return below.clamp(max=logits.shape[-1] - 1)  # rounding can leave the last sum just under 1


def unmask(ids, logits, mask_id, count):
    """Fill the `count` masked positions of which the model is surest: whole numbers (S,) → (S,).

    ids: (S,), with `mask_id` where a token is missing. logits: floats (S, V).
    Each filled position gets its most probable token; the others stay as they are.
    """
    probabilities, tokens = logits.softmax(dim=-1).max(dim=-1)  # (S,) each
    sure = probabilities.masked_fill(ids != mask_id, -1.0)  # what is known already is not filled again
    missing = int((ids == mask_id).sum())
    chosen = sure.topk(min(count, missing)).indices
    filled = ids.clone()
    filled[chosen] = tokens[chosen]
    return filled
