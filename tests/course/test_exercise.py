"""The checks of every chapter: solutions pass, known mistakes are named, garbage never crashes a check."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from html import unescape
from types import ModuleType

import numpy as np
import pytest
import torch

from bertlearn.course import attempt, edits
from bertlearn.course.checks import (
    at_work,
    attention,
    encoder,
    family,
    finetuning,
    modern,
    pretraining,
    sentiment,
    tokenization,
    welcome,
)
from bertlearn.course.compare import difference
from bertlearn.course.edits import Edit, edited
from bertlearn.course.exercise import Exercise, Result, Wrong
from bertlearn.course.solutions import welcome as solution

CHAPTERS = {
    "00_welcome": welcome,
    "01_attention": attention,
    "02_tokenization": tokenization,
    "03_encoder": encoder,
    "04_pretraining": pretraining,
    "05_finetuning": finetuning,
    "06_sentiment": sentiment,
    "07_family": family,
    "08_modern": modern,
    "09_at_work": at_work,
}
VARIANTS_AT_LEAST = 1076


def exercises_of(module: ModuleType) -> dict[str, Exercise]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Exercise)}


EXERCISES = [
    pytest.param(exercise, id=f"{chapter}-{exercise.name}")
    for chapter, module in CHAPTERS.items()
    for exercise in exercises_of(module).values()
]
VARIANTS = [
    pytest.param(exercise, name, id=f"{exercise.name}-{name}")
    for module in CHAPTERS.values()
    for exercise in exercises_of(module).values()
    for name in exercise.wrong
]


def test_no_known_mistake_was_lost() -> None:
    assert len(VARIANTS) >= VARIANTS_AT_LEAST


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_at_least_five_exercises_with_three_wrong_variants_and_hints(chapter: str) -> None:
    exercises = exercises_of(CHAPTERS[chapter])
    assert len(exercises) >= (1 if chapter == "00_welcome" else 5)
    for name, exercise in exercises.items():
        assert exercise.name == name
        assert len(exercise.wrong) >= 3, name
        assert len(exercise.hints) >= 2, name
        assert all(wrong.question.strip() for wrong in exercise.wrong.values()), name


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_right_answer_is_told_why_and_items_have_names(exercise: Exercise) -> None:
    assert exercise.why.strip().endswith(".")
    assert exercise.why in repr(exercise(exercise.solution))
    value = exercise.solution(*copy.deepcopy(next(iter(exercise.cases.values()))))
    if isinstance(value, tuple):
        assert len(exercise.returns) == len(value)
    assert set(exercise.forbidden) <= {
        "softmax",
        "log_softmax",
        "softmin",
        "layer_norm",
        "rms_norm",
        "gelu",
        "cross_entropy",
        "nll_loss",
        "multinomial",
    }


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_solution_passes(exercise: Exercise) -> None:
    result = exercise(exercise.solution)
    assert result.ok, result
    assert repr(result).startswith(f"✓ {exercise.name}")


@pytest.mark.parametrize(("exercise", "name"), VARIANTS)
def test_each_wrong_variant_is_recognized_by_its_own_name(exercise: Exercise, name: str) -> None:
    """A variant can be built (all its edits fit), and differs from the solution and every other variant."""
    result = exercise(exercise.wrong[name].build(exercise.solution))
    assert not result.ok
    assert result.mistake == name
    assert name in repr(result)
    assert exercise.wrong[name].question in repr(result)


def test_an_edit_changes_only_a_copy_of_the_solution() -> None:
    sums = edited(solution.dot, [Edit("x * y", "x + y")])
    assert (sums([1.0], [5.0]), solution.dot([1.0], [5.0])) == (6.0, 5.0)


def test_an_edited_helper_is_the_one_that_the_solution_calls() -> None:
    backward = attention.attention_backward.solution
    no_softmax = edited(backward, [Edit("return ", "return grad_probs + 0 * ", function="softmax_backward")])
    cases = attention.attention_backward.cases
    args = next(iter(cases.values()))
    assert any(difference(a, b, 1e-5) for a, b in zip(no_softmax(*args), backward(*args), strict=True))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit("no such text", ""), "'no such text' occurs 0× in dot"),
        (Edit("b", "a"), r"'b' occurs \d+× in dot, and occurrence=0"),
        (Edit("x * y", "x", occurrence=2), "'x \\* y' occurs 1× in dot, and occurrence=2"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(edit: Edit, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        edited(solution.dot, [edit])


def test_a_given_occurrence_is_edited() -> None:
    second = edited(solution.dot, [Edit("a, b", "b, b", occurrence=2)])
    assert second([1.0], [3.0]) in (9.0, 3.0)


def test_a_check_works_without_a_variant_that_cannot_be_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {"unfit": Wrong("Which?", ("no such text", "")), "sums": Wrong("Which?", ("x * y", "x + y"))}
    exercise = replace(welcome.dot, wrong=wrong)
    assert exercise(lambda a, b: sum(a) + sum(b)).mistake == "sums"

    def no_source(module: ModuleType) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(edits.inspect, "getsource", no_source)
    edits._function_sources.cache_clear()
    assert replace(exercise)(lambda a, b: sum(a) + sum(b)).mistake is None
    assert replace(exercise)(solution.dot).ok


def test_a_known_mistake_is_either_edits_or_a_function() -> None:
    for kwargs in ({}, {"function": solution.dot}):
        edits = (("x", "y"),) if kwargs else ()
        with pytest.raises(ValueError, match="give either edits of the solution or a function"):
            Wrong("Which?", *edits, **kwargs)


def stub(*args: object) -> object:
    raise NotImplementedError


def raises(*args: object) -> object:
    raise RuntimeError("boom <script>\nsecond line")


def spoils(*args: object) -> object:
    for arg in args:
        if isinstance(arg, torch.Tensor) and arg.is_floating_point():
            arg.zero_()
        if isinstance(arg, list | dict):
            arg.clear()
    return args[0]


GARBAGE = [
    lambda *args: None,
    lambda *args: 42,
    lambda *args: "text",
    lambda *args: [],
    lambda *args: torch.zeros(0),
    lambda *args: torch.full((2, 3), float("nan")),
    lambda *args: (None, None),
    lambda *args: {"a": object()},
    lambda *args: args[0],
    lambda *args: exit(),
    lambda: 1,
    raises,
    spoils,
    object,
]


@pytest.mark.parametrize("exercise", EXERCISES)
def test_garbage_never_passes_and_never_crashes(exercise: Exercise) -> None:
    for answer in GARBAGE:
        result = exercise(answer)
        assert not result.ok
        assert "Traceback" not in repr(result)
        assert bool(result.reason) == (result.attempted and callable(answer) and not result.mistakes)
    assert "give the function itself" in repr(exercise(3))


@pytest.mark.parametrize("exercise", EXERCISES)
def test_an_untouched_stub_is_not_attempted(exercise: Exercise) -> None:
    result = exercise(stub)
    assert repr(result) == f"– {exercise.name}: not attempted yet (stuck? add hint=1)"
    assert result._repr_html_() is None, "a stored notebook keeps the text alone"
    assert not result.attempted


def test_a_stub_of_an_exercise_without_hints_is_not_sent_to_one() -> None:
    assert repr(replace(double, hints=[])(stub)) == "– double: not attempted yet"


def test_a_verdict_as_html_is_its_text_with_breaks_between_words() -> None:
    result = double(lambda x: x + 1)
    html = result._repr_html_()
    assert html is not None and "word-break:normal" in html
    lines = [unescape(line) for line in re.findall(r"<span[^>]*>([^<]*)</span>", html)]
    assert lines == repr(result).splitlines()
    assert "<b>" not in str(Result("f", False, "✗ <b>")._repr_html_())


def test_a_hint_helps_before_the_first_attempt() -> None:
    assert repr(double(stub, hint=1)).splitlines()[:2] == [
        "– double: not attempted yet",
        "  hint 1 of 2: Add something to itself.",
    ]


def test_an_error_of_torchs_own_is_an_attempt() -> None:
    def torchs_own(x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError('"softmax" not implemented for "Long"')

    result = double(torchs_own)
    assert result.attempted
    assert "it stops with NotImplementedError" in repr(result)


def double_of(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


double_of.__name__ = "double"
double = Exercise(
    double_of,
    cases={"a one": (torch.ones(2),), "a three": (torch.full((2,), 3.0),)},
    wrong={"squared": Wrong("What is the square of 1?", function=lambda x: x * x)},
    hints=("Add something to itself.", "Add x to x."),
)


def test_the_text_of_a_known_mistake() -> None:
    assert repr(double(lambda x: x**2)) == (
        "✗ double: this looks like “squared”\n  What is the square of 1?\n  wrong on: a one; a three\n"
        "  stuck? add hint=1 to this check for hint 1 of 2"
    )


def test_ids_that_differ_are_counted_and_the_first_is_shown() -> None:
    expected, value = torch.tensor([[2, 7, 9], [4, 4, 4]]), torch.tensor([[2, 7, 8], [4, 4, 0]])
    text = difference(value, expected, 1e-5)
    assert text == "2 of 6 entries differ, first at [0, 2], where yours is 8"
    assert difference(expected, expected.clone(), 1e-5) is None


def test_the_text_of_an_unknown_mistake_and_of_hints() -> None:
    text = repr(double(lambda x: x + 1, hint=2))
    assert "not yet. On “a three” your numbers are off by up to 2.0000.\n" in text
    assert "wrong on: a three · right on: a one" in text
    assert "hint 1 of 2: Add something to itself." in text
    assert text.endswith("hint 2 of 2: Add x to x.")
    assert "it returns None: is a `return` missing?" in repr(double(lambda x: None))
    assert "it stops with RuntimeError: boom <script> second line" in repr(double(raises))


def test_the_reason_is_the_kind_and_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(x: torch.Tensor) -> torch.Tensor:
        while True:
            pass

    monkeypatch.setattr(attempt, "SECONDS", 0.1)
    assert re.fullmatch(
        "took too long: it was stopped after 0.1 s of computing on “a one”, at the line `(while True:|pass)`",
        double(endless).reason,
    )
    assert double(lambda x: x + 1).reason == (
        "gave a wrong result: on “a three” your numbers are off by up to 2.0000."
    )
    assert double(raises).reason.startswith(
        "raised an error: on “a one” it stops with RuntimeError: boom <script> second line, in the line `"
    )
    assert double(lambda x: None).reason == (
        "returned nothing: on “a one” it returns None: is a `return` missing?"
    )
    assert double(lambda x: x.mul_(2)).reason.startswith("changed its input: on “a one” it changes its own")
    forbidding = replace(double, forbidden=["add"])
    assert forbidding(lambda x: torch.add(x, x)).reason == (
        "called what is not allowed: the numbers are right, but your function calls torch's add; the "
        "exercise asks you to write it yourself"
    )
    assert double(lambda x: x**2).reason == double(lambda x: x + x).reason == ""


def test_stopping_an_endless_loop_leaves_no_traceback() -> None:
    def endless(x: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt  # what the stop button does to a loop

    result = double(endless)
    assert repr(result) == "✗ double: stopped by you. Is there a loop that never ends?"
    assert result.reason == "raised an error: it stops with KeyboardInterrupt"


def test_an_attempt_that_changes_its_inputs_is_reported() -> None:
    result = double(lambda x: x.mul_(2))
    assert not result.ok
    assert "it changes its own input `x`" in repr(result)


@pytest.mark.parametrize(
    ("value", "expected", "message"),
    [
        (torch.ones(2, 3), torch.ones(3, 2), r"the shape should be \(3, 2\), yours is \(2, 3\)"),
        ([1.0], torch.ones(1), "a tensor .* is expected, yours is a list"),
        (torch.ones(1, dtype=torch.int64), torch.ones(1), "dtype"),
        (torch.tensor([float("inf")]), torch.ones(1), "NaN or infinity"),
        (True, 1, "a number is expected, yours is a bool"),
        (2, 1, "yours gives 2"),
        ("a", "b", "yours gives 'a'"),
        ({"a": 1}, {"b": 1}, "the keys differ"),
        ({"a": 1}, {"a": 2}, "at 'a'"),
        ((1, 2), (1, 3), "item 1"),
        ((1,), (1, 3), "2 items are expected, yours has 1"),
    ],
)
def test_differences_are_described(value: object, expected: object, message: str) -> None:
    assert re.search(message, difference(value, expected, 1e-5))


def test_equal_values_have_no_difference() -> None:
    for value in (torch.ones(2), [1, (2.0, "a")], {"k": [torch.zeros(1)]}, None, True, float("inf"), 3):
        assert difference(value, value, 0.0) is None
    assert difference([1, 2], (1, 2), 0.0) is None
    assert difference(torch.tensor(2.0), 2, 1e-6) is None


def test_numbers_of_numpy_are_numbers_but_its_booleans_are_not() -> None:
    assert difference(np.float32(2.0), 2.0, 1e-6) is None
    assert difference([np.int64(3)], [3], 0.0) is None
    assert difference(np.bool_(True), 1, 0.0) == "a number is expected, yours is a bool"


def test_models_differ_in_mode_and_in_weights() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    other = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    assert "'0.weight'" in difference(other, model, 1e-5)
    other.load_state_dict(model.state_dict())
    assert difference(other, model, 0.0) is None
    other[1].eval()
    assert "in another mode" in difference(other, model, 0.0)


def test_a_symptom_is_used_if_no_variant_gives_the_same_values() -> None:
    wrong = {
        "squared": Wrong("What is the square of 1?", function=lambda x: x * x),
        "negative": Wrong(
            "Which sign?", function=lambda x: -x, symptom=lambda value, x: bool((value < 0).all())
        ),
    }
    exercise = replace(double, wrong=wrong)
    assert exercise(lambda x: -3 * x).mistake == "negative"
    assert exercise(lambda x: x * x).mistake == "squared"
    assert exercise(lambda x: 3 * x).mistake is None
    assert exercise(lambda x: "text").mistake is None  # a symptom that raises does not count
    assert exercise(raises).mistake is None
    fuzzy = replace(
        double,
        wrong={"fuzzy": Wrong("Which sign?", function=lambda x: -x, symptom=lambda value, x: value < 0)},
    )
    assert fuzzy(lambda x: -2 * torch.ones(5)).mistake is None  # nor does one that is neither true nor false
