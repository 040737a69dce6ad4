"""From text to the token ids that BERT reads: WordPiece with a fixed vocabulary (chapter 2).

`longest_match` splits a word into wordpieces, the algorithm at the heart of this module.
`WordPieceTokenizer` applies it to texts and adds special tokens, segments, truncation and padding.

Source: Devlin et al. 2019, §3 (WordPiece, special tokens, segments); Schuster & Nakajima 2012. The results
are those of transformers' `BertTokenizer` for every text, offsets included.
Leaves out: tokens added to a vocabulary later, truncation on the left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from bertlearn.arguments import check_count
from bertlearn.files import find_folder
from bertlearn.tokenizer.inputs import check_filled, check_ids, check_text, check_texts
from bertlearn.tokenizer.pretrained import SPECIAL_NAMES, read_tokenizer, write_tokenizer
from bertlearn.tokenizer.vocab_files import MAX_WORD, SPECIAL_TOKENS, check_vocab
from bertlearn.tokenizer.words import BasicTokenizer, end_of_dropped, split_on_punctuation

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS

CACHE_SIZE = 1 << 16  # entries in a tokenizer's cache, which then takes about 50 MB

Offsets = tuple[int, int]  # start and end of a token, in characters (code points) of the text

_SPECIAL = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")


def longest_match(
    word: str, vocab: dict[str, int], unk_token: str = UNK, max_input_chars_per_word: int = MAX_WORD
) -> list[str]:
    """Split a word into wordpieces, greedily from the left: each is the longest one in the vocabulary.

    Args:
        word: characters without spaces.
        vocab: its keys are the wordpieces; those that continue a word begin with ##.
        unk_token: returned alone if some part of the word matches no wordpiece.
        max_input_chars_per_word: a longer word becomes `unk_token` without a search.

    Returns:
        The wordpieces: "films" may become ["film", "##s"].
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
    """Return the offsets of a word's wordpieces in a text in which the word begins at `start`.

    Args:
        word: the word.
        pieces: its wordpieces; [UNK] alone covers the whole word.
        start: index of the word's first character in the text.

    Returns:
        For each wordpiece, the index of its first character and the index after its last one.
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
    """One text or pair as lists of equal length S: the model's inputs, and the tokens they stand for."""

    input_ids: list[int]
    token_type_ids: list[int]  # 0 for the first text with its [SEP], 1 for the second; 0 for padding
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


class _Segment(NamedTuple):
    """The tokens of one text, and where they are in it, as in `Encoding`."""

    tokens: list[str]
    offsets: list[Offsets]
    ends: dict[int, int]

    def truncated(self, length: int) -> _Segment:
        """Return the first `length` tokens."""
        ends = {position: end for position, end in self.ends.items() if position < length}
        return _Segment(self.tokens[:length], self.offsets[:length], ends)


_CacheEntry = tuple[tuple[str, ...], tuple[Offsets, ...], dict[int, int]]  # a segment, immutable

_NO_ENDS: dict[int, int] = {}


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


