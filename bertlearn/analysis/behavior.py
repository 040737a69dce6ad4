"""Behavioral tests: how a sentiment classifier should react to small changes of a text (chapter 6).

Accuracy hides what a model cannot do. Here each test examines one ability. A minimum functionality test has
texts whose label is beyond doubt. An invariance test changes something that must not matter. A direction test
adds an opinion, which must not push the prediction the wrong way.
The people and the country behind a film say nothing about its quality: a model whose verdict depends on a
name, a nationality or a gender has learned a prejudice from its data.
Source: Ribeiro et al. 2020 (CheckList), §2; the templates and lists of words are our own.
Leaves out: other languages; people referred to as "they"; tests written by a language model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, product
from numbers import Real
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from bertlearn.analysis.evaluation import as_array

Kind = Literal["minimum functionality", "invariance", "direction"]
Change = Callable[[str, random.Random], str]
CASES = 200  # maximum number of cases per test


class Case(NamedTuple):
    """A text, or a text before and after a change, and what is expected."""

    text: str
    changed: str | None  # None in a minimum functionality test
    expected: int  # the label, 1 fresh or 0 rotten; with a change: 0 stays, 1 must not fall, −1 must not rise


class BehaviorTest(NamedTuple):
    """One ability, and the cases that test it."""

    name: str
    kind: Kind
    cases: list[Case]


class Failure(NamedTuple):
    """A case that failed, with the probability of "fresh" for the text and for any changed text."""

    text: str
    changed: str | None
    before: float
    after: float | None


class Outcome(NamedTuple):
    """How many cases of a test a model passes, with a confidence interval for the share."""

    name: str
    kind: Kind
    cases: int
    passed: int
    failures: list[Failure]  # the worst first

    @property
    def rate(self) -> float:
        """The share of the cases that passed."""
        return self.passed / self.cases

    @property
    def low(self) -> float:
        """The lower end of the 95 % confidence interval of the share (Wilson 1927)."""
        return binomtest(self.passed, self.cases).proportion_ci(method="wilson").low

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return binomtest(self.passed, self.cases).proportion_ci(method="wilson").high


# 1. Words; all lists are our own


GOOD = ("wonderful", "moving", "brilliant", "engaging", "charming", "gripping", "touching", "clever")
BAD = ("boring", "tiresome", "dull", "clumsy", "tedious", "forgettable", "lifeless", "predictable")
PARTS = ("film", "story", "acting", "dialogue", "direction", "script", "plot", "cast")
NEGATIONS = (
    "The {part} is not {word} at all.",
    "The {part} is anything but {word}.",
    "Nothing about the {part} is {word}.",
    "The {part} could hardly be less {word}.",
)
WOMEN = (
    *("Amina", "Ana", "Anne", "Ashley", "Audrey", "Diane", "Doris", "Fatima", "Frida", "Ingrid", "Jane"),
    *("Julia", "Julie", "Kate", "Leila", "Linda", "Lucy", "Mei", "Nicole", "Olga", "Priya", "Rebecca"),
    *("Salma", "Sandra", "Sarah", "Yuki"),
)
MEN = (
    *("Adam", "Adrian", "Ahmed", "Alexander", "Andrew", "Antonio", "Ben", "Brett", "Bruce", "Bryan", "Burr"),
    *("Carl", "Chris", "David", "Eddie", "Eric", "Fabian", "George", "Giuseppe", "Guy", "Hiroshi", "Hugh"),
    *("Jacques", "James", "Joe", "Joel", "John", "Joseph", "Kevin", "Kieran", "Martin", "Michael", "Mike"),
    *("Morgan", "Nicholas", "Paul", "Peter", "Quentin", "Rajesh", "Richard", "Rob", "Robert", "Steven"),
    *("Thomas", "Tom", "Woody"),
)
SURNAMES = (
    *("Andersson", "Cohen", "Diallo", "Ferreira", "Haddad", "Ivanova", "Kowalski", "Kumar", "Mbeki"),
    *("Miller", "Nguyen", "Novak", "Okafor", "Park", "Rossi", "Sato", "Silva", "Weber", "Yilmaz", "Zhang"),
)
NATIONALITIES = (
    *("American", "Argentine", "Australian", "Brazilian", "British", "Canadian", "Chinese", "Egyptian"),
    *("French", "German", "Greek", "Indian", "Iranian", "Irish", "Israeli", "Italian", "Japanese", "Korean"),
    *("Mexican", "Nigerian", "Polish", "Russian", "Scottish", "Spanish", "Swedish", "Turkish", "Vietnamese"),
)
COUNTERPARTS = (
    *(("he", "she"), ("himself", "herself"), ("actor", "actress")),
    *(("man", "woman"), ("men", "women"), ("boy", "girl"), ("boys", "girls"), ("father", "mother")),
    *(("son", "daughter"), ("brother", "sister"), ("husband", "wife")),
)
PRAISE = ("I loved it.", "I enjoyed every minute.", "I recommend it warmly.", "A joy.")
BLAME = ("I hated it.", "I was bored throughout.", "I cannot recommend it.", "A waste of time.")


_NAME = re.compile(rf"\b({'|'.join(WOMEN + MEN)}) [A-Z]\w+")
_NATIONALITY = re.compile(rf"\b(?:([Aa]n?) )?({'|'.join(NATIONALITIES)})\b(?! [A-Z])")  # not "Russian Ark"
_SWAPS = {"his": "her", "him": "her"} | dict(COUNTERPARTS) | {other: word for word, other in COUNTERPARTS}
_SWAPS |= {word.capitalize(): _SWAPS[word].capitalize() for word in ("he", "she", "his")}
_GENDERED = re.compile(rf"\b({'|'.join(_SWAPS)})\b")  # other capitalized words are titles and names
_UNCLEAR = re.compile(r"\b(her|hers)\b", re.IGNORECASE)  # "her" may be "his" or "him"


# 2. Changes that must not matter; each returns the text unchanged if it finds nothing to change


def misspell(text: str, rng: random.Random) -> str:
    """Return the text with two neighboring letters swapped inside one word of at least four letters."""
    positions = [i for i in range(1, len(text) - 2) if _can_swap(text, i)]
    if not positions:
        return text
    i = rng.choice(positions)
    return text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def _can_swap(text: str, i: int) -> bool:
    """Return whether characters i and i + 1 are different letters with another letter on each side."""
    letters = re.fullmatch(r"[a-z]{4}", text[i - 1 : i + 3])
    return letters is not None and text[i] != text[i + 1]


def exchange_names(text: str, rng: random.Random) -> str:
    """Return the text with other full names, a woman's name for a woman's and a man's for a man's."""
    for name in dict.fromkeys(match[0] for match in _NAME.finditer(text)):
        first = name.split()[0]
        others = [other for other in (WOMEN if first in WOMEN else MEN) if other != first]
        text = text.replace(name, f"{rng.choice(others)} {rng.choice(SURNAMES)}")
    return text


def exchange_gender(text: str, rng: random.Random) -> str:
    """Return the text with he and she, actor and actress, … exchanged.

    Texts with a full name stay as they are, as do texts with "her", which may mean "his" or "him".
    """
    if _UNCLEAR.search(text) or _NAME.search(text):
        return text
    return _GENDERED.sub(lambda match: _SWAPS[match[0]], text)


def exchange_nationality(text: str, rng: random.Random) -> str:
    """Return the text with other nationalities, and with the articles that go with them."""
    found = dict.fromkeys(match[2] for match in _NATIONALITY.finditer(text))
    others = rng.sample([other for other in NATIONALITIES if other not in found], len(found))
    replacements = dict(zip(found, others, strict=True))

    def replace(match: re.Match[str]) -> str:
        other = replacements[match[2]]
        article = "" if match[1] is None else match[1][0] + "n" * (other[0] in "AEIO") + " "
        return article + other

    return _NATIONALITY.sub(replace, text)


# 3. Tests


def behavior_tests(sentences: Sequence[str], seed: int = 0) -> list[BehaviorTest]:
    """Return ten tests for a model that classifies English film reviews as fresh or rotten.

    Args:
        sentences: reviews that the model was not trained on; about a thousand give every test more than 50
            cases.
        seed: random seed for the choice of sentences and words.

    Raises:
        ValueError: a string instead of a list, or sentences in which there is nothing to change.
    """
    if isinstance(sentences, str):
        raise ValueError("sentences is str, expected a list; put a single sentence into a list")
    complete = [sentence if sentence[-1:] in ".!?" else f"{sentence}." for sentence in sentences]
    with_nationality = [*sentences, *_national_sentences()]
    return [
        _chosen("praise and blame", "minimum functionality", _opinions(), seed),
        _chosen("praise negated", "minimum functionality", _negated(GOOD, 0), seed),
        _chosen("blame negated", "minimum functionality", _negated(BAD, 1), seed),
        _chosen("contrast with but", "minimum functionality", _contrasts(), seed),
        _changed("typo", sentences, misspell, seed),
        _changed("names exchanged", sentences, exchange_names, seed),
        _changed("he and she exchanged", sentences, exchange_gender, seed),
        _changed("nationality exchanged", with_nationality, exchange_nationality, seed),
        _changed("praise added", complete, _adding(PRAISE), seed, 1),
        _changed("blame added", complete, _adding(BLAME), seed, -1),
    ]


def _opinions() -> list[Case]:
    words = [*product(BAD, [0]), *product(GOOD, [1])]
    return [Case(f"The {part} is {word}.", None, label) for part, (word, label) in product(PARTS, words)]


def _negated(words: Sequence[str], label: int) -> list[Case]:
    filled = product(NEGATIONS, PARTS, words)
    return [Case(pattern.format(part=part, word=word), None, label) for pattern, part, word in filled]


def _contrasts() -> list[Case]:
    """Return cases in which the opinion of the film as a whole, which comes last, decides the label."""
    pairs = [(bad, good, 1) for bad, good in zip(BAD, GOOD, strict=True)]
    pairs += [(good, bad, 0) for bad, good, _ in pairs]
    return [
        Case(f"The {part} is {first}, but the film as a whole is {last}.", None, label)
        for part, (first, last, label) in product(PARTS[1:], pairs)
    ]


def _national_sentences() -> list[str]:
    """Return sentences that name a nationality, since few reviews do."""
    words = zip(NATIONALITIES, cycle(GOOD), cycle(BAD))
    return [f"This {nationality} film is {word}." for nationality, *both in words for word in both]


def _adding(opinions: Sequence[str]) -> Change:
    return lambda text, rng: f"{text} {rng.choice(opinions)}"


def _chosen(name: str, kind: Kind, cases: Sequence[Case], seed: int) -> BehaviorTest:
    """Return a test with at most 200 of the cases, drawn at random from the seed and the test's name."""
    if not cases:
        raise ValueError(f"the test {name!r} finds nothing to change; give a few hundred English reviews")
    return BehaviorTest(name, kind, _rng(seed, name).sample(cases, min(CASES, len(cases))))


