"""How an exercise is checked: against the solution, and against the mistakes that people make.

A check never shows a traceback or the code of the answer, and it never hangs. It says whether the attempt is
correct. If it is not, the check says which known mistakes it matches, or else shows the smallest input on
which it is wrong, with the expected result; and, on request, one hint after another.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from bertlearn.course.attempt import Outcome, is_stub, run_attempt, timed
from bertlearn.course.built import built, chapter_of, note
from bertlearn.course.compare import (
    described,
    difference,
    find,
    kind,
    relation,
    short,
    show,
    side_by_side,
    size_of,
    sizes_in,
)
from bertlearn.course.mistakes import Mistakes, Wrong
from bertlearn.course.verdict import as_html

__all__ = ["Exercise", "Result", "Wrong", "built"]

Function = Callable[..., Any]

_WIDTH = 90  # of a line with several arguments

# Why an attempt that matches no known mistake is wrong: each is what follows "your answer".
TOO_LONG, RAISED, NOTHING = "took too long", "raised an error", "returned nothing"
CHANGED, FORBIDDEN, WRONG = "changed its input", "called what is not allowed", "gave a wrong result"
REASONS = (TOO_LONG, RAISED, NOTHING, CHANGED, FORBIDDEN, WRONG)


@dataclass(frozen=True)
class Result:
    """Result of a check, shown as text in the notebook."""

    name: str
    ok: bool
    text: str
    attempted: bool = True
    mistakes: tuple[str, ...] = ()  # the known mistakes that the attempt matches: none, one or two
    reason: str = ""  # if it is wrong and matches none: one of `REASONS`, a colon, and what happened

    @property
    def mistake(self) -> str | None:
        """The name of the known mistake, or of the first of two."""
        return self.mistakes[0] if self.mistakes else None

    def __repr__(self) -> str:
        """Return only the text, which is what the learner reads."""
        return self.text

    def _repr_html_(self) -> str | None:
        """Return the text as HTML; a stored notebook keeps what is not attempted as plain text alone."""
        return as_html(self.text) if self.attempted else None


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

    @property
    def variants(self) -> dict[str, Function]:
        """The known mistakes as functions; those that cannot be built are left out."""
        return self._mistakes.functions

    @cached_property
    def _mistakes(self) -> Mistakes:
        return Mistakes(self.solution, self.wrong, self.cases, self.tolerance)

    def __call__(self, attempt: Function, hint: int = 0) -> Result:
        """Check `attempt`; `hint=1` adds the first hint, `hint=2` the first two, and so on."""
        if not callable(attempt):
            return self._result(
                f"✗ {self.name}: give the function itself, without calling it; this is {kind(attempt)}"
            )
        expected = {label: timed(self.solution, args) for label, args in self.cases.items()}
        try:
            outcomes = self._run(attempt, {label: seconds for label, (_, seconds) in expected.items()})
        except KeyboardInterrupt:
            return self._result(
                f"✗ {self.name}: stopped by you. Is there a loop that never ends?",
                reason=f"{RAISED}: it stops with KeyboardInterrupt",
            )
        if all(is_stub(outcome.error) for outcome in outcomes.values()):
            first = f"– {self.name}: not attempted yet"
            if not hint and self.hints:
                first += " (stuck? add hint=1)"
            lines = [first, *(self._hint_lines(hint) if hint else [])]
            return Result(self.name, False, "\n  ".join(lines), attempted=False)
        return self._judge(outcomes, {label: value for label, (value, _) in expected.items()}, hint)

    def _run(self, attempt: Function, seconds: Mapping[str, float]) -> dict[str, Outcome]:
        """Return the outcome of each case, up to one in which the attempt computes for too long."""
        outcomes: dict[str, Outcome] = {}
        for label, args in self.cases.items():
            outcomes[label] = run_attempt(attempt, args, seconds[label], self.forbidden)
            if outcomes[label].timed_out:
                break
        return outcomes

    def _judge(self, outcomes: Mapping[str, Outcome], expected: Mapping[str, Any], hint: int) -> Result:
        slow = next((label for label, outcome in outcomes.items() if outcome.timed_out), None)
        if slow is not None:
            lines = [*self._time_up(slow, outcomes[slow]), *self._hint_lines(hint)]
            return self._result(*lines, reason=_too_long(slow, outcomes[slow]))
        failed = [label for label in self.cases if not self._is_correct(outcomes[label], expected[label])]
        used = self._used(outcomes)
        if not failed:
            if used:
                said = f"the numbers are right, but {used}"
                lines = [f"✗ {self.name}: {said}", *self._hint_lines(hint)]
                return self._result(*lines, reason=f"{FORBIDDEN}: {said}")
            return self._passed()
        mistakes = self._mistakes.recognize(outcomes, failed)
        lines, reason = (self._named(mistakes), "") if mistakes else self._shown(failed, outcomes, expected)
        lines.append(self._tally(failed))
        lines += [f"and one more thing: {used}"] if used else []
        return self._result(*lines, *self._hint_lines(hint), mistakes=mistakes, reason=reason)

    def _result(self, *lines: str, mistakes: tuple[str, ...] = (), reason: str = "") -> Result:
        return Result(self.name, False, "\n  ".join(lines), mistakes=mistakes, reason=reason)

    def _passed(self) -> Result:
        """Return the result of a correct attempt, after noting the progress."""
        chapter = chapter_of(self)
        done = "" if chapter is None else note(chapter, self.name)
        lines = [f"✓ {self.name}: right on all {len(self.cases)} inputs", self.why, done]
        return Result(self.name, True, "\n  ".join(line for line in lines if line))

    def _is_correct(self, outcome: Outcome, expected: Any) -> bool:
        right = outcome.error is None and not outcome.changed
        return right and difference(outcome.value, expected, self.tolerance) is None

    def _time_up(self, label: str, outcome: Outcome) -> list[str]:
        where = f" It was at the line `{outcome.at}`." if outcome.at else ""
        return [
            f"✗ {self.name}: stopped after {outcome.limit:.3g} s of computing on “{label}”.{where} "
            "Does your loop advance?",
            *self._input_lines(label),
            "If a check ever does not come back at all, use Interrupt the kernel, in the Kernel menu.",
        ]

    def _used(self, outcomes: Mapping[str, Outcome]) -> str:
        """Return what to say about forbidden functions, an empty text if none was called."""
        names = sorted({name for outcome in outcomes.values() for name in outcome.used})
        if not names:
            return ""
        return (
            f"your function calls torch's {' and '.join(names)}; the exercise asks you to write it yourself"
        )

    def _named(self, mistakes: tuple[str, ...]) -> list[str]:
        names = " and ".join(f"“{name}”" for name in mistakes)
        both = "two things at once: " if len(mistakes) > 1 else ""
        return [
            f"✗ {self.name}: {both}this looks like {names}",
            *(self.wrong[name].question for name in mistakes),
        ]

    def _shown(
        self, failed: list[str], outcomes: Mapping[str, Outcome], expected: Mapping[str, Any]
    ) -> tuple[list[str], str]:
        """Return the smallest input on which the attempt fails with both results, and the reason."""
        label = min(failed, key=lambda label: size_of(self.cases[label]))
        outcome, right = outcomes[label], expected[label]
        clause = self._clause(label, outcome, right)
        reason = f"{self._kind(outcome, right)}: on “{label}” {clause}"
        lines = [f"✗ {self.name}: not yet. On “{label}” {clause}"]
        lines[0] += self._right_items(outcomes, expected)
        lines += self._input_lines(label)
        if outcome.error is not None or outcome.value is None:
            lines.append(f"expected: {show(right)}")
            return lines, reason
        pair = side_by_side(outcome.value, right, find(outcome.value, right, self.tolerance), self.returns)
        lines += [f"expected: {pair[0]}", f"yours:    {pair[1]}"] if pair else []
        return lines, reason

    def _kind(self, outcome: Outcome, expected: Any) -> str:
        """Return which of `REASONS` an outcome that is not right belongs to."""
        if outcome.error is not None:
            return RAISED
        if outcome.value is None and expected is not None:
            return NOTHING
        return WRONG if difference(outcome.value, expected, self.tolerance) is not None else CHANGED

    def _clause(self, label: str, outcome: Outcome, expected: Any) -> str:
        """Return what is wrong with an outcome, and how it is related to the right one, in one clause."""
        if outcome.error is not None:
            return _error_clause(outcome)
        if outcome.value is None and expected is not None:
            return "it returns None: is a `return` missing?"
        found, related = find(outcome.value, expected, self.tolerance), None
        if found is None:
            return self._changed(label, outcome)
        with suppress(Exception):  # values of any kind may come, and this is only an extra
            related = relation(outcome.value, expected, found, sizes_in(self._named_inputs(label)))
        if found.text.startswith("yours gives"):  # the next lines show both
            found, related = found._replace(text=related or "the result is not right"), None
        text = described(found, expected, self.returns)
        return f"{text}{f': {related}' if related else ''}."

    def _right_items(self, outcomes: Mapping[str, Outcome], expected: Mapping[str, Any]) -> str:
        """Return which items of a returned tuple are right on every input, if some are."""
        values = [(outcome.value, expected[label]) for label, outcome in outcomes.items()]
        count = len(self.returns)
        if any(not isinstance(value, tuple | list) or len(value) != count for value, _ in values):
            return ""
        right = [
            name
            for i, name in enumerate(self.returns)
            if all(difference(value[i], other[i], self.tolerance) is None for value, other in values)
        ]
        if not right:
            return ""
        return f" {' and '.join(right)} {'is' if len(right) == 1 else 'are'} right on every input."

    def _changed(self, label: str, outcome: Outcome) -> str:
        if outcome.changed == "gradients left off":
            return "the result is right, but gradients stay switched off afterwards."
        which = outcome.changed or ""
        names = [name for name, _ in self._named_inputs(label)]
        for index, name in enumerate(names):
            if which.startswith(f"item {index}:"):
                which = name
        tensors = any(isinstance(value, torch.Tensor) for _, value in self._named_inputs(label))
        avoid = "`-=` and methods ending in `_`" if tensors else "`+=`, `del`, `.pop()` and the like"
        inputs = f" `{which}`" if which in names else "s"
        return f"it changes its own input{inputs}: work on a copy; avoid {avoid}."

    def _named_inputs(self, label: str) -> list[tuple[str, Any]]:
        return list(zip(inspect.signature(self.solution).parameters, self.cases[label], strict=False))

    def _input_lines(self, label: str) -> list[str]:
        """Return the arguments of a case, on as many lines as they need."""
        lines = [""]
        for name, value in self._named_inputs(label):
            text = f"{name} = {show(value)}"
            if lines[-1] and len(lines[-1]) + len(text) > _WIDTH:
                lines.append("")
            lines[-1] += f", {text}" if lines[-1] else text
        return [f"{'' if i else 'input:':9} {line}" for i, line in enumerate(lines)]

    def _tally(self, failed: list[str]) -> str:
        passed = [label for label in self.cases if label not in failed]
        return f"wrong on: {'; '.join(failed)}" + (f" · right on: {'; '.join(passed)}" if passed else "")

    def _hint_lines(self, hint: int) -> list[str]:
        shown = min(max(hint, 0), len(self.hints))
        lines = [f"hint {i + 1} of {len(self.hints)}: {self.hints[i]}" for i in range(shown)]
        if shown < len(self.hints):
            lines.append(
                f"stuck? add hint={shown + 1} to this check for hint {shown + 1} of {len(self.hints)}"
            )
        return lines


def _too_long(label: str, outcome: Outcome) -> str:
    where = f", at the line `{short(outcome.at, 80)}`" if outcome.at else ""
    return f"{TOO_LONG}: it was stopped after {outcome.limit:.3g} s of computing on “{label}”{where}"


def _error_clause(outcome: Outcome) -> str:
    if is_stub(outcome.error):
        return "it still raises NotImplementedError."
    where = f", in the line `{short(outcome.at, 80)}`" if outcome.at else ""
    return f"it stops with {type(outcome.error).__name__}: {short(str(outcome.error))}{where}"
