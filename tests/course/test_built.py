"""What the learner has built: a ✓ is noted, counted and shown; without progress the card never changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bertlearn.course import built as card
from bertlearn.course import progress
from bertlearn.course.checks import CHAPTERS, attention, encoder
from bertlearn.course.exercise import built


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path))
    yield tmp_path
    progress._in_memory.clear()


def test_a_card_without_progress_is_fixed_text() -> None:
    text = "Chapter 1: what you have built\n  – nothing yet:  an exercise appears here once its check says ✓"
    assert repr(built(1)) == text
    assert "what you have built" in built(1)._repr_html_()
    attention.softmax(lambda x: x)
    assert repr(built(1)) == text


def test_a_solved_exercise_is_counted_once_and_stays() -> None:
    check = replace(attention.softmax, why="Every weight <b>so far</b> & later.")
    assert "1 of 7 exercises of this chapter" in repr(check(check.solution))
    assert "Every weight <b>so far</b> & later." in repr(check(check.solution))
    assert "1 of 7 exercises" in repr(check(check.solution))
    check(lambda x: x)
    assert "2 of 7" in repr(attention.merge_heads(attention.merge_heads.solution))
    text = repr(built(1))
    assert text.startswith("Chapter 1: what you have built, 2 of 7\n  ✓ softmax")
    assert "– additive_mask" in text
    assert "✓ merge_heads" in text


def test_a_card_is_text_not_markup() -> None:
    shown = card.Card(1, {"<i>f": "a < b & <script>"}, frozenset({"<i>f"}))._repr_html_()
    assert "<i>" not in shown
    assert "a &lt; b &amp; &lt;script&gt;" in shown


def test_exercises_of_one_name_in_two_chapters_are_kept_apart() -> None:
    encoder.mean_pooling(encoder.mean_pooling.solution)
    assert "✓ mean_pooling" in repr(built(3))
    assert "nothing yet" in repr(built(5))


def test_all_of_a_chapter(folder: Path) -> None:
    entries = dict.fromkeys(
        [*card._exercises(1), "<script>", "an exercise of an older edition"], "2026-01-01"
    )
    (folder / "chapter_1.json").write_text(json.dumps({"exercises": entries}))
    assert repr(built(1)).startswith("Chapter 1: what you have built, all of it")
    assert "script" not in built(1)._repr_html_()
    assert "That makes all 7 exercises" in repr(attention.softmax(attention.softmax.solution))


def test_every_chapter_has_a_card_and_others_are_refused() -> None:
    for chapter in CHAPTERS:
        assert built(chapter).exercises
    with pytest.raises(ValueError, match="chapter=99 has no exercises"):
        built(99)


def test_an_exercise_of_ones_own_is_no_part_of_a_chapter() -> None:
    own = replace(attention.softmax, solution=lambda x: x)
    assert repr(own(lambda x: x)) == "✓ <lambda>: right on all 7 inputs"
