"""Search comparison: one query, the rankings of several searches side by side, and what matched (chapter 9).

The kernel answers a query once, with excerpts in place of whole documents. The answers of the example queries
are sent at the beginning, so a page without a kernel can switch between them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import traitlets

from bertlearn.arguments import check_count
from bertlearn.course.figures import Picture
from bertlearn.course.searching import Match, Searcher, check_query
from bertlearn.course.widgets.base import AskedWidget
from bertlearn.course.widgets.excerpt import excerpt
from bertlearn.course.widgets.search_picture import draw_rankings
from bertlearn.course.widgets.tokenizer_picture import shorten
from bertlearn.tokenizer.inputs import check_texts

QUERIES = (
    "three guys who can't see pull off a heist",
    "Monty Python",
    "banned sports star puts on a wig and plays with the ladies",
    "a film without a single murder",
)
LIMIT = 300  # characters of a query
TITLE = 80  # characters
MATCHED = 3  # words that are named in a sentence


class SearchComparison(AskedWidget):
    """Compare searches: type a query, and see what each one finds and which words matched.

    `query` can be read and set; `answer` is the data shown: for each search the documents that it found, each
    with its row, title, score, excerpt and the words that only the index has.
    """

    files = "search_comparison"
    height = 1000

    query = traitlets.Unicode().tag(sync=True)
    answer: Any = traitlets.Dict().tag(sync=True)  # see `_ask`
    queries: Any = traitlets.List().tag(sync=True)  # the examples
    examples: Any = traitlets.List().tag(sync=True)  # the answer to each of them

    def __init__(
        self,
        systems: Mapping[str, Searcher],
        texts: Sequence[str],
        titles: Sequence[str] = (),
        queries: Sequence[str] = QUERIES,
        k: int = 5,
    ) -> None:
        """Search for all example queries, and show the first one.

        Args:
            systems: the searches by name, such as those of `bertlearn.course.searching`.
            texts: N documents, in the order that the searches know.
            titles: one for each document; their numbers by default.
            queries: examples, at least one; each has at most 300 characters.
            k: documents that each search shows.

        Raises:
            ValueError: no search, no text, no query, or an empty one; titles that do not fit; k below 1.
        """
        if not systems:
            raise ValueError("systems is empty; give at least one search, by its name")
        check_texts(texts, None)
        if titles and len(titles) != len(texts):
            raise ValueError(f"{len(titles)} titles for {len(texts)} texts; give one for each")
        if isinstance(queries, str) or not queries:
            raise ValueError(f"queries={queries!r}; expected a list of at least one query")
        self.systems, self.texts = dict(systems), list(texts)
        self.titles = list(titles) or [f"document {row}" for row in range(len(texts))]
        self.k = check_count("k", k)
        examples = [self._ask(_check_query(query)) for query in queries]
        self._known = {answer["query"]: answer for answer in examples}
        super().__init__(queries=list(queries), examples=examples, **self._read(queries[0]))

    def picture(self) -> Picture:
        """Return a figure of the rankings; a line joins a document's places in neighboring columns."""
        return draw_rankings(self.query, self.answer["columns"], self._alt())

    def _alt(self) -> str:
        lists = (
            f"{column['system']}: {', '.join(found['title'] for found in column['found']) or 'nothing'}"
            for column in self.answer["columns"]
        )
        return shorten(f"Search comparison for “{self.query}”. Found by {'; by '.join(lists)}.", 600)

    def _read(self, query: str) -> dict[str, Any]:
        """Return the traits that follow from a query whose answer is known."""
        answer = self._known[query]
        first = (
            f"{column['system']}: {column['found'][0]['title'] if column['found'] else 'nothing'}"
            for column in answer["columns"]
        )
        description = f"Search comparison: “{shorten(query, 60)}”; first of {'; of '.join(first)}."
        return {"query": query, "answer": answer, "description": shorten(description, 300)}

    def _ask(self, query: str) -> dict[str, Any]:
        """Return what the page shows for a query: for each search its name and what it found."""
        columns = [
            {"system": shorten(name), "found": [self._found(match) for match in system.search(query, self.k)]}
            for name, system in self.systems.items()
        ]
        return {"query": query, "columns": columns}

    def _found(self, match: Match) -> dict[str, Any]:
        if not 0 <= match.row < len(self.texts):
            raise ValueError(f"a search found document {match.row}, but texts has {len(self.texts)}")
        added = [part for part in match.parts if part.start is None and part.share > 0]
        return {
            "row": match.row,
            "title": shorten(self.titles[match.row], TITLE),
            "score": round(match.score, 4),
            "excerpt": [list(segment) for segment in excerpt(self.texts[match.row], match.parts)],
            "matched": _matched(match),
            "added": [[shorten(part.text), round(part.share, 4)] for part in added],
        }

    @traitlets.validate("query")
    def _searchable(self, proposal: Any) -> str:
        query = _check_query(proposal["value"])
        if query not in self._known:  # a query that a search refuses changes nothing
            self._known = {answer["query"]: answer for answer in self.examples} | {query: self._ask(query)}
        return query

    @traitlets.observe("query")
    def _search(self, change: Any) -> None:
        if self.answer["query"] == self.query:
            return
        with self.hold_sync():  # one message
            traits = self._read(self.query)
            self.answer, self.description = traits["answer"], traits["description"]
            self._clear_problem("query")


def _matched(match: Match) -> list[list[Any]]:
    """Return the words that matched most, whatever their case, each with the share of all its places."""
    shares: dict[str, float] = defaultdict(float)
    for part in match.parts:
        shares[shorten(part.text.lower())] += max(0.0, part.share)
    strongest = sorted(shares.items(), key=lambda item: -item[1])[:MATCHED]
    return [[word, round(share, 4)] for word, share in strongest if share > 0]


def _check_query(query: str) -> str:
    check_query(query)
    if len(query) > LIMIT:
        raise ValueError(
            f"query has {len(query):,} characters; at most {LIMIT} are searched for, so shorten it"
        )
    return query
