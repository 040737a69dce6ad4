"""Labeled examples made from the course's own texts: pairs of texts and cloze questions (chapter 5).

Nobody labeled these texts by hand; the labels come from what the texts already contain. The review site says
which film each review is about. A Wikipedia sentence with a gap asks for a phrase that its paragraph contains
elsewhere: a cloze test (Taylor 1953; Hermann et al. 2015, for machine reading). The examples are made at each
call and are always the same. Leaves out: models, and the names in plots, which have their own module.
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

GAP = "…"  # replaces the answer in a cloze question


class Parts(NamedTuple, Generic[Example]):
    """Examples in three parts; no film or article is in two of them."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]


class FilmPair(NamedTuple):
    """Two texts from reviews, and whether they are about the same film (1) or not (0)."""

    first: str
    second: str
    label: int


class Cloze(NamedTuple):
    """A sentence with a `GAP`, and where the context contains the answer: `context[start:end] == answer`.

    If the context does not contain it, the answer is empty, and start and end are 0.
    """

    article: str
    question: str
    context: str
    answer: str
    start: int
    end: int


# 1. Two texts: the same film?

_GROUP = 20  # pairs with second texts of similar length, which are exchanged within such a group

_Side = tuple[int, ...]  # the indices of the sentences of one text
_Pair = tuple[_Side, _Side]


def load_film_pairs(sentences: int = 1) -> Parts[FilmPair]:
    """Return pairs of review texts: first those about the same film, then as many about two films.

    Each text occurs four times: as first and as second text, in a pair of either kind. Pairs about two films
    come from exchanging second texts of about the same length and the same number of fresh sentences. So
    neither text alone says anything about the label; only both together do.

    Args:
        sentences: sentences in each text, 1 to 4; more make the task easier.

    Returns:
        20,344 pairs for training, 2,628 for validation, 2,530 for testing with one sentence in each text;
        9,920, 1,280 and 1,238 with two; 6,370, 816 and 788 with three; 4,574, 580 and 568 with four.

    Raises:
        DataError: the reviews could not be fetched, or the cached file was changed.
        ValueError: `sentences` is not 1 to 4.
    """
    if not 1 <= sentences <= 4:
        raise ValueError(
            f"sentences={sentences} is not supported; use 1 to 4 sentences in each text of a pair"
        )
    reviews = load_reviews()
    return Parts(*(_film_pairs(getattr(reviews, split), sentences) for split in SPLITS))


