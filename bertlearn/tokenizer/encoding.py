"""What every tokenizer does with tokens: special tokens, segments, truncation, padding, ids (chapter 2).

`SubwordTokenizer` is the common part of `WordPieceTokenizer` and `UnigramTokenizer`, which say how a text
becomes tokens, and how tokens become a text.

Source: Devlin et al. 2019, §3 (special tokens, segments).
Leaves out: truncation on the left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
import torch
from torch import Tensor

from bertlearn.arguments import check_count
from bertlearn.tokenizer.inputs import check_filled, check_ids, check_text, check_texts

Offsets = tuple[int, int]  # start and end of a token, in characters (code points) of the text


class Encoding(NamedTuple):
    """One text or pair as lists of equal length S: the model's inputs, and the tokens they stand for."""

    input_ids: list[int]
    token_type_ids: list[int]  # BERT: 0 for the first text with its [SEP], 1 for the second; 0 for padding
    attention_mask: list[int]  # 1 = token, 0 = padding
    tokens: list[str]
    offsets: list[Offsets]  # in the token's own text; (0, 0) for added special tokens and padding
    ends: dict[int, int]  # of tokens before accents or joiners that normalization drops, the end after these

    def end(self, position: int) -> int:
        """Return where a token ends in its text, with the characters that normalization drops after it."""
        return self.ends.get(position, self.offsets[position][1])


class Batch(NamedTuple):
    """Several texts as tensors, in the order of the model's arguments: `model(**batch._asdict())`."""

    input_ids: Tensor  # int64 (B, S)
    attention_mask: Tensor  # int64 (B, S); 1 = keep, 0 = padding
    token_type_ids: Tensor  # int64 (B, S)


class Segment(NamedTuple):
    """The tokens of one text, and where they are in it, as in `Encoding`."""

    tokens: list[str]
    offsets: list[Offsets]
    ends: dict[int, int]

    def truncated(self, length: int) -> Segment:
        """Return the first `length` tokens."""
        ends = {position: end for position, end in self.ends.items() if position < length}
        return Segment(self.tokens[:length], self.offsets[:length], ends)


