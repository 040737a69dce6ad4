"""Names of persons in plots, labeled by the plots' own casts (chapter 5).

A plot that has "Mike (Tom Hanks)" says that Mike is a person: so whole sentences get labels that nobody wrote
(distant supervision, Mintz et al. 2009). The rules are regular expressions, and they err; for the test part
there are labels corrected by hand, so that the errors can be counted. Leaves out: plots without a cast.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from bertlearn.course.tasks import Parts, split_sentences
from bertlearn.data.corpora import SPLITS, load_plots, split_of

if TYPE_CHECKING:
    from bertlearn.finetuning.spans import Span


class NamedText(NamedTuple):
    """A sentence of a plot, and the names of persons in it: spans of characters labeled "PER"."""

    film: str
    text: str
    spans: list[Span]


# A word of a name: Frank, O'Brien, Obi-Wan; without the 's of "Frank's".
_WORD = r"[A-ZÀ-Þ](?:[^\W\d_]|['’](?!s\b)(?=[^\W\d_])|-(?=[A-ZÀ-Þ]))+"
# What may be between two of them, as in John F. Smith, Lil' Romeo, John "Eagle Eye" Smith.
_BETWEEN = r"(?:'? | [A-Z]\. | [\"'“][^\"'”()]{1,20}[\"'”] )"
_NAME = rf"{_WORD}(?:{_BETWEEN}{_WORD})*"
# An actor, up to four words: Vivica A. Fox, M.C. Gainey, Christian de la Fuente, Cuba Gooding, Jr.
_ACTOR = rf"(?:{_WORD}|(?:[A-Z]\.)+)(?: (?:{_WORD}|(?:[A-Z]\.)+|de|la|van|der)){{0,3}}(?:,? [JS]r\.)?"
# Nothing but actors in parentheses; a small letter among them, so not (SIS).
_CAST = re.compile(rf"\((?=[^)]*[a-z])(?:(?:also )?played by )?({_ACTOR}(?:(?:, | and | & ){_ACTOR})*)\)")
# What stands before a cast, at the end of a text: an article or "in", if any, and the name.
_BEFORE_CAST = re.compile(rf"(\b(?:an?|in|[Tt]he) )?({_NAME})(?:'s)?[,\"”' ]*$")
# A name after a role or a title: "his wife, Ellen", "detective Sam Nico", "Mrs. Brown", "a boy named Tom".
_AFTER_ROLE = re.compile(
    r"\b(?:wife|husband|son|daughter|brother|sister|mother|father|friend|girlfriend|boyfriend|fiancée?|cousin"
    r"|uncle|aunt|nephew|niece|partner|named|detective|cop|agent|lawyer|boss|journalist|roommate|teacher"
    r"|Miss|Doctor|Detective|Agent|Officer|Inspector|Captain|Professor|(?:Mr|Mrs|Ms|Dr)\.?)"
    rf",? ({_NAME})"
)
# Titles, and other words that lead to a name and are mostly capitalized.
_TITLE = re.compile(
    "Agent|Brother|Captain|Chief|Count|Deputy|Detective|Doctor|Dr|Enter|Father|General|Guru|However|Inspector"
    "|Jedi|Knights?|Lady|Lieutenant|Lord|Lt|Major|Marine|Miss|Mr|Mrs|Ms|Officer|Prince|Princess|Private"
    "|Professor|Psychiatrist|Queen|Rabbi|Reverend|Senator|Sergeant|Sheriff|Sir|Sister|Special|The|Zamindar"
)


# By reading every sentence of the test part: for a film, what else is a word of a name, and in what there is
# none. A film's title and a mere description ("the Bride", "the Tall Man") are no names; Santa Claus is one.
_CORRECTIONS: dict[str, tuple[list[str], list[str]]] = {
    "agni_varsha": (["Aravasu", "Girish", "Karnad"], ["Gods"]),
    "barefoot_to_herat": (["Majid", "Majidi"], ["MASLAKH"]),
    "chik_yeung_tin_sai": (["Chow", "Nunn", "Lui", "Yan"], []),
    "frida": (["Leon", "Trotsky"], ['"Frida"']),
    "honey": (["Lil", "Romeo", "Phifer"], []),
    "i_capture_the_castle": (["Dodie", "Smith"], []),
    "kill_bill": (["Uma", "Thurman", "Quentin", "Tarantino"], ["Kill Bill"]),
    "nha_fala": (["Vita"], ["Nha Fala"]),
    "phantasms_end": ([], ["Tall Man"]),
    "santa_clause_2_the": (["Santa", "Claus"], ["substitute Claus"]),
}


def load_names(corrected: bool = True) -> Parts[NamedText]:
    """Return the sentences of the plots that give their cast, with the names of persons.

    The cast in parentheses is taken out. A name is what stands before it, in whole or in part and wherever it
    recurs in the plot; so are actors' names, what follows a role ("his wife Ellen"), and what begins with
    the first name of some actor. Titles ("Dr.") are no part of it.

    Args:
        corrected: whether the test part's labels are those corrected by hand, or what the rules say.

    Returns:
        1,055 sentences with 1,020 names from 130 films for training, 182 with 227 from 26 for validation, 141
        with 158 from 21 for testing. Of those 158 the rules find 122; they name 134, so 12 wrongly.

    Raises:
        DataError: the plots could not be fetched, or the cached file was changed.
    """
    plots = load_plots()
    words = _count_words([plot.text for plot in plots])
    parts: Parts[NamedText] = Parts([], [], [])
    for plot in plots:
        if _characters(plot.text, words):
            more, hidden = _CORRECTIONS.get(plot.film, ([], [])) if corrected else ([], [])
            names = _person_words(plot.text, words).union(more)
            part = parts[SPLITS.index(split_of(plot.film))]
            for sentence in split_sentences(_without_cast(plot.text)):
                part.append(NamedText(plot.film, sentence, _spans(sentence, names, hidden, words)))
    return parts


class _Words(NamedTuple):
    """What all plots together say about words."""

    common: set[str]  # more often small than capitalized
    first_names: set[str]  # of actors, and never small


def _count_words(texts: Sequence[str]) -> _Words:
    small = Counter(word for text in texts for word in re.findall(r"\b[a-zà-ÿ]+", text))
    capital = Counter(word for text in texts for word in re.findall(_WORD, text))
    first = {name[0] for text in texts for name in _actors(text) if len(name) > 1}
    return _Words(
        common={word for word, count in capital.items() if small[word.lower()] > count},
        first_names={word for word in first if not small[word.lower()]},
    )


def _actors(text: str) -> list[list[str]]:
    """Return the words of each name in the parentheses of a cast."""
    names = [name for cast in _CAST.finditer(text) for name in re.split(", | and | & ", cast[1])]
    return [words for name in names if (words := re.findall(_WORD, name))]


def _characters(text: str, words: _Words) -> list[list[str]]:
    """Return the words of each name before a cast; but not of "the Jew (Shylock)", nor of "in Vegas (…)"."""
    before = [_BEFORE_CAST.search(text[: cast.start()]) for cast in _CAST.finditer(text)]
    names = [_core(match[2], words) for match in before if match and not match[1]]
    return [name for name in names if name]


def _person_words(text: str, words: _Words) -> set[str]:
    """Return all words of persons' names in a plot."""
    clean = _without_cast(text)
    after_role = [_core(role[1], words) for role in _AFTER_ROLE.finditer(clean)]
    others = [_core(run[0], words) for run in re.finditer(_NAME, clean)]
    names = [
        *_characters(text, words),
        *(name for name in _actors(text) if len(name) > 1 or name[0] not in words.common),
        *(name for name in after_role if name and name[0] not in words.common),
        *(name for name in others if name and name[0] in words.first_names),
    ]
    return {word for name in names for word in name if not _TITLE.fullmatch(word)}


