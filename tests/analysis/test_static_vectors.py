"""Static vectors: counts and weights by hand, gradients by autograd, and a small language that is learned."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from bertlearn.analysis.static_vectors import (
    WordVectors,
    analogy_accuracy,
    cooccurrence,
    encode,
    keep_probability,
    negative_distribution,
    neighbor_pairs,
    ppmi,
    similarity_correlation,
    skipgram_loss,
    svd_vectors,
    train_skipgram,
    vocabulary,
)

TEXT = [["the", "cat", "sat"], ["the", "dog", "sat"], ["the", "cat", "ran"], ["a", "bird"]]


def test_the_vocabulary_has_the_frequent_words_in_order() -> None:
    assert vocabulary(TEXT, least=2) == ("the", "cat", "sat")
    assert [row.tolist() for row in encode(TEXT, ("the", "cat", "sat"))] == [[0, 1, 2], [0, 2], [0, 1], []]


def test_pairs_and_counts_by_hand() -> None:
    encoded = encode(TEXT, ("the", "cat", "sat"))
    pairs = set(zip(*(part.tolist() for part in neighbor_pairs(encoded[:1], 2)), strict=True))
    assert pairs == {(0, 1, 1), (1, 0, 1), (1, 2, 1), (2, 1, 1), (0, 2, 2), (2, 0, 2)}
    found = cooccurrence(encoded, 3, window=2).toarray()
    assert found.tolist() == [[0, 2, 1.5], [2, 0, 1], [1.5, 1, 0]]
    near = cooccurrence(encoded, 3, window=1).toarray()
    assert near.tolist() == [[0, 2, 1], [2, 0, 1], [1, 1, 0]]


def test_text_without_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="no sentence has two known words"):
        neighbor_pairs([np.array([1]), np.array([], dtype=np.int64)], 2)


def test_ppmi_by_hand_and_no_logarithm_of_zero() -> None:
    counts = np.array([[4.0, 0.0, 1.0], [0.0, 5.0, 2.0], [1.0, 2.0, 0.0]])
    total, sums = counts.sum(), counts.sum(axis=0)
    smooth = sums**0.75 / (sums**0.75).sum()
    expected = np.zeros((3, 3))
    for i, j in ((0, 0), (0, 2), (1, 1), (1, 2), (2, 0), (2, 1)):
        expected[i, j] = max(0.0, math.log(counts[i, j] / total / (sums[i] / total * smooth[j])))
    found = ppmi(csr_matrix(counts))
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-12)
    assert (expected == 0).any() and found.nnz == (expected > 0).sum()


def test_with_power_one_the_products_of_vectors_are_those_of_rows() -> None:
    matrix = np.random.default_rng(0).random((12, 3)) @ np.random.default_rng(1).random((3, 12))
    vectors = svd_vectors(csr_matrix(matrix), 3, power=1.0)
    np.testing.assert_allclose(vectors @ vectors.T, matrix @ matrix.T, atol=1e-9)
    norms = np.linalg.norm(vectors, axis=0)
    assert (np.diff(norms) < 0).all()  # the most important first
    assert (vectors.max(axis=0) == np.abs(vectors).max(axis=0)).all()
    flat = svd_vectors(csr_matrix(matrix), 3, power=0.0)
    np.testing.assert_allclose(np.linalg.norm(flat, axis=0), 1.0)


def test_the_loss_by_hand() -> None:
    word, neighbor = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, -1.0]])
    negatives = torch.tensor([[[0.0, 1.0], [2.0, 0.0]]])

    def log_sigma(z: float) -> float:
        return -math.log(1 + math.exp(-z))

    expected = -(log_sigma(-1.5) + log_sigma(-2.0) + log_sigma(-2.0))
    assert skipgram_loss(word, neighbor, negatives).item() == pytest.approx(expected, rel=1e-6)
    both = skipgram_loss(word.repeat(2, 1), neighbor.repeat(2, 1), negatives.repeat(2, 1, 1))
    assert both.item() == pytest.approx(expected, rel=1e-6)  # the mean over pairs, the sum over negatives


def test_frequencies_are_softened() -> None:
    encoded = [np.repeat([0, 1], [16, 1])]
    np.testing.assert_allclose(negative_distribution(encoded, 2), [8 / 9, 1 / 9])
    kept = keep_probability(encoded, 3, threshold=1 / 17)
    np.testing.assert_allclose(kept, [0.25, 1.0, 1.0])


TOPICS = ("cat dog cow horse pig", "red green blue pink grey")


def small_language(seed: int) -> list[list[str]]:
    """Return sentences about animals and sentences about colors; no word is in both."""
    rng = np.random.default_rng(seed)
    return [list(rng.choice(TOPICS[rng.integers(2)].split(), 6)) for _ in range(1500)]


@pytest.mark.parametrize("seed", range(3))
def test_skipgram_learns_what_occurs_together(seed: int) -> None:
    text = small_language(seed)
    words = vocabulary(text)
    losses: list[float] = []
    found = train_skipgram(
        encode(text, words),
        len(words),
        dimensions=8,
        epochs=2,
        batch_size=256,
        learning_rate=0.02,
        threshold=1.0,
        seed=seed,
        report=lambda step, steps, loss: losses.append(loss),
    )
    unit = WordVectors(words, found).unit()
    topic = np.array([word in TOPICS[0] for word in words])
    cosines = unit @ unit.T
    same = topic[:, None] == topic[None, :]
    assert cosines[same].min() > 0.7 and cosines[~same].max() < 0.4
    assert np.mean(losses[-20:]) < np.mean(losses[:5]) - 0.3


def test_the_same_seed_gives_the_same_vectors_and_random_state_is_left_alone() -> None:
    text = small_language(0)[:100]
    words = vocabulary(text)
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    runs = [train_skipgram(encode(text, words), len(words), 4, epochs=1, seed=s) for s in (0, 0, 1)]
    assert torch.equal(torch.rand(2), expected)
    assert (runs[0] == runs[1]).all() and (runs[0] != runs[2]).any()


GRID = WordVectors(
    ("man", "woman", "king", "queen", "apple"),
    np.array([[1.0, 0, 0.2], [1, 1, 0.2], [1, 0, 2], [1, 1, 2], [-1, 0.5, 0]]),
)


def test_analogies_leave_out_the_words_that_are_asked() -> None:
    right = [("man", "woman", "king", "queen"), ("man", "king", "woman", "queen")]
    wrong = [("man", "woman", "king", "apple")]
    unknown = [("man", "woman", "boy", "girl")]
    found = analogy_accuracy(GRID, right + wrong + unknown)
    assert found == (2 / 3, 3, 4)
    assert analogy_accuracy(GRID, unknown) == (0.0, 0, 1)


def test_similarity_is_a_correlation_of_ranks() -> None:
    pairs = {("man", "woman"): 9.0, ("man", "king"): 5.0, ("man", "apple"): 1.0, ("man", "boy"): 3.0}
    cosines = {pair: float(GRID.unit()[0] @ GRID.unit()[GRID.row_of[pair[1]]]) for pair in list(pairs)[:3]}
    order = sorted(cosines, key=cosines.get)
    assert order[0] == ("man", "apple")
    expected = 1.0 if order[1] == ("man", "king") else 0.5
    found = similarity_correlation(GRID, pairs)
    assert (found.asked, found.of) == (3, 4) and found.score == pytest.approx(expected)
    assert math.isnan(similarity_correlation(GRID, {("a", "b"): 1.0}).score)


def test_the_nearest_words_come_with_their_cosines() -> None:
    found = GRID.nearest(GRID.vectors[2], 2, without=["king"])
    assert [word for word, _ in found] == ["queen", "man"]
    assert found[0][1] == pytest.approx(5 / (math.sqrt(5) * math.sqrt(6)))
