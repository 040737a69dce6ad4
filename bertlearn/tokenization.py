"""Tokenization: from text to the numbers BERT reads, and back (chapter 2).

A text is cleaned, cut into words (`BasicTokenizer`), and each word into pieces of a fixed vocabulary
(`WordPieceTokenizer`). Every step is a small function from text to text, to be read and replaced one by one.

Source: Devlin et al. 2019, §3 (WordPiece, special tokens, segments); Schuster & Nakajima 2012; the
normalization is that of BERT's published code. The results are those of transformers' `BertTokenizer` for
every text, offsets included. Leaves out: tokens added to a vocabulary later, truncation on the left.
"""

from __future__ import annotations

import json
import operator
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from tqdm.auto import tqdm

from bertlearn import unicode_tables
from bertlearn.unicode_tables import character_class, character_map
from bertlearn.weights import VOCAB, find_folder, read_json, write_whole
from bertlearn.wordpiece_training import SPECIAL_TOKENS, Merge, TrainedVocabulary, learn_pieces

__all__ = [
    "BasicTokenizer",
    "Batch",
    "Encoding",
    "Merge",
    "TrainedVocabulary",
    "WordPieceTokenizer",
    "clean_text",
    "longest_first",
    "longest_match",
    "lower_case",
    "piece_offsets",
    "separate_chinese",
    "split_on_punctuation",
    "strip_accents",
    "train_wordpiece",
]

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS
SETTINGS, WHOLE = "tokenizer_config.json", "tokenizer.json"
MAX_WORD = 100  # characters in the longest word that is cut at all
MOST_KNOWN = 1 << 16  # words with what was cut before, kept by a tokenizer; some 50 MB
Offsets = tuple[int, int]  # start and end, in characters (code points) of the text

_CONTROL = re.compile(f"[{character_class(unicode_tables.CONTROL)}]")
_WHITE_SPACE, _NO_SPACE = re.compile(r"\s"), re.compile(r"\S+")
_CHINESE = re.compile(
    # Differs from BERT's first code, which has 2B820, because transformers has 2B920.
    "[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f]"
)
_MARK = re.compile(f"[{character_class(unicode_tables.MARK)}]")
_KEPT_MARK = re.compile(f"[{character_class(unicode_tables.KEPT_MARK)}]")
_DECOMPOSABLE = re.compile(f"[{character_class(unicode_tables.DECOMPOSABLE)}]+")
_PUNCTUATION = character_class(unicode_tables.PUNCTUATION)
_PUNCTUATION_OR_REST = re.compile(f"[{_PUNCTUATION}]|[^{_PUNCTUATION}]+")
_LOWERCASE = {**character_map(unicode_tables.LOWERCASE), ord("Σ"): "σ"}
_SPECIAL = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")


# 1. From text to words


def clean_text(text: str) -> str:
    """Drop characters that print nothing (control, format, private use); make all white space plain."""
    return _WHITE_SPACE.sub(" ", _CONTROL.sub("", text))


def separate_chinese(text: str) -> str:
    """Put spaces around each Chinese character, so that every one becomes a word of its own."""
    return text if text.isascii() else _CHINESE.sub(r" \g<0> ", text)


def strip_accents(text: str) -> str:
    """Take each character apart into letter and marks, and drop the marks that take no room: é becomes e."""
    return text if text.isascii() else _MARK.sub("", decompose(text))


def lower_case(text: str) -> str:
    """Make capitals small, each character on its own: Σ is always σ, even where Greek writes ς."""
    return text.translate(_LOWERCASE).lower()


def split_on_punctuation(word: str) -> list[str]:
    """Cut a word before and after each punctuation mark: "isn't" becomes "isn", "'", "t"."""
    return _PUNCTUATION_OR_REST.findall(word)


def decompose(text: str) -> str:
    """Take characters apart into letter and marks (Unicode's form NFD, of the version transformers has)."""
    return _DECOMPOSABLE.sub(lambda run: unicodedata.normalize("NFD", run[0]), text)


class Word(NamedTuple):
    """A word, and for each of its characters the index in the text of the character it came from."""

    text: str
    starts: Sequence[int]


