"""Compute the stored results of chapter 9's small tasks, bertlearn/course/results/work.json.

    python tools/make_work.py            about half an hour on two cores

Interrupted runs continue, see tools/stored_runs.py.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from stored_runs import Experiment, Tool

from bertlearn import load_reviews
from bertlearn.course import labeled, voice
from bertlearn.course.encoders import load_encoder
from bertlearn.course.results import Row
from bertlearn.course.solutions.at_work import out_of_scope
from bertlearn.data.small_tasks import load_exchanges, load_messages, load_questions, load_rated
from bertlearn.model.bert import BertModel
from bertlearn.model.inference import sentence_vectors
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

TEST = 1000  # questions, and messages
SHOTS = (1, 2, 4, 8, 16, 32, 64)
DRAWS = 5
SEEDS = (0, 1, 2)
UNKNOWN = 10  # details of questions that training does not have, as many again for validation
CANDIDATES = (10, 100)
LABELS = 100  # of another field
CLEAR = 0.5  # sentences with a rating nearer to 0 are left out
FILES = ("commands.txt", "templates.txt", "values.txt", "misheard.txt")


def row(task: str, method: str, setting: str, seed: int, measure: str, score: float, cases: int) -> Row:
    return {
        "task": task,
        "method": method,
        "setting": setting,
        "seed": seed,
        "measure": measure,
        "score": round(float(score), 4),
        "cases": cases,
    }


@cache
def minilm() -> tuple[BertModel, WordPieceTokenizer]:
    return load_encoder("minilm")


_VECTORS: dict[str, np.ndarray] = {}


def vectors(texts: Sequence[str]) -> np.ndarray:
    """Return MiniLM's vectors, of length 1; each text is encoded once."""
    new = [text for text in dict.fromkeys(texts) if text not in _VECTORS]
    found = torch.nn.functional.normalize(sentence_vectors(*minilm(), new, max_length=128), dim=1)
    _VECTORS.update(zip(new, found.numpy(), strict=True))
    return np.stack([_VECTORS[text] for text in texts])


class ByWords:
    """Logistic regression on weighted words and pairs of words."""

    def fit(self, texts: Sequence[str], labels: Sequence[Any], weights: Any = None) -> ByWords:
        self.words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
        features = self.words.fit_transform(texts)
        self.model = LogisticRegression(C=10, max_iter=1000).fit(features, labels, weights)
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        return self.model.predict(self.words.transform(texts))

    def log_odds(self, texts: Sequence[str]) -> np.ndarray:
        """Return the log-odds of the second of two labels."""
        return self.model.decision_function(self.words.transform(texts))


class Frozen:
    """Logistic regression on MiniLM's vectors."""

    def fit(self, texts: Sequence[str], labels: Sequence[Any], weights: Any = None) -> Frozen:
        self.model = LogisticRegression(C=10, max_iter=1000).fit(vectors(texts), labels, weights)
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        return self.model.predict(vectors(texts))

    def log_odds(self, texts: Sequence[str]) -> np.ndarray:
        """Return the log-odds of the second of two labels."""
        return self.model.decision_function(vectors(texts))


class NearestMean:
    """The class whose mean of MiniLM's vectors is nearest."""

    def fit(self, texts: Sequence[str], labels: Sequence[Any]) -> NearestMean:
        known, labels = vectors(texts), np.array(labels)
        self.names = sorted(set(labels))
        means = np.stack([known[labels == name].mean(axis=0) for name in self.names])
        self.means = means / np.linalg.norm(means, axis=1, keepdims=True)
        return self

    def cosines(self, texts: Sequence[str]) -> np.ndarray:
        return vectors(texts) @ self.means.T

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        return np.array(self.names)[self.cosines(texts).argmax(axis=1)]


METHODS: dict[str, Callable[[], Any]] = {"words": ByWords, "nearest mean": NearestMean, "frozen": Frozen}


# 1. Questions by kind, spam, questions of unknown kinds


def shuffled(items: Sequence[Any], seed: int = 0) -> list[Any]:
    return random.Random(seed).sample(list(items), len(items))


def label_of(question: Any, fine: bool) -> str:
    return f"{question.kind}:{question.detail}" if fine else question.kind


