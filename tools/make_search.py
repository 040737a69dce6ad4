"""Compute the stored rankings that chapter 9 compares, bertlearn/course/results/search.json.

    python tools/make_search.py            an hour and a half on one core

Interrupted runs continue, see tools/stored_runs.py.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import bm25s
import numpy as np
import torch
from make_results import described
from stored_runs import Experiment, Tool

from bertlearn.course import labeled, small_training
from bertlearn.course.encoders import load_encoder
from bertlearn.course.results import Row
from bertlearn.course.solutions.at_work import ndcg, reciprocal_rank
from bertlearn.course.tasks import split_sentences
from bertlearn.data.corpora import load_plots, split_of
from bertlearn.data.small_tasks import splade_path
from bertlearn.data.wikipedia import load_articles
from bertlearn.finetuning.features import text_features
from bertlearn.finetuning.options import FinetuneOptions
from bertlearn.finetuning.run import finetune
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForMaskedLM, BertForSequenceClassification
from bertlearn.model.inference import sentence_vectors
from bertlearn.search.index import SearchIndex
from bertlearn.search.ranking import fuse, rerank
from bertlearn.search.record import VECTORS
from bertlearn.search.sparse import sparse_vectors
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

DEPTH = 100  # documents that a ranking has
LENGTH = 256  # tokens of a document that MiniLM reads; the sparse model reads half, it is slow
RERANKED = 20
PAIR_LENGTH = 128
PAIR_OPTIONS = FinetuneOptions(epochs=1, learning_rate=2e-4, batch_size=16)
NEGATIVES = 2  # for a sentence: a plot that search took for it, and any plot


class Amount(NamedTuple):
    """How much a cross-encoder is trained on."""

    sentences: int  # of a plot, if it has so many
    draws: int  # of negatives for each sentence


AMOUNTS = (Amount(4, 1), Amount(8, 3))
TUNED_SENTENCES = 2  # of a plot, for the two encoders
SEEDS = (0, 1, 2)
SETTINGS = {"depth": DEPTH, "length": LENGTH, "searches.jsonl": labeled.SHA256["searches.jsonl"]}

Place = tuple[Any, ...]
Rankings = list[list[int]]


class Collection(NamedTuple):
    """Documents, queries and, for each query, the grades of documents by their number."""

    documents: list[str]
    queries: list[str]
    grades: list[dict[int, int]]


@cache
def searches() -> Collection:
    """Return the sixty labeled queries on plots and paragraphs."""
    texts: dict[Place, str] = {("plot", number): plot.text for number, plot in enumerate(load_plots())}
    for article in load_articles():
        for number, paragraph in enumerate(article.paragraphs):
            texts["article", article.title, number] = f"{article.title}. {paragraph}"
    row = {place: number for number, place in enumerate(texts)}
    found = labeled.load_searches()
    grades = [{row[place]: grade for place, grade in search.grades.items()} for search in found]
    return Collection(list(texts.values()), [search.query for search in found], grades)


@cache
def last_sentences() -> Collection:
    """Return plots without their last sentence; the queries are the last sentences of held-out films."""
    plots = [(plot.film, split_sentences(plot.text)) for plot in load_plots()]
    plots = [(film, sentences) for film, sentences in plots if len(sentences) >= 3]
    documents = [" ".join(sentences[:-1]) for _, sentences in plots]
    asked = [row for row, (film, _) in enumerate(plots) if split_of(film) != "train"]
    return Collection(documents, [plots[row][1][-1] for row in asked], [{row: 1} for row in asked])


COLLECTIONS = {"searches": searches, "last sentences": last_sentences}


def words_index(documents: list[str]) -> bm25s.BM25:
    index = bm25s.BM25()
    index.index(tokens(documents), show_progress=False)
    return index


def tokens(texts: list[str]) -> Any:
    return bm25s.tokenize(texts, stopwords="en", show_progress=False)


def by_words(index: bm25s.BM25, queries: list[str]) -> Rankings:
    rows, scores = index.retrieve(tokens(queries), k=DEPTH, show_progress=False)
    return [
        [int(row) for row, score in zip(*found, strict=True) if score > 0]
        for found in zip(rows, scores, strict=True)
    ]


def best(scores: np.ndarray) -> Rankings:
    """Return the best documents of each query from scores (Q, N); a score of 0 finds nothing."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    return [[int(row) for row in rows if own[row] != 0] for rows, own in zip(order, scores, strict=True)]


