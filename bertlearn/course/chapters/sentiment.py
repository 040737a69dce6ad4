"""Tables, figures and data of chapter 6 that would make its cells long.

Leaves out: everything that the chapter teaches, which stays in its cells or is in `bertlearn.analysis`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bertlearn.analysis import attribution, evaluation
from bertlearn.analysis.behavior import BAD, GOOD, NATIONALITIES, Outcome
from bertlearn.course.figures import PALETTE, Picture, new_figure, plot_bars, plot_matrix
from bertlearn.course.results import Results, summarize
from bertlearn.course.widgets import HeadSurgery
from bertlearn.data.corpora import Reviews, ReviewSet
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.model.inference import predict
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

ALT = {
    "labels": "Accuracy over labels, by model: fine-tuned MiniLM is ahead everywhere; frozen MiniLM starts "
    "second and levels off; TF-IDF overtakes it at the end.",
    "reliability": "Share of right predictions over confidence: as trained below the diagonal, after "
    "temperature scaling close to it.",
    "masking": "Fall of the log-odds over masked tokens: integrated gradients far above attention, attention "
    "somewhat above random.",
    "heads": "Accuracy over heads off: in random order it holds for the first third, then falls to chance; "
    "least important first falls much earlier.",
}
"""Alternative texts, in words: the numbers are printed. In a cell they would tell the result to a reader who
is still to guess it."""


# Data


def print_wrapped(start: str, sentence: str, width: int = 88) -> None:
    """Print a sentence after what stands before it, in lines of at most `width` characters."""
    print(textwrap.fill(f"{start} {sentence}", width, subsequent_indent=" " * 5))


AUTHOR = "rfrfffrfrrrrrrfffrffrffrrrrrfffffffrrfrf"
"""The author's answers, f or r, to the forty sentences that the chapter draws, given without the labels."""


def print_agreement(name: str, letters: str, rows: Sequence[int], part: ReviewSet) -> int:
    """Print how many letters are right, and each sentence where one is wrong; return the number right.

    Args:
        name: who answered.
        letters: f for fresh or r for rotten, one for each row; spaces and commas do not count.
        rows: the rows of the sentences in `part`.
        part: sentences with their labels.

    Raises:
        ValueError: another number of letters, or another letter.
    """
    letters = re.sub(r"[\s,]", "", letters.lower())
    if len(letters) != len(rows) or set(letters) - {"f", "r"}:
        raise ValueError(f"{name}: {letters!r} has {len(letters)} letters; give {len(rows)}, each f or r")
    labels = ["rf"[part.labels[row]] for row in rows]
    wrong = [i for i, letter in enumerate(letters) if letter != labels[i]]
    print(f"{name}: {len(rows) - len(wrong)} of {len(rows)} right")
    for i in wrong:
        print_wrapped(f"{i + 1:2} is labeled {labels[i]}, not {letters[i]}:", part.sentences[rows[i]])
    return len(rows) - len(wrong)


def plot_film_shares(shares: Sequence[float]) -> Picture:
    """Draw how the films' shares of fresh sentences are spread."""
    figure, axes = new_figure(height=2.8)
    axes.hist(shares, bins=20, range=(0, 1), rwidth=0.9)
    axes.set(title="Films by their share of fresh sentences", xlabel="share of fresh sentences")
    axes.set_ylabel("films")
    alt = "Histogram of the films' shares of fresh sentences: wide, from 0 to 1, most films above one half."
    return Picture(figure, alt)


# Models


def print_models(models: Results) -> None:
    """Print one line for each model: its scores on the test films, and what they cost."""
    print(f"{'':26}{'accuracy':>8}{'macro-F1':>17}{'minutes':>9}{'parameters':>12}{'texts/s':>9}")
    for name, accuracy in summarize(models.rows, "accuracy", "model").items():
        rows = models.where(model=name)
        macro, minutes = (_mean(rows, column) for column in ("macro_f1", "core_minutes"))
        speeds = [row["sentences_per_core_second"] for row in rows]
        speed = f"{sum(speeds) / len(speeds):9,.0f}" if all(speeds) else f"{'–':>9}"
        spread = f"± {accuracy.std:.3f}" if accuracy.runs > 1 else ""
        start = f"{name:26}{accuracy.mean:8.3f} {spread:7}"
        print(f"{start}{macro:9.3f}{minutes:9.2f}{rows[0]['parameters']:12,}{speed}")


def _mean(rows: Sequence[Mapping[str, Any]], column: str) -> float:
    return sum(row[column] for row in rows) / len(rows)