def questions(seed: int) -> list[Row]:
    """Compare the methods on six and on fifty labels, with all training questions."""
    asked, rows = shuffled(load_questions(), seed), []
    test, train = asked[:TEST], asked[TEST:]
    for fine, name in ((False, "6 kinds"), (True, "50 kinds")):
        truth = [label_of(question, fine) for question in test]
        for method, make in METHODS.items():
            model = make().fit([q.text for q in train], [label_of(q, fine) for q in train])
            score = accuracy_score(truth, model.predict([q.text for q in test]))
            rows.append(row("questions", method, name, seed, "accuracy", score, len(test)))
    return rows


def few_questions(seed: int) -> list[Row]:
    """Compare the methods with a few examples of each of the six kinds."""
    asked, rows = shuffled(load_questions(), seed), []
    test, train = asked[:TEST], asked[TEST:]
    for shots in SHOTS:
        kinds = sorted({question.kind for question in train})
        few = [q for kind in kinds for q in [q for q in train if q.kind == kind][:shots]]
        for method, make in METHODS.items():
            model = make().fit([q.text for q in few], [q.kind for q in few])
            score = accuracy_score([q.kind for q in test], model.predict([q.text for q in test]))
            rows.append(row("questions", method, f"{shots} examples a kind", seed, "accuracy", score, TEST))
    return rows


def spam(seed: int) -> list[Row]:
    """Compare the methods on spam; F1 of the spam, since most messages are none."""
    messages, rows = shuffled(load_messages(), seed), []
    test, train = messages[:TEST], messages[TEST:]
    for method, make in METHODS.items():
        model = make().fit([m.text for m in train], [m.spam for m in train])
        score = f1_score([m.spam for m in test], model.predict([m.text for m in test]))
        rows.append(row("spam", method, "all", seed, "f1", score, len(test)))
    return rows


def unknown_questions(seed: int) -> list[Row]:
    """Reject questions of details that training does not have, by the cosine to the nearest mean."""
    asked = shuffled(load_questions(), seed)
    details = shuffled(sorted({label_of(question, True) for question in asked}), seed)
    unknown = {"validation": set(details[:UNKNOWN]), "test": set(details[UNKNOWN : 2 * UNKNOWN])}
    known = [q for q in asked if label_of(q, True) not in unknown["validation"] | unknown["test"]]
    parts = {"validation": known[:500], "test": known[500:1000]}
    train = known[1000:]
    model = NearestMean().fit([q.text for q in train], [label_of(q, True) for q in train])
    scores, truth = {}, {}
    for part in parts:
        strange = [question for question in asked if label_of(question, True) in unknown[part]]
        texts = [question.text for question in parts[part] + strange]
        scores[part] = torch.from_numpy(model.cosines(texts).max(axis=1))
        truth[part] = torch.arange(len(texts)) < len(parts[part])
    rejected = out_of_scope(scores["validation"], truth["validation"], scores["test"])
    right = [(rejected != truth["test"])[truth["test"] == value].float().mean() for value in (True, False)]
    balanced = float(sum(right) / 2)
    cases = len(truth["test"])
    return [row("unknown questions", "nearest mean", "10 kinds", seed, "balanced_accuracy", balanced, cases)]


# 2. Commands: intents and slots


def commands(seed: int) -> list[Row]:
    """Train the joint model on filled templates; test on new fillings, new templates and people's words."""
    sets = voice.command_sets(seed)
    train, misheard = sets.pop("train"), sets.pop("train, misheard")
    trained = {
        "joint": voice.train_commands(train, seed),
        "joint, misheard": voice.train_commands(misheard, seed),
    }
    by_words = ByWords().fit([c.text for c in train], [c.intent for c in train])
    known = voice.known_values(train)
    rows = []
    for setting, test in sets.items():
        found = {name: voice.understand(model, test) for name, model in trained.items()}
        intents = by_words.predict([command.text for command in test])
        found["words and a list"] = [
            labeled.Command(intent, command.text, voice.listed_values(command.text, known))
            for intent, command in zip(intents, test, strict=True)
        ]
        rows += [
            row("commands", method, setting, seed, measure, score, len(test))
            for method, answers in found.items()
            for measure, score in command_scores(answers, test).items()
        ]
    return rows


def command_scores(answers: Sequence[labeled.Command], truth: Sequence[labeled.Command]) -> dict[str, float]:
    """Return the share of right intents, the F1 of the slots, and the share with everything right."""
    pairs = list(zip(answers, truth, strict=True))
    return {
        "accuracy": float(np.mean([a.intent == t.intent for a, t in pairs])),
        "f1": labeled.agreement([a.slots for a in answers], [t.slots for t in truth]),
        "whole": float(np.mean([a.intent == t.intent and set(a.slots) == set(t.slots) for a, t in pairs])),
    }


