"""Search by meaning: an index of vectors on disk, sparse vectors, and rankings (chapter 9)."""

from bertlearn.search.index import Entry, Hit, SearchIndex
from bertlearn.search.ranking import Scored, diverse, fuse, rerank
from bertlearn.search.record import IndexFolderError
from bertlearn.search.sparse import sparse_vectors

__all__ = [
    "Entry",
    "Hit",
    "IndexFolderError",
    "Scored",
    "SearchIndex",
    "diverse",
    "fuse",
    "rerank",
    "sparse_vectors",
]
