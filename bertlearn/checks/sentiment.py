"""The exercises of chapter 6: an honest split, F1, the bootstrap, calibration, attribution, invariance.

Each wrong variant is a mistake that people really make; its question leads the learner to see it. The right
answers are written out here once more, so that a check loads no training code; tests hold the two together.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from bertlearn.checks.core import Exercise, Wrong

Split = tuple[list[int], list[int]]
Gradient = Callable[[Tensor], Tensor]


def _rand(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 1: no film in both parts.


def _shuffled(items: Iterable[str], seed: int) -> list[str]:
    names = list(items)
    random.Random(seed).shuffle(names)
    return names


def _by_films(films: list[str], test: Iterable[str]) -> Split:
    """Return the rows of all other films, and of these."""
    chosen = set(test)
    rows = range(len(films))
    return [row for row in rows if films[row] not in chosen], [row for row in rows if films[row] in chosen]


def _until_enough(films: list[str], order: list[str], share: float) -> Split:
    for count in range(len(order) + 1):
        parts = _by_films(films, order[:count])
        if len(parts[1]) >= share * len(films):
            break
    return parts


def _films_in_order(films: list[str], seed: int) -> list[str]:
    return _shuffled(sorted(set(films)), seed)


def _split_by_film(films: list[str], share: float, seed: int) -> Split:
    return _until_enough(films, _films_in_order(films, seed), share)


def _rows_shuffled(films: list[str], share: float, seed: int) -> Split:
    rows = list(range(len(films)))
    random.Random(seed).shuffle(rows)
    size = math.ceil(share * len(films))
    return sorted(rows[size:]), sorted(rows[:size])


def _cut_inside_a_film(films: list[str], share: float, seed: int) -> Split:
    order = _films_in_order(films, seed)
    rows = sorted(range(len(films)), key=lambda row: order.index(films[row]))
    size = math.ceil(share * len(films))
    return sorted(rows[size:]), sorted(rows[:size])


def _share_of_films(films: list[str], share: float, seed: int) -> Split:
    order = _films_in_order(films, seed)
    return _by_films(films, order[: math.ceil(share * len(order))])


def _not_shuffled(films: list[str], share: float, seed: int) -> Split:
    return _until_enough(films, sorted(set(films)), share)


def _not_sorted(films: list[str], share: float, seed: int) -> Split:
    return _until_enough(films, _shuffled(dict.fromkeys(films), seed), share)


def _one_film_short(films: list[str], share: float, seed: int) -> Split:
    order = _films_in_order(films, seed)
    enough = len({films[row] for row in _until_enough(films, order, share)[1]})
    return _by_films(films, order[: enough - 1])


def _one_film_more(films: list[str], share: float, seed: int) -> Split:
    order = _films_in_order(films, seed)
    enough = len({films[row] for row in _until_enough(films, order, share)[1]})
    return _by_films(films, order[: enough + 1])


def _more_than_the_share(films: list[str], share: float, seed: int) -> Split:
    return _until_enough(films, _films_in_order(films, seed), share + 1e-9)


def _from_the_back(films: list[str], share: float, seed: int) -> Split:
    return _until_enough(films, _films_in_order(films, seed)[::-1], share)


def _parts_swapped(films: list[str], share: float, seed: int) -> Split:
    return _split_by_film(films, share, seed)[::-1]


def _share_for_training(films: list[str], share: float, seed: int) -> Split:
    return _split_by_film(films, 1 - share, seed)


def _names_of_films(films: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    train, test = _split_by_film(films, share, seed)
    return sorted({films[row] for row in train}), sorted({films[row] for row in test})


def _other_seed(films: list[str], share: float, seed: int) -> Split:
    return _split_by_film(films, share, seed + 1)


def _film_by_film(films: list[str], share: float, seed: int) -> Split:
    order = _films_in_order(films, seed)
    train, test = (
        sorted(part, key=lambda row: order.index(films[row])) for part in _split_by_film(films, share, seed)
    )
    return train, test


def _films_in_both(value: Split, films: list[str]) -> int:
    train, test = value
    if any(isinstance(row, bool) for row in [*train, *test]):
        return 0  # flags, not rows
    return len({films[row] for row in train} & {films[row] for row in test})


def _leaks(value: Split, films: list[str], share: float, seed: int) -> bool:
    return _films_in_both(value, films) > 1


def _leaks_one_film(value: Split, films: list[str], share: float, seed: int) -> bool:
    return _films_in_both(value, films) == 1


def _films_missing(value: Split, films: list[str], share: float, seed: int) -> int:
    """Return by how many films a test set taken in the right order is too small; -1 if it is no such set."""
    order = _films_in_order(films, seed)
    starts = [_by_films(films, order[:count]) for count in range(len(order) + 1)]
    return starts.index(_split_by_film(films, share, seed)) - starts.index(
        (sorted(value[0]), sorted(value[1]))
    )


def _stops_far_too_early(value: Split, films: list[str], share: float, seed: int) -> bool:
    return _films_missing(value, films, share, seed) > 1


def _stops_too_early(value: Split, films: list[str], share: float, seed: int) -> bool:
    return _films_missing(value, films, share, seed) == 1


def _other_order(value: Split, films: list[str], share: float, seed: int) -> bool:
    train, test = value
    right = _split_by_film(films, share, seed)
    lists = isinstance(train, list) and isinstance(test, list)
    return lists and (train, test) != right and (sorted(train), sorted(test)) == right


def _other_films(value: Split, films: list[str], share: float, seed: int) -> bool:
    train, test = value
    whole = _films_in_both(value, films) == 0 and sorted([*train, *test]) == list(range(len(films)))
    return whole and sorted(test) != _split_by_film(films, share, seed)[1]


_FILMS = [*"CAACBDDDEEBBAFGGCF"]

split_by_film = Exercise(
    name="split_by_film",
    reference=_split_by_film,
    cases={
        "eight rows of four films": ([*"BBADDDCA"], 0.5, 5),
        "eighteen rows of seven films": (_FILMS, 0.2, 0),
        "another seed": (_FILMS, 0.2, 3),
        "a film with most of the rows": ([*"XXXXAXXXXBXXCXXD"], 0.15, 5),
    },
    wrong={
        "films on both sides": Wrong(
            _rows_shuffled,
            "Take a film of your test rows: has the model read other opinions of it in training? Whole films "
            "should move.",
            _leaks,
        ),
        "cut inside a film": Wrong(
            _cut_inside_a_film,
            "One film of yours is on both sides. Where do you cut: after so many rows, or after a film?",
            _leaks_one_film,
        ),
        "the share counted in films": Wrong(
            _share_of_films,
            "One film may have 12 rows, another 1. What share of the rows is for testing in yours?",
            _stops_far_too_early,
        ),
        "films not shuffled": Wrong(
            _not_shuffled, "Which films test yours, and why those? Does another seed change them?"
        ),
        "films not sorted before the shuffle": Wrong(
            _not_sorted,
            "Put the rows in another order: does yours choose the same films? What does the task do before "
            "it shuffles?",
        ),
        "a film too few": Wrong(
            _one_film_short,
            "Are your test rows at least share · N? The last film goes in whole.",
            _stops_too_early,
        ),
        "a film too many": Wrong(
            _one_film_more, "Without your last film, are there enough test rows already? Ask before you add."
        ),
        "more than the share": Wrong(
            _more_than_the_share, "Exactly share · N test rows: is that enough, or do you take another film?"
        ),
        "films taken from the back": Wrong(
            _from_the_back,
            "pop() takes the last of a list; sample() has another order than shuffle. From which end should "
            "films be taken?",
        ),
        "train and test swapped": Wrong(
            _parts_swapped, "Which of your two lists should be the longer one, and which comes first?"
        ),
        "share · N rows for training": Wrong(
            _share_for_training,
            "Which part should have share · N rows: the one to learn from, or to test with?",
        ),
        "names of films instead of rows": Wrong(
            _names_of_films, "The numbers of rows are asked for, so that texts and labels can be picked."
        ),
        "other films": Wrong(
            _other_seed,
            "A fair split, but another one. Are the films sorted before they are shuffled, does Random(seed) "
            "shuffle them, and do you take them from the front, one after the other?",
            _other_films,
        ),
        "rows film by film": Wrong(
            _film_by_film, "The right rows; in which order are they asked for?", _other_order
        ),
    },
    hints=(
        "The films: sorted(set(films)), then random.Random(seed).shuffle(…).",
        "Walk along them. Before each film, count the test rows: are they share · len(films) or more? Stop.",
        "At the end one pass over all rows: a row is for testing if its film is among those taken.",
    ),
)


# Exercise 2: F1, each class counted once.


def _counts(labels: list[int], guesses: list[int], kind: int) -> tuple[int, int, int]:
    """Return how often a class is found, guessed, and there."""
    found = sum(label == guess == kind for label, guess in zip(labels, guesses, strict=True))
    return found, guesses.count(kind), labels.count(kind)


def _f1(labels: list[int], guesses: list[int], kind: int) -> float:
    found, guessed, there = _counts(labels, guesses, kind)
    return 2 * found / (guessed + there)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _classes(labels: list[int], guesses: list[int]) -> list[int]:
    return sorted({*labels, *guesses})


def _mean(numbers: Iterable[float]) -> float:
    values = list(numbers)
    return sum(values) / len(values)


def _macro_f1(labels: list[int], guesses: list[int]) -> float:
    return _mean(_f1(labels, guesses, kind) for kind in _classes(labels, guesses))


def _precisions(labels: list[int], guesses: list[int]) -> list[float]:
    counts = [_counts(labels, guesses, kind) for kind in _classes(labels, guesses)]
    return [_share(found, guessed) for found, guessed, _ in counts]


def _recalls(labels: list[int], guesses: list[int]) -> list[float]:
    counts = [_counts(labels, guesses, kind) for kind in _classes(labels, guesses)]
    return [_share(found, there) for found, _, there in counts]


def _accuracy(labels: list[int], guesses: list[int]) -> float:
    return _mean(label == guess for label, guess in zip(labels, guesses, strict=True))


def _class_1_alone(labels: list[int], guesses: list[int]) -> float:
    return _f1(labels, guesses, 1)


def _classes_0_and_1(labels: list[int], guesses: list[int]) -> float:
    return (_f1(labels, guesses, 0) + _f1(labels, guesses, 1)) / 2


def _f1_of_means(labels: list[int], guesses: list[int]) -> float:
    precision, recall = _mean(_precisions(labels, guesses)), _mean(_recalls(labels, guesses))
    return 2 * precision * recall / (precision + recall)


def _weighted(labels: list[int], guesses: list[int]) -> float:
    return _mean(_f1(labels, guesses, label) for label in labels)


def _without_hit_left_out(labels: list[int], guesses: list[int]) -> float:
    scores = [_f1(labels, guesses, kind) for kind in _classes(labels, guesses)]
    return _mean(score for score in scores if score)


def _never_guessed_left_out(labels: list[int], guesses: list[int]) -> float:
    return _mean(_f1(labels, guesses, kind) for kind in sorted(set(guesses)))


def _never_there_left_out(labels: list[int], guesses: list[int]) -> float:
    return _mean(_f1(labels, guesses, kind) for kind in sorted(set(labels)))


def _all_up_to_the_highest(labels: list[int], guesses: list[int]) -> float:
    kinds = _classes(labels, guesses)
    return sum(_f1(labels, guesses, kind) for kind in kinds) / (kinds[-1] + 1)


def _divided_by_zero(labels: list[int], guesses: list[int]) -> float:
    scores = []
    for kind in _classes(labels, guesses):
        found, guessed, there = _counts(labels, guesses, kind)
        precision, recall = found / guessed, found / there
        scores.append(2 * precision * recall / (precision + recall))
    return _mean(scores)


def _divided_by_no_guesses(labels: list[int], guesses: list[int]) -> float:
    for kind in _classes(labels, guesses):
        _ = 1 / guesses.count(kind)
    return _macro_f1(labels, guesses)


def _not_a_number(labels: list[int], guesses: list[int]) -> float:
    found = [_counts(labels, guesses, kind)[0] for kind in _classes(labels, guesses)]
    return _macro_f1(labels, guesses) if all(found) else math.nan


def _overlap(labels: list[int], guesses: list[int]) -> float:
    counts = [_counts(labels, guesses, kind) for kind in _classes(labels, guesses)]
    return _mean(found / (guessed + there - found) for found, guessed, there in counts)


def _against_the_rest(labels: list[int], guesses: list[int]) -> float:
    return _mean(
        _accuracy([label == kind for label in labels], [guess == kind for guess in guesses])
        for kind in _classes(labels, guesses)
    )


def _in_percent(labels: list[int], guesses: list[int]) -> float:
    return 100 * _macro_f1(labels, guesses)


def _mean_precision(labels: list[int], guesses: list[int]) -> float:
    return _mean(_precisions(labels, guesses))


def _mean_recall(labels: list[int], guesses: list[int]) -> float:
    return _mean(_recalls(labels, guesses))


def _plain_mean(labels: list[int], guesses: list[int]) -> float:
    return (_mean_precision(labels, guesses) + _mean_recall(labels, guesses)) / 2


def _two_forgotten(labels: list[int], guesses: list[int]) -> float:
    return _macro_f1(labels, guesses) / 2


def _f1_of_each(labels: list[int], guesses: list[int]) -> list[float]:
    return [_f1(labels, guesses, kind) for kind in _classes(labels, guesses)]


def _sum_of_f1(labels: list[int], guesses: list[int]) -> float:
    return sum(_f1_of_each(labels, guesses))


macro_f1 = Exercise(
    name="macro_f1",
    reference=_macro_f1,
    cases={
        "two classes": ([1, 1, 1, 0, 0, 1, 0, 1], [1, 1, 0, 0, 1, 1, 0, 1]),
        "three classes, one of them small": (
            [0, 0, 0, 0, 0, 1, 1, 1, 2, 2],
            [0, 0, 0, 0, 1, 1, 1, 0, 2, 1],
        ),
        "a class that is always guessed wrong": ([0, 0, 0, 1, 1, 2, 2], [0, 0, 2, 1, 0, 1, 0]),
        "a class that is never guessed": ([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]),
        "a class that is guessed and never there": ([0, 0, 1, 1, 1], [0, 1, 1, 1, 2]),
        "classes 1 and 4": ([1, 1, 1, 4, 4], [1, 4, 1, 4, 1]),
    },
    wrong={
        "accuracy": Wrong(
            _accuracy,
            "90 texts of one class, 10 of another, and always the first guessed: what is yours then?",
        ),
        "F1 of class 1 alone": Wrong(
            _class_1_alone, "How good is the model at class 0? Does yours change if you swap 0 and 1?"
        ),
        "only the classes 0 and 1": Wrong(
            _classes_0_and_1, "Which classes are there, and where do they stand?"
        ),
        "F1 of the mean precision and the mean recall": Wrong(
            _f1_of_means,
            "Two steps: a mean over the classes, and F1. Which of the two comes first in the task?",
        ),
        "weighted by the size of the class": Wrong(
            _weighted, "“Macro” means: a class of 10 texts counts as much as one of …?"
        ),
        "classes without a hit left out": Wrong(
            _without_hit_left_out,
            "A model that is hopeless at one class: does yours get better if it gives it up?",
        ),
        "classes never guessed left out": Wrong(
            _never_guessed_left_out,
            "A model that never guesses class 2: over how many classes is your mean? See the labels.",
        ),
        "classes never there left out": Wrong(
            _never_there_left_out,
            "A model that says class 2 where there is none: over how many classes is your mean?",
        ),
        "classes that nobody named": Wrong(
            _all_up_to_the_highest,
            "Classes 1 and 4: over how many classes is your mean? Are 2 and 3 among them?",
        ),
        "0 divided by 0": Wrong(
            _divided_by_zero, "A class without a hit: which of your divisions is by 0? What should its F1 be?"
        ),
        "divided by the guesses of a class never guessed": Wrong(
            _divided_by_no_guesses,
            "You know that P + R may be 0. And P itself, for a class that is never guessed?",
        ),
        "NaN, 0 divided by 0": Wrong(
            _not_a_number,
            "Tensors divide 0 by 0 without a word. What should the F1 of a class without a hit be?",
        ),
        "right / (right + both kinds of mistakes)": Wrong(
            _overlap, "That is the overlap, or Jaccard index. P = 1 and R = 0.5: what is 2 P R / (P + R)?"
        ),
        "each class against the rest, accuracy": Wrong(
            _against_the_rest, "A rare class never found: how high is its score in yours, and what is its F1?"
        ),
        "percent instead of shares": Wrong(_in_percent, "All guesses right: should 100 come out, or 1?"),
        "the mean precision": Wrong(
            _mean_precision, "Of all the texts of a class, how many were found? That is not in yours."
        ),
        "the mean recall": Wrong(
            _mean_recall, "Guess class 1 for everything: its share found is 1. What did that cost?"
        ),
        "the plain mean of precision and recall": Wrong(
            _plain_mean, "P = 1 and R = 0: what is 2 P R / (P + R), and what do you get?"
        ),
        "the 2 forgotten": Wrong(_two_forgotten, "P = R = 1: what should F1 be?"),
        "a list of the classes' F1": Wrong(_f1_of_each, "One number for all classes: how do you join them?"),
        "the sum of the classes' F1": Wrong(_sum_of_f1, "All guesses right: what should come out?"),
    },
    hints=(
        "For each class three counts: guessed and right, guessed, and there.",
        "2 P R / (P + R) is 2 · right / (guessed + there), which never divides by 0.",
        "The mean over all classes, whether they have a hit or not.",
    ),
    tolerance=1e-6,
)


# Exercise 3: how sure is a difference?


def _gains(right_a: Tensor, right_b: Tensor, draws: Tensor) -> Tensor:
    """Return a's accuracy minus b's in each draw, (R,)."""
    return (right_a.double() - right_b.double())[draws].mean(dim=1)


def _between(values: Tensor, low: float, high: float) -> tuple[float, float]:
    return torch.quantile(values, low).item(), torch.quantile(values, high).item()


def _bootstrap_interval(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    return _between(_gains(right_a, right_b, draws), 0.025, 0.975)


def _apart(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    a, b = right_a.double()[draws].mean(dim=1), right_b.double()[draws.flip(0)].mean(dim=1)
    return _between(a - b, 0.025, 0.975)


def _difference_of_intervals(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    a, b = right_a.double()[draws].mean(dim=1), right_b.double()[draws].mean(dim=1)
    low, high = (torch.quantile(a, q) - torch.quantile(b, q) for q in (0.025, 0.975))
    return low.item(), high.item()


def _intervals_apart(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    a, b = (_between(right.double()[draws].mean(dim=1), 0.025, 0.975) for right in (right_a, right_b))
    return a[0] - b[1], a[1] - b[0]


def _ninety(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    return _between(_gains(right_a, right_b, draws), 0.05, 0.95)


def _ninety_nine(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    return _between(_gains(right_a, right_b, draws), 0.005, 0.995)


def _quartiles(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    return _between(_gains(right_a, right_b, draws), 0.25, 0.75)


def _extremes(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    return _between(_gains(right_a, right_b, draws), 0.0, 1.0)


def _around(middle: Tensor, reach: Tensor) -> tuple[float, float]:
    return (middle - reach).item(), (middle + reach).item()


def _mean_and_std(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    gains = _gains(right_a, right_b, draws)
    return _around(gains.mean(), gains.std())


def _mean_and_two_std(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    gains = _gains(right_a, right_b, draws)
    return _around(gains.mean(), 1.96 * gains.std())


def _standard_error(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    gain = right_a.double() - right_b.double()
    return _around(gain.mean(), 1.96 * gain.std() / len(gain) ** 0.5)


def _error_of_the_draws(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    gains = _gains(right_a, right_b, draws)
    return _around(gains.mean(), 1.96 * gains.std() / len(gains) ** 0.5)


def _symmetric(value: tuple[float, float], right_a: Tensor, right_b: Tensor, draws: Tensor) -> bool:
    """Say whether an interval lies around the mean gain, and not at numbers that a draw can give."""
    low, high = float(value[0]), float(value[1])
    middles = _gains(right_a, right_b, draws).mean(), (right_a.double() - right_b.double()).mean()
    gain = low * len(right_a)  # of a draw it is a whole number
    off = abs(gain - round(gain)) > 1e-3
    return off and low < high and any(abs((low + high) / 2 - middle.item()) < 1e-5 for middle in middles)


def _single_texts(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    return _between(right_a.double() - right_b.double(), 0.025, 0.975)


def _whole_numbers(value: tuple[float, float], right_a: Tensor, right_b: Tensor, draws: Tensor) -> bool:
    return float(value[0]) == -1.0 and float(value[1]) == 1.0


def _reversed(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    return _bootstrap_interval(right_b, right_a, draws)


def _high_first(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    return _bootstrap_interval(right_a, right_b, draws)[::-1]


def _over_the_draws(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    return _between((right_a.double() - right_b.double())[draws].mean(dim=0), 0.025, 0.975)


def _sums(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    low, high = _bootstrap_interval(right_a, right_b, draws)
    return low * len(right_a), high * len(right_a)


def _percent(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    low, high = _bootstrap_interval(right_a, right_b, draws)
    return 100 * low, 100 * high


def _a_alone(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    return _bootstrap_interval(right_a, torch.zeros_like(right_b), draws)


def _share_of_differing(right_a: Tensor, right_b: Tensor, draws: Tensor) -> tuple[float, float]:
    return _bootstrap_interval(right_a != right_b, torch.zeros_like(right_b), draws)


def _too_wide(value: tuple[float, float], right_a: Tensor, right_b: Tensor, draws: Tensor) -> bool:
    """Say whether an interval has the width that two models drawn apart give (models that agree a lot)."""
    apart, found = _apart(right_a, right_b, draws), (float(value[0]), float(value[1]))
    agree = (right_a == right_b).double().mean().item()
    return agree > 0.9 and all(abs(x - y) < 0.02 for x, y in zip(apart, found, strict=True))


def _draws(rows: int, texts: int, seed: int) -> Tensor:
    return torch.randint(texts, (rows, texts), generator=torch.Generator().manual_seed(seed))


def _right(texts: int, share: float, seed: int) -> Tensor:
    return _rand(texts, seed=seed) < share


bootstrap_interval = Exercise(
    name="bootstrap_interval",
    reference=_bootstrap_interval,
    cases={
        "two models that agree a lot": (
            _right(150, 0.75, seed=10) | _right(150, 0.05, seed=11),
            _right(150, 0.75, seed=10),
            _draws(401, 150, seed=12),
        ),
        "two models that differ": (
            _right(60, 0.8, seed=13),
            _right(60, 0.6, seed=14),
            _draws(201, 60, seed=15),
        ),
        "ten texts": (_right(10, 0.7, seed=16), _right(10, 0.6, seed=17), _draws(121, 10, seed=18)),
    },
    wrong={
        "other draws for b": Wrong(
            _apart,
            "A text that is hard for a is often hard for b. Do both models meet the same texts in each draw?",
            _too_wide,
        ),
        "the difference of two intervals": Wrong(
            _difference_of_intervals,
            "You take percentiles of a and of b. Of which number does the task ask for percentiles?",
        ),
        "two intervals set against each other": Wrong(
            _intervals_apart,
            "a at its worst against b at its best: how often do both happen on the same texts? Of which "
            "number does the task ask for percentiles?",
        ),
        "5 and 95": Wrong(_ninety, "What share of the draws lies outside yours? 5 % in all, on two sides."),
        "0.5 and 99.5": Wrong(_ninety_nine, "What share of the draws lies outside yours? It should be 5 %."),
        "25 and 75": Wrong(_quartiles, "What share of the draws lies outside yours? 2.5 % is 0.025."),
        "the smallest and the largest": Wrong(
            _extremes, "With more draws yours grows and grows. What share should lie outside?"
        ),
        "mean ± standard deviation": Wrong(
            _mean_and_std, "That holds about 68 % of a bell curve. And who says that it is one?"
        ),
        "the standard error, without draws": Wrong(
            _standard_error, "A fair formula for many texts. But what are `draws` for in yours?"
        ),
        "divided by the root of the number of draws": Wrong(
            _error_of_the_draws,
            "With a million draws yours has hardly a width. Do more draws make more texts?",
        ),
        "b minus a": Wrong(_reversed, "a is better: which sign should the difference have?"),
        "mean ± a multiple of the standard deviation": Wrong(
            _mean_and_two_std,
            "For a bell curve that is about the same. What does the task take, so that none need be assumed?",
            _symmetric,
        ),
        "percentiles of single texts": Wrong(
            _single_texts,
            "A single text gives −1, 0 or 1. Of which R numbers should the percentiles be taken?",
            _whole_numbers,
        ),
        "the high end first": Wrong(_high_first, "Which of your two numbers is the smaller one?"),
        "the mean over the draws": Wrong(
            _over_the_draws,
            "draws is (R, N). How many numbers do you have before the percentiles: one for each draw, R?",
        ),
        "counts instead of shares": Wrong(
            _sums, "An accuracy lies between 0 and 1. How many texts has a draw?"
        ),
        "percent instead of shares": Wrong(_percent, "An accuracy lies between 0 and 1 in this course."),
        "the accuracy of a alone": Wrong(_a_alone, "Where does right_b come in?"),
        "how often they differ": Wrong(
            _share_of_differing, "They differ where a is right and where b is right. Do both count for a?"
        ),
    },
    hints=(
        "right_a[draws] is (R, N): the texts of each draw. As floats they have a mean.",
        "In each draw the same texts for both: mean of a minus mean of b, (R,).",
        "torch.quantile(…, 0.025) and 0.975 of these R differences, each with .item().",
    ),
)


# Exercise 4: are the probabilities right?


def _confidence(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return confidences and who is right, both floats (N,)."""
    confidence, guesses = probabilities.double().max(dim=1)
    return confidence, (guesses == labels).double()


