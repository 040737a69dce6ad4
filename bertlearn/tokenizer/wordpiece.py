"""From words to wordpieces of a fixed vocabulary, and to the numbers that BERT reads (chapter 2).

Source: Devlin et al. 2019, §3 (WordPiece, special tokens, segments); Schuster & Nakajima 2012. The results
are those of transformers' `BertTokenizer` for every text, offsets included.
Leaves out: tokens added to a vocabulary later, truncation on the left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from bertlearn.files import VOCAB, find_folder, read_json
from bertlearn.tokenizer.inputs import check_filled, check_ids, check_text, check_texts, is_count
from bertlearn.tokenizer.vocab_files import (
    MAX_WORD,
    SETTINGS,
    SPECIAL_NAMES,
    SPECIAL_TOKENS,
    WHOLE,
    check_settings,
    check_vocab,
    read_vocab,
    write_text,
)
from bertlearn.tokenizer.words import BasicTokenizer, split_on_punctuation

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS


CACHE_SIZE = 1 << 16  # words that a tokenizer remembers, about 50 MB

Offsets = tuple[int, int]  # start and end, in characters (code points) of the text

_SPECIAL = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")


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


def wordpiece_offsets(word: str, pieces: list[str], start: int) -> list[Offsets]:
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


class _Wordpieces(NamedTuple):
    """Pieces, and where each stands in the text: two lists of equal length."""

    tokens: list[str]
    offsets: list[Offsets]

    def first(self, count: int) -> _Wordpieces:
        return _Wordpieces(self.tokens[:count], self.offsets[:count])

    def add(self, place: int, token: str) -> None:
        """Put in a special token, which the text does not have."""
        self.tokens.insert(place, token)
        self.offsets.insert(place, (0, 0))


_Split = tuple[tuple[str, ...], tuple[Offsets, ...]]  # the same as tuples, for the cache


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

    caches_words: bool = True
    """Whether the wordpieces of a word are remembered. Set it to False while a step of the tokenizer is
    replaced: every text is then split as a whole, and anew."""

    def __init__(
        self,
        vocab: Sequence[str] | dict[str, int],
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
    ) -> None:
        self.vocab = check_vocab(vocab)
        self.ids_to_tokens = sorted(self.vocab, key=self.vocab.__getitem__)
        self.do_lower_case, self.strip_accents = do_lower_case, strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.basic_tokenizer = BasicTokenizer(do_lower_case, strip_accents, tokenize_chinese_chars)
        self.pad_token_id, self.unk_token_id = self.vocab[PAD], self.vocab[UNK]
        self.cls_token_id, self.sep_token_id = self.vocab[CLS], self.vocab[SEP]
        self.mask_token_id = self.vocab[MASK]
        self._cache: dict[str, _Split] = {}  # what was split before

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
        check_settings(settings, whole, folder)
        normalizer = whole.get("normalizer") or {}
        return cls(
            read_vocab(folder, whole),
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
            **dict(zip(SPECIAL_NAMES, SPECIAL_TOKENS, strict=True)),
        }
        if model_max_length is not None:
            settings["model_max_length"] = model_max_length
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{token}\n" for token in self.ids_to_tokens)
        for name, text in ((VOCAB, lines), (SETTINGS, json.dumps(settings, indent=2) + "\n")):
            write_text(folder / name, text)

    def tokenize(self, text: str) -> list[str]:
        """Return the pieces of a text, without [CLS] and [SEP]; a [MASK] or other in the text stays whole.

        Raises:
            ValueError: not a text; see `encode`.
        """
        return self._wordpieces(check_text(text)).tokens

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
        parts = [self._wordpieces(check_filled(text, "text"))]
        if pair is not None:
            parts.append(self._wordpieces(check_filled(pair, "pair")))
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
        return [self.ids_to_tokens[number] for number in check_ids(ids, self.vocab_size)]

    def fast(self) -> tokenizers.Tokenizer:
        """Return the same tokenizer as an object of the `tokenizers` library, for much text.

        `tokenizer.fast().encode(text)` has `ids`, `type_ids`, `attention_mask`, `tokens` and `offsets`;
        `encode_batch(texts)` uses every core.
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

    def _wordpieces(self, text: str) -> _Wordpieces:
        """Return the wordpieces of a text, each with its offsets.

        No step looks beyond a space, so the text between two spaces can be split on its own, and only once
        however often it occurs (`caches_words`).
        """
        tokens: list[str] = []
        offsets: list[Offsets] = []
        begin = 0
        for part in _SPECIAL.split(text):
            indivisible = part in SPECIAL_TOKENS or not self.caches_words
            for chunk in [part] if indivisible else part.split(" "):
                split = self._cache.get(chunk) if self.caches_words else None
                split = split or self._split_new(chunk)
                tokens += split[0]
                for start, end in split[1]:
                    offsets.append((begin + start, begin + end))
                begin += len(chunk) + 1
            begin -= 1  # no space follows the last chunk
        return _Wordpieces(tokens, offsets)

    def _split_new(self, text: str) -> _Split:
        """Split a text, or a special token, that is not in the cache; add it if it is short."""
        if text in SPECIAL_TOKENS:
            return (text,), ((0, len(text)),)
        if not self.caches_words:
            return self._split(text)
        split = self._split_ascii(text) if text.isascii() and text.isprintable() else self._split(text)
        if len(self._cache) < CACHE_SIZE and len(text) <= MAX_WORD:
            self._cache[text] = split
        return split

    def _split(self, text: str) -> _Split:
        """Return the wordpieces of a text without special tokens, and their offsets."""
        tokens: list[str] = []
        offsets: list[Offsets] = []
        for word in self.basic_tokenizer.tokenize_with_offsets(text):
            pieces = longest_match(word.text, self.vocab)
            tokens += pieces
            for start, end in wordpiece_offsets(word.text, pieces, 0):
                covered = word.starts[start:end] or word.starts[-1:]
                offsets.append((covered[0], covered[-1] + 1))
        return tuple(tokens), tuple(offsets)

    def _split_ascii(self, text: str) -> _Split:
        """Do the same for printable ASCII without spaces, where normalization can change only the case."""
        tokens: list[str] = []
        offsets: list[Offsets] = []
        begin = 0
        for word in split_on_punctuation(text.lower() if self.do_lower_case else text):
            pieces = longest_match(word, self.vocab)
            tokens += pieces
            offsets += wordpiece_offsets(word, pieces, begin)
            begin += len(word)
        return tuple(tokens), tuple(offsets)

    def _assemble(self, parts: list[_Wordpieces], length: int) -> Encoding:
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


def _truncate(parts: list[_Wordpieces], max_length: int, added: int) -> list[_Wordpieces]:
    if not is_count(max_length) or max_length < added:
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
    if not is_count(length):
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
