"""Labeled examples made from the course's own texts: pairs of texts and cloze questions (chapter 5).

Nobody labeled these texts for us; the labels come from what they already say. Two reviews are of one film
because the site says so. A sentence of Wikipedia with a gap asks for what its paragraph says elsewhere: a
cloze test (Taylor 1953; Hermann et al. 2015, for reading machines). All is made anew at each call, and is the
same each time. Leaves out: models; and names in plots, which have their own module.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import accumulate, pairwise
from typing import Generic, NamedTuple, TypeVar

from bertlearn.data.corpora import SPLITS, ReviewSet, load_reviews
from bertlearn.data.wikipedia import Article, load_articles

Example = TypeVar("Example")

GAP = "…"  # what stands in a cloze question for the answer


class Parts(NamedTuple, Generic[Example]):
    """Examples in three parts; no film, no article is in two of them."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]


class FilmPair(NamedTuple):
    """Two texts from reviews, and whether they are about the same film (1) or not (0)."""

    first: str
    second: str
    label: int


class Cloze(NamedTuple):
    """A sentence with a `GAP`, and where the context has what fills it: `context[start:end] == answer`.

    Where the context does not have it, the answer is empty, and start and end are 0.
    """

    article: str
    question: str
    context: str
    answer: str
    start: int
    end: int


# 1. Two texts: the same film?

_NEAR = 20  # pairs with second texts of like length, among which these are exchanged

_Side = tuple[int, ...]  # the sentences of one text, by number
_Pair = tuple[_Side, _Side]


def load_film_pairs(sentences: int = 1) -> Parts[FilmPair]:
    """Return pairs of review texts: first those about the same film, then as many about two films.

    Each text stands four times: first and second, in a pair of either kind; the second ones are exchanged
    among pairs where they are about equally long and equally often fresh. So neither text alone tells
    anything about the label, and only what both say together does.

    Args:
        sentences: 1 to 4 in each text; the more, the easier.

    Returns:
        20,344 pairs for training, 2,628 for validation, 2,530 for testing with one sentence in each text;
        9,920, 1,280 and 1,238 with two; 6,370, 816 and 788 with three; 4,574, 580 and 568 with four.

    Raises:
        DataError: the reviews could not be fetched, or the cached file was changed.
        ValueError: another number of sentences.
    """
    if not 1 <= sentences <= 4:
        raise ValueError(f"sentences={sentences} in each text of a pair are not offered; use 1 to 4")
    reviews = load_reviews()
    return Parts(*(_film_pairs(getattr(reviews, split), sentences) for split in SPLITS))


