"""The known mistakes of an exercise, and how an attempt is recognized as one of them, or as two at once."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from itertools import combinations
from typing import Any

from bertlearn.course.attempt import Outcome, run
from bertlearn.course.compare import difference
from bertlearn.course.edits import Edit, edited

Function = Callable[..., Any]
Cases = Mapping[str, tuple[Any, ...]]

SECONDS_FOR_PAIRS = 1.0
SECONDS_FOR_A_PAIR = 0.2  # for each case: two mistakes that each come to an end may together loop for ever


class Wrong:
    """A known mistake: how it differs from the solution, and a question that leads the learner to it.

    Args:
        question: what to ask the learner.
        edits: replacements in the solution's source, usually one pair (before, after); see `Edit`.
        function: a function that makes the mistake, where edits cannot express it.
        symptom: for a mistake that can be made in many ways: a function that is called with an attempt's
            value and the arguments of a case, and returns whether the value shows this mistake. It is called
            only if no known mistake gives exactly the attempt's values.
    """

    def __init__(
        self,
        question: str,
        *edits: Edit | tuple[str, str],
        function: Function | None = None,
        symptom: Callable[..., bool] | None = None,
    ) -> None:
        if bool(edits) == (function is not None):
            raise ValueError(f"{question!r}: give either edits of the solution or a function")
        self.question, self.symptom, self._function = question, symptom, function
        self.edits = tuple(Edit(*edit) for edit in edits)

    def build(self, solution: Function) -> Function:
        """Return the function that makes the mistake; raises what `edited` raises."""
        return self._function or edited(solution, self.edits)


class Mistakes:
    """The known mistakes of one exercise; each is built and run on the cases once.

    Args:
        solution: the correct function.
        wrong: the mistakes by name.
        cases: the arguments of each call.
        tolerance: as for `difference`.
    """

    def __init__(
        self, solution: Function, wrong: Mapping[str, Wrong], cases: Cases, tolerance: float
    ) -> None:
        self._solution, self._wrong, self._cases, self._tolerance = solution, wrong, cases, tolerance
        self._seen: dict[tuple[str, str], Outcome] = {}

    @cached_property
    def functions(self) -> dict[str, Function]:
        """The mistakes as functions; those that cannot be built are left out."""
        built = {}
        for name, wrong in self._wrong.items():
            with suppress(Exception):  # a learner's check continues without it; a test builds all of them
                built[name] = wrong.build(self._solution)
        return built

    def recognize(self, outcomes: Mapping[str, Outcome], failed: list[str]) -> tuple[str, ...]:
        """Return the mistakes that an attempt makes: one, two that together explain it, or none.

        Args:
            outcomes: of the attempt, by case.
            failed: the cases in which the attempt is wrong.
        """
        one = next((name for name in self.functions if self._gives(name, outcomes, failed)), None)
        if one is not None:
            return (one,)
        wrong = {label: outcomes[label] for label in failed}
        right = {label: outcome for label, outcome in outcomes.items() if label not in failed}
        return (
            self._pair(outcomes, failed)
            or self._symptom(outcomes)
            or self._where_it_fails(wrong)
            or (self._pair(wrong, failed, right) if len(failed) > 1 else ())
        )

    def _where_it_fails(self, wrong: Mapping[str, Outcome]) -> tuple[str, ...]:
        """Return the only mistake that gives the same where the attempt fails, though it fails more often."""
        names = [name for name in self.functions if self._gives(name, wrong, list(wrong))]
        return (names[0],) if len(names) == 1 else ()

    def _gives(self, name: str, outcomes: Mapping[str, Outcome], failed: list[str]) -> bool:
        def theirs(label: str) -> Outcome:
            key = name, label
            if key not in self._seen:
                self._seen[key] = run(self.functions[name], self._cases[label])
            return self._seen[key]

        return self._same(outcomes, theirs, failed)

    def _same(
        self, outcomes: Mapping[str, Outcome], theirs: Callable[[str], Outcome], failed: list[str]
    ) -> bool:
        """Return whether all outcomes agree, and not only because both stop with some error."""
        telling = False
        for label in sorted(outcomes, key=lambda label: label not in failed):  # most differ there at once
            ours, other = outcomes[label], theirs(label)
            if not self._same_outcome(ours, other):
                return False
            same_error = _without_numbers(str(ours.error)) == _without_numbers(str(other.error))
            telling |= label in failed and (ours.error is None or same_error)
        return telling

    def _same_outcome(self, one: Outcome, other: Outcome) -> bool:
        if one.error is not None or other.error is not None:
            return type(one.error) is type(other.error)
        same_change = _without_numbers(one.changed) == _without_numbers(other.changed)
        return same_change and difference(one.value, other.value, self._tolerance) is None

    def _pair(
        self, outcomes: Mapping[str, Outcome], failed: list[str], right: Mapping[str, Outcome] | None = None
    ) -> tuple[str, ...]:
        """Return the first two mistakes that together give the same outcomes, () if none do in time.

        Of the outcomes that are `right` they have to give half: mistakes that spoil nearly everything are
        not those of an attempt that is wrong in a few cases.
        """
        if all(outcomes[label].error is not None for label in failed):
            return ()
        end = time.thread_time() + SECONDS_FOR_PAIRS
        for names, function in self._pairs():
            theirs = partial(self._run_pair, function)
            if self._same(outcomes, theirs, failed) and self._gives_half(right or {}, theirs):
                return names
            if time.thread_time() > end:
                break
        return ()

    def _gives_half(self, right: Mapping[str, Outcome], theirs: Callable[[str], Outcome]) -> bool:
        same = sum(self._same_outcome(outcome, theirs(label)) for label, outcome in right.items())
        return 2 * same >= len(right)

    def _run_pair(self, function: Function, label: str) -> Outcome:
        return run(function, self._cases[label], SECONDS_FOR_A_PAIR)

    def _pairs(self) -> Iterator[tuple[tuple[str, str], Function]]:
        edits = {name: wrong.edits for name, wrong in self._wrong.items() if wrong.edits}
        for one, other in combinations(edits, 2):
            for both in (edits[one] + edits[other], edits[other] + edits[one]):
                with suppress(Exception):  # they change the same text, or the result is no Python
                    yield (one, other), edited(self._solution, both)
                    break

    def _symptom(self, outcomes: Mapping[str, Outcome]) -> tuple[str, ...]:
        for name, wrong in self._wrong.items():
            if any(_has(wrong.symptom, outcomes[label], args) for label, args in self._cases.items()):
                return (name,)
        return ()


def _without_numbers(text: str | None) -> str | None:
    """Return a message without its numbers, but for the item that it begins with."""
    if text is None:
        return None
    first = re.match(r"item \d+", text)
    return (first.group() if first else "") + re.sub(r"[-\d.,\[\]e]+", "", text)


def _has(symptom: Callable[..., bool] | None, outcome: Outcome, args: tuple[Any, ...]) -> bool:
    if symptom is None or outcome.error is not None:
        return False
    try:
        return bool(symptom(outcome.value, *copy.deepcopy(args)))
    except Exception:  # the value may be of any kind
        return False
