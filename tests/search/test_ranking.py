"""Fused rankings, varied results and sparse vectors, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import CONFIG, perturb, random_model
from task_models import WORDS

from bertlearn.model.heads import BertForMaskedLM, BertForSequenceClassification
from bertlearn.model.inference import predict
from bertlearn.search import diverse, fuse, rerank, sparse_vectors
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


def test_fused_ranks_are_sums_of_reciprocals() -> None:
    # With constant 1: a 1/2 + 1/4, b 1/3 + 1/2, c 1/4, d 1/3.
    assert fuse([["a", "b", "c"], ["b", "d", "a"]], constant=1) == ["b", "a", "d", "c"]


def test_ranks_count_from_one() -> None:
    # x has 1/2, y 1/3 + 1/4; with ranks from 0 it would be 1 against 1/2 + 1/3.
    assert fuse([["x", "y"], ["z", "w", "y"]], constant=1)[0] == "y"


def test_two_good_ranks_beat_one_first_rank() -> None:
    assert fuse([["x", "y"], ["z", "y"]])[0] == "y"


def test_the_order_of_a_single_ranking_stays() -> None:
    assert fuse([[3, 1, 2]]) == [3, 1, 2] and fuse([[], [7]]) == [7] and fuse([]) == []


@pytest.mark.parametrize(
    ("rankings", "constant", "message"),
    [([[1, 2, 1]], 60, "rankings.0. has an item twice"), ([[1]], 0, "constant")],
)
def test_wrong_rankings_are_refused(rankings: list, constant: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuse(rankings, constant)


def test_texts_are_ordered_by_a_cross_encoder() -> None:
    model = random_model(BertForSequenceClassification)
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS])
    texts = [" ".join(WORDS[at : at + 4]) for at in range(6)]
    wanted = model.config.id2label[1]
    found = rerank(model, tokenizer, "ba be", texts, wanted)
    alone = [predict(model, tokenizer, [("ba be", text)])[0, 1].item() for text in texts]
    assert [row for row, _ in found] == sorted(range(6), key=lambda row: -alone[row])
    assert [score for _, score in found] == pytest.approx(sorted(alone, reverse=True), abs=1e-5)
    assert [row for row, _ in rerank(model, tokenizer, "ba be", [texts[2]] * 3, wanted)] == [0, 1, 2]
    assert rerank(model, tokenizer, "ba be", [], wanted) == []


def test_a_cross_encoder_must_have_the_label() -> None:
    model = random_model(BertForSequenceClassification)
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS])
    with pytest.raises(ValueError, match="label='maybe' is none of the model's labels: "):
        rerank(model, tokenizer, "ba", ["be"], "maybe")
    with pytest.raises(ValueError, match="BertForSequenceClassification"):
        rerank(model.bert, tokenizer, "ba", ["be"], "maybe")


def test_varied_results_pass_over_a_repetition() -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    relevance = torch.tensor([0.9, 0.89, 0.5])
    # After row 0: row 1 has 0.5 · 0.89 − 0.5 · 1 = −0.055, row 2 has 0.5 · 0.5 − 0.5 · 0.6 = −0.05.
    assert diverse(vectors, relevance, 3, weight=0.5) == [0, 2, 1]
    assert diverse(vectors, relevance, 3, weight=1.0) == [0, 1, 2]
    assert diverse(vectors, relevance, 1) == [0] and len(diverse(vectors, relevance, 9)) == 3


def test_wrong_shapes_and_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(2,\)"):
        diverse(torch.ones(3, 2), torch.ones(2), 1)
    with pytest.raises(ValueError, match="weight=2"):
        diverse(torch.ones(3, 2), torch.ones(3), 1, weight=2)
    with pytest.raises(ValueError, match="count=0"):
        diverse(torch.ones(3, 2), torch.ones(3), 0)


def test_sparse_weights_are_those_of_each_text_alone() -> None:
    torch.manual_seed(0)
    model = BertForMaskedLM(CONFIG).eval()
    perturb(model, scale=0.3)
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS])
    texts = [" ".join(WORDS[at : at + length]) for at, length in enumerate((3, 9, 1, 6, 2))]
    found = sparse_vectors(model, tokenizer, texts, batch_size=2)
    assert found.shape == (5, CONFIG.vocab_size) and found.nnz < 0.9 * 5 * CONFIG.vocab_size
    for row, text in enumerate(texts):
        with torch.no_grad():
            logits = model(torch.tensor([tokenizer.encode(text).input_ids])).prediction_logits[0]
        for word in range(CONFIG.vocab_size):
            expected = max(math.log(1 + max(score, 0.0)) for score in logits[:, word].tolist())
            assert found[row, word] == pytest.approx(expected, abs=1e-5)


def test_no_texts_give_no_rows() -> None:
    model = BertForMaskedLM(CONFIG).eval()
    assert sparse_vectors(model, WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS]), []).shape == (0, 101)