def _places(confidence: Tensor, bins: int) -> Tensor:
    return ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)


def _gaps(expected: Tensor, seen: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return seen − expected and the number of texts, for each bin with a text."""
    groups = [places == place for place in places.unique()]
    gaps = torch.stack([seen[group].mean() - expected[group].mean() for group in groups])
    return gaps, torch.stack([group.sum() for group in groups]).double()


def _weighted_mean(gaps: Tensor, texts: Tensor) -> float:
    return (gaps * texts).sum().item() / texts.sum().item()


def _calibration_error(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    gaps, texts = _gaps(confidence, right, _places(confidence, bins))
    return _weighted_mean(gaps.abs(), texts)


def _bins_alike(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    return _gaps(confidence, right, _places(confidence, bins))[0].abs().mean().item()


def _over_all_bins(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    return _gaps(confidence, right, _places(confidence, bins))[0].abs().sum().item() / bins


def _signed(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    return (right - confidence).mean().item()


def _signed_the_other_way(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    return -_signed(probabilities, labels, bins)


def _abs_at_the_end(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    return abs(_signed(probabilities, labels, bins))


def _greatest_gap(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    return _gaps(confidence, right, _places(confidence, bins))[0].abs().max().item()


def _class_1_and_hits(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    _, right = _confidence(probabilities, labels)
    of_class_1 = probabilities[:, 1].double()
    gaps, texts = _gaps(of_class_1, right, _places(of_class_1, bins))
    return _weighted_mean(gaps.abs(), texts)


def _class_1_and_its_share(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    of_class_1 = probabilities[:, 1].double()
    gaps, texts = _gaps(of_class_1, (labels == 1).double(), _places(of_class_1, bins))
    return _weighted_mean(gaps.abs(), texts)


def _of_the_label(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    _, right = _confidence(probabilities, labels)
    of_label = probabilities.double().gather(1, labels[:, None])[:, 0]
    gaps, texts = _gaps(of_label, right, _places(of_label, bins))
    return _weighted_mean(gaps.abs(), texts)


def _text_by_text(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    return (right - confidence).abs().mean().item()


def _squared(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    gaps, texts = _gaps(confidence, right, _places(confidence, bins))
    return _weighted_mean(gaps**2, texts)


def _edge_above(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    gaps, texts = _gaps(confidence, right, (confidence * bins).long().clamp(max=bins - 1))
    return _weighted_mean(gaps.abs(), texts)


def _one_is_lost(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    inside = confidence < 1
    places = (confidence * bins).long()[inside]
    gaps, texts = _gaps(confidence[inside], right[inside], places)
    return (gaps.abs() * texts).sum().item() / len(labels)


def _one_has_its_own_bin(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    gaps, texts = _gaps(confidence, right, (confidence * bins).long())
    return _weighted_mean(gaps.abs(), texts)


def _bins_from_lowest(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    low = 1 / probabilities.shape[1]
    gaps, texts = _gaps(confidence, right, _places((confidence - low) / (1 - low), bins))
    return _weighted_mean(gaps.abs(), texts)


def _bins_from_a_half(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    gaps, texts = _gaps(confidence, right, _places(2 * confidence - 1, bins))
    return _weighted_mean(gaps.abs(), texts)


def _bins_of_equal_size(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    rank = confidence.argsort(stable=True).argsort()
    gaps, texts = _gaps(confidence, right, rank * bins // len(labels))
    return _weighted_mean(gaps.abs(), texts)


def _middle_of_the_bin(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    places = _places(confidence, bins)
    gaps, texts = _gaps((places + 0.5) / bins, right, places)
    return _weighted_mean(gaps.abs(), texts)


def _empty_bins_are_nan(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, _ = _confidence(probabilities, labels)
    empty = len(_places(confidence, bins).unique()) < bins
    return math.nan if empty else _calibration_error(probabilities, labels, bins)


def _not_divided_by_n(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    return _calibration_error(probabilities, labels, bins) * len(labels)


def _every_class(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    scores = probabilities.double().flatten()
    right = torch.nn.functional.one_hot(labels, probabilities.shape[1]).double().flatten()
    gaps, texts = _gaps(scores, right, _places(scores, bins))
    return _weighted_mean(gaps.abs(), texts)


def _one_bin_less(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    return _calibration_error(probabilities, labels, bins - 1)


def _last_bin_forgotten(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    inside = confidence <= (bins - 1) / bins
    gaps, texts = _gaps(confidence[inside], right[inside], _places(confidence[inside], bins))
    return _weighted_mean(gaps.abs(), texts) * texts.sum().item() / len(labels)


def _edges_lost(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    inside = (confidence * bins) % 1 != 0
    gaps, texts = _gaps(confidence[inside], right[inside], _places(confidence[inside], bins))
    return _weighted_mean(gaps.abs(), texts) * texts.sum().item() / len(labels)


def _edges_twice(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    edge = ((confidence * bins) % 1 == 0) & (confidence < 1)
    above = (confidence * bins).long()
    places = torch.cat([_places(confidence, bins), above[edge]])
    confidence, right = torch.cat([confidence, confidence[edge]]), torch.cat([right, right[edge]])
    gaps, texts = _gaps(confidence, right, places)
    return (gaps.abs() * texts).sum().item() / len(labels)


def _mistakes(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, right = _confidence(probabilities, labels)
    gaps, texts = _gaps(confidence, 1 - right, _places(confidence, bins))
    return _weighted_mean(gaps.abs(), texts)


def _root_of_squares(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    return math.sqrt(_squared(probabilities, labels, bins))


def _sum_of_gaps(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    return _over_all_bins(probabilities, labels, bins) * bins


def _too_sure(texts: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return probabilities and labels of a model that is surer of itself than it should be."""
    logits = 1.5 * _randn(texts, classes, seed=seed)
    labels = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(seed))[:, 0]
    return (2 * logits).softmax(1), labels


