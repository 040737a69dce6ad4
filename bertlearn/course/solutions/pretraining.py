"""The answers to the exercises of chapter 4, as a teacher would write them on the board."""

import torch


def hide_tokens(input_ids, chance, fate, random_ids, special_ids, mask_id):
    """Return the masked ids and the labels, both int64 (B, S)."""
    # The first decision: which tokens have to be guessed. Special tokens and padding never do.
    chosen = (chance < 0.15) & ~torch.isin(input_ids, special_ids)
    # A label is the token that was there, taken before anything is hidden.
    labels = torch.where(chosen, input_ids, -100)
    # The second decision has a random number of its own. What is neither hidden nor replaced stays.
    hidden = chosen & (fate < 0.8)
    replaced = chosen & (fate >= 0.8) & (fate < 0.9)
    masked = torch.where(hidden, mask_id, input_ids)
    masked = torch.where(replaced, random_ids, masked)
    return masked, labels


def make_pair(document, index, stranger, follows, cls_id, sep_id):
    """Return the ids, the token types and the label of a pair."""
    a = document[index]
    b = document[index + 1] if follows else stranger
    input_ids = [cls_id, *a, sep_id, *b, sep_id]
    # Segment 0 is [CLS], A and the [SEP] that closes A.
    token_type_ids = [0] * (len(a) + 2) + [1] * (len(b) + 1)
    # BERT's own convention: 0 means that B follows A, 1 that it does not.
    return input_ids, token_type_ids, 0 if follows else 1


def masked_lm_loss(logits, labels):
    """Return the mean loss of the labeled positions, in nats."""
    asked = labels != -100
    # A boolean mask picks rows: (B, S, V) → (N, V), and (B, S) → (N,).
    log_probs = logits[asked].log_softmax(dim=-1)
    # Each row gives one number, the one at the place of its label.
    of_the_label = log_probs.gather(1, labels[asked][:, None])
    return -of_the_label.mean()


def unigram_entropy(counts):
    """Return −Σ p ln p in nats, as a number."""
    # A piece that never occurs adds nothing; leaving it out avoids 0 · ln 0 = NaN.
    p = counts[counts > 0].double() / counts.sum()
    return -(p * p.log()).sum().item()


def learning_rate(step, steps, warmup_steps, peak):
    """Return the learning rate of a step, counted from 1."""
    if step <= warmup_steps:
        return peak * step / warmup_steps
    # The peak is at warmup_steps; from there to 0 it takes steps + 1 − warmup_steps.
    return peak * (steps + 1 - step) / (steps + 1 - warmup_steps)


def adamw_step(parameter, gradient, average, square, step, learning_rate, decay):
    """Return the new parameter and the two new averages."""
    beta1, beta2, epsilon = 0.9, 0.98, 1e-6
    new_average = beta1 * average + (1 - beta1) * gradient
    new_square = beta2 * square + (1 - beta2) * gradient**2
    # Both averages began at 0 and are too small at first. These divisions correct them for this step only:
    # what is kept for the next one is the plain average.
    m = new_average / (1 - beta1**step)
    v = new_square / (1 - beta2**step)
    # The decay stands beside the fraction. As a part of the gradient it would be divided by the root as well.
    change = m / (v.sqrt() + epsilon) + decay * parameter
    return parameter - learning_rate * change, new_average, new_square


def clip_gradients(gradients, max_norm):
    """Return the gradients, all scaled by one factor if they are too long together."""
    # All tensors are one long vector; the square of its length is the sum of all squares.
    total = sum((g**2).sum() for g in gradients).sqrt()
    factor = (max_norm / total).clamp(max=1)
    return [g * factor for g in gradients]


def combine_gradients(gradients, counts):
    """Return the gradient of one large batch from the mean gradients of small ones."""
    # A mean times its count is a sum, and sums may be added.
    total = sum(count * gradient for gradient, count in zip(gradients, counts, strict=True))
    return total / sum(counts)


def weight_at_offset(probs, offset):
    """Return each head's mean weight on the token `offset` places further, floats (A,)."""
    # probs[b, a, i, i + offset] lies on a line beside the diagonal, which ends where a neighbor is missing.
    line = probs.diagonal(offset, dim1=-2, dim2=-1)  # (B, A, S − |offset|)
    return line.mean(dim=(0, 2))


def bug_hunt():
    """Return a suspicion for each letter."""
    return {
        "A": "nothing is masked",  # no [MASK] among the inputs
        "B": "the loss ignores class 0",  # NSP loss near 0, and every pair is called a stranger
        "C": "the weights are not tied",  # the loss begins at ln V; two matrices where one should be
        "D": "every token has a label",  # as many labels as tokens
    }
