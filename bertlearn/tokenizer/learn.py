"""Learning a vocabulary: from counted words to wordpieces, one merge at a time (chapter 2).

Training begins with single characters, and repeatedly merges the best pair of neighbors into a new
wordpiece. The criterion decides which pair is the best:

likelihood  the pair that raises the likelihood of the text the most: WordPiece as published, Schuster &
            Nakajima 2012. They leave the language model open; here it is a unigram model of wordpieces.
ratio       count(a b) / (count(a) · count(b)), the formula often shown for WordPiece: how much likelier each
            single occurrence becomes. It ignores the number of occurrences, so it merges the rarest
            characters first.
frequency   the most frequent pair: byte-pair encoding, Sennrich et al. 2016, §3.2.

Leaves out: several processes, and words that a tokenizer does not split (more than 100 characters).
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from bertlearn.arguments import check_count
from bertlearn.tokenizer.vocab_files import MAX_WORD, SPECIAL_TOKENS
from bertlearn.tokenizer.words import BasicTokenizer, is_chinese

ALPHABET = 1000  # characters in a vocabulary of up to 4,000 tokens, if no limit is given

DECIMALS = 6  # scores are rounded, so that rounding errors, which vary between processors, decide no ties

Numbers = NDArray[np.float64]
Pair = tuple[int, int]  # the numbers of two neighboring wordpieces


class Merge(NamedTuple):
    """One step of training: two wordpieces and the one they were merged into."""

    left: str
    right: str
    merged: str
    score: float  # of the criterion: nats (likelihood), a ratio of counts (ratio) or a count (frequency)
    pair_count: int  # how often the two were neighbors


class TrainedVocabulary(NamedTuple):
    """The vocabulary (special tokens, characters, then merged wordpieces) and the merges, both in order."""

    vocab: list[str]
    merges: list[Merge]


class PairCounts(NamedTuple):
    """The counts that a criterion scores: arrays with one number for each pair, and the total."""

    pair: Numbers  # how often the pair can be merged: a a a has one pair a a, not two
    left: Numbers  # how often the left wordpiece occurs anywhere in the text
    right: Numbers  # the same for the right one
    same: NDArray[np.bool_]  # whether both are the same wordpiece
    total: float  # wordpieces in the whole text


def likelihood(counts: PairCounts) -> Numbers:
    """Return by how many nats merging each pair would raise the log-likelihood of the text.

    With N wordpieces in the text, of which c(x) are x, the log-likelihood is Σ c(x) · log(c(x) / N), which
    equals Σ c(x) log c(x) − N log N. A merge changes three of these terms (left, right, N) and adds one.
    """
    pair, left, right, same, total = counts
    left_after = left - np.where(same, 2 * pair, pair)
    gain_left = _x_log_x(left_after) - _x_log_x(left)
    gain_right = np.where(same, 0.0, _x_log_x(right - pair) - _x_log_x(right))
    gain_total = _x_log_x(total) - _x_log_x(total - pair)
    return np.round((gain_left + gain_right) + _x_log_x(pair) + gain_total, DECIMALS)


def ratio(counts: PairCounts) -> Numbers:
    """Return each pair's count, divided by the product of its two wordpieces' counts."""
    return counts.pair / (counts.left * counts.right)


def frequency(counts: PairCounts) -> Numbers:
    """Return each pair's count."""
    return counts.pair


CRITERIA: dict[str, Callable[[PairCounts], Numbers]] = {
    "likelihood": likelihood,
    "ratio": ratio,
    "frequency": frequency,
}


def learn_wordpieces(
    word_counts: Mapping[str, int],
    vocab_size: int,
    criterion: str = "likelihood",
    min_frequency: int = 2,
    progress: bool = True,
    limit_alphabet: int | None = None,
) -> TrainedVocabulary:
    """Learn a vocabulary from counted words.

    Args:
        word_counts: how often each word occurs.
        vocab_size: size of the vocabulary, special tokens and single characters included. It may become
            smaller: training ends when no pair that is frequent enough has a score above 0.
        criterion: "likelihood", "ratio" or "frequency"; see the module.
        min_frequency: characters and pairs that occur less often are ignored, and so are the words with such
            characters. This keeps accidental pairs out of the vocabulary, which matters most with "ratio".
        progress: show a progress bar.
        limit_alphabet: maximum number of different characters; the rarest are left out, and so are the words
            with them. None for `alphabet_limit(vocab_size, word_counts)`.

    Warns if the limit leaves characters out: how many, and the share of the text that becomes [UNK].

    Returns:
        The vocabulary, in the order of its ids, and the merges. Of two pairs with the same score, the more
        frequent one is merged first, then the alphabetically smaller one: the same words always give the
        same vocabulary.

    Raises:
        ValueError: an unknown criterion, no words, or a vocabulary too small for the characters.
    """
    check_sizes(vocab_size, limit_alphabet, min_frequency)
    if criterion not in CRITERIA:
        raise ValueError(f"unknown criterion {criterion!r}; choose one of {', '.join(CRITERIA)}")
    limit = alphabet_limit(vocab_size, word_counts) if limit_alphabet is None else limit_alphabet
    words, alphabet = _split_words(word_counts, min_frequency, limit)
    _check_room(vocab_size, alphabet, min_frequency)
    corpus = _Corpus(words, CRITERIA[criterion], min_frequency)
    vocab = dict.fromkeys([*SPECIAL_TOKENS, *alphabet])  # an ordered set
    merges = []
    with tqdm(total=vocab_size, initial=len(vocab), desc="wordpieces", disable=not progress) as bar:
        while len(vocab) < vocab_size and (merge := corpus.merge_best()) is not None:
            bar.update(merge.merged not in vocab)
            vocab[merge.merged] = None
            merges.append(merge)
    return TrainedVocabulary(list(vocab), merges)


