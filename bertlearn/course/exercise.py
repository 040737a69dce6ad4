"""How an exercise is checked: against the solution, and against the mistakes that people make.

A check never shows a traceback or the answer. It says whether the attempt is correct. If it is not, the check
says which known mistake it matches, on which inputs it is wrong, and, on request, one hint after another.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bertlearn.course.built import built, chapter_of, note
from bertlearn.course.edits import Edit, edited

__all__ = ["Exercise", "Outcome", "Result", "Wrong", "built", "difference", "is_stub", "run"]

Function = Callable[..., Any]


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


class Outcome(NamedTuple):
    """Result of one call: its value or its error, and how the call changed its inputs."""

    value: Any
    error: BaseException | None
    changed: str | None  # how it changed its inputs; None if it did not


@dataclass(frozen=True)
class Result:
    """Result of a check, shown as text in the notebook."""

    name: str
    ok: bool
    text: str
    attempted: bool = True
    mistake: str | None = None  # name of the known mistake that the attempt matches

    def __repr__(self) -> str:
        """Return only the text, which is what the learner reads."""
        return self.text


@dataclass(frozen=True)
class Exercise:
    """One exercise: calling it with the learner's function checks that function.

    Args:
        solution: the correct function, with the name that it has in the notebook.
        cases: the arguments of each call, by a label that the learner sees.
        wrong: known mistakes by name; each differs from the solution on at least one case.
        hints: from a nudge to nearly the answer.
        tolerance: the largest absolute difference between floats that counts as equal.
        why: one sentence shown with a ✓: why this is right, or what it will be used for.
        returns: the names of the items of a returned tuple, for messages.
        forbidden: names of torch functions that the attempt may not call, such as "softmax".
    """

    solution: Function
    cases: Mapping[str, tuple[Any, ...]]
    wrong: Mapping[str, Wrong]
    hints: Sequence[str]
    tolerance: float = 1e-5
    why: str = ""
    returns: Sequence[str] = ()
    forbidden: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The function's name in the notebook."""
        return self.solution.__name__

    @cached_property
    def variants(self) -> dict[str, Function]:
        """The known mistakes as functions, built on first use; those that cannot be built are left out."""
        built = {}
        for name, wrong in self.wrong.items():
            with suppress(Exception):  # a learner's check continues without it; a test builds all of them
                built[name] = wrong.build(self.solution)
        return built

    def __call__(self, attempt: Function, hint: int = 0) -> Result:
        """Check `attempt`; `hint=1` adds the first hint, `hint=2` the first two, and so on."""
        if not callable(attempt):
            text = f"✗ {self.name}: give the function itself, without calling it; this is {_kind(attempt)}"
            return Result(self.name, False, text)
        try:
            outcomes = {label: run(attempt, args) for label, args in self.cases.items()}
        except KeyboardInterrupt:
            return Result(
                self.name, False, f"✗ {self.name}: stopped by you. Is there a loop that never ends?"
            )
        if all(is_stub(outcome.error) for outcome in outcomes.values()):
            lines = [f"– {self.name}: not attempted yet", *(self._hint_lines(hint) if hint else [])]
            return Result(self.name, False, "\n  ".join(lines), attempted=False)
        expected = {label: run(self.solution, args).value for label, args in self.cases.items()}
        failed = [label for label in self.cases if not self._is_correct(outcomes[label], expected[label])]
        if not failed:
            return self._passed()
        mistake = self._recognize(outcomes)
        lines = [*self._diagnosis(mistake, failed, outcomes, expected), *self._hint_lines(hint)]
        return Result(self.name, False, "\n  ".join(lines), mistake=mistake)

    def _passed(self) -> Result:
        """Return the result of a correct attempt, after noting the progress."""
        chapter = chapter_of(self)
        done = "" if chapter is None else note(chapter, self.name)
        lines = [f"✓ {self.name}: right on all {len(self.cases)} inputs", self.why, done]
        return Result(self.name, True, "\n  ".join(line for line in lines if line))

    def _is_correct(self, outcome: Outcome, expected: Any) -> bool:
        return outcome.error is None and not outcome.changed and self._equal(outcome.value, expected)

    def _equal(self, value: Any, expected: Any) -> bool:
        return difference(value, expected, self.tolerance) is None

    def _recognize(self, outcomes: Mapping[str, Outcome]) -> str | None:
        """Return the known mistake that gives the same outcome in every case, or whose symptom shows."""
        for name, variant in self.variants.items():
            theirs = {label: run(variant, args) for label, args in self.cases.items()}
            if all(self._same_outcome(outcomes[label], theirs[label]) for label in self.cases):
                return name
        for name, wrong in self.wrong.items():
            if any(_has(wrong.symptom, outcomes[label], args) for label, args in self.cases.items()):
                return name
        return None

    def _same_outcome(self, one: Outcome, other: Outcome) -> bool:
        if one.error is not None or other.error is not None:
            return type(one.error) is type(other.error)
        return one.changed == other.changed and self._equal(one.value, other.value)

    def _diagnosis(
        self,
        mistake: str | None,
        failed: list[str],
        outcomes: Mapping[str, Outcome],
        expected: Mapping[str, Any],
    ) -> list[str]:
        if mistake is not None:
            first = f"✗ {self.name}: you match “{mistake}”"
            lines = [first, self.wrong[mistake].question]
        else:
            what = describe(outcomes[failed[0]], expected[failed[0]], self.tolerance)
            lines = [f"✗ {self.name}: not yet. On “{failed[0]}” {what}"]
        passed = [label for label in self.cases if label not in failed]
        lines.append(
            f"wrong on: {'; '.join(failed)}" + (f" · right on: {'; '.join(passed)}" if passed else "")
        )
        return lines

    def _hint_lines(self, hint: int) -> list[str]:
        shown = min(max(hint, 0), len(self.hints))
        lines = [f"hint {i + 1} of {len(self.hints)}: {self.hints[i]}" for i in range(shown)]
        if shown < len(self.hints):
            lines.append(
                f"stuck? add hint={shown + 1} to this check for hint {shown + 1} of {len(self.hints)}"
            )
        return lines


