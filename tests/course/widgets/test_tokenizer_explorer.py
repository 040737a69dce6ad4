"""The tokenizer explorer's state: it shows what the tokenizer does, for every text."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import pytest

from bertlearn import WordPieceTokenizer
from bertlearn.course.widgets import TokenizerExplorer
from bertlearn.course.widgets.tokenizer_explorer import lookups
from bertlearn.tokenizer.wordpiece import longest_match

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyzשלוםф.,<>/[]!’電影"]
VOCAB = [
    *SPECIAL,
    *LETTERS,
    *("##" + letter for letter in LETTERS),
    "un",
    "##fat",
    "##able",
    "film",
    "##s",
    "the",
]
VOCAB = list(dict.fromkeys(VOCAB))
uncased = WordPieceTokenizer(VOCAB)
cased = WordPieceTokenizer(VOCAB, do_lower_case=False)
TEXTS = [
    "An unfathomable film.",
    "Amélie’s  CRÈME\tbru\u0302le\u0301e\n",
    "<script>alert(1)</script> <b>",
    "שָׁלוֹם 🎬film 👨\u200d👩\u200d👧 films🎬",
    "電影 한국어 हिन्दी İΣς ﬁ½",
    "[MASK] is [SEP]no[UNK] [cls]",
    "\u0301a\x00\x07\u200b\ufeffb\u00a0c\r\n",
    "a" * 100 + " " + "b" * 101,
    "",
    " \n\t ",
    "\u0301",
    "the " * 600,
]


@pytest.mark.parametrize("tokenizer", [uncased, cased])
@pytest.mark.parametrize("text", TEXTS)
def test_it_shows_what_the_tokenizer_does(tokenizer: WordPieceTokenizer, text: str) -> None:
    panel = TokenizerExplorer(tokenizer, text=text).answer["panels"][0]
    encoding = tokenizer.encode(text or " ")
    assert [piece[:2] for piece in panel["pieces"]] == [
        list(pair) for pair in zip(encoding.tokens, encoding.input_ids, strict=True)
    ]
    assert [tuple(piece[2:]) for piece in panel["pieces"]] == encoding.offsets
    tokens = []
    for word in panel["words"]:
        pieces = _cut(word)
        assert word["rule"] == "special" or pieces == longest_match(word["text"], tokenizer.vocab)
        first, last = panel["pieces"][len(tokens) + 1], panel["pieces"][len(tokens) + len(pieces)]
        assert (word["start"], word["end"]) == (first[2], last[3])
        tokens += pieces
    assert tokens == encoding.tokens[1:-1], "word by word, these are the wordpieces"


def _cut(word: dict[str, Any]) -> list[str]:
    """Return a word's wordpieces as the page assembles them."""
    if word["rule"] == "special":
        return [word["text"]]
    ends = [0, *(end for end, _ in word["found"])]
    if ends[-1] < len(word["text"]):
        return ["[UNK]"]
    return [("##" if a else "") + word["text"][a:b] for a, b in pairwise(ends)]


@pytest.mark.parametrize("tokenizer", [uncased, cased])
@pytest.mark.parametrize("text", [text for text in TEXTS if "[" not in text])
def test_the_changes_of_each_character_are_those_of_the_text(
    tokenizer: WordPieceTokenizer, text: str
) -> None:
    changes = TokenizerExplorer(tokenizer, text=text).answer["panels"][0]["changes"]
    becomes = "".join(
        changes[character]["becomes"] if character in changes else character for character in text
    )
    assert becomes == tokenizer.basic_tokenizer.normalize(text)


def test_the_reasons_of_changes() -> None:
    changes = TokenizerExplorer(uncased, text="aÈe\u0301\t\u200b電한M").answer["panels"][0]["changes"]
    assert {character: change["kinds"] for character, change in changes.items()} == {
        "È": ["accent", "case"],
        "\u0301": ["accent"],
        "\t": ["blank"],
        "\u200b": ["dropped"],
        "電": ["apart"],
        "한": ["taken apart"],
        "M": ["case"],
    }
    assert changes["\t"]["name"] == "tab" and changes["\u200b"]["name"] == "zero width space"
    assert set(TokenizerExplorer(cased, text="aÈM\t").answer["panels"][0]["changes"]) == {"\t"}


def test_every_lookup_in_its_order() -> None:
    tried = list(lookups("unfat", {"un": 7, "##fat": 8, "unfa": 9, "##t": 10}))
    assert [(each.piece, each.id) for each in tried] == [("unfat", None), ("unfa", 9), ("##t", 10)]
    tried = list(lookups("una", {"un": 7}))
    assert [each.piece for each in tried] == ["una", "un", "##a"], "nothing matches the rest: the search ends"


