"""The checks of chapter 2 accept the library's functions, and know a mistake in other words."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import pytest

from bertlearn.course.checks import tokenization as check
from bertlearn.course.exercise import Exercise
from bertlearn.tokenizer import encoding, learn, wordpiece, words
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

NUMBERED = [f"w{number}" for number in range(3000)]  # the id of w2023 is 2023
for _special, _id in zip(SPECIAL_TOKENS, (0, 100, 101, 102, 103), strict=True):
    NUMBERED[_id] = _special


def apply_merge(pieces: list[str], left: str, right: str) -> list[str]:
    joined = left + right.removeprefix("##")
    vocab = list(dict.fromkeys([*pieces, left, right, joined]))
    merged = learn.merge_pair(
        [vocab.index(piece) for piece in pieces], vocab.index(left), vocab.index(right), vocab.index(joined)
    )
    return [vocab[number] for number in merged]


def pair_scores(corpus: Mapping[tuple[str, ...], int]) -> dict[tuple[str, str], float]:
    singles, pairs = Counter(), Counter()
    for pieces, count in corpus.items():
        singles.update(dict(Counter(pieces * count)))
        pairs.update(dict(Counter(list(pairwise(pieces)) * count)))
    counts = learn.PairCounts(
        pair=np.array(list(pairs.values()), dtype=float),
        left=np.array([singles[left] for left, _ in pairs], dtype=float),
        right=np.array([singles[right] for _, right in pairs], dtype=float),
        same=np.array([left == right for left, right in pairs]),
        total=float(singles.total()),
    )
    return dict(zip(pairs, learn.ratio(counts), strict=True))


def truncate_pair(a: list[str], b: list[str], max_length: int) -> tuple[list[str], list[str]]:
    kept_a, kept_b = encoding.longest_first(len(a), len(b), max_length - 3)
    return a[:kept_a], b[:kept_b]


def build_inputs(a_ids: list[int], b_ids: list[int], max_length: int) -> tuple[list[int], ...]:
    a, b = (" ".join(NUMBERED[number] for number in ids) for ids in (a_ids, b_ids))
    return WordPieceTokenizer(NUMBERED).encode(a, b or None, padding=max_length)[:3]


RIGHT = {
    "strip_accents": words.strip_accents,
    "longest_match": wordpiece.longest_match,
    "apply_merge": apply_merge,
    "pair_scores": pair_scores,
    "truncate_pair": truncate_pair,
    "build_inputs": build_inputs,
    "wordpiece_offsets": wordpiece.wordpiece_offsets,
}


def test_every_exercise_is_compared_with_the_library() -> None:
    assert {name for name, value in vars(check).items() if isinstance(value, Exercise)} == RIGHT.keys()


@pytest.mark.parametrize("name", RIGHT)
def test_the_library_agrees_with_the_solution(name: str) -> None:
    result = getattr(check, name)(RIGHT[name])
    assert result.ok, result


def shortest_first(word: str, vocab: Mapping[str, int], unk: str = "[UNK]", limit: int = 100) -> list[str]:
    pieces, begun = [], ""
    for letter in word if len(word) <= limit else "":
        begun += letter
        if ("##" if pieces else "") + begun in vocab:
            pieces.append(("##" if pieces else "") + begun)
            begun = ""
    return [unk] if begun or not pieces else pieces


def all_at_once(pieces: list[str], left: str, right: str) -> list[str]:
    text = "".join(f" {piece} " for piece in pieces)
    return text.replace(f" {left}  {right} ", f" {left}{right} ").split()


@pytest.mark.parametrize(
    ("exercise", "attempt", "mistake"),
    [
        (
            check.strip_accents,
            lambda text: unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode(),
            "everything but ASCII dropped after NFD",
        ),
        (check.longest_match, shortest_first, "the shortest match first"),
        (check.apply_merge, all_at_once, "## left in the middle"),
        (
            check.apply_merge,
            lambda pieces, a, b: (
                (" " + " ".join(pieces)).replace(f" {a} {b}", f" {a}{b.removeprefix('##')}").split()
            ),
            "a longer wordpiece on the right joined",
        ),
        (
            check.apply_merge,
            lambda pieces, a, b: " ".join(pieces).replace(f"{a} {b}", a + b.removeprefix("##")).split(),
            "longer wordpieces joined",
        ),
        (
            check.truncate_pair,
            lambda a, b, n: (a, b[: max(0, n - 3 - len(a))]),
            "only the second is cut",
        ),
        (
            check.build_inputs,
            lambda a, b, n: (build_inputs(a, b, n)[0], build_inputs(a, b, n)[1], n * (1,)),
            "mask 1 on padding",
        ),
    ],
)
def test_a_mistake_is_known_in_other_words(
    exercise: Exercise, attempt: Callable[..., object], mistake: str
) -> None:
    assert exercise(attempt).mistake == mistake


def stub(*args: object) -> object:
    raise NotImplementedError


def raises(*args: object) -> object:
    raise RuntimeError("boom")


def test_tokenizations_are_compared() -> None:
    tokenizer, texts = WordPieceTokenizer([*SPECIAL_TOKENS, "film", "##s", "a"]), ["a film", "films"]
    compare, exercise = check.compare_tokenizations, check.longest_match
    right = compare(tokenizer, texts, longest_match=exercise.solution)
    assert right.ok
    assert repr(right).startswith("✓")
    wrong = compare(tokenizer, texts, longest_match=exercise.variants["## forgotten"])
    assert wrong.different == 1
    assert repr(wrong).startswith("✗ longest_match: 1 of 2 texts come out differently, the first:\n  films\n")
    assert not compare(tokenizer, texts, longest_match=stub).attempted
    stopped = repr(compare(tokenizer, texts, longest_match=raises))
    assert stopped == "✗ longest_match: the tokenizer stops with RuntimeError: boom"