def learning_curves(learned: Results) -> tuple[list[int], dict[str, Tensor]]:
    """Return the numbers of labels, P of them, and the accuracies of each model's first three runs (3, P).

    Where a model ran only once, that run stands three times.
    """
    sizes = sorted({row["sentences"] for row in learned.rows})
    curves = {}
    for name in dict.fromkeys(row["model"] for row in learned.rows):
        points = [learned.where(model=name, sentences=size) for size in sizes]
        runs = [[row["accuracy"] for row in rows] for rows in points]
        curves[name] = torch.tensor([(run * 3)[:3] for run in runs]).T
    return sizes, curves


# Probabilities


def plot_reliability(curves: Mapping[str, list[evaluation.Bin]], title: str, alt: str) -> Picture:
    """Plot how often a model is right against how sure it is; a larger point stands for more texts."""
    figure, axes = new_figure(width=4.8, height=4.0)
    axes.plot([0.5, 1], [0.5, 1], ":", color="gray", label="calibrated")
    for (name, bins), color, marker in zip(curves.items(), PALETTE[1::-1], "os", strict=False):
        x, y = [one.confidence for one in bins], [one.accuracy for one in bins]
        axes.plot(x, y, color=color, alpha=0.5)
        axes.scatter(x, y, s=[one.texts / 2 + 8 for one in bins], color=color, marker=marker, label=name)
    axes.set(title=title, xlabel="mean confidence", ylabel="accuracy")
    axes.legend(frameon=False, loc="upper left", labelspacing=0.9)
    return Picture(figure, alt)


# Errors

_NEGATION = r"\b(not|no|never|nothing|nor|neither|hardly|without|cannot)\b|n['’]t\b"
_CONTRAST = r"\b(but|though|although|yet|however|despite|while)\b"

GROUPS: dict[str, Callable[[str], object]] = {
    "negation": lambda text: re.search(_NEGATION, text, re.IGNORECASE),
    "contrast (but, though, …)": lambda text: re.search(_CONTRAST, text, re.IGNORECASE),
    "two capitalized words": lambda text: re.search(r"\b[A-Z][a-z]+ [A-Z][a-z]+\b", text),
    "a question, or in quotes": lambda text: re.search(r"\?|\"|“", text),
    "up to 8 words": lambda text: len(text.split()) <= 8,
    "over 28 words": lambda text: len(text.split()) > 28,
    "all": lambda text: True,
}
"""A rule for each group of sentences; it gives something true for a sentence that belongs to the group."""


def print_error_rates(models: Results, reviews: Reviews) -> dict[tuple[str, str, str], float]:
    """Print and return the share of errors in each of `GROUPS`, by model, part ("test") and group."""
    rates = {}
    print(f"{'share of errors':27}{'— validation —':>20}{'— test —':>19}")
    print(f"{'':27}{'TF-IDF':>9}{'MiniLM':>9}{'TF-IDF':>12}{'MiniLM':>9}   sentences (validation)")
    for group, rule in GROUPS.items():
        line, counts = f"{group:27}", []
        for part in ("validation", "test"):
            inside = torch.tensor([bool(rule(text)) for text in getattr(reviews, part).sentences])
            counts.append(int(inside.sum()))
            for name in ("TF-IDF", "MiniLM, fine-tuned"):
                rate = _wrong(models, name, reviews, part)[:, inside].mean().item()
                rates[name, part, group] = rate
                line += f"{rate:{12 if part == 'test' and name == 'TF-IDF' else 9}.2f}"
        print(f"{line}   {counts[0]:5,}")
    return rates


def _wrong(models: Results, name: str, reviews: Reviews, part: str) -> Tensor:
    """Return which sentences each seed of a model gets wrong, 1 or 0 (seeds, N)."""
    odds = torch.tensor([row[f"{part}_log_odds"] for row in models.where(model=name)])
    return ((odds > 0) != torch.tensor(getattr(reviews, part).labels, dtype=torch.bool)).double()


KINDS = {
    "m": "praise and blame together",
    "n": "negation, in a wide sense",
    "i": "irony or a joke",
    "k": "a figure of speech, or outside knowledge",
    "d": "the sentence alone does not say it",
    "c": "clear",
}
_NOTES = """530m 995d 733k 577m 286c 647m 533d 191n 1162m 488d 291c 917d 1040n 223m 1313d 649i 495m 975i
    1254d 1074i 482c 563n 168n 236d 996n 349d 872n 54m 1236d 46i 143d 452c 616n 369c 956d 80i 1176m 1135k
    25k 1163m"""
