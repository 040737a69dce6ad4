"""Static word vectors, as they were before BERT: one vector for each word, whatever its sentence (chapter 7).

Two ways to them: count what occurs together, weight the counts (PPMI) and compress them (SVD); or learn to
tell true neighbors from random words (skip-gram with negative sampling).
Source: Church & Hanks 1990; Levy et al. 2015, §2 and §3; Mikolov et al. 2013b, §2.2 and §2.3.
Leaves out: vectors for words that did not occur, and corpora larger than the memory.

Shape letters: V vocabulary, D size of a vector, B pairs in a batch, K negative samples of each pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.linalg import svds
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import logsigmoid

Sentence = Sequence[str]
SMOOTHING = 0.75  # the power of the counts, in both methods: rare words get a little more than their share


class WordVectors(NamedTuple):
    """A vector for each word."""

    words: tuple[str, ...]
    vectors: np.ndarray  # floats (V, D)

    @property
    def row_of(self) -> dict[str, int]:
        """The row of each word."""
        return {word: row for row, word in enumerate(self.words)}

    def unit(self) -> np.ndarray:
        """Return the vectors at length 1, so that a product of two is their cosine."""
        return self.vectors / np.linalg.norm(self.vectors, axis=1, keepdims=True).clip(1e-12)

    def nearest(
        self, vector: np.ndarray, count: int = 10, without: Iterable[str] = ()
    ) -> list[tuple[str, float]]:
        """Return the words with the largest cosine to a vector (D,), and the cosines."""
        cosines = self.unit() @ (vector / max(np.linalg.norm(vector), 1e-12))
        left_out = set(without)
        order = (row for row in np.argsort(-cosines) if self.words[row] not in left_out)
        return [(self.words[row], float(cosines[row])) for row, _ in zip(order, range(count), strict=False)]


# 1. What to count


def vocabulary(sentences: Iterable[Sentence], least: int = 5) -> tuple[str, ...]:
    """Return the words that occur at least `least` times, the most frequent first."""
    counts = Counter(word for sentence in sentences for word in sentence)
    return tuple(word for word, count in counts.most_common() if count >= least)


def encode(sentences: Iterable[Sentence], words: Sequence[str]) -> list[np.ndarray]:
    """Return each sentence's known words as rows of the vocabulary, int64; unknown words are dropped."""
    row_of = {word: row for row, word in enumerate(words)}
    return [np.array([row_of[w] for w in sentence if w in row_of], dtype=np.int64) for sentence in sentences]


