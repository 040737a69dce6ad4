"""Compute further results of chapter 9: roles, summaries, what fine-tuning adds, answers over a collection.

    python tools/make_tuned.py                  all files in bertlearn/course/results: two hours on one core
    python tools/make_tuned.py roles --threads 1     only this one

Interrupted runs continue, see tools/stored_runs.py.
"""

from __future__ import annotations

import copy
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_results import described
from make_work import CANDIDATES, CLEAR, LABELS, TEST, label_of, minilm, row, shuffled, vectors
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from stored_runs import Experiment, Tool
from torch import Tensor
from torch.nn.functional import normalize

from bertlearn import load_reviews
from bertlearn.course import answers, labeled, roles, small_training, snapshots
from bertlearn.course.chapters.at_work import interval
from bertlearn.course.results import Row
from bertlearn.course.tasks import load_cloze, split_sentences
from bertlearn.data.small_tasks import Exchange, load_exchanges, load_questions, load_rated
from bertlearn.data.wikipedia import load_articles
from bertlearn.finetuning.features import text_features
from bertlearn.finetuning.options import FinetuneOptions
from bertlearn.finetuning.run import finetune
from bertlearn.model.heads import BertForMaskedLM, BertForQuestionAnswering, BertForSequenceClassification
from bertlearn.model.inference import predict, sentence_vectors
from bertlearn.pretraining.masking import mask_tokens
from bertlearn.search.ranking import diverse
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

SEEDS = (0, 1, 2)
FOLDS = (0, 1, 2)  # of five: a test on 120 of the 200 sentences
READERS = (0, 1)  # seeds
SIZES = (20, 40, 80, 120)  # sentences with roles to train on
SHOTS = (4, 16, 64)
FEW_STEPS = 100
ALL_QUESTIONS = {"epochs": 3, "batch_size": 32, "learning_rate": 1e-4, "warmup_steps": 10}
REPLY_TEST = 200  # exchanges
CROSS_ENCODER = {"epochs": 2, "batch_size": 32, "learning_rate": 5e-5, "warmup_steps": 10}
NEGATIVES = 3
FILMS = FinetuneOptions(epochs=3, learning_rate=4e-4)
FIELD_RECIPE = {"epochs": 10, "batch_size": 32, "learning_rate": 4e-4, "warmup_steps": 50}
CLOZE = FinetuneOptions(epochs=2, batch_size=16, learning_rate=1e-4)
SENTENCES = 3  # of a summary
FOUND = 3  # paragraphs that are read


# 1. Roles


def role_scores(method: str, size: int, fold: int, found: Sequence[Any], truth: Sequence[Any]) -> list[Row]:
    setting, wanted = f"{size} sentences", [one.roles for one in truth]
    kinds = roles.mistakes(found, wanted)
    share = {kind: count / max(1, kinds.total()) for kind, count in kinds.items()}
    rows = [row("roles", method, setting, fold, "f1", labeled.agreement(found, wanted), len(truth))]
    verbs = Counter(one.text for one in truth)  # marked in a sentence
    twice = [number for number, one in enumerate(truth) if verbs[one.text] > 1]
    score = labeled.agreement([found[number] for number in twice], [wanted[number] for number in twice])
    rows.append(row("roles", method, setting, fold, "f1, two verbs", score, len(twice)))
    return rows + [
        row("roles", method, setting, fold, kind, share.get(kind, 0.0), kinds.total()) for kind in roles.KINDS
    ]


def roles_of(fold: int) -> list[Row]:
    """Compare three ways to find roles on one fold; a learning curve of the first."""
    train, test = roles.fold(labeled.load_roles(), fold)
    rows = role_scores("word order", 0, fold, [roles.by_word_order(one) for one in test], test)
    for size in SIZES:
        tagger = roles.train_tagger(*minilm(), train[:size], fold)
        rows += role_scores("marked", size, fold, roles.tag(tagger, test), test)
    size = SIZES[-1]
    tagger = roles.train_tagger(*minilm(), train[:size], fold, marked=False)
    rows += role_scores("not marked", size, fold, roles.tag(tagger, test), test)
    reader = roles.train_reader(*minilm(), train[:size], fold)
    return rows + role_scores("questions, longer", size, fold, roles.ask(reader, minilm()[1], test), test)