JUDGED = {int(note[:-1]): KINDS[note[-1]] for note in _NOTES.split()}
"""What the author thinks went wrong in each of the forty errors that the chapter reads, by row."""


def print_judged(rows: Sequence[int]) -> dict[str, int]:
    """Print which rows `JUDGED` puts into each kind, the commonest first; return how many they are."""
    kinds = dict.fromkeys([*KINDS.values(), *(JUDGED[row] for row in rows)])  # a reader may add one
    found = {kind: [row for row in rows if JUDGED[row] == kind] for kind in kinds}
    found = dict(sorted(found.items(), key=lambda pair: -len(pair[1])))
    for kind, some in found.items():
        print(
            textwrap.fill(
                f"{len(some):2} {kind}: rows {', '.join(map(str, some))}", 88, subsequent_indent="   "
            )
        )
    return {kind: len(some) for kind, some in found.items()}


# Explanations


def three_views(
    model: BertForSequenceClassification, tokenizer: WordPieceTokenizer, text: str, max_length: int = 64
) -> Picture:
    """Compare, token by token, integrated gradients, what masking the token does, and attention.

    Each row is divided by its largest value. Above 0 speaks for the model's second label, fresh.
    """
    found = attribution.integrated_gradients(model, tokenizer, text, label=1, max_length=max_length)
    looked_at = attribution.attention_scores(model, tokenizer, text, max_length=max_length).scores
    tokens = found.tokens[1:-1]
    one_each = list(np.eye(len(found.tokens))[1:-1])
    falls = attribution.deletion(model, tokenizer, [text] * len(tokens), one_each, 1, max_length=max_length)
    p_fresh = predict(model, tokenizer, [text])[0, 1].item()
    falls = falls if p_fresh >= 0.5 else -falls  # they are of the predicted label; we want those of fresh
    rows = {"int. gradients": found.scores[1:-1], "masking it": falls, "attention": looked_at[1:-1]}
    values = np.stack([row / np.abs(row).max() for row in rows.values()])
    title = f"p(fresh) = {p_fresh:.2f}; orange speaks for fresh, purple against"
    return plot_matrix(values, list(rows), tokens, title, limits=(-1, 1), alt=f"Three views of: {text}")


def explain(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    text: str,
    temperature: float,
    max_length: int = 64,
) -> Picture:
    """Print how sure a model is of fresh after temperature scaling, and draw what each token adds."""
    found = attribution.integrated_gradients(model, tokenizer, text, label=1, max_length=max_length)
    p_fresh = evaluation.scaled_probabilities([[0.0, found.log_odds]], temperature)[0, 1]
    added = found.scores.sum()
    start = found.log_odds - added
    print(f"log-odds with all words masked {start:.2f}, the tokens add {added:+.2f}: {found.log_odds:.2f}")
    print(f"divided by T = {temperature:.2f}: p(fresh) = {p_fresh:.2f}")
    tokens = [f"{token} ({position})" for position, token in enumerate(found.tokens)]
    return plot_bars(
        dict(zip(tokens[1:-1], found.scores[1:-1], strict=True)),
        text,
        "added to the log-odds of fresh (nats)",
    )


# Heads


def head_costs(heads: Results) -> Tensor:
    """Return how much the loss rises without each head, (6, 12) layers and heads, in nats."""
    whole = heads.where(kind="none")[0]["loss"]
    costs = torch.zeros(6, 12)
    for row in heads.where(kind="one"):
        costs[row["layer"], row["head"]] = row["loss"] - whole
    return costs


def plot_head_costs(costs: Tensor) -> Picture:
    """Draw how much the loss rises without each head."""
    layers, columns = ([str(number) for number in range(size)] for size in costs.shape)
    alt = "Heat map of layers by heads: small changes of the loss, up and down, without a pattern."
    title = "Change of the loss (nats) without one head"
    return plot_matrix(costs, layers, columns, title, "head", "layer", alt=alt)


def head_curves(heads: Results) -> tuple[list[int], dict[str, Tensor]]:
    """Return the numbers of heads that are off, P of them, and each order's accuracies (runs, P)."""
    runs: dict[str, dict[str, list[float]]] = {}
    for row in heads.where(kind="cumulative"):
        order = row["order"].rstrip(" 012")  # the random order was drawn three times
        runs.setdefault(order, {}).setdefault(row["order"], []).append(row["accuracy"])
    off = sorted({row["off"] for row in heads.where(kind="cumulative")})
    return off, {order: torch.tensor(list(found.values())) for order, found in runs.items()}