def neighbor_pairs(encoded: Iterable[np.ndarray], window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every pair of words at most `window` apart, in both directions.

    Returns:
        The words, their neighbors and the distances, each int64 (pairs,).

    Raises:
        ValueError: there is no pair.
    """
    words, neighbors, distances = [], [], []
    for sentence in encoded:
        for distance in range(1, min(window, len(sentence) - 1) + 1):
            left, right = sentence[:-distance], sentence[distance:]
            words += [left, right]
            neighbors += [right, left]
            distances.append(np.full(2 * len(left), distance))
    if not words:
        raise ValueError("no sentence has two known words; give more text, or a smaller `least`")
    return np.concatenate(words), np.concatenate(neighbors), np.concatenate(distances)


# 2. Count, weight, compress


def cooccurrence(encoded: Iterable[np.ndarray], size: int, window: int = 5) -> csr_matrix:
    """Count how often two words are near each other, at distance d as 1 / d: floats (V, V), symmetric."""
    words, neighbors, distances = neighbor_pairs(encoded, window)
    return coo_matrix((1.0 / distances, (words, neighbors)), shape=(size, size)).tocsr()


def ppmi(counts: csr_matrix, smoothing: float = SMOOTHING) -> csr_matrix:
    """Return max(0, log(p(w, c) / (p(w) p(c)))) for each pair that occurs; a pair that does not has 0.

    The log of a count of 0 would be −∞. Such pairs are not stored, so no log of them is taken.

    Args:
        counts: (V, V), as `cooccurrence` returns them.
        smoothing: the power of the neighbors' counts in p(c); below 1, pairs with rare words get less.

    Source: Levy et al. 2015, equations 1 and 3.
    """
    total = counts.sum()
    word = np.asarray(counts.sum(axis=1)).ravel() / total
    context = np.asarray(counts.sum(axis=0)).ravel() ** smoothing
    context = context / context.sum()
    pairs = counts.tocoo()
    values = np.log(pairs.data / total / (word[pairs.row] * context[pairs.col]))
    weighted = csr_matrix((np.maximum(values, 0.0), (pairs.row, pairs.col)), shape=counts.shape)
    weighted.eliminate_zeros()
    return weighted


def svd_vectors(matrix: csr_matrix, size: int, power: float = 0.5) -> np.ndarray:
    """Return U Σ^power of the largest singular values: floats (V, D), each column's largest number positive.

    Source: Levy et al. 2015, §2.2 and §3.3; with power 1 the products of vectors approximate those of rows.
    """
    left, values, _ = svds(matrix.astype(np.float64), k=size, random_state=0)
    order = np.argsort(-values)
    left, values = left[:, order], values[order]
    largest = np.abs(left).argmax(axis=0)
    return left * np.sign(left[largest, np.arange(size)]) * values**power


# 3. Skip-gram with negative sampling


def negative_distribution(
    encoded: Iterable[np.ndarray], size: int, smoothing: float = SMOOTHING
) -> np.ndarray:
    """Return the probability of each word as a negative sample: its count to the power ¾, floats (V,)."""
    counts = np.bincount(np.concatenate(list(encoded)), minlength=size) ** smoothing
    return counts / counts.sum()


def skipgram_loss(word: Tensor, neighbor: Tensor, negatives: Tensor) -> Tensor:
    """Return −log σ(w·c) − Σ log σ(−w·n), the mean over the pairs, in nats.

    Args:
        word: floats (B, D), vectors of the words.
        neighbor: floats (B, D), output vectors of their neighbors.
        negatives: floats (B, K, D), output vectors of random words.

    Source: Mikolov et al. 2013b, equation 4.
    """
    right = (word * neighbor).sum(dim=-1)  # (B,)
    wrong = (negatives @ word[:, :, None]).squeeze(-1)  # (B, K)
    return -(logsigmoid(right) + logsigmoid(-wrong).sum(dim=-1)).mean()


def keep_probability(encoded: Sequence[np.ndarray], size: int, threshold: float) -> np.ndarray:
    """Return how likely each word is kept: min(1, √(t / f)) for a word of frequency f; floats (V,)."""
    counts = np.bincount(np.concatenate(encoded), minlength=size)
    frequencies = counts / counts.sum()
    return np.minimum(1.0, np.sqrt(threshold / frequencies.clip(1e-12)))


def train_skipgram(
    encoded: Sequence[np.ndarray],
    size: int,
    dimensions: int = 100,
    window: int = 5,
    negatives: int = 5,
    epochs: int = 3,
    batch_size: int = 4096,
    learning_rate: float = 3e-3,
    threshold: float = 1e-3,
    seed: int = 0,
    report: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> np.ndarray:
    """Learn vectors that tell the true neighbors of a word from random words; floats (V, D).

    Frequent words are dropped at random first, and of a window the closer words are used more often, as in
    word2vec. Differs from word2vec in the optimizer, Adam on batches where theirs takes a step for each pair:
    so torch can compute thousands of pairs at once.

    Args:
        encoded: sentences, from `encode`.
        size: V.
        threshold: the frequency above which words are dropped, see `keep_probability`.
        report: called after each step with the step, the number of steps and the loss.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    keep = keep_probability(encoded, size, threshold)
    noise = torch.from_numpy(negative_distribution(encoded, size)).float()
    table = torch.multinomial(noise, 1_000_000, replacement=True, generator=generator)
    inner = torch.empty(size, dimensions).uniform_(-0.5, 0.5, generator=generator) / dimensions
    outer = torch.zeros(size, dimensions)
    weights = [inner.requires_grad_(), outer.requires_grad_()]
    optimizer, done, steps = torch.optim.Adam(weights, lr=learning_rate, fused=True), 0, 0
    for _ in range(epochs):
        pairs = torch.from_numpy(_shuffled_pairs(encoded, keep, window, rng))
        batches = pairs.split(batch_size, dim=1)
        steps = steps or len(batches) * epochs
        for word, neighbor in batches:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * max(0.0, 1 - done / steps) + 1e-5
            picked = torch.randint(len(table), (len(word), negatives), generator=generator)
            loss = skipgram_loss(inner[word], outer[neighbor], outer[table[picked]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            report(done, steps, loss.item())
    return inner.detach().numpy()


def _shuffled_pairs(
    encoded: Sequence[np.ndarray], keep: np.ndarray, window: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the pairs of one epoch in random order, int64 (2, pairs): words, then their neighbors."""
    kept = [sentence[rng.random(len(sentence)) < keep[sentence]] for sentence in encoded]
    words, neighbors, distances = neighbor_pairs(kept, window)
    near = distances <= rng.integers(1, window + 1, len(distances))  # distance d with probability 1 − (d−1)/w
    return np.stack([words[near], neighbors[near]])[:, rng.permutation(near.sum())]


# 4. What the vectors are good for


class Covered(NamedTuple):
    """A result on the questions whose words all have vectors."""

    score: float  # share of right answers, or a rank correlation
    asked: int
    of: int


def analogy_accuracy(vectors: WordVectors, questions: Sequence[tuple[str, str, str, str]]) -> Covered:
    """Answer "a is to b as c is to ?" by the word nearest to b − a + c, other than the three.

    Source: Mikolov et al. 2013a, §4; Levy & Goldberg 2014 (3CosAdd).
    """
    row_of, unit = vectors.row_of, vectors.unit()
    known = [
        [row_of[word] for word in question] for question in questions if all(w in row_of for w in question)
    ]
    right = 0
    for chunk in (known[first : first + 500] for first in range(0, len(known), 500)):
        a, b, c, d = np.array(chunk).T
        target = unit[b] - unit[a] + unit[c]
        scores = target @ unit.T
        for asked in (a, b, c):
            scores[np.arange(len(chunk)), asked] = -np.inf
        right += int((scores.argmax(axis=1) == d).sum())
    return Covered(right / max(1, len(known)), len(known), len(questions))


def similarity_correlation(vectors: WordVectors, pairs: Mapping[tuple[str, str], float]) -> Covered:
    """Return Spearman's rank correlation of the cosines with people's ratings."""
    row_of, unit = vectors.row_of, vectors.unit()
    known = [pair for pair in pairs if all(word in row_of for word in pair)]
    cosines = [float(unit[row_of[one]] @ unit[row_of[other]]) for one, other in known]
    score = spearmanr(cosines, [pairs[pair] for pair in known]).statistic if len(known) > 2 else float("nan")
    return Covered(float(score), len(known), len(pairs))
