"""The exercises of chapter 6: splitting by film, F1, the bootstrap, calibration, attribution, invariance.

Use: `from bertlearn.course.checks import sentiment as check`, then `check.macro_f1(macro_f1)`.
Each known mistake is an edit of the answer in `bertlearn.course.solutions.sentiment`; its question leads the
learner to see it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bertlearn.course.edits import Edit
from bertlearn.course.exercise import Exercise, Wrong
from bertlearn.course.solutions import sentiment as solution

Split = tuple[list[int], list[int]]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=_generator(seed))


# Exercise 1: no film in both parts.


def _films_in_both(value: Split, films: list[str]) -> int:
    train, test = value
    if any(isinstance(row, bool) for row in [*train, *test]):
        return 0  # flags, not rows
    return len({films[row] for row in train} & {films[row] for row in test})


def _films_missing(value: Split, films: list[str], share: float, seed: int) -> int:
    """Return by how many films a test set taken in the right order is too small; 0 if it is no such set."""
    given = sorted(value[0]), sorted(value[1])
    shares = [(rows - 0.5) / len(films) for rows in range(len(films) + 1)]
    if given not in [solution.split_by_film(films, smaller, seed) for smaller in shares]:
        return 0
    right = solution.split_by_film(films, share, seed)
    return len({films[row] for row in right[1]}) - len({films[row] for row in given[1]})


def _other_order(value: Split, films: list[str], share: float, seed: int) -> bool:
    train, test = value
    right = solution.split_by_film(films, share, seed)
    lists = isinstance(train, list) and isinstance(test, list)
    return lists and (train, test) != right and (sorted(train), sorted(test)) == right


def _other_films(value: Split, films: list[str], share: float, seed: int) -> bool:
    train, test = value
    whole = _films_in_both(value, films) == 0 and sorted([*train, *test]) == list(range(len(films)))
    return whole and sorted(test) != solution.split_by_film(films, share, seed)[1]


_FILMS = [*"CAACBDDDEEBBAFGGCF"]
_ROWS_BY_FILM = "rows = sorted(range(len(films)), key=lambda row: names.index(films[row]))\n    "

split_by_film = Exercise(
    solution.split_by_film,
    cases={
        "eight rows of four films": ([*"BBADDDCA"], 0.5, 5),
        "eighteen rows of seven films": (_FILMS, 0.2, 0),
        "another seed": (_FILMS, 0.2, 3),
        "a film with most of the rows": ([*"XXXXAXXXXBXXCXXD"], 0.15, 5),
    },
    wrong={
        "films on both sides": Wrong(
            "Take a film of your test rows: does training have other opinions of it? Move whole films.",
            ("names = sorted", "films = range(len(films))\n    names = sorted"),
            symptom=lambda value, films, *_: _films_in_both(value, films) > 1,
        ),
        "cut inside a film": Wrong(
            "One of your films is on both sides. Where do you cut: after so many rows, or after a film?",
            (
                "return train, test",
                f"{_ROWS_BY_FILM}size = round(share * len(films) + 0.5)\n"
                "    return sorted(rows[size:]), sorted(rows[:size])",
            ),
            symptom=lambda value, films, *_: _films_in_both(value, films) == 1,
        ),
        "the share counted in films": Wrong(
            "One film may have 12 rows, another only 1. What share of your rows is for testing?",
            ("rows >= share * len(films)", "len(test_films) >= share * len(names)"),
            symptom=lambda *case: _films_missing(*case) > 1,
        ),
        "films not shuffled": Wrong(
            "Which films are in your test set, and why those? Does another seed change them?",
            ("random.Random(seed).shuffle(names)", "pass"),
        ),
        "films not sorted before the shuffle": Wrong(
            "Reorder the rows: do you still choose the same films? What does the task do before it shuffles?",
            ("sorted(set(films))", "list(dict.fromkeys(films))"),
        ),
        "a film too few": Wrong(
            "Do you have at least share · N test rows? The last film goes in whole.",
            ("if rows >=", "if rows + films.count(name) >="),
            symptom=lambda *case: _films_missing(*case) == 1,
        ),
        "a film too many": Wrong(
            "Without your last film, are there enough test rows already? Ask before you add.",
            ("if rows >=", "test_films.add(name)\n        if rows >="),
        ),
        "more than the share": Wrong(
            "Exactly share · N test rows: is that enough, or do you take another film?", (">=", ">")
        ),
        "films taken from the back": Wrong(
            "pop() takes the last item, and sample() shuffles differently. Where should you start?",
            ("in names:", "in reversed(names):"),
        ),
        "train and test swapped": Wrong(
            "Which of your two lists should be the longer one, and which comes first?",
            ("return train, test", "return test, train"),
        ),
        "share · N rows for training": Wrong(
            "Which part should have share · N rows: the one to learn from, or the one to test with?",
            ("share * len", "(1 - share) * len"),
        ),
        "names of films instead of rows": Wrong(
            "The task asks for row numbers, so that texts and labels can be picked.",
            ("return train, test", "return sorted(set(films) - test_films), sorted(test_films)"),
        ),
        "other films": Wrong(
            "A fair split, but a different one. Are the films sorted first, then shuffled by Random(seed), "
            "then taken from the front, one after the other?",
            ("Random(seed)", "Random(seed + 1)"),
            symptom=_other_films,
        ),
        "rows film by film": Wrong(
            "These are the right rows. In which order does the task ask for them?",
            (
                "return train, test",
                f"{_ROWS_BY_FILM}train = [row for row in rows if row in train]\n"
                "    return train, [row for row in rows if row in test]",
            ),
            symptom=_other_order,
        ),
        "sets of rows": Wrong(
            "A set has no order. What does the task ask for?",
            ("return train, test", "return set(train), set(test)"),
        ),
        "rows counted from 1": Wrong(
            "Which number does the first row have?",
            ("return train, test", "return [row + 1 for row in train], [row + 1 for row in test]"),
        ),
    },
    hints=(
        "The films: sorted(set(films)), then random.Random(seed).shuffle(…).",
        "Go through them. Before each film, count the test rows: are they share · len(films) or more? Stop.",
        "At the end, one pass over all rows: a row is for testing if its film is among those taken.",
    ),
    returns=("train", "test"),
    why=(
        "No film is on both sides, so the test asks what the model makes of films that it has never heard of."
    ),
)


# Exercise 2: F1, each class counted once.

_CLASSES, _F1 = "sorted(set(labels) | set(guesses))", "2 * right / (guessed + labeled)"
_PRECISION, _RECALL = "right / max(guessed, 1)", "right / max(labeled, 1)"

macro_f1 = Exercise(
    solution.macro_f1,
    cases={
        "two classes": ([1, 1, 1, 0, 0, 1, 0, 1], [1, 1, 0, 0, 1, 1, 0, 1]),
        "three classes, one of them small": ([0, 0, 0, 0, 0, 1, 1, 1, 2, 2], [0, 0, 0, 0, 1, 1, 1, 0, 2, 1]),
        "a class that is always guessed wrong": ([0, 0, 0, 1, 1, 2, 2], [0, 0, 2, 1, 0, 1, 0]),
        "a class that is never guessed": ([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]),
        "a class that is guessed and never there": ([0, 0, 1, 1, 1], [0, 1, 1, 1, 2]),
        "classes 1 and 4": ([1, 1, 1, 4, 4], [1, 4, 1, 4, 1]),
    },
    wrong={
        "accuracy": Wrong(
            "90 texts of one class, 10 of another, and the first is always guessed: what do you get then?",
            (
                "return sum(scores)",
                "scores = [x == y for x, y in zip(labels, guesses)]\n    return sum(scores)",
            ),
        ),
        "F1 of class 1 alone": Wrong(
            "How good is the model at class 0? Does your result change if you swap 0 and 1?",
            (_CLASSES, "[1]"),
        ),
        "only the classes 0 and 1": Wrong(
            "Which classes are there, and where do you read that?", (_CLASSES, "[0, 1]")
        ),
        "F1 of the mean precision and the mean recall": Wrong(
            "Two steps: a mean over the classes, and F1. Which of the two comes first in the task?",
            (_F1, f"({_PRECISION}, {_RECALL})"),
            (
                "return sum(scores) / len(scores)",
                "precision, recall = (sum(part) / len(scores) for part in zip(*scores))\n"
                "    return 2 * precision * recall / (precision + recall)",
            ),
        ),
        "weighted by the size of the class": Wrong(
            "“Macro” means: a class of 10 texts counts as much as one of …?", (_CLASSES, "labels")
        ),
        "classes without a hit left out": Wrong(
            "A model that is hopeless at one class: does your result get better if it gives that class up?",
            ("scores.append", "if right: scores.append"),
        ),
        "classes never guessed left out": Wrong(
            "A model that never guesses class 2: over how many classes is your mean? See the labels.",
            ("set(labels) | set(guesses)", "set(guesses)"),
        ),
        "classes never there left out": Wrong(
            "A model that says class 2 where there is none: over how many classes is your mean?",
            ("set(labels) | set(guesses)", "set(labels)"),
        ),
        "classes that nobody named": Wrong(
            "Classes 1 and 4: over how many classes is your mean? Are 2 and 3 among them?",
            (" / len(scores)", " / (max(labels + guesses) + 1)"),
        ),
        "0 divided by 0": Wrong(
            "A class that is never guessed right: which of your divisions is by 0? What should its F1 be?",
            (
                f"scores.append({_F1})",
                "P, R = right / guessed, right / labeled\n        scores.append(2 * P * R / (P + R))",
            ),
        ),
        "divided by the guesses of a class never guessed": Wrong(
            "You know that P + R may be 0. And P itself, for a class that is never guessed?",
            ("scores.append", "precision = right / guessed\n        scores.append"),
        ),
        "NaN, 0 divided by 0": Wrong(
            "Tensors divide 0 by 0 without a word. What is the F1 of a class that is never guessed right?",
            (_F1, f"{_F1} if right else float('nan')"),
        ),
        "right / (right + both kinds of mistakes)": Wrong(
            "That is the Jaccard index. P = 1 and R = 0.5: what is 2 P R / (P + R)?",
            (_F1, "right / (guessed + labeled - right)"),
        ),
        "each class against the rest, accuracy": Wrong(
            "A rare class is never found: how high is its score in your version, and what is its F1?",
            (_F1, "1 - (guessed + labeled - 2 * right) / len(labels)"),
        ),
        "percent instead of shares": Wrong(
            "All guesses right: should 100 come out, or 1?", ("sum(scores)", "100 * sum(scores)")
        ),
        "the mean precision": Wrong(
            "Of all the texts of a class, how many were found? Your result does not depend on that.",
            (_F1, _PRECISION),
        ),
        "the mean recall": Wrong(
            "Guess class 1 for everything: all of its texts are found. What did that cost?", (_F1, _RECALL)
        ),
        "the plain mean of precision and recall": Wrong(
            "P = 1 and R = 0: what is 2 P R / (P + R), and what do you get?",
            (_F1, f"({_PRECISION} + {_RECALL}) / 2"),
        ),
        "the 2 forgotten": Wrong("P = R = 1: what should F1 be?", ("2 * right", "right")),
        "a list of the classes' F1": Wrong(
            "The task asks for one number for all classes: how do you combine yours?",
            ("return sum(scores) / len(scores)", "return scores"),
        ),
        "the sum of the classes' F1": Wrong(
            "All guesses right: what should come out?", (" / len(scores)", "")
        ),
        "the first class alone": Wrong(
            "Is your `return` inside the loop? Over how many classes is your mean?",
            ("sum(scores) / len(scores)", "scores[0]"),
        ),
        "rounded": Wrong(
            "0.444 is not 0.44. Round when you print, not before.",
            ("sum(scores) / len(scores)", "round(sum(scores) / len(scores), 2)"),
        ),
        "the root of P times R": Wrong(
            "That is the geometric mean. P = 1 and R = 0.5: what is 2 P R / (P + R)?",
            ("2 * right / (guessed + labeled)", "(right / max(guessed, 1) * right / max(labeled, 1)) ** 0.5"),
        ),
        "the worst class alone": Wrong(
            "Should the other classes count as well?", ("sum(scores) / len(scores)", "min(scores)")
        ),
    },
    hints=(
        "For each class three counts: guessed and right, guessed, and labeled so.",
        "2 P R / (P + R) is 2 · right / (guessed + labeled), which never divides by 0.",
        "The mean over all classes, including those that are never guessed right.",
    ),
    tolerance=1e-6,
    why="A rare class counts as much as a common one, so always saying “fresh” no longer pays.",
)


# Exercise 3: how sure is a difference?


def _symmetric(value: tuple[float, float], right_a: Tensor, right_b: Tensor, draws: Tensor) -> bool:
    """Say whether an interval lies around the mean gain, and does not end at numbers that a draw can give."""
    low, high = float(value[0]), float(value[1])
    gain = right_a.double() - right_b.double()
    off = abs(low * len(gain) - round(low * len(gain))) > 1e-3  # of a draw it is a whole number
    middles = gain[draws].mean().item(), gain.mean().item()
    return off and low < high and any(abs((low + high) / 2 - middle) < 1e-5 for middle in middles)


def _too_wide(value: tuple[float, float], right_a: Tensor, right_b: Tensor, draws: Tensor) -> bool:
    """Say whether an interval has the width that separate draws give, for two models that agree a lot."""
    apart = bootstrap_interval.variants["other draws for b"](right_a, right_b, draws)
    agree = (right_a == right_b).double().mean().item()
    return agree > 0.9 and all(abs(x - float(y)) < 0.02 for x, y in zip(apart, value, strict=True))


def _around_the_mean(spread: str) -> tuple[str, str]:
    """Return the edit that takes mean ± spread instead of the percentiles."""
    return (
        "torch.quantile(gains, q).item() for q in (0.025, 0.975)",
        f"(gains.mean() + sign * {spread}).item() for sign in (-1, 1)",
    )


def _draws(rows: int, texts: int, seed: int) -> Tensor:
    return torch.randint(texts, (rows, texts), generator=_generator(seed))


def _right(texts: int, share: float, seed: int) -> Tensor:
    return torch.rand(texts, generator=_generator(seed)) < share


_ENDS = "(0.025, 0.975)"
_NO_DRAWS = ("gains = a - b", "gains = right_a.float() - right_b.float()")

bootstrap_interval = Exercise(
    solution.bootstrap_interval,
    cases={
        "two models that agree a lot": (
            _right(150, 0.75, 10) | _right(150, 0.05, 11),
            _right(150, 0.75, 10),
            _draws(401, 150, 12),
        ),
        "two models that differ": (_right(60, 0.8, 13), _right(60, 0.6, 14), _draws(201, 60, 15)),
        "ten texts": (_right(10, 0.7, 16), _right(10, 0.6, 17), _draws(121, 10, 18)),
    },
    wrong={
        "other draws for b": Wrong(
            "A text that is hard for a is often hard for b. Do both models get the same texts in each draw?",
            ("right_b.float()[draws]", "right_b.float()[draws.flip(0)]"),
            symptom=_too_wide,
        ),
        "the difference of two intervals": Wrong(
            "You take percentiles of a and of b. Of which number does the task ask for percentiles?",
            ("torch.quantile(gains, q)", "(torch.quantile(a, q) - torch.quantile(b, q))"),
        ),
        "two intervals set against each other": Wrong(
            "a at its worst against b at its best: how often do both happen on the same texts? Of which "
            "number does the task ask for percentiles?",
            ("torch.quantile(gains, q)", "(torch.quantile(a, q) - torch.quantile(b, 1 - q))"),
        ),
        "5 and 95": Wrong(
            "What share of the draws lies outside your interval? It should be 5 % in all, on two sides.",
            (_ENDS, "(0.05, 0.95)"),
        ),
        "0.5 and 99.5": Wrong(
            "What share of the draws lies outside your interval? It should be 5 %.", (_ENDS, "(0.005, 0.995)")
        ),
        "25 and 75": Wrong(
            "What share of the draws lies outside your interval? 2.5 % is 0.025.", (_ENDS, "(0.25, 0.75)")
        ),
        "the smallest and the largest": Wrong(
            "With more draws your interval grows and grows. What share should lie outside?",
            (_ENDS, "(0.0, 1.0)"),
        ),
        "mean ± standard deviation": Wrong(
            "That holds about 68 % of a bell curve. And how do you know that it is one?",
            _around_the_mean("gains.std()"),
        ),
        "the standard error, without draws": Wrong(
            "A fair formula for many texts. But what are `draws` for in your version?",
            _NO_DRAWS,
            _around_the_mean("1.96 * gains.std() / len(gains) ** 0.5"),
        ),
        "divided by the root of the number of draws": Wrong(
            "With a million draws your interval has hardly any width. Do more draws make more texts?",
            _around_the_mean("1.96 * gains.std() / len(gains) ** 0.5"),
        ),
        "b minus a": Wrong("a is better: which sign should the difference have?", ("a - b", "b - a")),
        "mean ± a multiple of the standard deviation": Wrong(
            "For a bell curve that is about the same. What does the task take, so that none need be assumed?",
            _around_the_mean("1.96 * gains.std()"),
            symptom=_symmetric,
        ),
        "percentiles of single texts": Wrong(
            "A single text gives −1, 0 or 1. Of which R numbers should the percentiles be taken?",
            _NO_DRAWS,
            symptom=lambda value, *case: (float(value[0]), float(value[1])) == (-1, 1),
        ),
        "the high end first": Wrong(
            "Which of your two numbers is the smaller one?", (_ENDS, "(0.975, 0.025)")
        ),
        "the mean over the draws": Wrong(
            "draws is (R, N). How many numbers do you have before the percentiles: one for each draw, R?",
            Edit("dim=1", "dim=0", occurrence=1),
            ("dim=1", "dim=0"),
        ),
        "counts instead of shares": Wrong(
            "An accuracy lies between 0 and 1. How many texts has a draw?",
            ("a - b", "(a - b) * len(right_a)"),
        ),
        "percent instead of shares": Wrong(
            "An accuracy lies between 0 and 1 in this course.", ("a - b", "100 * (a - b)")
        ),
        "the accuracy of a alone": Wrong("Where does right_b come in?", ("a - b", "a")),
        "how often they differ": Wrong(
            "They differ where only a is right and where only b is right. Do both count in favor of a?",
            ("a - b", "(right_a != right_b).float()[draws].mean(dim=1)"),
        ),
        "the accuracy of b alone": Wrong("Where does right_a come in?", ("a - b", "b")),
        "the gain relative to b": Wrong(
            "From 0.5 to 0.6: is that 0.1 more, or a fifth more? The task asks for a difference.",
            ("a - b", "(a - b) / b"),
        ),
    },
    hints=(
        "right_a[draws] is (R, N): the texts of each draw. As floats they have a mean.",
        "In each draw the same texts for both: mean of a minus mean of b, (R,).",
        "torch.quantile(…, 0.025) and 0.975 of these R differences, each with .item().",
    ),
    returns=("low", "high"),
    why=(
        "Both models meet the same texts in each draw, so what is hard for both cancels; an interval "
        "without 0 is a real difference."
    ),
)


# Exercise 4: are the probabilities right?


def _too_sure(texts: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return probabilities and labels of a model that is surer of itself than it should be."""
    logits = 1.5 * _randn(texts, classes, seed=seed)
    labels = torch.multinomial(logits.softmax(1), 1, generator=_generator(seed))[:, 0]
    return (2 * logits).softmax(1), labels