def alphabet_limit(vocab_size: int, word_counts: Mapping[str, int]) -> int:
    """Return the default maximum number of different characters in a vocabulary.

    That is a quarter of its tokens, so that at most half of them are single characters, with and without ##;
    but not fewer than 1,000, which few texts in an alphabet reach. In a text of which half is Chinese, each
    character of it a word and never after ##, it is fifteen sixteenths.
    """
    chinese = sum(count for word, count in word_counts.items() if is_chinese(word))
    if 2 * chinese > sum(len(word) * count for word, count in word_counts.items()):
        return vocab_size - vocab_size // 16
    return max(ALPHABET, vocab_size // 4)


def check_sizes(vocab_size: int, limit_alphabet: int | None = None, min_frequency: int = 2) -> None:
    """Check the sizes that a vocabulary is to have, before its text is read.

    Raises:
        ValueError: one of them is not a whole number of at least 1.
    """
    limit = 1 if limit_alphabet is None else limit_alphabet
    sizes = {"vocab_size": vocab_size, "limit_alphabet": limit, "min_frequency": min_frequency}
    for name, value in sizes.items():
        check_count(name, value)


def merge_pair(word: list[int], left: int, right: int, merged: int) -> list[int]:
    """Return the word with each pair `left`, `right` replaced by `merged`, from left to right."""
    result: list[int] = []
    for piece in word:
        if piece == right and result and result[-1] == left:
            result[-1] = merged
        else:
            result.append(piece)
    return result


def pairs_in(word: list[int]) -> Iterable[Pair]:
    """Yield the pairs of neighbors, each as often as it can be merged: a a a has one pair a a, not two."""
    previous = None
    for pair in pairwise(word):
        if pair == previous:
            previous = None
        else:
            yield pair
            previous = pair


class _Corpus:
    """Words split into wordpieces, with all counts kept up to date while pairs are merged.

    A merge changes counts only in the words that contain the pair, so only those are counted again. It makes
    its two wordpieces rarer, which may raise the score of other pairs with them, so all pairs that share a
    wordpiece with the merge are scored again. For all other pairs only the total changes: it falls, and
    their scores fall with it. So an outdated score can be too high, never too low, and it is enough to
    compute the highest score again before the pair is chosen.
    """

    def __init__(
        self,
        words: Mapping[tuple[str, ...], int],
        criterion: Callable[[PairCounts], Numbers],
        min_frequency: int,
    ) -> None:
        self.criterion, self.min_frequency = criterion, min_frequency
        self.pieces: list[str] = []
        self.piece_ids: dict[str, int] = {}
        self.piece_counts = np.zeros(1024)
        self.pairs: list[Pair] = []
        self.pair_ids: dict[Pair, int] = {}
        self.pair_words: defaultdict[Pair, set[int]] = defaultdict(set)  # words that have, or had, the pair
        self.pair_pieces = np.zeros((2, 1024), dtype=np.int64)  # left, right
        self.pair_counts = np.zeros(1024)
        self.scores = np.zeros(1024)
        self.pairs_of: list[list[int]] = []  # for each wordpiece, the pairs whose score depends on its count
        self.words = [[self._piece(piece) for piece in word] for word in words]
        self.word_counts = list(words.values())
        self._count_all()

    def merge_best(self) -> Merge | None:
        """Merge the best pair in all words and return the merge; None if no pair has a score above 0."""
        best = self._best()
        if best is None:
            return None
        left, right = self.pairs[best]
        score, count = float(self.scores[best]), int(self.pair_counts[best])
        merged = self._piece(self.pieces[left] + self.pieces[right].removeprefix("##"))
        self._merge(left, right, merged)
        touched = self.pairs_of[left] + self.pairs_of[right] + self.pairs_of[merged]
        self._score(np.array(touched))
        return Merge(self.pieces[left], self.pieces[right], self.pieces[merged], score, count)

    def _merge(self, left: int, right: int, merged: int) -> None:
        """Merge one pair in all words, and update the counts of wordpieces and pairs."""
        changes: defaultdict[Pair, int] = defaultdict(int)
        merges = 0
        for number in sorted(self.pair_words.pop((left, right))):
            word, count = self.words[number], self.word_counts[number]
            self.words[number] = merge_pair(word, left, right, merged)
            for pair in pairs_in(word):
                changes[pair] -= count
            for pair in pairs_in(self.words[number]):
                changes[pair] += count
                if merged in pair:
                    self.pair_words[pair].add(number)
            merges += count * (len(word) - len(self.words[number]))
        for piece, change in ((left, -merges), (right, -merges), (merged, merges)):
            self.piece_counts[piece] += change
        self._change_pairs(changes)

    def _count_all(self) -> None:
        """Count all wordpieces and pairs for the first time, and score the pairs."""
        changes: defaultdict[Pair, int] = defaultdict(int)
        for number, (word, count) in enumerate(zip(self.words, self.word_counts, strict=True)):
            for piece in word:
                self.piece_counts[piece] += count
            for pair in pairs_in(word):
                changes[pair] += count
                self.pair_words[pair].add(number)
        self._change_pairs(changes)
        self._score(np.arange(len(self.pairs)))

    def _change_pairs(self, changes: Mapping[Pair, int]) -> None:
        for pair, change in changes.items():
            if change:
                number = self._pair(pair)  # must come first: it may replace the array by a longer one
                self.pair_counts[number] += change

    def _best(self) -> int | None:
        """Return the number of the pair to merge next, None if no score is above 0."""
        scores = self.scores[: len(self.pairs)]
        while (highest := scores.max(initial=0.0)) > 0:
            top = np.flatnonzero(scores == highest)
            self._score(top)
            if (scores[top] == highest).all():
                return min(top.tolist(), key=self._order)
        return None

    def _order(self, pair: int) -> tuple[float, str, str]:
        """Return the sort key that breaks ties: the more frequent pair first, then alphabetically."""
        left, right = self.pairs[pair]
        return -self.pair_counts[pair], self.pieces[left], self.pieces[right]

    def _score(self, pairs: NDArray[np.int64]) -> None:
        """Score these pairs by the current counts; pairs that are too rare get 0."""
        self.scores[pairs] = 0
        pairs = pairs[self.pair_counts[pairs] >= self.min_frequency]
        left, right = self.pair_pieces[:, pairs]
        counts = PairCounts(
            pair=self.pair_counts[pairs],
            left=self.piece_counts[left],
            right=self.piece_counts[right],
            same=left == right,
            total=self.piece_counts.sum(),
        )
        self.scores[pairs] = self.criterion(counts)

    def _piece(self, text: str) -> int:
        """Return the number of a wordpiece, a new one if the wordpiece is new."""
        if text not in self.piece_ids:
            self.piece_ids[text] = len(self.pieces)
            self.pieces.append(text)
            self.pairs_of.append([])
            self.piece_counts = _grown(self.piece_counts, len(self.pieces))
        return self.piece_ids[text]

    def _pair(self, pair: Pair) -> int:
        """Return the number of a pair, a new one if the pair is new."""
        if pair not in self.pair_ids:
            number = self.pair_ids[pair] = len(self.pairs)
            self.pairs.append(pair)
            self.scores = _grown(self.scores, len(self.pairs))
            self.pair_counts = _grown(self.pair_counts, len(self.pairs))
            self.pair_pieces = _grown(self.pair_pieces, len(self.pairs))
            self.pair_pieces[:, number] = pair
            for piece in set(pair):
                self.pairs_of[piece].append(number)
        return self.pair_ids[pair]


def _grown(array: NDArray, length: int) -> NDArray:
    """Return the array, doubled in length with zeros if it is shorter than `length`."""
    return array if length <= array.shape[-1] else np.concatenate([array, np.zeros_like(array)], axis=-1)


def _x_log_x(x: Numbers | float) -> Numbers:
    return x * np.log(np.maximum(x, 1))


def _split_words(
    word_counts: Mapping[str, int], min_frequency: int, limit: int
) -> tuple[dict[tuple[str, ...], int], list[str]]:
    """Split words into characters, with ## before all but the first.

    Returns:
        The split words with their counts, and the alphabet: the characters that occur `min_frequency` times,
        and of these the most frequent. Words with another character are left out.
    """
    words = {tuple([word[0], *("##" + c for c in word[1:])]): n for word, n in word_counts.items()}
    counts: Counter[str] = Counter()
    for pieces, n in words.items():
        for piece in pieces:
            counts[piece] += n
    frequent = {piece: n for piece, n in counts.items() if n >= min_frequency}
    characters = _most_frequent(frequent, limit)
    known = {piece for piece in frequent if piece[-1] in characters}
    alphabet = sorted(known, key=lambda piece: (piece[:2] == "##", piece))
    kept = {pieces: n for pieces, n in words.items() if known.issuperset(pieces)}
    if len(known) < len(frequent):
        _warn_of_unknown(words, kept, len({piece[-1] for piece in frequent}), limit)
    return kept, alphabet


def _most_frequent(pieces: Mapping[str, int], limit: int) -> set[str]:
    """Return the `limit` most frequent characters of pieces such as a and ##a; of equals, the smaller one."""
    counts: Counter[str] = Counter()
    for piece, n in pieces.items():
        counts[piece[-1]] += n
    return set(sorted(counts, key=lambda character: (-counts[character], character))[:limit])


def _warn_of_unknown(
    words: Mapping[tuple[str, ...], int], kept: Mapping[tuple[str, ...], int], found: int, limit: int
) -> None:
    all_characters, known = (sum(len(w) * n for w, n in part.items()) for part in (words, kept))
    warnings.warn(
        f"the texts have {found:,} different characters, of which the vocabulary keeps the {limit:,} most "
        f"frequent; words with any other become [UNK]: {1 - known / all_characters:.2%} of the text. A "
        "higher limit_alphabet keeps more",
        stacklevel=4,
    )


def _check_room(vocab_size: int, alphabet: list[str], min_frequency: int) -> None:
    if not alphabet:
        raise ValueError(
            f"no word of the texts has only characters that occur {min_frequency} times; give more text"
        )
    smallest = len(SPECIAL_TOKENS) + len(alphabet)
    if vocab_size < smallest:
        raise ValueError(
            f"vocab_size={vocab_size} has no room for {len(SPECIAL_TOKENS)} special tokens and "
            f"{len(alphabet)} characters, with and without ##; use at least {smallest}, or a lower "
            "limit_alphabet"
        )


def train_wordpiece(
    texts: Iterable[str],
    vocab_size: int,
    criterion: str = "likelihood",
    min_frequency: int = 2,
    do_lower_case: bool = True,
    progress: bool = True,
    limit_alphabet: int | None = None,
) -> TrainedVocabulary:
    """Learn a vocabulary of wordpieces from texts.

    Args:
        texts: any number of texts.
        vocab_size: size of the vocabulary: special tokens, single characters and merged wordpieces.
        criterion: "likelihood" (WordPiece as published), "ratio" or "frequency" (byte-pair encoding); see
            the top of this module.
        min_frequency: characters and pairs that occur less often are ignored.
        do_lower_case: train for an uncased tokenizer.
        progress: show progress bars.
        limit_alphabet: maximum number of different characters; the rarest become [UNK], with a warning that
            says how much of the text that is. None for the default of `alphabet_limit`: 1,000, or a quarter
            of the vocabulary if that is more; nearly all of it if the texts are Chinese.

    Returns:
        `vocab`, for `WordPieceTokenizer(vocab, do_lower_case)`, and `merges`. The same texts always give
        the same result.

    Raises:
        ValueError: not an iterable of texts, no text with words of at most 100 characters, a vocabulary that
            is too small, or an unknown criterion.
    """
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise ValueError(
            f"texts is {type(texts).__name__}, expected several texts; put a single one in a list"
        )
    tokenizer = BasicTokenizer(do_lower_case)
    counts: Counter[str] = Counter()
    for text in tqdm(texts, desc="texts", disable=not progress):
        counts.update(tokenizer.tokenize(text))
    short = {word: count for word, count in counts.items() if len(word) <= MAX_WORD}
    if not short:
        _refuse_texts(counts)
    return learn_wordpieces(short, vocab_size, criterion, min_frequency, progress, limit_alphabet)


def _refuse_texts(counts: Mapping[str, int]) -> NoReturn:
    """Raise an error that says why no vocabulary can be learned from the texts."""
    if not counts:
        raise ValueError(
            "the texts have no words: there are none, or they are empty or have only white space and "
            "invisible characters; give texts with words"
        )
    example = next(iter(counts))
    raise ValueError(
        f"all words of the texts are longer than {MAX_WORD} characters, such as {example[:20]!r}… of "
        f"{len(example):,}, and a tokenizer does not split these; put spaces between the words"
    )
