"""Masking for pretraining: which tokens are to be predicted, and what replaces them (chapter 4).

Source: Devlin et al. 2019, §3.1 and appendix A; spans: Joshi et al. 2020 (SpanBERT), §3.1.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bertlearn.model.heads import IGNORE
from bertlearn.pretraining.corpus import Rows
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

Masking = Literal["tokens", "words", "spans"]
MASKED_AS_MASK, MASKED_AS_RANDOM = 0.8, 0.1  # shares of the chosen tokens; the rest stays as it is
SPAN_END, LONGEST_SPAN = 0.2, 10  # the probability that a span ends after a word; the most words in a span


class PretrainingBatch(NamedTuple):
    """Masked sequences and their labels, by the names of `forward`: use `model(**batch._asdict())`."""

    input_ids: Tensor  # int64 (B, S), after masking
    attention_mask: Tensor | None  # int64 (B, S), 1 = keep; None if there is no padding
    token_type_ids: Tensor  # int64 (B, S)
    labels: Tensor  # int64 (B, S): the original token where one was chosen, else −100
    # int64 (B,): 0 = B follows A, 1 = B is from another document, −100 = no prediction
    next_sentence_label: Tensor | None = None
    position_ids: Tensor | None = None  # int64 (B, S); None for 0, 1, 2, …


def mask_tokens(
    input_ids: Tensor,
    tokenizer: WordPieceTokenizer,
    generator: torch.Generator,
    probability: float = 0.15,
    masking: Masking = "tokens",
) -> tuple[Tensor, Tensor]:
    """Choose tokens to predict; 80 % of them become [MASK], 10 % a random token, and 10 % stay unchanged.

    Special tokens and padding are never chosen, and are never used as a random token.

    Args:
        input_ids: int64 (B, S).
        tokenizer: determines which ids are special and which tokens continue a word.
        generator: the source of all randomness; the same state gives the same masks.
        probability: the probability that a token is chosen.
        masking: what is chosen together: nothing; all tokens of a word, as in the BERT models that were
            published later; or whole spans, see `choose_spans`.

    Returns:
        The masked ids and the labels, both int64 (B, S). Source: Devlin et al. 2019, §3.1 and appendix A.1.

    Raises:
        ValueError: the probability is not between 0 and 1, or another kind of masking.
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability={probability!r} must lie between 0 and 1, for example 0.15")
    if masking not in ("tokens", "words", "spans"):
        raise ValueError(f"masking={masking!r} is unknown; use tokens, words or spans")
    if masking == "spans":
        chosen = choose_spans(input_ids, tokenizer, generator, probability)
    else:
        chosen = torch.rand(input_ids.shape, generator=generator) < probability
    if masking == "words":
        chosen = chosen.gather(1, word_starts(input_ids, tokenizer))
    chosen &= ~torch.isin(input_ids, special_ids(tokenizer))
    labels = torch.where(chosen, input_ids, IGNORE)
    fate = torch.rand(input_ids.shape, generator=generator)
    ordinary = ordinary_ids(tokenizer)
    random_ids = ordinary[torch.randint(len(ordinary), input_ids.shape, generator=generator)]
    masked = torch.where(chosen & (fate < MASKED_AS_MASK), tokenizer.mask_token_id, input_ids)
    replaced = chosen & (fate >= MASKED_AS_MASK) & (fate < MASKED_AS_MASK + MASKED_AS_RANDOM)
    return torch.where(replaced, random_ids, masked), labels


def choose_spans(
    input_ids: Tensor, tokenizer: WordPieceTokenizer, generator: torch.Generator, probability: float
) -> Tensor:
    """Choose spans of whole words, whose lengths are geometric (p = 0.2) and at most 10: booleans (B, S).

    Differs from the paper, which draws spans until their tokens are 15 % of the text: here each word begins a
    span with the same probability, so that every token is chosen with `probability`, and spans may meet. The
    paper also replaces all tokens of a span in the same way, `mask_tokens` each by itself.

    Args:
        input_ids, tokenizer, generator: see `mask_tokens`.
        probability: the probability that a token is chosen.

    Source: Joshi et al. 2020, §3.1.
    """
    before = LONGEST_SPAN - 1  # words in front of the text in which a span may begin, too
    starts = word_starts(input_ids, tokenizer)
    words = before + (starts == torch.arange(input_ids.shape[1])).cumsum(dim=1) - 1  # number of each word
    size = (len(input_ids), before + input_ids.shape[1])
    begins = torch.rand(size, generator=generator) < _span_rate(probability)
    drawn = torch.multinomial(_span_lengths(), begins.numel(), replacement=True, generator=generator)
    lengths = 1 + drawn.view(size)
    covered = torch.zeros(size, dtype=torch.bool)
    for k in range(LONGEST_SPAN):  # words that follow a span's beginning at distance k
        covered[:, k:] |= (begins & (lengths > k))[:, : size[1] - k]
    return covered.gather(1, words)