_INSIDE, _ABOVE = "(confidence > low) & (confidence <= high)", "(confidence >= low) & (confidence < high)"
_RIGHT = "right = (guesses == labels).float()"
_ERROR = "sum(share * abs(gap) for share, gap in filled)"


def _other_confidence(confidence: str, right: str = "(guesses == labels)") -> tuple[str, str]:
    """Return the edit that puts another number in the confidence's place; 0 goes into the lowest bin."""
    return _RIGHT, f"right = {right}.float()\n    confidence = {confidence}.clamp(min=1e-9)"


def _other_scale(start: str) -> tuple[str, str]:
    """Return the edit that starts the bins at another number than 0; all below goes into the lowest bin."""
    scaled = f"((confidence.double() - {start}) / (1 - {start})).clamp(min=1e-9)"
    return _INSIDE, f"({scaled} > low) & ({scaled} <= high)"


calibration_error = Exercise(
    solution.calibration_error,
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
            "One bin has 1 text, another 59: should both count alike? Look at Σ n_b / N.",
            (_ERROR, "sum(abs(gap) for share, gap in filled) / len(filled)"),
        ),
        "divided by the number of bins": Wrong(
            "With a thousand bins, most of them empty, your error goes to 0. How much should a bin count?",
            (_ERROR, "sum(abs(gap) for share, gap in filled) / bins"),
        ),
        "the gaps added up": Wrong(
            "Can your error be above 1? By what share of the texts does each bin count?",
            ("share * abs", "abs"),
        ),
        "accuracy minus confidence, with its sign": Wrong(
            "Too sure in one bin, not sure enough in another: what do the two add up to in your version?",
            ("abs(gap)", "gap"),
        ),
        "confidence minus accuracy, with its sign": Wrong(
            "Too sure in one bin, not sure enough in another: what do the two add up to in your version?",
            ("abs(gap)", "-gap"),
        ),
        "the absolute value at the end": Wrong(
            "By then gaps above and below have canceled. Where should you take the absolute value?",
            (_ERROR, "abs(sum(share * gap for share, gap in filled))"),
        ),
        "the greatest gap": Wrong(
            "That is the maximum calibration error. A bin with a single text can decide it: is that asked?",
            ("sum(share * abs", "max(abs"),
        ),
        "the probability of class 1 as confidence": Wrong(
            "The model says 0.1 for class 1 and is right. How sure was it of what it said?",
            _other_confidence("probabilities[:, 1]"),
        ),
        "the share of class 1 in each bin": Wrong(
            "A good picture for two classes. But here: how sure is the model of its guess, and is it right?",
            _other_confidence("probabilities[:, 1]", "(labels == 1)"),
        ),
        "the probability of the right label": Wrong(
            "Does the model know the right label when it says how sure it is?",
            _other_confidence("probabilities.gather(1, labels[:, None])[:, 0]"),
        ),
        "text by text, without bins": Wrong(
            "A single text is right or wrong. When is 0.7 a good confidence? That takes several texts.",
            (_ERROR, "(right - confidence).abs().mean().item()"),
        ),
        "the gaps squared": Wrong("A gap of 0.1 in every bin: what should come out?", ("abs(gap)", "gap**2")),
        "an edge belongs to the bin above": Wrong(
            "Four bins and a confidence of 0.75: is that the third bin or the fourth?",
            (_INSIDE, "(confidence >= low) & ((confidence < high) | (number == bins - 1))"),
        ),
        "a confidence of 1 lost": Wrong(
            "In which of your bins is a confidence of exactly 1?", (_INSIDE, _ABOVE)
        ),
        "a bin of its own for 1": Wrong(
            "How many bins do you have? In which is a confidence of exactly 1?",
            (_INSIDE, _ABOVE),
            ("range(bins)", "range(bins + 1)"),
        ),
        "bins from 0.5 to 1": Wrong(
            "Where does your first bin begin? And where does a confidence of 0.4 go, with three classes?",
            _other_scale("0.5"),
        ),
        "bins from 1/C to 1": Wrong(
            "Where does your first bin begin? The task cuts [0, 1], even if the lowest bins stay empty.",
            _other_scale("1 / probabilities.shape[1]"),
        ),
        "bins of equally many texts": Wrong(
            "How wide are your bins? The task asks for equal widths.",
            (_INSIDE, "confidence.argsort(stable=True).argsort() * bins // len(labels) == number"),
        ),
        "the middle of the bin as confidence": Wrong(
            "What is the mean confidence of the texts in a bin? Not all of them are in its middle.",
            ("confidence[inside].mean()", "(low + high) / 2"),
        ),
        "the root of the squared gaps": Wrong(
            "That is another measure. What is done here to a gap before it is weighted?",
            (_ERROR, "sum(share * gap**2 for share, gap in filled) ** 0.5"),
        ),
        "not divided by N": Wrong(
            "Can your error be above 1? A bin counts by its share of the texts.",
            ("inside.float().mean()", "inside.sum()"),
        ),
        "all classes' probabilities": Wrong(
            "How many confidences does a text have: C, or one? Only that of the model's guess counts.",
            _other_confidence(
                "probabilities.flatten()",
                "torch.nn.functional.one_hot(labels, probabilities.shape[1]).flatten()",
            ),
        ),
        "a bin too few": Wrong(
            "linspace(0, 1, bins) has `bins` edges. How many bins lie between them?",
            ("filled = []", "filled, bins = [], bins - 1"),
        ),
        "the last bin forgotten": Wrong(
            "Where does your loop over the bins end? In which bin is a confidence of 0.99?",
            ("range(bins)", "range(bins - 1)"),
        ),
        "a confidence on an edge lost": Wrong(
            "Is a confidence of exactly 0.75 in one of your bins? Look at your two signs, < and <=.",
            ("confidence <= high", "confidence < high"),
        ),
        "a confidence on an edge in two bins": Wrong(
            "In how many of your bins is a confidence of exactly 0.75? Look at your two signs, >= and <=.",
            ("confidence > low", "confidence >= low"),
        ),
        "mistakes instead of hits": Wrong(
            "A model that is sure and right: how large is your gap? Compare with the share of right guesses.",
            ("guesses == labels", "guesses != labels"),
        ),
        "an empty bin gives NaN": Wrong(
            "What is the mean of no numbers? An empty bin has the share 0: leave it out.",
            ("if inside.any()", "if True"),
        ),
    },
    hints=(
        "probabilities.max(dim=1) gives confidences and guesses; a guess is right where it is the label.",
        "For bin b of `bins`: the texts with b / bins < confidence ≤ (b + 1) / bins; skip it if it is empty.",
        "Add up: (number in the bin) / N · |mean of right − mean of confidence|.",
    ),
    why=(
        "Taking the absolute value bin by bin keeps two opposite errors from canceling; the temperature "
        "below is judged by this number."
    ),
)


