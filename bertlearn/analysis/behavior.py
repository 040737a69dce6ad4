"""Behavioral tests: small changes to a text, and what a classifier of opinions must make of them (chapter 6).

Accuracy hides what a model cannot do. Here each test looks at one ability: a minimum functionality test has
texts whose label is beyond doubt, an invariance test changes what must not matter, a direction test adds an
opinion, which must not push the wrong way.
Who made a film, and where, is no verdict on it: a model that judges otherwise by a name, a nationality, he or
she has learned a prejudice of its data.
Source: Ribeiro et al. 2020 (CheckList), §2; the templates and lists of words are our own.
Leaves out: other languages; persons of whom one says "they"; tests that a language model would write.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

Kind = Literal["minimum functionality", "invariance", "direction"]
Change = Callable[[str, random.Random], str]
CASES = 200  # in a test at most


class Case(NamedTuple):
    """A text, or a text before and after a change, and what is expected."""

    text: str
    changed: str | None  # None in a minimum functionality test
    expected: int  # the label, 1 fresh or 0 rotten; of a change: 0 stays, 1 must not fall, −1 must not rise


class BehaviorTest(NamedTuple):
    """One ability, and the cases it is tested by."""

    name: str
    kind: Kind
    cases: list[Case]


class Failure(NamedTuple):
    """A case that failed, and the probability of "fresh" for its text or texts."""

    text: str
    changed: str | None
    before: float
    after: float | None


class Outcome(NamedTuple):
    """How many cases of a test a model passes, and what share it may pass of others like them."""

    name: str
    kind: Kind
    cases: int
    passed: int
    failures: list[Failure]  # the farthest off first

    @property
    def rate(self) -> float:
        """The share of the cases that passed."""
        return self.passed / self.cases

    @property
    def low(self) -> float:
        """The lower end of the share's 95 % interval (Wilson 1927)."""
        return binomtest(self.passed, self.cases).proportion_ci(method="wilson").low

    @property
    def high(self) -> float:
        """The upper end."""
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
_SWAPS = {"his": "her", "him": "her"} | dict(COUNTERPARTS) | {other: own for own, other in COUNTERPARTS}
_SWAPS |= {word.capitalize(): _SWAPS[word].capitalize() for word in ("he", "she", "his")}
_GENDERED = re.compile(rf"\b({'|'.join(_SWAPS)})\b")  # capitals but these begin titles and names
_UNCLEAR = re.compile(r"\b(her|hers)\b", re.IGNORECASE)  # "her" may be "his" or "him"


# 2. Changes that must not matter; each returns the text as it was if there is nothing to change


def misspell(text: str, chance: random.Random) -> str:
    """Exchange two neighboring letters within one word of four letters or more."""
    places = [place for place in range(1, len(text) - 2) if _inside_word(text, place)]
    if not places:
        return text
    place = chance.choice(places)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def _inside_word(text: str, place: int) -> bool:
    """Tell whether this character and the next are different letters, with another one on each side."""
    around = re.fullmatch(r"[a-z]{4}", text[place - 1 : place + 3])
    return around is not None and text[place] != text[place + 1]


def exchange_names(text: str, chance: random.Random) -> str:
    """Give persons called by first name and surname other names, a woman a woman's, a man a man's."""
    for name in dict.fromkeys(found[0] for found in _NAME.finditer(text)):
        first = name.split()[0]
        others = [other for other in (WOMEN if first in WOMEN else MEN) if other != first]
        text = text.replace(name, f"{chance.choice(others)} {chance.choice(SURNAMES)}")
    return text


def exchange_gender(text: str, chance: random.Random) -> str:
    """Exchange he and she, actor and actress, …; not beside a name, nor where "her" might be his or him."""
    if _UNCLEAR.search(text) or _NAME.search(text):
        return text
    return _GENDERED.sub(lambda found: _SWAPS[found[0]], text)


def exchange_nationality(text: str, chance: random.Random) -> str:
    """Put other nationalities in the place of those in the text, with the article that goes with them."""
    found = dict.fromkeys(match[2] for match in _NATIONALITY.finditer(text))
    others = chance.sample([other for other in NATIONALITIES if other not in found], len(found))
    new = dict(zip(found, others, strict=True))

    def replace(match: re.Match[str]) -> str:
        other = new[match[2]]
        article = "" if match[1] is None else match[1][0] + "n" * (other[0] in "AEIO") + " "
        return article + other

    return _NATIONALITY.sub(replace, text)


# 3. Tests


def behavior_tests(sentences: Sequence[str], seed: int = 0) -> list[BehaviorTest]:
    """Return ten tests for a model that calls English film reviews fresh or rotten.

    Args:
        sentences: reviews that the model has not been trained on; about a thousand give every test more than
            50 cases.
        seed: chooses sentences and words.

    Raises:
        ValueError: one text instead of a list, or sentences in which there is nothing to change.
    """
    if isinstance(sentences, str):
        raise ValueError("sentences is str, expected a list; put a single sentence in a list")
    whole = [sentence if sentence[-1:] in ".!?" else f"{sentence}." for sentence in sentences]
    national = [*sentences, *_national_sentences()]
    return [
        _chosen("praise and blame", "minimum functionality", _opinions(), seed),
        _chosen("praise negated", "minimum functionality", _negated(GOOD, 0), seed),
        _chosen("blame negated", "minimum functionality", _negated(BAD, 1), seed),
        _chosen("contrast with but", "minimum functionality", _contrasts(), seed),
        _changed("typo", sentences, misspell, seed),
        _changed("names exchanged", sentences, exchange_names, seed),
        _changed("he and she exchanged", sentences, exchange_gender, seed),
        _changed("nationality exchanged", national, exchange_nationality, seed),
        _changed("praise added", whole, _adding(PRAISE), seed, 1),
        _changed("blame added", whole, _adding(BLAME), seed, -1),
    ]