def test_word_and_step_can_be_read_and_set() -> None:
    widget = TokenizerExplorer(uncased, word=1, step=3)
    assert (widget.word, widget.step) == (1, 3)
    assert widget.steps == len(list(lookups("unfathomable", uncased.vocab)))
    with pytest.raises(
        ValueError, match=f"step={widget.steps + 1} does not exist; expected 0 to {widget.steps}"
    ):
        widget.step = widget.steps + 1
    with pytest.raises(ValueError, match="word=6 does not exist; expected 0 to 5"):
        widget.word = 6
    assert (widget.word, widget.step) == (1, 3), "a refused value changes nothing"
    widget.word = 2
    assert widget.step == 0, "another word is searched from its beginning"


def test_another_text_is_tokenized_at_once() -> None:
    widget = TokenizerExplorer(uncased, text="the unfathomable film", word=1, step=5)
    widget.text = "the unfathomable films"
    assert widget.answer["text"] == widget.text and len(widget.answer["panels"][0]["pieces"]) > 5
    assert (widget.word, widget.step) == (1, 5), "the chosen word is still the same"
    widget.text = "the able"
    assert (widget.word, widget.step) == (1, 0)
    widget.text = "the"
    assert (widget.word, widget.step) == (0, 0)
    widget.text = ""
    assert (widget.word, widget.step, widget.steps) == (0, 0, 0)
    assert "0 words" in repr(widget)


def test_texts_that_cannot_be_shown_are_refused() -> None:
    widget = TokenizerExplorer(uncased, text="x" * 5000)
    with pytest.raises(ValueError, match=r"text has 5,001 characters; at most 5,000 can be shown"):
        widget.text = "x" * 5001
    with pytest.raises(ValueError, match="half a surrogate pair"):
        widget.text = "\ud83c"
    with pytest.raises(ValueError, match=r"text has 5,001 characters"):
        TokenizerExplorer(uncased, text="x" * 5001)
    assert widget.text == widget.answer["text"] == "x" * 5000


def test_two_tokenizers_choose_the_word_at_the_same_position() -> None:
    widget = TokenizerExplorer(uncased, cased, text="a \u0301 電 film", titles=("small", "as typed"))
    first, second = ([word["text"] for word in panel["words"]] for panel in widget.answer["panels"])
    assert first == ["a", "電", "film"] and second == ["a", "\u0301", "電", "film"]
    assert [panel["twins"] for panel in widget.answer["panels"]] == [[0, 1, 2], [0, 2, 3]]
    widget.word = 2
    assert widget.steps == len(list(lookups("film", uncased.vocab)))
    assert repr(widget).startswith("[widget] Tokenizer explorer: “a \u0301 電 film”; small: 3 words")
    panels = TokenizerExplorer(uncased, cased, text="film.").answer["panels"]
    assert [panel["twins"] for panel in panels] == [[0, 1], [0, 1]], "words without a space between them"
    assert [panel["title"] for panel in TokenizerExplorer(uncased, cased).answer["panels"]] == [
        "first",
        "second",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokenizer": VOCAB}, "list is not a WordPieceTokenizer of bertlearn"),
        ({"tokenizer": uncased, "titles": ("a", "b")}, "2 titles for 1 tokenizers; give one for each"),
        ({"tokenizer": uncased, "text": 5}, "text"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenizerExplorer(**arguments)


def test_the_picture_shows_the_wordpieces_and_the_search_so_far() -> None:
    widget = TokenizerExplorer(uncased, text="the unable 🎬 $x$", word=1)
    drawn = [text.get_text() for text in widget.picture().figure.axes[0].texts]
    assert {"[CLS]", "un", "##able", "[UNK]", str(uncased.vocab["un"])} <= set(drawn)
    assert not any("looked up" in line for line in drawn)
    widget.step = 5
    drawn = [text.get_text() for text in widget.picture().figure.axes[0].texts]
    un = uncased.vocab["un"]
    assert f"  5 looked up: unable … un  in the vocabulary, id {un}" in drawn
    assert "Wordpieces: [CLS] the un ##able [UNK] [UNK] x [UNK] [SEP]" in widget.picture().alt


def test_the_picture_is_as_wide_as_its_text() -> None:
    """A picture is shrunk to the notebook's width; empty space would make its text small."""
    widths = []
    for text in ("un the", "film " * 9, "film " * 90):
        picture = TokenizerExplorer(uncased, text=text).picture()
        axes, figure = picture.figure.axes[0], picture.figure
        figure.canvas.draw()
        edges = [drawn.get_window_extent().x1 for drawn in axes.texts]
        assert max(edges) <= figure.bbox.width
        widths.append(figure.get_size_inches()[0])
    assert 4 < widths[0] < widths[1] < widths[2] == 9.5


def test_pictures_of_any_text_are_drawn_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in TEXTS[2:]:
            widget = TokenizerExplorer(uncased, cased, text=text)
            widget.step = widget.steps
            picture = widget.picture()
            assert picture.png().startswith(b"\x89PNG")
            assert picture.figure.get_size_inches()[1] < 12


def test_the_page_holds_the_text_only_as_data() -> None:
    text = "</script><img src=x onerror=alert(1)>"
    page = TokenizerExplorer(uncased, text=text, titles=("<b>",)).to_html()
    assert page.count("</script>") == 1 and "<img" not in page and "<b>" not in page
    assert len(page) < 100_000