# Exercise 5: temperature.

_SOFTMAX = "scaled.softmax(dim=-1)"

scaled_probabilities = Exercise(
    solution.scaled_probabilities,
    cases={
        "T = 2, two classes": (3 * _randn(4, 2, seed=30), 2.0),
        "T = 0.5, three classes": (_randn(3, 3, seed=31), 0.5),
        "T = 1": (_randn(2, 4, seed=32), 1.0),
        "large logits": (torch.tensor([[1000.0, 998.0], [-1000.0, -997.0]]), 1.5),
    },
    wrong={
        "multiplied by T": Wrong(
            "T = 2 makes yours surer of itself, as probabilities to the power of T would. What should it do?",
            ("/ temperature", "* temperature"),
        ),
        "T without effect": Wrong(
            "What does T = 2 change in yours? Divide probabilities by T, make them sum to 1 again, and T has "
            "canceled: where must it come in, before the softmax or after?",
            (" / temperature", ""),
        ),
        "probabilities divided by T": Wrong(
            "What does each of your rows sum to? Which numbers does T belong to?",
            (_SOFTMAX, "logits.softmax(dim=-1) / temperature"),
        ),
        "a softmax of probabilities": Wrong(
            "You take the softmax twice. At T = 1 nothing should change: is that so in your version?",
            ("logits /", "logits.softmax(dim=-1) /"),
        ),
        "probabilities to the power of T": Wrong(
            "What does each of your rows sum to? And does a square make 0.9 and 0.1 flatter?",
            (_SOFTMAX, "logits.softmax(dim=-1) ** temperature"),
        ),
        "probabilities to the power of 1/T": Wrong(
            "The right idea, but what does each of your rows sum to now?",
            (_SOFTMAX, "logits.softmax(dim=-1) ** (1 / temperature)"),
        ),
        "the softmax over the texts": Wrong(
            "What do your probabilities of one text sum to? Which axis has the classes?", ("dim=-1", "dim=0")
        ),
        "one softmax for all texts": Wrong(
            "What do all your numbers sum to? Each row should sum to 1 by itself.",
            (_SOFTMAX, "scaled.flatten().softmax(dim=0).view_as(logits)"),
        ),
        "the largest logit of all taken off": Wrong(
            "A text with small logits beside one with large ones: is anything left of it? Each row has a "
            "largest logit of its own.",
            ("logits /", "(logits - logits.max()) /"),
            (_SOFTMAX, "scaled.exp() / scaled.exp().sum(dim=-1, keepdim=True)"),
        ),
        "logarithms of probabilities": Wrong(
            "Are your numbers between 0 and 1? log_softmax gives logarithms.",
            ("scaled.softmax", "scaled.log_softmax"),
        ),
        "e to the power of a large logit": Wrong(
            "What is e^1000 in 32 bits? softmax subtracts the largest logit first.",
            (_SOFTMAX, "scaled.exp() / scaled.exp().sum(dim=-1, keepdim=True)"),
        ),
        "a sigmoid": Wrong(
            "What does each of your rows sum to? The classes should share 1.", (_SOFTMAX, "scaled.sigmoid()")
        ),
        "logits, not yet probabilities": Wrong(
            "Are your numbers between 0 and 1? A step is missing.", (_SOFTMAX, "scaled")
        ),
        "the root of T": Wrong(
            "In attention it was a root. Which number is T here?", ("/ temperature", "/ temperature**0.5")
        ),
        "T squared": Wrong(
            "T = 2 should halve the logits. What does yours do to them?",
            ("/ temperature", "/ temperature**2"),
        ),
        "divided by their sum, without an exponential": Wrong(
            "What does yours give for a negative logit? Can a probability be that?",
            ("return scaled.softmax(dim=-1)", "return scaled / scaled.sum(dim=-1, keepdim=True)"),
        ),
    },
    hints=(
        "Temperature acts on the logits, before the softmax.",
        "Dividing them by a number above 1 brings them closer together.",
    ),
    why="The order of the logits stays, so no prediction changes; only the model's confidence does.",
)


