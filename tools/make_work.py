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
from make_results import described
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from stored_runs import Experiment, Tool

from bertlearn import load_reviews
from bertlearn.course import labeled
from bertlearn.course.chapters import at_work
from bertlearn.course.encoders import load_encoder
from bertlearn.course.results import Row
from bertlearn.course.solutions.at_work import out_of_scope
from bertlearn.data.small_tasks import load_exchanges, load_messages, load_questions, load_rated
from bertlearn.finetuning.features import text_features
from bertlearn.finetuning.options import FinetuneOptions
from bertlearn.finetuning.run import finetune, predict_logits
from bertlearn.finetuning.spans import Span
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.model.inference import sentence_vectors

TEST = 1000  # questions, and messages
SHOTS = (1, 2, 4, 8, 16, 32, 64)
DRAWS = 5
SEEDS = (0, 1, 2)
QUESTION_OPTIONS = FinetuneOptions(epochs=3, learning_rate=1e-4)
QUESTION_LENGTH = 48
UNKNOWN = 10  # details of questions that training does not have, as many again for validation
CANDIDATES = (10, 100)


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
def vectors(texts: tuple[str, ...]) -> np.ndarray:
    """Return MiniLM's vectors, of length 1."""
    encoder, tokenizer = load_encoder("minilm")
    found = sentence_vectors(encoder, tokenizer, texts, max_length=128)
    return torch.nn.functional.normalize(found, dim=1).numpy()


class ByWords:
    """Logistic regression on weighted words and pairs of words."""

    def __init__(self) -> None:
        features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
        self.model = make_pipeline(features, LogisticRegression(C=10, max_iter=1000))

    def fit(self, texts: Sequence[str], labels: Sequence[Any]) -> ByWords:
        self.model.fit(texts, labels)
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        return self.model.predict(texts)


class Frozen:
    """Logistic regression on MiniLM's vectors."""

    def fit(self, texts: Sequence[str], labels: Sequence[Any]) -> Frozen:
        self.model = LogisticRegression(C=10, max_iter=1000).fit(vectors(tuple(texts)), labels)
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        return self.model.predict(vectors(tuple(texts)))

    def positive(self, texts: Sequence[str]) -> np.ndarray:
        """Return the log-odds of the second of two labels."""
        return self.model.decision_function(vectors(tuple(texts)))


class NearestMean:
    """The class whose mean of MiniLM's vectors is nearest."""

    def fit(self, texts: Sequence[str], labels: Sequence[Any]) -> NearestMean:
        known, labels = vectors(tuple(texts)), np.array(labels)
        self.names = sorted(set(labels))
        means = np.stack([known[labels == name].mean(axis=0) for name in self.names])
        self.means = means / np.linalg.norm(means, axis=1, keepdims=True)
        return self

    def cosines(self, texts: Sequence[str]) -> np.ndarray:
        return vectors(tuple(texts)) @ self.means.T

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        return np.array(self.names)[self.cosines(texts).argmax(axis=1)]


METHODS: dict[str, Callable[[], Any]] = {"words": ByWords, "nearest mean": NearestMean, "frozen": Frozen}


# 1. Questions by kind, spam, questions of unknown kinds


def shuffled(items: Sequence[Any], seed: int = 0) -> list[Any]:
    return random.Random(seed).sample(list(items), len(items))


def label_of(question: Any, fine: bool) -> str:
    return f"{question.kind}:{question.detail}" if fine else question.kind


def questions() -> list[Row]:
    """Compare the methods on six and on fifty labels, with all training questions."""
    asked, rows = shuffled(load_questions()), []
    test, train = asked[:TEST], asked[TEST:]
    for fine, name in ((False, "6 kinds"), (True, "50 kinds")):
        truth = [label_of(question, fine) for question in test]
        for method, make in METHODS.items():
            model = make().fit([q.text for q in train], [label_of(q, fine) for q in train])
            score = accuracy_score(truth, model.predict([q.text for q in test]))
            rows.append(row("questions", method, name, 0, "accuracy", score, len(test)))
    return rows