def _opinions() -> list[Case]:
    words = [*product(BAD, [0]), *product(GOOD, [1])]
    return [Case(f"The {part} is {word}.", None, label) for part, (word, label) in product(PARTS, words)]


def _negated(words: Sequence[str], label: int) -> list[Case]:
    filled = product(NEGATIONS, PARTS, words)
    return [Case(pattern.format(part=part, word=word), None, label) for pattern, part, word in filled]


def _contrasts() -> list[Case]:
    """The last word, on the whole film, decides."""
    pairs = [(bad, good, 1) for bad, good in zip(BAD, GOOD, strict=True)]
    pairs += [(good, bad, 0) for bad, good, _ in pairs]
    return [
        Case(f"The {part} is {first}, but the film as a whole is {last}.", None, label)
        for part, (first, last, label) in product(PARTS[1:], pairs)
    ]


def _national_sentences() -> list[str]:
    """Few reviews name a nationality; these do."""
    words = zip(NATIONALITIES, cycle(GOOD), cycle(BAD))
    return [f"This {own} film is {word}." for own, *both in words for word in both]


def _adding(opinions: Sequence[str]) -> Change:
    return lambda text, chance: f"{text} {chance.choice(opinions)}"


def _chosen(name: str, kind: Kind, cases: Sequence[Case], seed: int) -> BehaviorTest:
    """Return a test with at most 200 of the cases, drawn by the seed and the test's name."""
    if not cases:
        raise ValueError(f"the test {name!r} finds nothing to change; give some hundred English reviews")
    return BehaviorTest(name, kind, _chance(seed, name).sample(cases, min(CASES, len(cases))))


def _changed(
    name: str, sentences: Iterable[str], change: Change, seed: int, expected: int = 0
) -> BehaviorTest:
    """Return a test of a change, with those sentences that it changes."""
    chance = _chance(seed, f"{name} made")
    pairs = ((sentence, change(sentence, chance)) for sentence in sentences)
    cases = [Case(before, after, expected) for before, after in pairs if before != after]
    return _chosen(name, "direction" if expected else "invariance", cases, seed)


def _chance(seed: int, name: str) -> random.Random:
    return random.Random(f"{seed}: {name}")


# 4. Results


def run_tests(
    score: Callable[[list[str]], ArrayLike], tests: Sequence[BehaviorTest], tolerance: float = 0.1
) -> list[Outcome]:
    """Put a model to tests.

    A case passes if: the label, fresh from 0.5 up, is the expected one (minimum functionality); it stays, and
    the probability moves by no more than the tolerance (invariance); the probability moves by no more than
    the tolerance in the wrong direction (direction).

    Args:
        score: a function from texts to N probabilities of "fresh"; it is called once, with all texts.
        tests: such as `behavior_tests` gives.
        tolerance: a probability.

    Raises:
        ValueError: a test without cases, or scores that are not a probability for each text.
    """
    empty = [test.name for test in tests if not test.cases]
    if empty:
        raise ValueError(f"the test {empty[0]!r} has no cases")
    every = (text for test in tests for case in test.cases for text in (case.text, case.changed))
    texts = list(dict.fromkeys(text for text in every if text is not None))
    fresh = dict(zip(texts, _probabilities(score(texts), len(texts)), strict=True))
    return [_outcome(test, fresh, tolerance) for test in tests]


def _outcome(test: BehaviorTest, fresh: dict[str, float], tolerance: float) -> Outcome:
    failures = []
    for case in test.cases:
        before, after = fresh[case.text], None if case.changed is None else fresh[case.changed]
        if not _passes(case.expected, before, after, tolerance):
            failures.append(Failure(case.text, case.changed, before, after))
    cases, passed = len(test.cases), len(test.cases) - len(failures)
    return Outcome(test.name, test.kind, cases, passed, sorted(failures, key=_distance))


def _passes(expected: int, before: float, after: float | None, tolerance: float) -> bool:
    if after is None:
        return (before >= 0.5) == bool(expected)
    if expected == 0:
        return (before >= 0.5) == (after >= 0.5) and abs(after - before) <= tolerance
    return expected * (after - before) >= -tolerance


def _distance(failure: Failure) -> float:
    """Return a number that is lower the farther off the failure is."""
    return -abs(failure.before - (0.5 if failure.after is None else failure.after))


def _probabilities(given: ArrayLike, count: int) -> list[float]:
    values: NDArray[np.float64] = np.asarray(given, dtype=float)
    if values.shape != (count,) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"score gave an array of shape {values.shape} for {count} texts, expected the probability of "
            '"fresh" for each, from 0 to 1; of predict() take [:, 1]'
        )
    return values.tolist()
