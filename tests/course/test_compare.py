"""How a wrong value differs is said in words: how much, where, and how it is related to the right one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bertlearn.course.checks import attention, encoder, pretraining, tokenization
from bertlearn.course.compare import contrast, difference, find, show, side_by_side, sizes_in
from bertlearn.model.config import BertConfig

T = torch.tensor
MATRIX = T([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0], [0.5, 0.25, 9.0]])


@pytest.mark.parametrize(
    ("value", "expected", "text"),
    [
        (2 * MATRIX, MATRIX, "yours is exactly 2 times as large"),
        (MATRIX / 4, MATRIX, "yours is exactly 1/4 as large"),
        (-MATRIX, MATRIX, "yours has the opposite sign"),
        (MATRIX / torch.log(T(2.0)), MATRIX, "as with a logarithm of base 2"),
        (MATRIX * 1.37, MATRIX, "yours is 1.37 times as large everywhere"),
        (MATRIX + 1, MATRIX, "each of yours is 1 too large"),
        (MATRIX.T, MATRIX, "rows and columns are swapped"),
        (MATRIX.log(), MATRIX, "yours is its logarithm"),
        (MATRIX**2, MATRIX, "yours is its square"),
        (1 - MATRIX, MATRIX, "yours is 1 minus it"),
        (MATRIX.roll(1, 0), MATRIX, "the right numbers, shifted by one along axis 0"),
        (MATRIX.flip(1), MATRIX, "the right numbers, in the opposite order along axis 1"),
        (MATRIX[None], MATRIX, "the numbers are right, but an axis of size 1 is too many"),
        (MATRIX[:2].T, MATRIX[:2], "the numbers are right, but two axes are swapped"),
        (torch.ones(3, 2), MATRIX[:2], "your shape is that of the transpose"),
        (MATRIX.flatten(), MATRIX, "the same numbers in the same order, in another shape"),
        (MATRIX.sum(0), MATRIX, "yours is the sum of the expected result over its axis 0"),
        (MATRIX.mean(1), MATRIX, "yours is the mean of the expected result over its axis 1"),
        (MATRIX.mean(), MATRIX, "yours is the mean of the whole expected result"),
        (MATRIX * T([[1.0], [2.1], [1.0]]), MATRIX, "only at index 1 of axis 0; the rest of the 3 are right"),
        (T([2, 3, 4]), T([1, 2, 4]), "only at index 0, 1 of axis 0; the rest of the 3 are right"),
        (0.5, 1.0, "yours is exactly 1/2 as large"),
        (7, 4, "yours is 3 too large"),
        ([3, 2, 1], [1, 2, 3], "yours is in the opposite order"),
        ([2, 1, 3], [1, 2, 3], "the right items, in another order"),
        ([2, 3, 5], [1, 2, 4], "each of yours is 1 too large"),
        (["a"], ["a", "b"], "the last is missing"),
        (["b"], ["a", "b"], "the first is missing"),
        (["a", "b", "c"], ["a", "b"], "there is one too many at the end"),
        (["c", "a", "b"], ["a", "b"], "there is one too many in front"),
        ("e\u0301", "é", "it looks the same, but has 2 characters where 1 are expected"),
        ("Film", "film", "only upper and lower case differ"),
        ("a b", "ab", "only spaces differ"),
    ],
)
def test_a_relation_is_named(value: object, expected: object, text: str) -> None:
    assert text in str(contrast(value, expected))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (T([0.3, 0.7]), T([0.5, 0.5])),
        (T([0.0, 0.0]), T([0.3, 0.5])),
        (T([[0.31, 0.7], [0.9, 0.2]]), MATRIX[:2, :2]),
        (torch.zeros(2), torch.zeros(2)),
        (torch.zeros(0), torch.ones(2)),
        (0.37, 0.54),
        ("abc", "xyz"),
        ([1, 5], [2, 3]),
        (None, 3),
        (float("nan"), 1.0),
        ({"a": 1}, {"a": 2}),
    ],
)
def test_no_relation_is_made_up(value: object, expected: object) -> None:
    assert contrast(value, expected) is None


def test_a_ratio_that_is_a_size_of_the_input_is_named() -> None:
    sizes = sizes_in([("query", torch.zeros(2, 3, 5, 48))])
    assert "1/√48 as large (48 is axis 3 of query)" in str(contrast(MATRIX / 48**0.5, MATRIX, sizes))
    assert "√5 times as large (5 is axis 2 of query)" in str(contrast(MATRIX * 5**0.5, MATRIX, sizes))
    assert "√" not in str(contrast(MATRIX * 5**0.5, MATRIX))  # without such a size, a root would be chance


def test_a_missing_number_of_parameters_is_written_with_the_sizes_of_the_config() -> None:
    solution = encoder.count_parameters.solution
    config = BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536)
    sizes = sizes_in([("config", config)])
    text = contrast(solution(config) - 6 * 384, solution(config), sizes)
    assert text == "yours is 2,304 = 6 (num_hidden_layers) × 384 (hidden_size) too few"
    text = repr(encoder.count_parameters(lambda c: solution(c) + c.num_hidden_layers * 4 * c.hidden_size))
    assert "too many" in text
    assert "× " in text
    assert "input:    config = BertConfig(" in text


def test_an_unknown_mistake_shows_input_expected_and_yours_on_the_smallest_failing_input() -> None:
    text = repr(attention.softmax(lambda x: x.exp() / x.exp().sum(-1, keepdim=True) * 2))
    assert text.splitlines()[:4] == [
        "✗ softmax: not yet. On “three scores” your numbers are off by up to 0.7054: "
        "yours is exactly 2 times as large.",
        "  input:    x = [2, 1, -1]",
        "  expected: [0.7054, 0.2595, 0.03512]",
        "  yours:    [1.411, 0.519, 0.07024]",
    ]


def test_items_of_a_tuple_have_names_and_those_that_are_right_are_told() -> None:
    def attempt(a: list[int], b: list[int], length: int) -> tuple[list[int], ...]:
        ids, types, mask = tokenization.build_inputs.solution(a, b, length)
        return ids, [3] * len(types), mask

    text = repr(tokenization.build_inputs(attempt))
    assert "input_ids and attention_mask are right on every input." in text
    assert "token_type_ids" in text.splitlines()[0]
    assert "  yours:    token_type_ids: [3, 3, 3, 3, 3, 3]" in text.splitlines()
    assert "are right" not in repr(replace(tokenization.build_inputs, returns=())(attempt))


def test_a_large_tensor_is_shown_where_it_differs_first() -> None:
    expected = torch.arange(60.0).view(3, 20)
    value = expected.clone()
    value[1, 2:5] += 1
    pair = side_by_side(value, expected, find(value, expected, 1e-5))
    assert pair == ("22 at [1, 2]", "23 there (3 of 60 numbers differ)")


def test_numbers_that_differ_late_are_shown_with_more_digits() -> None:
    pair = side_by_side(T([1.00001, 2.0]), T([1.0, 2.0]), find(T([1.00001]), T([1.0]), 0.0))
    assert pair == ("[1, 2]", "[1.00001, 2]")


def test_a_long_text_is_cut_around_the_difference() -> None:
    expected, value = "x" * 300 + "a" + "y" * 50, "x" * 300 + "b" + "y" * 50
    pair = side_by_side(value, expected, find(value, expected, 0.0))
    assert pair is not None
    assert "xa" in pair[0]
    assert "xb" in pair[1]
    assert max(map(len, pair)) < 110


def test_what_cannot_be_compared_or_shown_never_stops_a_check() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    for value in (Odd(), [Odd()], (Odd(), Odd()), {Odd(): 1}, torch.zeros(2, dtype=torch.complex64)):
        for exercise in (attention.softmax, tokenization.build_inputs, pretraining.unigram_entropy):
            assert repr(exercise(lambda *args, value=value: value)).startswith("✗")


def test_values_are_shown_in_one_line() -> None:
    assert show(T([[1.0, 2.5], [float("nan"), -3.4e38]])) == "[[1, 2.5], [nan, -3.4e+38]]"
    assert show(torch.zeros(3, 20)) == "floats (3, 20)"
    assert show(T([True, False])) == "[True, False]"
    assert show({"a": (1, "b"), "c": None}) == "{'a': (1, 'b'), 'c': None}"
    assert show(1234567) == "1,234,567"
    assert show(torch.nn.Dropout()) == "a Dropout in training mode"
    assert len(show("x" * 500)) == 100


def test_one_item_and_several() -> None:
    assert difference([], [1], 0.0) == "1 item is expected, yours has 0"
    assert difference([1], [1, 2], 0.0) == "2 items are expected, yours has 1"