class WordPieceTokenizer:
    """Convert texts to token ids, with the special tokens that BERT needs, and ids back to text.

    Args:
        vocab: the tokens in the order of their ids, or a dict from token to id; ids are 0, 1, 2, … .
        do_lower_case, strip_accents, tokenize_chinese_chars: see `BasicTokenizer`.

    Raises:
        ValueError: the vocabulary lacks one of [PAD] [UNK] [CLS] [SEP] [MASK], or has repeats or gaps.
    """

    caches_words: bool = True
    """Whether the tokens of a word are cached. Set it to False while a step of the tokenizer is replaced by
    another function: each text is then tokenized as a whole, without the cache and its shortcuts."""

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
        self._cache: dict[str, _CacheEntry] = {}  # from a stretch of text without spaces to its tokens

    @property
    def vocab_size(self) -> int:
        """V, the number of tokens in the vocabulary."""
        return len(self.vocab)

    @classmethod
    def from_pretrained(cls, folder_or_name: str | Path) -> WordPieceTokenizer:
        """Load a tokenizer from the files that transformers writes; see `bertlearn.tokenizer.pretrained`.

        Args:
            folder_or_name: a folder, or a hub name such as "google-bert/bert-base-uncased".

        Raises:
            FileNotFoundError: there is no such folder, or it has no vocabulary.
            ValueError: a damaged file, files that contradict each other, or a tokenizer that is not BERT's.
        """
        files = read_tokenizer(find_folder(folder_or_name))
        tokenizer = cls(files.vocab, **files.settings)
        files.check_components(tokenizer.fast())
        return tokenizer

    def save_pretrained(self, folder: str | Path, model_max_length: int | None = None) -> None:
        """Write vocab.txt and tokenizer_config.json, which transformers' `BertTokenizer` reads.

        The other files of an older tokenizer in the folder, such as its tokenizer.json, are removed.

        Args:
            folder: created if it does not exist.
            model_max_length: the number of tokens to which transformers truncates with `truncation=True`.

        Raises:
            ValueError: a token contains a line break, so vocab.txt cannot hold it.
            OSError: the disk is full or not writable; earlier files in the folder stay as they were.
        """
        config: dict[str, Any] = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.do_lower_case,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.tokenize_chinese_chars,
            **SPECIAL_NAMES,
        }
        if model_max_length is not None:
            config["model_max_length"] = model_max_length
        write_tokenizer(Path(folder).expanduser(), self.ids_to_tokens, config)

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, without adding [CLS] and [SEP].

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
        """Encode a text or a pair as BERT's input: [CLS] text [SEP], or [CLS] text [SEP] pair [SEP].

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
            segments = _truncate(segments, max_length, len(segments) + 1 if add_special_tokens else 0)
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
        """Convert ids to text: tokens joined to words, with spaces between words but not before punctuation.

        The case, accents and spaces that normalization removed do not come back.

        Args:
            ids: whole numbers below vocab_size, for example a tensor (S,).
            skip_special_tokens: leave out [PAD], [UNK], [CLS], [SEP], [MASK].

        Raises:
            ValueError: an id that is not in the vocabulary.
        """
        tokens = self.convert_ids_to_tokens(ids)
        if skip_special_tokens:
            tokens = [token for token in tokens if token not in SPECIAL_TOKENS]
        text = "".join(_clean_up(_with_space(token)) for token in tokens[1:])
        return _clean_up(tokens[0]) + text if tokens else ""

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

    def fast(self) -> tokenizers.Tokenizer:
        """Return an equivalent tokenizer of the `tokenizers` library, which is faster on large texts.

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

    def _tokenize_with_offsets(self, text: str) -> _Segment:
        """Return the tokens of a text and where they are in it.

        No step of the tokenizer looks beyond a space. So each stretch of text between two spaces is tokenized
        on its own, and its tokens are cached, since most of them occur again (see `caches_words`).
        """
        tokens: list[str] = []
        offsets: list[Offsets] = []
        ends: dict[int, int] = {}
        begin = 0
        for part in _SPECIAL.split(text):
            keep_whole = part in SPECIAL_TOKENS or not self.caches_words
            for stretch in [part] if keep_whole else part.split(" "):
                cached = self._cache.get(stretch) if self.caches_words else None
                stretch_tokens, stretch_offsets, stretch_ends = cached or self._tokenize_uncached(stretch)
                if stretch_ends:  # few have any
                    ends |= _shifted(stretch_ends, len(tokens), begin)
                tokens += stretch_tokens
                for start, end in stretch_offsets:
                    offsets.append((begin + start, begin + end))
                begin += len(stretch) + 1
            begin -= 1  # no space follows the last stretch
        return _Segment(tokens, offsets, ends)

    def _tokenize_uncached(self, text: str) -> _CacheEntry:
        """Tokenize a stretch of text, or a special token; add the result to the cache if it is short."""
        if text in SPECIAL_TOKENS:
            return (text,), ((0, len(text)),), _NO_ENDS
        if not self.caches_words:
            return self._tokenize_any(text)
        simple = text.isascii() and text.isprintable()
        entry = self._tokenize_ascii(text) if simple else self._tokenize_any(text)
        if len(self._cache) < CACHE_SIZE and len(text) <= MAX_WORD:
            self._cache[text] = entry
        return entry

    def _tokenize_any(self, text: str) -> _CacheEntry:
        """Tokenize a text without special tokens: split it into words, and each word into wordpieces."""
        tokens: list[str] = []
        offsets: list[Offsets] = []
        for word in self.basic_tokenizer.tokenize_with_offsets(text):
            pieces = longest_match(word.text, self.vocab)
            tokens += pieces
            for start, end in wordpiece_offsets(word.text, pieces, 0):
                covered = word.starts[start:end] or word.starts[-1:]
                offsets.append((covered[0], covered[-1] + 1))
        return tuple(tokens), tuple(offsets), _ends(text, offsets)

    def _tokenize_ascii(self, text: str) -> _CacheEntry:
        """Tokenize printable ASCII without spaces, faster: normalization can change nothing but the case."""
        tokens: list[str] = []
        offsets: list[Offsets] = []
        begin = 0
        for word in split_on_punctuation(text.lower() if self.do_lower_case else text):
            pieces = longest_match(word, self.vocab)
            tokens += pieces
            offsets += wordpiece_offsets(word, pieces, begin)
            begin += len(word)
        return tuple(tokens), tuple(offsets), _NO_ENDS

    def _assemble(self, segments: list[_Segment], add_special_tokens: bool, length: int) -> Encoding:
        """Concatenate the segments, number them in `token_type_ids`, and pad to `length` tokens."""
        tokens = [CLS] if add_special_tokens else []
        offsets = [(0, 0)] * len(tokens)
        ends: dict[int, int] = {}
        token_type_ids: list[int] = []
        for number, segment in enumerate(segments):
            if segment.ends:
                ends |= _shifted(segment.ends, len(tokens), 0)
            tokens += segment.tokens
            offsets += segment.offsets
            if add_special_tokens:
                tokens.append(SEP)
                offsets.append((0, 0))
            token_type_ids += [number] * (len(tokens) - len(token_type_ids))
        padding = max(0, length - len(tokens))
        return Encoding(
            self._ids(tokens) + [self.pad_token_id] * padding,
            token_type_ids + [0] * padding,
            [1] * len(tokens) + [0] * padding,
            tokens + [PAD] * padding,
            offsets + [(0, 0)] * padding,
            ends,
        )

    def _ids(self, tokens: list[str]) -> list[int]:
        return [self.vocab.get(token, self.unk_token_id) for token in tokens]


