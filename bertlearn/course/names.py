"""Names of people in plots, labeled with the help of the plots' own casts (chapter 5).

A plot that contains "Mike (Tom Hanks)" shows that Mike is a person, so whole sentences get labels without an
annotator (distant supervision, Mintz et al. 2009). The rules are regular expressions and make mistakes. The
labels of the test split were corrected by hand, so that the mistakes can be counted. Leaves out: plots
without a cast.
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
    """A sentence of a plot and the names of people in it: character spans labeled "PER"."""

    film: str
    text: str
    spans: list[Span]


# A word of a name: Frank, O'Brien, Obi-Wan; without the 's of "Frank's".
_WORD = r"[A-ZÀ-Þ](?:[^\W\d_]|['’](?!s\b)(?=[^\W\d_])|-(?=[A-ZÀ-Þ]))+"
# What may stand between two such words, as in John F. Smith, Lil' Romeo, John "Eagle Eye" Smith.
_BETWEEN = r"(?:'? | [A-Z]\. | [\"'“][^\"'”()]{1,20}[\"'”] )"
_NAME = rf"{_WORD}(?:{_BETWEEN}{_WORD})*"
# An actor, up to four words: Vivica A. Fox, M.C. Gainey, Christian de la Fuente, Cuba Gooding, Jr.
_ACTOR = rf"(?:{_WORD}|(?:[A-Z]\.)+)(?: (?:{_WORD}|(?:[A-Z]\.)+|de|la|van|der)){{0,3}}(?:,? [JS]r\.)?"
# Parentheses with nothing but actors, and at least one lower-case letter: not (SIS).
_CAST = re.compile(rf"\((?=[^)]*[a-z])(?:(?:also )?played by )?({_ACTOR}(?:(?:, | and | & ){_ACTOR})*)\)")
# The end of the text before a cast: the name, after an article or "in" if there is one.
_BEFORE_CAST = re.compile(rf"(\b(?:an?|in|[Tt]he) )?({_NAME})(?:'s)?[,\"”' ]*$")
# A name after a role or a title: "his wife, Ellen", "detective Sam Nico", "Mrs. Brown", "a boy named Tom".
_AFTER_ROLE = re.compile(
    r"\b(?:wife|husband|son|daughter|brother|sister|mother|father|friend|girlfriend|boyfriend|fiancée?|cousin"
    r"|uncle|aunt|nephew|niece|partner|named|detective|cop|agent|lawyer|boss|journalist|roommate|teacher"
    r"|Miss|Doctor|Detective|Agent|Officer|Inspector|Captain|Professor|(?:Mr|Mrs|Ms|Dr)\.?)"
    rf",? ({_NAME})"
)
# Titles, and other words that precede a name and are mostly capitalized.
_TITLE = re.compile(
    "Agent|Brother|Captain|Chief|Count|Deputy|Detective|Doctor|Dr|Enter|Father|General|Guru|However|Inspector"
    "|Jedi|Knights?|Lady|Lieutenant|Lord|Lt|Major|Marine|Miss|Mr|Mrs|Ms|Officer|Prince|Princess|Private"
    "|Professor|Psychiatrist|Queen|Rabbi|Reverend|Senator|Sergeant|Sheriff|Sir|Sister|Special|The|Zamindar"
)


# Found by reading every sentence of the test split. For each film: further words that belong to a name, and
# phrases that contain no name. A film's title and a mere description ("the Bride", "the Tall Man") do not
# count as names; Santa Claus does.
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
    """Return the sentences of the plots that give their cast, with the names of people.

    The cast in parentheses is removed. The words before it are a name, in whole or in part, wherever they
    occur in the plot. Other names are those of actors, what follows a role ("his wife Ellen"), and what
    begins with the first name of an actor. Titles ("Dr.") are not part of a name.

    Args:
        corrected: whether the test split has the labels corrected by hand, or those of the rules.

    Returns:
        1,055 sentences with 1,020 names from 130 films for training, 182 with 227 from 26 for validation, 141
        with 158 from 21 for testing. Of these 158 the rules find 122; they predict 134, so 12 are wrong.

    Raises:
        DataError: the plots could not be fetched, or the cached file was changed.
    """
    plots = load_plots()
    words = _count_words([plot.text for plot in plots])
    parts: Parts[NamedText] = Parts([], [], [])
    for plot in plots:
        if _characters(plot.text, words):
            added, hidden = _CORRECTIONS.get(plot.film, ([], [])) if corrected else ([], [])
            names = _person_words(plot.text, words).union(added)
            part = parts[SPLITS.index(split_of(plot.film))]
            for sentence in split_sentences(_without_cast(plot.text)):
                part.append(NamedText(plot.film, sentence, _spans(sentence, names, hidden, words)))
    return parts


class _Words(NamedTuple):
    """Statistics of the words in all plots together."""

    common: set[str]  # more often in lower case than capitalized
    first_names: set[str]  # of actors, and never in lower case


def _count_words(texts: Sequence[str]) -> _Words:
    lower = Counter(word for text in texts for word in re.findall(r"\b[a-zà-ÿ]+", text))
    capitalized = Counter(word for text in texts for word in re.findall(_WORD, text))
    first = {name[0] for text in texts for name in _actors(text) if len(name) > 1}
    return _Words(
        common={word for word, count in capitalized.items() if lower[word.lower()] > count},
        first_names={word for word in first if not lower[word.lower()]},
    )


def _actors(text: str) -> list[list[str]]:
    """Return the words of each actor's name in the casts of a text."""
    names = [name for cast in _CAST.finditer(text) for name in re.split(", | and | & ", cast[1])]
    return [words for name in names if (words := re.findall(_WORD, name))]