# 3. Replies, and other fields


def replies(seed: int) -> list[Row]:
    """Choose the reply among several: its own, and others of the corpus."""
    exchanges, draw, rows = load_exchanges(), random.Random(seed), []
    says, answers = ([getattr(e, part) for e in exchanges] for part in ("says", "reply"))
    own = {text: {e.reply for e in exchanges if e.says == text} for text in set(says)}
    tfidf = TfidfVectorizer(sublinear_tf=True).fit(says + answers)
    scorers = {
        "words": (tfidf.transform(says) @ tfidf.transform(answers).T).toarray(),
        "vectors": vectors(says) @ vectors(answers).T,
    }
    for count in CANDIDATES:
        hits: dict[str, list[float]] = {name: [] for name in scorers}
        for number, text in enumerate(says):
            wrong = [other for other in range(len(says)) if answers[other] not in own[text]]
            among = [number, *draw.sample(wrong, count - 1)]
            for name, scores in scorers.items():
                best = scores[number, among] == scores[number, among].max()
                hits[name].append(best[0] / best.sum())  # of equally good ones, one is taken at random
        for name, found in hits.items():
            rows.append(
                row("replies", name, f"of {count}", seed, "recall", float(np.mean(found)), len(found))
            )
    return rows


def fields(seed: int) -> list[Row]:
    """Train on film reviews, test on other fields, with and without a hundred labels of the field."""
    films, rows = load_reviews(), []
    for field in ("tweets", "products", "editorials"):
        rated = shuffled([one for one in load_rated(field) if abs(one.rating) >= CLEAR], seed)
        texts, labels = [one.text for one in rated], np.array([int(one.rating > 0) for one in rated])
        few, rest = slice(0, LABELS), slice(LABELS, None)
        found = {"commonest label": np.full(len(labels) - LABELS, labels[few].mean() > 0.5)}
        for name, make in {"words": ByWords, "frozen": Frozen}.items():
            model = film_model(make)
            odds = model.log_odds(texts)
            cut = np.quantile(odds[few], 1 - labels[few].mean())
            weights = [1.0] * len(films.train) + [20.0] * LABELS
            both = make().fit(
                films.train.sentences + texts[few], films.train.labels + labels[few].tolist(), weights
            )
            found |= {
                name: odds[rest] > 0,
                f"{name}, threshold from {LABELS} labels": odds[rest] > cut,
                f"{name}, and {LABELS} labels": both.predict(texts[rest]),
                f"{name}, {LABELS} labels alone": make().fit(texts[few], labels[few]).predict(texts[rest]),
            }
        for method, answers in found.items():
            score = accuracy_score(labels[rest], answers)
            rows.append(row("fields", method, field, seed, "accuracy", score, len(labels) - LABELS))
    return rows


@cache
def film_model(make: Callable[[], Any]) -> Any:
    films = load_reviews().train
    return make().fit(films.sentences, films.labels)


def film_reviews() -> list[Row]:
    """Return how well the same models do on films."""
    train, test = load_reviews().train, load_reviews().test
    scores = {"commonest label": accuracy_score(test.labels, [np.mean(train.labels) > 0.5] * len(test))}
    scores |= {
        name: accuracy_score(test.labels, film_model(make).predict(test.sentences))
        for name, make in {"words": ByWords, "frozen": Frozen}.items()
    }
    return [row("fields", name, "films", 0, "accuracy", score, len(test)) for name, score in scores.items()]


def work(folder: Path) -> Experiment:
    runs: dict[str, Callable[[], list[Row]]] = {"film reviews": film_reviews}
    for make in (questions, few_questions, spam, unknown_questions, replies, fields):
        runs |= {f"{make.__name__} {seed}": partial(make, seed) for seed in range(DRAWS)}
    runs |= {f"commands {seed}": partial(commands, seed) for seed in SEEDS}
    settings = {
        "test": TEST,
        "shots": SHOTS,
        "unknown": UNKNOWN,
        "candidates": CANDIDATES,
        "labels": LABELS,
        "commands": voice.RECIPE,
        "files": {name: labeled.SHA256[name] for name in FILES},
    }
    return Experiment(settings, runs)


EXPERIMENTS = {"work": work}
TOOL = Tool("python tools/make_work.py", EXPERIMENTS, ("reviews", "minilm", "tasks", "dialogues"))

if __name__ == "__main__":
    sys.exit(TOOL.main(__doc__))
