"""Rankings put together or made anew by a cross-encoder, and results that do not repeat (chapter 9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeVar

from torch import Tensor

from bertlearn.arguments import check_count, check_positive
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.model.inference import check_model, predict
from bertlearn.tokenizer.encoding import SubwordTokenizer

Item = TypeVar("Item", bound=Hashable)
RRF = 60.0  # as in Cormack et al. 2009


def fuse(rankings: Sequence[Sequence[Item]], constant: float = RRF) -> list[Item]:
    """Merge rankings of one query by reciprocal rank fusion (Cormack et al. 2009).

    An item's score is the sum of 1 / (constant + rank) over the rankings that have it, with ranks from 1. The
    systems' own scores play no role, so they need not be comparable.

    Args:
        rankings: of each system, the best item first; no item twice in one of them.
        constant: the larger, the less the first ranks stand out.

    Returns:
        All items, the best first; of equal ones, the one that was met first.

    Raises:
        ValueError: an item twice in a ranking, or a constant that is not positive.
    """
    check_positive("constant", constant)
    scores: dict[Item, float] = defaultdict(float)
    for number, ranking in enumerate(rankings):
        if len(set(ranking)) < len(ranking):
            raise ValueError(f"rankings[{number}] has an item twice; each item has one rank")
        for rank, item in enumerate(ranking, start=1):
            scores[item] += 1 / (constant + rank)
    return sorted(scores, key=lambda item: -scores[item])


class Scored(NamedTuple):
    """A text as a cross-encoder sees it."""

    row: int  # its position among the texts given, from 0
    score: float  # probability that it belongs to the query


def rerank(
    model: BertForSequenceClassification,
    tokenizer: SubwordTokenizer,
    query: str,
    texts: Sequence[str],
    label: str,
    max_length: int | None = None,
) -> list[Scored]:
    """Order texts by a cross-encoder, which reads the query together with each of them (Nogueira & Cho 2019).

    The texts are documents that a search found, or replies to choose from. Each costs a pass through the
    model.

    Args:
        model: a classifier of pairs, query first; dropout is off during the call.
        tokenizer: the model's own.
        query: the first text of each pair.
        texts: N texts.
        label: the label that says that the two belong together.
        max_length: longer pairs are truncated to this many tokens; None for the model's maximum.

    Returns:
        All texts, the best first; of equal ones, the one that was given first.

    Raises:
        ValueError: another kind of model, a label that it lacks, or texts that `predict` refuses.
    """
    check_model(model, BertForSequenceClassification)
    labels = list(model.config.id2label.values())
    if label not in labels:
        raise ValueError(f"label={label!r} is none of the model's labels: {', '.join(labels)}")
    pairs = [(query, text) for text in texts]
    scores = predict(model, tokenizer, pairs, max_length=max_length)[:, labels.index(label)]
    order = scores.argsort(descending=True, stable=True)
    return [Scored(row, score) for row, score in zip(order.tolist(), scores[order].tolist(), strict=True)]


def diverse(vectors: Tensor, relevance: Tensor, count: int, weight: float = 0.5) -> list[int]:
    """Choose items that are relevant and unlike each other: maximal marginal relevance.

    Each step takes the item with the largest weight · relevance − (1 − weight) · (largest cosine to a chosen
    item), as Carbonell & Goldstein (1998) do.

    Args:
        vectors: floats (N, H), of length 1.
        relevance: floats (N,), on the scale of a cosine.
        count: number of items; all of them if there are fewer.
        weight: 1 for relevance alone, 0 for difference alone.

    Returns:
        The chosen rows in the order in which they were chosen.

    Raises:
        ValueError: another number of vectors than of relevances, a count below 1, a weight outside 0 to 1.
    """
    if vectors.ndim != 2 or relevance.shape != vectors.shape[:1]:
        shapes = f"{tuple(vectors.shape)} and {tuple(relevance.shape)}"
        raise ValueError(f"vectors and relevance have the shapes {shapes}, expected (N, H) and (N,)")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight={weight}, expected 0 to 1")
    likeness = vectors @ vectors.T  # (N, N)
    chosen: list[int] = []
    for _ in range(min(check_count("count", count), len(vectors))):
        gain = weight * relevance
        if chosen:
            gain = gain - (1 - weight) * likeness[chosen].amax(dim=0)
            gain[chosen] = -float("inf")
        chosen.append(int(gain.argmax()))
    return chosen