def _characters(text: str, words: _Words) -> list[list[str]]:
    """Return the words of each name before a cast, but not those of "the Jew (Shylock)" or "in Vegas (…)"."""
    before = [_BEFORE_CAST.search(text[: cast.start()]) for cast in _CAST.finditer(text)]
    names = [_core(match[2], words) for match in before if match and not match[1]]
    return [name for name in names if name]


def _person_words(text: str, words: _Words) -> set[str]:
    """Return all words of the names of people in a plot."""
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
    return [match[0] for match in _trim(run, words, set())]


def _trim(run: str, words: _Words, known: set[str]) -> list[re.Match[str]]:
    """Return the words of a capitalized run from the first known word on, or from where a name may begin.

    A name may begin after the last title. Without a title, it may begin after words such as "FBI" or "Young",
    unless the run is a single word.
    """
    matches = list(re.finditer(_WORD, run))
    before = list(takewhile(lambda match: match[0] not in known, matches))
    start = max((n for n, match in enumerate(before, start=1) if _TITLE.fullmatch(match[0])), default=0)
    if start == 0 and len(matches) > 1:
        start = sum(1 for _ in takewhile(lambda match: _leads(match[0], words), before))
    return matches[start:]


def _leads(word: str, words: _Words) -> bool:
    return word in words.common or word.isupper()


def _without_cast(text: str) -> str:
    text = re.sub(" +", " ", _CAST.sub(" ", text))
    return re.sub(r" +(?=[.,;:!?)]|'s\b)", "", text).replace(",,", ",").strip()


def _spans(sentence: str, known: set[str], hidden: Iterable[str], words: _Words) -> list[Span]:
    """Return the runs of capitalized words that contain a known word, outside the hidden phrases.

    A single common word at the beginning of the sentence, such as "Will", is left out.
    """
    from bertlearn.finetuning.spans import Span

    for phrase in hidden:
        sentence = sentence.replace(phrase, "#" * len(phrase))
    spans = []
    for run in re.finditer(_NAME, sentence):
        name = _trim(run[0], words, known)
        if known.intersection(match[0] for match in name):
            start, end = run.start() + name[0].start(), run.start() + name[-1].end()
            if start > 1 or sentence[start:end] not in words.common:
                spans.append(Span(start, end, "PER"))
    return spans