calibration_error = Exercise(
    name="calibration_error",
    reference=_calibration_error,
    cases={
        "sixty texts, two classes": (*_too_sure(60, 2, seed=20), 5),
        "eighty texts, three classes": (*_too_sure(80, 3, seed=25), 10),
        "confidences on an edge": (
            torch.tensor([[0.75, 0.125, 0.125], [0.5, 0.25, 0.25], [0.0625, 0.875, 0.0625], [0.0, 0.0, 1.0]]),
            torch.tensor([0, 1, 1, 0]),
            4,
        ),
        "too sure here, not sure enough there": (
            torch.tensor([[0.9, 0.1], [0.08, 0.92], [0.95, 0.05], [0.58, 0.42], [0.45, 0.55], [0.53, 0.47]]),
            torch.tensor([0, 1, 1, 0, 1, 0]),
            5,
        ),
    },
    wrong={
        "each bin counted alike": Wrong(
            _bins_alike, "A bin with 1 text and one with 59: should both count alike? Look at Σ n_b / N."
        ),
        "divided by the number of bins": Wrong(
            _over_all_bins,
            "Cut into a thousand bins, most of them empty, and yours goes to 0. How much should a bin count?",
        ),
        "the gaps added up": Wrong(
            _sum_of_gaps, "Can your error be above 1? By what share of the texts does each bin count?"
        ),
        "accuracy minus confidence, with its sign": Wrong(
            _signed, "Too sure in one bin, not sure enough in another: what do the two add up to in yours?"
        ),
        "confidence minus accuracy, with its sign": Wrong(
            _signed_the_other_way,
            "Too sure in one bin, not sure enough in another: what do the two add up to in yours?",
        ),
        "the absolute value at the end": Wrong(
            _abs_at_the_end, "By then gaps above and below have canceled. Which bins do yours tell apart?"
        ),
        "the greatest gap": Wrong(
            _greatest_gap,
            "That is the maximum calibration error. One bin of one text decides it: is that asked?",
        ),
        "the probability of class 1 as confidence": Wrong(
            _class_1_and_hits, "The model says 0.1 for class 1 and is right. How sure was it of what it said?"
        ),
        "the share of class 1 in each bin": Wrong(
            _class_1_and_its_share,
            "A good picture for two classes. But here: how sure is the model of its guess, and is it right?",
        ),
        "the probability of the right label": Wrong(
            _of_the_label, "Does the model know the right label when it says how sure it is?"
        ),
        "text by text, without bins": Wrong(
            _text_by_text,
            "A single text is right or wrong, 1 or 0. When is 0.7 a good confidence? That takes several.",
        ),
        "the gaps squared": Wrong(_squared, "A gap of 0.1 in every bin: what should come out?"),
        "an edge belongs to the bin above": Wrong(
            _edge_above, "Four bins and a confidence of 0.75: is that the third bin or the fourth?"
        ),
        "a confidence of 1 lost": Wrong(_one_is_lost, "In which of your bins is a confidence of exactly 1?"),
        "a bin of its own for 1": Wrong(
            _one_has_its_own_bin, "How many bins do you have? In which is a confidence of exactly 1?"
        ),
        "bins from 0.5 to 1": Wrong(
            _bins_from_a_half, "Where does your first bin begin? And a confidence of 0.4, with three classes?"
        ),
        "bins from 1/C to 1": Wrong(
            _bins_from_lowest,
            "Where does your first bin begin? The task cuts [0, 1], though half stays empty.",
        ),
        "bins of equally many texts": Wrong(
            _bins_of_equal_size, "How wide are your bins? The task asks for equal widths."
        ),
        "the middle of the bin as confidence": Wrong(
            _middle_of_the_bin,
            "What is the mean confidence of the texts in a bin? Not all are in its middle.",
        ),
        "the root of the squared gaps": Wrong(
            _root_of_squares, "That is another measure. What is done here to a gap before it is weighted?"
        ),
        "not divided by N": Wrong(
            _not_divided_by_n, "Can your error be above 1? A bin counts by its share of the texts."
        ),
        "all classes' probabilities": Wrong(
            _every_class,
            "How many confidences has a text: C, or one? Only what the model says as its answer counts here.",
        ),
        "a bin too few": Wrong(
            _one_bin_less, "linspace(0, 1, bins) has `bins` edges. How many bins lie between them?"
        ),
        "the last bin forgotten": Wrong(
            _last_bin_forgotten,
            "Where does your loop over the bins end? In which bin is a confidence of 0.99?",
        ),
        "a confidence on an edge lost": Wrong(
            _edges_lost, "Is a confidence of just 0.75 in one of your bins? Look at your two signs, < and <=."
        ),
        "a confidence on an edge in two bins": Wrong(
            _edges_twice,
            "In how many of your bins is a confidence of just 0.75? Look at your two signs, >= and <=.",
        ),
        "mistakes instead of hits": Wrong(
            _mistakes, "A model that is sure and right: how large is your gap? Compare with what is right."
        ),
        "an empty bin gives NaN": Wrong(
            _empty_bins_are_nan, "What is the mean of no numbers? An empty bin has the share 0: leave it out."
        ),
    },
    hints=(
        "probabilities.max(dim=1) gives confidences and guesses; a guess is right where it is the label.",
        "For bin b of `bins`: the texts with b / bins < confidence ≤ (b + 1) / bins; skip it if none.",
        "Add up: (number in the bin) / N · |mean of right − mean of confidence|.",
    ),
)


