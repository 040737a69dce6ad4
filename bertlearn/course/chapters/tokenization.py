"""What the cells of chapter 2 call so that they stay short: searches shown step by step, tables, test texts.

Nothing here is needed to tokenize; the tokenizer itself is in `bertlearn.tokenizer`.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bertlearn.course.figures import PALETTE, Picture, new_figure
from bertlearn.tokenizer.learn import TrainedVocabulary
from bertlearn.tokenizer.wordpiece import longest_match

# The first sentence of Article 1 of the Universal Declaration of Human Rights, in translations published by
# the United Nations.
ARTICLE_1 = {
    "English": "All human beings are born free and equal in dignity and rights.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Swahili": "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa.",
    "Turkish": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
    "Finnish": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Arabic": "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。",
    "Japanese": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
}

_CONTROLS = {"\t": "tab", "\n": "line break", "\a": "bell"}  # Unicode gives control characters no name


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a header: the first column aligned on the left, the others on the right."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        numbers = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("   ".join([first.ljust(widths[0]), *numbers]).rstrip())


def print_words(words: Iterable[str]) -> None:
    """Print words or wordpieces one after another, in lines of at most 88 characters."""
    print(textwrap.fill(" ".join(words), 88, break_long_words=False, break_on_hyphens=False))


def growth(units: Iterable[Hashable], step: int) -> tuple[list[int], list[int]]:
    """Count different units while reading.

    Args:
        units: words or characters, in the order in which they are read.
        step: after how many units each count is taken.

    Returns:
        How many units were read, and how many different ones were among them, for each count.
    """
    seen, read, met = set[Hashable](), [], []
    for count, unit in enumerate(units, start=1):
        seen.add(unit)
        if count % step == 0:
            read.append(count)
            met.append(len(seen))
    return read, met


def plot_growth(read: Sequence[int], met: Sequence[int]) -> Picture:
    """Draw how many different words were met; both arguments are what `growth` returns."""
    figure, axes = new_figure()
    axes.plot(read, met, color=PALETTE[0])
    axes.set(title="New words keep coming", xlabel="words read", ylabel="different words so far", ylim=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.0f}")
    return Picture(
        figure,
        f"A curve of different words over words read, steep at first and never flat: {met[0]:,} different "
        f"words after {read[0]:,}, {met[len(met) // 2]:,} at half the way, {met[-1]:,} after {read[-1]:,}.",
    )


def describe(text: str) -> None:
    """Print a text as Python spells it, its length, and the names of its characters beyond visible ASCII."""
    odd = [_name(character) for character in text if not character.isprintable() or character > "~"]
    print(f"{text!r}\n  {len(text)} characters. Invisible or not ASCII:")
    print(textwrap.fill(", ".join(odd) or "none", 88, initial_indent="  ", subsequent_indent="  "))


def _name(character: str) -> str:
    return unicodedata.name(character, _CONTROLS.get(character, f"U+{ord(character):04X}")).lower()


def show_search(word: str, vocab: Collection[str], start: int = 0) -> str | None:
    """Print the candidates for the wordpiece at one position, the longest first, until one is found.

    Args:
        word: a word without spaces.
        vocab: the wordpieces, with ## in front of all that do not begin a word.
        start: the position in the word.

    Returns:
        The wordpiece; None if no candidate is in the vocabulary.
    """
    mark = "##" if start else ""
    for end in range(len(word), start, -1):
        candidate = mark + word[start:end]
        found = candidate in vocab
        print(f"{candidate:{len(word) + 3}}", "in the vocabulary" if found else "no")
        if found:
            return candidate
    return None


def lookups(word: str, vocab: dict[str, int]) -> int:
    """Return how many candidates the longest-match search tries before a word that it can cut is cut."""
    count = start = 0
    for wordpiece in longest_match(word, vocab):
        length = len(wordpiece.removeprefix("##"))
        count += len(word) - start - length + 1  # from all that is left down to the wordpiece
        start += length
    return count


def compare_merges(
    learned: TrainedVocabulary, training: Callable[..., list[tuple[str, str]]], *arguments: object
) -> str:
    """Say whether a learner's training finds the package's first merges; an error becomes a line of text.

    Args:
        learned: what `train_wordpiece` returned for the same text and criterion.
        training: returns pairs (left, right) in the order in which they were merged.
        arguments: what `training` is called with; the learner's functions are among them.
    """
    try:
        mine = training(*arguments)
    except NotImplementedError:
        return "– training on your own functions: not attempted yet"
    except Exception as error:
        return f"✗ training on your own functions stops with {type(error).__name__}: check them first"
    expected = [merge[:2] for merge in learned.merges[: len(mine)]]
    found = ", ".join(f"{left} {right}" for left, right in mine)
    if mine == expected:
        return f"✓ your functions find the same merges as the package: {found}"
    should = ", ".join(f"{left} {right}" for left, right in expected)
    return f"✗ your functions find {found}; the package finds {should}"


def as_vocab(wordpieces: Iterable[str]) -> dict[str, int]:
    """Return wordpieces as a vocabulary: each with its id, counted from 0."""
    return {wordpiece: number for number, wordpiece in enumerate(wordpieces)}


def cut_counts(wordpieces: Iterable[str], word_counts: Mapping[str, int]) -> Counter[str]:
    """Return how often each wordpiece occurs when the counted words are cut with this vocabulary."""
    vocab, result = as_vocab(wordpieces), Counter[str]()
    for word, count in word_counts.items():
        for wordpiece in longest_match(word, vocab):
            result[wordpiece] += count
    return result


def script_of(wordpiece: str) -> str:
    """Return the script of a wordpiece's first character, which is the first word of its Unicode name."""
    name = unicodedata.name(wordpiece.removeprefix("##")[0], "?").split()[0]
    return "Chinese" if name == "CJK" else name.capitalize()


class LibraryVocabularies(NamedTuple):
    """The wordpieces that the tokenizers library learns under two names."""

    wordpiece: set[str]
    bpe: set[str]


def library_vocabularies(texts: Sequence[str], special_tokens: Sequence[str]) -> LibraryVocabularies:
    """Train 4,000 wordpieces with the library's WordPieceTrainer, and 4,000 with its BpeTrainer."""
    from tokenizers import models, trainers  # not loaded for the rest of the chapter

    options: dict[str, Any] = {
        "vocab_size": 4000,
        "min_frequency": 2,
        "special_tokens": list(special_tokens),
        "show_progress": False,
    }
    wordpiece = models.WordPiece(unk_token="[UNK]")
    bpe = models.BPE(unk_token="[UNK]", continuing_subword_prefix="##")
    return LibraryVocabularies(
        _train(texts, wordpiece, trainers.WordPieceTrainer(**options)),
        _train(texts, bpe, trainers.BpeTrainer(continuing_subword_prefix="##", **options)),
    )


def _train(texts: Sequence[str], model: Any, trainer: Any) -> set[str]:
    from tokenizers import Tokenizer, normalizers, pre_tokenizers

    library = Tokenizer(model)
    library.normalizer = normalizers.BertNormalizer()
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.train_from_iterator(texts, trainer)
    return set(library.get_vocab())
