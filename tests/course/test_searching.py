"""The three searches of chapter 9: scores, shares and places, against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import bm25s
import numpy as np
import pytest
import torch
from conftest import CONFIG, random_model
from scipy.sparse import csr_matrix
from task_models import WORDS
from torch.nn.functional import normalize

from bertlearn.course.searching import (
    PARTS,
    Match,
    VectorSearch,
    WeightSearch,
    WordSearch,
    token_words,
    word_places,
)
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForMaskedLM
from bertlearn.model.inference import sentence_vectors
from bertlearn.search import sparse_vectors
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

VOCAB = [*SPECIAL_TOKENS, *WORDS, "ga", "##be", "##ge", ",", "."]
TOKENIZER = WordPieceTokenizer(list(dict.fromkeys(VOCAB)))
TEXTS = ["Ba be, bi", "bo gabe bo ba.", "ca ce ci co cu ca ce ci", "ga"]
FILMS = ["A heist. The Heist of a blind man", "a blind man sings", "music only"]


def placed(match: Match) -> list[tuple[str, int | None, int | None]]:
    return [(part.text, part.start, part.end) for part in match.parts]


# 1. Words


def test_scores_are_those_of_bm25s() -> None:
    tokens = bm25s.tokenize(FILMS, stopwords="en", show_progress=False)
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)
    for query in ("heist", "blind heist", "blind blind MAN", "the man who was unseen"):
        asked = bm25s.tokenize([query], stopwords="en", show_progress=False)
        rows, scores = index.retrieve(asked, k=3, show_progress=False)
        expected = {
            int(row): float(score) for row, score in zip(rows[0], scores[0], strict=True) if score > 0
        }
        found = WordSearch(FILMS).search(query)
        assert {match.row: match.score for match in found} == pytest.approx(expected)
        assert [match.score for match in found] == sorted(expected.values(), reverse=True)


def test_shares_of_words_are_the_terms_of_bm25() -> None:
    """Three documents of 4, 3 and 2 words; k1 = 1.5, b = 0.75; "heist" twice in one, "man" once in two."""

    def term(count: int, found_in: int, length: int) -> float:
        weight = math.log(1 + (3 - found_in + 0.5) / (found_in + 0.5))
        return weight * count / (count + 1.5 * (0.25 + 0.75 * length / 3))

    heist, man = term(2, 1, 4), term(1, 2, 4)
    found = WordSearch(FILMS).search("heist man")
    assert [match.row for match in found] == [0, 1]
    assert found[0].score == pytest.approx(heist + man)
    each = heist / (heist + man) / 2
    assert [part.share for part in found[0].parts] == pytest.approx([each, each, man / (heist + man)])
    assert placed(found[0]) == [("heist", 2, 7), ("Heist", 13, 18), ("man", 30, 33)]
    assert placed(found[1]) == [("man", 8, 11)] and found[1].parts[0].share == pytest.approx(1)


def test_a_word_asked_twice_counts_twice() -> None:
    once, twice = (WordSearch(FILMS).search(query)[0] for query in ("heist man", "heist man man"))
    man = once.score * once.parts[-1].share
    assert twice.score == pytest.approx(once.score + man)
    share = {part.text: part.share for part in twice.parts}["man"]
    assert share == pytest.approx(2 * man / twice.score)


def test_places_count_characters_as_python_does() -> None:
    text = "🎬 İstanbul ΟΔΟΣ 𝒳 Café"
    places = [(word, text[start:end]) for word, start, end in word_places(text)]
    assert places == [("stanbul", "stanbul"), ("οδος", "ΟΔΟΣ"), ("café", "Café")], "as bm25s, without İ"
    assert bm25s.tokenize([text], return_ids=False, show_progress=False)[0] == [word for word, _ in places]
    (found,) = WordSearch([text, "other words"]).search("ΟΔΟΣ café")
    assert {text[part.start : part.end] for part in found.parts} == {"ΟΔΟΣ", "Café"}


@pytest.mark.parametrize("query", ["the of", "unseen", "🎬", "?!"])
def test_a_query_without_a_known_word_finds_nothing(query: str) -> None:
    assert WordSearch(FILMS).search(query) == []


def test_documents_without_words_are_never_found() -> None:
    assert WordSearch(["🎬", "the"]).search("the film") == []
    assert [match.row for match in WordSearch(["🎬", "film"]).search("film")] == [1]


def test_the_strongest_words_are_kept_with_all_their_places() -> None:
    rare = " ".join(f"rare{number}" for number in range(PARTS - 1))
    texts = [f"{rare} {'film ' * 12}weak", "film film", "x y", "weak", "weak z"]
    found = WordSearch(texts).search(f"weak film {rare}")[0]
    assert len(found.parts) == PARTS - 1 + 12 and "weak" not in {part.text for part in found.parts}
    places = [part.start for part in found.parts if part.text == "film"]
    assert places == [len(rare) + 1 + 5 * at for at in range(12)]
    kept, whole = sum(part.share for part in found.parts), WordSearch(texts).search(f"film {rare}")[0]
    assert kept == pytest.approx(whole.score / found.score) and kept < 1


# 2. Vectors


@pytest.fixture(scope="module")
def encoder() -> BertModel:
    return random_model(BertModel)


@pytest.fixture(scope="module")
def vectors(encoder: BertModel) -> torch.Tensor:
    return normalize(sentence_vectors(encoder, TOKENIZER, TEXTS), dim=1)


def token_shares(encoder: BertModel, text: str, query: str) -> list[float]:
    """Return the share of each token in the cosine, one text at a time."""
    with torch.no_grad():
        hidden, asked = (
            encoder(torch.tensor([TOKENIZER.encode(each).input_ids])).last_hidden_state[0]
            for each in (text, query)
        )
    mean, unit = hidden.mean(0), asked.mean(0) / asked.mean(0).norm()
    cosine = torch.cosine_similarity(mean, unit, dim=0)
    return (hidden @ unit / (len(hidden) * mean.norm()) / cosine).tolist()


def test_shares_of_vectors_add_up_to_the_cosine(encoder: BertModel, vectors: torch.Tensor) -> None:
    query = "bo ba"
    search = VectorSearch(TEXTS, encoder, TOKENIZER, vectors)
    found = {match.row: match for match in search.search(query)}
    asked = normalize(sentence_vectors(encoder, TOKENIZER, [query]), dim=1)[0]
    assert [found[row].score for row in range(4)] == pytest.approx((vectors @ asked).tolist(), abs=1e-5)
    assert min(match.score for match in found.values()) > 0, "else the next lines test less"
    for row, text in enumerate(TEXTS):
        shares = token_shares(encoder, text, query)
        assert sum(shares) == pytest.approx(1, abs=1e-4)
        parts = {part.start: part for part in found[row].parts}
        first = text.split()[0].rstrip(",")
        assert parts[0].text == first and parts[0].share == pytest.approx(shares[1], abs=1e-4)
        assert [part.share for part in found[row].parts] == sorted(
            (part.share for part in parts.values()), reverse=True
        )
    left_out = token_shares(encoder, TEXTS[0], query)
    assert sum(part.share for part in found[0].parts) == pytest.approx(
        1 - left_out[0] - left_out[3] - left_out[-1], abs=1e-4
    ), "all but [CLS], the comma and [SEP]"


def test_wordpieces_of_a_word_are_one_part(encoder: BertModel, vectors: torch.Tensor) -> None:
    match = next(
        match for match in VectorSearch(TEXTS, encoder, TOKENIZER, vectors).search("bo") if match.row == 1
    )
    shares = token_shares(encoder, TEXTS[1], "bo")  # [CLS] bo ga ##be bo ba . [SEP]
    expected = {
        ("bo", 0): shares[1],
        ("gabe", 3): shares[2] + shares[3],
        ("bo", 8): shares[4],
        ("ba", 11): shares[5],
    }
    assert {(part.text, part.start): part.share for part in match.parts} == pytest.approx(expected, abs=1e-4)


def test_words_are_found_with_their_accents(encoder: BertModel, model: BertForMaskedLM) -> None:
    text = "bo\u0301 gábe\u0301"
    encoding = TOKENIZER.encode(text)  # [CLS] bo ga ##be [SEP]
    assert token_words(encoding) == [[1], [2, 3]]
    words = {(0, 3), (4, 9)}
    unit = normalize(sentence_vectors(encoder, TOKENIZER, [text]), dim=1)
    (found,) = VectorSearch([text], encoder, TOKENIZER, unit).search(text)
    assert {(part.start, part.end) for part in found.parts} == words
    weights = csr_matrix((np.ones(1), ([0], [TOKENIZER.vocab["##be"]])), shape=(1, CONFIG.vocab_size))
    (found,) = WeightSearch([text], model, TOKENIZER, weights).search("ji")
    assert placed(found) == [("be\u0301", 6, 9)]


def test_half_precision_and_numpy_are_read(encoder: BertModel, vectors: torch.Tensor) -> None:
    whole = VectorSearch(TEXTS, encoder, TOKENIZER, vectors).search("ca ce")
    for stored in (vectors.half(), vectors.numpy(), vectors.numpy().astype(np.float16)):
        found = VectorSearch(TEXTS, encoder, TOKENIZER, stored).search("ca ce")
        assert [match.row for match in found] == [match.row for match in whole]
        assert [match.score for match in found] == pytest.approx([match.score for match in whole], abs=2e-3)
        assert found[0].parts == whole[0].parts


def test_only_what_was_read_can_match(encoder: BertModel) -> None:
    short = normalize(sentence_vectors(encoder, TOKENIZER, TEXTS, max_length=4), dim=1)
    search = VectorSearch(TEXTS, encoder, TOKENIZER, short, max_length=4)  # [CLS], two tokens, [SEP]
    match = next(match for match in search.search("ca") if match.row == 2)
    assert sorted(placed(match)) == [("ca", 0, 2), ("ce", 3, 5)]


def test_a_cosine_that_is_not_positive_has_no_parts(encoder: BertModel, vectors: torch.Tensor) -> None:
    found = VectorSearch(TEXTS, encoder, TOKENIZER, -vectors).search("bo")
    assert all(match.score < 0 and match.parts == [] for match in found) and len(found) == 4


# 3. Weights


@pytest.fixture(scope="module")
def model() -> BertForMaskedLM:
    return random_model(BertForMaskedLM)


def test_shares_of_weights_are_products_of_weights(model: BertForMaskedLM) -> None:
    weights = sparse_vectors(model, TOKENIZER, TEXTS)
    asked = sparse_vectors(model, TOKENIZER, ["bo ba"]).toarray()[0]
    found = WeightSearch(TEXTS, model, TOKENIZER, weights).search("bo ba")
    dense = weights.toarray()
    assert [match.score for match in found] == pytest.approx(sorted(dense @ asked, reverse=True))
    for match in found:
        products = dense[match.row] * asked
        best = sorted(products, reverse=True)[:PARTS]
        assert [part.share for part in match.parts] == pytest.approx([p / products.sum() for p in best])


def test_words_that_the_model_added_have_no_place(model: BertForMaskedLM) -> None:
    expected = {
        "[CLS]": (None, None),
        "bo": (0, 2),
        "##be": (5, 7),
        "da": (None, None),
    }  # in "bo gabe bo ba."
    ids = [TOKENIZER.vocab[word] for word in expected]
    asked = sparse_vectors(model, TOKENIZER, ["ji"]).toarray()[0, ids]
    assert (asked > 0).all()
    weights = csr_matrix((np.arange(1, 5, dtype=np.float32), ([1] * 4, ids)), shape=(4, CONFIG.vocab_size))
    (found,) = WeightSearch(TEXTS, model, TOKENIZER, weights).search("ji")
    assert found.row == 1, "a document without a weight is not found"
    products = asked * [1, 2, 3, 4]
    parts = {part.text: (part.start, part.end, part.share) for part in found.parts}
    assert parts == {
        word.removeprefix("##"): (*place, pytest.approx(product / products.sum()))
        for (word, place), product in zip(expected.items(), products, strict=True)
    }


def test_ids_beyond_the_vocabulary_have_a_name(model: BertForMaskedLM) -> None:
    asked = sparse_vectors(model, TOKENIZER, ["bo"]).toarray()[0]
    number = TOKENIZER.vocab_size + int(asked[TOKENIZER.vocab_size :].argmax())
    assert asked[number] > 0
    weights = csr_matrix(([1.0], ([2], [number])), shape=(4, CONFIG.vocab_size))
    (found,) = WeightSearch(TEXTS, model, TOKENIZER, weights).search("bo")
    assert placed(found) == [(f"id {number}", None, None)] and found.parts[0].share == pytest.approx(1)


# 4. All of them


@pytest.fixture(params=["words", "vectors", "weights"])
def search(request: pytest.FixtureRequest, encoder: BertModel, model: BertForMaskedLM) -> Any:
    vectors = normalize(sentence_vectors(encoder, TOKENIZER, TEXTS), dim=1)
    weights = sparse_vectors(model, TOKENIZER, TEXTS)
    return {
        "words": lambda: WordSearch(TEXTS),
        "vectors": lambda: VectorSearch(TEXTS, encoder, TOKENIZER, vectors),
        "weights": lambda: WeightSearch(TEXTS, model, TOKENIZER, weights),
    }[request.param]()


def test_places_are_where_the_text_is(search: Any) -> None:
    found = search.search("ba bo gabe ca", k=2)
    assert 1 <= len(found) <= 2 and len(search.search("ba bo gabe ca", k=1)) == 1
    assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)
    for match in found:
        for part in match.parts:
            assert part.start is None or TEXTS[match.row][part.start : part.end] == part.text


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        ("", 1, "query is empty, expected at least one character"),
        (" \n", 1, "query is empty"),
        (5, 1, "query"),
        ("ba", 0, "k=0"),
        ("ba", True, "k=True"),
        ("\ud83c", 1, "half a surrogate pair"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(search: Any, query: Any, k: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search.search(query, k)


def test_wrong_indexes_are_refused(encoder: BertModel, model: BertForMaskedLM, vectors: torch.Tensor) -> None:
    weights = sparse_vectors(model, TOKENIZER, TEXTS)
    with pytest.raises(ValueError, match="expected a list of texts"):
        WordSearch("ba be")
    with pytest.raises(ValueError, match=r"vectors has the shape \(4, 32\), expected \(3, 32\)"):
        VectorSearch(TEXTS[:3], encoder, TOKENIZER, vectors)
    with pytest.raises(ValueError, match="length is not 1"):
        VectorSearch(TEXTS, encoder, TOKENIZER, 2 * vectors)
    with pytest.raises(ValueError, match="length is not 1"):
        VectorSearch(TEXTS, encoder, TOKENIZER, vectors * float("nan"))
    with pytest.raises(ValueError, match=r"weights has the shape \(4, 101\), expected \(3, 101\)"):
        WeightSearch(TEXTS[:3], model, TOKENIZER, weights)
    with pytest.raises(ValueError, match=r"expected .*BertForMaskedLM"):
        WeightSearch(TEXTS, encoder, TOKENIZER, weights)
    with pytest.raises(ValueError, match=r"use its \.bert"):
        VectorSearch(TEXTS, model, TOKENIZER, vectors)
