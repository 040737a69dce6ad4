"""Training examples from shards: row number n of a run, made from nothing but (shards, seed, n).

Sentence pairs. A document is read in as many rows as it needs, spread evenly from its start to its end, at
another place in every epoch. The span of a row is cut in two, A and B, where a sentence begins. In half of
the rows (label 1) another B is put in its place, from a random place in another document of the shard. A
never depends on the label, and the other B is as long as the true one, begins as it does (with a sentence or
within one) and ends as it does (its document, or anywhere): nothing but the meaning tells the two apart.

Windows. The documents of a shard, each followed by [SEP], are one long text, cut into windows of equal
length, at another place in every epoch; its end runs on into its beginning.

In both an epoch meets its rows in an order of its own. Source: Devlin et al. 2019, §3.1 and appendix A.2;
Liu et al. 2019 (RoBERTa), §4.1 and 4.2, "full-sentences".
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertlearn.pretraining.corpus.store import SPECIAL, Shard, Shards

Integers = NDArray[np.int64]
Span = tuple[int, int]  # first token and the one after the last, in a shard

_ROUNDS = 4  # enough for a Feistel network to look random (Luby & Rackoff 1988)
_DRAWS = 8  # random numbers for a row: where to cut, the label, and tries to find another B
_AT_ONCE = 4  # numbers that Philox gives at each count


class Rows(NamedTuple):
    """Rows of a batch as int64 arrays."""

    input_ids: Integers  # (B, S), padded at the end
    token_type_ids: Integers  # (B, S); 0 for [CLS] A [SEP], 1 for B [SEP], 0 for padding
    attention_mask: Integers | None  # (B, S); 1 = token, 0 = padding; None for windows, which have none
    next_sentence_label: Integers | None  # (B,); 0 = B follows A, 1 = it does not; None for windows


class Examples:
    """All examples of a run, numbered on from epoch to epoch.

    Args:
        shards: the text.
        max_length: tokens in a row, S, the special ones included.
        pairs: sentence pairs for next sentence prediction; False for windows.
        seed: which of all the possible runs; 0 to 2⁶⁴ - 1.

    Raises:
        ValueError: a length or seed out of range, pairs from a shard of a single document, too little text.
    """

    def __init__(self, shards: Shards, max_length: int, pairs: bool, seed: int) -> None:
        _check_arguments(shards, max_length, pairs, seed)
        self.max_length, self.pairs, self.seed = max_length, pairs, seed
        self.room = max_length - (3 if pairs else 2)
        self._cls, self._sep, self._pad = (shards.vocab.index(token) for token in SPECIAL)
        self._continues = [token.startswith("##") for token in shards.vocab]
        self._views = [_View.of(shard, self.room if pairs else None) for shard in shards.shards]
        counts = [view.rows[-1] if pairs else len(view.tokens) // self.room for view in self._views]
        self._firsts = [0, *np.cumsum(counts).tolist()]
        if self.examples_per_epoch == 0:
            raise ValueError(
                f"max_length={max_length} is longer than every shard of {shards.folder}, which has "
                f"{shards.tokens} tokens; use a smaller one, or more text"
            )

    @property
    def examples_per_epoch(self) -> int:
        """The number of rows in which the text is read about once (pairs overlap by an eighth and more)."""
        return self._firsts[-1]

    def rows(self, first: int, count: int) -> Rows:
        """Return the examples number `first` to `first + count - 1`.

        Args:
            first: from 0; the epoch is first // examples_per_epoch.
            count: B, the number of rows.

        Raises:
            ValueError: a negative first, or no rows.
        """
        if first < 0 or count < 1:
            raise ValueError(f"first={first} and count={count}: the first counts from 0, the count from 1")
        found = []
        while count:
            epoch, number = divmod(first, self.examples_per_epoch)
            taken = min(count, self.examples_per_epoch - number)
            found += self._epoch_rows(epoch, number, taken)
            first, count = first + taken, count - taken
        return self._batch_pairs(found) if self.pairs else self._batch_windows(found)

    def _epoch_rows(self, epoch: int, first: int, count: int) -> list[_Row]:
        """Draw the rows number `first` on of one epoch."""
        key = np.array([self.seed, epoch], dtype=np.uint64)
        stream = np.random.Philox(key=key, counter=first * _DRAWS // _AT_ONCE)
        draws = stream.random_raw(_DRAWS * count).reshape(count, _DRAWS)
        own = np.random.Philox(key=key, counter=1 << 192).random_raw(_ROUNDS + 1)  # of the epoch itself
        phase = float(own[-1]) / 2**64
        places = shuffled(first, count, self.examples_per_epoch, own[:_ROUNDS])
        make = self._pair if self.pairs else self._window
        rows = []
        for place, row_draws in zip(places.tolist(), draws.tolist(), strict=True):
            number = bisect_right(self._firsts, place) - 1
            rows.append(make(self._views[number], place - self._firsts[number], phase, row_draws))
        return rows

    # Windows

    def _window(self, view: _View, place: int, phase: float, draws: list[int]) -> _Row:
        size = len(view.tokens)
        start = (place * self.room + int(phase * size)) % size
        over = max(0, start + self.room - size)
        return _Row(view, (start, start + self.room - over), (0, over), 0)

    def _batch_windows(self, rows: list[_Row]) -> Rows:
        ids = np.empty((len(rows), self.max_length), dtype=np.int64)
        ids[:, 0], ids[:, -1] = self._cls, self._sep
        for line, row in zip(ids, rows, strict=True):
            middle = 1 + row.a[1] - row.a[0]
            line[1:middle] = row.view.tokens[slice(*row.a)]
            line[middle:-1] = row.view.tokens[slice(*row.b)]
        return Rows(ids, np.zeros_like(ids), None, None)

    # Sentence pairs

    def _pair(self, view: _View, place: int, phase: float, draws: list[int]) -> _Row:
        document = bisect_right(view.rows, place) - 1
        start, end = self._span(view, document, place - view.rows[document], phase)
        cut, at_sentence = self._cut(view, document, (start, end), draws[0])
        if draws[1] >> 63 == 0:
            return _Row(view, (start, cut), (cut, end), 0)
        most = self.room - (cut - start)
        for draw in draws[2:]:  # the last one is taken as it is: a few documents have no match
            b, alike = self._other(view, document, (cut, end), most, at_sentence, draw)
            if alike:
                break
        return _Row(view, (start, cut), b, 1)

    def _span(self, view: _View, document: int, row: int, phase: float) -> Span:
        """Return the tokens of a document's row: the first row begins with it, the last one ends with it.

        A row begins with a sentence where one begins within a quarter of its room; then, with rows for a room
        of seven eighths, no two rows of a document can always leave out what is between them.
        """
        first, last = view.tokens_of(document)
        rows = view.rows[document + 1] - view.rows[document]
        if rows == 1:
            return first, last
        if row == rows - 1:
            start = view.next_sentence(document, last - self.room)
            return (start if last - start >= self.room - self.room // 4 else last - self.room), last
        step = (last - self.room - first) / (rows - 1)
        place = first + int(step * (row + (phase - 0.5 if row else 0)))
        start = view.sentence_start(document, place)
        if place - start > self.room // 4:  # in a very long sentence, or every row would begin with it
            start = place
        return start, start + self.room

    def _cut(self, view: _View, document: int, span: Span, draw: int) -> tuple[int, bool]:
        """Choose where B begins, and tell whether a sentence does: one that leaves B an eighth at least."""
        start, end = span
        low = bisect_right(view.sentences, start, *view.sentences_of(document))
        high = bisect_right(
            view.sentences, end - max(1, (end - start) // 8), low, view.sentences_of(document)[1]
        )
        if high > low:
            return view.sentences[low + draw % (high - low)], True
        return self._word_start(view, (start + 1, end), start + 1 + draw % (end - start - 1)), False

    def _other(
        self, view: _View, document: int, b: Span, most: int, at_sentence: bool, draw: int
    ) -> tuple[Span, bool]:
        """Look for a B in another document of the shard: each of its tokens is as likely a place.

        Args:
            view: the shard.
            document: the one that A is from.
            b: the true B.
            most: tokens that there is room for.
            at_sentence: whether the true B begins with a sentence.
            draw: a random number.

        Returns:
            The other B, and whether it is like the true one.
        """
        length = b[1] - b[0]
        first, last = view.tokens_of(document)
        if b[1] == last:
            return self._other_end(view, document, length, most, at_sentence, draw)
        place = draw % (len(view.tokens) - (last + 1 - first))
        place += (last + 1 - first) if place >= first else 0
        other = bisect_right(view.starts, place) - 1
        first, last = view.tokens_of(other)
        place = max(first, min(place, last - length))
        if at_sentence:
            begin = view.sentence_start(other, place)
        else:
            begin = self._word_start(view, (first, last), place)
        end = min(begin + length, last)
        return (begin, end), end - begin == length

    def _other_end(
        self, view: _View, document: int, length: int, most: int, at_sentence: bool, draw: int
    ) -> tuple[Span, bool]:
        """Look for a B at the end of another document, for a true one that ends its own; see `_other`."""
        other = draw % (len(view.starts) - 2)
        other += other >= document
        first, last = view.tokens_of(other)
        place = max(first, last - length)
        if not at_sentence:
            begin = self._word_start(view, (max(first, last - most), last), place)
            return (begin, last), place == last - length
        near = (view.sentence_start(other, place), view.next_sentence(other, place))
        fitting = [begin for begin in near if last - most <= begin < last]
        begin = min(fitting, key=lambda begin: abs(begin - place), default=place)
        return (begin, last), bool(fitting) and place == last - length

    def _word_start(self, view: _View, within: Span, place: int) -> int:
        """Go back from a token to the first one of its word, or, if that is outside, on to the next word."""
        for near in chain(range(place, within[0] - 1, -1), range(place + 1, within[1])):
            if not self._continues[view.tokens[near]]:
                return near
        return place

    def _batch_pairs(self, rows: list[_Row]) -> Rows:
        ids = np.full((len(rows), self.max_length), self._pad, dtype=np.int64)
        middles = np.array([2 + row.a[1] - row.a[0] for row in rows])[:, None]  # (B, 1), where B begins
        ends = middles + np.array([1 + row.b[1] - row.b[0] for row in rows])[:, None]
        ids[:, 0] = self._cls
        for line, row, middle, end in zip(
            ids, rows, middles[:, 0].tolist(), ends[:, 0].tolist(), strict=True
        ):
            line[1 : middle - 1] = row.view.tokens[slice(*row.a)]
            line[middle : end - 1] = row.view.tokens[slice(*row.b)]
            line[middle - 1] = line[end - 1] = self._sep
        positions = np.arange(self.max_length)
        mask = positions < ends
        types = mask & (positions >= middles)
        labels = np.array([row.label for row in rows], dtype=np.int64)
        return Rows(ids, types.astype(np.int64), mask.astype(np.int64), labels)


class _View(NamedTuple):
    """A shard for quick look-ups of single numbers: the same memory, nothing copied but `rows`."""

    tokens: NDArray[np.integer]
    sentences: memoryview  # where each sentence begins
    first_sentences: memoryview  # of each document, and one more
    starts: memoryview  # the first token of each document, and one more
    rows: memoryview  # the number of rows before each document, and one more

    @classmethod
    def of(cls, shard: Shard, room: int | None) -> _View:
        documents = np.asarray(shard.documents)
        lengths = np.diff(documents[:, 1]) - 1  # without [SEP]
        counts = lengths[:0]
        if room:  # one row where that is enough, else with some overlap: see _span
            counts = np.where(lengths <= room, 1, -(-lengths // (room - room // 8)))
        return cls(
            np.asarray(shard.tokens),
            np.asarray(shard.sentences).data,
            documents[:, 0].data,
            documents[:, 1].data,
            np.concatenate([[0], np.cumsum(counts)]).data,
        )

    def tokens_of(self, document: int) -> Span:
        """Return the tokens of a document, without its [SEP]."""
        return self.starts[document], self.starts[document + 1] - 1

    def sentences_of(self, document: int) -> Span:
        return self.first_sentences[document], self.first_sentences[document + 1]

    def sentence_start(self, document: int, place: int) -> int:
        """Return where the sentence begins that the token at `place` is part of."""
        return self.sentences[bisect_right(self.sentences, place, *self.sentences_of(document)) - 1]

    def next_sentence(self, document: int, place: int) -> int:
        """Return where the first sentence begins at or after `place`, the document's end if none does."""
        low, high = self.sentences_of(document)
        following = bisect_left(self.sentences, place, low, high)
        return self.sentences[following] if following < high else self.tokens_of(document)[1]