@cache
def minilm() -> tuple[BertModel, WordPieceTokenizer]:
    return load_encoder("minilm")


def unit(texts: Sequence[str]) -> torch.Tensor:
    return torch.nn.functional.normalize(sentence_vectors(*minilm(), texts, max_length=LENGTH), dim=1)


@cache
def splade() -> tuple[BertForMaskedLM, WordPieceTokenizer]:
    folder = splade_path()
    return BertForMaskedLM.from_pretrained(folder), WordPieceTokenizer.from_pretrained(folder)


class Ranked(NamedTuple):
    """What a system found for each query, and the size of its index in megabytes."""

    rankings: Rankings
    megabytes: float


@cache
def first_two(name: str, work: Path) -> dict[str, Ranked]:
    """Return what words and vectors find, and both fused; the vectors stay in the folder for later runs."""
    documents, queries, _ = COLLECTIONS[name]()
    by_word, by_vector = words_index(documents), SearchIndex(work / "index" / name, *minilm(), LENGTH)
    by_vector.build(documents)
    nearest = by_vector.nearest(unit(queries), DEPTH)[1].tolist()
    size = sum(by_word.scores[part].nbytes for part in ("data", "indices", "indptr")) / 1e6
    found = {
        "words": Ranked(by_words(by_word, queries), size),
        "vectors": Ranked(nearest, by_vector.record.sizes[VECTORS] / 1e6),
    }
    return found | {"words + vectors": fused(list(found.values()))}


def fused(parts: Sequence[Ranked]) -> Ranked:
    """Return what several systems found, fused by ranks."""
    rankings = [fuse(ranked) for ranked in zip(*(part.rankings for part in parts), strict=True)]
    return Ranked(rankings, sum(part.megabytes for part in parts))


