"""A second way from text to token ids: the unigram model, for text with or without spaces (chapter 10).

Every piece has a score, the logarithm of its probability. `best_split` finds the split of a word whose
scores have the highest sum, `best_splits` the best few, and `sample_split` draws one. `UnigramTokenizer`
applies the first to texts, as multilingual models expect it.

Source: Kudo 2018, Subword Regularization, §3 (the model, n-best, sampling); Viterbi 1967. The results are
those of the tokenizers library's `Unigram` for every text, offsets included.
Leaves out: training (SentencePiece does it), fallback to bytes, truncation on the left.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

from bertlearn.arguments import check_count
from bertlearn.files import find_folder
from bertlearn.tokenizer.encoding import Offsets, Segment, SubwordTokenizer
from bertlearn.tokenizer.unigram_files import SPACE, SPECIAL_TOKENS, check_pieces, read_unigram, write_unigram

CACHE_SIZE = 1 << 16  # words whose pieces a tokenizer remembers
UNK_PENALTY = 10.0  # an unknown character scores this much less than the rarest piece, as in SentencePiece

Scores = Mapping[str, float]


# What SentencePiece's rule nmt_nfkc does before Unicode's NFKC, and the one character that it leaves alone
_DROPPED = "[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"
_SPACES = "[\t\n\x0c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"
_WAVE, _STAND_IN = (
    "\uff5e",
    "\ufdd0",
)  # a wave as wide as a Chinese character; a code point that is no character


class Edge(NamedTuple):
    """A piece that a word contains: `word[start:end]`, and the score of the piece."""

    start: int
    end: int
    score: float


class Split(NamedTuple):
    """One way to split a word, and the sum of its scores."""

    pieces: list[str]
    score: float


def lattice(word: str, scores: Scores, unknown: float, longest: int) -> Iterator[Edge]:
    """Yield every piece that the word contains, those that begin first first.

    Args:
        word: characters without spaces; "▁" stands for the space before a word.
        scores: the logarithm of each piece's probability.
        unknown: the score of a single character that is no piece.
        longest: the number of characters of the longest piece.
    """
    for start in range(len(word)):
        for end in range(start + 1, min(start + longest, len(word)) + 1):
            score = scores.get(word[start:end])
            if score is None and end == start + 1:
                score = unknown
            if score is not None:
                yield Edge(start, end, score)


def best_split(word: str, scores: Scores, unknown: float, longest: int) -> list[str]:
    """Split a word into the pieces whose scores have the highest sum: Viterbi's search.

    Args:
        word, scores, unknown, longest: see `lattice`.

    Returns:
        The pieces. Unknown characters that follow each other are one string, which is not in `scores`.
    """
    best = [0.0] + [-math.inf] * len(word)  # best[end]: the highest sum for word[:end]
    start_of = [0] * (len(word) + 1)  # where the last piece of that split begins
    for start, end, score in lattice(word, scores, unknown, longest):
        if best[start] + score > best[end]:
            best[end], start_of[end] = best[start] + score, start
    pieces: list[str] = []
    end = len(word)
    while end:
        pieces.append(word[start_of[end] : end])
        end = start_of[end]
    return _join_unknown(pieces[::-1], scores)


def best_splits(word: str, scores: Scores, unknown: float, longest: int, count: int) -> list[Split]:
    """Return the `count` splits of a word whose scores have the highest sums, the best first.

    Args:
        word, scores, unknown, longest: see `lattice`.
        count: how many; fewer are returned if there are fewer.
    """
    count = check_count("count", count)
    best: list[list[Split]] = [[Split([], 0.0)], *([] for _ in word)]  # best[end]: the best of word[:end]
    for start, end, score in lattice(word, scores, unknown, longest):
        piece = word[start:end]
        longer = [Split([*pieces, piece], total + score) for pieces, total in best[start]]
        best[end] = sorted(best[end] + longer, key=lambda split: -split.score)[:count]
    return [Split(_join_unknown(pieces, scores), total) for pieces, total in best[-1]]


def sample_split(
    word: str,
    scores: Scores,
    unknown: float,
    longest: int,
    generator: random.Random,
    alpha: float = 1.0,
) -> list[str]:
    """Draw a split of a word: forward over all splits, then backward, one piece at a time.

    Args:
        word, scores, unknown, longest: see `lattice`.
        generator: where the chance comes from.
        alpha: multiplies every score: with 0 all splits are equally likely, with a large one the best is
            nearly certain.

    Returns:
        The pieces. A split has the probability exp(alpha · its score) / the sum of this over all splits.
    """
    total = [0.0] + [-math.inf] * len(word)  # the logarithm of the sum over all splits of word[:end]
    into: list[list[Edge]] = [[] for _ in range(len(word) + 1)]
    for edge in lattice(word, scores, unknown, longest):
        total[edge.end] = _log_add(total[edge.end], total[edge.start] + alpha * edge.score)
        into[edge.end].append(edge)
    pieces: list[str] = []
    end = len(word)
    while end:
        weights = [math.exp(total[edge.start] + alpha * edge.score - total[end]) for edge in into[end]]
        (edge,) = generator.choices(into[end], weights)
        pieces.append(word[edge.start : end])
        end = edge.start
    return _join_unknown(pieces[::-1], scores)


def nmt_nfkc() -> normalizers.Normalizer:
    """Return the normalization of most multilingual models: NFKC, fewer control characters, more spaces.

    It differs from the table in a SentencePiece file (`normalizers.Precompiled`) for letters whose accents
    are characters of their own, of which that table composes only the short ones.
    """
    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(_DROPPED), ""),
            normalizers.Replace(Regex(_SPACES), " "),
            normalizers.Replace(_WAVE, _STAND_IN),
            normalizers.NFKC(),
            normalizers.Replace(_STAND_IN, _WAVE),
        ]
    )


class UnigramTokenizer(SubwordTokenizer):
    """Convert texts to token ids with a unigram model, and ids back to text.

    A text is normalized and split at white space; "▁" before a word says that a space was there. A pair has
    two separators between its texts and no segment numbers, as in XLM-R: <s> A </s></s> B </s>.

    Args:
        pieces: each piece with its score, in the order of the ids; <pad>, <unk>, <s>, </s>, <mask> are among
            them.
        normalizer: one of the tokenizers library, which knows where each character came from, or None.
        strips_before_mask: whether spaces before a <mask> in a text belong to it, as in XLM-R.

    Raises:
        ValueError: a special token is missing, a piece occurs twice, or a score is not a finite number.
    """

    separators = 2
    numbers_segments = False

    def __init__(
        self,
        pieces: Sequence[tuple[str, float]],
        normalizer: normalizers.Normalizer | None = None,
        strips_before_mask: bool = True,
    ) -> None:
        self.scores = check_pieces(pieces)
        super().__init__({piece: number for number, piece in enumerate(self.scores)}, SPECIAL_TOKENS)
        self.normalizer, self.strips_before_mask = normalizer, strips_before_mask
        self.unknown = min(self.scores.values()) - UNK_PENALTY
        self.longest = max(map(len, self.scores))
        self._splitter = _splitter()
        self._special = _special_pattern(strips_before_mask)
        self._cache: dict[str, list[str]] = {}  # from a word to its pieces

    @property
    def settings(self) -> dict[str, Any]:
        """The scores, in the order of the ids, and the normalization."""
        steps = None if self.normalizer is None else json.loads(self.normalizer.__getstate__())
        return {
            "scores": list(self.scores.values()),
            "normalizer": steps,
            "strips_before_mask": self.strips_before_mask,
        }

    @classmethod
    def from_pretrained(cls, folder_or_name: str | Path) -> UnigramTokenizer:
        """Load a tokenizer from tokenizer.json, as transformers writes it beside a BERT.

        Args:
            folder_or_name: a folder, or a hub name such as "intfloat/multilingual-e5-small".

        Raises:
            FileNotFoundError: there is no such folder, or it has no tokenizer.json.
            ValueError: a damaged file, a model that is not a BERT, or a tokenizer with another part, which
                the message names.
        """
        files = read_unigram(find_folder(folder_or_name))
        tokenizer = cls(files.pieces, files.normalizer, files.strips_before_mask)
        files.check_components(tokenizer.fast())
        return tokenizer

    def save_pretrained(self, folder: str | Path, model_max_length: int | None = None) -> None:
        """Write tokenizer.json and tokenizer_config.json, which transformers' `AutoTokenizer` reads.

        The other files of an older tokenizer in the folder, such as its vocab.txt, are removed.

        Args:
            folder: created if it does not exist.
            model_max_length: the number of tokens to which transformers truncates with `truncation=True`.

        Raises:
            OSError: the disk is full or not writable; earlier files in the folder stay as they were.
        """
        write_unigram(Path(folder).expanduser(), self.fast(), model_max_length)

    def split(self, word: str) -> list[str]:
        """Return the pieces of a word, which begins with "▁" if a space was before it."""
        cached = self._cache.get(word) if self.caches_words else None
        if cached is not None:
            return cached
        pieces = best_split(word, self.scores, self.unknown, self.longest)
        if self.caches_words and len(self._cache) < CACHE_SIZE:
            self._cache[word] = pieces
        return pieces

    def words(self, text: str) -> list[str]:
        """Return the normalized words of a text, each with "▁" before it."""
        return [word for word, _, _ in self._prepared(text).get_splits()]

    def fast(self) -> tokenizers.Tokenizer:
        """Return an equivalent tokenizer of the `tokenizers` library, which is faster on large texts."""
        fast = tokenizers.Tokenizer(models.Unigram(list(self.scores.items()), unk_id=self.unk_token_id))
        if self.normalizer is not None:
            fast.normalizer = self.normalizer
        fast.pre_tokenizer = _splitter()
        fast.decoder = decoders.Metaspace()
        cls, sep = SPECIAL_TOKENS.cls, SPECIAL_TOKENS.sep
        fast.post_processor = processors.TemplateProcessing(
            single=f"{cls} $A {sep}",
            pair=f"{cls} $A {sep} {sep} $B {sep}",
            special_tokens=[(cls, self.cls_token_id), (sep, self.sep_token_id)],
        )
        mask = SPECIAL_TOKENS.mask
        others = [token for token in SPECIAL_TOKENS if token != mask]
        mask_token = tokenizers.AddedToken(mask, lstrip=self.strips_before_mask, normalized=False)
        fast.add_special_tokens([*others, mask_token])
        return fast

    def _prepared(self, text: str) -> tokenizers.PreTokenizedString:
        """Return a text without special tokens, normalized and split into words."""
        prepared = tokenizers.PreTokenizedString(text)
        if self.normalizer is not None:
            prepared.normalize(self.normalizer.normalize)
        self._splitter.pre_tokenize(prepared)
        return prepared

    def _tokens_of(self, word: str) -> list[tokenizers.Token]:
        """Return the pieces of a word as the library's tokens, with their offsets in bytes."""
        tokens, start = [], 0
        for piece in self.split(word):
            end = start + len(piece.encode("utf-8"))
            tokens.append(tokenizers.Token(self.vocab.get(piece, self.unk_token_id), piece, (start, end)))
            start = end
        return tokens

    def _tokenize_with_offsets(self, text: str) -> Segment:
        tokens: list[str] = []
        offsets: list[Offsets] = []
        begin = 0
        for number, part in enumerate(self._special.split(text)):
            if number % 2:  # a special token, perhaps with spaces before it
                tokens.append(part.strip())
                offsets.append((begin, begin + len(part)))
            elif part:
                prepared = self._prepared(part)
                prepared.tokenize(self._tokens_of)
                found = prepared.to_encoding()
                tokens += found.tokens
                offsets += [(begin + start, begin + end) for start, end in found.offsets]
            begin += len(part)
        return Segment(tokens, offsets, {})

    def _join(self, tokens: Sequence[str]) -> str:
        return "".join(tokens).replace(SPACE, " ").removeprefix(" ")


def _splitter() -> pre_tokenizers.PreTokenizer:
    """Return what splits a text at white space and puts "▁" before each word."""
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])


def _special_pattern(strips_before_mask: bool) -> re.Pattern[str]:
    """Return the pattern of the special tokens that a text may spell out."""
    parts = [re.escape(token) for token in SPECIAL_TOKENS]
    parts[-1] = (r"\s*" if strips_before_mask else "") + parts[-1]
    return re.compile("(" + "|".join(parts) + ")")


def _join_unknown(pieces: Sequence[str], scores: Scores) -> list[str]:
    """Return the pieces with neighbors that are not in `scores` joined into one."""
    joined: list[str] = []
    for piece in pieces:
        if joined and piece not in scores and joined[-1] not in scores:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _log_add(one: float, other: float) -> float:
    """Return log(exp(one) + exp(other))."""
    larger = max(one, other)
    if larger == -math.inf:
        return larger
    return larger + math.log1p(math.exp(-abs(one - other))) if one != other else larger + math.log(2)
