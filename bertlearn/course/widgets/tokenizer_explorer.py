"""Tokenizer explorer: a text becomes words, wordpieces and ids, step by step (chapter 2).

The kernel tokenizes a text once. What it sends is enough to choose words, to point at wordpieces and to step
through the search in the page: if a search finds a wordpiece, no longer candidate is in the vocabulary.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import traitlets

from bertlearn.course.figures import Picture
from bertlearn.course.widgets.base import AskedWidget, check_choice
from bertlearn.course.widgets.tokenizer_picture import Cut, draw_cuts, shorten
from bertlearn.tokenizer.vocab_files import MAX_WORD, SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.tokenizer.words import BasicTokenizer, clean_text, lower_case, separate_chinese, strip_accents

TEXT = "An unfathomable film by Almodóvar."
LIMIT = 5000  # characters
_SPECIAL = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")
_NAMES = {"\t": "tab", "\n": "line break", "\r": "carriage return"}  # Unicode gives controls no name


class Lookup(NamedTuple):
    """One candidate of the longest-match search."""

    start: int  # in the word
    end: int
    piece: str
    id: int | None  # None: not in the vocabulary


class TokenizerExplorer(AskedWidget):
    """Explore how a tokenizer, or two side by side, tokenize a text that can be typed.

    `text`, `word` (the chosen one, counted from 0) and `step` (how many candidates of its longest-match
    search have been looked up) can be read and set; `steps` is the largest step, `answer` the data shown.
    """

    files = "tokenizer_explorer"
    height = 1200

    text = traitlets.Unicode(TEXT).tag(sync=True)
    word = traitlets.Int().tag(sync=True)
    step = traitlets.Int().tag(sync=True)
    answer: Any = traitlets.Dict().tag(sync=True)  # a text, and its words and wordpieces for each tokenizer

    def __init__(
        self,
        tokenizer: WordPieceTokenizer,
        other: WordPieceTokenizer | None = None,
        text: str = TEXT,
        titles: Sequence[str] = (),
        word: int = 0,
        step: int = 0,
    ) -> None:
        """Show how a text is tokenized.

        Args:
            tokenizer: one of this package.
            other: a second one, to compare.
            text: the text at first, up to 5,000 characters.
            titles: a name for each tokenizer; "first" and "second" by default if there are two.
            word, step: what is chosen at first.

        Raises:
            ValueError: a tokenizer is not of this package, the titles do not fit, the text is too long, or a
                choice does not exist.
        """
        self.tokenizers = [tokenizer] if other is None else [tokenizer, other]
        self.titles = list(titles) or ([""] if other is None else ["first", "second"])
        _check_tokenizers(self.tokenizers, self.titles)
        super().__init__(text=_check_text(text), word=word, **self._read(text))
        self.step = step

    @property
    def steps(self) -> int:
        """The number of candidates for the chosen word; with two tokenizers, the larger number."""
        return max(len(self._lookups(number)) for number in range(len(self.tokenizers)))

    def picture(self) -> Picture:
        """Return a figure of the text's wordpieces, and of the chosen word's search up to this step."""
        cuts = []
        for number, panel in enumerate(self.answer["panels"]):
            rounds = groupby(self._lookups(number)[: self.step], key=lambda lookup: lookup.start)
            pieces = [(token, id_) for token, id_, *_ in panel["pieces"]]
            cuts.append(Cut(_counts(panel), pieces, [_line(list(tried)) for _, tried in rounds]))
        listed = "; ".join(" ".join(token for token, _ in cut.pieces) for cut in cuts)
        return draw_cuts(cuts, shorten(f"{self.description} Wordpieces: {listed}", 600))

    def _read(self, text: str) -> dict[str, Any]:
        """Return the traits that follow from a text."""
        panels = [_panel(*pair, text) for pair in zip(self.tokenizers, self.titles, strict=True)]
        for panel in panels:
            panel["twins"] = _twins(panels[0]["words"], panel["words"])  # -1: it has no words
        counts = "; ".join(map(_counts, panels))
        return {
            "answer": {"text": text, "panels": panels},
            "description": f"Tokenizer explorer: “{shorten(text, 60)}”; {counts}.",
        }

    def _chosen(self, number: int = 0) -> dict[str, Any] | None:
        """Return the chosen word in the panel of one tokenizer, or None."""
        panel = self.answer["panels"][number]
        return panel["words"][panel["twins"][self.word]] if panel["twins"] and panel["words"] else None

    def _lookups(self, number: int) -> list[Lookup]:
        word = self._chosen(number)
        return (
            list(lookups(word["text"], self.tokenizers[number].vocab))
            if word and word["rule"] == "search"
            else []
        )

    @traitlets.validate("text")
    def _short_enough(self, proposal: Any) -> str:
        return _check_text(proposal["value"])

    @traitlets.validate("word")
    def _existing(self, proposal: Any) -> int:
        return check_choice("word", proposal["value"], max(1, len(self.answer["panels"][0]["words"])))

    @traitlets.validate("step")
    def _possible(self, proposal: Any) -> int:
        return check_choice("step", proposal["value"], self.steps + 1)

    @traitlets.observe("text")
    def _tokenize(self, change: Any) -> None:
        if self.answer["text"] == self.text:
            return
        before = self._chosen()
        with self.hold_sync():  # one message
            traits = self._read(self.text)
            self.answer, self.description = traits["answer"], traits["description"]
            self._clear_problem("text")
            self.word = min(self.word, max(0, len(self.answer["panels"][0]["words"]) - 1))
            after = self._chosen()
            if not before or not after or before["text"] != after["text"]:
                self.step = 0

    @traitlets.observe("word")
    def _begin(self, change: Any) -> None:
        self.step = 0


def lookups(word: str, vocab: dict[str, int]) -> Iterator[Lookup]:
    """Yield each candidate that `longest_match` looks up, in order."""
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            yield Lookup(start, end, piece, vocab.get(piece))
            if piece in vocab:
                break
        else:
            return
        start = end


def _panel(tokenizer: WordPieceTokenizer, title: str, text: str) -> dict[str, Any]:
    """Return all that the page shows of one tokenizer; positions count characters of the typed text."""
    encoding = tokenizer.encode(text or " ")  # " " gives only [CLS] and [SEP]; "" would be refused
    pieces = zip(encoding.tokens, encoding.input_ids, encoding.offsets, strict=True)
    return {
        "title": title,
        "size": tokenizer.vocab_size,
        "changes": _changes(tokenizer.basic_tokenizer, text),
        "words": list(_words(tokenizer, text)),
        "pieces": [[token, number, *offsets] for token, number, offsets in pieces],
    }


def _words(tokenizer: WordPieceTokenizer, text: str) -> Iterator[dict[str, Any]]:
    """Yield the words; a typed special token is a word that needs no search."""
    begin = 0
    for part in _SPECIAL.split(text):
        if part in SPECIAL_TOKENS:
            yield {"text": part, "start": begin, "end": begin + len(part), "rule": "special", "found": []}
        else:
            for word, starts in tokenizer.basic_tokenizer.tokenize_with_offsets(part):
                rule = "search" if len(word) <= MAX_WORD else "long"
                tried = lookups(word, tokenizer.vocab) if rule == "search" else ()
                found = [[each.end, each.id] for each in tried if each.id is not None]
                span = {"start": begin + starts[0], "end": begin + starts[-1] + 1}
                yield {"text": word, **span, "rule": rule, "found": found}
        begin += len(part)


def _twins(words: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[int]:
    """Return for each word the index of the other word at the same position, or else of the next one."""
    ends = [other["end"] for other in others]
    return [min(bisect_right(ends, word["start"]), len(ends) - 1) for word in words]


def _changes(tokenizer: BasicTokenizer, text: str) -> dict[str, dict[str, Any]]:
    """Return, for each character that normalization changes, what it becomes and why."""
    changes = {}
    for character in sorted(set(text)):
        becomes = tokenizer.normalize(character)
        if becomes != character:
            name = _NAMES.get(character) or unicodedata.name(character, f"U+{ord(character):04X}").lower()
            changes[character] = {"becomes": becomes, "kinds": _kinds(tokenizer, character), "name": name}
    return changes


def _kinds(tokenizer: BasicTokenizer, character: str) -> list[str]:
    """Return the names of the steps of `BasicTokenizer.normalize` that change a character."""
    if clean_text(character) != character:
        return ["blank" if clean_text(character) else "dropped"]
    kinds = []
    if tokenizer.tokenize_chinese_chars and separate_chinese(character) != character:
        kinds.append("apart")
    if tokenizer.strip_accents and strip_accents(character) != character:
        character = strip_accents(character)
        kinds.append("accent" if len(character) < 2 else "taken apart")
    if tokenizer.do_lower_case and lower_case(character) != character:
        kinds.append("case")
    return kinds


def _counts(panel: dict[str, Any]) -> str:
    pieces = [piece[0] for piece in panel["pieces"][1:-1]]
    title = f"{panel['title']}: " if panel["title"] else ""
    return f"{title}{len(panel['words'])} words, {len(pieces)} wordpieces, {pieces.count('[UNK]')} unknown"


def _line(tried: list[Lookup]) -> str:
    """Return a line on the lookups that begin at one position of the word."""
    first, last = tried[0], tried[-1]
    result = "not in the vocabulary" if last.id is None else f"in the vocabulary, id {last.id}"
    between = f"{shorten(first.piece)} … " if len(tried) > 1 else ""
    return f"{len(tried):3} looked up: {between}{shorten(last.piece)}  {result}"


def _check_text(text: str) -> str:
    if isinstance(text, str) and len(text) > LIMIT:
        raise ValueError(f"text has {len(text):,} characters; at most {LIMIT:,} can be shown, so shorten it")
    BasicTokenizer().tokenize(text)  # refuses a value that is not text
    return text


def _check_tokenizers(tokenizers: Sequence[WordPieceTokenizer], titles: Sequence[str]) -> None:
    for each in tokenizers:
        if not isinstance(each, WordPieceTokenizer):
            raise ValueError(
                f"{type(each).__name__} is not a WordPieceTokenizer of bertlearn; load it as one"
            )
    if len(titles) != len(tokenizers):
        raise ValueError(f"{len(titles)} titles for {len(tokenizers)} tokenizers; give one for each")
