"""The checks of chapter 9 accept scikit-learn's functions, torch's, and answers in other words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, label_ranking_average_precision_score, ndcg_score
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from bertlearn.course.checks import at_work as check
from bertlearn.course.exercise import Exercise
from bertlearn.finetuning.spans import TokenSpan


def reciprocal_rank(relevant: set[str], ranking: list[str]) -> float:
    """Ask scikit-learn with the first hit alone, for which its measure is the reciprocal rank."""
    hits = [document in relevant for document in ranking]
    if not any(hits):
        return 0.0
    first = np.arange(len(ranking)) == hits.index(True)
    return float(label_ranking_average_precision_score([first], [-np.arange(len(ranking))]))


def ndcg(grades: dict[str, int], ranking: list[str], k: int) -> float:
    """Ask scikit-learn; documents that were not found stand behind those that were, and two more behind."""
    missing = [document for document in grades if document not in ranking]
    fillers = [
        f"no document {number}" for number in range(k)
    ]  # so that none of `missing` is among the first k
    places = [*ranking, *fillers, *missing]
    truth = [grades.get(document, 0) for document in places]
    return float(ndcg_score([truth], [-np.arange(len(places))], k=k))


def contrastive_loss(queries: Tensor, documents: Tensor, names: Tensor, temperature: float = 0.05) -> Tensor:
    """Take the mean of cross entropies, each among the document and those of other names."""
    losses = []
    for row, name in enumerate(names):
        others = [documents[at] for at, other in enumerate(names) if other != name]
        scores = torch.stack([documents[row], *others]) @ queries[row] / temperature
        losses.append(cross_entropy(scores[None], torch.tensor([0])))
    return torch.stack(losses).mean()


def leave_one_out(vectors: Tensor, labels: Tensor, classes: int) -> Tensor:
    def mean_without(row: int, kind: int) -> Tensor:
        return vectors[(labels == kind) & (torch.arange(len(labels)) != row)].mean(dim=0)

    rows, kinds = range(len(vectors)), range(classes)
    means = torch.stack([torch.stack([mean_without(row, kind) for kind in kinds]) for row in rows])
    return cosine_similarity(vectors[:, None], means, dim=-1)


def out_of_scope(validation_scores: Tensor, validation_known: Tensor, scores: Tensor) -> Tensor:
    def balanced(threshold: float) -> float:
        return round(balanced_accuracy_score(validation_known, validation_scores >= threshold), 6)

    candidates = sorted(validation_scores.tolist())
    best = max(map(balanced, candidates))
    return scores < next(one for one in candidates if balanced(one) == best)


def slot_labels(word_labels: list[int], words: list[int | None]) -> list[int]:
    runs = ((word, len(list(tokens))) for word, tokens in itertools.groupby(words))
    return [
        label
        for word, length in runs
        for label in ([-100] * length if word is None else [word_labels[word], *[-100] * (length - 1)])
    ]


def mark_predicate(words: list[int | None], predicate: int) -> list[int]:
    places = [at for at, word in enumerate(words) if word == predicate]
    span = TokenSpan(places[0], places[-1]) if places else TokenSpan(1, 0)
    return [1 if span.first <= at <= span.last else 0 for at in range(len(words))]


def next_sentence(relevance: Tensor, likeness: Tensor, chosen: list[int], weight: float = 0.5) -> int:
    def gain(at: int) -> float:
        repeated = max((float(likeness[at, other]) for other in chosen), default=0.0)
        return -math.inf if at in chosen else weight * float(relevance[at]) - (1 - weight) * repeated

    return max(range(len(relevance)), key=gain)


RIGHT: dict[str, Callable] = {
    "cosine_scores": lambda queries, documents: cosine_similarity(queries[:, None], documents[None], dim=-1),
    "reciprocal_rank": reciprocal_rank,
    "ndcg": ndcg,
    "contrastive_loss": contrastive_loss,
    "leave_one_out": leave_one_out,
    "out_of_scope": out_of_scope,
    "slot_labels": slot_labels,
    "mark_predicate": mark_predicate,
    "next_sentence": next_sentence,
}


def test_every_exercise_has_an_answer_in_other_words() -> None:
    assert {name for name, value in vars(check).items() if isinstance(value, Exercise)} == RIGHT.keys()


@pytest.mark.parametrize("name", RIGHT)
def test_libraries_and_other_words_agree_with_the_solution(name: str) -> None:
    result = replace(getattr(check, name), forbidden=())(RIGHT[name])  # the numbers alone
    assert result.ok, result


def ndcg_with_unsorted_ideal(grades: dict[str, int], ranking: list[str], k: int) -> float:
    def gain(values: list[int]) -> float:
        return sum(value / math.log2(place + 2) for place, value in enumerate(values[:k]))

    return gain([grades.get(one, 0) for one in ranking]) / gain(list(grades.values()))


def on_a_grid(validation_scores: Tensor, validation_known: Tensor, scores: Tensor) -> Tensor:
    def quality(candidate: Tensor) -> float:
        kept = (validation_scores[validation_known] >= candidate).float().mean()
        return float(kept + (validation_scores[~validation_known] < candidate).float().mean())

    return scores < max(torch.linspace(0, 1, 101), key=quality)


def first_word_forgotten(word_labels: list[int], words: list[int | None]) -> list[int]:
    labels, before = [], None
    for word in words:
        labels.append(word_labels[word] if word and word != before else -100)
        before = word
    return labels


@pytest.mark.parametrize(
    ("exercise", "attempt", "mistake"),
    [
        (check.cosine_scores, lambda q, d: torch.einsum("qh,nh->qn", q, d), "products in place of cosines"),
        (
            check.reciprocal_rank,
            lambda relevant, ranking: (
                max((1 / (n + 1) for n, one in enumerate(ranking) if one in relevant), default=0) and 1.0
            ),
            "1 for any hit",
        ),
        (
            check.contrastive_loss,
            lambda q, d, names, temperature=0.05: cross_entropy(
                q @ d.T / temperature, torch.arange(len(names))
            ),
            "the second copy of a document counted",
        ),
        (
            check.next_sentence,
            lambda relevance, likeness, chosen, weight=0.5: max(
                (at for at in range(len(relevance)) if at not in chosen), key=lambda at: relevance[at]
            ),
            "the most relevant one",
        ),
        (check.ndcg, ndcg_with_unsorted_ideal, "the ideal not sorted"),
        (check.out_of_scope, on_a_grid, "thresholds from 0 to 1 in steps"),
        (
            check.mark_predicate,
            lambda words, predicate: [int(at == predicate) for at in range(len(words))],
            "a token's position in place of a word's number",
        ),
        (
            check.mark_predicate,
            lambda words, predicate: [int(at == words.index(predicate)) for at in range(len(words))],
            "only the first token of the verb",
        ),
        (check.slot_labels, first_word_forgotten, "word 0 taken for None"),
    ],
)
def test_a_known_mistake_is_recognized_in_other_words(
    exercise: Exercise, attempt: Callable, mistake: str
) -> None:
    assert exercise(attempt).mistake == mistake