def run(function: Function, args: tuple[Any, ...]) -> Outcome:
    """Call `function` on copies of `args`, so that no attempt can spoil the inputs of the next."""
    inputs, gradients = copy.deepcopy(args), torch.is_grad_enabled()
    try:
        value = function(*inputs)
        left_off = gradients and not torch.is_grad_enabled()
    except (Exception, SystemExit) as error:
        return Outcome(None, error, None)
    finally:
        torch.set_grad_enabled(gradients)
    return Outcome(value, None, "gradients left off" if left_off else difference(inputs, args, 0.0))


def _has(symptom: Callable[..., bool] | None, outcome: Outcome, args: tuple[Any, ...]) -> bool:
    if symptom is None or outcome.error is not None:
        return False
    try:
        return bool(symptom(outcome.value, *copy.deepcopy(args)))
    except Exception:  # the value may be of any kind
        return False


def is_stub(error: BaseException | None) -> bool:
    """Return whether an error is a stub's bare `raise NotImplementedError`; those of torch have a message."""
    return isinstance(error, NotImplementedError) and not error.args


def describe(outcome: Outcome, expected: Any, tolerance: float) -> str:
    """Return one clause that says what is wrong with an outcome."""
    if is_stub(outcome.error):
        return "it still raises NotImplementedError."
    if outcome.error is not None:
        return f"it stops with {type(outcome.error).__name__}: {_short(str(outcome.error))}"
    if outcome.value is None:
        return "it returns None: is a `return` missing?"
    found = difference(outcome.value, expected, tolerance)
    return (
        f"{found}."
        if found
        else "it changes its own inputs: work on a copy, and avoid `-=`, `.pop()` and methods ending in `_`."
    )


