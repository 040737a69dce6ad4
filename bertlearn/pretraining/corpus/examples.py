"""Training examples from shards: row number n of a run depends only on (shards, seed, n).

Sentence pairs. A document is read in as many rows as it needs, spread evenly from its start to its end, at
other positions in every epoch. The span of a row is split into A and B where a sentence begins. In half of
the rows (label 1) B is replaced by a span from a random position in another document of the shard. A never
depends on the label. The random B is as long as the true one. It begins like it, with a sentence or within
one, and ends like it, at the end of its document or anywhere. So only the meaning distinguishes the two.

Windows. The documents of a shard, each followed by [SEP], form one long text, which is split into windows of
equal length, at other positions in every epoch. The text is circular: after its end comes its beginning.

Both shuffle their rows differently in every epoch. Source: Devlin et al. 2019, §3.1 and appendix A.2;
Liu et al. 2019 (RoBERTa), §4.1 and 4.2, "full-sentences".
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertlearn.arguments import LARGEST_SEED, check_count
from bertlearn.pretraining.corpus.store import SPECIAL, Shard, Shards

Integers = NDArray[np.int64]
Span = tuple[int, int]  # in a shard, the index of the first token and the one after the last

_ROUNDS = 4  # enough for a Feistel network to look random (Luby & Rackoff 1988)
_DRAWS = 8  # random numbers per row: one for the split, one for the label, the others to find a random B
_PHILOX_BLOCK = 4  # random numbers that Philox generates per step of its counter


class Rows(NamedTuple):
    """The rows of a batch as int64 arrays."""

    input_ids: Integers  # (B, S), padded at the end
    token_type_ids: Integers  # (B, S); 0 for [CLS] A [SEP], 1 for B [SEP], 0 for padding
    attention_mask: Integers | None  # (B, S); 1 = token, 0 = padding; None for windows: they have no padding
    next_sentence_label: Integers | None  # (B,); 0 = B follows A, 1 = it does not; None for windows


class Examples:
    """All examples of a run, numbered consecutively over all epochs.

    Args:
        shards: the text.
        max_length: S, the number of tokens in a row, special ones included.
        pairs: sentence pairs for next sentence prediction; False for windows.
        seed: random seed, 0 to 2⁶⁴ - 1.
        swapped: in the pairs with label 1, B stands before A, in place of a B from another document: ALBERT's
            sentence order prediction. Source: Lan et al. 2020, §3.1.

    Raises:
        ValueError: a length or seed is out of range, there is too little text, or pairs are to be drawn from
            a shard with a single document.
    """

    def __init__(
        self, shards: Shards, max_length: int, pairs: bool, seed: int, swapped: bool = False
    ) -> None:
        _check_arguments(shards, max_length, pairs, seed)
        self.max_length, self.pairs, self.seed, self.swapped = max_length, pairs, seed, swapped
        self.room = max_length - (3 if pairs else 2)  # tokens of a row that are not special
        self._cls, self._sep, self._pad = (shards.vocab.index(token) for token in SPECIAL)
        self._continues = [token.startswith("##") for token in shards.vocab]
        self._views = [_View.of(shard, self.room if pairs else None) for shard in shards.shards]
        counts = [view.rows[-1] if pairs else len(view.tokens) // self.room for view in self._views]
        self._firsts = [0, *np.cumsum(counts).tolist()]  # rows before each shard, and of all shards
        if self.examples_per_epoch == 0:
            raise ValueError(
                f"max_length={max_length} is longer than every shard of {shards.folder}, which has "
                f"{shards.tokens} tokens; use a smaller max_length, or more text"
            )

    @property
    def examples_per_epoch(self) -> int:
        """The number of rows that read the text about once (rows of pairs overlap by an eighth or more)."""
        return self._firsts[-1]

    def rows(self, first: int, count: int) -> Rows:
        """Return the examples number `first` to `first + count - 1`.

        Args:
            first: number of the first row, from 0; its epoch is first // examples_per_epoch.
            count: B, the number of rows.

        Raises:
            ValueError: `first` is negative, or `count` is less than 1.
        """
        if first < 0 or count < 1:
            raise ValueError(f"first={first} must be at least 0 and count={count} at least 1")
        rows: list[_Row] = []
        while count:
            epoch, number = divmod(first, self.examples_per_epoch)
            in_epoch = min(count, self.examples_per_epoch - number)
            rows += self._epoch_rows(epoch, number, in_epoch)
            first, count = first + in_epoch, count - in_epoch
        return self._batch_pairs(rows) if self.pairs else self._batch_windows(rows)

    def _epoch_rows(self, epoch: int, first: int, count: int) -> list[_Row]:
        """Return the rows number `first` to `first + count - 1` of one epoch."""
        key = np.array([self.seed, epoch], dtype=np.uint64)
        stream = np.random.Philox(key=key, counter=first * _DRAWS // _PHILOX_BLOCK)
        draws = stream.random_raw(_DRAWS * count).reshape(count, _DRAWS)
        # One more stream, far from that of the rows: how the epoch is shuffled, and where its rows begin
        epoch_draws = np.random.Philox(key=key, counter=1 << 192).random_raw(_ROUNDS + 1)
        phase = float(epoch_draws[-1]) / 2**64
        indexes = shuffled(first, count, self.examples_per_epoch, epoch_draws[:_ROUNDS])
        make = self._pair if self.pairs else self._window
        rows = []
        for index, row_draws in zip(indexes.tolist(), draws.tolist(), strict=True):
            shard = bisect_right(self._firsts, index) - 1
            rows.append(make(self._views[shard], index - self._firsts[shard], phase, row_draws))
        return rows

    # Windows

    def _window(self, view: _View, index: int, phase: float, draws: list[int]) -> _Row:
        """Return window number `index` of a shard; `phase`, a fraction of its text, shifts all windows."""
        size = len(view.tokens)
        start = (index * self.room + int(phase * size)) % size
        wrapped = max(0, start + self.room - size)  # tokens from the beginning of the text
        return _Row(view, (start, start + self.room - wrapped), (0, wrapped), 0)

    def _batch_windows(self, rows: list[_Row]) -> Rows:
        ids = np.empty((len(rows), self.max_length), dtype=np.int64)
        ids[:, 0], ids[:, -1] = self._cls, self._sep
        for row_ids, row in zip(ids, rows, strict=True):
            middle = 1 + row.a[1] - row.a[0]
            row_ids[1:middle] = row.view.tokens[slice(*row.a)]
            row_ids[middle:-1] = row.view.tokens[slice(*row.b)]
        return Rows(ids, np.zeros_like(ids), None, None)

    # Sentence pairs

    def _pair(self, view: _View, index: int, phase: float, draws: list[int]) -> _Row:
        """Return sentence pair number `index` of a shard; `phase` shifts the spans of all rows."""
        document = bisect_right(view.rows, index) - 1
        start, end = self._span(view, document, index - view.rows[document], phase)
        if self.swapped:
            end = self._last_sentence_end(view, document, (start, end))
        middle, at_sentence = self._split(view, document, (start, end), draws[0])
        if draws[1] >> 63 == 0:
            return _Row(view, (start, middle), (middle, end), 0)
        if self.swapped:
            return _Row(view, (middle, end), (start, middle), 1)
        max_length = self.room - (middle - start)
        for draw in draws[2:]:  # the last B is taken even if it does not match: a few documents have no match
            b, matches = self._random_b(view, document, (middle, end), max_length, at_sentence, draw)
            if matches:
                break
        return _Row(view, (start, middle), b, 1)

    def _span(self, view: _View, document: int, row: int, phase: float) -> Span:
        """Return the span of a document's row number `row`.

        The first row begins at the document's start, and the last one ends at its end. Each row begins with a
        sentence, unless that would move its start by more than a quarter of its room. The number of rows is
        computed for seven eighths of the room, so no text between two rows is left out in every epoch.
        """
        first, last = view.tokens_of(document)
        rows = view.rows[document + 1] - view.rows[document]
        if rows == 1:
            return first, last
        if row == rows - 1:
            start = view.next_sentence(document, last - self.room)
            return (start if last - start >= self.room - self.room // 4 else last - self.room), last
        step = (last - self.room - first) / (rows - 1)
        position = first + int(step * (row + (phase - 0.5 if row else 0)))
        start = view.sentence_start(document, position)
        if position - start > self.room // 4:  # a very long sentence; else all its rows would start there
            start = position
        return start, start + self.room

    def _last_sentence_end(self, view: _View, document: int, span: Span) -> int:
        """Return where the last whole sentence of a span ends, or the span's end if it has less than two.

        Otherwise the text that is cut off within a sentence would betray that it is the second.
        """
        start, end = span
        if end == view.tokens_of(document)[1]:
            return end
        low, high = view.sentences_of(document)
        last = bisect_right(view.sentences, end, low, high) - 1  # begins where the whole ones end
        return view.sentences[last] if last > low and view.sentences[last - 1] > start else end

    def _split(self, view: _View, document: int, span: Span, draw: int) -> tuple[int, bool]:
        """Return where B begins, and whether a sentence begins there.

        That is a random sentence of the span that leaves at least an eighth of it to B; if there is none, a
        random word.
        """
        start, end = span
        low = bisect_right(view.sentences, start, *view.sentences_of(document))
        high = bisect_right(
            view.sentences, end - max(1, (end - start) // 8), low, view.sentences_of(document)[1]
        )
        if high > low:
            return view.sentences[low + draw % (high - low)], True
        return self._word_start(view, (start + 1, end), start + 1 + draw % (end - start - 1)), False

    def _random_b(
        self, view: _View, document: int, b: Span, max_length: int, at_sentence: bool, draw: int
    ) -> tuple[Span, bool]:
        """Return a B from a random position, uniform over the tokens of all other documents of the shard.

        Args:
            view: the shard.
            document: the document of A.
            b: the true B.
            max_length: the number of tokens that B may have.
            at_sentence: whether the true B begins with a sentence.
            draw: a random number.

        Returns:
            The random B, and whether it begins and ends like the true one and is as long.
        """
        length = b[1] - b[0]
        first, last = view.tokens_of(document)
        if b[1] == last:
            return self._random_b_at_end(view, document, length, max_length, at_sentence, draw)
        position = draw % (len(view.tokens) - (last + 1 - first))
        position += (last + 1 - first) if position >= first else 0
        other = bisect_right(view.starts, position) - 1
        first, last = view.tokens_of(other)
        position = max(first, min(position, last - length))
        if at_sentence:
            begin = view.sentence_start(other, position)
        else:
            begin = self._word_start(view, (first, last), position)
        end = min(begin + length, last)
        return (begin, end), end - begin == length

    def _random_b_at_end(
        self, view: _View, document: int, length: int, max_length: int, at_sentence: bool, draw: int
    ) -> tuple[Span, bool]:
        """Return a B at the end of another document, for a true B at the end of its own; see `_random_b`."""
        other = draw % (len(view.starts) - 2)
        other += other >= document
        first, last = view.tokens_of(other)
        position = max(first, last - length)
        if not at_sentence:
            begin = self._word_start(view, (max(first, last - max_length), last), position)
            return (begin, last), position == last - length
        nearest = (view.sentence_start(other, position), view.next_sentence(other, position))
        fitting = [begin for begin in nearest if last - max_length <= begin < last]
        begin = min(fitting, key=lambda begin: abs(begin - position), default=position)
        return (begin, last), bool(fitting) and position == last - length

    def _word_start(self, view: _View, within: Span, position: int) -> int:
        """Return the first token of the word at `position`, or of the next word if it is not `within`."""
        for candidate in chain(range(position, within[0] - 1, -1), range(position + 1, within[1])):
            if not self._continues[view.tokens[candidate]]:
                return candidate
        return position

    def _batch_pairs(self, rows: list[_Row]) -> Rows:
        ids = np.full((len(rows), self.max_length), self._pad, dtype=np.int64)
        middles = np.array([2 + row.a[1] - row.a[0] for row in rows])[:, None]  # (B, 1), where B begins
        ends = middles + np.array([1 + row.b[1] - row.b[0] for row in rows])[:, None]
        ids[:, 0] = self._cls
        for row_ids, row, middle, end in zip(
            ids, rows, middles[:, 0].tolist(), ends[:, 0].tolist(), strict=True
        ):
            row_ids[1 : middle - 1] = row.view.tokens[slice(*row.a)]
            row_ids[middle : end - 1] = row.view.tokens[slice(*row.b)]
            row_ids[middle - 1] = row_ids[end - 1] = self._sep
        positions = np.arange(self.max_length)
        mask = positions < ends
        types = mask & (positions >= middles)
        labels = np.array([row.label for row in rows], dtype=np.int64)
        return Rows(ids, types.astype(np.int64), mask.astype(np.int64), labels)


class _View(NamedTuple):
    """A shard with fast access to single numbers; only `rows` is new, the others share the shard's memory."""

    tokens: NDArray[np.integer]
    sentences: memoryview  # the first token of each sentence
    first_sentences: memoryview  # the first sentence of each document, and at the end the number of sentences
    starts: memoryview  # the first token of each document, and at the end the number of tokens
    rows: memoryview  # the number of rows before each document, and at the end of all rows

    @classmethod
    def of(cls, shard: Shard, room: int | None) -> _View:
        documents = np.asarray(shard.documents)
        lengths = np.diff(documents[:, 1]) - 1  # without [SEP]
        counts = lengths[:0]
        if room:  # one row if the document fits into it, else rows that overlap; see Examples._span
            counts = np.where(lengths <= room, 1, -(-lengths // (room - room // 8)))
        return cls(
            np.asarray(shard.tokens),
            np.asarray(shard.sentences).data,
            documents[:, 0].data,
            documents[:, 1].data,
            np.concatenate([[0], np.cumsum(counts)]).data,
        )

    def tokens_of(self, document: int) -> Span:
        """Return the span of a document's tokens, without its [SEP]."""
        return self.starts[document], self.starts[document + 1] - 1

    def sentences_of(self, document: int) -> Span:
        """Return the numbers of a document's first sentence and of the one after its last."""
        return self.first_sentences[document], self.first_sentences[document + 1]

    def sentence_start(self, document: int, position: int) -> int:
        """Return the position at which the sentence around `position` begins."""
        return self.sentences[bisect_right(self.sentences, position, *self.sentences_of(document)) - 1]

    def next_sentence(self, document: int, position: int) -> int:
        """Return the position of the first sentence at or after `position`, or else of the document's end."""
        low, high = self.sentences_of(document)
        following = bisect_left(self.sentences, position, low, high)
        return self.sentences[following] if following < high else self.tokens_of(document)[1]


class _Row(NamedTuple):
    """The spans of A and B in a shard; of a window, the second span is what wraps around the text's end."""

    view: _View
    a: Span
    b: Span
    label: int


def shuffled(first: int, count: int, size: int, keys: NDArray[np.uint64]) -> Integers:
    """Return the elements `first` to `first + count - 1` of a random permutation of 0 to size - 1.

    The permutation is computed, not stored. A Feistel network permutes all numbers of 2h bits: once for each
    key, it swaps the two halves of the bits and mixes one half into the other, which can be inverted. Results
    of `size` or more go through the network again until they are smaller.

    Args:
        first, count: which elements of the permutation.
        size: the number of elements.
        keys: uint64 (rounds,); they determine the permutation.
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
    check_count("max_length", max_length, 8)
    check_count("seed", seed, 0, LARGEST_SEED)
    for number, shard in enumerate(shards.shards):
        if pairs and len(shard.documents) < 3:
            raise ValueError(
                f"shard {number:05} of {shards.folder} ({', '.join(shard.sources)}) is a single document, "
                "but pairs need at least two; give more documents (with --lines, each line is one), or use "
                "pairs=False"
            )
