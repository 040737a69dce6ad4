"""From text to the token ids that BERT reads: WordPiece with a fixed vocabulary (chapter 2).

`longest_match` splits a word into wordpieces, the algorithm at the heart of this module.
`WordPieceTokenizer` applies it to texts; `encoding.py` adds special tokens, segments, truncation and padding.

Source: Devlin et al. 2019, §3 (WordPiece); Schuster & Nakajima 2012. The results are those of transformers'
`BertTokenizer` for every text, offsets included.
Leaves out: tokens added to a vocabulary later.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bertlearn.files import find_folder
from bertlearn.tokenizer.encoding import Offsets, Segment, SpecialTokens, SubwordTokenizer, shifted
from bertlearn.tokenizer.pretrained import SPECIAL_NAMES, read_tokenizer, write_tokenizer
from bertlearn.tokenizer.vocab_files import MAX_WORD, SPECIAL_TOKENS, check_vocab
from bertlearn.tokenizer.words import BasicTokenizer, end_of_dropped, split_on_punctuation

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS

CACHE_SIZE = 1 << 16  # entries in a tokenizer's cache, which then takes about 50 MB

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


_CacheEntry = tuple[tuple[str, ...], tuple[Offsets, ...], dict[int, int]]  # a segment, immutable

_NO_ENDS: dict[int, int] = {}


class WordPieceTokenizer(SubwordTokenizer):
    """Convert texts to token ids, with the special tokens that BERT needs, and ids back to text.

    Args:
        vocab: the tokens in the order of their ids, or a dict from token to id; ids are 0, 1, 2, … .
        do_lower_case, strip_accents, tokenize_chinese_chars: see `BasicTokenizer`.

    Raises:
        ValueError: the vocabulary lacks one of [PAD] [UNK] [CLS] [SEP] [MASK], or has repeats or gaps.
    """

    def __init__(
        self,
        vocab: Sequence[str] | dict[str, int],
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
    ) -> None:
        super().__init__(check_vocab(vocab), SpecialTokens(PAD, UNK, CLS, SEP, MASK))
        self.do_lower_case, self.strip_accents = do_lower_case, strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.basic_tokenizer = BasicTokenizer(do_lower_case, strip_accents, tokenize_chinese_chars)
        self._cache: dict[str, _CacheEntry] = {}  # from a stretch of text without spaces to its tokens

    @property
    def settings(self) -> dict[str, Any]:
        """The steps of normalization."""
        names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
        return {name: getattr(self, name) for name in names}

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

    def _tokenize_with_offsets(self, text: str) -> Segment:
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
                    ends |= shifted(stretch_ends, len(tokens), begin)
                tokens += stretch_tokens
                for start, end in stretch_offsets:
                    offsets.append((begin + start, begin + end))
                begin += len(stretch) + 1
            begin -= 1  # no space follows the last stretch
        return Segment(tokens, offsets, ends)

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

    def _join(self, tokens: Sequence[str]) -> str:
        """Return words with spaces between them, but not before punctuation."""
        text = "".join(_clean_up(_with_space(token)) for token in tokens[1:])
        return _clean_up(tokens[0]) + text if tokens else ""


def _ends(text: str, offsets: list[Offsets]) -> dict[int, int]:
    """Return, by position, the ends of the tokens that are followed by dropped characters."""
    ends: dict[int, int] = {}
    next_starts = [*(start for start, _ in offsets[1:]), len(text)]
    for position, ((_, end), start) in enumerate(zip(offsets, next_starts, strict=False)):
        whole = end_of_dropped(text, end, start) if start > end else end
        if whole > end:
            ends[position] = whole
    return ends


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