def _ends(text: str, offsets: list[Offsets]) -> dict[int, int]:
    """Return, by position, the ends of the tokens that are followed by dropped characters."""
    ends: dict[int, int] = {}
    next_starts = [*(start for start, _ in offsets[1:]), len(text)]
    for position, ((_, end), start) in enumerate(zip(offsets, next_starts, strict=False)):
        whole = end_of_dropped(text, end, start) if start > end else end
        if whole > end:
            ends[position] = whole
    return ends


def _shifted(ends: dict[int, int], positions: int, characters: int) -> dict[int, int]:
    """Return the ends of tokens that come after this many other tokens and characters."""
    return {positions + position: characters + end for position, end in ends.items()}


def _truncate(segments: list[_Segment], max_length: int, num_special: int) -> list[_Segment]:
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


# Where `decode` removes spaces, token by token and in this order; for English only, as in transformers
_CLEAN_UP = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " do not", " 's", " 've", " 're")


def _clean_up(token: str) -> str:
    """Remove the spaces before punctuation and contractions in a decoded token."""
    for spaced in _CLEAN_UP:
        token = token.replace(spaced, " don't" if spaced == " do not" else spaced.strip())
    return token


def _with_space(token: str) -> str:
    """Return the token's text, after a space if it begins a word."""
    return token[2:] if token.startswith("##") else f" {token}"
