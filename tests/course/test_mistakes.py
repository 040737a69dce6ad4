"""Two known mistakes at once are both named; a pair never takes the place of one mistake, nor of chance."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bertlearn.course import mistakes
from bertlearn.course.attempt import within
from bertlearn.course.checks import attention, encoder, pretraining, sentiment, tokenization, welcome
from bertlearn.course.exercise import Exercise, Wrong


@pytest.fixture(autouse=True)
def time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistakes, "SECONDS_FOR_PAIRS", 600.0)


def no_root_and_wrong_axis(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple:
    scores = query @ key.mT
    if mask is not None:
        scores = scores + mask
    probs = scores.softmax(dim=-2)
    return probs @ value, probs


def biased_to_h_minus_1_without_shift(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + eps).sqrt() * weight


def no_mask_and_first_separator(a: list[int], b: list[int], length: int) -> tuple[list[int], ...]:
    first, second = [101, *a, 102], [*b, 102] if b else []
    padding = [0] * (length - len(first + second))
    types = [0] * (len(first) - 1) + [1] + [1] * len(second) + padding
    return first + second + padding, types, [1] * length


PAIRS: list[tuple[Exercise, Callable, set[str]]] = [
    (
        attention.scaled_dot_product_attention,
        no_root_and_wrong_axis,
        {"√d missing", "softmax over the queries"},
    ),
    (
        encoder.layer_norm,
        biased_to_h_minus_1_without_shift,
        {"the unbiased variance", "the shift forgotten"},
    ),
    (
        tokenization.build_inputs,
        no_mask_and_first_separator,
        {"the first [SEP] in segment 1", "mask 1 on padding"},
    ),
]


@pytest.mark.parametrize(("exercise", "attempt", "names"), PAIRS, ids=lambda x: getattr(x, "name", ""))
def test_two_mistakes_at_once_are_both_named_and_asked_about(
    exercise: Exercise, attempt: Callable, names: set[str]
) -> None:
    result = exercise(attempt)
    assert set(result.mistakes) == names, result
    assert "two things at once: this looks like “" in repr(result)
    for name in names:
        assert f"“{name}”" in repr(result)
        assert exercise.wrong[name].question in repr(result)


def quadratic(wrong: dict[str, Wrong]) -> Exercise:
    return replace(pretraining.unigram_entropy, wrong=wrong)


def test_a_single_mistake_is_preferred_to_a_pair() -> None:
    exercise = pretraining.unigram_entropy
    wrong = {
        "no minus": Wrong("Sign?", ("return -", "return ")),
        "bits": Wrong("Base?", ("p.log()", "p.log2()")),
        "both": Wrong("Both?", ("return -", "return "), ("p.log()", "p.log2()")),
    }

    def attempt(counts: Tensor) -> float:
        p = counts[counts > 0] / counts.sum()
        return (p * p.log2()).sum().item()

    assert quadratic(wrong)(attempt).mistakes == ("both",)
    del wrong["both"]
    assert quadratic(wrong)(attempt).mistakes == ("no minus", "bits")
    assert exercise(exercise.variants["bits instead of nats"]).mistakes == ("bits instead of nats",)


def test_mistakes_that_change_the_same_text_are_no_pair() -> None:
    wrong = {
        "bits": Wrong("Base?", ("p.log()", "p.log2()")),
        "tens": Wrong("Base?", ("p.log()", "p.log10()")),
    }
    assert list(quadratic(wrong)._mistakes._pairs()) == []


def test_an_error_alone_matches_neither_a_mistake_nor_a_pair() -> None:
    def other_error(x: Tensor) -> Tensor:
        raise RuntimeError("something else altogether")

    def refused(x: Tensor) -> Tensor:
        batch, _, length, _ = x.shape
        return x.mT.mT.transpose(1, 2).view(batch, length, -1)

    exercise = attention.merge_heads
    assert exercise(other_error).mistakes == ()
    assert exercise(refused).mistakes == ("view on a transposed tensor",)


def test_an_error_of_the_same_kind_with_another_message_is_no_match() -> None:
    exercise = encoder.gelu
    theirs = exercise(exercise.variants["math.erf on a tensor"])
    assert theirs.mistakes == ("math.erf on a tensor",)
    kind = next(kind for kind in (RuntimeError, ValueError, TypeError) if kind.__name__ in error_of(exercise))

    def other_error(x: Tensor) -> Tensor:
        raise kind("something else altogether")

    assert exercise(other_error).mistakes == ()


def error_of(exercise: Exercise) -> str:
    """Return the name of the error that math.erf raises on a tensor, which differs from torch to torch."""
    try:
        exercise.variants["math.erf on a tensor"](torch.ones(3))
    except Exception as error:
        return type(error).__name__
    return ""


def test_pairs_are_given_up_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def slow(solution: Callable, edits: object) -> Callable:
        tried.append(edits)
        return solution

    exercise = replace(sentiment.integrated_gradients)
    exercise(lambda *args: torch.zeros(1))  # builds the single mistakes
    monkeypatch.setattr(mistakes, "edited", slow)
    monkeypatch.setattr(mistakes, "SECONDS_FOR_PAIRS", 0.0)
    exercise(lambda *args: torch.zeros(1))
    assert len(tried) == 2  # one pair for all inputs, and one for those that fail


def count_down(n: int) -> int:
    while n > 0:
        n -= 1
    return n


def test_two_mistakes_that_together_never_end_are_given_up() -> None:
    exercise = Exercise(
        count_down,
        cases={"three": (3,)},
        wrong={
            "up": Wrong("Up?", ("n -= 1", "n += 1 if n < 100 else -n")),
            "beyond": Wrong("How far?", ("while n > 0", "while n > -3")),
        },
        hints=("Down.",),
    )
    begin = time.thread_time()
    result = within(30, lambda: exercise(lambda n: 7))  # the limit is for a check that hangs
    assert not result.ok and "expected" in repr(result)
    assert time.thread_time() - begin < 10


def test_each_mistake_runs_once_for_all_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = mistakes.run
    monkeypatch.setattr(mistakes, "run", lambda f, *args: calls.append(f) or original(f, *args))
    monkeypatch.setattr(mistakes, "SECONDS_FOR_PAIRS", 0.0)
    exercise = replace(encoder.gelu)
    exercise(lambda x: x / math.pi)
    first = len(calls)
    exercise(lambda x: x / math.pi)
    assert first > len(exercise.wrong) / 2
    assert len(calls) - first <= 2  # the pairs that are tried before the time is over


def test_a_mistake_made_on_some_inputs_only_is_recognized() -> None:
    solution = tokenization.build_inputs.solution

    def attempt(a: list[int], b: list[int], length: int) -> tuple[list[int], ...]:
        ids, types, mask = solution(a, b, length)
        return ids, [x if not b or i != len(a) + 1 else 1 for i, x in enumerate(types)], mask

    result = tokenization.build_inputs(attempt)
    assert result.mistakes == ("the first [SEP] in segment 1",)
    assert "right on: one sentence" in repr(result)


def test_two_mistakes_that_spoil_what_is_right_are_not_named() -> None:
    solution = tokenization.longest_match.solution

    def attempt(
        word: str, vocab: dict[str, int], unk_token: str = "[UNK]", max_input_chars_per_word: int = 100
    ) -> list[str] | str:
        return unk_token if len(word) >= max_input_chars_per_word else solution(word, vocab, unk_token)

    result = tokenization.longest_match(attempt)
    assert result.mistakes == ("100 letters are too many", "[UNK] without a list")


def test_what_only_one_input_shows_and_several_mistakes_explain_gets_no_name() -> None:
    same = {name: Wrong("Which?", ("x * y", "x + y")) for name in ("one", "other")}
    both = {"one": same["one"], "other": Wrong("Which?", ("x * y", "y + x"))}
    exercise = replace(welcome.dot, wrong=both)
    solution = welcome.dot.solution
    attempt = lambda a, b: sum(a) + sum(b) if a[0] == 1.0 and b[0] == 3.0 else solution(a, b)  # noqa: E731
    assert exercise(attempt).mistakes == ()
    assert replace(exercise, wrong={"one": same["one"]})(attempt).mistakes == ("one",)


def test_inputs_changed_in_place_are_recognized_whatever_the_amount() -> None:
    def adds_both(word: Tensor, position: Tensor, token_type: Tensor) -> Tensor:
        word += position
        word += token_type
        return word

    assert encoder.sum_embeddings(adds_both).mistakes == ("the word vectors changed in place",)
    result = encoder.add_and_norm(lambda x, residual, norm: norm(residual.add_(x)))
    assert result.mistakes == ()
    assert "it changes its own input `residual`" in repr(result)
