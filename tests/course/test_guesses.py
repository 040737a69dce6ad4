"""Guesses: asked, kept on disk, compared with the result, and summed up for a class."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from IPython.core.formatters import format_display_data

from bertlearn.course import guesses as module
from bertlearn.course import progress
from bertlearn.course.guess_cards import two_curves
from bertlearn.course.guess_exports import FORMAT
from bertlearn.course.guess_kinds import POINTS, Choice, Curve, Number, number_text
from bertlearn.course.guesses import Guesses, summarize
from bertlearn.course.widgets import guess_field
from bertlearn.course.widgets.guess_field import GuessField

HOSTILE = "<img src=x onerror=alert(1)> </script> $x$ & “a”"
FALLING = [10.0, 8.0, 6.0, 5.0, 4.0, 3.5, 3.0, 2.5, 2.0]
TRUE_CURVE = ([0, 5000], [10.5, 4.1])


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was displayed, as objects, instead of in a notebook."""
    displayed: list[Any] = []
    monkeypatch.setattr(module, "display", displayed.append)
    return displayed


def ask(chapter: int = 1) -> Guesses:
    guess = Guesses(chapter)
    guess.number("sharpest", "Largest weight at temperature ¼", low=0, high=1)
    guess.choice("it", "Which word does “it” look at?", "animal", "street", "itself")
    guess.curve("loss", "Held-out loss", x=(0, 5000), y=(0, 11), xlabel="step", ylabel="loss in nats")
    return guess


def texts(shown: list[Any]) -> list[str]:
    return [repr(each) for each in shown if not isinstance(each, GuessField)]


def htmls(shown: list[Any]) -> str:
    return "".join(each._repr_html_() or "" for each in shown if not isinstance(each, GuessField))


def test_without_a_guess_results_are_one_line_each(shown: list[Any]) -> None:
    guess = ask()
    guess.result("sharpest", 0.98123, within=0.1)
    guess.result("it", "animal")
    guess.result("loss", TRUE_CURVE)
    guess.card()
    assert texts(shown) == [
        "Result: 0.981",
        "Result: animal",
        "Result: from 10.5 (step: 0) to 4.1 (step: 5,000)",
        "You have made no guesses in this chapter yet.",
    ]
    assert htmls(shown) == ""


def test_an_entry_that_was_not_committed_counts_when_the_result_is_shown(shown: list[Any]) -> None:
    guess = ask()
    for field, entry in zip(shown, (0.6, "street", FALLING), strict=True):
        field.draft = entry  # as the page sets it
    guess.result("sharpest", 0.98)
    assert texts(shown) == [
        "You did not press Commit, so your last entry counts as your guess.",
        "You said 0.6, it is 0.98: off by 0.38",
    ]
    guess.result("it", "animal")
    guess.result("loss", TRUE_CURVE)
    assert [field.guess for field in shown[:3]] == [0.6, "street", FALLING]
    assert all(field.locked for field in shown[:3])
    assert progress.load(1, "guesses")["it"]["guess"] == "street"


def test_a_committed_guess_stands_against_a_later_entry(shown: list[Any]) -> None:
    guess = ask()
    guess.commit("sharpest", 0.6)
    shown[0].draft = 0.9
    guess.result("sharpest", 0.98)
    assert texts(shown) == ["You said 0.6, it is 0.98: off by 0.38"]
    assert shown[0].draft == 0.6, "the field shows what was counted"


def test_an_entry_that_answers_nothing_is_not_counted(shown: list[Any]) -> None:
    guess = ask()
    shown[0].draft = 7
    guess.result("sharpest", 0.98)
    expected = "(your entry was not counted: 7 is out of range; expected a number from 0 to 1)"
    assert texts(shown) == [f"Result: 0.98 {expected}"]
    assert not shown[0].locked and "sharpest" not in progress.load(1, "guesses")


