"""Compute the stored results that chapters 5 and 6 read, bertlearn/course/results/*.json.

    python tools/make_results.py                   all files (one to two hours on two cores)
    python tools/make_results.py split models      only these files
    python tools/make_results.py --part 1/2        half of the runs; run --part 2/2 in a second terminal

Interrupted runs continue, see tools/stored_runs.py.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from stored_runs import Experiment, Tool, read_run
from textblob import TextBlob

from bertlearn import load_reviews
from bertlearn.analysis.ablation import head_importance, without_heads
from bertlearn.analysis.attribution import attention_scores, deletion, integrated_gradients
from bertlearn.analysis.behavior import behavior_tests, run_tests
from bertlearn.course.encoders import load_encoder
from bertlearn.course.results import RESULTS, Row
from bertlearn.course.tasks import Cloze, load_cloze, load_film_pairs
from bertlearn.data.corpora import Reviews, ReviewSet
from bertlearn.finetuning.features import Features, answer_features, text_features
from bertlearn.finetuning.options import FinetuneOptions
from bertlearn.finetuning.run import Finetuned, finetune, predict_logits
from bertlearn.finetuning.spans import best_answers, span_scores
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForQuestionAnswering, BertForSequenceClassification
from bertlearn.model.inference import sentence_vectors
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

LABELS = ["rotten", "fresh"]
MAX_LENGTH = 64
OWN_OPTIONS = FinetuneOptions(epochs=4, learning_rate=3e-4)
MINILM_OPTIONS = FinetuneOptions(epochs=2, learning_rate=1e-4)
RECIPES = {
    "own BERT, not pretrained": OWN_OPTIONS,
    "own BERT, pretrained": OWN_OPTIONS,
    "MiniLM, fine-tuned": MINILM_OPTIONS,
}
SEEDS = {
    "own BERT, not pretrained": 5,
    "own BERT, pretrained": 5,
    "MiniLM, fine-tuned": 3,
}
CURVES = (
    "TF-IDF",
    "MiniLM, frozen",
    "own BERT, not pretrained",
    "own BERT, pretrained",
    "MiniLM, fine-tuned",
)
# (longest n-gram, inverse regularization strength)
TFIDF_GRID = [(n, c) for n in (1, 2, 3, 4) for c in (1.0, 3.0, 10.0, 30.0)]
FROZEN_GRID = (0.1, 1.0, 10.0, 100.0)
SIZES = (100, 300, 1000, 3000)
CURVE_SEEDS = 3
SPLIT_SEEDS = 20
HEADS_AT_A_TIME = 12
HEAD_SENTENCES = 400  # validation sentences on which models without some heads are measured
ATTRIBUTION_SENTENCES = 200
REMOVED_TOKENS = (1, 2, 3, 5, 8)
CHOICE_OPTIONS = FinetuneOptions(epochs=2, learning_rate=3e-4)
CHOICES: dict[str, tuple[Any, ...]] = {
    "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3),
    "trainable_layers": (0, 1),
}
OTHER_RECIPES: dict[str, dict[str, tuple[FinetuneOptions, float | None]]] = {  # options, dropout
    name: {
        "4 epochs at 1e-3": (FinetuneOptions(epochs=4, learning_rate=1e-3), None),
        "8 epochs at 3e-4": (FinetuneOptions(epochs=8, learning_rate=3e-4), None),
    }
    for name in ("own BERT, not pretrained", "own BERT, pretrained")
} | {
    "MiniLM, fine-tuned": {
        "4 epochs at 5e-5": (FinetuneOptions(epochs=4, learning_rate=5e-5), None),
        "3 epochs at 2e-4, dropout 0.2, layer decay 0.9, weight decay 0.1": (
            FinetuneOptions(epochs=3, learning_rate=2e-4, layer_decay=0.9, weight_decay=0.1),
            0.2,
        ),
        "2 epochs at 2e-4, batches of 64": (
            FinetuneOptions(epochs=2, learning_rate=2e-4, batch_size=64),
            None,
        ),
        "3 epochs at 1e-4, batches of 16, layer decay 0.9": (
            FinetuneOptions(epochs=3, learning_rate=1e-4, batch_size=16, layer_decay=0.9),
            None,
        ),
    }
}
RECIPE_SEEDS = {"own BERT, not pretrained": 3, "own BERT, pretrained": 3, "MiniLM, fine-tuned": 1}
PAIR_LENGTH = 128
PAIR_OPTIONS = FinetuneOptions(epochs=2, learning_rate=1e-4)
CLOZE_LENGTH = 160
CLOZE_OPTIONS = FinetuneOptions(epochs=3, learning_rate=1e-4, batch_size=8)
LONGEST_ANSWER = 12  # tokens
NULL_THRESHOLDS = (-4.0, -2.0, 0.0, 2.0, 4.0)
TASK_SEEDS = 1


def described(options: FinetuneOptions) -> dict[str, Any]:
    """Return the options that can change a result; where the history is written does not."""
    return {name: value for name, value in asdict(options).items() if name != "log_to"}


# 1. Models without a transformer


@cache
def reviews() -> Reviews:
    return load_reviews()


def accuracy(log_odds: Iterable[float], subset: ReviewSet) -> float:
    return float(accuracy_score(subset.labels, [int(x > 0) for x in log_odds]))


def model_row(model: str, seed: int | None, log_odds: list[list[float]], **measured: Any) -> Row:
    """Return a row of "models" from the log-odds of the validation and the test sentences."""
    validation, test = reviews().validation, reviews().test
    return {
        "model": model,
        "seed": seed,
        "accuracy": round(accuracy(log_odds[1], test), 4),
        "macro_f1": round(float(f1_score(test.labels, [x > 0 for x in log_odds[1]], average="macro")), 4),
        "validation_accuracy": round(accuracy(log_odds[0], validation), 4),
        **measured,
        "validation_log_odds": [round(x, 3) for x in log_odds[0]],
        "test_log_odds": [round(x, 3) for x in log_odds[1]],
    }


def timed(score: Callable[[list[str]], list[float]], texts: list[str]) -> tuple[list[float], float]:
    """Return a model's scores for texts, and the number of texts it scores per second of CPU time."""
    start = time.process_time()
    scores = score(texts)
    return scores, round(len(texts) / (time.process_time() - start), 1)