def _film_pairs(reviews: ReviewSet, sentences: int) -> list[FilmPair]:
    rng = random.Random(0)
    same = [pair for film in dict.fromkeys(reviews.films) for pair in _ring(film, reviews, sentences, rng)]
    rng.shuffle(same)
    same.sort(key=lambda pair: (_fresh(pair[1], reviews), len(_join(pair[1], reviews))))
    count = len(same) // _GROUP
    groups = [same[a:b] for a, b in pairwise(len(same) * number // count for number in range(count + 1))]
    other = [pair for group in groups for pair in _exchange(group, reviews.films, rng)]
    return [
        FilmPair(_join(first, reviews), _join(second, reviews), label)
        for label, pairs in ((1, same), (0, other))
        for first, second in pairs
    ]


def _ring(film: str, reviews: ReviewSet, sentences: int, rng: random.Random) -> list[_Pair]:
    """Return pairs of a film's texts in random order: each with the next one, and the last with the first."""
    indices = [index for index, name in enumerate(reviews.films) if name == film]
    rng.shuffle(indices)
    count = len(indices) // sentences
    texts = [tuple(indices[start::count][:sentences]) for start in range(count)]
    return list(zip(texts, texts[1:] + texts[:1], strict=True)) if count > 1 else []


def _exchange(pairs: list[_Pair], films: list[str], rng: random.Random) -> list[_Pair]:
    """Shuffle the second texts until no pair has two texts about one film; many films make this quick."""
    firsts, seconds = (list(sides) for sides in zip(*pairs, strict=True))
    while any(films[first[0]] == films[second[0]] for first, second in zip(firsts, seconds, strict=True)):
        rng.shuffle(seconds)
    return list(zip(firsts, seconds, strict=True))


def _join(side: _Side, reviews: ReviewSet) -> str:
    return " ".join(reviews.sentences[index] for index in side)


def _fresh(side: _Side, reviews: ReviewSet) -> int:
    """Return the number of fresh sentences."""
    return sum(reviews.labels[index] for index in side)


# 2. A span: what fills the gap?

_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_FUNCTION_WORD = (  # may begin a sentence, but not a name
    "(?:A|After|All|Although|An|And|As|At|Before|Both|But|By|During|Each|For|From|He|Her|His|However|If|In|It|Its"
    "|Later|Many|Most|No|Of|On|One|Or|Other|She|Since|Some|That|The|Their|There|These|They|This|Those|To|Under"
    "|Until|We|What|When|Where|Which|While|Who|With)"
)
# A capitalized word: Lee, O'Brien, Guinea-Bissau; without the 's of "Lee's".
_CAPITALIZED = r"[A-ZÀ-Þ](?:[^\W\d_]|['’](?!s\b)(?=[^\W\d_])|-(?=[^\W\d_]))+"
# Phrases of whole words: "May 5, 1920", "1,500 million", "Bank of England", "photosynthesis".
_PHRASE = re.compile(
    rf"(?<!\w)(?:(?P<date>(?:\d\d? )?{_MONTH} \d{{4}}|\d\d? {_MONTH}|{_MONTH} \d\d?(?:, \d{{4}})?)"
    r"|(?P<number>\d[\d,.]*\d(?: million| billion| percent|%)?)"
    rf"|(?!{_FUNCTION_WORD}\b)(?P<name>{_CAPITALIZED}(?:(?: | of | of the | [A-Z]\. ){_CAPITALIZED})*)"
    r"|(?P<term>[a-zà-ÿ]{8,}))(?!\w)"
)
# The end of a text after which a new sentence begins.
_BEGINNING = re.compile(r"[.!?:][\"”’)]*\s+[\"“‘(]*$")
_CONTEXT = 80  # at most this many words, so that question and context together stay short
_MIN_WORDS = 7  # a question has at least this many
_RARE = 3  # a lower-case word can be an answer if at most this many articles contain it
_NULL = 5  # every 5th question gets a context that does not contain the answer


class Phrase(NamedTuple):
    """What a question can ask for: a date, a number, a name or a rare term, and where it begins."""

    kind: str
    text: str
    start: int


def load_cloze() -> Parts[Cloze]:
    """Return questions about Wikipedia articles: sentences in which a phrase is replaced by a `GAP`.

    The context consists of the sentences around the question, up to 80 words of the same paragraph, and
    contains the phrase once. Every 5th question has no answer: it gets the context of another question about
    the article, the one without the phrase that shares the most words with the question. The articles for
    testing are those that `course_documents` keeps out of pretraining.

    Returns:
        2,929 questions about 71 articles for training, 311 on 9 for validation, 455 on 10 for testing.

    Raises:
        DataError: the articles could not be fetched, or the cached file was changed.
    """
    articles = load_articles()
    article_counts = Counter(word for article in articles for word in _words(" ".join(article.paragraphs)))
    rare = {word for word, count in article_counts.items() if count <= _RARE}
    parts: Parts[Cloze] = Parts([], [], [])
    for number, article in enumerate(articles):
        part = {0: parts.test, 5: parts.validation}.get(number % 10, parts.train)
        asked = _ask(article, rare)
        part += [_unanswer(c, asked) if n % _NULL == _NULL - 1 else c for n, c in enumerate(asked)]
    return parts


def find_phrases(text: str) -> list[Phrase]:
    """Return the dates, numbers, capitalized names and long lower-case words of a text, in order.

    A single capitalized word at the beginning of a sentence is left out: most of these are not names.
    """
    phrases = [Phrase(str(m.lastgroup), m[0], m.start()) for m in _PHRASE.finditer(text)]
    return [
        phrase
        for phrase in phrases
        if phrase.kind != "name" or " " in phrase.text or not _begins(text, phrase.start)
    ]


def _begins(text: str, start: int) -> bool:
    """Return whether a sentence begins at `start`."""
    return start == 0 or _BEGINNING.search(text[max(0, start - 5) : start]) is not None


def _ask(article: Article, rare: set[str]) -> list[Cloze]:
    """Return a question for each sentence whose neighbors can answer one."""
    rng = random.Random(article.title)
    asked = []
    for paragraph in article.paragraphs:
        if GAP in paragraph:
            continue  # this gap could not be distinguished from ours
        sentences = split_sentences(paragraph)
        for index, sentence in enumerate(sentences):
            candidates = _clozes(article.title, sentence, _neighbors(sentences, index), rare)
            asked += rng.sample(candidates, min(len(candidates), 1))
    return asked


def _neighbors(sentences: list[str], index: int) -> str:
    """Return the nearest sentences around one, up to 80 words and without it; "" if fewer than two fit."""
    near = sorted(set(range(len(sentences))) - {index}, key=lambda other: abs(other - index))
    words = accumulate(len(sentences[other].split()) for other in near)
    chosen = sorted(other for other, count in zip(near, words, strict=True) if count <= _CONTEXT)
    return " ".join(sentences[other] for other in chosen) if len(chosen) > 1 else ""


def _clozes(title: str, sentence: str, context: str, rare: set[str]) -> list[Cloze]:
    """Return a question for each phrase of the sentence that occurs exactly once in the context."""
    phrases = [phrase for phrase in find_phrases(sentence) if phrase.text in context]
    wanted = {phrase.text for phrase in phrases if phrase.kind != "term" or phrase.text in rare}
    starts = {phrase.text: phrase.start for phrase in find_phrases(context)} if wanted else {}
    clozes = []
    for text in sorted(wanted & starts.keys()):
        question, start = _whole(text).sub(GAP, sentence), starts[text]
        if len(_whole(text).findall(context)) == 1 and len(question.split()) >= _MIN_WORDS:
            clozes.append(Cloze(title, question, context, text, start, start + len(text)))
    return clozes


def _unanswer(cloze: Cloze, others: list[Cloze]) -> Cloze:
    """Return the question with another's context, one without its answer that shares the most words."""
    contexts = [other.context for other in others if cloze.answer.lower() not in other.context.lower()]
    words = _words(cloze.question)
    nearest = max(contexts, key=lambda context: len(words & _words(context)), default=None)
    return Cloze(cloze.article, cloze.question, nearest, "", 0, 0) if nearest else cloze


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _whole(text: str) -> re.Pattern[str]:
    """Return a pattern for a text as whole words, in upper or lower case."""
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE)


# Shared by both

_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)]*\s+(?=[\"'“‘(]?[A-ZÀ-Þ0-9])")
_ABBREVIATED = re.compile(r"\b(?:Mrs?|Ms|Dr|[JS]r|Lt|Gen|Det|Col|Sgt|St|Prof|vs?|pp?|No|ca?|[A-Z])\.\s+$")


def split_sentences(text: str) -> list[str]:
    """Split a text after full stops, question and exclamation marks that a capital or a digit follows."""
    ends = [end.end() for end in _SENTENCE_END.finditer(text) if not _ABBREVIATED.search(text[: end.end()])]
    return [text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
