"""From text to words: clean the text, normalize it, split it at spaces and punctuation (chapter 2).

Each step is a small function of its own, which can be read, and replaced, separately.
Source: the normalization of BERT's published code. The words are those of transformers' `BertTokenizer` for
every text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import NamedTuple

from bertlearn.tokenizer import unicode_tables
from bertlearn.tokenizer.inputs import check_text
from bertlearn.tokenizer.unicode_tables import character_class, character_map

_CONTROL = re.compile(f"[{character_class(unicode_tables.CONTROL)}]")

_WHITE_SPACE, _NO_SPACE = re.compile(r"\s"), re.compile(r"\S+")

_NO_SPACE_LEFT = re.compile(rf"(?:{_CONTROL.pattern}|\S)*")  # some control characters are white space to \s

_CHINESE = re.compile(
    # Differs from BERT's published code, which has 2B820 in place of 2B920, because transformers has 2B920.
    "[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f]"
)

_MARK = re.compile(f"[{character_class(unicode_tables.MARK)}]")

_KEPT_MARK = re.compile(f"[{character_class(unicode_tables.KEPT_MARK)}]")

_DECOMPOSABLE = re.compile(f"[{character_class(unicode_tables.DECOMPOSABLE)}]+")

_PUNCTUATION = character_class(unicode_tables.PUNCTUATION)

_PUNCTUATION_OR_REST = re.compile(f"[{_PUNCTUATION}]|[^{_PUNCTUATION}]+")

_LOWERCASE = {**character_map(unicode_tables.LOWERCASE), ord("Σ"): "σ"}


def clean_text(text: str) -> str:
    """Remove control, format and private-use characters; replace each white-space character by a space."""
    return _WHITE_SPACE.sub(" ", _CONTROL.sub("", text))


def separate_chinese(text: str) -> str:
    """Put spaces around each Chinese character, so that it becomes a word of its own."""
    return text if text.isascii() else _CHINESE.sub(r" \g<0> ", text)


def is_chinese(character: str) -> bool:
    """Return whether a character is one of those that `separate_chinese` makes a word."""
    return _CHINESE.match(character) is not None


def strip_accents(text: str) -> str:
    """Decompose each character into its letter and marks, and remove the nonspacing marks: é becomes e."""
    return text if text.isascii() else _MARK.sub("", decompose(text))


def lower_case(text: str) -> str:
    """Lowercase each character independently of its neighbors: Σ always becomes σ, never ς."""
    return text.translate(_LOWERCASE).lower()


def split_on_punctuation(word: str) -> list[str]:
    """Split a word before and after each punctuation mark: "isn't" becomes "isn", "'", "t"."""
    return _PUNCTUATION_OR_REST.findall(word)


def decompose(text: str) -> str:
    """Decompose characters into letter and marks: Unicode's form NFD, in the version transformers uses."""
    return _DECOMPOSABLE.sub(lambda run: unicodedata.normalize("NFD", run[0]), text)


def end_of_dropped(text: str, start: int, stop: int) -> int:
    """Return the end of the dropped characters that begin at `start`, up to white space or `stop`.

    Args:
        text: the text.
        start, stop: the end of a word and the start of the next one. Normalization turns each character
            between them into nothing or a space.
    """
    match = _NO_SPACE_LEFT.match(text, start, stop)
    assert match is not None  # it matches the empty string
    return match.end()


class Word(NamedTuple):
    """A word, and for each of its characters the index in the original text that it came from."""

    text: str
    starts: Sequence[int]


class BasicTokenizer:
    """Split texts into words: clean, normalize, split at spaces and punctuation.

    Args:
        do_lower_case: lowercase the text, as BERT's uncased models do.
        strip_accents: remove accents; None means to do so if do_lower_case is set.
        tokenize_chinese_chars: make each Chinese character a word.
    """

    def __init__(
        self,
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
    ) -> None:
        self.do_lower_case = do_lower_case
        self.strip_accents = do_lower_case if strip_accents is None else strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars

    def normalize(self, text: str) -> str:
        """Return the text after all steps of normalization, ready to be split."""
        text = clean_text(text)
        if self.tokenize_chinese_chars:
            text = separate_chinese(text)
        if self.strip_accents:
            text = strip_accents(text)
        return lower_case(text) if self.do_lower_case else text

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text.

        Raises:
            ValueError: not a valid text; see `WordPieceTokenizer.encode`.
        """
        words = self.normalize(check_text(text)).split()
        return [part for word in words for part in split_on_punctuation(word)]

    def tokenize_with_offsets(self, text: str) -> list[Word]:
        """Return the words of a text, each with the index of its characters in the original text."""
        normalized, starts = self._align(check_text(text))
        words = []
        for match in _NO_SPACE.finditer(normalized):
            position = match.start()
            for part in split_on_punctuation(match[0]):
                words.append(Word(part, starts[position : position + len(part)]))
                position += len(part)
        return words

    def _align(self, text: str) -> tuple[str, Sequence[int]]:
        """Return the normalized text, and for each of its characters the index in `text` it came from.

        Normalization treats each character independently, so it is enough to know what each distinct
        character becomes. One call of `normalize` finds out for all of them: they are joined by "|", which
        no other character normalizes to.
        """
        normalized = self.normalize(text)
        if text.isascii() and len(normalized) == len(text):  # nothing was removed, and ASCII never grows
            return normalized, range(len(text))
        characters = list(enumerate(text))
        if self.strip_accents and _KEPT_MARK.search(text):
            characters = _in_canonical_order(text)
        distinct = list({character for _, character in characters} - {"|"})
        results = dict(zip(distinct, self.normalize("|".join(distinct)).split("|"), strict=True))
        results["|"] = "|"
        starts = [start for start, character in characters for _ in results[character]]
        return "".join(results[character] for _, character in characters), starts


def _in_canonical_order(text: str) -> list[tuple[int, str]]:
    """Return the decomposed characters with their marks in canonical order, each with an index in `text`.

    Only texts whose marks survive normalization need this: Unicode may reorder such marks. The indexes keep
    their original order, as in transformers.
    """
    kept = [index for index, character in enumerate(text) if clean_text(character)]
    parts = [(part, i == 0) for index in kept for i, part in enumerate(decompose(text[index]))]
    runs = groupby(parts, key=lambda part: _combining_class(part[0]) > 0)
    ordered = [part for _, run in runs for part in sorted(run, key=lambda part: _combining_class(part[0]))]
    seen = accumulate(first for _, first in ordered)  # characters of the text that have begun so far
    return [(kept[count - 1], part) for count, (part, _) in zip(seen, ordered, strict=True)]


def _combining_class(character: str) -> int:
    return unicodedata.combining(character) if _DECOMPOSABLE.match(character) else 0