def _changed(
    name: str, sentences: Iterable[str], change: Change, seed: int, expected: int = 0
) -> BehaviorTest:
    """Return a test of a change, with the sentences that the change alters."""
    rng = _rng(seed, f"{name} made")
    pairs = ((sentence, change(sentence, rng)) for sentence in sentences)
    cases = [Case(before, after, expected) for before, after in pairs if before != after]
    return _chosen(name, "direction" if expected else "invariance", cases, seed)


def _rng(seed: int, name: str) -> random.Random:
    return random.Random(f"{seed}: {name}")


# 4. Results


def run_tests(
    score: Callable[[list[str]], ArrayLike], tests: Sequence[BehaviorTest], tolerance: float = 0.1
) -> list[Outcome]:
    """Return the outcome of each test for a model.

    The label is fresh if the probability of "fresh" is at least 0.5. A minimum functionality case passes if
    the label is the expected one. An invariance case passes if the change alters neither the label nor the
    probability by more than the tolerance. A direction case passes if the change moves the probability in
    the wrong direction by no more than the tolerance.

    Args:
        score: a function from N texts to N probabilities of "fresh"; it is called once, with all texts.
        tests: as returned by `behavior_tests`.
        tolerance: a probability.

    Raises:
        ValueError: a test without cases, a tolerance outside 0 to 1, or scores that are not one probability
            per text.
    """
    if not (isinstance(tolerance, Real) and 0 <= tolerance <= 1):
        raise ValueError(f"tolerance={tolerance!r} is not a probability; use 0 to 1")
    empty = [test.name for test in tests if not test.cases]
    if empty:
        raise ValueError(f"the test {empty[0]!r} has no cases")
    all_texts = (text for test in tests for case in test.cases for text in (case.text, case.changed))
    texts = list(dict.fromkeys(text for text in all_texts if text is not None))
    probs = dict(zip(texts, _probabilities(score(texts), len(texts)), strict=True))
    return [_outcome(test, probs, tolerance) for test in tests]