class SpecialTokens(NamedTuple):
    """How a vocabulary writes the five special tokens: [PAD] and so on, or <pad> and so on."""

    pad: str
    unk: str
    cls: str
    sep: str
    mask: str


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of two texts to keep: tokens are removed from the longer one until both fit.

    Args:
        first: number of tokens in the first text.
        second: number of tokens in the second text, 0 if there is none.
        room: maximum number of tokens in both together.

    Returns:
        The two numbers of tokens to keep. If both texts are truncated and `room` is odd, the one that was
        longer keeps one token more; the second one if both were equally long.
    """
    if first + second <= room:
        return first, second
    shorter = min(first, second, room // 2)
    return (shorter, room - shorter) if first <= second else (room - shorter, shorter)


class SubwordTokenizer(ABC):
    """Convert texts to token ids, with special tokens, and ids back to text.

    Args:
        vocab: from token to id; the ids are 0, 1, 2, … .
        special_tokens: all of them in the vocabulary.
    """

    caches_words = True
    """Whether the tokens of a word are cached. Set it to False while a step of a tokenizer is replaced by
    another function: each text is then tokenized as a whole, without the cache and its shortcuts."""

    separators = 1  # how many separators stand between the two texts of a pair
    numbers_segments = True  # whether the second text's token_type_ids are 1

    def __init__(self, vocab: dict[str, int], special_tokens: SpecialTokens) -> None:
        self.vocab, self.special_tokens = vocab, special_tokens
        self.ids_to_tokens = sorted(vocab, key=vocab.__getitem__)
        self.pad_token_id, self.unk_token_id = vocab[special_tokens.pad], vocab[special_tokens.unk]
        self.cls_token_id, self.sep_token_id = vocab[special_tokens.cls], vocab[special_tokens.sep]
        self.mask_token_id = vocab[special_tokens.mask]

    @property
    def vocab_size(self) -> int:
        """V, the number of tokens in the vocabulary."""
        return len(self.vocab)

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides, besides the vocabulary, which tokens a text becomes: values that JSON can hold."""

    @abstractmethod
    def save_pretrained(self, folder: str | Path, model_max_length: int | None = None) -> None:
        """Write the files from which `from_pretrained` and transformers load the tokenizer."""

    @abstractmethod
    def fast(self) -> tokenizers.Tokenizer:
        """Return an equivalent tokenizer of the `tokenizers` library, which is faster on large texts."""

    @abstractmethod
    def _tokenize_with_offsets(self, text: str) -> Segment:
        """Return the tokens of a text and where they are in it."""

    @abstractmethod
    def _join(self, tokens: Sequence[str]) -> str:
        """Return the text that the tokens stand for."""

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, without adding special tokens.

        A special token that the text spells out, such as [MASK], becomes that one token.

        Raises:
            ValueError: not a valid text; see `encode`.
        """
        return self._tokenize_with_offsets(check_text(text)).tokens

    def encode(
        self,
        text: str,
        pair: str | None = None,
        max_length: int | None = None,
        padding: bool | int = False,
        add_special_tokens: bool = True,
    ) -> Encoding:
        """Encode a text or a pair as a model's input: [CLS] text [SEP], or [CLS] text [SEP] pair [SEP].

        Args:
            text: the text.
            pair: a second text.
            max_length: maximum number of tokens, special ones included. The texts are truncated at the end,
                the longer one first (see `longest_first`).
            padding: True pads to max_length, a number to that many tokens.
            add_special_tokens: False leaves out [CLS] and [SEP].

        Raises:
            ValueError: a text is not a string, is empty or has lone surrogates; or max_length is too small.
        """
        segments = [self._tokenize_with_offsets(check_filled(text, "text"))]
        if pair is not None:
            segments.append(self._tokenize_with_offsets(check_filled(pair, "pair")))
        if max_length is not None:
            added = 2 + self.separators * (len(segments) - 1) if add_special_tokens else 0
            segments = _truncate(segments, max_length, added)
        return self._assemble(segments, add_special_tokens, _padded_length(padding, max_length))

    def encode_batch(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, max_length: int | None = None
    ) -> Batch:
        """Encode several texts, or pairs, and pad them to the length of the longest.

        Args:
            texts: B texts.
            pairs: B second texts.
            max_length: maximum number of tokens in each encoding; see `encode`.

        Returns:
            int64 tensors (B, S), where S is the length of the longest encoding.

        Raises:
            ValueError: no texts, a different number of pairs than of texts, or a text that `encode` rejects.
        """
        seconds = check_texts(texts, pairs)
        return self.pad(
            [self.encode(text, pair, max_length) for text, pair in zip(texts, seconds, strict=True)]
        )

    def pad(self, encodings: Sequence[Encoding]) -> Batch:
        """Combine B encodings into one batch, padded to the length of the longest.

        Raises:
            ValueError: no encodings, or something other than encodings.
        """
        rows = list(encodings)
        if not rows:
            raise ValueError("encodings is empty, expected at least one; a batch without texts has no shape")
        for index, row in enumerate(rows):
            if not isinstance(row, Encoding):
                raise ValueError(
                    f"encodings[{index}] is {type(row).__name__}, expected what encode returns; put a single "
                    "encoding into a list"
                )
        return Batch(
            _stack([row.input_ids for row in rows], self.pad_token_id),
            _stack([row.attention_mask for row in rows], 0),
            _stack([row.token_type_ids for row in rows], 0),
        )

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Convert ids to text, with spaces between words.

        What normalization removed, such as the case or accents, does not come back.

        Args:
            ids: whole numbers below vocab_size, for example a tensor (S,).
            skip_special_tokens: leave out [PAD], [UNK], [CLS], [SEP], [MASK].

        Raises:
            ValueError: an id that is not in the vocabulary.
        """
        tokens = self.convert_ids_to_tokens(ids)
        if skip_special_tokens:
            tokens = [token for token in tokens if token not in self.special_tokens]
        return self._join(tokens)

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Return the id of each token, and that of [UNK] for a token that is not in the vocabulary.

        Raises:
            ValueError: a single string in place of a list, or something other than strings in it.
        """
        if isinstance(tokens, str):
            raise ValueError(f"tokens={tokens!r} is one string, expected a list of tokens; use [{tokens!r}]")
        tokens = list(tokens)
        for kind in set(map(type, tokens)):
            if not issubclass(kind, str):
                raise ValueError(
                    f"tokens has {kind.__name__}, expected strings only, such as ['film', '##s']"
                )
        return self._ids(tokens)

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the token of each id.

        Raises:
            ValueError: an id that is not in the vocabulary, or not a whole number.
        """
        return [self.ids_to_tokens[number] for number in check_ids(ids, self.vocab_size)]

    def _assemble(self, segments: list[Segment], add_special_tokens: bool, length: int) -> Encoding:
        """Concatenate the segments, number them in `token_type_ids`, and pad to `length` tokens."""
        pad, _, cls, sep, _ = self.special_tokens
        tokens: list[str] = []
        offsets: list[Offsets] = []
        ends: dict[int, int] = {}
        token_type_ids: list[int] = []
        for number, segment in enumerate(segments):
            if add_special_tokens:
                before = [sep] * (self.separators - 1) if number else [cls]
                tokens += before
                offsets += [(0, 0)] * len(before)
            if segment.ends:
                ends |= shifted(segment.ends, len(tokens), 0)
            tokens += segment.tokens
            offsets += segment.offsets
            if add_special_tokens:
                tokens.append(sep)
                offsets.append((0, 0))
            kind = number if self.numbers_segments else 0
            token_type_ids += [kind] * (len(tokens) - len(token_type_ids))
        padding = max(0, length - len(tokens))
        return Encoding(
            self._ids(tokens) + [self.pad_token_id] * padding,
            token_type_ids + [0] * padding,
            [1] * len(tokens) + [0] * padding,
            tokens + [pad] * padding,
            offsets + [(0, 0)] * padding,
            ends,
        )

    def _ids(self, tokens: list[str]) -> list[int]:
        return [self.vocab.get(token, self.unk_token_id) for token in tokens]


