"""Three searches of chapter 9, each of which says what made a document match: words, vectors, weights.

Each one holds its whole index in memory and compares a query with all documents, which is exact.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import bm25s
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix
from torch import Tensor

from bertlearn.arguments import check_count
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForMaskedLM
from bertlearn.model.inference import check_fit, check_model, encode_texts, outputs, sentence_vectors
from bertlearn.search.sparse import sparse_vectors
from bertlearn.tokenizer.encoding import Encoding
from bertlearn.tokenizer.inputs import check_filled, check_texts
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

PARTS = 8  # of a match; the others are left out, but a word of the query has all of its places
WORD = r"(?u)\b\w\w+\b"  # what bm25s takes for a word
UNIT = 0.01  # how far a vector's length may be from 1

Floats = NDArray[np.float32]


class Part(NamedTuple):
    """A word of a document, or one that only its index has, that made the document match."""

    text: str
    share: float  # of the score; below 0 if it made the document match less
    start: int | None  # characters of the document; None if the word was not read there
    end: int | None


class Match(NamedTuple):
    """A document that was found."""

    row: int  # its position among the documents, from 0
    score: float
    parts: list[Part]  # the strongest ones, the largest share first


class Searcher(Protocol):
    """A search that says what matched."""

    def search(self, query: str, k: int = 10) -> list[Match]:
        """Return the k best documents, the best first."""
        ...


# 1. Words


class WordSearch:
    """Search by the words of the query, scored by BM25.

    Args:
        texts: N documents.

    Raises:
        ValueError: not a list of texts, none, or an empty one.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        check_texts(texts, None)
        self.texts = list(texts)
        tokens = _tokens(self.texts)
        self._scores = csc_matrix((len(texts), 0), dtype=np.float32)  # (N, V)
        if tokens.vocab:
            index = bm25s.BM25()
            index.index(tokens, show_progress=False)
            parts = [index.scores[name] for name in ("data", "indices", "indptr")]
            self._scores = csc_matrix(tuple(parts), shape=(len(texts), len(parts[2]) - 1))
        self._columns = dict(tokens.vocab)

    def search(self, query: str, k: int = 10) -> list[Match]:
        """Return the k documents with the highest scores; one without a word of the query is not found.

        The score of a document is a sum over the words of the query. A word's share is divided equally among
        its places in the document.

        Raises:
            ValueError: an empty query, or k below 1.
        """
        check_query(query)
        words = _tokens([query])
        counts = Counter(word for word in _spelled(words) if word in self._columns)
        columns = self._scores[:, [self._columns[word] for word in counts]].toarray()  # (N, words)
        added = columns * np.array(list(counts.values()), dtype=np.float32)
        scores = added.sum(axis=1)
        rows = [row for row in _best(scores, k) if scores[row] > 0]
        shares = [dict(zip(counts, added[row] / scores[row], strict=True)) for row in rows]
        return [
            _match(row, scores[row], self._parts(row, own), most=None)
            for row, own in zip(rows, shares, strict=True)
        ]

    def _parts(self, row: int, shares: dict[str, float]) -> Iterator[Part]:
        """Yield a part for each place of the words with the largest shares."""
        text = self.texts[row]
        places = defaultdict(list)
        for word, start, end in word_places(text):
            places[word].append((start, end))
        for word, share in sorted(shares.items(), key=lambda item: -item[1])[:PARTS]:
            for start, end in places[word]:
                yield Part(text[start:end], float(share) / len(places[word]), start, end)