def moved(
    surgery: HeadSurgery, off: list[list[int]] | None = None, cut: list[list[int]] | None = None
) -> float:
    """Return how far the log-odds of fresh move in a `HeadSurgery` without these heads and edges."""
    surgery.off, surgery.cut = off or [], cut or []
    rotten, fresh = surgery.logits - surgery.base_logits
    surgery.off = surgery.cut = []
    return float(fresh - rotten)


# Behavior


def print_rates(behavior: Results) -> dict[tuple[str, str], float]:
    """Print and return the share of cases that pass, over all seeds, by test and model."""
    models = list(dict.fromkeys(row["model"] for row in behavior.rows))
    print(f"{'':22}", *(f"{name:>21}" for name in models))
    rates = {}
    for test in dict.fromkeys(row["test"] for row in behavior.rows):
        for model in models:
            rows = behavior.where(test=test, model=model)
            rates[test, model] = sum(row["passed"] for row in rows) / sum(row["cases"] for row in rows)
        print(f"{test:22}", *(f"{rates[test, model]:21.2f}" for model in models))
    return rates


def print_outcomes(outcomes: Sequence[Outcome], count: int = 2, width: int = 60) -> None:
    """Print each test's pass rate with its interval, and the failures that are farthest off."""
    for outcome in outcomes:
        print(f"{outcome.name:24} {outcome.rate:.2f}  [{outcome.low:.2f}, {outcome.high:.2f}]")
        for failure in outcome.failures[:count]:
            changed = failure.changed or failure.text
            differs = (
                i for i, pair in enumerate(zip(failure.text, changed, strict=False)) if len({*pair}) > 1
            )
            start = max(0, next(differs, 0) - 30)
            view = slice(start, start + width)
            print(f"    {failure.before:.2f}  {failure.text[view]}")
            if failure.after is not None:
                print(f"    {failure.after:.2f}  {changed[view]}")


_WORDS = {
    "praise": ["good", "funny", "great", "interesting", "entertaining", "original", *GOOD],
    "blame": ["bad", "boring", "dull", "terrible", "awful", "stupid", "worst", *BAD],
}
_NEGATED = r"(\b(?:not|never|nothing|hardly)|n['’]t|anything but)\s(?:\w+\s){0,2}"


def print_negated(part: ReviewSet) -> dict[str, float]:
    """Print how often sentences with words of praise and of blame are fresh; return it for negated ones."""
    found = {}
    for name, words in _WORDS.items():
        word = rf"\b(?:{'|'.join(words)})\b"
        used, negated = (_labels_where(rule, part) for rule in (word, _NEGATED + word))
        found[name] = sum(negated) / len(negated)
        print(f"{name:6}  {len(used):5,} sentences, {sum(used) / len(used):.0%} fresh;", end="  ")
        print(f"negated in {len(negated)}, {found[name]:.0%} of them fresh")
    return found


def _labels_where(rule: str, part: ReviewSet) -> list[int]:
    """Return the labels of the sentences in which a rule finds something."""
    pairs = zip(part.sentences, part.labels, strict=True)
    return [label for text, label in pairs if re.search(rule, text, re.IGNORECASE)]


_FRAMES = (
    "A {} film about a family.",
    "This is a {} film.",
    "The film is {}.",
    "It was made by a {} director.",
)


def neutral_log_odds(
    model: BertForSequenceClassification, tokenizer: WordPieceTokenizer, words: Sequence[str] = NATIONALITIES
) -> dict[str, float]:
    """Return for each adjective the mean log-odds of fresh in four sentences without an opinion, sorted."""
    texts = [
        re.sub(r"\b([Aa]) (?=[AEIOUaeiou])", r"\1n ", frame.format(word))
        for word in words
        for frame in _FRAMES
    ]
    odds = predict(model, tokenizer, texts)[:, 1].logit().view(len(words), len(_FRAMES)).mean(dim=1)
    return dict(sorted(zip(words, odds.tolist(), strict=True), key=lambda pair: pair[1]))


# Handing over


def largest_difference(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    folder: Path,
    texts: list[str],
    max_length: int = 64,
) -> float:
    """Return the largest difference between our p(fresh) and that of transformers, loaded from a folder."""
    import transformers

    transformers.utils.logging.disable_progress_bar()  # it would appear in some runs only
    classify = transformers.pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
    answers = [{one["label"]: one["score"] for one in found} for found in classify(texts, truncation=True)]
    theirs = torch.tensor([found["fresh"] for found in answers])
    return float((theirs - predict(model, tokenizer, texts, max_length=max_length)[:, 1]).abs().max())