def few_questions(seed: int) -> list[Row]:
    """Compare the methods with a few examples of each of the six kinds."""
    asked, rows = shuffled(load_questions()), []
    test, train = asked[:TEST], shuffled(asked[TEST:], seed + 1)
    for shots in SHOTS:
        kinds = sorted({question.kind for question in train})
        few = [q for kind in kinds for q in [q for q in train if q.kind == kind][:shots]]
        for method, make in METHODS.items():
            model = make().fit([q.text for q in few], [q.kind for q in few])
            score = accuracy_score([q.kind for q in test], model.predict([q.text for q in test]))
            rows.append(row("questions", method, f"{shots} examples a kind", seed, "accuracy", score, TEST))
    return rows


def tuned_questions(seed: int, fine: bool) -> list[Row]:
    """Fine-tune MiniLM on all training questions but a tenth, which chooses the best evaluation."""
    asked = shuffled(load_questions())
    names = sorted({label_of(question, fine) for question in asked})
    encoder, tokenizer = load_encoder("minilm")
    generator = torch.Generator().manual_seed(seed)
    model = BertForSequenceClassification.from_encoder(encoder, names, generator, pooling="mean")
    parts = asked[:TEST], asked[TEST : TEST + 438], asked[TEST + 438 :]
    test, held_out, train = (
        text_features(
            tokenizer,
            [question.text for question in part],
            [names.index(label_of(question, fine)) for question in part],
            QUESTION_LENGTH,
        )
        for part in parts
    )
    finetune(model, train, held_out, FinetuneOptions(**{**vars(QUESTION_OPTIONS), "seed": seed}))
    found = [int(logits.argmax()) for logits in predict_logits(model, test)]
    setting = "50 kinds" if fine else "6 kinds"
    score = accuracy_score(test.targets["labels"], found)
    return [row("questions", "fine-tuned", setting, seed, "accuracy", score, TEST)]


def spam() -> list[Row]:
    """Compare the methods on spam; F1 of the spam, since most messages are none."""
    messages, rows = shuffled(load_messages()), []
    test, train = messages[:TEST], messages[TEST:]
    for method, make in METHODS.items():
        model = make().fit([m.text for m in train], [m.spam for m in train])
        score = f1_score([m.spam for m in test], model.predict([m.text for m in test]))
        rows.append(row("spam", method, "all", 0, "f1", score, len(test)))
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
    made = at_work.command_sets(seed)
    trained = {
        "joint": at_work.train_commands(made["train"], seed),
        "joint, trained on misheard words": at_work.train_commands(
            [at_work.mishear(command, random.Random(f"{seed} {number}"))
             for number, command in enumerate(made["train"])],
            seed,
        ),
    }  # fmt: skip
    baseline = ByWords().fit([c.text for c in made["train"]], [c.intent for c in made["train"]])
    known = at_work.known_values(made["train"])
    rows = []
    for setting, test in made.items():
        if setting == "train":
            continue
        found = {name: at_work.understand(model, test) for name, model in trained.items()}
        found["words and a list of values"] = [
            labeled.Command(intent, command.text, at_work.listed_values(command.text, known))
            for intent, command in zip(baseline.predict([c.text for c in test]), test, strict=True)
        ]
        for method, answers in found.items():
            for measure, score in command_scores(answers, test).items():
                rows.append(row("commands", method, setting, seed, measure, score, len(test)))
    return rows