def roles_longer(fold: int) -> list[Row]:
    """Train the first way as long as the questions are trained, with the verb marked and without."""
    (train, test), rows = roles.fold(labeled.load_roles(), fold), []
    for marked, name in ((True, "marked, longer"), (False, "not marked, longer")):
        tagger = roles.train_tagger(*minilm(), train[: SIZES[-1]], fold, marked, longer=2)
        rows += role_scores(name, SIZES[-1], fold, roles.tag(tagger, test), test)
    return rows


# 2. Kinds of question


def tuned_questions(seed: int) -> list[Row]:
    """Fine-tune on six and on fifty labels, with all questions and with a few; the test is `make_work`'s."""
    asked = shuffled(load_questions(), seed)
    test, train = asked[:TEST], asked[TEST:]
    kinds = sorted({question.kind for question in train})
    rows = []
    for fine, name in ((False, "6 kinds"), (True, "50 kinds")):
        score = tuned_accuracy(train, test, fine, ALL_QUESTIONS, seed)
        rows.append(row("questions", "fine-tuned", name, seed, "accuracy", score, TEST))
    for shots in SHOTS:
        few = [one for kind in kinds for one in [one for one in train if one.kind == kind][:shots]]
        epochs = max(3, FEW_STEPS * 32 // len(few))
        score = tuned_accuracy(few, test, False, ALL_QUESTIONS | {"epochs": epochs}, seed)
        rows.append(row("questions", "fine-tuned", f"{shots} examples a kind", seed, "accuracy", score, TEST))
    return rows


def tuned_accuracy(
    train: Sequence[Any], test: Sequence[Any], fine: bool, recipe: dict[str, float], seed: int
) -> float:
    """Return the accuracy after the last step; the test set chooses nothing."""
    encoder, tokenizer = minilm()
    names = sorted({label_of(one, fine) for one in [*train, *test]})
    model = BertForSequenceClassification.from_encoder(
        encoder, names, torch.Generator().manual_seed(seed), pooling="mean"
    )
    texts, labels = ([f(one) for one in train] for f in (lambda q: q.text, lambda q: label_of(q, fine)))
    features = text_features(tokenizer, texts, [names.index(label) for label in labels], 64)
    small_training.learn_features(model, features, recipe, seed)
    found = predict(model, tokenizer, [one.text for one in test], max_length=64).argmax(dim=1)
    return accuracy_score([label_of(one, fine) for one in test], [names[at] for at in found])


# 3. Replies


def replies(seed: int) -> list[Row]:
    """Compare a bi-encoder, frozen and fine-tuned, with a cross-encoder, on exchanges held out."""
    mixed = shuffled(load_exchanges(), seed)
    test, train = mixed[:REPLY_TEST], mixed[REPLY_TEST:]
    asked = {one.says for one in test}
    train = [one for one in train if one.says not in asked]
    encoder, tokenizer = minilm()
    learned = [(one.says, one.reply) for one in train]
    tuned = small_training.train_pairs(encoder, tokenizer, learned, seed)
    says, answers_ = [one.says for one in test], [one.reply for one in test]
    scorers: dict[str, Callable[[int, list[int]], np.ndarray]] = {}
    for name, model in {"vectors": encoder, "vectors, fine-tuned": tuned}.items():
        one, other = (
            normalize(sentence_vectors(model, tokenizer, texts, max_length=128), dim=1).numpy()
            for texts in (says, answers_)
        )
        scores = one @ other.T
        scorers[name] = lambda number, among, scores=scores: scores[number, among]
    cross = cross_encoder(learned, seed)

    def by_pair(number: int, among: list[int]) -> np.ndarray:
        found = predict(cross, tokenizer, [(says[number], answers_[at]) for at in among], max_length=128)
        return found[:, 1].numpy()

    scorers["cross-encoder"] = by_pair
    return [
        row(
            "replies held out",
            name,
            f"of {count}",
            seed,
            "recall",
            recall(test, score, count, seed),
            len(test),
        )
        for name, score in scorers.items()
        for count in CANDIDATES
    ]


def recall(
    test: Sequence[Exchange], score: Callable[[int, list[int]], np.ndarray], count: int, seed: int
) -> float:
    """Return how often the own reply has the highest score among `count`."""
    draw, hits = random.Random(seed), []
    own = {one.says: {other.reply for other in test if other.says == one.says} for one in test}
    for number, one in enumerate(test):
        wrong = [at for at, other in enumerate(test) if other.reply not in own[one.says]]
        found = score(number, [number, *draw.sample(wrong, count - 1)])
        best = found == found.max()
        hits.append(best[0] / best.sum())
    return float(np.mean(hits))


def cross_encoder(exchanges: Sequence[tuple[str, str]], seed: int) -> BertForSequenceClassification:
    """Train on each pair and on others' replies."""
    draw = random.Random(seed)
    texts, labels = [], []
    for say, reply in exchanges:
        others = [other for _, other in draw.sample(exchanges, NEGATIVES + 1) if other != reply][:NEGATIVES]
        texts += [(say, reply), *((say, other) for other in others)]
        labels += [1, *[0] * len(others)]
    encoder, tokenizer = minilm()
    model = BertForSequenceClassification.from_encoder(
        encoder, ["no", "yes"], torch.Generator().manual_seed(seed), pooling="mean"
    )
    features = text_features(tokenizer, texts, labels, 128)
    small_training.learn_features(model, features, CROSS_ENCODER, seed)
    return model


# 4. Another field: our own small BERT, pretrained further on the field's texts


def further(field: str, seed: int) -> list[Row]:
    """Fine-tune chapter 4's BERT on films, with and without further pretraining on the field's texts."""
    last = snapshots.load_snapshot(snapshots.STEPS[-1])
    rated = shuffled([one for one in load_rated(field) if abs(one.rating) >= CLEAR], seed)[LABELS:]
    texts, labels = [one.text for one in rated], np.array([int(one.rating > 0) for one in rated])
    unlabeled = [one.text for one in load_rated(field)]
    on_field = pretrain_further(last.model, last.tokenizer, unlabeled, seed)
    classifiers = {
        "own BERT": unadapted(seed),
        "own BERT, pretrained further": trained_on_films(on_field, last.tokenizer, seed),
    }
    rows = []
    for name, model in classifiers.items():
        limit = model.config.max_position_embeddings
        found = predict(model, last.tokenizer, texts, max_length=limit).argmax(dim=1).numpy()
        score = accuracy_score(labels, found)
        rows.append(row("fields", name, field, seed, "accuracy", score, len(labels)))
    return rows


@cache
def unadapted(seed: int) -> BertForSequenceClassification:
    """Return chapter 4's BERT, fine-tuned on films."""
    last = snapshots.load_snapshot(snapshots.STEPS[-1])
    return trained_on_films(last.model, last.tokenizer, seed)


def pretrain_further(
    model: BertForMaskedLM, tokenizer: WordPieceTokenizer, texts: Sequence[str], seed: int
) -> BertForMaskedLM:
    """Return a copy that filled masks in these texts; their labels are not used."""
    trained = copy.deepcopy(model)
    limit = model.config.max_position_embeddings
    encodings = [tokenizer.encode(text, max_length=limit) for text in texts]
    generator = torch.Generator().manual_seed(seed)

    def loss_of(rows: list[int]) -> Tensor:
        batch = tokenizer.pad([encodings[at] for at in rows])
        input_ids, labels = mask_tokens(batch.input_ids, tokenizer, generator, 0.3)
        loss = trained(input_ids, batch.attention_mask, batch.token_type_ids, labels=labels).loss
        assert loss is not None
        return loss

    small_training.learn(trained, loss_of, len(encodings), FIELD_RECIPE, seed)
    return trained


def trained_on_films(
    model: BertForMaskedLM, tokenizer: WordPieceTokenizer, seed: int
) -> BertForSequenceClassification:
    """Return a classifier on the model's encoder, fine-tuned on films."""
    films, limit = load_reviews(), model.config.max_position_embeddings
    classifier = BertForSequenceClassification.from_encoder(
        model.bert, ["rotten", "fresh"], torch.Generator().manual_seed(seed)
    )
    train, held_out = (
        text_features(tokenizer, part.sentences, part.labels, limit)
        for part in (films.train, films.validation)
    )
    finetune(classifier, train, held_out, replace(FILMS, seed=seed))
    return classifier


# 5. Summaries

MARGINAL = {"nearest to the mean": 1.0, "MMR, weight 0.7": 0.7, "MMR, weight 0.5": 0.5}


def summaries() -> list[Row]:
    """Choose three sentences of each article, and compare their words with its first paragraph."""
    chosen: dict[str, list[tuple[float, float]]] = {}
    articles = [one for one in load_articles() if len(one.paragraphs) > 1]
    for article in articles:
        sentences = [
            s for text in article.paragraphs[1:] for s in split_sentences(text) if len(s.split()) > 6
        ]
        if len(sentences) < SENTENCES:
            continue
        of_sentences = torch.from_numpy(vectors(sentences))
        mean = normalize(of_sentences.mean(dim=0), dim=0)
        picks = {
            "three at random": random.Random(article.title).sample(range(len(sentences)), SENTENCES),
            "the first three": list(range(SENTENCES)),
        }
        for name, weight in MARGINAL.items():
            picks[name] = diverse(of_sentences, of_sentences @ mean, SENTENCES, weight)
        for name, rows in picks.items():
            likeness = of_sentences[rows] @ of_sentences[rows].T
            repeated = (likeness.sum() - len(rows)) / (len(rows) * (len(rows) - 1))
            shared = content_f1(" ".join(sentences[at] for at in rows), article.paragraphs[0])
            chosen.setdefault(name, []).append((shared, float(repeated)))
    lead = np.array([shared for shared, _ in chosen["the first three"]])
    rows = []
    for name, found in chosen.items():
        shared, repeated = (np.array(values) for values in zip(*found, strict=True))
        low, high = interval(shared - lead)
        measures = {"f1": shared.mean(), "gain low": low, "gain high": high, "likeness": repeated.mean()}
        rows += [
            row("summaries", name, "three sentences", 0, measure, value, len(found))
            for measure, value in measures.items()
        ]
    return rows


def content_f1(text: str, reference: str) -> float:
    """Return the F1 of the words of two texts, without English function words (as ROUGE-1)."""
    one, other = (
        Counter(word for word in re.findall(r"\w+", part.lower()) if word not in ENGLISH_STOP_WORDS)
        for part in (text, reference)
    )
    return 2 * (one & other).total() / max(1, one.total() + other.total())


def who_did_what(work: Path) -> Experiment:
    runs: dict[str, Callable[[], list[Row]]] = {f"roles {fold}": partial(roles_of, fold) for fold in FOLDS}
    runs |= {f"longer {fold}": partial(roles_longer, fold) for fold in FOLDS}
    settings = {"recipe": roles.RECIPE, "sizes": SIZES, "roles.txt": labeled.SHA256["roles.txt"]}
    return Experiment(settings, runs)


def shorter(work: Path) -> Experiment:
    return Experiment({"sentences": SENTENCES, "marginal": MARGINAL}, {"summaries": summaries})


def kinds(work: Path) -> Experiment:
    runs = {f"questions {seed}": partial(tuned_questions, seed) for seed in SEEDS}
    return Experiment({"recipe": ALL_QUESTIONS, "few steps": FEW_STEPS}, runs)


def pairs(work: Path) -> Experiment:
    runs = {f"replies {seed}": partial(replies, seed) for seed in SEEDS}
    settings = {"test": REPLY_TEST, "pairs": small_training.PAIRS, "cross-encoder": CROSS_ENCODER}
    return Experiment(settings, runs)


def adapted(work: Path) -> Experiment:
    fields = ("tweets", "products", "editorials")
    runs = {f"{field} {seed}": partial(further, field, seed) for field in fields for seed in SEEDS}
    return Experiment({"films": described(FILMS), "further pretraining": FIELD_RECIPE}, runs)


# 6. Answers over a collection


@cache
def paragraph_vectors() -> Tensor:
    texts = [f"{one.title}. {one.text}" for one in answers.load_paragraphs()]
    return normalize(sentence_vectors(*minilm(), texts, max_length=128), dim=1)


@cache
def found_paragraphs() -> list[list[int]]:
    """Return for each question the numbers of all paragraphs, the nearest first."""
    asked = [one.question for one in labeled.load_asked()]
    found = normalize(sentence_vectors(*minilm(), asked), dim=1)
    return (found @ paragraph_vectors().T).argsort(dim=1, descending=True).tolist()


def answer_row(number: int, method: str, seed: int | None, reading: answers.Reading, given: bool) -> Row:
    question = labeled.load_asked()[number]
    return {
        "question": number,
        "method": method,
        "seed": seed,
        "paragraphs": "the right one" if given else f"{FOUND} found",
        "said": reading.text,
        "margin": round(reading.margin, 4),
        "exact": answers.is_exact(reading.text, question.answers),
        "f1": round(answers.overlap(reading.text, question.answers), 4),
    }


def answered(method: str, seed: int | None, say: Callable[[str, list[str]], answers.Reading]) -> list[Row]:
    """Ask all questions of the paragraphs found, and the answerable ones of the right paragraph as well."""
    everything, rows = answers.load_paragraphs(), []
    texts = {one.place: one.text for one in everything}
    for number, one in enumerate(labeled.load_asked()):
        found = [everything[at].text for at in found_paragraphs()[number][:FOUND]]
        rows.append(answer_row(number, method, seed, say(one.question, found), given=False))
        if one.places:
            right = say(one.question, [texts[one.places[0]]])
            rows.append(answer_row(number, method, seed, right, given=True))
    return rows


def by_phrases() -> list[Row]:
    """Answer with a phrase of the right kind from the nearest sentence; the margin is its cosine."""
    asked = load_questions()
    kinds = LogisticRegression(C=10, max_iter=1000).fit(
        vectors([one.text for one in asked]), [one.kind for one in asked]
    )

    def say(question: str, texts: list[str]) -> answers.Reading:
        sentences = [sentence for text in texts for sentence in split_sentences(text)]
        cosines = vectors(sentences) @ vectors([question])[0]
        nearest = [sentences[at] for at in cosines.argsort()[::-1]]
        phrase = answers.phrase_of_kind(question, nearest, kinds.predict(vectors([question]))[0])
        return answers.Reading(phrase, float(cosines.max()))

    return answered("phrase of the right kind", None, say)


def by_reader(seed: int, as_questions: bool) -> list[Row]:
    """Train MiniLM to read cloze questions, as they are or turned into questions, and ask it."""
    encoder, tokenizer = minilm()
    cloze = load_cloze()
    train, held_out = (
        answers.reader_features(tokenizer, answers.training_examples(part, as_questions))
        for part in (cloze.train, cloze.validation)
    )
    model = BertForQuestionAnswering.from_encoder(encoder, torch.Generator().manual_seed(seed))
    finetune(model, train, held_out, replace(CLOZE, seed=seed))
    name = "reader of questions" if as_questions else "reader of gaps"
    return answered(name, seed, partial(answers.read, model, tokenizer))


def answering(work: Path) -> Experiment:
    runs: dict[str, Callable[[], list[Row]]] = {"phrases": by_phrases}
    runs |= {f"questions {seed}": partial(by_reader, seed, True) for seed in READERS}
    settings = {
        "found": FOUND,
        "cloze": described(CLOZE),
        "tokens": answers.TOKENS,
        "window": answers.WINDOW,
        "answers.jsonl": labeled.SHA256["answers.jsonl"],
    }
    return Experiment(settings, runs)


EXPERIMENTS = {
    "roles": who_did_what,
    "summaries": shorter,
    "questions": kinds,
    "replies": pairs,
    "fields": adapted,
    "answers": answering,
}
SOURCES = ("reviews", "wikipedia", "minilm", "tasks", "dialogues")
TOOL = Tool("python tools/make_tuned.py", EXPERIMENTS, SOURCES)

if __name__ == "__main__":
    sys.exit(TOOL.main(__doc__))
