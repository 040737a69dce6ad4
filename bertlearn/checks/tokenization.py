"""What the exercises of chapter 2 are checked with: from accents to padded pairs and offsets.

Use: `from bertlearn.checks import tokenization as check`, then `check.longest_match(longest_match)`.
`compare_tokenizations` puts the learner's functions into a tokenizer and counts the texts that change.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from bertlearn import tokenization
from bertlearn.checks.core import Exercise, Wrong
from bertlearn.checks.swap import use
from bertlearn.tokenization import Encoding, WordPieceTokenizer

CLS, SEP, PAD = 101, 102, 0
LIMIT = 100  # letters in the longest word that is cut at all

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
Vocab = Mapping[str, int]
Words = Mapping[tuple[str, ...], int]  # a word, cut into pieces: how often it occurs
Scores = dict[tuple[str, str], float]
Pair = tuple[list[str], list[str]]
Inputs = tuple[list[int], list[int], list[int]]  # input_ids, token_type_ids, attention_mask
Spans = list[tuple[int, int]]


# strip_accents


def _is_accent(character: str) -> bool:
    return unicodedata.category(character) == "Mn"


def _strip(text: str, form: Form, dropped: Callable[[str], bool] = _is_accent) -> str:
    return "".join(c for c in unicodedata.normalize(form, text) if not dropped(c))


def _composed(text: str) -> str:
    return _strip(text, "NFC")


def _compatibility(text: str) -> str:
    return _strip(text, "NFKD")


def _ascii_only(text: str) -> str:
    return _strip(text, "NFC", lambda c: not c.isascii())


def _decomposed_ascii_only(text: str) -> str:
    return _strip(text, "NFD", lambda c: not c.isascii())


def _marks_kept(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def _every_mark(text: str) -> str:
    return _strip(text, "NFD", lambda c: unicodedata.category(c).startswith("M"))


def _combining_class(text: str) -> str:
    return _strip(text, "NFD", lambda c: unicodedata.combining(c) > 0)


strip_accents = Exercise(
    name="strip_accents",
    reference=tokenization.strip_accents,
    cases={
        "no accents": ("a good film",),
        "an accent within its letter": ("Amélie à la carte",),
        "an accent after its letter": ("cafe\u0301",),
        "letters without accents": ("große œuvre",),
        "a ligature and a fraction": ("ﬁlm, ½ hour",),
        "Chinese": ("电影",),
        "Hindi": ("हिन्दी कुल",),
        "Korean": ("한국",),
    },
    wrong={
        "NFC instead of NFD": Wrong(
            _composed, "Print len() of an é after your normalization. Is there a mark left to drop?"
        ),
        "NFKD instead of NFD": Wrong(
            _compatibility, "The K stands for compatibility. What does it do to ½ and ﬁ? Are those accents?"
        ),
        "everything but ASCII dropped": Wrong(
            _ascii_only, "What is left of the é in Amélie: an e without its accent, or nothing?"
        ),
        "everything but ASCII dropped after NFD": Wrong(
            _decomposed_ascii_only, "The é is right now. What has become of ß, and of 电影?"
        ),
        "taken apart, the marks kept": Wrong(
            _marks_kept, "Printed, the text looks the same. What does len() say before and after?"
        ),
        "every kind of mark dropped": Wrong(
            _every_mark,
            "There are three kinds of mark: Mn, Mc and Me. Which does BERT drop? Which is the vowel sign ी?",
        ),
        "unicodedata.combining instead of the category": Wrong(
            _combining_class,
            "combining() is a class for sorting marks. Is it above 0 for every mark of category Mn? Try ु.",
        ),
    },
    hints=(
        "Two steps: take each character apart into letter and marks, then leave the marks out.",
        "unicodedata.normalize(form, text) takes apart; the D in a form's name stands for decomposed.",
        "unicodedata.category(character) is 'Mn' for a mark that takes no room of its own.",
    ),
)


# longest_match


def _cut(word: str, vocab: Vocab, unk_token: str, shortest: bool = False, failed: str = "word") -> list[str]:
    """Match greedily; where nothing matches, give up the `word`, its `rest`, or one `letter`."""
    pieces: list[str] = []
    start = 0
    while start < len(word):
        ends = range(start + 1, len(word) + 1) if shortest else range(len(word), start, -1)
        mark = "##" if start else ""
        end = next((end for end in ends if mark + word[start:end] in vocab), None)
        if end is None and failed != "letter":
            return [unk_token] if failed == "word" else [*pieces, unk_token]
        pieces.append(mark + word[start:end] if end else unk_token)
        start = end or start + 1
    return pieces


def _prefix_forgotten(word: str, vocab: Vocab, unk_token: str = "[UNK]", limit: int = LIMIT) -> list[str]:
    pieces: list[str] = []
    while word and len(word) <= limit:
        end = next((end for end in range(len(word), 0, -1) if word[:end] in vocab), None)
        if end is None:
            return [unk_token]
        pieces.append(word[:end])
        word = word[end:]
    return [unk_token] if word else pieces


def _shortest(word: str, vocab: Vocab, unk_token: str = "[UNK]", limit: int = LIMIT) -> list[str]:
    return [unk_token] if len(word) > limit else _cut(word, vocab, unk_token, shortest=True)


def _rest_unknown(word: str, vocab: Vocab, unk_token: str = "[UNK]", limit: int = LIMIT) -> list[str]:
    return [unk_token] if len(word) > limit else _cut(word, vocab, unk_token, failed="rest")


def _letter_unknown(word: str, vocab: Vocab, unk_token: str = "[UNK]", limit: int = LIMIT) -> list[str]:
    return [unk_token] if len(word) > limit else _cut(word, vocab, unk_token, failed="letter")


def _backtracking(word: str, vocab: Vocab, unk_token: str = "[UNK]", limit: int = LIMIT) -> list[str]:
    return (_search(word, 0, vocab) if len(word) <= limit else None) or [unk_token]


def _search(word: str, start: int, vocab: Vocab) -> list[str] | None:
    if start == len(word):
        return []
    for end in range(len(word), start, -1):
        piece = ("##" if start else "") + word[start:end]
        rest = _search(word, end, vocab) if piece in vocab else None
        if rest is not None:
            return [piece, *rest]
    return None


def _unmarked(word: str, vocab: Vocab, unk_token: str = "[UNK]", limit: int = LIMIT) -> list[str]:
    return [piece.removeprefix("##") for piece in longest_match.reference(word, vocab, unk_token, limit)]


def _no_limit(word: str, vocab: Vocab, unk_token: str = "[UNK]", limit: int = LIMIT) -> list[str]:
    return _cut(word, vocab, unk_token)


_PIECES = """
[UNK] u un w wat watch watcha a view film ing ##w ##watch ##a ##ab ##able ##b ##l ##le ##e ##i
##in ##ing ##n ##g ##s ##f ##t ##c ##h
"""
_VOCAB = {piece: index for index, piece in enumerate(_PIECES.split())}

longest_match = Exercise(
    name="longest_match",
    reference=tokenization.longest_match,
    cases={
        "a whole word": ("film", _VOCAB),
        "a word and its ending": ("films", _VOCAB),
        "two ways to cut": ("unwatchable", _VOCAB),
        "an ending that is also a word": ("viewing", _VOCAB),
        "an unknown letter at the end": ("watché", _VOCAB),
        "an unknown letter inside": ("filméing", _VOCAB),
        "greedy runs into a dead end": ("watcharm", {**_VOCAB, "##arm": 90, "##r": 91, "watchar": 92}),
        "100 letters": ("a" + 99 * "b", {**_VOCAB, "a": 93, "##b": 94}),
        "101 letters": ("a" + 100 * "b", {**_VOCAB, "a": 93, "##b": 94}),
        "another unknown token and limit": ("films", _VOCAB, "<?>", 4),
    },
    wrong={
        "## forgotten": Wrong(
            _prefix_forgotten, "How does the vocabulary spell a piece that does not begin its word?"
        ),
        "the shortest match first": Wrong(
            _shortest, "Which candidate do you try first: all that is left of the word, or one letter?"
        ),
        "only the rest becomes unknown": Wrong(
            _rest_unknown,
            "A part of the word is known. How many tokens does BERT give a word it cannot finish?",
        ),
        "each unknown letter becomes unknown": Wrong(
            _letter_unknown, "You go on behind the letter that fails. Does BERT, or does it give up the word?"
        ),
        "going back when it fails": Wrong(
            _backtracking, "You found a way around the dead end. Does a greedy match ever take a piece back?"
        ),
        "## dropped from the result": Wrong(
            _unmarked, "How would the table of embeddings tell “ing” as a word from “ing” inside a word?"
        ),
        "no limit on the word's length": Wrong(
            _no_limit, "What is the last argument for? Try a word of 101 letters."
        ),
    },
    hints=(
        "Keep a position. Try the longest piece that begins there, then one letter less, and so on.",
        "A piece that does not begin the word is looked up with ## in front, and returned with it.",
        "If no piece fits at the position, the result is [unk_token], whatever was found before.",
    ),
)


# apply_merge


def _join(left: str, right: str) -> str:
    return left + right.removeprefix("##")


def _merge(pieces: list[str], left: str, right: str, new: str, limit: int = -1) -> list[str]:
    """Replace the pair by `new` from left to right, at most `limit` times if it is not negative."""
    merged: list[str] = []
    position = 0
    while position < len(pieces):
        if pieces[position : position + 2] == [left, right] and limit != 0:
            merged.append(new)
            position, limit = position + 2, limit - 1
        else:
            merged.append(pieces[position])
            position += 1
    return merged


def _apply_merge(pieces: list[str], left: str, right: str) -> list[str]:
    return _merge(pieces, left, right, _join(left, right))


def _mark_inside(pieces: list[str], left: str, right: str) -> list[str]:
    return _merge(pieces, left, right, left + right)


def _mark_lost(pieces: list[str], left: str, right: str) -> list[str]:
    return _merge(pieces, left, right, (left + right).replace("##", ""))


def _first_only(pieces: list[str], left: str, right: str) -> list[str]:
    return _merge(pieces, left, right, _join(left, right), limit=1)


def _from_the_right(pieces: list[str], left: str, right: str) -> list[str]:
    return _merge(pieces[::-1], right, left, _join(left, right))[::-1]


def _overlapping(pieces: list[str], left: str, right: str) -> list[str]:
    here = [pieces[i : i + 2] == [left, right] for i in range(len(pieces))]
    after = [False, *here]  # the piece before begins a pair
    new = _join(left, right)
    return [new if here[i] else piece for i, piece in enumerate(pieces) if here[i] or not after[i]]


def _marks_ignored(pieces: list[str], left: str, right: str) -> list[str]:
    wanted = [left.removeprefix("##"), right.removeprefix("##")]
    merged: list[str] = []
    position = 0
    while position < len(pieces):
        pair = pieces[position : position + 2]
        same = [piece.removeprefix("##") for piece in pair] == wanted
        merged.append(_join(pair[0], pair[1]) if same else pieces[position])
        position += 2 if same else 1
    return merged


apply_merge = Exercise(
    name="apply_merge",
    reference=_apply_merge,
    cases={
        "the pair is not there": (["f", "##i", "##l", "##m"], "##o", "##n"),
        "at the start": (["t", "##h", "##e"], "t", "##h"),
        "inside": (["f", "##i", "##l", "##m"], "##i", "##l"),
        "twice": (["b", "##a", "##n", "##a", "##n", "##a"], "##a", "##n"),
        "three in a row": (["h", "##m", "##m", "##m"], "##m", "##m"),
        "the same letter at the start": (["a", "##b", "##a", "##b"], "a", "##b"),
    },
    wrong={
        "## left in the middle": Wrong(_mark_inside, "Which spelling do you want for t and ##h together?"),
        "## lost": Wrong(
            _mark_lost, "The new piece ##il still stands inside its word. What must it begin with?"
        ),
        "only the first pair merged": Wrong(_first_only, "How often does ##a ##n occur in “banana”?"),
        "from right to left": Wrong(
            _from_the_right,
            "In “hmmm” the pair ##m ##m could be the first two or the last two. Which come first?",
        ),
        "overlapping pairs merged": Wrong(
            _overlapping, "Join your pieces of “hmmm” again. Has a letter been used twice?"
        ),
        "## ignored when comparing": Wrong(
            _marks_ignored, "Are a at the start of a word and ##a inside it the same piece?"
        ),
    },
    hints=(
        "Walk from left to right with a position; look at two pieces at a time.",
        "After a pair the position moves on by two, otherwise by one.",
        "The new piece is the left one, followed by the right one without its ##.",
    ),
)


# pair_scores


def _count(words: Words, weighted: bool = True, pairs_once: bool = False) -> tuple[Counter, Counter]:
    """Count single pieces and neighboring pairs."""
    singles: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for pieces, count in words.items():
        neighbors = list(pairwise(pieces))
        for piece in pieces:
            singles[piece] += count if weighted else 1
        for pair in set(neighbors) if pairs_once else neighbors:
            pairs[pair] += count if weighted else 1
    return singles, pairs


def _ratios(singles: Counter, pairs: Counter) -> Scores:
    return {(a, b): count / (singles[a] * singles[b]) for (a, b), count in pairs.items()}


def _pair_scores(words: Words) -> Scores:
    return _ratios(*_count(words))


def _frequency(words: Words) -> Scores:
    return {pair: float(count) for pair, count in _count(words)[1].items()}


def _words_once(words: Words) -> Scores:
    return _ratios(*_count(words, weighted=False))


def _pairs_once(words: Words) -> Scores:
    return _ratios(*_count(words, pairs_once=True))


def _singles_within_pairs(words: Words) -> Scores:
    return _ratios(*_count({pieces: count for pieces, count in words.items() if len(pieces) > 1}))


def _left_only(words: Words) -> Scores:
    singles, pairs = _count(words)
    return {(a, b): count / singles[a] for (a, b), count in pairs.items()}


def _marks_mixed(words: Words) -> Scores:
    singles, pairs = _count(words)
    plain: Counter[str] = Counter()
    for piece, count in singles.items():
        plain[piece.removeprefix("##")] += count
    bare = {piece: plain[piece.removeprefix("##")] for piece in singles}
    return {(a, b): count / (bare[a] * bare[b]) for (a, b), count in pairs.items()}


pair_scores = Exercise(
    name="pair_scores",
    reference=_pair_scores,
    cases={
        "one word": ({("f", "##i", "##l", "##m"): 1},),
        "two words, one of them often": ({("f", "##i", "##t"): 3, ("f", "##a", "##t"): 1},),
        "a pair twice in a word": ({("b", "##a", "##n", "##a", "##n", "##a"): 1},),
        "a word of one piece": ({("film",): 4, ("film", "##s"): 2},),
        "s at the start and inside": ({("s", "##e", "##e", "##s"): 1, ("s", "##o"): 1},),
    },
    wrong={
        "frequency instead of likelihood": Wrong(
            _frequency,
            "A pair of common pieces meets often by chance. What do you divide by to allow for that?",
        ),
        "each word counted once": Wrong(
            _words_once, "What is the number beside each word for? “the” should weigh more than “thelma”."
        ),
        "a pair counted once in a word": Wrong(
            _pairs_once, "How often does ##a ##n occur in “banana”? Does your count say so?"
        ),
        "words of one piece left out": Wrong(
            _singles_within_pairs,
            "A piece that is a whole word has no neighbor. Does it still count as a piece?",
        ),
        "divided by the left count only": Wrong(
            _left_only,
            "What of a right piece that follows everything, like ##e? What makes up for its being common?",
        ),
        "s and ##s counted together": Wrong(
            _marks_mixed, "Are s at the start of a word and ##s inside it the same piece?"
        ),
    },
    hints=(
        "Count single pieces and pairs of neighbors over all words, adding the word's count each time.",
        "pairwise(pieces) of itertools gives the neighbors, a repeated pair as often as it occurs.",
        "The score of (a, b) is the pair's count divided by the product of both pieces' counts.",
    ),
)


# truncate_pair


def _cut_to(a: list[str], b: list[str], kept_a: int, kept_b: int) -> Pair:
    return a[: max(kept_a, 0)], b[: max(kept_b, 0)]


def _lengths(a: list[str], b: list[str], room: int) -> tuple[int, int]:
    """Take one token at a time from the longer side until both fit."""
    kept_a, kept_b = len(a), len(b)
    while kept_a + kept_b > room:
        if kept_a > kept_b:
            kept_a -= 1
        else:
            kept_b -= 1
    return kept_a, kept_b


def _truncate_pair(a: list[str], b: list[str], max_length: int) -> Pair:
    return _cut_to(a, b, *_lengths(a, b, max_length - 3))


def _specials_forgotten(a: list[str], b: list[str], max_length: int) -> Pair:
    return _cut_to(a, b, *_lengths(a, b, max_length))


def _two_specials(a: list[str], b: list[str], max_length: int) -> Pair:
    return _cut_to(a, b, *_lengths(a, b, max_length - 2))


def _second_only(a: list[str], b: list[str], max_length: int) -> Pair:
    return _cut_to(a, b, len(a), max_length - 3 - len(a))


def _from_the_front(a: list[str], b: list[str], max_length: int) -> Pair:
    kept_a, kept_b = _lengths(a, b, max_length - 3)
    return a[len(a) - kept_a :], b[len(b) - kept_b :]


def _halves(a: list[str], b: list[str], max_length: int) -> Pair:
    half = (max_length - 3) // 2
    return _cut_to(a, b, half, half) if len(a) + len(b) > max_length - 3 else (a, b)


def _in_proportion(a: list[str], b: list[str], max_length: int) -> Pair:
    room = max_length - 3
    kept_a = min(len(a), room * len(a) // (len(a) + len(b)))
    return _cut_to(a, b, kept_a, room - kept_a) if len(a) + len(b) > room else (a, b)


_A = ["a", "warm", "and", "witty", "film", "about", "very", "little", "indeed", "!"]
_B = ["it", "is", "far", "too", "long", ",", "and", "it", "knows", "."]

truncate_pair = Exercise(
    name="truncate_pair",
    reference=_truncate_pair,
    cases={
        "both fit": (_A[:2], _B[:3], 12),
        "both fit exactly": (_A[:3], _B[:4], 10),
        "no room for [CLS] and [SEP]": (_A[:4], _B[:4], 9),
        "the second is long": (_A[:3], _B, 12),
        "the first is long": (_A, _B[:3], 12),
        "both are long": (_A, _B[:7], 13),
    },
    wrong={
        "special tokens forgotten": Wrong(
            _specials_forgotten, "[CLS] a [SEP] b [SEP]: how long is the whole input after your cut?"
        ),
        "one [SEP] forgotten": Wrong(_two_specials, "Count the special tokens in [CLS] a [SEP] b [SEP]."),
        "only the second is cut": Wrong(
            _second_only, "What do you return when the first alone is longer than max_length?"
        ),
        "cut at the front": Wrong(_from_the_front, "Which words are gone: the first ones or the last?"),
        "each cut to half": Wrong(
            _halves, "A short sentence beside a long one: is there room left that nobody uses?"
        ),
        "cut in proportion": Wrong(
            _in_proportion, "Does the shorter one lose a word while the other is still longer?"
        ),
    },
    hints=(
        "First find out how many tokens a and b may have together. Three places are taken.",
        "Then, while there are too many, take one token away. From which of the two?",
        "A list without its last token is tokens[:-1]; that also leaves the caller's list as it is.",
    ),
)


# build_inputs


def _assemble(
    a: list[int],
    b: list[int],
    max_length: int,
    segments: Sequence[int] = (0, 1),
    padding: tuple[int, int] = (0, 0),
    front: bool = False,
) -> Inputs:
    """Join two parts with their segments; `padding` is the segment and the mask that padding gets."""
    missing = max_length - len(a) - len(b)
    pads = ([PAD] * missing, [padding[0]] * missing, [padding[1]] * missing)
    real = (a + b, [segments[0]] * len(a) + [segments[1]] * len(b), [1] * (len(a) + len(b)))
    input_ids, types, mask = (p + r if front else r + p for r, p in zip(real, pads, strict=True))
    return input_ids, types, mask


def _second_part(b_ids: list[int]) -> list[int]:
    return [*b_ids, SEP] if b_ids else []


def _build_inputs(a_ids: list[int], b_ids: list[int], max_length: int) -> Inputs:
    return _assemble([CLS, *a_ids, SEP], _second_part(b_ids), max_length)


def _last_separator_first_segment(a_ids: list[int], b_ids: list[int], max_length: int) -> Inputs:
    input_ids, types, mask = _build_inputs(a_ids, b_ids, max_length)
    types[sum(mask) - 1] = 0
    return input_ids, types, mask


def _first_separator_second_segment(a_ids: list[int], b_ids: list[int], max_length: int) -> Inputs:
    return _assemble([CLS, *a_ids], [SEP, *_second_part(b_ids)], max_length)


def _last_separator_missing(a_ids: list[int], b_ids: list[int], max_length: int) -> Inputs:
    return _assemble([CLS, *a_ids, SEP], b_ids, max_length)


def _mask_on_padding(a_ids: list[int], b_ids: list[int], max_length: int) -> Inputs:
    return _assemble([CLS, *a_ids, SEP], _second_part(b_ids), max_length, padding=(0, 1))


def _segment_on_padding(a_ids: list[int], b_ids: list[int], max_length: int) -> Inputs:
    return _assemble([CLS, *a_ids, SEP], _second_part(b_ids), max_length, padding=(1, 0))


def _segments_from_one(a_ids: list[int], b_ids: list[int], max_length: int) -> Inputs:
    return _assemble([CLS, *a_ids, SEP], _second_part(b_ids), max_length, segments=(1, 2))


def _padding_in_front(a_ids: list[int], b_ids: list[int], max_length: int) -> Inputs:
    return _assemble([CLS, *a_ids, SEP], _second_part(b_ids), max_length, front=True)


build_inputs = Exercise(
    name="build_inputs",
    reference=_build_inputs,
    cases={
        "a pair with padding": ([2023, 2143], [2009, 2573, 1012], 11),
        "a pair that fills the length": ([2023], [2009, 2573], 6),
        "one sentence": ([2023, 2143, 2573], [], 8),
    },
    wrong={
        "the last [SEP] in segment 0": Wrong(
            _last_separator_first_segment,
            "Which sentence does the last [SEP] close? Which segment has that one?",
        ),
        "the first [SEP] in segment 1": Wrong(
            _first_separator_second_segment,
            "Which sentence does the first [SEP] close? Which segment has that one?",
        ),
        "the last [SEP] missing": Wrong(
            _last_separator_missing, "How many [SEP] are there in an input of two sentences?"
        ),
        "mask 1 on padding": Wrong(_mask_on_padding, "May other tokens attend to padding? 1 means keep."),
        "segment 1 on padding": Wrong(
            _segment_on_padding, "Padding belongs to no sentence. Which segment does BERT give it?"
        ),
        "segments 1 and 2": Wrong(
            _segments_from_one, "How many rows has the table of segment embeddings? Which is the first index?"
        ),
        "padding in front": Wrong(_padding_in_front, "At which position does BERT expect [CLS]?"),
    },
    hints=(
        "Build the first part, [CLS] a [SEP], and the second, b [SEP], which is empty without b.",
        "Each part is of one segment, its [SEP] included.",
        "What is missing to max_length is padding: id 0, segment 0, mask 0.",
    ),
)


# piece_offsets


def _spans(lengths: Sequence[int], start: int) -> Spans:
    spans = []
    for length in lengths:
        spans.append((start, start + length))
        start += length
    return spans


def _marks_counted(word: str, pieces: list[str], start: int) -> Spans:
    return (
        _spans([len(piece) for piece in pieces], start)
        if pieces != ["[UNK]"]
        else [(start, start + len(word))]
    )


def _within_word(word: str, pieces: list[str], start: int) -> Spans:
    return piece_offsets.reference(word, pieces, 0)


def _last_letter(word: str, pieces: list[str], start: int) -> Spans:
    return [(begin, end - 1) for begin, end in piece_offsets.reference(word, pieces, start)]


def _all_from_start(word: str, pieces: list[str], start: int) -> Spans:
    return [(start, start + end - begin) for begin, end in piece_offsets.reference(word, pieces, start)]


def _unknown_as_spelled(word: str, pieces: list[str], start: int) -> Spans:
    return _spans([len(piece.removeprefix("##")) for piece in pieces], start)


piece_offsets = Exercise(
    name="piece_offsets",
    reference=tokenization.piece_offsets,
    cases={
        "one piece": ("film", ["film"], 0),
        "one piece further on": ("film", ["film"], 7),
        "three pieces": ("unwatchable", ["un", "##watch", "##able"], 0),
        "three pieces further on": ("unwatchable", ["un", "##watch", "##able"], 12),
        "an unknown word": ("电影电影电影电影", ["[UNK]"], 3),
    },
    wrong={
        "## counted as letters": Wrong(_marks_counted, "How many characters of the text is ##able?"),
        "counted from the word's start": Wrong(
            _within_word, "Offsets point into the whole text. Where in it does this word begin?"
        ),
        "the end is the last letter": Wrong(
            _last_letter, "Slice the text with your offsets. Is the last letter there?"
        ),
        "every piece from the word's start": Wrong(
            _all_from_start, "Where does the second piece begin, if not where the first ends?"
        ),
        "[UNK] counted as five letters": Wrong(
            _unknown_as_spelled, "[UNK] stands for the whole word. How long is that in the text?"
        ),
    },
    hints=(
        "Each piece begins where the one before ended; the first begins at start.",
        "## is not in the text: a piece covers as many characters as it has without it.",
        "If the only piece is [UNK], it covers the whole word.",
    ),
)


# compare_tokenizations


@dataclass(frozen=True)
class TokenizationComparison:
    """How many texts a tokenizer cuts differently when it runs on other functions."""

    names: str  # of the functions swapped in
    texts: int
    different: int = 0
    first: tuple[str, Encoding, Encoding] | None = None  # the first such text, yours, the package's
    error: str | None = None
    attempted: bool = True

    @property
    def ok(self) -> bool:
        """Whether the tokenizer ran and did the same to every text."""
        return self.attempted and self.error is None and self.different == 0

    def __repr__(self) -> str:
        """Say in a line or four what came out."""
        if not self.attempted:
            return f"– {self.names} in the tokenizer: not attempted yet"
        if self.error is not None:
            return f"✗ {self.names}: the tokenizer stops with {self.error}"
        if self.first is None:
            same = f"the same pieces and offsets for all {self.texts:,} texts"
            return f"✓ the tokenizer runs on your own {self.names}; {same}"
        text, yours, package = self.first
        one, two = _where_they_part(yours, package)
        return (
            f"✗ {self.names}: {self.different:,} of {self.texts:,} texts come out differently, the first:\n"
            f"  {text}\n  yours:   {one}\n  package: {two}"
        )


def compare_tokenizations(
    tokenizer: WordPieceTokenizer, texts: Sequence[str], **mine: Callable[..., Any]
) -> TokenizationComparison:
    """Encode `texts` as the package does and on your functions, and count the texts that differ.

    Args:
        tokenizer: one of this package's.
        texts: what to encode.
        mine: functions as for `use`.
    """
    names = ", ".join(mine)
    try:
        with use(**mine):
            yours = [tokenizer.encode(text) for text in texts]
    except NotImplementedError:
        return TokenizationComparison(names, len(texts), attempted=False)
    except Exception as error:
        return TokenizationComparison(names, len(texts), error=f"{type(error).__name__}: {error}")
    reference = [tokenizer.encode(text) for text in texts]
    found = [entry for entry in zip(texts, yours, reference, strict=True) if entry[1] != entry[2]]
    return TokenizationComparison(names, len(texts), len(found), found[0] if found else None)


def _where_they_part(yours: Encoding, package: Encoding, width: int = 6) -> list[str]:
    """Show both from just before the first difference: the pieces or, if they agree, the offsets."""
    same = yours.tokens == package.tokens
    both = [[str(item) for item in (e.offsets if same else e.tokens)] for e in (yours, package)]
    first = next((i for i, (one, two) in enumerate(zip(*both, strict=False)) if one != two), 0)
    start = max(first - 2, 0)
    return [
        f"{'… ' if start else ''}{' '.join(items[start : start + width])}"
        f"{' …' if len(items) > start + width else ''}"
        for items in both
    ]