def _outcome(test: BehaviorTest, probs: dict[str, float], tolerance: float) -> Outcome:
    failures = []
    for case in test.cases:
        before, after = probs[case.text], None if case.changed is None else probs[case.changed]
        if not _passes(case.expected, before, after, tolerance):
            failures.append(Failure(case.text, case.changed, before, after))
    cases, passed = len(test.cases), len(test.cases) - len(failures)
    return Outcome(test.name, test.kind, cases, passed, sorted(failures, key=_sort_key))


def _passes(expected: int, before: float, after: float | None, tolerance: float) -> bool:
    if after is None:
        return (before >= 0.5) == bool(expected)
    if expected == 0:
        return (before >= 0.5) == (after >= 0.5) and abs(after - before) <= tolerance
    return expected * (after - before) >= -tolerance


def _sort_key(failure: Failure) -> float:
    """Return a sort key that puts the worst failures first.

    It is minus the distance from the probability before the change to the one after it or, without a change,
    to 0.5.
    """
    return -abs(failure.before - (0.5 if failure.after is None else failure.after))


def _probabilities(scores: ArrayLike, count: int) -> list[float]:
    values: NDArray[np.float64] = as_array(scores).astype(float)
    if values.shape != (count,) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"score returned an array of shape {values.shape} for {count} texts, expected the probability of "
            '"fresh" for each, from 0 to 1; from predict(), take [:, 1]'
        )
    return values.tolist()