class _Row(NamedTuple):
    """Where in a shard the two parts of a row stand."""

    view: _View
    a: Span
    b: Span
    label: int


def shuffled(first: int, count: int, size: int, keys: NDArray[np.uint64]) -> Integers:
    """Return what stands at the places `first` on in a shuffle of 0 to size - 1 that is nowhere kept.

    A Feistel network is a shuffle of all numbers of 2h bits: it moves one half to the front and mixes it into
    the other, once for each key, and each step can be undone. Numbers of `size` and more go through again.

    Args:
        first, count: which places of the shuffle.
        size: how many numbers are shuffled.
        keys: uint64 (rounds,); other keys, another shuffle.
    """
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    numbers = np.arange(first, first + count, dtype=np.uint64)
    outside = np.ones(count, dtype=np.bool_)
    while outside.any():
        left, right = numbers[outside] >> half, numbers[outside] & low
        for key in keys:
            left, right = right, left ^ (_mix(right ^ key) & low)
        numbers[outside] = (left << half) | right
        outside = numbers >= size
    return numbers.astype(np.int64)


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Make every bit of each number depend on all of its bits (the last step of MurmurHash3, Appleby)."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        numbers = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(33))


def _check_arguments(shards: Shards, max_length: int, pairs: bool, seed: int) -> None:
    if not isinstance(max_length, int) or isinstance(max_length, bool) or max_length < 8:
        raise ValueError(f"max_length={max_length!r} must be a whole number of at least 8 tokens")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**64:
        raise ValueError(f"seed={seed!r} must be a whole number from 0 to 2**64 - 1")
    for number, shard in enumerate(shards.shards):
        if pairs and len(shard.documents) < 3:
            raise ValueError(
                f"shard {number:05} of {shards.folder} ({', '.join(shard.sources)}) is a single document, "
                "but a pair may need a second one; give more documents (with --lines each line is one), or "
                "use pairs=False"
            )