def by_weights(name: str) -> Ranked:
    """Return what learned weights find."""
    documents, queries, _ = COLLECTIONS[name]()
    weights = sparse_vectors(*splade(), documents, max_length=LENGTH // 2)
    size = (weights.data.nbytes + weights.indices.nbytes + weights.indptr.nbytes) / 1e6
    return Ranked(best((sparse_vectors(*splade(), queries) @ weights.T).toarray()), size)


def rated(ranking: list[int], grades: dict[int, int]) -> tuple[float, float]:
    """Return nDCG@10, and 1 / rank of the first document of the highest grade."""
    wanted = {row for row, grade in grades.items() if grade == max(grades.values())}
    return round(ndcg(grades, ranking, 10), 4), round(reciprocal_rank(wanted, ranking), 4)


def search_row(name: str, system: str, seed: int | None, found: Ranked) -> Row:
    scores = [rated(*pair) for pair in zip(found.rankings, COLLECTIONS[name]().grades, strict=True)]
    return {
        "queries": name,
        "system": system,
        "seed": seed,
        "ndcg": [gain for gain, _ in scores],
        "reciprocal_rank": [rank for _, rank in scores],
        "megabytes": round(found.megabytes, 2),
    }


def first_stage(name: str, work: Path) -> list[Row]:
    found = dict(first_two(name, work))
    found["weights"] = by_weights(name)
    found["all three"] = fused([found[system] for system in ("words", "vectors", "weights")])
    return [search_row(name, system, None, ranked) for system, ranked in found.items()]


def fine_tuned(seed: int, work: Path) -> list[Row]:
    """Train the vectors on sentences and the plots of training films that they are taken from."""
    draw, pairs = random.Random(seed), []
    for plot in load_plots():
        sentences = split_sentences(plot.text)
        if split_of(plot.film) == "train" and len(sentences) >= 3:
            for at in draw.sample(range(len(sentences)), TUNED_SENTENCES):
                pairs.append((sentences[at], " ".join(sentences[:at] + sentences[at + 1 :])))
    encoder, tokenizer = minilm()
    trained = small_training.train_pairs(encoder, tokenizer, pairs, seed)
    rows = []
    for name, make in COLLECTIONS.items():
        queries, documents = (
            torch.nn.functional.normalize(
                sentence_vectors(trained, tokenizer, texts, max_length=LENGTH), dim=1
            )
            for texts in (make().queries, make().documents)
        )
        words, vectors, _ = first_two(name, work).values()
        tuned = Ranked(best((queries @ documents.T).numpy()), vectors.megabytes)
        rows.append(search_row(name, "vectors, fine-tuned", seed, tuned))
        rows.append(search_row(name, "words + vectors, fine-tuned", seed, fused([words, tuned])))
    return rows


def training_pairs(amount: Amount, seed: int) -> tuple[list[tuple[str, str]], list[int]]:
    """Return pairs of a sentence and a plot: its own without the sentence, one that search found, and any."""
    draw = random.Random(seed)
    plots = [split_sentences(plot.text) for plot in load_plots() if split_of(plot.film) == "train"]
    plots = [sentences for sentences in plots if len(sentences) >= 3]
    whole = [" ".join(sentences) for sentences in plots]
    asked = [
        (row, at)
        for row, sentences in enumerate(plots)
        for at in draw.sample(range(len(sentences)), min(amount.sentences, len(sentences)))
    ]
    queries = [plots[row][at] for row, at in asked]
    found = [
        fuse(ranked)
        for ranked in zip(
            by_words(words_index(whole), queries), best((unit(queries) @ unit(whole).T).numpy()), strict=True
        )
    ]
    pairs, labels = [], []
    for (row, at), query, ranked in zip(asked, queries, found, strict=True):
        rest = " ".join(sentence for place, sentence in enumerate(plots[row]) if place != at)
        for _ in range(amount.draws):
            near = draw.choice([other for other in ranked[:RERANKED] if other != row])
            far = draw.choice([other for other in range(len(whole)) if other != row])
            pairs += [(query, rest), (query, whole[near]), (query, whole[far])]
            labels += [1, *[0] * NEGATIVES]
    return pairs, labels


def cross_encoder(amount: Amount, seed: int, work: Path) -> list[Row]:
    """Train a cross-encoder on the plots of training films, and let it rank what search found anew."""
    encoder, tokenizer = minilm()
    generator = torch.Generator().manual_seed(seed)
    model = BertForSequenceClassification.from_encoder(encoder, ["no", "yes"], generator, pooling="mean")
    pairs, labels = training_pairs(amount, seed)
    group = amount.draws * (NEGATIVES + 1)
    cut = len(pairs) // (10 * group) * group  # a tenth, no sentence on both sides
    train, held_out = (
        text_features(tokenizer, pairs[part], labels[part], PAIR_LENGTH)
        for part in (slice(cut, None), slice(cut))
    )
    tuned = finetune(model, train, held_out, replace(PAIR_OPTIONS, seed=seed))
    print(f"{len(train):,} pairs: {tuned.scores}", flush=True)
    name = f"cross-encoder, {len(train):,} pairs"
    rows = []
    for queries, made in COLLECTIONS.items():
        first = first_two(queries, work)["words + vectors"]
        documents, ranked = made().documents, []
        for query, old in zip(made().queries, first.rankings, strict=True):
            texts = [documents[row] for row in old[:RERANKED]]
            new = rerank(model, tokenizer, query, texts, "yes", PAIR_LENGTH)
            ranked.append([old[at] for at, _ in new] + old[RERANKED:])
        both = [fuse(orders) for orders in zip(first.rankings, ranked, strict=True)]
        rows.append(search_row(queries, name, seed, Ranked(ranked, first.megabytes)))
        rows.append(search_row(queries, f"{name}, fused", seed, Ranked(both, first.megabytes)))
    return rows


def search(work: Path) -> Experiment:
    runs: dict[str, Callable[[], list[Row]]] = {
        name: partial(first_stage, name, work) for name in COLLECTIONS
    }
    runs |= {f"fine-tuned {seed}": partial(fine_tuned, seed, work) for seed in SEEDS}
    return Experiment(SETTINGS | {"vectors, fine-tuned": small_training.PAIRS}, runs)


def reranked(work: Path) -> Experiment:
    runs = {
        f"cross-encoder {at}": partial(cross_encoder, amount, 0, work) for at, amount in enumerate(AMOUNTS)
    }
    settings = {
        "reranked": RERANKED,
        "pair_length": PAIR_LENGTH,
        "amounts": AMOUNTS,
        "negatives": NEGATIVES,
        "cross-encoder": described(PAIR_OPTIONS),
    }
    return Experiment(SETTINGS | settings, runs)


EXPERIMENTS = {"search": search, "reranked": reranked}
TOOL = Tool("python tools/make_search.py", EXPERIMENTS, ("reviews", "wikipedia", "minilm", "splade"))

if __name__ == "__main__":
    sys.exit(TOOL.main(__doc__))