def _core(run: str, words: _Words) -> list[str]:
    return [part[0] for part in _trim(run, words, set())]


def _trim(run: str, words: _Words, known: set[str]) -> list[re.Match[str]]:
    """Return the words of a capitalized run from the first known one, or from where a name may begin.

    That is after the last title; without a title, after words such as "FBI" or "Young", unless one is alone.
    """
    parts = list(re.finditer(_WORD, run))
    before = list(takewhile(lambda part: part[0] not in known, parts))
    start = max((n for n, part in enumerate(before, start=1) if _TITLE.fullmatch(part[0])), default=0)
    if start == 0 and len(parts) > 1:
        start = sum(1 for _ in takewhile(lambda part: _leads(part[0], words), before))
    return parts[start:]


def _leads(word: str, words: _Words) -> bool:
    return word in words.common or word.isupper()


def _without_cast(text: str) -> str:
    text = re.sub(" +", " ", _CAST.sub(" ", text))
    return re.sub(r" +(?=[.,;:!?)]|'s\b)", "", text).replace(",,", ",").strip()


def _spans(sentence: str, known: set[str], hidden: Iterable[str], words: _Words) -> list[Span]:
    """Return the runs of capitalized words with a known one, outside what is hidden.

    One word that begins the sentence and is a common one, such as "Will", is left out.
    """
    from bertlearn.finetuning.spans import Span

    for phrase in hidden:
        sentence = sentence.replace(phrase, "#" * len(phrase))
    spans = []
    for run in re.finditer(_NAME, sentence):
        name = _trim(run[0], words, known)
        if known.intersection(part[0] for part in name):
            start, end = run.start() + name[0].start(), run.start() + name[-1].end()
            if start > 1 or sentence[start:end] not in words.common:
                spans.append(Span(start, end, "PER"))
    return spans