def test_a_forgotten_entry_does_not_count(shown: list[Any]) -> None:
    guess = ask()
    shown[0].draft = 0.6
    guess.forget("sharpest")
    guess.result("sharpest", 0.98)
    assert texts(shown) == ["Result: 0.98"]


def published(field: GuessField, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    outputs: list[dict[str, str]] = []
    monkeypatch.setattr(guess_field, "publish_display_data", lambda data, **_: outputs.append(data))
    field._publish_still()
    (output,) = outputs
    return output


def test_the_fields_stored_output_is_the_same_with_and_without_a_guess(
    shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    guess = ask()
    before = [published(field, monkeypatch) for field in shown]
    guess.commit("sharpest", 0.6)
    guess.commit("it", "street")
    guess.commit("loss", FALLING)
    guess.result("it", "animal")
    again: list[Any] = []
    monkeypatch.setattr(module, "display", again.append)
    ask()
    assert [published(field, monkeypatch) for field in again] == before
    assert [field.guess for field in again] == [0.6, "street", FALLING], "the fields do hold the guesses"
    assert before[0]["text/plain"] == (
        "Your guess. Largest weight at temperature ¼. Run this cell to answer with a number from 0 to 1."
    )
    assert "“animal”, “street” or “itself”" in before[1]["text/plain"]


def test_a_guess_is_shown_next_to_the_result(shown: list[Any]) -> None:
    guess = ask()
    guess.commit("sharpest", 0.6)
    guess.commit("it", "street")
    guess.commit("loss", FALLING)
    guess.result("sharpest", 0.98, within=0.1)
    guess.result("it", "animal")
    guess.result("loss", TRUE_CURVE)
    assert texts(shown) == [
        "You said 0.6, it is 0.98: off by 0.38",
        "You said “street”, it is “animal”: not what you expected",
        "You drew a curve from 10 to 2, it goes from 10.5 to 4.1: off by 23% of the axis on average",
    ]
    html = htmls(shown)
    assert all(text in html for text in ("0.6", "0.98", "Off by 0.38", "“street”", "“animal”"))
    assert re.search(r'<img alt="Two curves of loss in nats over step\. Your guess goes from 10 to 2', html)


def test_the_distance_of_curves_is_their_mean_distance() -> None:
    curve = Curve("q", (0, 10), (0, 4), "x", "y")
    above = curve.truth(([0, 10], [3, 3]))
    assert curve.judge([1.0] * POINTS, above, None).text == "off by 50% of the axis on average"
    assert curve.judge([1.0] * POINTS, above, 0.5).hit and not curve.judge([1.0] * POINTS, above, 0.49).hit
    only_right = curve.truth(([5, 10], [3, 3]))
    guess = [0.0] * (POINTS // 2) + [3.0] * (POINTS - POINTS // 2)
    assert curve.judge(guess, only_right, 0.0).hit, "only where the result is known"
    assert curve.judge(guess, curve.truth(([10, 0, 5], [3, 3, 3])), 0.0).hit is False


@pytest.mark.parametrize(
    ("guess", "truth", "within", "hit", "text"),
    [
        (0.9, 0.98, 0.1, True, "a hit, off by 0.08"),
        (0.88, 0.98, 0.1, True, "a hit, off by 0.1"),
        (0.87, 0.98, 0.1, False, "off by 0.11"),
        (0.98, 0.98, 0.0, True, "a hit"),
        (0.95, 0.99, None, True, "a hit, off by 0.04"),
        (0.9, 0.99, None, False, "off by 0.09"),
    ],
)
def test_hits(guess: float, truth: float, within: float | None, hit: bool, text: str) -> None:
    verdict = Number("q", 0, 1).judge(guess, truth, within)
    assert (verdict.hit, verdict.text) == (hit, text)


def test_numbers_without_limits_are_judged_by_a_tenth_of_the_result_and_show_their_unit() -> None:
    number = Number("q", unit="ms")
    assert number.judge(91, 100, None).hit and not number.judge(89, 100, None).hit
    assert number.judge(80, 100, None).text == "off by 20 ms"
    assert Number("q", 0, 100, "%").judge(50, 80, 5).text == "off by 30 percentage points"
    assert (number.text(12.345), Number("q", unit="%").text(98)) == ("12.3 ms", "98%")


def test_numbers_as_text() -> None:
    shown = [0, 0.98123, 12.345, 999.6, 1234.56, 110_104_890, 0.000012345, -0.5, 2.0]
    expected = ["0", "0.981", "12.3", "1,000", "1,235", "110,100,000", "0.0000123", "-0.5", "2"]
    assert [number_text(value) for value in shown] == expected


def test_a_close_guess_and_its_result_do_not_look_the_same(shown: list[Any]) -> None:
    guess = ask()
    guess.commit("sharpest", 0.981)
    guess.result("sharpest", 0.98123)
    assert texts(shown) == ["You said 0.981, it is 0.98123: a hit, off by 0.00023"]


@pytest.mark.parametrize("truth", [torch.tensor(0.98), np.float32(0.98), 0.98])
def test_a_result_may_come_from_torch_or_numpy(shown: list[Any], truth: Any) -> None:
    guess = ask()
    guess.commit("sharpest", 0.98)
    guess.result("sharpest", truth, within=0.01)
    guess.commit("loss", FALLING)
    guess.result("loss", (torch.arange(3.0) * 2500, np.array([10.5, 7.0, 4.1])))
    assert json.loads(json.dumps(progress.load(1, "guesses")))["sharpest"]["hit"] is True
    assert len(progress.load(1, "guesses")["loss"]["result"]) == POINTS


ANSWERS: list[tuple[str, Any, str]] = [
    ("unheard", 1, "no guess is named 'unheard'"),
    ("sharpest", "animal", "expected a number"),
    ("sharpest", float("nan"), "finite"),
    ("sharpest", True, "expected a number"),
    ("sharpest", torch.ones(2), "expected a number"),
    ("it", "cat", "“animal”, “street” or “itself”"),
    ("it", 1, "“animal”, “street” or “itself”"),
    ("loss", 3, r"expected \(xs, ys\)"),
    ("loss", ([1, 2], [1]), "2 xs and 1 ys"),
    ("loss", ([0, 5000], [1, float("inf")]), "finite"),
    ("loss", ([9000, 9999], [1, 2]), "the axis shows"),
]


@pytest.mark.parametrize(("name", "truth", "message"), ANSWERS)
def test_a_result_that_answers_no_question_is_refused(
    shown: list[Any], name: str, truth: Any, message: str
) -> None:
    guess = ask()
    with pytest.raises(ValueError, match=message):
        guess.result(name, truth)


def test_a_tolerance_has_to_be_one(shown: list[Any]) -> None:
    guess = ask()
    guess.commit("it", "animal")
    guess.commit("sharpest", 1)
    with pytest.raises(ValueError, match="a choice is right or wrong"):
        guess.result("it", "animal", within=1)
    with pytest.raises(ValueError, match="within=-1"):
        guess.result("sharpest", 1, within=-1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Guesses(-1),
        lambda: Guesses("1"),  # type: ignore[arg-type]
        lambda: Number("", 0, 1),
        lambda: Number("q", 1, 0),
        lambda: Number("q", float("nan")),
        lambda: Choice("q", ("one",)),
        lambda: Choice("q", ("one", "one")),
        lambda: Choice("q", ("one", " ")),
        lambda: Curve("q", (0, 0), (0, 1), "x", "y"),
        lambda: Curve("q", 5, (0, 1), "x", "y"),  # type: ignore[arg-type]
        lambda: Curve("q", (0, 1), (0, 1), "", "y"),
        lambda: ask().number("", "q"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(shown: list[Any], make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"expected|has to be below"):
        make()


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        *[("sharpest", guess) for guess in (1.1, -1, "0.5", None, True, float("inf"))],
        *[("it", guess) for guess in ("cat", 0, None)],
        *[("loss", guess) for guess in ([1] * 8, [1] * 8 + [12], [1] * 8 + ["1"], 3, "123456789")],
    ],
)
def test_a_guess_that_answers_no_question_is_refused(shown: list[Any], name: str, guess: Any) -> None:
    guesses = ask()
    with pytest.raises(ValueError, match="expected"):
        guesses.commit(name, guess)
    assert progress.load(1, "guesses") == {}


def from_the_page(field: GuessField, guess: Any) -> str:
    number = field.asked.get("guess", [0])[0] + 1
    field.set_trait("asked", {"guess": [number, {"guess": guess}]})
    assert field.answered["guess"][0] == number
    return field.answered["guess"][1]


def test_a_guess_from_the_page_is_kept_on_disk_and_found_by_the_next_kernel(shown: list[Any]) -> None:
    ask()
    assert from_the_page(shown[0], 0.6) == ""
    assert from_the_page(shown[1], "cat").startswith("your guess is 'cat'")
    assert shown[1].guess is None
    guess = ask()
    assert shown[-3].guess == 0.6 and not shown[-3].locked
    guess.result("sharpest", 0.98)
    assert texts(shown) == ["You said 0.6, it is 0.98: off by 0.38"]


def test_a_guess_can_be_changed_until_its_result_was_shown(shown: list[Any]) -> None:
    guess = ask()
    assert from_the_page(shown[0], 0.6) == from_the_page(shown[0], 0.7) == ""
    guess.result("sharpest", 0.98)
    assert shown[0].locked and not shown[1].locked
    assert "stays as it is" in from_the_page(shown[0], 0.98)
    ask()
    assert shown[-3].locked and shown[-3].guess == 0.7, "also after the question was asked again"
    guess.result("sharpest", 0.5)
    assert texts(shown)[-1].startswith("You said 0.7, it is 0.5")
    guess.forget("sharpest")
    guess.commit("sharpest", 0.5)
    assert progress.load(1, "guesses")["sharpest"]["guess"] == 0.5


def test_a_guess_on_disk_that_no_longer_answers_the_question_is_left_out(shown: list[Any]) -> None:
    ask().commit("sharpest", 0.6)
    guess = Guesses(1)
    guess.choice("sharpest", "Which?", "0.6", "0.7")
    guess.result("sharpest", "0.7")
    guess.number("sharpest", "How many?", low=1, high=9)
    guess.result("sharpest", 3)
    assert texts(shown) == ["Result: 0.7", "Result: 3"]


@pytest.mark.parametrize(
    "entry",
    [
        None,
        3,
        {},
        {"kind": "number", "question": "q", "said": 3, "guess": 1},
        {"kind": "song", "question": "q", "said": "3", "guess": 1},
        {"kind": "number", "question": "q", "said": "3", "guess": 1, "result": 2, "hit": "yes"},
    ],
)
def test_a_damaged_file_counts_as_no_guess(shown: list[Any], entry: Any) -> None:
    progress.save(1, "guesses", {"sharpest": entry})
    guess = ask()
    guess.result("sharpest", 0.98)
    guess.card()
    assert texts(shown) == ["Result: 0.98", module.NONE_YET]


def test_chapters_do_not_share_guesses(shown: list[Any]) -> None:
    ask(1).commit("sharpest", 0.6)
    ask(2).result("sharpest", 0.98)
    assert texts(shown) == ["Result: 0.98"]


def test_the_card_shows_all_guesses_and_counts_the_hits(shown: list[Any]) -> None:
    guess = ask()
    guess.commit("sharpest", 0.6)
    guess.commit("it", "animal")
    guess.commit("loss", FALLING)
    guess.result("sharpest", 0.98)
    guess.result("it", "animal")
    guess.card()
    assert texts(shown)[-1].splitlines() == [
        "Your guesses in this chapter: 1 of 2 was a hit",
        "  Largest weight at temperature ¼: you said 0.6, it is 0.98: off by 0.38",
        "  Which word does “it” look at? you said “animal”, it is “animal”: a hit",
        "  Held-out loss: you drew a curve from 10 to 2: the result was not shown yet",
    ]
    cells = re.findall("<td[^>]*>([^<]*)</td>", htmls(shown[-1:]))
    assert cells[:4] == ["Largest weight at temperature ¼", "0.6", "0.98", "Off by 0.38"]
    assert cells[7] == "✓ A hit"


def test_texts_never_become_html(shown: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    guess = Guesses(1)
    guess.choice("a", HOSTILE, HOSTILE, "other")
    guess.number("b", HOSTILE, 0, 1, HOSTILE)
    guess.curve("c", HOSTILE, (0, 1), (0, 1), HOSTILE, HOSTILE)
    fields = shown[:3]
    for name, answer in (("a", "other"), ("b", 0.5), ("c", [0.5] * POINTS)):
        guess.commit(name, answer)
    guess.result("a", HOSTILE)
    guess.result("b", 0.7)
    guess.result("c", ([0, 1], [0, 1]))
    guess.card()
    html = htmls(shown) + "".join(published(field, monkeypatch)["text/html"] for field in fields)
    assert HOSTILE in texts(shown)[0]
    assert "<img src=x" not in html and "</script>" not in html
    assert html.count("&lt;img src=x") >= 10


def test_in_a_notebook_a_result_is_text_and_html(shown: list[Any]) -> None:
    guess = ask()
    guess.commit("sharpest", 0.6)
    guess.result("sharpest", 0.98)
    data, _ = format_display_data(shown[-1])
    assert data["text/plain"] == "You said 0.6, it is 0.98: off by 0.38" and "Off by" in data["text/html"]


def test_outside_a_notebook_everything_is_a_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    guess = Guesses(1)
    guess.number("n", "How many heads?", low=1)
    guess.commit("n", 12)
    guess.result("n", 12)
    assert capsys.readouterr().out.splitlines() == [
        "Your guess. How many heads? Run this cell to answer with a number of at least 1.",
        "You said 12, it is 12: a hit",
    ]


# ── a class ──


def exported(path: Path, number: float, choice: str, end: float) -> Path:
    guess = ask()
    guess.commit("sharpest", number)
    guess.commit("it", choice)
    guess.commit("loss", [*FALLING[:-1], end])
    guess.result("sharpest", 0.98)
    guess.result("it", "animal")
    guess.result("loss", TRUE_CURVE)
    guess.export(path)
    guess.forget()
    return path


def test_an_export_holds_the_guesses_and_no_name(shown: list[Any], tmp_path: Path) -> None:
    path = exported(tmp_path / "é.json", 0.6, "street", 2)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["chapter"] == 1 and content["format"] == FORMAT
    assert content["guesses"][0] == {
        "name": "sharpest",
        "kind": "number",
        "question": "Largest weight at temperature ¼",
        "unit": "",
        "guess": 0.6,
        "result": 0.98,
        "hit": False,
    }
    assert texts(shown)[-1] == f"3 guesses of chapter 1 written to {path}, without your name."
    ask().export(tmp_path / "none.json")
    assert "Nothing was written" in texts(shown)[-1] and not (tmp_path / "none.json").exists()


def test_a_class_is_summed_up(shown: list[Any], tmp_path: Path) -> None:
    guesses = [
        (0.2, "street", 1),
        (0.5, "street", 2),
        (0.6, "street", 4),
        (0.7, "animal", 5),
        (0.98, "itself", 6),
    ]
    paths = [exported(tmp_path / f"{i}.json", *guess) for i, guess in enumerate(guesses)]
    (tmp_path / "song.json").write_text("la la", encoding="utf-8")
    summary = summarize([*paths, tmp_path / "song.json", str(tmp_path / "gone.json")])
    assert repr(summary).splitlines() == [
        "Guesses from 5 files",
        "  Chapter 1. Largest weight at temperature ¼: Half of you said 0.5 to 0.7; it is 0.98. "
        "Most of you (4 of 5) said too little. 1 of 5 hit",
        "  Chapter 1. Which word does “it” look at? Most of you expected “street” (3 of 5); it is “animal”, "
        "as 1 of you expected. 1 of 5 hit",
        "  Chapter 1. Held-out loss: At the left end: at least half of you said 10. At the right end: half "
        "of you said 2 to 5. It goes from 10.5 to 4.1. 0 of 5 hit",
        "  Left out song.json: not a JSON file",
        "  Left out gone.json: no such file",
    ]
    assert "<td" in summary._repr_html_() and "song.json" in summary._repr_html_()


def test_a_class_that_is_split(shown: list[Any], tmp_path: Path) -> None:
    paths = [exported(tmp_path / f"{i}.json", i / 4, word, i) for i, word in enumerate(["animal", "street"])]
    assert "You were split: “animal” (1), “street” (1); it is “animal”." in repr(summarize(paths))


def edited(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    content["guesses"][0].update(changes)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    "changes",
    [
        {"guess": "0.6"},
        {"guess": True},
        {"guess": 10**400},
        {"guess": float("nan")},
        {"guess": [1, 2]},
        {"result": "x"},
        {"hit": "yes"},
        {"kind": "song"},
        {"kind": ["number"]},
        {"question": "x" * 501},
        {"question": None},
        {"unit": 3},
        {"name": "it"},
    ],
)
def test_a_file_with_wrong_values_is_left_out(
    shown: list[Any], tmp_path: Path, changes: dict[str, Any]
) -> None:
    good, bad = (exported(tmp_path / f"{name}.json", 0.6, "street", 2) for name in ("good", "bad"))
    edited(bad, **changes)
    summary = repr(summarize([good, bad]))
    assert summary.startswith("Guesses from 1 file\n") and "Left out bad.json: " in summary


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"format": "bertlearn guesses 1"}',
        b'{"format": "bertlearn guesses 1", "chapter": true, "guesses": []}',
        b'{"format": "bertlearn guesses 1", "chapter": 1, "guesses": [3]}',
        b'{"format": "bertlearn guesses 1", "chapter": ' + b"1" * 5000 + b', "guesses": []}',
        b" " * 1_000_001,
    ],
)
def test_a_damaged_file_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    summary = repr(summarize([tmp_path / "bad.json"]))
    assert summary.startswith("Guesses from 0 files\n  Left out bad.json: ")
    assert len(summary) < 300


def test_a_hostile_file_changes_neither_page_nor_terminal(shown: list[Any], tmp_path: Path) -> None:
    path = exported(tmp_path / "<b>x.json", 0.6, "street", 2)
    edited(path, question=f"{HOSTILE}\x1b[2J\r\n\u202e", unit="\x07<i>")
    bad = exported(tmp_path / "<img>.json", 0.6, "street", 2)
    edited(bad, kind="<img>\x1b")
    summary = summarize([path, bad])
    assert HOSTILE in summary.text and not set(summary.text) & set("\x1b\r\x07\u202e")
    assert len(summary.text.splitlines()) == 5
    html = summary._repr_html_()
    assert html is not None and "<img" not in html and "<i>" not in html and "<b>" not in html


def test_the_numbers_below_two_curves_do_not_touch() -> None:
    question = Curve("Words", (0, 225_000), (0, 20_000), "words read", "different words")
    picture = two_curves(question, [1000.0] * POINTS, (np.array([0.0, 225_000.0]), np.array([0.0, 18_000.0])))
    picture.figure.draw_without_rendering()
    labels = picture.figure.axes[0].get_xticklabels()
    assert "200,000" in [label.get_text() for label in labels]
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 + 5 < right.x0 for left, right in pairwise(boxes))