# Exercise 6: integrated gradients.


def _shows(name: str, then_divided: bool = False) -> Callable[..., bool]:
    """Return a symptom: on this case the result is that of the mistake, and not the right one."""

    def symptom(value: Tensor, *case: Any) -> bool:
        mistake = integrated_gradients.variants[name](*case) / (case[-1] if then_divided else 1)
        right = solution.integrated_gradients(*case)
        return torch.allclose(value, mistake) and not torch.allclose(value, right)

    return symptom


def _of_cubes(x: Tensor) -> Tensor:
    """Return the gradient of Σ x³."""
    return 3 * x**2


def _of_sigmoid(x: Tensor) -> Tensor:
    """Return the gradient of σ(4 · Σ x): steep in the middle, flat at both ends."""
    high = (4 * x.sum()).sigmoid()
    return torch.full_like(x, (4 * high * (1 - high)).item())


def _of_products(x: Tensor) -> Tensor:
    """Return the gradient of Σ sin(x · its neighbor on the right), each row by itself."""
    right, left = x.roll(-1, dims=-1), x.roll(1, dims=-1)
    return right * (x * right).cos() + left * (x * left).cos()


_SHARE, _SHARES = "(step + 0.5) / steps", "[(step + 0.5) / steps for step in range(steps)]"
_ENDS_OF_PIECES = "[step / steps for step in range(steps + 1)]"
_RESULT = "path * mean_slope"