def difference(value: Any, expected: Any, tolerance: float) -> str | None:
    """Return how `value` differs from `expected`, or None if they are equal up to `tolerance`.

    Compares tensors, numbers, text, models (mode and weights), and tuples, lists and dictionaries of them.
    """
    if isinstance(expected, Tensor):
        return _tensor_difference(value, expected, tolerance)
    if isinstance(expected, bool | str | type(None)):
        return None if type(value) is type(expected) and value == expected else _unequal(value, expected)
    if isinstance(expected, int | float):
        return _number_difference(value, expected, tolerance)
    if isinstance(expected, dict):
        return _dict_difference(value, expected, tolerance)
    if isinstance(expected, list | tuple):
        return _sequence_difference(value, expected, tolerance)
    if isinstance(expected, nn.Module) and isinstance(value, nn.Module):
        return _model_difference(value, expected, tolerance)
    return None if value is expected or type(value) is type(expected) else _unequal(value, expected)


def _model_difference(value: nn.Module, expected: nn.Module, tolerance: float) -> str | None:
    if [module.training for module in value.modules()] != [module.training for module in expected.modules()]:
        return "the model is in another mode, training or evaluation"
    return difference(dict(value.state_dict()), dict(expected.state_dict()), tolerance)


def _tensor_difference(value: Any, expected: Tensor, tolerance: float) -> str | None:
    if not isinstance(value, Tensor):
        return f"a tensor {tuple(expected.shape)} is expected, yours is {_kind(value)}"
    if value.shape != expected.shape:
        return f"the shape should be {tuple(expected.shape)}, yours is {tuple(value.shape)}"
    half = expected.dtype in (torch.float16, torch.bfloat16)
    if value.is_floating_point() != expected.is_floating_point() or (half and value.dtype != expected.dtype):
        return f"the dtype should be like {expected.dtype}, yours is {value.dtype}"
    one, other = value.detach().double(), expected.detach().double()
    if torch.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True):
        return None
    if not one.isfinite().all():
        return "your result holds NaN or infinity"
    if value.is_floating_point():
        return f"your numbers are off by up to {(one - other).abs().max().item():.4f}"
    differ = (one != other).nonzero().tolist()
    found = value[tuple(differ[0])].item()
    return f"{len(differ)} of {value.numel()} entries differ, first at {differ[0]}, where yours is {found}"


def _number_difference(value: Any, expected: float, tolerance: float) -> str | None:
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"a number is expected, yours is {_kind(value)}"
    close = abs(value - expected) <= tolerance * max(1.0, abs(expected)) or value == expected
    both_nan = math.isnan(value) and math.isnan(expected)
    return None if close or both_nan else _unequal(value, expected)


def _dict_difference(value: Any, expected: dict[Any, Any], tolerance: float) -> str | None:
    if not isinstance(value, dict):
        return f"a dictionary is expected, yours is {_kind(value)}"
    if value.keys() != expected.keys():
        odd = sorted(map(repr, value.keys() ^ expected.keys()))[0]
        return f"the keys differ, at {_short(odd)} first"
    for key in expected:
        found = difference(value[key], expected[key], tolerance)
        if found:
            return f"at {_short(repr(key))}: {found}"
    return None


def _sequence_difference(value: Any, expected: Sequence[Any], tolerance: float) -> str | None:
    if not isinstance(value, list | tuple):
        return f"{_kind(expected)} is expected, yours is {_kind(value)}"
    if len(value) != len(expected):
        return f"{len(expected)} items are expected, yours has {len(value)}: {_short(repr(value))}"
    for index, (one, other) in enumerate(zip(value, expected, strict=True)):
        found = difference(one, other, tolerance)
        if found:
            return f"item {index}: {found}"
    return None


def _unequal(value: Any, expected: Any) -> str:
    if type(value) is not type(expected):
        return f"{_kind(expected)} is expected, yours is {_kind(value)}"
    return f"yours gives {_short(repr(value))}, which is not right"


def _kind(value: Any) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _short(text: str, limit: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
