"""The answers to the exercises of chapter 6, as a teacher would write them on the board."""

import random

import torch


def split_by_film(films, share, seed):
    """Return the rows for training and those for testing, no film in both."""
    # Sort before shuffling: a set has no fixed order, and the same seed should always give the same split.
    names = sorted(set(films))
    random.Random(seed).shuffle(names)
    test_films, rows = set(), 0
    for name in names:
        # Ask before taking a film, so that no film is taken needlessly.
        if rows >= share * len(films):
            break
        test_films.add(name)
        rows += films.count(name)  # films differ in size, so we count rows
    train = [row for row, film in enumerate(films) if film not in test_films]
    test = [row for row, film in enumerate(films) if film in test_films]
    return train, test


def macro_f1(labels, guesses):
    """Return the mean of the classes' F1, each class counted once."""
    scores = []
    for kind in sorted(set(labels) | set(guesses)):
        right = sum(label == guess == kind for label, guess in zip(labels, guesses, strict=True))
        guessed, labeled = guesses.count(kind), labels.count(kind)
        # P is right / guessed and R is right / labeled, so 2PR / (P + R) simplifies to this. It never divides
        # by 0, and a class that is never guessed right gets its 0.
        scores.append(2 * right / (guessed + labeled))
    return sum(scores) / len(scores)


def bootstrap_interval(right_a, right_b, draws):
    """Return the 2.5th and the 97.5th percentile of a's accuracy minus b's over the draws."""
    # Each draw gives both models the same texts, so whatever is hard for both cancels.
    a = right_a.float()[draws].mean(dim=1)  # (N,) → (R, N) → (R,)
    b = right_b.float()[draws].mean(dim=1)
    gains = a - b
    low, high = (torch.quantile(gains, q).item() for q in (0.025, 0.975))
    return low, high


def calibration_error(probabilities, labels, bins):
    """Return the mean gap between accuracy and confidence, by bins of confidence."""
    confidence, guesses = probabilities.max(dim=1)
    right = (guesses == labels).float()
    filled = []
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = (confidence > low) & (confidence <= high)
        # The mean of nothing is NaN, and an empty bin contributes nothing to the error.
        if inside.any():
            share = inside.float().mean().item()
            gap = (right[inside].mean() - confidence[inside].mean()).item()
            filled.append((share, gap))
    # Take the absolute value bin by bin: too sure in one and not sure enough in another must not cancel.
    return sum(share * abs(gap) for share, gap in filled)


def scaled_probabilities(logits, temperature):
    """Return the probabilities at a temperature, floats (N, C)."""
    # Dividing brings the logits closer together but keeps their order, so no guess changes. It must come
    # before the softmax: a factor on probabilities would cancel once they are made to sum to 1 again.
    scaled = logits / temperature
    return scaled.softmax(dim=-1)  # takes care of large logits itself


def integrated_gradients(gradient, x, baseline, steps):
    """Return how much each number of x contributes to f(x) − f(baseline)."""
    path = x - baseline
    # The middles of the pieces, as shares of the path: half a piece beyond each beginning.
    shares = [(step + 0.5) / steps for step in range(steps)]
    slopes = [gradient(baseline + share * path) for share in shares]
    mean_slope = torch.stack(slopes).mean(dim=0)
    # The rise is the mean slope along the path, times how far each number went.
    return path * mean_slope


def pass_rate(before, after, tolerance):
    """Return the share of texts that pass an invariance test."""
    same_label = (before >= 0.5) == (after >= 0.5)
    near = (after - before).abs() <= tolerance  # a fall counts as much as a rise
    return (same_label & near).float().mean().item()
