"""The drawings in notebooks/images are what tools/make_drawings.py draws, and can be read at their size."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import drawing  # noqa: E402
import drawings_at_work as at_work  # noqa: E402
import make_drawings as tool  # noqa: E402

from bertlearn import BertForMaskedLM, WordPieceTokenizer, minilm_path  # noqa: E402
from bertlearn.course import labeled  # noqa: E402
from bertlearn.course.encoders import load_encoder  # noqa: E402
from bertlearn.data import load_plots, splade_path  # noqa: E402
from bertlearn.data.wikipedia import load_articles  # noqa: E402
from bertlearn.model.inference import sentence_vectors  # noqa: E402
from bertlearn.search.sparse import sparse_vectors  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
NAMES = [draw.__name__ for draw in tool.DRAWINGS]
WIDEST, WIDEST_MONO = 0.62, 0.61  # widths of a letter over its size: means of a wide font, and of code


def root_of(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def extent(text: ElementTree.Element) -> tuple[float, float]:
    """Return where a line of text begins and ends, from above, since fonts differ."""
    letter = WIDEST_MONO if "font-family" in text.attrib else WIDEST
    width = letter * float(text.attrib["font-size"]) * len(text.text or "")
    x, share = float(text.attrib["x"]), {"start": 0.0, "middle": 0.5, "end": 1.0}[text.attrib["text-anchor"]]
    return x - share * width, x + (1 - share) * width


def test_there_are_twenty_one_and_no_other_file() -> None:
    assert len(NAMES) == 21
    assert sorted(path.stem for path in tool.FOLDER.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("draw", tool.DRAWINGS, ids=lambda draw: draw.__name__)
def test_the_committed_file_is_what_the_program_draws(draw: object) -> None:
    path = tool.FOLDER / f"{draw.__name__}.svg"  # type: ignore[attr-defined]
    assert path.read_text(encoding="utf-8") == draw().svg(), "run `make drawings`"  # type: ignore[operator]
    assert path.stat().st_size < 40_000


@pytest.mark.parametrize("draw", tool.DRAWINGS, ids=lambda draw: draw.__name__)
def test_a_drawing_stands_alone_and_is_described(draw: object) -> None:
    made: drawing.Drawing = draw()  # type: ignore[operator]
    text = made.svg()
    assert not re.search(r"<script|href|url\(|@import|<style|<image|foreignObject", text)
    assert 20 <= len(made.description.split()) <= 60 and made.title not in made.description
    assert root_of(text).findtext(f"{SVG}desc") == made.description
    assert root_of(text).findtext(f"{SVG}title") == made.title
    card = root_of(text).find(f"{SVG}rect")
    assert card is not None and card.attrib["fill"] == drawing.CARD and float(card.attrib["width"]) > 750


@pytest.mark.parametrize("draw", tool.DRAWINGS, ids=lambda draw: draw.__name__)
def test_text_is_large_enough_and_inside_the_card(draw: object) -> None:
    made: drawing.Drawing = draw()  # type: ignore[operator]
    for text in root_of(made.svg()).iter(f"{SVG}text"):
        assert float(text.attrib["font-size"]) >= drawing.SMALLEST
        left, right = extent(text)
        assert left > 0 and right < drawing.WIDTH, text.text
        assert 20 < float(text.attrib["y"]) < made.height - 6, text.text


@pytest.mark.parametrize("draw", tool.DRAWINGS, ids=lambda draw: draw.__name__)
def test_lines_of_text_do_not_overlap(draw: object) -> None:
    texts = list(root_of(draw().svg()).iter(f"{SVG}text"))  # type: ignore[operator]
    for i, one in enumerate(texts):
        for other in texts[:i]:
            near = abs(float(one.attrib["y"]) - float(other.attrib["y"])) < 0.7 * float(
                one.attrib["font-size"]
            )
            (a, b), (c, d) = extent(one), extent(other)
            inset = 0.08 * (b - a) + 0.08 * (d - c)  # the estimate is from above
            assert not (near and a + inset < d and c + inset < b), (one.text, other.text)


def test_the_wordpieces_in_the_drawings_are_the_tokenizer_s() -> None:
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    assert tuple(tokenizer.tokenize("Who directed Frida?")) == tool.QUESTION
    assert tuple(tokenizer.tokenize("Julie Taymor")) == tool.ANSWER
    drawn = {text.text for text in root_of(tool.bio_labels().svg()).iter(f"{SVG}text")}
    assert set(tokenizer.tokenize("Julie Taymor films Hayek")) <= drawn
    drawn = {text.text for text in root_of(tool.four_heads_one_encoder().svg()).iter(f"{SVG}text")}
    assert set(tokenizer.tokenize("Julie Hayek sings")) <= drawn


def test_the_numbers_of_the_three_indexes_are_real() -> None:
    plots = [set(re.findall(r"\w+", plot.text.lower())) for plot in load_plots()]
    for word, drawn in (*at_work.POSTINGS, ("heist", at_work.HEIST)):
        first = [number for number, words in enumerate(plots) if word in words][:3]
        assert drawn == ", ".join(map(str, first)) + " …"
    vector = torch.nn.functional.normalize(sentence_vectors(*load_encoder("minilm"), [at_work.PLOT]), dim=1)[
        0
    ]
    drawn = ", ".join(f"{number:.2f}".replace("-", "−") for number in vector[:3].tolist()) + " …"
    assert drawn == at_work.FIRST_NUMBERS and len(vector) == 384


def test_the_weights_of_the_three_indexes_are_those_of_the_sparse_model() -> None:
    folder = splade_path()
    model, tokenizer = BertForMaskedLM.from_pretrained(folder), WordPieceTokenizer.from_pretrained(folder)
    texts = [at_work.PLOT, at_work.SEARCH]
    plot, query = sparse_vectors(model, tokenizer, texts).toarray()
    for word, weight in (*at_work.WEIGHTS, *at_work.ADDED):
        assert round(float(plot[tokenizer.vocab[word]]), 1) == weight
    of_plot, of_query = (set(tokenizer.tokenize(text)) for text in texts)
    added = {word for word, _ in at_work.ADDED}
    assert {word for word, number in tokenizer.vocab.items() if plot[number] * query[number] > 0} == added
    assert not of_plot & of_query and not added & of_plot and added & of_query == {"who"}


def test_the_examples_of_chapter_9_are_those_of_the_data() -> None:
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    assert tokenizer.tokenize("wake me at seven tomorrow") == list(at_work.COMMAND)
    assert tokenizer.tokenize("Ann sold the car that Bob repaired.") == list(at_work.SENTENCE)
    films = {plot.film for plot in load_plots()}
    assert {"signs", "insomnia", "solaris", "abandon", "minority_report", "pianist_the", "chicago"} <= films
    asked = {asked.question: asked.answers for asked in labeled.load_asked()}
    assert asked[at_work.ASKED][0] == "T. S. Eliot" and asked["How tall is Andre Agassi?"] == []


def test_the_paragraph_that_is_read_is_one_of_the_articles() -> None:
    (place,) = [asked.places[0] for asked in labeled.load_asked() if asked.question == at_work.ASKED]
    articles = {article.title: article.paragraphs for article in load_articles()}
    assert sum(map(len, articles.values())) == 4406
    paragraph = articles[place[0]][place[1]]
    tokenizer = WordPieceTokenizer.from_pretrained(minilm_path())
    assert " ".join(at_work.PIECES) in " ".join(tokenizer.tokenize(paragraph))
    assert "André Deutsch" in paragraph


def test_the_chosen_tokens_are_counted_right() -> None:
    fills = [
        box.attrib["fill"]
        for box in root_of(tool.masked_token_fates().svg()).iter(f"{SVG}rect")
        if box.attrib["width"] == "13"
    ]
    counts = [
        fills.count(drawing.tint(color, 0.85)) for color in (drawing.BLUE, drawing.ORANGE, drawing.GREEN)
    ]
    assert len(fills) == 100 and counts == [12, 1, 2]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit, match="no drawing is called cat; there are: query_key_value"):
        tool.main(["cat"])


def test_a_shade_and_an_arrow() -> None:
    assert drawing.tint("#000000", 1.0) == "#000000" and drawing.tint("#000000", 0.0) == "#ffffff"
    made = drawing.Drawing("title", "description", 100)
    made.arrow((0, 0), (10, 0))
    made.text(5, 50, "<b> & c")
    assert 'points="10,0 ' in made.svg() and "&lt;b&gt; &amp; c" in made.svg()