def word_places(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the words that bm25s finds in a text, in lower case, each with its start and end in the text."""
    origin = [at for at, character in enumerate(text) for _ in character.lower()]  # İ becomes two characters
    for found in re.finditer(WORD, text.lower()):
        yield found[0], origin[found.start()], origin[found.end() - 1] + 1


def _tokens(texts: Sequence[str]) -> Any:
    return bm25s.tokenize(list(texts), token_pattern=WORD, stopwords="en", show_progress=False)


def _spelled(tokens: Any) -> list[str]:
    """Return the words of one tokenized text."""
    words = {number: word for word, number in tokens.vocab.items()}
    return [words[number] for number in tokens.ids[0]]


# 2. Vectors


class VectorSearch:
    """Search by meaning: the cosine of the vectors of query and document.

    Args:
        texts: N documents.
        encoder: made the vectors, by `sentence_vectors`.
        tokenizer: the encoder's own.
        vectors: floats (N, H), of length 1, in half or single precision.
        max_length: tokens that are read of a document, as for its vector, and of a query; None for the
            model's maximum.

    Raises:
        ValueError: another kind of model, a tokenizer that does not fit it; no texts, or an empty one;
            vectors of another shape or length.
    """

    def __init__(
        self,
        texts: Sequence[str],
        encoder: BertModel,
        tokenizer: WordPieceTokenizer,
        vectors: Tensor | NDArray[Any],
        max_length: int | None = None,
    ) -> None:
        check_texts(texts, None)
        check_model(encoder, BertModel)
        check_fit(encoder.config, tokenizer)
        self.texts, self.encoder, self.tokenizer = list(texts), encoder, tokenizer
        self.max_length = encoder.config.max_position_embeddings if max_length is None else max_length
        self._vectors = np.asarray(vectors, dtype=np.float32)
        _check_vectors(self._vectors, (len(texts), encoder.config.hidden_size))

    def search(self, query: str, k: int = 10) -> list[Match]:
        """Return the k documents with the highest cosines, each with the share of its words.

        A document's vector is the mean of its tokens' vectors, so its cosine is a sum over the tokens. The
        share of a word is that of its wordpieces together. [CLS], [SEP] and punctuation have shares as well,
        which are not returned. A document whose cosine is not above 0 has no parts.

        Raises:
            ValueError: an empty query, or k below 1.
        """
        check_query(query)
        asked = sentence_vectors(self.encoder, self.tokenizer, [query], max_length=self.max_length)
        unit = torch.nn.functional.normalize(asked, dim=1)[0]  # (H,)
        scores = self._vectors @ unit.numpy()
        rows = _best(scores, k)
        shares = self._token_shares([self.texts[row] for row in rows], unit)
        return [
            _match(row, scores[row], self._parts(row, own) if scores[row] > 0 else ())
            for row, own in zip(rows, shares, strict=True)
        ]

    @torch.no_grad()
    def _token_shares(self, texts: list[str], unit: Tensor) -> list[Tensor]:
        """Return for each text the share (S,) that each of its tokens has in its cosine to a vector."""
        encodings = encode_texts(self.tokenizer, texts, self.max_length)
        shares = [torch.empty(0)] * len(texts)
        batches = outputs(self.encoder, self.tokenizer, encodings, 8, lambda output: output.last_hidden_state)
        for rows, hidden in batches:  # hidden: (B, S, H)
            for row, tokens in zip(rows, hidden, strict=True):
                products = tokens[: len(encodings[row].input_ids)] @ unit  # the mean's length cancels out
                shares[row] = products / products.sum()
        return shares

    def _parts(self, row: int, shares: Tensor) -> Iterator[Part]:
        text, encoding = self.texts[row], self.tokenizer.encode(self.texts[row], max_length=self.max_length)
        for positions in token_words(encoding):
            start, end = encoding.offsets[positions[0]][0], encoding.end(positions[-1])
            if not _is_punctuation(text[start:end]):
                yield Part(text[start:end], float(shares[positions].sum()), start, end)


def token_words(encoding: Encoding) -> list[list[int]]:
    """Return the positions of the tokens of each word; [CLS] and [SEP], which were added, belong to none."""
    words: list[list[int]] = []
    for position, (token, (start, end)) in enumerate(zip(encoding.tokens, encoding.offsets, strict=True)):
        if start == end:
            continue
        if token.startswith("##") and words:
            words[-1].append(position)
        else:
            words.append([position])
    return words


def _is_punctuation(word: str) -> bool:
    return all(unicodedata.category(character).startswith("P") for character in word)


def _check_vectors(vectors: Floats, shape: tuple[int, int]) -> None:
    if vectors.shape != shape:
        raise ValueError(f"vectors has the shape {vectors.shape}, expected {shape}: one for each text")
    lengths = np.linalg.norm(vectors, axis=1)
    if not (abs(lengths - 1) < UNIT).all():
        raise ValueError("vectors has a vector whose length is not 1; divide each by its length")


# 3. Weights


class WeightSearch:
    """Search by weights of the vocabulary (SPLADE): the dot product of query and document.

    Args:
        texts: N documents.
        model: made the weights, by `sparse_vectors`.
        tokenizer: the model's own.
        weights: floats (N, V), sparse.
        max_length: tokens that are read of a document, as for its weights, and of a query; None for the
            model's maximum.

    Raises:
        ValueError: another kind of model, a tokenizer that does not fit it; no texts, or an empty one;
            weights of another shape.
    """

    def __init__(
        self,
        texts: Sequence[str],
        model: BertForMaskedLM,
        tokenizer: WordPieceTokenizer,
        weights: csr_matrix,
        max_length: int | None = None,
    ) -> None:
        check_texts(texts, None)
        check_model(model, BertForMaskedLM)
        check_fit(model.config, tokenizer)
        self.texts, self.model, self.tokenizer = list(texts), model, tokenizer
        self.max_length = model.config.max_position_embeddings if max_length is None else max_length
        self._weights = csr_matrix(weights)
        shape = (len(texts), model.config.vocab_size)
        if self._weights.shape != shape:
            raise ValueError(
                f"weights has the shape {self._weights.shape}, expected {shape}: a row for each text"
            )

    def search(self, query: str, k: int = 10) -> list[Match]:
        """Return the k documents with the highest scores, each with the shares of the vocabulary's words.

        The score is a sum of products, one for each wordpiece that has a weight in both. A wordpiece of the
        document has its first place there; one that the model added has no place. Nor has one that is only in
        the part of a long document that the model does not read.

        Raises:
            ValueError: an empty query, or k below 1.
        """
        check_query(query)
        asked = sparse_vectors(self.model, self.tokenizer, [query], max_length=self.max_length)  # (1, V)
        scores = (self._weights @ asked.T).toarray()[:, 0]
        rows = [row for row in _best(scores, k) if scores[row] > 0]
        return [_match(row, scores[row], self._parts(row, asked)) for row in rows]

    def _parts(self, row: int, asked: csr_matrix) -> Iterator[Part]:
        products = self._weights[row].multiply(asked).tocsr()  # (1, V)
        shares = products.data / products.data.sum()
        text, places = self.texts[row], self._places(self.texts[row])
        for number, share in zip(products.indices.tolist(), shares.tolist(), strict=True):
            start, end = places.get(number, (None, None))
            word = self._spelled(number) if start is None else text[start:end]
            yield Part(word, share, start, end)

    def _places(self, text: str) -> dict[int, tuple[int, int]]:
        """Return the first start and end of each id that the model reads in a text."""
        encoding = self.tokenizer.encode(text, max_length=self.max_length)
        places: dict[int, tuple[int, int]] = {}
        for position, (number, (start, end)) in enumerate(
            zip(encoding.input_ids, encoding.offsets, strict=True)
        ):
            if start < end:
                places.setdefault(number, (start, encoding.end(position)))
        return places

    def _spelled(self, number: int) -> str:
        """Return the token of an id; a model may have more ids than the tokenizer."""
        known = self.tokenizer.ids_to_tokens
        return known[number] if number < len(known) else f"id {number}"


# 4. What they share


def check_query(query: str) -> None:
    """Refuse a query in which there is nothing to search for.

    Raises:
        ValueError: it is not a text, is empty or has only spaces.
    """
    check_filled(query.strip() if isinstance(query, str) else query, "query")


def _best(scores: Floats, k: int) -> list[int]:
    """Return the rows of the k highest scores, the highest first; of equal ones, the first row."""
    check_count("k", k)
    return np.argsort(-scores, kind="stable")[:k].tolist()


def _match(row: int, score: float, parts: Iterable[Part], most: int | None = PARTS) -> Match:
    strongest = sorted(parts, key=lambda part: -part.share)[:most]
    return Match(row, float(score), strongest)