integrated_gradients = Exercise(
    solution.integrated_gradients,
    cases={
        "x³ from 0": (_of_cubes, torch.tensor([1.0, 2.0, -1.0]), torch.zeros(3), 4),
        "a curve that is flat at the end": (_of_sigmoid, torch.tensor([1.0, 0.5]), torch.zeros(2), 8),
        "a baseline that is not 0": (_of_products, _randn(2, 4, seed=40), 0.5 * _randn(2, 4, seed=41), 5),
        "a single step": (_of_cubes, torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.0]), 1),
    },
    wrong={
        "gradient times input, at x alone": Wrong(
            "The curve is flat at x: your gradient is near 0 there. Did x contribute nothing on the way?",
            (_RESULT, "x * gradient(x)"),
        ),
        "gradient times difference, at x alone": Wrong(
            "The curve is flat at x: your gradient is near 0 there. What is `steps` for?",
            (_RESULT, "path * gradient(x)"),
        ),
        "the gradient at x": Wrong(
            "That says how f would change from x on. What brought it from the baseline to x?",
            (_RESULT, "gradient(x)"),
        ),
        "the way begins at 0, not at the baseline": Wrong(
            "Where is your first point when `steps` is large? Is that the baseline?",
            ("baseline + share * path", "share * x"),
        ),
        "the baseline taken for 0": Wrong(
            "What is f(baseline) in your version? Where does `baseline` come in?",
            ("path =", "baseline = torch.zeros_like(x)\n    path ="),
        ),
        "baseline plus a share of x": Wrong(
            "Where is your last point: at x, or at baseline + x? How long is the way?",
            ("share * path", "share * x"),
        ),
        "not multiplied by x − baseline": Wrong(
            "A slope times a distance is a rise. Which distance? Do yours add up to f(x) − f(baseline)?",
            (_RESULT, "mean_slope"),
        ),
        "multiplied by x": Wrong(
            "A slope times a distance is a rise. How far is it from the baseline to x?",
            (_RESULT, "x * mean_slope"),
        ),
        "the sum instead of the mean": Wrong(
            "Twice as many steps: should the result be twice as large?", ("mean(dim=0)", "sum(dim=0)")
        ),
        "the beginnings of the pieces": Wrong(
            "Your points lie where pieces begin and end. Where is the middle of the first piece?",
            ("step + 0.5", "step"),
            symptom=_shows("the beginnings of the pieces"),
        ),
        "the ends of the pieces": Wrong(
            "So does the paper, equation 3; the middles come closer. Where is the middle of the last piece?",
            ("step + 0.5", "step + 1"),
            symptom=_shows("the ends of the pieces"),
        ),
        "both ends and what is between": Wrong(
            "`steps` pieces have steps + 1 ends. How many middles do they have?", (_SHARES, _ENDS_OF_PIECES)
        ),
        "`steps` points from end to end": Wrong(
            "linspace(0, 1, steps) includes both ends. Where are the middles of the pieces?",
            (_SHARES, "torch.linspace(0, 1, steps).tolist()"),
        ),
        "both ends, divided by `steps`": Wrong(
            "How many gradients do you add, and by what do you divide?",
            (_SHARES, _ENDS_OF_PIECES),
            ("mean(dim=0)", "sum(dim=0) / steps"),
        ),
        "points between the ends, but not the middles": Wrong(
            "Two pieces: where are their middles? Not at 1/3 and 2/3.", (_SHARE, "(step + 1) / (steps + 1)")
        ),
        "k + 0.5 / steps": Wrong(
            "Division comes before addition. Where is your last point, and where should it be?",
            (_SHARE, "step + 0.5 / steps"),
        ),
        "steps counted from 1": Wrong(
            "Where is the middle of your last piece? It should not be beyond x.",
            ("range(steps)", "range(1, steps + 1)"),
        ),
        "the last gradient alone": Wrong(
            "Which gradients does your variable still hold after the loop?",
            ("torch.stack(slopes).mean(dim=0)", "slopes[-1]"),
            symptom=_shows("the last gradient alone", then_divided=True),
        ),
        "divided by `steps` twice": Wrong(
            "Twice as many steps: should the result be half as large? A mean is divided already.",
            ("mean(dim=0)", "mean(dim=0) / steps"),
        ),
        "one mean for all numbers": Wrong(
            "Each number of x has a slope of its own. Over which axis is your mean?",
            ("mean(dim=0)", "mean()"),
        ),
        "the baseline missing from the points": Wrong(
            "Where is your last point: at x, or at x − baseline?", ("baseline + share", "share")
        ),
        "trapezoids": Wrong(
            "A good rule, but not this one: at how many points do you ask for the gradient?",
            (_SHARES, "[(step + end) / steps for step in range(steps) for end in (0, 1)]"),
        ),
        "from x to the baseline": Wrong(
            "f rises on the way to x: should the contributions be negative?", (_RESULT, "-path * mean_slope")
        ),
        "one step, in the middle of the way": Wrong(
            "At how many points do you ask for the gradient? The point must move with the step.",
            (_SHARE, "0.5"),
        ),
        "the absolute values": Wrong(
            "A token may speak against the label. How would your result show that?",
            (_RESULT, "(path * mean_slope).abs()"),
        ),
        "added up over the last axis": Wrong(
            "That is a later step, to get one number per token. What is the shape of x, and of your result?",
            (_RESULT, "(path * mean_slope).sum(dim=-1)"),
        ),
        "the first gradient alone": Wrong(
            "Is your `return` inside the loop? How many gradients should enter the mean?",
            ("torch.stack(slopes).mean(dim=0)", "slopes[0]"),
        ),
    },
    hints=(
        "A share `a` of the way lies at baseline + a · (x − baseline).",
        "The middles of the pieces: a = (k + 0.5) / steps for k = 0 … steps − 1.",
        "The mean of the gradients there, then times (x − baseline).",
    ),
    why="The contributions add up to f(x) − f(baseline), so nothing of the prediction is left unexplained.",
)