def commonest_label() -> list[Row]:
    share = float(np.mean(reviews().train.labels))
    odds = float(np.log(share / (1 - share)))
    log_odds = [[odds] * len(subset.labels) for subset in (reviews().validation, reviews().test)]
    return [
        model_row(
            "commonest label", None, log_odds, core_minutes=0.0, parameters=1, sentences_per_core_second=None
        )
    ]


def polarity(texts: list[str]) -> list[float]:
    return [float(TextBlob(text).sentiment.polarity) for text in texts]


def lexicon() -> list[Row]:
    """Call a sentence fresh if its words' mean polarity exceeds a threshold chosen on the training set."""
    start = time.process_time()
    train = np.array(polarity(reviews().train.sentences))
    labels = np.array(reviews().train.labels)
    threshold = max(np.linspace(-0.2, 0.2, 41), key=lambda x: np.mean((train > x) == labels))
    minutes = round((time.process_time() - start) / 60, 2)
    validation, _ = timed(polarity, reviews().validation.sentences)
    test, speed = timed(polarity, reviews().test.sentences)
    log_odds = [[x - float(threshold) for x in scores] for scores in (validation, test)]
    return [
        model_row(
            "lexicon", None, log_odds, core_minutes=minutes, parameters=1, sentences_per_core_second=speed
        )
    ]


def tfidf(words: int, c: float) -> Pipeline:
    vectors = TfidfVectorizer(ngram_range=(1, words), min_df=2, sublinear_tf=True)
    return make_pipeline(vectors, LogisticRegression(C=c, max_iter=1000))


