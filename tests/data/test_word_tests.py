"""The tests for word vectors have as many questions and pairs as their papers say."""

from __future__ import annotations

import io
import sys

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from bertlearn.data import DataError, load_analogies, load_glove, load_word_pairs, word_tests


def test_analogies_have_four_words_in_fourteen_groups() -> None:
    groups = load_analogies()
    assert len(groups) == 14 and sum(map(len, groups.values())) == 19_544
    assert groups["family"][0] == ("boy", "girl", "brother", "sister")
    assert groups["capital-common-countries"][0] == ("athens", "greece", "baghdad", "iraq")
    assert sum(len(group) for name, group in groups.items() if name.startswith("gram")) == 10_675
    words = {word for group in groups.values() for question in group for word in question}
    assert all(word == word.lower() and word.split() == [word] for word in words)


def test_pairs_have_ratings_from_0_to_10() -> None:
    simlex, wordsim = load_word_pairs("simlex"), load_word_pairs("wordsim")
    assert len(simlex) == 999 and simlex["old", "new"] == 1.58
    assert len(wordsim) == 352 and wordsim["love", "sex"] == 6.77  # one of the 353 pairs is there twice
    for ratings in (simlex, wordsim):
        assert all(0 <= rating <= 10 for rating in ratings.values())
        assert all(word == word.lower() for pair in ratings for word in pair)


def test_glove_is_words_and_their_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, words = io.BytesIO(), io.BytesIO()
    np.save(vectors, np.eye(2, 3, dtype=np.float32))
    parquet.write_table(pyarrow.table({"index": ["the", "null"]}), words)
    contents = {"vectors.npy": vectors.getvalue(), "words.parquet": words.getvalue()}
    monkeypatch.setattr(word_tests, "read_member", lambda source, name: contents[name])
    found, table = load_glove()
    assert found == ("the", "null") and table.tolist() == [[1, 0, 0], [0, 1, 0]]
    np.save(vectors := io.BytesIO(), np.array([{}], dtype=object), allow_pickle=True)
    contents["vectors.npy"] = vectors.getvalue()
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_glove()


def test_without_pyarrow_glove_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match="pip install pyarrow"):
        load_glove()


def test_an_unknown_list_is_refused() -> None:
    with pytest.raises(ValueError, match="name='men' is not a list of pairs; choose one of simlex, wordsim"):
        load_word_pairs("men")