# Exercise 7: does a change that should not matter matter?

_BOTH, _RATE = "(same_label & near)", "(same_label & near).float().mean()"

pass_rate = Exercise(
    solution.pass_rate,
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
            "From 0.9 to 0.6: how far is that in your version? A negative number is below every tolerance.",
            (".abs()", ""),
        ),
        "rises never fail": Wrong(
            "From 0.6 to 0.9: how far is that in your version? A negative number is below every tolerance.",
            ("(after - before).abs()", "before - after"),
        ),
        "falls never fail, labels ignored": Wrong(
            "Two things: from 0.9 to 0.6 is a move. And from 0.52 to 0.47?", (".abs()", ""), (_BOTH, "near")
        ),
        "the label alone": Wrong(
            "From 0.99 to 0.51: the label stays. Did the change matter? What is `tolerance` for?",
            (_BOTH, "same_label"),
        ),
        "the tolerance alone": Wrong(
            "From 0.52 to 0.47 is a small move. What does the user see?", (_BOTH, "near")
        ),
        "or instead of and": Wrong(
            "From 0.52 to 0.47 the label changes, and yet it passes. Must one condition hold, or both?",
            ("&", "|"),
        ),
        "the share of failures": Wrong(
            "No text changes at all: what should come out?", (_RATE, f"1 - {_RATE}")
        ),
        "the share of labels that change": Wrong(
            "No text changes at all: what should come out? And what is `tolerance` for?",
            (_BOTH, "(~same_label)"),
        ),
        "the share that moves too far": Wrong(
            "No text changes at all: what should come out? And may a label change?", (_BOTH, "(~near)")
        ),
        "two rates multiplied": Wrong(
            "Which texts pass both? Join the two conditions text by text, then take the share.",
            (_RATE, "(same_label.float().mean() * near.float().mean())"),
        ),
        "all or nothing": Wrong("6 of 7 texts pass: what should come out?", ("mean()", "min()")),
        "& before ==": Wrong(
            "Python reads a == b & c as a == (b & c). Where do parentheses belong?",
            (_BOTH, "((before >= 0.5) == (after >= 0.5) & near)"),
        ),
        "the mean of the differences": Wrong(
            "Is your result a share of texts? Each text passes or fails.",
            (_RATE, "(after - before).abs().mean()"),
        ),
        "the mean difference, with its sign": Wrong(
            "One up, one down: do they cancel in your version? Each text passes or fails by itself.",
            (_RATE, "(after - before).mean()"),
        ),
        "judged by the mean": Wrong(
            "Each text passes or fails by itself: how many values can your result take?",
            (_RATE, "((after - before).mean().abs() <= tolerance).float()"),
        ),
        "exactly the tolerance fails": Wrong(
            "“At most”: does a text pass that moves by exactly the tolerance?", ("<=", "<")
        ),
        "exactly 0.5 is rotten": Wrong(
            "“Fresh from 0.5 on”: what is the label of 0.5 in your version?",
            ("(before >= 0.5) == (after >= 0.5)", "(before > 0.5) == (after > 0.5)"),
        ),
        "only fresh ones can pass": Wrong(
            "From 0.2 to 0.18: the label stays. Does it pass in your version?", ("==", "&")
        ),
        "relative to the probability before": Wrong(
            "From 0.10 to 0.15: by how much does it move, by 0.05 or by half?",
            ("<= tolerance", "<= tolerance * before"),
        ),
        "the number instead of the share": Wrong(
            "All of 7 pass: should 7 come out, or 1?", ("mean()", "sum()")
        ),
        "percent instead of a share": Wrong(
            "All pass: should 100 come out, or 1?", (_RATE, f"100 * {_RATE}")
        ),
        "a verdict for each text": Wrong(
            "The task asks for one number. What share of your verdicts is True?",
            (".float().mean().item()", ""),
        ),
    },
    hints=(
        "Two boolean tensors: the label is the same before and after; the absolute difference is at most the "
        "tolerance.",
        "& combines the two. Turn the booleans into floats; their mean is a share.",
    ),
    why=(
        "A text passes only if both its label and its probability stay, so no small change can hide a "
        "new answer."
    ),
)