def best_tfidf(train: ReviewSet, validation: ReviewSet) -> Pipeline:
    """Return the pipeline of the grid with the highest accuracy on the validation sentences."""
    models = [tfidf(*setting).fit(train.sentences, train.labels) for setting in TFIDF_GRID]
    return max(models, key=lambda model: model.score(validation.sentences, validation.labels))


def tfidf_model() -> list[Row]:
    start = time.process_time()
    model = best_tfidf(reviews().train, reviews().validation)
    minutes = round((time.process_time() - start) / 60, 2)
    score = lambda texts: model.decision_function(texts).tolist()  # noqa: E731
    test, speed = timed(score, reviews().test.sentences)
    log_odds = [score(reviews().validation.sentences), test]
    count = model[-1].coef_.size + 1
    return [
        model_row(
            "TF-IDF", None, log_odds, core_minutes=minutes, parameters=count, sentences_per_core_second=speed
        )
    ]


# 2. MiniLM frozen, with a linear classifier


@cache
def frozen_vectors() -> np.ndarray:
    """Return MiniLM's vector of every review sentence, floats (N, 384)."""
    encoder, tokenizer = load_encoder("minilm")
    return sentence_vectors(encoder, tokenizer, reviews().sentences, max_length=MAX_LENGTH).numpy()


@cache
def row_numbers() -> dict[tuple[str, str], int]:
    return {pair: row for row, pair in enumerate(zip(reviews().sentences, reviews().films, strict=True))}


def vectors_of(subset: ReviewSet) -> np.ndarray:
    rows = [row_numbers()[pair] for pair in zip(subset.sentences, subset.films, strict=True)]
    return frozen_vectors()[rows]


def best_linear(train: ReviewSet, validation: ReviewSet) -> LogisticRegression:
    models = [
        LogisticRegression(C=c, max_iter=5000).fit(vectors_of(train), train.labels) for c in FROZEN_GRID
    ]
    return max(models, key=lambda model: model.score(vectors_of(validation), validation.labels))


def frozen_model() -> list[Row]:
    start = time.process_time()
    model = best_linear(reviews().train, reviews().validation)
    minutes = round((time.process_time() - start) / 60, 2)
    encoder, tokenizer = load_encoder("minilm")
    _, speed = timed(
        lambda texts: sentence_vectors(encoder, tokenizer, texts, max_length=MAX_LENGTH).tolist(),
        reviews().test.sentences,
    )
    subsets = (reviews().validation, reviews().test)
    log_odds = [model.decision_function(vectors_of(subset)).tolist() for subset in subsets]
    count = sum(parameter.numel() for parameter in encoder.parameters()) + model.coef_.size + 1
    return [
        model_row(
            "MiniLM, frozen",
            None,
            log_odds,
            core_minutes=minutes,
            parameters=count,
            sentences_per_core_second=speed,
        )
    ]


# 3. Fine-tuned models


def new_model(
    name: str, seed: int, dropout: float | None = None
) -> tuple[BertForSequenceClassification, WordPieceTokenizer]:
    """Return the untrained model of this name, with a new head."""
    encoder, tokenizer = load_encoder("minilm" if name.startswith("MiniLM") else "snapshot")
    if name == "own BERT, not pretrained":
        torch.manual_seed(seed)
        encoder = BertModel(encoder.config)
    generator = torch.Generator().manual_seed(seed)
    return BertForSequenceClassification.from_encoder(encoder, LABELS, generator, "mean", dropout), tokenizer


def features(tokenizer: WordPieceTokenizer, subset: ReviewSet) -> Features:
    return text_features(tokenizer, subset.sentences, subset.labels, MAX_LENGTH)


