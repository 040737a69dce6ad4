"""What each change does to a text, which cases the tests contain, and which predictions pass."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from bertlearn.analysis.behavior import (
    BAD,
    COUNTERPARTS,
    GOOD,
    MEN,
    NATIONALITIES,
    SURNAMES,
    WOMEN,
    BehaviorTest,
    Case,
    behavior_tests,
    exchange_gender,
    exchange_names,
    exchange_nationality,
    misspell,
    run_tests,
)

SENTENCES = [
    *(f"He is a clever man, take number {n}" for n in range(130)),
    *(f"{name} {SURNAMES[n % 9]} is good in this French film." for n, name in enumerate(WOMEN + MEN)),
]
MINIMUM, INVARIANCE, DIRECTION = "minimum functionality", "invariance", "direction"


def make_rng(seed: int = 0) -> random.Random:
    return random.Random(seed)


def test_the_lists_hold_every_word_once() -> None:
    gendered = [word for pair in COUNTERPARTS for word in pair]
    for words in (GOOD + BAD, WOMEN + MEN, SURNAMES, NATIONALITIES, gendered):
        assert len(set(words)) == len(words)
    assert len(GOOD) == len(BAD)


# Changes.


def test_a_typo_swaps_two_different_neighbors_inside_a_word() -> None:
    text = "It's an All-Too uneasy, well-acted little film"
    found = {misspell(text, make_rng(seed)) for seed in range(200)}
    for other in found:
        first, second = (i for i in range(len(text)) if text[i] != other[i])
        assert second == first + 1 and text[first] == other[second] and text[second] == other[first]
        assert re.fullmatch("[a-z]{4}", text[first - 1 : first + 3])
    assert {
        "It's an All-Too uneasy, well-acted little flim",
        "It's an All-Too uneasy, well-atced little film",
    } <= found
    assert text not in found
    assert len(found) == 9  # ne, ea, as; el; ct, te; it, tl, but not tt; il
    for bare in ("", "ABC", "odd", "aaaaaa", "Film", "f1lm"):
        assert misspell(bare, make_rng()) == bare


def test_a_name_becomes_another_name_of_the_same_gender() -> None:
    text = "Hugh Grant's charm and Julia Roberts carry it; Hugh Grant is no Harry Potter. Anne of Green"
    for seed in range(50):
        found = exchange_names(text, make_rng(seed))
        parts = re.fullmatch(
            r"(\w+ \w+)'s charm and (\w+) \w+ carry it; (\w+ \w+) is no Harry Potter\. Anne of Green", found
        )
        assert parts is not None
        him, her, again = parts.groups()
        assert him == again and him.split()[0] in MEN and her in WOMEN
        assert him.split()[0] != "Hugh" and her != "Julia" and him.split()[1] in SURNAMES
    assert exchange_names("Kate and Tom", make_rng()) == "Kate and Tom"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("He's his own man.", "She's her own woman."),
        ("She wrote it herself", "He wrote it himself"),
        ("a mother-daughter story of two brothers", "a father-son story of two brothers"),
        ("The actor plays him", "The actress plays her"),
        ("Daughter from Danang, MEN and the Man", None),  # titles
        ("He loves her", None),  # "him" or "his"?
        ("Her brother and his wife", None),
        ("Hugh Grant and his wife", None),  # the name would still be a man's
        ("The theme is human history", None),
    ],
)
def test_he_becomes_she(before: str, after: str | None) -> None:
    assert exchange_gender(before, make_rng()) == (before if after is None else after)
    if after is not None and "her" not in re.findall(r"\w+", after):
        assert exchange_gender(after, make_rng()) == before


def test_a_new_nationality_has_the_right_article() -> None:
    pattern = r"(An?) ([A-Z]\w+) con and (an?) ([A-Z]\w+)-born girl in a ([A-Z]\w+) film, a Russian Ark"
    articles = set()
    for seed in range(60):
        found = exchange_nationality(
            "An Irish con and a French-born girl in a French film, a Russian Ark", make_rng(seed)
        )
        parts = re.fullmatch(pattern, found) or re.fullmatch(pattern.replace("in a (", "in an ("), found)
        assert parts is not None, found
        for article, word in (parts.groups()[:2], parts.groups()[2:4]):
            assert article.lower() == ("an" if word[0] in "AEIO" else "a")
            articles.add(article.lower())
        first, second, third = parts.groups()[1::2][0], parts[4], parts[5]
        assert second == third != first and not {first, second} & {"Irish", "French"}
        assert {first, second} <= set(NATIONALITIES)
    assert articles == {"a", "an"}
    assert exchange_nationality("The Frenchman", make_rng()) == "The Frenchman"


# The tests.


def test_ten_tests_with_enough_cases() -> None:
    tests = behavior_tests(SENTENCES)
    assert Counter(test.kind for test in tests) == {MINIMUM: 4, INVARIANCE: 4, DIRECTION: 2}
    assert len({test.name for test in tests}) == 10
    for test in tests:
        assert 50 <= len(test.cases) <= 200
        assert len(set(test.cases)) == len(test.cases)
        for case in test.cases:
            assert case.changed != case.text
            assert (case.changed is None) == (test.kind == MINIMUM)
            assert case.expected in {MINIMUM: (0, 1), INVARIANCE: (0,), DIRECTION: (1, -1)}[test.kind]


def opinion(text: str) -> int:
    """Return the label of a sentence from a template: that of its last opinion, reversed by a negation."""
    negated = re.search(r"not|anything but|Nothing|hardly", text) is not None
    words = [word for word in re.findall(r"\w+", text) if word in GOOD + BAD]
    return int((words[-1] in GOOD) != negated)


def test_the_templates_have_the_correct_labels() -> None:
    for test in behavior_tests(SENTENCES):
        if test.kind == MINIMUM:
            assert [case.expected for case in test.cases] == [opinion(case.text) for case in test.cases]
    labels = {test.name: {case.expected for case in test.cases} for test in behavior_tests(SENTENCES)}
    assert labels["praise negated"] == {0} and labels["blame negated"] == {1}
    assert labels["praise and blame"] == labels["contrast with but"] == {0, 1}
    assert (labels["praise added"], labels["blame added"]) == ({1}, {-1})


def test_an_opinion_follows_a_full_stop() -> None:
    added = next(
        test for test in behavior_tests(["No stop", "A stop!"] * 3 + SENTENCES) if "added" in test.name
    )
    for case in added.cases:
        assert re.search(r"[.!?] [AI] .*\.$", str(case.changed)) and str(case.changed).startswith(case.text)


def test_the_cases_depend_only_on_the_seed() -> None:
    random.seed(1)
    one = behavior_tests(SENTENCES, seed=3)
    random.seed(2)
    assert behavior_tests(SENTENCES, seed=3) == one
    other = behavior_tests(SENTENCES, seed=4)
    assert [test.name for test in other] == [test.name for test in one]
    assert all(a.cases != b.cases for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("sentences", [[], ["Nothing here"], ["He laughs."]])
def test_sentences_without_anything_to_change_are_refused(sentences: list[str]) -> None:
    with pytest.raises(ValueError, match=r"the test '.*' finds nothing to change; give a few hundred"):
        behavior_tests(sentences)


def test_a_string_instead_of_a_list_is_refused() -> None:
    with pytest.raises(ValueError, match="sentences is str, expected a list"):
        behavior_tests("He laughs.")


# Results.


def outcome_of(kind: Any, cases: list[Case], scores: dict[str, float], tolerance: float = 0.1) -> Any:
    test = BehaviorTest("a test", kind, cases)
    (found,) = run_tests(lambda texts: np.array([scores[text] for text in texts]), [test], tolerance)
    return found


@pytest.mark.parametrize(
    ("kind", "expected", "before", "after", "passes"),
    [
        (MINIMUM, 1, 0.5, None, True),
        (MINIMUM, 1, 0.49, None, False),
        (MINIMUM, 0, 0.49, None, True),
        (MINIMUM, 0, 0.5, None, False),
        (INVARIANCE, 0, 0.7, 0.61, True),
        (INVARIANCE, 0, 0.7, 0.59, False),  # same label, but the probability moves far
        (INVARIANCE, 0, 0.7, 0.81, False),  # far in the other direction
        (INVARIANCE, 0, 0.51, 0.49, False),  # a small move, but another label
        (DIRECTION, 1, 0.5, 0.41, True),
        (DIRECTION, 1, 0.5, 0.39, False),
        (DIRECTION, 1, 0.2, 0.9, True),
        (DIRECTION, -1, 0.5, 0.59, True),
        (DIRECTION, -1, 0.5, 0.61, False),
        (DIRECTION, -1, 0.9, 0.2, True),
    ],
)
def test_which_cases_pass(kind: str, expected: int, before: float, after: float | None, passes: bool) -> None:
    case = Case("a", None if after is None else "b", expected)
    found = outcome_of(kind, [case], {"a": before, "b": 0.0 if after is None else after})
    assert found.passed == passes
    assert found.failures == ([] if passes else [("a", case.changed, before, after)])


def test_the_tolerance_counts() -> None:
    case, scores = Case("a", "b", 0), {"a": 0.9, "b": 0.6}
    assert outcome_of(INVARIANCE, [case], scores, 0.31).passed == 1
    assert outcome_of(INVARIANCE, [case], scores, 0.29).passed == 0


def test_share_interval_and_failures() -> None:
    cases = [Case(f"{n}", f"{n}!", 0) for n in range(10)]
    scores = {text: 0.6 for case in cases for text in (case.text, str(case.changed))}
    scores |= {"3!": 0.9, "5!": 0.1, "7": 1.0}
    found = outcome_of(INVARIANCE, cases, scores)
    assert (found.name, found.kind, found.cases, found.passed, found.rate) == (
        "a test",
        INVARIANCE,
        10,
        7,
        0.7,
    )
    assert [failure.text for failure in found.failures] == ["5", "7", "3"]  # 0.5, 0.4 and 0.3 off
    z = 1.959964
    middle, half = (
        (0.7 + z**2 / 20) / (1 + z**2 / 10),
        z * (0.7 * 0.3 / 10 + z**2 / 400) ** 0.5 / (1 + z**2 / 10),
    )
    assert [found.low, found.high] == pytest.approx([middle - half, middle + half])  # Wilson 1927
    assert found.low == binomtest(7, 10).proportion_ci(method="wilson").low


def test_the_model_scores_each_text_once() -> None:
    calls: list[list[str]] = []

    def score(texts: list[str]) -> list[float]:
        calls.append(texts)
        return [
            float(opinion(text)) if set(GOOD + BAD) & set(re.findall(r"\w+", text)) else 1 for text in texts
        ]

    tests = behavior_tests(SENTENCES)
    found = run_tests(score, tests)
    (texts,) = calls
    assert len(set(texts)) == len(texts)
    assert [outcome.name for outcome in found] == [test.name for test in tests]
    assert all(outcome.rate == 1 for outcome in found if outcome.kind == MINIMUM)


@pytest.mark.parametrize("scores", [[0.5], [[0.5, 0.5]] * 2, [0.5, 1.2], [0.5, -0.1], [0.5, float("nan")]])
def test_scores_that_are_not_probabilities_are_refused(scores: list) -> None:
    with pytest.raises(
        ValueError, match=r"score returned an array of shape .* for 2 texts, .* take \[:, 1\]"
    ):
        run_tests(lambda texts: scores, [BehaviorTest("a test", INVARIANCE, [Case("a", "b", 0)])])


def test_a_test_without_cases_is_refused() -> None:
    with pytest.raises(ValueError, match="the test 'a test' has no cases"):
        run_tests(lambda texts: [], [BehaviorTest("a test", INVARIANCE, [])])


A_TEST = [BehaviorTest("a", "minimum functionality", [Case("a", None, 1)])]


@pytest.mark.parametrize("tolerance", [float("nan"), -0.1, "0.1"])
def test_a_tolerance_is_a_probability(tolerance: Any) -> None:
    with pytest.raises(ValueError, match=r"tolerance=.* is not a probability; use 0 to 1"):
        run_tests(lambda texts: [0.5] * len(texts), A_TEST, tolerance)


def test_probabilities_may_have_a_gradient() -> None:
    (outcome,) = run_tests(lambda texts: torch.full((len(texts),), 0.5, requires_grad=True), A_TEST)
    assert outcome.cases == 1