def shifted(ends: dict[int, int], positions: int, characters: int) -> dict[int, int]:
    """Return the ends of tokens that come after this many other tokens and characters."""
    return {positions + position: characters + end for position, end in ends.items()}


def _truncate(segments: list[Segment], max_length: int, num_special: int) -> list[Segment]:
    """Truncate the segments so that they and `num_special` special tokens fit into `max_length` tokens."""
    remedy = f"{num_special} are special tokens, which add_special_tokens=False leaves out"
    room = check_count("max_length", max_length, num_special, remedy=remedy) - num_special
    first, second = (*(len(segment.tokens) for segment in segments), 0)[:2]
    kept = longest_first(first, second, room)
    return [segment.truncated(length) for segment, length in zip(segments, kept, strict=False)]


def _padded_length(padding: bool | int, max_length: int | None) -> int:
    """Return the number of tokens to pad to, 0 for no padding."""
    if padding is False:
        return 0
    if padding is True and max_length is None:
        raise ValueError("padding=True needs a max_length to pad to; give one, or a number of tokens")
    return check_count("padding", max_length if padding is True else padding, 0)


def _stack(rows: list[list[int]], filler: int) -> Tensor:
    """Return the rows as one tensor (B, S), shorter rows padded at the end with `filler`."""
    length = max(map(len, rows))
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows], dtype=torch.int64)