def _film_pairs(reviews: ReviewSet, sentences: int) -> list[FilmPair]:
    rng = random.Random(0)
    same = [pair for film in dict.fromkeys(reviews.films) for pair in _ring(film, reviews, sentences, rng)]
    rng.shuffle(same)
    same.sort(key=lambda pair: (_fresh(pair[1], reviews), len(_join(pair[1], reviews))))
    count = len(same) // _NEAR
    chunks = [same[a:b] for a, b in pairwise(len(same) * number // count for number in range(count + 1))]
    other = [pair for chunk in chunks for pair in _exchange(chunk, reviews.films, rng)]
    return [
        FilmPair(_join(first, reviews), _join(second, reviews), label)
        for label, pairs in ((1, same), (0, other))
        for first, second in pairs
    ]


def _ring(film: str, reviews: ReviewSet, sentences: int, rng: random.Random) -> list[_Pair]:
    """Return the film's texts in random order, each with the next one, the last with the first."""
    numbers = [number for number, name in enumerate(reviews.films) if name == film]
    rng.shuffle(numbers)
    count = len(numbers) // sentences
    texts = [tuple(numbers[start::count][:sentences]) for start in range(count)]
    return list(zip(texts, texts[1:] + texts[:1], strict=True)) if count > 1 else []


def _exchange(pairs: list[_Pair], films: list[str], rng: random.Random) -> list[_Pair]:
    """Shuffle the second texts until none is of the same film as the first one: soon, as films are many."""
    firsts, seconds = (list(sides) for sides in zip(*pairs, strict=True))
    while any(films[first[0]] == films[second[0]] for first, second in zip(firsts, seconds, strict=True)):
        rng.shuffle(seconds)
    return list(zip(firsts, seconds, strict=True))


def _join(side: _Side, reviews: ReviewSet) -> str:
    return " ".join(reviews.sentences[number] for number in side)


def _fresh(side: _Side, reviews: ReviewSet) -> int:
    return sum(reviews.labels[number] for number in side)


# 2. A span: what fills the gap?

_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_FUNCTION_WORD = (  # begins a sentence, but no name
    "(?:A|After|All|Although|An|And|As|At|Before|Both|But|By|During|Each|For|From|He|Her|His|However|If|In|It|Its"
    "|Later|Many|Most|No|Of|On|One|Or|Other|She|Since|Some|That|The|Their|There|These|They|This|Those|To|Under"
    "|Until|We|What|When|Where|Which|While|Who|With)"
)
# Lee, O'Brien, Guinea-Bissau; without the 's of "Lee's".
_CAPITALIZED = r"[A-ZÀ-Þ](?:[^\W\d_]|['’](?!s\b)(?=[^\W\d_])|-(?=[^\W\d_]))+"
# Whole words: "May 5, 1920", "1,500 million", "Bank of England", "photosynthesis".
_PHRASE = re.compile(
    rf"(?<!\w)(?:(?P<date>(?:\d\d? )?{_MONTH} \d{{4}}|\d\d? {_MONTH}|{_MONTH} \d\d?(?:, \d{{4}})?)"
    r"|(?P<number>\d[\d,.]*\d(?: million| billion| percent|%)?)"
    rf"|(?!{_FUNCTION_WORD}\b)(?P<name>{_CAPITALIZED}(?:(?: | of | of the | [A-Z]\. ){_CAPITALIZED})*)"
    r"|(?P<term>[a-zà-ÿ]{8,}))(?!\w)"
)
# A text that ends where a sentence begins.
_BEGINNING = re.compile(r"[.!?:][\"”’)]*\s+[\"“‘(]*$")
_CONTEXT = 80  # words at most, so that question and context together stay short
_MIN_WORDS = 7  # in a question
_RARE = 3  # articles at most that a small word is in, for a question to ask for it
_NULL = 5  # every 5th question comes with a context that has not got the answer


class Phrase(NamedTuple):
    """What a question may ask for: a date, a number, a name or a rare term, and where it begins."""

    kind: str
    text: str
    start: int


def load_cloze() -> Parts[Cloze]:
    """Return questions on Wikipedia's articles: sentences in which a phrase is replaced by a `GAP`.

    The context is the sentences around it, up to 80 words of the same paragraph; there the phrase stands
    once. Every 5th question has no answer: it gets the context of another question on the article, of those
    without the phrase the one that shares the most words with it. The articles for testing are those that
    `course_documents` keeps out of pretraining.

    Returns:
        2,929 questions on 71 articles for training, 311 on 9 for validation, 455 on 10 for testing.

    Raises:
        DataError: the articles could not be fetched, or the cached file was changed.
    """
    articles = load_articles()
    spread = Counter(word for article in articles for word in _words(" ".join(article.paragraphs)))
    rare = {word for word, count in spread.items() if count <= _RARE}
    parts: Parts[Cloze] = Parts([], [], [])
    for number, article in enumerate(articles):
        part = {0: parts.test, 5: parts.validation}.get(number % 10, parts.train)
        asked = _ask(article, rare)
        part += [_unanswer(c, asked) if n % _NULL == _NULL - 1 else c for n, c in enumerate(asked)]
    return parts


def find_phrases(text: str) -> list[Phrase]:
    """Return the dates, numbers, capitalized names and long small words of a text, in order.

    A single capitalized word at the beginning of a sentence is left out: most are no names.
    """
    phrases = [Phrase(str(m.lastgroup), m[0], m.start()) for m in _PHRASE.finditer(text)]
    return [
        phrase
        for phrase in phrases
        if phrase.kind != "name" or " " in phrase.text or not _begins(text, phrase.start)
    ]


def _begins(text: str, start: int) -> bool:
    """Say whether a sentence begins there."""
    return start == 0 or _BEGINNING.search(text[max(0, start - 5) : start]) is not None


def _ask(article: Article, rare: set[str]) -> list[Cloze]:
    """Return for each sentence a question that its neighbors answer, where there is one."""
    rng = random.Random(article.title)
    asked = []
    for paragraph in article.paragraphs:
        if GAP in paragraph:
            continue  # nobody could tell this gap from ours
        sentences = split_sentences(paragraph)
        for place, sentence in enumerate(sentences):
            found = _clozes(article.title, sentence, _neighbors(sentences, place), rare)
            asked += rng.sample(found, min(len(found), 1))
    return asked


def _neighbors(sentences: list[str], place: int) -> str:
    """Return the sentences around one, without it: the nearest, up to 80 words; at least two, or none."""
    near = sorted(set(range(len(sentences))) - {place}, key=lambda other: abs(other - place))
    words = accumulate(len(sentences[other].split()) for other in near)
    chosen = sorted(other for other, count in zip(near, words, strict=True) if count <= _CONTEXT)
    return " ".join(sentences[other] for other in chosen) if len(chosen) > 1 else ""


def _clozes(title: str, sentence: str, context: str, rare: set[str]) -> list[Cloze]:
    """Return every question that the sentence can ask: its phrases that the context has exactly once."""
    phrases = [phrase for phrase in find_phrases(sentence) if phrase.text in context]
    wanted = {phrase.text for phrase in phrases if phrase.kind != "term" or phrase.text in rare}
    places = {phrase.text: phrase.start for phrase in find_phrases(context)} if wanted else {}
    clozes = []
    for text in sorted(wanted & places.keys()):
        question, start = _whole(text).sub(GAP, sentence), places[text]
        if len(_whole(text).findall(context)) == 1 and len(question.split()) >= _MIN_WORDS:
            clozes.append(Cloze(title, question, context, text, start, start + len(text)))
    return clozes


def _unanswer(cloze: Cloze, others: list[Cloze]) -> Cloze:
    """Give the question another's context without its answer, the one with most of the question's words."""
    contexts = [other.context for other in others if cloze.answer.lower() not in other.context.lower()]
    words = _words(cloze.question)
    nearest = max(contexts, key=lambda context: len(words & _words(context)), default=None)
    return Cloze(cloze.article, cloze.question, nearest, "", 0, 0) if nearest else cloze


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _whole(text: str) -> re.Pattern[str]:
    """Return the pattern of a text that is no part of a longer word, capitalized or not."""
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE)


# What both need

_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)]*\s+(?=[\"'“‘(]?[A-ZÀ-Þ0-9])")
_ABBREVIATED = re.compile(r"\b(?:Mrs?|Ms|Dr|[JS]r|Lt|Gen|Det|Col|Sgt|St|Prof|vs?|pp?|No|ca?|[A-Z])\.\s+$")


def split_sentences(text: str) -> list[str]:
    """Cut a text after full stops, question and exclamation marks that no small letter follows."""
    ends = [end.end() for end in _SENTENCE_END.finditer(text) if not _ABBREVIATED.search(text[: end.end()])]
    return [text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