# Exercise 5: temperature.


def _scaled_probabilities(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(dim=-1)


def _multiplied(logits: Tensor, temperature: float) -> Tensor:
    return (logits * temperature).softmax(dim=-1)


def _without_effect(logits: Tensor, temperature: float) -> Tensor:
    return logits.softmax(dim=-1)


def _probabilities_divided(logits: Tensor, temperature: float) -> Tensor:
    return logits.softmax(dim=-1) / temperature


def _softmax_of_probabilities(logits: Tensor, temperature: float) -> Tensor:
    return (logits.softmax(dim=-1) / temperature).softmax(dim=-1)


def _power(logits: Tensor, temperature: float) -> Tensor:
    return logits.softmax(dim=-1) ** temperature


def _root(logits: Tensor, temperature: float) -> Tensor:
    return logits.softmax(dim=-1) ** (1 / temperature)


def _over_the_texts(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(dim=0)


def _over_everything(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).flatten().softmax(dim=0).view_as(logits)


def _largest_of_all(logits: Tensor, temperature: float) -> Tensor:
    powers = ((logits - logits.max()) / temperature).exp()
    return powers / powers.sum(dim=-1, keepdim=True)


def _log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).log_softmax(dim=-1)


def _overflow(logits: Tensor, temperature: float) -> Tensor:
    powers = (logits / temperature).exp()
    return powers / powers.sum(dim=-1, keepdim=True)


def _sigmoid(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).sigmoid()


def _not_scaled_to_1(logits: Tensor, temperature: float) -> Tensor:
    return logits / temperature


def _root_of_temperature(logits: Tensor, temperature: float) -> Tensor:
    return (logits / math.sqrt(temperature)).softmax(dim=-1)


scaled_probabilities = Exercise(
    name="scaled_probabilities",
    reference=_scaled_probabilities,
    cases={
        "T = 2, two classes": (3 * _randn(4, 2, seed=30), 2.0),
        "T = 0.5, three classes": (_randn(3, 3, seed=31), 0.5),
        "T = 1": (_randn(2, 4, seed=32), 1.0),
        "large logits": (torch.tensor([[1000.0, 998.0], [-1000.0, -997.0]]), 1.5),
    },
    wrong={
        "multiplied by T": Wrong(
            _multiplied,
            "T = 2 makes yours surer of itself, as probabilities to the power of T would. What should it do?",
        ),
        "T without effect": Wrong(
            _without_effect,
            "What does T = 2 change in yours? Divide probabilities by T, make them sum to 1 again, and T has "
            "canceled: where must it come in, before the softmax or after?",
        ),
        "probabilities divided by T": Wrong(
            _probabilities_divided, "What does a row of yours sum to? Which numbers does T belong to?"
        ),
        "a softmax of probabilities": Wrong(
            _softmax_of_probabilities,
            "You take the softmax twice. At T = 1 nothing should change: is that so in yours?",
        ),
        "probabilities to the power of T": Wrong(
            _power, "What does a row of yours sum to? And does a square make 0.9 and 0.1 flatter?"
        ),
        "probabilities to the power of 1/T": Wrong(
            _root, "A right idea, but what does a row of yours sum to now?"
        ),
        "the softmax over the texts": Wrong(
            _over_the_texts, "What do your probabilities of one text sum to? Which axis has the classes?"
        ),
        "one softmax for all texts": Wrong(
            _over_everything, "What do all your numbers sum to? Each row should sum to 1 by itself."
        ),
        "the largest logit of all taken off": Wrong(
            _largest_of_all,
            "A text with small logits beside one with large ones: is anything left of it? Each row has a "
            "largest logit of its own.",
        ),
        "logarithms of probabilities": Wrong(
            _log_probabilities, "Are yours between 0 and 1? log_softmax gives logarithms."
        ),
        "e to the power of a large logit": Wrong(
            _overflow, "What is e^1000 in 32 bits? softmax takes the largest logit off first."
        ),
        "a sigmoid": Wrong(_sigmoid, "What does a row of yours sum to? The classes should share 1."),
        "logits, not yet probabilities": Wrong(
            _not_scaled_to_1, "Are yours between 0 and 1? A step is missing."
        ),
        "the root of T": Wrong(_root_of_temperature, "In attention it was a root. Which number is T here?"),
    },
    hints=(
        "Temperature acts on the logits, before the softmax.",
        "Dividing them by a number above 1 brings them closer together.",
    ),
)


# Exercise 6: integrated gradients.


def _on_the_way(gradient: Gradient, x: Tensor, start: Tensor, shares: Iterable[float]) -> Tensor:
    """Return the mean gradient at these shares of the way from `start` to x."""
    return torch.stack([gradient(start + share * (x - start)) for share in shares]).mean(dim=0)


def _middles(steps: int) -> list[float]:
    return [(step + 0.5) / steps for step in range(steps)]


def _integrated_gradients(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return (x - baseline) * _on_the_way(gradient, x, baseline, _middles(steps))


def _gradient_times_input(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return x * gradient(x)


def _gradient_times_difference(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return (x - baseline) * gradient(x)


def _gradient_alone(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return gradient(x)


def _path_from_zero(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return (x - baseline) * _on_the_way(gradient, x, torch.zeros_like(x), _middles(steps))


def _baseline_ignored(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return _integrated_gradients(gradient, x, torch.zeros_like(x), steps)


def _baseline_kept(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    points = [baseline + share * x for share in _middles(steps)]
    return (x - baseline) * torch.stack([gradient(point) for point in points]).mean(dim=0)


def _mean_gradient(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return _on_the_way(gradient, x, baseline, _middles(steps))


def _times_x(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return x * _on_the_way(gradient, x, baseline, _middles(steps))


def _sum_of_gradients(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return steps * _integrated_gradients(gradient, x, baseline, steps)


def _left_ends(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return (x - baseline) * _on_the_way(gradient, x, baseline, [k / steps for k in range(steps)])


def _right_ends(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return (x - baseline) * _on_the_way(gradient, x, baseline, [(k + 1) / steps for k in range(steps)])


def _both_ends(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return (x - baseline) * _on_the_way(gradient, x, baseline, [k / steps for k in range(steps + 1)])


def _from_end_to_end(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    shares = torch.linspace(0, 1, steps).tolist()
    return (x - baseline) * _on_the_way(gradient, x, baseline, shares)


def _trapezoids(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return (_left_ends(gradient, x, baseline, steps) + _right_ends(gradient, x, baseline, steps)) / 2


def _other_way_round(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return -_integrated_gradients(gradient, x, baseline, steps)


def _one_step(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return _integrated_gradients(gradient, x, baseline, 1)


def _both_ends_by_steps(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return _both_ends(gradient, x, baseline, steps) * (steps + 1) / steps


def _between_the_ends(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    shares = [(k + 1) / (steps + 1) for k in range(steps)]
    return (x - baseline) * _on_the_way(gradient, x, baseline, shares)


def _last_alone(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return (x - baseline) * _on_the_way(gradient, x, baseline, _middles(steps)[-1:])


def _last_by_steps(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return _last_alone(gradient, x, baseline, steps) / steps


def _half_divided(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return (x - baseline) * _on_the_way(gradient, x, baseline, [k + 0.5 / steps for k in range(steps)])


def _numbered_from_1(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    shares = [(k + 1.5) / steps for k in range(steps)]
    return (x - baseline) * _on_the_way(gradient, x, baseline, shares)


def _divided_twice(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return _integrated_gradients(gradient, x, baseline, steps) / steps


def _one_mean(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return (x - baseline) * _on_the_way(gradient, x, baseline, _middles(steps)).mean()


def _points_without_baseline(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    points = [share * (x - baseline) for share in _middles(steps)]
    return (x - baseline) * torch.stack([gradient(point) for point in points]).mean(dim=0)


def _shows(mistake: Callable[..., Tensor]) -> Callable[..., bool]:
    """Return a symptom: on this case the result is that of the mistake, and not the right one."""

    def symptom(value: Tensor, *args: Any) -> bool:
        return torch.allclose(value, mistake(*args)) and not torch.allclose(
            value, _integrated_gradients(*args)
        )

    return symptom


def _absolute(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return _integrated_gradients(gradient, x, baseline, steps).abs()


def _added_up(gradient: Gradient, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    return _integrated_gradients(gradient, x, baseline, steps).sum(dim=-1)


def _of_cubes(x: Tensor) -> Tensor:
    """Return the gradient of Σ x³."""
    return 3 * x**2


def _of_sigmoid(x: Tensor) -> Tensor:
    """Return the gradient of σ(4 · Σ x): steep in the middle, flat at both ends."""
    high = (4 * x.sum()).sigmoid()
    return torch.full_like(x, (4 * high * (1 - high)).item())


def _of_products(x: Tensor) -> Tensor:
    """Return the gradient of Σ sin(x · its neighbor on the right), rows apart."""
    right, left = x.roll(-1, dims=-1), x.roll(1, dims=-1)
    return right * (x * right).cos() + left * (x * left).cos()


integrated_gradients = Exercise(
    name="integrated_gradients",
    reference=_integrated_gradients,
    cases={
        "x³ from 0": (_of_cubes, torch.tensor([1.0, 2.0, -1.0]), torch.zeros(3), 4),
        "a curve that is flat at the end": (_of_sigmoid, torch.tensor([1.0, 0.5]), torch.zeros(2), 8),
        "a baseline that is not 0": (
            _of_products,
            _randn(2, 4, seed=40),
            0.5 * _randn(2, 4, seed=41),
            5,
        ),
        "a single step": (_of_cubes, torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.0]), 1),
    },
    wrong={
        "gradient times input, at x alone": Wrong(
            _gradient_times_input,
            "The curve is flat at x: your gradient is near 0 there. Did x contribute nothing on the way?",
        ),
        "gradient times difference, at x alone": Wrong(
            _gradient_times_difference,
            "The curve is flat at x: your gradient is near 0 there. What is `steps` for?",
        ),
        "the gradient at x": Wrong(
            _gradient_alone, "That says how f would change from x on. What brought it from the baseline to x?"
        ),
        "the way begins at 0, not at the baseline": Wrong(
            _path_from_zero, "Where is your first point when `steps` is large? Does the baseline stand there?"
        ),
        "the baseline taken for 0": Wrong(
            _baseline_ignored, "What is f(baseline) in yours? Where does `baseline` come in?"
        ),
        "baseline plus a share of x": Wrong(
            _baseline_kept, "Where is your last point: at x, or at baseline + x? How long is the way?"
        ),
        "not multiplied by x − baseline": Wrong(
            _mean_gradient,
            "A slope times a way is a rise. Which way? Do yours add up to f(x) − f(baseline)?",
        ),
        "multiplied by x": Wrong(
            _times_x, "A slope times a way is a rise. How long is the way from the baseline to x?"
        ),
        "the sum instead of the mean": Wrong(
            _sum_of_gradients, "Twice as many steps: should the result be twice as large?"
        ),
        "the beginnings of the pieces": Wrong(
            _left_ends,
            "Your points lie where pieces begin and end. Where is the middle of the first piece?",
            _shows(_left_ends),
        ),
        "the ends of the pieces": Wrong(
            _right_ends,
            "So does the paper, equation 3; the middles come closer. Where is the middle of the last piece?",
            _shows(_right_ends),
        ),
        "both ends and what is between": Wrong(
            _both_ends, "`steps` pieces have steps + 1 ends. How many middles have they?"
        ),
        "`steps` points from end to end": Wrong(
            _from_end_to_end,
            "linspace(0, 1, steps) has both ends in it. Where are the middles of the pieces?",
        ),
        "both ends, divided by `steps`": Wrong(
            _both_ends_by_steps, "How many gradients do you add, and by what do you divide?"
        ),
        "points between the ends, but not the middles": Wrong(
            _between_the_ends, "Two pieces: where are their middles? Not at 1/3 and 2/3."
        ),
        "k + 0.5 / steps": Wrong(
            _half_divided, "Division comes before addition. Where is your last point, and where should it be?"
        ),
        "steps counted from 1": Wrong(
            _numbered_from_1, "Where is the middle of your last piece? It should not be behind x."
        ),
        "the last gradient alone": Wrong(
            _last_alone,
            "What is left in your variable of the gradients before the last?",
            _shows(_last_by_steps),
        ),
        "divided by `steps` twice": Wrong(
            _divided_twice,
            "Twice as many steps: should the result be half as large? A mean is divided already.",
        ),
        "one mean for all numbers": Wrong(
            _one_mean, "Each number of x has a slope of its own. Over which axis is your mean?"
        ),
        "the baseline missing from the points": Wrong(
            _points_without_baseline, "Where is your last point: at x, or at x − baseline?"
        ),
        "trapezoids": Wrong(
            _trapezoids, "A good rule, but not this one: at how many points do you ask for the gradient?"
        ),
        "from x to the baseline": Wrong(
            _other_way_round, "f rises on the way to x: should the contributions be negative?"
        ),
        "one step, in the middle of the way": Wrong(
            _one_step, "At how many points do you ask for the gradient? The point must move with the step."
        ),
        "the absolute values": Wrong(
            _absolute, "A token may speak against the label. How would one see that in yours?"
        ),
        "added up over the last axis": Wrong(
            _added_up, "A later step, to have one number for each token. How is x shaped, and how is yours?"
        ),
    },
    hints=(
        "A share `a` of the way lies at baseline + a · (x − baseline).",
        "The middles of the pieces: a = (k + 0.5) / steps for k = 0 … steps − 1.",
        "The mean of the gradients there, then times (x − baseline).",
    ),
)


# Exercise 7: does a change that should not matter matter?


def _same_label(before: Tensor, after: Tensor) -> Tensor:
    return (before >= 0.5) == (after >= 0.5)


def _near(before: Tensor, after: Tensor, tolerance: float) -> Tensor:
    return (after - before).abs() <= tolerance


def _rate(passed: Tensor) -> float:
    return passed.double().mean().item()


def _pass_rate(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate(_same_label(before, after) & _near(before, after, tolerance))


def _falls_allowed(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate(_same_label(before, after) & (after - before <= tolerance))


def _rises_allowed(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate(_same_label(before, after) & (before - after <= tolerance))


def _falls_allowed_no_label(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate(after - before <= tolerance)


def _label_alone(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate(_same_label(before, after))


def _tolerance_alone(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate(_near(before, after, tolerance))


def _either(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate(_same_label(before, after) | _near(before, after, tolerance))


def _failures(before: Tensor, after: Tensor, tolerance: float) -> float:
    return 1 - _pass_rate(before, after, tolerance)


def _mean_difference(before: Tensor, after: Tensor, tolerance: float) -> float:
    return (after - before).abs().mean().item()


def _signed_mean(before: Tensor, after: Tensor, tolerance: float) -> float:
    return (after - before).mean().item()


def _strictly_less(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate(_same_label(before, after) & ((after - before).abs() < tolerance))


def _half_is_rotten(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate(((before > 0.5) == (after > 0.5)) & _near(before, after, tolerance))


def _fresh_only(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate((before >= 0.5) & (after >= 0.5) & _near(before, after, tolerance))


def _number_passed(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _pass_rate(before, after, tolerance) * len(before)


def _percent_passed(before: Tensor, after: Tensor, tolerance: float) -> float:
    return 100 * _pass_rate(before, after, tolerance)


def _relative(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate(_same_label(before, after) & ((after - before).abs() <= tolerance * before))


def _on_average(before: Tensor, after: Tensor, tolerance: float) -> float:
    return float(abs(_signed_mean(before, after, tolerance)) <= tolerance)


def _and_first(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _rate((before >= 0.5) == ((after >= 0.5) & _near(before, after, tolerance)))


def _all_or_nothing(before: Tensor, after: Tensor, tolerance: float) -> float:
    return float(_pass_rate(before, after, tolerance) == 1)


def _flipped(before: Tensor, after: Tensor, tolerance: float) -> float:
    return 1 - _label_alone(before, after, tolerance)


def _too_far(before: Tensor, after: Tensor, tolerance: float) -> float:
    return 1 - _tolerance_alone(before, after, tolerance)


def _rates_multiplied(before: Tensor, after: Tensor, tolerance: float) -> float:
    return _label_alone(before, after, tolerance) * _tolerance_alone(before, after, tolerance)


def _each_text(before: Tensor, after: Tensor, tolerance: float) -> Tensor:
    return _same_label(before, after) & _near(before, after, tolerance)


pass_rate = Exercise(
    name="pass_rate",
    reference=_pass_rate,
    cases={
        "rises and falls": (
            torch.tensor([0.9, 0.8, 0.2, 0.3, 0.7, 0.95, 0.1]),
            torch.tensor([0.88, 0.55, 0.25, 0.05, 0.95, 0.65, 0.42]),
            0.1,
        ),
        "labels that change": (
            torch.tensor([0.52, 0.48, 0.7, 0.2, 0.9, 0.1, 0.46]),
            torch.tensor([0.47, 0.53, 0.3, 0.18, 0.86, 0.9, 0.51]),
            0.1,
        ),
        "exactly 0.5, exactly the tolerance": (
            torch.tensor([0.5, 0.5, 0.75, 0.25, 0.875]),
            torch.tensor([0.5625, 0.53125, 0.625, 0.375, 0.75]),
            0.125,
        ),
        "only falls": (torch.tensor([0.9, 0.8, 0.4]), torch.tensor([0.6, 0.75, 0.1]), 0.2),
    },
    wrong={
        "falls never fail": Wrong(
            _falls_allowed, "From 0.9 to 0.6: how far is that in yours? A minus is below every tolerance."
        ),
        "rises never fail": Wrong(
            _rises_allowed, "From 0.6 to 0.9: how far is that in yours? A minus is below every tolerance."
        ),
        "falls never fail, labels ignored": Wrong(
            _falls_allowed_no_label, "Two things: from 0.9 to 0.6 is a move. And from 0.52 to 0.47?"
        ),
        "the label alone": Wrong(
            _label_alone,
            "From 0.99 to 0.51: the label stays. Did the change matter? What is `tolerance` for?",
        ),
        "the tolerance alone": Wrong(
            _tolerance_alone, "From 0.52 to 0.47 is a short way. What does the user see?"
        ),
        "or instead of and": Wrong(
            _either, "From 0.52 to 0.47: the label changes and it passes in yours. Must one hold, or both?"
        ),
        "the share of failures": Wrong(_failures, "No text changes at all: what should come out?"),
        "the share of labels that change": Wrong(
            _flipped, "No text changes at all: what should come out? And what is `tolerance` for?"
        ),
        "the share that moves too far": Wrong(
            _too_far, "No text changes at all: what should come out? And may a label change?"
        ),
        "two rates multiplied": Wrong(
            _rates_multiplied,
            "Which texts pass both? Join the two conditions text by text, then take the share.",
        ),
        "all or nothing": Wrong(_all_or_nothing, "6 of 7 texts pass: what should come out?"),
        "& before ==": Wrong(
            _and_first, "Python reads a == b & c as a == (b & c). Where do parentheses belong?"
        ),
        "the mean of the differences": Wrong(
            _mean_difference, "Is yours a share of texts? Each text passes or fails."
        ),
        "the mean difference, with its sign": Wrong(
            _signed_mean, "One up, one down: do they cancel in yours? Each text passes or fails by itself."
        ),
        "judged by the mean": Wrong(
            _on_average, "Each text passes or fails by itself: how many values can yours take?"
        ),
        "exactly the tolerance fails": Wrong(
            _strictly_less, "“At most”: does a text pass that moves by just the tolerance?"
        ),
        "exactly 0.5 is rotten": Wrong(
            _half_is_rotten, "“Fresh from 0.5 on”: what is the label of 0.5 in yours?"
        ),
        "only fresh ones can pass": Wrong(
            _fresh_only, "From 0.2 to 0.18: the label stays. Does it pass in yours?"
        ),
        "relative to the probability before": Wrong(
            _relative, "From 0.10 to 0.15: by how much does it move, by 0.05 or by half?"
        ),
        "the number instead of the share": Wrong(_number_passed, "All of 7 pass: should 7 come out, or 1?"),
        "percent instead of a share": Wrong(_percent_passed, "All pass: should 100 come out, or 1?"),
        "a verdict for each text": Wrong(_each_text, "One number is asked for. What share of yours is True?"),
    },
    hints=(
        "Two boolean tensors: the label is the same before and after; the absolute difference is at most the "
        "tolerance.",
        "& takes both. The mean of booleans, made floats, is a share.",
    ),
)
