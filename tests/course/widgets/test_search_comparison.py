"""The search comparison's state: what is sent of each search, its excerpts, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from bertlearn.course.searching import Match, Part, WordSearch
from bertlearn.course.widgets import SearchComparison
from bertlearn.course.widgets.excerpt import BEGINNING, LONGEST, SIDE, WINDOWS, excerpt, level
from tests.every_widget import HOSTILE

TEXTS = ["Three blind men rob a bank.", "A heist without a plan.", "Two women open a bank.", "Music only."]
TITLES = ["Aankhen", "Heist", "Bank", "Song"]


class Fixed:
    """A search that finds the same documents for each query, and counts its calls."""

    def __init__(self, *found: Match) -> None:
        self.found, self.asked = list(found), []

    def search(self, query: str, k: int = 10) -> list[Match]:
        if "refused" in query:
            raise ValueError("query is refused")
        self.asked.append((query, k))
        return self.found[:k]


def part(text: str, word: str, share: float) -> Part:
    at = text.find(word)
    return Part(word, share, at, at + len(word)) if at >= 0 else Part(word, share, None, None)


def match(row: int, score: float, **shares: float) -> Match:
    return Match(row, score, [part(TEXTS[row], word, share) for word, share in shares.items()])


def comparison(**changes: Any) -> SearchComparison:
    weights = Fixed(match(0, 7.12345, robbery=0.6, bank=0.3, thief=0.1, jail=-0.1), match(1, 2.0, heist=1.0))
    arguments = {
        "systems": {"words": WordSearch(TEXTS), "weights": weights},
        "texts": TEXTS,
        "titles": TITLES,
        "queries": ["blind bank", "music"],
        "k": 3,
    }
    return SearchComparison(**(arguments | changes))


def marked(found: dict[str, Any]) -> list[str]:
    return [text for text, strength, _ in found["excerpt"] if strength]


# 1. The answer


def test_each_search_answers_with_what_it_found() -> None:
    words, weights = comparison().answer["columns"]
    assert [words["system"], weights["system"]] == ["words", "weights"]
    assert [(found["row"], found["title"]) for found in words["found"]] == [(0, "Aankhen"), (2, "Bank")]
    assert [marked(found) for found in words["found"]] == [["blind", "bank"], ["bank"]]
    first = weights["found"][0]
    assert (first["score"], first["added"]) == (7.1235, [["robbery", 0.6], ["thief", 0.1]])
    assert first["excerpt"] == [["Three blind men rob a ", 0, 0.0], ["bank", 3, 0.3], [".", 0, 0.0]]
    assert first["matched"] == [["robbery", 0.6], ["bank", 0.3], ["thief", 0.1]]


def test_all_examples_are_answered_at_the_beginning() -> None:
    weights = Fixed(match(3, 1.0, Music=1.0))
    widget = comparison(systems={"weights": weights})
    assert [answer["query"] for answer in widget.examples] == widget.queries == ["blind bank", "music"]
    assert weights.asked == [("blind bank", 3), ("music", 3)]
    assert widget.query == "blind bank" and widget.answer == widget.examples[0]
    widget.query = "music"
    assert widget.answer == widget.examples[1] and len(weights.asked) == 2, "nothing is computed again"


def test_a_query_is_answered_once() -> None:
    weights = Fixed(match(3, 1.0, Music=1.0))
    widget = comparison(systems={"weights": weights})
    widget.query = "a song"
    assert weights.asked[2:] == [("a song", 3)] and widget.answer["query"] == "a song"
    assert repr(widget) == "[widget] Search comparison: “a song”; first of weights: Song."


def test_nothing_found_is_an_answer() -> None:
    widget = comparison(queries=["unseen"])
    assert widget.answer["columns"][0]["found"] == []
    assert "first of words: nothing; of weights: Aankhen" in widget.description
    assert "Found by words: nothing; by weights: Aankhen, Heist." in widget.picture().alt


def test_a_refused_query_changes_nothing() -> None:
    widget = comparison()
    before = widget.answer
    wrong = (
        ("", "query is empty"),
        ("  ", "query is empty"),
        ("x" * 301, "query has 301 characters; at most 300"),
        ("refused", "query is refused"),
    )
    for number, (query, message) in enumerate(wrong, start=1):
        with pytest.raises(ValueError, match=message):
            widget.query = query
        widget.asked = {"query": [number, {"query": query}]}
        assert message in widget.answered["query"][1]
        assert (widget.query, widget.answer) == ("blind bank", before)
    widget.query = "song"
    assert widget.answered["query"][1] == "", "the problem is that of another text"


def test_words_are_named_once_with_all_their_places() -> None:
    text = "A bank, a Bank and a robber."
    parts = [
        Part("Bank", 0.4, 10, 14),
        Part("bank", 0.3, 2, 6),
        part(text, "robber", 0.2),
        Part("x", -0.1, 0, 1),
    ]
    widget = SearchComparison({"one": Fixed(Match(0, 1.0, parts))}, [text], queries=["bank"])
    (found,) = widget.answer["columns"][0]["found"]
    assert found["matched"] == [["bank", 0.7], ["robber", 0.2]] and found["title"] == "document 0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"systems": {}}, "systems is empty"),
        ({"texts": []}, "is empty; give at least one text"),
        ({"texts": "one"}, "expected a list of texts"),
        ({"titles": ["one"]}, "1 titles for 4 texts; give one for each"),
        ({"queries": []}, "expected a list of at least one query"),
        ({"queries": "heist"}, "expected a list of at least one query"),
        ({"queries": [""]}, "query is empty"),
        ({"k": 0}, "k=0"),
        ({"texts": TEXTS[:1], "titles": ()}, "a search found document 2, but texts has 1"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        comparison(**changes)


# 2. Excerpts


LONG = " ".join(f"word{number}" for number in range(200))


def shown(text: str, *parts: Part) -> str:
    return "".join(segment.text for segment in excerpt(text, parts))


def test_a_short_text_is_shown_whole() -> None:
    assert shown(TEXTS[0], part(TEXTS[0], "blind", 1.0)) == TEXTS[0]
    assert shown(TEXTS[0]) == TEXTS[0]


def test_an_excerpt_has_whole_words_around_the_strongest_ones() -> None:
    parts = [part(LONG, f"word{number}", share) for number, share in ((150, 0.5), (50, 0.3), (100, 0.1))]
    segments = excerpt(LONG, parts)
    assert [(segment.text, segment.level, segment.share) for segment in segments if segment.level] == [
        ("word50", 2, 0.3),
        ("word150", 3, 0.5),
    ], "as many places as there is room for, in the order of the text"
    assert WINDOWS == 2
    text = "".join(segment.text for segment in segments)
    assert text.startswith("…\u00a0word") and text.endswith("\u00a0…") and text.count("…") == 3
    assert set(text.replace("…", " ").split()) <= set(LONG.split())
    for stretch in text.strip("…").split(" … "):
        assert SIDE < len(stretch) <= 2 * SIDE + len("word150") + 2


def test_neighbors_share_a_stretch() -> None:
    parts = [part(LONG, f"word{number}", 0.1) for number in (50, 51, 60, 150)]
    segments = excerpt(LONG, parts)
    assert [segment.text for segment in segments if segment.level] == ["word50", "word51", "word60"]
    assert sum("…" in segment.text for segment in segments) == 2, "what meets is one stretch"


def test_stretches_that_overlap_are_joined() -> None:
    parts = [part(LONG, f"word{number}", share) for number, share in ((50, 0.5), (57, 0.3))]
    text = shown(LONG, *parts)
    assert text.removeprefix("…\u00a0").removesuffix("\u00a0…") in LONG and "word57" in text


def test_without_a_match_in_the_text_its_beginning_is_shown() -> None:
    text = shown(
        LONG, Part("added", 1.0, None, None), Part("word9", -0.1, LONG.find("word9"), LONG.find("word9") + 5)
    )
    assert text.removesuffix("\u00a0…") in LONG[:BEGINNING] and len(text) > BEGINNING - 10


def test_very_long_words_are_cut() -> None:
    text = "a" * 5000 + "b" * 5000
    segments = excerpt(text, [Part("b" * 5000, 1.0, 5000, 10000)])
    assert [len(segment.text) for segment in segments] == [2, SIDE, LONGEST]
    assert len(shown("🎬" * 9000)) <= BEGINNING + 2


def test_lines_become_one_and_parts_that_overlap_are_shown_once() -> None:
    text = "one\n\ttwo three"
    assert shown(text, Part("two three", 0.5, 5, 14), Part("two", 0.4, 5, 8)) in ("one two three",)


def test_strength_is_relative_to_the_largest_share() -> None:
    assert [level(share, 0.3) for share in (0.001, 0.09, 0.11, 0.19, 0.21, 0.3)] == [1, 1, 2, 2, 3, 3]


# 3. The picture and the page


def test_the_picture_joins_what_several_searches_found() -> None:
    picture = comparison().picture()
    axes = picture.figure.axes[0]
    score = f"{comparison().answer['columns'][0]['found'][0]['score']:.2f}"
    assert [text.get_text() for text in axes.texts][:5] == ["words", "1", "Aankhen", score, "2"]
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0, 0]], "Aankhen is first in both"
    other = comparison(
        systems={"a": Fixed(match(0, 1.0), match(3, 0.5)), "b": WordSearch(TEXTS)}, queries=["music"]
    )
    (line,) = other.picture().figure.axes[0].lines
    assert line.get_ydata().tolist() == [1, 0], "Song"
    assert picture.png().startswith(b"\x89PNG")
    assert "Found by words: Aankhen, Bank; by weights: Aankhen, Heist." in picture.alt


def test_texts_of_the_picture_fit_their_columns() -> None:
    texts = ["W" * 400] * 3
    systems = {"W" * 90: WordSearch(["w" * 3, *texts[1:]]), "b": Fixed(Match(0, 12.34, [])), "$x$": Fixed()}
    widget = SearchComparison(systems, texts, titles=["W" * 90] * 3, queries=["$www$ " + "W" * 200])
    picture = widget.picture()
    picture.figure.canvas.draw()
    axes = picture.figure.axes[0]
    for text in axes.texts:
        column = int(text.get_position()[0])
        assert text.get_window_extent().x1 <= axes.transData.transform((column + 1, 0))[0]
    titles = [
        text for text in axes.texts if text.get_text().startswith("WWW") and text.get_position()[1] >= 0
    ]
    scores = [text for text in axes.texts if text.get_ha() == "right"]
    for title, score in zip(titles, scores, strict=True):
        assert title.get_window_extent().x1 < score.get_window_extent().x0
    assert axes.get_title(loc="left").startswith(r"“\$www\$ WW"), "no formula"
    assert axes.title.get_window_extent().x1 <= picture.figure.bbox.width


def test_the_page_holds_texts_only_as_data() -> None:
    widget = SearchComparison({HOSTILE: WordSearch([HOSTILE])}, [HOSTILE], [HOSTILE], [HOSTILE])
    page = widget.to_html()
    assert page.count("</script>") == 1 and "<img" not in page
    assert marked(widget.answer["columns"][0]["found"][0])[:2] == ["img", "src"]


def test_a_page_does_not_hold_whole_documents() -> None:
    text = LONG * 100
    widget = SearchComparison({"words": WordSearch([text] * 5)}, [text] * 5, queries=["word7"])
    assert len(widget.to_html()) < 60_000
