"""What chapter 2's cells call shows what the tokenizer does, and says so plainly when something is wrong."""

from __future__ import annotations

import pytest

from bertlearn import train_wordpiece
from bertlearn.course.chapters import tokenization as chapter
from bertlearn.tokenizer.wordpiece import longest_match

VOCAB = chapter.as_vocab(["un", "##fat", "##hom", "##able", "film"])


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    chapter.print_table(["unit", "rows"], [["words", 17], ["characters", 2000]])
    assert capsys.readouterr().out == "unit         rows\nwords          17\ncharacters   2000\n"


def test_words_are_printed_in_short_lines(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["##wordpiece"] * 20
    chapter.print_words(words)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 88 and " ".join(lines).split() == words


def test_different_units_are_counted_every_few_steps() -> None:
    assert chapter.growth("abacad", step=2) == ([2, 4, 6], [2, 3, 4])
    picture = chapter.plot_growth([2, 4, 6], [2, 3, 4])
    assert "2 different words after 2, 3 at half the way, 4 after 6" in picture.alt


def test_characters_beyond_ascii_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    chapter.describe("é\tx\a\u0085")
    assert "latin small letter e with acute, tab, bell, u+0085" in capsys.readouterr().out


def test_the_search_shown_is_the_search_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert chapter.show_search("unfathomable", VOCAB) == "un"
    assert chapter.show_search("unfathomable", VOCAB, start=2) == "##fat"
    tried = capsys.readouterr().out.splitlines()
    assert tried[0].split() == ["unfathomable", "no"] and tried[11].split()[0] == "##fathomable"
    assert chapter.show_search("xy", VOCAB) is None


def test_lookups_are_as_many_as_the_search_shows(capsys: pytest.CaptureFixture[str]) -> None:
    start = 0
    for wordpiece in longest_match("unfathomable", VOCAB):
        assert chapter.show_search("unfathomable", VOCAB, start) == wordpiece
        start += len(wordpiece.removeprefix("##"))
    assert chapter.lookups("unfathomable", VOCAB) == len(capsys.readouterr().out.splitlines())


def test_wordpieces_are_counted_as_often_as_their_words() -> None:
    counts = chapter.cut_counts(["[UNK]", *VOCAB], {"film": 3, "unable": 2, "other": 4})
    assert counts == {"film": 3, "un": 2, "##able": 2, "[UNK]": 4}


def test_a_learners_merges_are_compared_and_errors_become_text() -> None:
    learned = train_wordpiece(["a film", "films", "the film"], 40, criterion="frequency", progress=False)
    right = [merge[:2] for merge in learned.merges[:2]]
    assert chapter.compare_merges(learned, lambda: right).startswith("✓ ")
    assert chapter.compare_merges(learned, lambda pairs: pairs, right[::-1]).startswith(
        "✗ your functions find"
    )

    def stub() -> list[tuple[str, str]]:
        raise NotImplementedError

    assert chapter.compare_merges(learned, stub).startswith("– ")
    assert "ZeroDivisionError" in chapter.compare_merges(learned, lambda: [(str(1 // 0), "")])


def test_scripts_are_named() -> None:
    assert [chapter.script_of(piece) for piece in ["film", "##д", "电", "7"]] == [
        "Latin",
        "Cyrillic",
        "Chinese",
        "Digit",
    ]


def test_article_1_is_complete() -> None:
    assert len(chapter.ARTICLE_1) == 12 and all(text[-1] in ".。।" for text in chapter.ARTICLE_1.values())


def test_the_library_learns_wordpieces_under_both_names() -> None:
    texts = ["a fine film", "the finest films of all", "a film of the finest"] * 5
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for learned in chapter.library_vocabularies(texts, special):
        assert {"film", "##s", *special} <= learned