def log_odds_of(
    model: BertForSequenceClassification, tokenizer: WordPieceTokenizer, texts: list[str]
) -> list[float]:
    logits = torch.stack(predict_logits(model, text_features(tokenizer, texts, [0] * len(texts), MAX_LENGTH)))
    return (logits[:, 1] - logits[:, 0]).tolist()


def train_model(
    name: str, train: ReviewSet, options: FinetuneOptions, dropout: float | None = None
) -> tuple[BertForSequenceClassification, WordPieceTokenizer, float]:
    """Return the trained model, its tokenizer and the minutes of CPU time that training took."""
    model, tokenizer = new_model(name, options.seed, dropout)
    start = time.process_time()
    tuned = finetune(model, features(tokenizer, train), features(tokenizer, reviews().validation), options)
    if not tuned.run.finished:
        raise KeyboardInterrupt
    return model, tokenizer, round((time.process_time() - start) / 60, 2)


def fine_tuned_model(name: str, seed: int, work: Path) -> list[Row]:
    model, tokenizer, minutes = train_model(name, reviews().train, replace(RECIPES[name], seed=seed))
    score = partial(log_odds_of, model, tokenizer)
    test, speed = timed(score, reviews().test.sentences)
    folder = model_folder(work, name, seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder, MAX_LENGTH)
    count = sum(parameter.numel() for parameter in model.parameters())
    log_odds = [score(reviews().validation.sentences), test]
    return [
        model_row(
            name, seed, log_odds, core_minutes=minutes, parameters=count, sentences_per_core_second=speed
        )
    ]


def model_folder(work: Path, name: str, seed: int) -> Path:
    return work / "fine-tuned" / f"{name} {seed}"


def models(work: Path) -> Experiment:
    runs: dict[str, Callable[[], list[Row]]] = {
        "commonest label": commonest_label,
        "lexicon": lexicon,
        "TF-IDF": tfidf_model,
        "MiniLM, frozen": frozen_model,
    }
    for name, count in SEEDS.items():
        for seed in range(count):
            runs[f"{name} {seed}"] = partial(fine_tuned_model, name, seed, work)
    return Experiment(recipes(), runs)


def recipes() -> dict[str, Any]:
    return {name: described(options) for name, options in RECIPES.items()} | {
        "max_length": MAX_LENGTH,
        "pooling": "mean",
        "TF-IDF (n-grams, C)": TFIDF_GRID,
        "MiniLM, frozen (C)": FROZEN_GRID,
    }


# 4. How many sentences are needed


def select(rows: list[int], subset: ReviewSet) -> ReviewSet:
    columns = (subset.sentences, subset.labels, subset.films)
    return ReviewSet(*([column[row] for row in rows] for column in columns))  # type: ignore[arg-type]


def sample_sentences(count: int, seed: int, times: int = 1) -> ReviewSet:
    rows = random.Random(seed).sample(range(len(reviews().train)), count)
    return select(rows * times, reviews().train)


