"""The answers to the exercises of chapter 2, as a teacher would write them on the board."""

import unicodedata
from collections import Counter
from itertools import pairwise


def strip_accents(text):
    """Return `text` without accents."""
    # NFD takes é apart into e and a mark. NFC would put them together, and NFKD would also rewrite ½ and ﬁ.
    apart = unicodedata.normalize("NFD", text)
    # Only nonspacing marks go. Keeping ASCII alone would throw away ß and 电 as well.
    return "".join(character for character in apart if unicodedata.category(character) != "Mn")


def longest_match(word, vocab, unk_token="[UNK]", max_input_chars_per_word=100):
    """Cut a word into pieces, greedily from the left."""
    if len(word) > max_input_chars_per_word:
        return [unk_token]
    pieces = []
    start = 0
    while start < len(word):
        mark = "##" if start > 0 else ""
        # The longest candidate comes first, then one letter less, and so on.
        for end in range(len(word), start, -1):
            piece = mark + word[start:end]
            if piece in vocab:
                break
        else:  # Not even one letter is known here, so the whole word is given up.
            return [unk_token]
        pieces.append(piece)
        start = end
    return pieces


def apply_merge(wordpieces, left, right):
    """Return a new list in which each `left`, `right` is joined."""
    merged = []
    position = 0
    while position < len(wordpieces):
        pair = wordpieces[position : position + 2]
        if pair == [left, right]:
            merged.append(left + right.removeprefix("##"))  # the ## of the right piece would stand inside
            position += 2  # both are used up, so that h ##m ##m ##m gives h ##mm ##m
        else:
            merged.append(wordpieces[position])
            position += 1
    return merged


def pair_scores(words):
    """Return {(a, b): count(a b) / (count(a) · count(b))} for all neighbors."""
    singles, pairs = Counter(), Counter()
    for pieces, count in words.items():
        for piece in pieces:  # also where the word has no other piece
            singles[piece] += count
        for pair in pairwise(pieces):  # a pair that occurs twice in the word is counted twice
            pairs[pair] += count
    return {(a, b): count / (singles[a] * singles[b]) for (a, b), count in pairs.items()}


def truncate_pair(a, b, max_length):
    """Return both lists, cut at the end so that they fit together with [CLS], [SEP] and [SEP]."""
    room = max_length - 3
    while len(a) + len(b) > room:
        if len(a) > len(b):
            a = a[:-1]  # this makes a new list: the caller's stays as it is
        else:
            b = b[:-1]
    return a, b


def build_inputs(a_ids, b_ids, max_length):
    """Return input_ids, token_type_ids and attention_mask, each of max_length numbers."""
    first = [101, *a_ids, 102]
    second = [*b_ids, 102] if b_ids else []  # the last [SEP] closes the second sentence: segment 1
    length = len(first) + len(second)
    padding = [0] * (max_length - length)  # id, segment and mask of padding are all 0
    input_ids = first + second + padding
    token_type_ids = [0] * len(first) + [1] * len(second) + padding
    attention_mask = [1] * length + padding
    return input_ids, token_type_ids, attention_mask


def wordpiece_offsets(word, wordpieces, start):
    """Return [(start, end), …], one for each piece of the word that begins at `start`."""
    if wordpieces == ["[UNK]"]:  # it stands for the whole word, however long that is
        return [(start, start + len(word))]
    offsets = []
    for piece in wordpieces:
        end = start + len(piece.removeprefix("##"))  # the text has no ##
        offsets.append((start, end))
        start = end  # the next piece begins where this one ends
    return offsets