class BasicTokenizer:
    """Text to words: clean, normalize, split at spaces and punctuation.

    Args:
        do_lower_case: make capitals small, as in BERT's uncased models.
        strip_accents: drop accents; None means: if do_lower_case is set.
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
        """Return the text as it is before it is split."""
        text = clean_text(text)
        if self.tokenize_chinese_chars:
            text = separate_chinese(text)
        if self.strip_accents:
            text = strip_accents(text)
        return lower_case(text) if self.do_lower_case else text

    def tokenize(self, text: str) -> list[str]:
        """Return the words.

        Raises:
            ValueError: not a text; see `WordPieceTokenizer.encode`.
        """
        words = self.normalize(_check_text(text)).split()
        return [part for word in words for part in split_on_punctuation(word)]

    def tokenize_with_offsets(self, text: str) -> list[Word]:
        """Return the words and where each of their characters stands in the text as it was given."""
        normalized, starts = self._align(_check_text(text))
        words = []
        for match in _NO_SPACE.finditer(normalized):
            place = match.start()
            for part in split_on_punctuation(match[0]):
                words.append(Word(part, starts[place : place + len(part)]))
                place += len(part)
        return words

    def _align(self, text: str) -> tuple[str, Sequence[int]]:
        """Normalize, and tell for each character of the result which one of `text` it came from.

        Normalization looks at one character at a time. So it is enough to know what becomes of each, and one
        call tells it for all of them, kept apart by a bar, which nothing else turns into.
        """
        normalized = self.normalize(text)
        if text.isascii() and len(normalized) == len(text):  # nothing was dropped, and ASCII never grows
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
    """Give the parts of each character, marks in their canonical order, each with an index in `text`.

    Needed only where marks stay and may change places. The indexes then keep theirs, as in transformers.
    """
    kept = [index for index, character in enumerate(text) if clean_text(character)]
    parts = [(part, place == 0) for index in kept for place, part in enumerate(decompose(text[index]))]
    runs = groupby(parts, key=lambda part: _combining_class(part[0]) > 0)
    ordered = [part for _, run in runs for part in sorted(run, key=lambda part: _combining_class(part[0]))]
    seen = accumulate(first for _, first in ordered)  # characters of the text begun so far
    return [(kept[count - 1], part) for count, (part, _) in zip(seen, ordered, strict=True)]


def _combining_class(character: str) -> int:
    return unicodedata.combining(character) if _DECOMPOSABLE.match(character) else 0


# 2. From words to pieces


def longest_match(
    word: str, vocab: dict[str, int], unk_token: str = UNK, max_input_chars_per_word: int = MAX_WORD
) -> list[str]:
    """Cut a word into pieces, each the longest that the vocabulary has (greedy, from the left).

    Args:
        word: characters without spaces.
        vocab: the pieces known; all but a word's first piece are spelled with ## in front.
        unk_token: what becomes of a word that cannot be cut to its end, whatever matched before.
        max_input_chars_per_word: longer words are unknown at once.

    Returns:
        The pieces: "films" may become ["film", "##s"].
    """
    if len(word) > max_input_chars_per_word:
        return [unk_token]
    pieces: list[str] = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        for end in range(len(word), start, -1):
            piece = prefix + word[start:end]
            if piece in vocab:
                break
        else:
            return [unk_token]
        pieces.append(piece)
        start = end
    return pieces


def piece_offsets(word: str, pieces: list[str], start: int) -> list[Offsets]:
    """Tell where the pieces of a word stand in a text in which the word begins at `start`.

    Args:
        word: the word.
        pieces: what it was cut into; [UNK] alone covers all of it.
        start: index of the word's first character.

    Returns:
        For each piece the index of its first character and the one after its last.
    """
    if pieces == [UNK]:
        return [(start, start + len(word))]
    offsets = []
    for piece in pieces:
        end = start + len(piece.removeprefix("##"))
        offsets.append((start, end))
        start = end
    return offsets


# 3. From pieces to the model's input


class Encoding(NamedTuple):
    """One text or pair as lists of equal length S: what BERT reads, and what it stands for."""

    input_ids: list[int]
    token_type_ids: list[int]  # 0 for the first text with its [SEP], 1 for the second; 0 for padding
    attention_mask: list[int]  # 1 = token, 0 = padding
    tokens: list[str]
    offsets: list[Offsets]  # in the text the token is from; (0, 0) for added special tokens and padding


class Batch(NamedTuple):
    """Several texts as tensors, in the order of the model's arguments: `model(**batch._asdict())`."""

    input_ids: Tensor  # int64 (B, S)
    attention_mask: Tensor  # int64 (B, S); 1 = keep, 0 = padding
    token_type_ids: Tensor  # int64 (B, S)