def curve_point(name: str, count: int, seed: int) -> list[Row]:
    train, validation, test = sample_sentences(count, seed), reviews().validation, reviews().test
    if name == "TF-IDF":
        score = best_tfidf(train, validation).score(test.sentences, test.labels)
    elif name == "MiniLM, frozen":
        score = best_linear(train, validation).score(vectors_of(test), test.labels)
    else:
        repeated = sample_sentences(count, seed, max(1, 1000 // count))  # about as many steps as with 1000
        model, tokenizer, _ = train_model(name, repeated, replace(RECIPES[name], seed=seed))
        score = accuracy(log_odds_of(model, tokenizer, test.sentences), test)
    return [{"model": name, "sentences": count, "seed": seed, "accuracy": round(float(score), 4)}]


def all_sentences() -> list[Row]:
    """Return the last points of the curves, with all training sentences, from models.json."""
    rows = json.loads((RESULTS / "models.json").read_text(encoding="utf-8"))["rows"]
    return [
        {
            "model": row["model"],
            "sentences": len(reviews().train),
            "seed": row["seed"] or 0,
            "accuracy": row["accuracy"],
        }
        for row in rows
        if row["model"] in CURVES
    ]


def learning_curve(work: Path) -> Experiment:
    runs: dict[str, Callable[[], list[Row]]] = {
        f"{name} {count} {seed}": partial(curve_point, name, count, seed)
        for count in SIZES
        for name in CURVES
        for seed in range(CURVE_SEEDS)
    }
    return Experiment(recipes() | {"sizes": SIZES}, runs | {"all": all_sentences})


# 5. Splits at random and by film


def split_rows(films: list[str], by_film: bool, seed: int) -> tuple[list[int], list[int]]:
    """Return nine tenths of the rows for training and one tenth for testing; by film, no film is in both."""
    rng = random.Random(seed)
    units = sorted(set(films)) if by_film else list(range(len(films)))
    rng.shuffle(units)
    position = {unit: number for number, unit in enumerate(units)}
    rows = sorted(range(len(films)), key=lambda row: position[films[row] if by_film else row])
    cut = len(films) * 9 // 10
    while by_film and films[rows[cut]] == films[rows[cut - 1]]:
        cut += 1
    return rows[:cut], rows[cut:]


def split_point(by_film: bool, seed: int) -> list[Row]:
    everything = ReviewSet(reviews().sentences, reviews().labels, reviews().films)
    train, test = (select(rows, everything) for rows in split_rows(everything.films, by_film, seed))
    linear = LogisticRegression(C=10.0, max_iter=5000).fit(vectors_of(train), train.labels)
    scores = {
        "TF-IDF": tfidf(2, 10.0).fit(train.sentences, train.labels).score(test.sentences, test.labels),
        "MiniLM, frozen": linear.score(vectors_of(test), test.labels),
    }
    split = "film" if by_film else "random"
    return [
        {"model": name, "split": split, "seed": seed, "accuracy": round(float(score), 4)}
        for name, score in scores.items()
    ]


def split(work: Path) -> Experiment:
    runs = {
        f"{'film' if by_film else 'random'} {seed}": partial(split_point, by_film, seed)
        for seed in range(SPLIT_SEEDS)
        for by_film in (False, True)
    }
    settings = {"TF-IDF": {"n-grams": 2, "C": 10.0}, "MiniLM, frozen": {"C": 10.0}, "test": 0.1}
    return Experiment(settings, runs)


# 6. Heads and attributions of the fine-tuned MiniLM, and behavior on changed sentences


def load_tuned(work: Path, name: str, seed: int) -> tuple[BertForSequenceClassification, WordPieceTokenizer]:
    """Return a fine-tuned model that the experiment "models" saved."""
    folder = model_folder(work, name, seed)
    return BertForSequenceClassification.from_pretrained(folder), WordPieceTokenizer.from_pretrained(folder)


def sample_validation() -> ReviewSet:
    rows = random.Random(0).sample(range(len(reviews().validation)), HEAD_SENTENCES)
    return select(rows, reviews().validation)


def single_heads(work: Path) -> list[Row]:
    model, tokenizer = load_tuned(work, "MiniLM, fine-tuned", 0)
    sharp = sharpness(model, tokenizer)
    return [
        {
            "kind": "none" if result.layer is None else "one",
            "order": None,
            "off": int(result.layer is not None),
            "sharpness": None if result.layer is None else round(sharp[result.layer, result.head].item(), 4),
            **{name: round(x, 4) if isinstance(x, float) else x for name, x in result._asdict().items()},
        }
        for result in head_importance(model, features(tokenizer, sample_validation()))
    ]


@torch.no_grad()
def sharpness(model: BertForSequenceClassification, tokenizer: WordPieceTokenizer) -> torch.Tensor:
    """Return each head's sharpness, floats (L, A): a token's largest attention probability, on average."""
    means = []
    for text in sample_validation().sentences:
        ids = torch.tensor([tokenizer.encode(text, max_length=MAX_LENGTH).input_ids])
        probs = torch.stack(model(ids, output_attentions=True).attentions)  # (L, 1, A, S, S)
        means.append(probs[:, 0].amax(dim=-1).mean(dim=-1))
    return torch.stack(means).mean(dim=0)


def head_order(work: Path, order: str) -> list[tuple[int, int]]:
    """Return all heads in the order in which they are switched off."""
    single = [row for row in read_run(work, "heads", "one by one") if row["kind"] == "one"]
    heads = [(row["layer"], row["head"]) for row in sorted(single, key=lambda row: row["loss"])]
    if order.startswith("random"):
        random.Random(order).shuffle(heads)
    return heads[::-1] if order == "most important first" else heads


def fewer_heads(work: Path, order: str) -> list[Row]:
    model, tokenizer = load_tuned(work, "MiniLM, fine-tuned", 0)
    validation, heads = sample_validation(), head_order(work, order)
    rows = []
    for off in range(0, len(heads) + 1, HEADS_AT_A_TIME):
        with without_heads(model, heads[:off]):
            odds = np.array(log_odds_of(model, tokenizer, validation.sentences))
        loss = float(log_loss(validation.labels, expit(odds)))
        rows.append(
            {"kind": "cumulative", "layer": None, "head": None, "order": order, "off": off, "sharpness": None}
            | {"loss": round(loss, 4), "accuracy": round(accuracy(odds, validation), 4)}
        )
    return rows


def heads(work: Path) -> Experiment:
    orders = ("least important first", "most important first", "random 0", "random 1", "random 2")
    runs: dict[str, Callable[[], list[Row]]] = {"one by one": partial(single_heads, work)}
    runs |= {order: partial(fewer_heads, work, order) for order in orders}
    return Experiment(
        {"model": "MiniLM, fine-tuned", "seed": 0, "validation sentences": HEAD_SENTENCES}, runs
    )


def token_scores(
    method: str, model: BertForSequenceClassification, tokenizer: WordPieceTokenizer, text: str, number: int
) -> np.ndarray:
    if method == "integrated gradients":
        return integrated_gradients(model, tokenizer, text, max_length=MAX_LENGTH).scores
    if method == "attention":
        return attention_scores(model, tokenizer, text, max_length=MAX_LENGTH).scores
    length = len(tokenizer.encode(text, max_length=MAX_LENGTH).input_ids)
    return np.random.default_rng(number).random(length)


def deleted_tokens(work: Path, method: str) -> list[Row]:
    model, tokenizer = load_tuned(work, "MiniLM, fine-tuned", 0)
    texts = random.Random(0).sample(reviews().test.sentences, ATTRIBUTION_SENTENCES)
    scores = [token_scores(method, model, tokenizer, text, n) for n, text in enumerate(texts)]
    odds = np.abs(log_odds_of(model, tokenizer, texts))
    rows = []
    for removed in REMOVED_TOKENS:
        drops = deletion(model, tokenizer, texts, scores, removed, MAX_LENGTH)
        measured = {"drop": float(drops.mean()), "flipped": float((drops > odds).mean())}
        rows.append(
            {"method": method, "removed": removed, "sentences": len(texts)}
            | {name: round(x, 4) for name, x in measured.items()}
        )
    return rows


def attribution(work: Path) -> Experiment:
    methods = ("integrated gradients", "attention", "random")
    runs: dict[str, Callable[[], list[Row]]] = {
        method: partial(deleted_tokens, work, method) for method in methods
    }
    return Experiment({"model": "MiniLM, fine-tuned", "seed": 0, "part": "test"}, runs)


def scorer(work: Path, name: str, seed: int | None) -> Callable[[list[str]], np.ndarray]:
    """Return a function that gives each text its probability of being fresh."""
    if name == "TF-IDF":
        model = best_tfidf(reviews().train, reviews().validation)
        return lambda texts: model.predict_proba(texts)[:, 1]
    tuned, tokenizer = load_tuned(work, name, seed or 0)
    return lambda texts: expit(np.array(log_odds_of(tuned, tokenizer, list(texts))))


def behavior_of(work: Path, name: str, seed: int | None) -> list[Row]:
    outcomes = run_tests(scorer(work, name, seed), behavior_tests(reviews().test.sentences))
    return [
        {"model": name, "seed": seed, "test": outcome.name, "kind": outcome.kind}
        | {"cases": outcome.cases, "passed": outcome.passed}
        for outcome in outcomes
    ]


def behavior(work: Path) -> Experiment:
    runs: dict[str, Callable[[], list[Row]]] = {"TF-IDF": partial(behavior_of, work, "TF-IDF", None)}
    for name in ("own BERT, pretrained", "MiniLM, fine-tuned"):
        runs |= {f"{name} {seed}": partial(behavior_of, work, name, seed) for seed in range(3)}
    return Experiment({"part": "test", "tolerance": 0.1}, runs)


# 7. Choices of fine-tuning (chapter 5)


def choice(setting: str, value: Any, seed: int) -> list[Row]:
    """Fine-tune our own pretrained BERT on the reviews with one option changed."""
    options = replace(CHOICE_OPTIONS, seed=seed, **{setting: value})
    model, tokenizer, minutes = train_model("own BERT, pretrained", reviews().train, options)
    score = accuracy(log_odds_of(model, tokenizer, reviews().validation.sentences), reviews().validation)
    return [
        {"task": "reviews", "model": "own BERT, pretrained", "setting": setting, "value": value, "seed": seed}
        | {"measure": "accuracy", "score": round(score, 4), "core_minutes": minutes}
    ]


def other_recipe(name: str, recipe: str, seed: int) -> list[Row]:
    """Fine-tune with other options than RECIPES. Validation accuracy selects; test accuracy is reported."""
    options, dropout = OTHER_RECIPES[name][recipe]
    model, tokenizer, minutes = train_model(name, reviews().train, replace(options, seed=seed), dropout)
    return [
        {"task": "reviews", "model": name, "setting": "recipe", "value": recipe, "seed": seed}
        | {
            "measure": measure,
            "score": round(accuracy(log_odds_of(model, tokenizer, subset.sentences), subset), 4),
        }
        | {"core_minutes": minutes}
        for measure, subset in (("accuracy", reviews().validation), ("test_accuracy", reviews().test))
    ]


def task_row(task: str, seed: int, minutes: float, measure: str, score: float) -> Row:
    return {"task": task, "model": "MiniLM", "setting": "task", "value": None, "seed": seed} | {
        "measure": measure,
        "score": round(score, 4),
        "core_minutes": minutes,
    }


def training_minutes(train: Callable[[], Finetuned]) -> float:
    start = time.process_time()
    if not train().run.finished:
        raise KeyboardInterrupt
    return round((time.process_time() - start) / 60, 2)


def film_pairs(seed: int) -> list[Row]:
    """Fine-tune MiniLM to decide whether two texts review the same film, on all pairs."""
    encoder, tokenizer = load_encoder("minilm")
    generator = torch.Generator().manual_seed(seed)
    model = BertForSequenceClassification.from_encoder(encoder, ["two films", "one film"], generator, "mean")
    train, validation, test = (
        text_features(tokenizer, [pair[:2] for pair in pairs], [pair.label for pair in pairs], PAIR_LENGTH)
        for pairs in load_film_pairs(sentences=3)
    )
    minutes = training_minutes(lambda: finetune(model, train, validation, replace(PAIR_OPTIONS, seed=seed)))
    predictions = [int(logits.argmax()) for logits in predict_logits(model, test)]
    score = accuracy_score(test.targets["labels"], predictions)
    return [task_row("film pairs", seed, minutes, "accuracy", float(score))]


def cloze_features(tokenizer: WordPieceTokenizer, items: list[Cloze]) -> Features:
    spans = [(x.start, x.end) if x.answer else None for x in items]
    questions, contexts = [x.question for x in items], [x.context for x in items]
    return answer_features(tokenizer, questions, contexts, spans, CLOZE_LENGTH)


def answers(
    model: BertForQuestionAnswering, features: Features, items: list[Cloze], threshold: float
) -> list[str]:
    """Return the model's answers, "" where it predicts that the context holds none."""
    predictions = []
    for x, encoding, logits in zip(items, features.encodings, predict_logits(model, features), strict=True):
        scores = span_scores(encoding, *logits.unbind(-1), LONGEST_ANSWER, threshold)
        predictions.append(best_answers(encoding, x.context, scores, n_best=1)[0].text)
    return predictions


def cloze_scores(seed: int) -> list[Row]:
    """Fine-tune MiniLM to answer cloze questions; validation selects the null threshold."""
    encoder, tokenizer = load_encoder("minilm")
    model = BertForQuestionAnswering.from_encoder(encoder, torch.Generator().manual_seed(seed))
    cloze = load_cloze()
    train, validation, test = (cloze_features(tokenizer, items) for items in cloze)
    minutes = training_minutes(lambda: finetune(model, train, validation, replace(CLOZE_OPTIONS, seed=seed)))
    threshold = max(
        NULL_THRESHOLDS,
        key=lambda tau: exact_match(answers(model, validation, cloze.validation, tau), cloze.validation),
    )
    predictions = answers(model, test, cloze.test, threshold)
    measured = {
        "exact_match": exact_match(predictions, cloze.test),
        "answer_f1": answer_f1(predictions, cloze.test),
    }
    return [task_row("cloze", seed, minutes, name, score) for name, score in measured.items()]


def exact_match(predictions: list[str], items: list[Cloze]) -> float:
    pairs = zip(predictions, items, strict=True)
    return float(np.mean([prediction.lower() == x.answer.lower() for prediction, x in pairs]))


def answer_f1(predictions: list[str], items: list[Cloze]) -> float:
    """Return the mean word-level F1; an empty prediction scores only where the answer is empty."""
    scores = []
    for prediction, x in zip(predictions, items, strict=True):
        predicted, expected = Counter(prediction.lower().split()), Counter(x.answer.lower().split())
        words = predicted.total() + expected.total()
        scores.append(2 * (predicted & expected).total() / words if words else 1.0)
    return float(np.mean(scores))


def finetuning(work: Path) -> Experiment:
    runs = {
        f"{setting} {value} {seed}": partial(choice, setting, value, seed)
        for setting, values in CHOICES.items()
        for value in values
        for seed in range(CURVE_SEEDS)
    }
    for name, others in OTHER_RECIPES.items():
        for recipe, seed in product(others, range(RECIPE_SEEDS[name])):
            runs[f"{name}, {recipe} {seed}"] = partial(other_recipe, name, recipe, seed)
    for seed in range(TASK_SEEDS):
        runs |= {
            f"film pairs {seed}": partial(film_pairs, seed),
            f"cloze {seed}": partial(cloze_scores, seed),
        }
    settings = {"reviews": CHOICE_OPTIONS, "film pairs": PAIR_OPTIONS, "cloze": CLOZE_OPTIONS}
    return Experiment({task: described(options) for task, options in settings.items()}, runs)


# Running the experiments

EXPERIMENTS: dict[str, Callable[[Path], Experiment]] = {
    "models": models,
    "learning_curve": learning_curve,
    "split": split,
    "heads": heads,
    "attribution": attribution,
    "behavior": behavior,
    "finetuning": finetuning,
}
TOOL = Tool("python tools/make_results.py", EXPERIMENTS, ("reviews", "minilm"))


if __name__ == "__main__":
    sys.exit(TOOL.main(__doc__))