def command_scores(answers: Sequence[labeled.Command], truth: Sequence[labeled.Command]) -> dict[str, float]:
    """Return the share of right intents, the F1 of the slots, and the share with everything right."""
    slots: list[tuple[set[Span], set[Span]]] = [
        (set(a.slots), set(t.slots)) for a, t in zip(answers, truth, strict=True)
    ]
    intents = [a.intent == t.intent for a, t in zip(answers, truth, strict=True)]
    both = sum(len(a & t) for a, t in slots)
    return {
        "accuracy": float(np.mean(intents)),
        "f1": 2 * both / sum(len(a) + len(t) for a, t in slots),
        "whole": float(np.mean([i and a == t for i, (a, t) in zip(intents, slots, strict=True)])),
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
        "vectors": vectors(tuple(says)) @ vectors(tuple(answers)).T,
    }
    for count in CANDIDATES:
        hits: dict[str, list[bool]] = {name: [] for name in scorers}
        for number, text in enumerate(says):
            wrong = [other for other in range(len(says)) if answers[other] not in own[text]]
            among = [number, *draw.sample(wrong, count - 1)]
            for name, scores in scorers.items():
                hits[name].append(int(scores[number, among].argmax()) == 0)
        for name, found in hits.items():
            rows.append(
                row("replies", name, f"of {count}", seed, "recall", float(np.mean(found)), len(found))
            )
    return rows


def fields(seed: int) -> list[Row]:
    """Train on film reviews, test on other fields; then add a hundred labels, or only move the threshold."""
    reviews, rows = load_reviews(), []
    for method, make in {"words": ByWords, "frozen": Frozen}.items():
        model = make().fit(reviews.train.sentences, reviews.train.labels)
        score = accuracy_score(reviews.test.labels, model.predict(reviews.test.sentences))
        rows.append(row("fields", method, "films", seed, "accuracy", score, len(reviews.test)))
        for field in ("tweets", "products", "editorials"):
            rated = shuffled([one for one in load_rated(field) if abs(one.rating) >= 0.5], seed)
            texts, labels = [one.text for one in rated], [int(one.rating > 0) for one in rated]
            few, rest = slice(0, 100), slice(100, None)
            score = accuracy_score(labels[rest], model.predict(texts[rest]))
            rows.append(row("fields", method, field, seed, "accuracy", score, len(labels) - 100))
            more = make().fit(
                reviews.train.sentences + texts[few] * 20, reviews.train.labels + labels[few] * 20
            )
            score = accuracy_score(labels[rest], more.predict(texts[rest]))
            rows.append(
                row("fields", f"{method}, and 100 labels", field, seed, "accuracy", score, len(labels) - 100)
            )
            alone = make().fit(texts[few], labels[few])
            score = accuracy_score(labels[rest], alone.predict(texts[rest]))
            rows.append(
                row(
                    "fields", f"{method}, 100 labels alone", field, seed, "accuracy", score, len(labels) - 100
                )
            )
            if method == "frozen":
                odds = model.positive(texts)
                cut = np.quantile(odds[few], 1 - np.mean(labels[few]))
                score = accuracy_score(labels[rest], odds[rest] > cut)
                rows.append(
                    row(
                        "fields",
                        "frozen, threshold from 100",
                        field,
                        seed,
                        "accuracy",
                        score,
                        len(labels) - 100,
                    )
                )
    return rows


def work(folder: Path) -> Experiment:
    runs: dict[str, Callable[[], list[Row]]] = {"questions": questions, "spam": spam}
    for seed in range(DRAWS):
        runs |= {
            f"few questions {seed}": partial(few_questions, seed),
            f"unknown questions {seed}": partial(unknown_questions, seed),
            f"replies {seed}": partial(replies, seed),
            f"fields {seed}": partial(fields, seed),
        }
    for seed in SEEDS:
        runs[f"commands {seed}"] = partial(commands, seed)
        for fine in (False, True):
            runs[f"tuned questions {seed} {fine}"] = partial(tuned_questions, seed, fine)
    settings = {"test": TEST, "questions": described(QUESTION_OPTIONS), "commands": at_work.RECIPE}
    return Experiment(settings, runs)


EXPERIMENTS = {"work": work}
TOOL = Tool("python tools/make_work.py", EXPERIMENTS, ("reviews", "minilm", "tasks", "dialogues"))

if __name__ == "__main__":
    sys.exit(TOOL.main(__doc__))