class _Pieces(NamedTuple):
    """Pieces, and where each stands in the text: two lists of equal length."""

    tokens: list[str]
    offsets: list[Offsets]

    def first(self, count: int) -> _Pieces:
        return _Pieces(self.tokens[:count], self.offsets[:count])

    def add(self, place: int, token: str) -> None:
        """Put in a special token, which the text does not have."""
        self.tokens.insert(place, token)
        self.offsets.insert(place, (0, 0))


_Cut = tuple[tuple[str, ...], tuple[Offsets, ...]]  # the same as tuples, to be kept


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Tell how many pieces to keep of two texts: take from the longer one until both fit.

    Args:
        first: pieces of the first text.
        second: pieces of the second text, 0 if there is none.
        room: pieces there is room for.

    Returns:
        The two lengths. Where both are cut, a piece left over goes to the one that was longer, or the second.
    """
    if first + second <= room:
        return first, second
    shorter = min(first, second, room // 2)
    return (shorter, room - shorter) if first <= second else (room - shorter, shorter)


class WordPieceTokenizer:
    """Text to the ids of pieces, with the special tokens BERT needs around them, and back.

    Args:
        vocab: the pieces in the order of their ids, or each piece with its id; ids count from 0 without gaps.
        do_lower_case, strip_accents, tokenize_chinese_chars: see `BasicTokenizer`.

    Raises:
        ValueError: a vocabulary without one of [PAD] [UNK] [CLS] [SEP] [MASK], with repeats or with gaps.
    """

    def __init__(
        self,
        vocab: Sequence[str] | dict[str, int],
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
    ) -> None:
        self.vocab = _check_vocab(vocab)
        self.ids_to_tokens = sorted(self.vocab, key=self.vocab.__getitem__)
        self.do_lower_case, self.strip_accents = do_lower_case, strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.basic_tokenizer = BasicTokenizer(do_lower_case, strip_accents, tokenize_chinese_chars)
        self.pad_token_id, self.unk_token_id = self.vocab[PAD], self.vocab[UNK]
        self.cls_token_id, self.sep_token_id = self.vocab[CLS], self.vocab[SEP]
        self.mask_token_id = self.vocab[MASK]
        self._known: dict[str, _Cut] = {}  # what was cut before

    @property
    def vocab_size(self) -> int:
        """V, the number of pieces."""
        return len(self.vocab)

    @classmethod
    def from_pretrained(cls, folder_or_name: str | Path) -> WordPieceTokenizer:
        """Read a tokenizer in transformers' layout: vocab.txt (or tokenizer.json) and tokenizer_config.json.

        Args:
            folder_or_name: a folder, or a hub name such as "google-bert/bert-base-uncased".

        Raises:
            FileNotFoundError: no such folder, or no vocabulary in it.
            ValueError: a damaged file, or a tokenizer that is not BERT's.
        """
        folder = find_folder(folder_or_name)
        settings, whole = (
            read_json(folder / name) if (folder / name).is_file() else {} for name in (SETTINGS, WHOLE)
        )
        _check_settings(settings, whole, folder)
        normalizer = whole.get("normalizer") or {}
        return cls(
            _read_vocab(folder, whole),
            settings.get("do_lower_case", normalizer.get("lowercase", True)),
            settings.get("strip_accents", normalizer.get("strip_accents")),
            settings.get("tokenize_chinese_chars", normalizer.get("handle_chinese_chars", True)),
        )

    def save_pretrained(self, folder: str | Path, model_max_length: int | None = None) -> None:
        """Write vocab.txt and tokenizer_config.json; transformers' `BertTokenizer` reads them.

        Args:
            folder: is made if it is not there.
            model_max_length: the tokens to which transformers cuts a text when asked for `truncation=True`.

        Raises:
            ValueError: a piece with a line break in it, which vocab.txt cannot hold.
            OSError: disk full or not writable; what stood in the folder before still stands.
        """
        broken = [token for token in self.ids_to_tokens if "\n" in token or "\r" in token]
        if broken:
            raise ValueError(f"the piece {broken[0]!r} has a line break; {VOCAB} has one piece a line")
        settings: dict[str, Any] = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.do_lower_case,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.tokenize_chinese_chars,
            **dict(zip(_SPECIAL_NAMES, SPECIAL_TOKENS, strict=True)),
        }
        if model_max_length is not None:
            settings["model_max_length"] = model_max_length
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{token}\n" for token in self.ids_to_tokens)
        for name, text in ((VOCAB, lines), (SETTINGS, json.dumps(settings, indent=2) + "\n")):
            _write(folder / name, text)

    def tokenize(self, text: str) -> list[str]:
        """Return the pieces of a text, without [CLS] and [SEP]; a [MASK] or other in the text stays whole.

        Raises:
            ValueError: not a text; see `encode`.
        """
        return self._pieces(_check_text(text)).tokens

    def encode(
        self,
        text: str,
        pair: str | None = None,
        max_length: int | None = None,
        padding: bool | int = False,
        add_special_tokens: bool = True,
    ) -> Encoding:
        """Make a text or a pair ready for BERT: [CLS] text [SEP], or [CLS] text [SEP] pair [SEP].

        Args:
            text: the text.
            pair: a second text.
            max_length: tokens at most; from the longer text pieces are cut off at the end (`longest_first`).
            padding: True for padding up to max_length, a number for padding up to that many tokens.
            add_special_tokens: False leaves [CLS] and [SEP] out.

        Raises:
            ValueError: not a text, an empty one, one with lone surrogates; or a length without room.
        """
        parts = [self._pieces(_check_filled(text, "text"))]
        if pair is not None:
            parts.append(self._pieces(_check_filled(pair, "pair")))
        if max_length is not None:
            parts = _truncate(parts, max_length, len(parts) + 1 if add_special_tokens else 0)
        if add_special_tokens:
            for part in parts:
                part.add(len(part.tokens), SEP)
            parts[0].add(0, CLS)
        return self._assemble(parts, _padded_length(padding, max_length))

    def encode_batch(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, max_length: int | None = None
    ) -> Batch:
        """Encode several texts, or pairs, and pad them to the longest.

        Args:
            texts: B texts.
            pairs: as many second texts.
            max_length: tokens at most in each.

        Returns:
            int64 tensors (B, S), S the longest of the B lengths.

        Raises:
            ValueError: no texts, not as many pairs, or what `encode` refuses.
        """
        seconds = check_texts(texts, pairs)
        return self.pad(
            [self.encode(text, pair, max_length) for text, pair in zip(texts, seconds, strict=True)]
        )

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Put B encodings into one batch, padded to the longest.

        Raises:
            ValueError: no encodings.
        """
        if not encodings:
            raise ValueError("encodings is empty, expected at least one; a batch without texts has no shape")
        return Batch(
            _stack([row.input_ids for row in encodings], self.pad_token_id),
            _stack([row.attention_mask for row in encodings], 0),
            _stack([row.token_type_ids for row in encodings], 0),
        )

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Turn ids into text again: pieces joined, spaces between words but not before punctuation.

        Case, accents and spaces that normalization took away do not come back.

        Args:
            ids: whole numbers below vocab_size; a tensor (S,) will do.
            skip_special_tokens: leave out [PAD], [UNK], [CLS], [SEP], [MASK].

        Raises:
            ValueError: an id out of the vocabulary.
        """
        tokens = self.convert_ids_to_tokens(ids)
        if skip_special_tokens:
            tokens = [token for token in tokens if token not in SPECIAL_TOKENS]
        text = "".join(_clean_up(_with_space(token)) for token in tokens[1:])
        return _clean_up(tokens[0]) + text if tokens else ""

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Return the id of each piece; that of [UNK] for what is not in the vocabulary."""
        if isinstance(tokens, str):
            raise ValueError(f"tokens={tokens!r} is one string, expected a list of pieces; use [{tokens!r}]")
        return [self.vocab.get(token, self.unk_token_id) for token in tokens]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the piece of each id.

        Raises:
            ValueError: an id out of the vocabulary, or not a whole number.
        """
        return [self.ids_to_tokens[number] for number in _check_ids(ids, self.vocab_size)]

    def fast(self) -> tokenizers.Tokenizer:
        """Return the same tokenizer as an object of the `tokenizers` library, for much text.

        `tokenizer.fast().encode(text)` has `ids`, `type_ids`, `attention_mask`, `tokens` and `offsets`;
        `encode_batch(texts)` uses every core. Functions swapped into this module do not reach it.
        """
        fast = tokenizers.Tokenizer(
            models.WordPiece(self.vocab, unk_token=UNK, max_input_chars_per_word=MAX_WORD)
        )
        fast.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=self.tokenize_chinese_chars,
            strip_accents=self.strip_accents,
            lowercase=self.do_lower_case,
        )
        fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        fast.post_processor = processors.TemplateProcessing(
            single=f"{CLS}:0 $A:0 {SEP}:0",
            pair=f"{CLS}:0 $A:0 {SEP}:0 $B:1 {SEP}:1",
            special_tokens=[(CLS, self.cls_token_id), (SEP, self.sep_token_id)],
        )
        fast.decoder = decoders.WordPiece()
        fast.add_special_tokens(list(SPECIAL_TOKENS))
        return fast

    def _pieces(self, text: str) -> _Pieces:
        """Return the pieces of a text, each with its offsets.

        No step looks beyond a space, so what is between two is cut alone, and once for all its repeats. Of
        steps that were swapped in nothing is known: they get the whole text, every time.
        """
        tokens: list[str] = []
        offsets: list[Offsets] = []
        own, begin = _steps() == _OWN_STEPS, 0
        known = self._known if own else {}
        for part in _SPECIAL.split(text):
            whole = part in SPECIAL_TOKENS or not own
            for chunk in [part] if whole else part.split(" "):
                cut = known.get(chunk) or self._cut_new(chunk, own)
                tokens += cut[0]
                for start, end in cut[1]:
                    offsets.append((begin + start, begin + end))
                begin += len(chunk) + 1
            begin -= 1  # no space after the last
        return _Pieces(tokens, offsets)

    def _cut_new(self, text: str, own: bool) -> _Cut:
        """Return the pieces of a text, or of a special token, and their offsets; remember them if short."""
        if text in SPECIAL_TOKENS:
            return (text,), ((0, len(text)),)
        cut = self._cut_plain(text) if own and text.isascii() and text.isprintable() else self._cut(text)
        if own and len(self._known) < MOST_KNOWN and len(text) <= MAX_WORD:
            self._known[text] = cut
        return cut

    def _cut(self, text: str) -> _Cut:
        """Return the pieces of a text without special tokens, and their offsets."""
        tokens: list[str] = []
        offsets: list[Offsets] = []
        for word in self.basic_tokenizer.tokenize_with_offsets(text):
            pieces = longest_match(word.text, self.vocab)
            tokens += pieces
            for start, end in piece_offsets(word.text, pieces, 0):
                covered = word.starts[start:end] or word.starts[-1:]
                offsets.append((covered[0], covered[-1] + 1))
        return tuple(tokens), tuple(offsets)

    def _cut_plain(self, text: str) -> _Cut:
        """Do what `_cut` does with printable ASCII without spaces, of which the case alone may change."""
        tokens: list[str] = []
        offsets: list[Offsets] = []
        begin = 0
        for word in split_on_punctuation(text.lower() if self.do_lower_case else text):
            pieces = longest_match(word, self.vocab)
            tokens += pieces
            offsets += piece_offsets(word, pieces, begin)
            begin += len(word)
        return tuple(tokens), tuple(offsets)

    def _assemble(self, parts: list[_Pieces], length: int) -> Encoding:
        """Put the parts, each a segment of its own, one after the other, and pad."""
        tokens = [token for part in parts for token in part.tokens]
        padding = max(0, length - len(tokens))
        return Encoding(
            self.convert_tokens_to_ids(tokens) + [self.pad_token_id] * padding,
            [segment for segment, part in enumerate(parts) for _ in part.tokens] + [0] * padding,
            [1] * len(tokens) + [0] * padding,
            tokens + [PAD] * padding,
            [place for part in parts for place in part.offsets] + [(0, 0)] * padding,
        )


def _steps() -> tuple[Any, ...]:
    """Return the functions that cut a text, as they are now: exercises swap them."""
    return (
        clean_text,
        separate_chinese,
        strip_accents,
        lower_case,
        split_on_punctuation,
        decompose,
        longest_match,
        piece_offsets,
    )


_OWN_STEPS = _steps()


def _truncate(parts: list[_Pieces], max_length: int, added: int) -> list[_Pieces]:
    if not _is_count(max_length) or max_length < added:
        raise ValueError(
            f"max_length={max_length!r} has no room for {added} special tokens; use a whole number of at "
            f"least {added}, or add_special_tokens=False"
        )
    first, second = (*(len(part.tokens) for part in parts), 0)[:2]
    kept = longest_first(first, second, max_length - added)
    return [part.first(length) for part, length in zip(parts, kept, strict=False)]


def _padded_length(padding: bool | int, max_length: int | None) -> int:
    if padding is False:
        return 0
    length = max_length if padding is True else padding
    if not _is_count(length):
        raise ValueError(
            f"padding={padding!r} with max_length={max_length!r} says no length; use padding=True and a "
            "max_length, or a number of tokens"
        )
    return length


def _stack(rows: list[list[int]], filler: int) -> Tensor:
    """Return the rows as one tensor (B, S), the shorter ones filled up at the end."""
    length = max(map(len, rows))
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows], dtype=torch.int64)


# What `decode` does to spaces, one piece at a time and in this order; English only, as in transformers
_CLEAN_UP = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " do not", " 's", " 've", " 're")


def _clean_up(piece: str) -> str:
    for spaced in _CLEAN_UP:
        piece = piece.replace(spaced, " don't" if spaced == " do not" else spaced.strip())
    return piece


def _with_space(token: str) -> str:
    return token[2:] if token.startswith("##") else f" {token}"


# 4. Learning a vocabulary


def train_wordpiece(
    texts: Iterable[str],
    vocab_size: int,
    criterion: str = "likelihood",
    min_frequency: int = 2,
    do_lower_case: bool = True,
    progress: bool = True,
) -> TrainedVocabulary:
    """Learn a vocabulary of pieces from texts.

    Args:
        texts: any number of texts.
        vocab_size: pieces wanted: special tokens, single characters and merged ones.
        criterion: "likelihood" (WordPiece as published), "ratio" or "frequency" (byte-pair encoding); see
            `bertlearn.wordpiece_training`.
        min_frequency: characters and pairs seen less often are passed over.
        do_lower_case: train for an uncased tokenizer.
        progress: show progress bars.

    Returns:
        `vocab`, for `WordPieceTokenizer(vocab, do_lower_case)`, and `merges`. The same texts always give
        the same.

    Raises:
        ValueError: something else than texts, too small a vocabulary, an unknown criterion.
    """
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise ValueError(
            f"texts is {type(texts).__name__}, expected several texts; put a single one in a list"
        )
    tokenizer = BasicTokenizer(do_lower_case)
    counts: Counter[str] = Counter()
    for text in tqdm(texts, desc="texts", disable=not progress):
        counts.update(tokenizer.tokenize(text))
    counts = Counter({word: count for word, count in counts.items() if len(word) <= MAX_WORD})
    return learn_pieces(counts, vocab_size, criterion, min_frequency, progress)


# What callers may get wrong


def _check_text(text: str, name: str = "text") -> str:
    """Return the text if it is one that can be stored as UTF-8."""
    if not isinstance(text, str):
        fix = '; use .decode("utf-8")' if isinstance(text, bytes) else ""
        raise ValueError(f"{name} is {type(text).__name__}, expected str{fix}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} has half a surrogate pair, {text[error.start]!r}, at index {error.start}, which is no "
            'character; use text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")'
        ) from None
    return text


def _check_filled(text: str, name: str) -> str:
    if text == "":
        raise ValueError(f"{name} is empty, expected at least one character; leave empty texts out")
    return _check_text(text, name)


def check_texts(texts: Sequence[str], pairs: Sequence[str] | None) -> Sequence[str | None]:
    """Return as many second texts as there are texts, None where there are none; refuse what is no text."""
    for name, given in (("texts", texts), ("pairs", pairs)):
        absent = given is None and name == "pairs"
        if isinstance(given, str | bytes) or not (absent or isinstance(given, Sequence)):
            raise ValueError(f"{name} is {type(given).__name__}, expected a list of texts")
    if not texts:
        raise ValueError(f"texts={texts!r} holds no text; give at least one")
    if pairs is not None and len(pairs) != len(texts):
        raise ValueError(f"{len(texts)} texts but {len(pairs)} pairs; give one second text for each text")
    for name, given in (("texts", texts), ("pairs", pairs or [])):
        for index, text in enumerate(given):
            _check_filled(text, f"{name}[{index}]")
    return [None] * len(texts) if pairs is None else pairs


def _check_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    try:
        numbers = [operator.index(number) for number in ids]
    except TypeError:
        raise ValueError(f"ids is {str(ids)[:60]!r}, expected a list of whole numbers") from None
    wrong = [number for number in numbers if not 0 <= number < vocab_size]
    if wrong:
        raise ValueError(f"the id {wrong[0]} is not in the vocabulary; ids go from 0 to {vocab_size - 1}")
    return numbers


def _check_vocab(vocab: Sequence[str] | dict[str, int]) -> dict[str, int]:
    """Return each piece with its id."""
    if isinstance(vocab, str | bytes) or not isinstance(vocab, Sequence | dict):
        raise ValueError(
            f"vocab is {type(vocab).__name__}, expected a list of pieces or a dict of ids; for a file use "
            "WordPieceTokenizer.from_pretrained(folder)"
        )
    ids = dict(vocab) if isinstance(vocab, dict) else {token: number for number, token in enumerate(vocab)}
    if not all(isinstance(token, str) for token in vocab):
        raise ValueError("vocab holds something that is no str; every piece is text")
    if len(ids) < len(vocab):
        repeated = next(token for number, token in enumerate(vocab) if ids[token] != number)
        raise ValueError(f"vocab holds {repeated!r} more than once; an id stands for one piece")
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(
            f"the ids of vocab are not 0 to {len(ids) - 1} without gaps and repeats; renumber them"
        )
    missing = [token for token in SPECIAL_TOKENS if token not in ids]
    if missing:
        raise ValueError(f"vocab has no {' '.join(missing)}; BERT needs {' '.join(SPECIAL_TOKENS)}")
    return ids


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# Files


_SPECIAL_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
_PECULIAR = ("single_word", "lstrip", "rstrip", "normalized")  # ways to match an added token


def _read_vocab(folder: Path, whole: dict[str, Any]) -> Sequence[str] | dict[str, int]:
    """Read vocab.txt or, where there is none, what tokenizer.json holds of it."""
    path = folder / VOCAB
    if path.is_file():
        try:
            with path.open(encoding="utf-8") as lines:
                return [line.rstrip("\n") for line in lines]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 ({error}); fetch it again") from error
    vocab = whole.get("model", {}).get("vocab")
    if vocab is None:
        raise FileNotFoundError(
            f"{folder} has no {VOCAB}, nor a {WHOLE} with a vocabulary; a tokenizer needs one"
        )
    return vocab


def _check_settings(settings: dict[str, Any], whole: dict[str, Any], folder: Path) -> None:
    """Refuse what would be cut otherwise than this module does it."""
    kind = whole.get("model", {}).get("type", "WordPiece")
    if kind != "WordPiece":
        raise ValueError(f"{folder / WHOLE} is a {kind} tokenizer; BERT's is WordPiece")
    for name, token in zip(_SPECIAL_NAMES, SPECIAL_TOKENS, strict=True):
        given = settings.get(name) or token
        if (given["content"] if isinstance(given, dict) else given) != token:
            raise ValueError(f"{name}={given!r} in {folder / SETTINGS} is not supported, only {token!r}")
    added = [*whole.get("added_tokens", ()), *settings.get("added_tokens_decoder", {}).values()]
    for token in added:
        if token["content"] not in SPECIAL_TOKENS or any(token.get(name) for name in _PECULIAR):
            raise ValueError(
                f"{folder} adds the token {token['content']!r} to BERT's five; added tokens are not supported"
            )


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))