def _span_lengths() -> Tensor:
    """Return the probability of each length from 1 to 10, floats (10,)."""
    chances = SPAN_END * (1 - SPAN_END) ** torch.arange(LONGEST_SPAN)
    return chances / chances.sum()


@cache
def _span_rate(probability: float) -> float:
    """Return the probability with which a word must begin a span, so that this share of words is covered.

    A word stays free if no span that begins k words before it is longer than k.
    """
    longer = _span_lengths().flip(0).cumsum(0).flip(0)  # the probability of more than k words, for each k
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        share = 1 - torch.prod(1 - middle * longer).item()
        low, high = (low, middle) if share > probability else (middle, high)
    return low


def special_ids(tokenizer: WordPieceTokenizer) -> Tensor:
    """Return the ids of [PAD], [UNK], [CLS], [SEP] and [MASK], int64 (5,)."""
    return torch.tensor(
        [
            tokenizer.pad_token_id,
            tokenizer.unk_token_id,
            tokenizer.cls_token_id,
            tokenizer.sep_token_id,
            tokenizer.mask_token_id,
        ]
    )


def ordinary_ids(tokenizer: WordPieceTokenizer) -> Tensor:
    """Return the ids of all tokens that are not special, int64 (V − 5,)."""
    ids = torch.arange(tokenizer.vocab_size)
    return ids[~torch.isin(ids, special_ids(tokenizer))]


def word_starts(input_ids: Tensor, tokenizer: WordPieceTokenizer) -> Tensor:
    """Return for each token the position of its word's first token, int64 (B, S)."""
    continues = torch.tensor([token.startswith("##") for token in tokenizer.ids_to_tokens])
    positions = torch.arange(input_ids.shape[1]).expand_as(input_ids)
    return torch.where(continues[input_ids], 0, positions).cummax(dim=1).values


def masked_batch(
    rows: Rows,
    tokenizer: WordPieceTokenizer,
    generator: torch.Generator,
    probability: float = 0.15,
    masking: Masking = "tokens",
) -> PretrainingBatch:
    """Convert rows of shards to a masked batch of tensors.

    Args:
        rows: from `Examples.rows`.
        tokenizer, generator, probability, masking: see `mask_tokens`.

    Returns:
        The batch; its attention mask is None if no row is padded.
    """
    input_ids, labels = mask_tokens(
        torch.from_numpy(rows.input_ids), tokenizer, generator, probability, masking
    )
    padded = rows.attention_mask is not None and not rows.attention_mask.all()
    return PretrainingBatch(
        input_ids,
        torch.from_numpy(rows.attention_mask) if padded else None,
        torch.from_numpy(rows.token_type_ids),
        labels,
        None if rows.next_sentence_label is None else torch.from_numpy(rows.next_sentence_label),
    )


def chunk(batch: PretrainingBatch, length: int) -> PretrainingBatch:
    """Split each sequence into chunks of `length` tokens, each of which becomes a row of its own.

    The tokens keep their positions, but no longer attend to other chunks. Chunks that are all padding are
    dropped. Only the first chunk of a sentence pair, the one with [CLS], keeps the pair's label.

    Args:
        batch: sequences of S tokens.
        length: tokens in a chunk, a divisor of S.
    """
    rows, max_length = batch.input_ids.shape
    positions = torch.arange(max_length).expand(rows, max_length)
    tokens = batch._replace(position_ids=positions, next_sentence_label=None)
    chunks = PretrainingBatch._make(x if x is None else x.reshape(-1, length) for x in tokens)
    if batch.next_sentence_label is not None:
        pair_labels = torch.full((rows, max_length // length), IGNORE)
        pair_labels[:, 0] = batch.next_sentence_label
        chunks = chunks._replace(next_sentence_label=pair_labels.flatten())
    if chunks.attention_mask is None:
        return chunks
    has_tokens = chunks.attention_mask.any(dim=1)
    return PretrainingBatch._make(x if x is None else x[has_tokens] for x in chunks)
