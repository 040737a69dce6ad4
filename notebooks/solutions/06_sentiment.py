"""The answers to the exercises of chapter 6, as a teacher would write them on the board."""

import random

import torch


def split_by_film(films, share, seed):
    """Return the rows for training and those for testing, no film in both."""
    # Sorted before the shuffle: a set has no order of its own, and the same seed should give the same split.
    names = sorted(set(films))
    random.Random(seed).shuffle(names)
    test_films, rows = set(), 0
    for name in names:
        # Asked before a film is taken, so that there is none too many.
        if rows >= share * len(films):
            break
        test_films.add(name)
        rows += films.count(name)  # films differ in size: what is counted are rows
    train = [row for row, film in enumerate(films) if film not in test_films]
    test = [row for row, film in enumerate(films) if film in test_films]
    return train, test


def macro_f1(labels, guesses):
    """Return the mean of the classes' F1, each class counted once."""
    scores = []
    for kind in sorted(set(labels) | set(guesses)):
        right = sum(label == guess == kind for label, guess in zip(labels, guesses, strict=True))
        # With P = right / guessed and R = right / there, 2PR / (P + R) becomes 2 · right / (guessed + there).
        # So nothing is divided by 0, and a class without a hit gets its 0.
        guessed, there = guesses.count(kind), labels.count(kind)
        scores.append(2 * right / (guessed + there))
    return sum(scores) / len(scores)


def bootstrap_interval(right_a, right_b, draws):
    """Return the 2.5th and the 97.5th percentile of a's accuracy minus b's over the draws."""
    # +1 where only a is right, -1 where only b is, 0 where they agree. Taken text by text, before the draw:
    # so both models always meet the same texts, and what is hard for both cancels.
    gain = right_a.float() - right_b.float()  # (N,)
    gains = gain[draws].mean(dim=1)  # (R, N) → (R,)
    return torch.quantile(gains, 0.025).item(), torch.quantile(gains, 0.975).item()


def calibration_error(probabilities, labels, bins):
    """Return the mean gap of accuracy and confidence, by bins of confidence."""
    confidence, guesses = probabilities.max(dim=1)
    right = (guesses == labels).float()
    error = 0.0
    for number in range(bins):
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        # The mean of nothing is NaN; an empty bin has no share in the error.
        if inside.any():
            gap = right[inside].mean() - confidence[inside].mean()
            # The absolute value bin by bin: too sure here and too timid there must not cancel.
            error += inside.float().mean().item() * gap.abs().item()
    return error


def scaled_probabilities(logits, temperature):
    """Return the probabilities at a temperature, floats (N, C)."""
    # Dividing brings the logits closer together and leaves their order: the guesses stay the same.
    # It has to be done before the softmax. A factor on probabilities would cancel when they are made to sum
    # to 1; and softmax itself takes care of large logits.
    return (logits / temperature).softmax(dim=-1)


def integrated_gradients(gradient, x, baseline, steps):
    """Return how much each number of x contributes to f(x) − f(baseline)."""
    total = torch.zeros_like(x)
    for step in range(steps):
        # The middle of the piece: half a step further than its beginning.
        share = (step + 0.5) / steps
        total += gradient(baseline + share * (x - baseline))
    # A slope times a way is a rise: the mean slope along the way, times how far each number went.
    return (x - baseline) * total / steps


def pass_rate(before, after, tolerance):
    """Return the share of texts that pass an invariance test."""
    same_label = (before >= 0.5) == (after >= 0.5)
    near = (after - before).abs() <= tolerance  # abs: down is a change as much as up
    return (same_label & near).float().mean().item()
