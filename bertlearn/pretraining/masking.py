"""Which tokens are hidden, and what they become: the masks of pretraining (chapter 4).

Source: Devlin et al. 2019, §3.1 and appendix A.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bertlearn.model.heads import IGNORE
from bertlearn.pretraining.corpus import Rows
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

MASKED_AS_MASK, MASKED_AS_RANDOM = 0.8, 0.1  # what the chosen tokens become; the rest stays as it is


class PretrainingBatch(NamedTuple):
    """Sequences and what is to be guessed of them, by the names of `forward`: `model(**batch._asdict())`."""

    input_ids: Tensor  # int64 (B, S), after masking
    attention_mask: Tensor | None  # int64 (B, S), 1 = keep; None when nothing is padded
    token_type_ids: Tensor  # int64 (B, S)
    labels: Tensor  # int64 (B, S): the token that was there, −100 where none was chosen
    # int64 (B,): 0 = B follows A, 1 = B is from elsewhere, −100 = not to be guessed
    next_sentence_label: Tensor | None = None
    position_ids: Tensor | None = None  # int64 (B, S); None for 0, 1, 2, …


def mask_tokens(
    input_ids: Tensor,
    tokenizer: WordPieceTokenizer,
    generator: torch.Generator,
    probability: float = 0.15,
    whole_words: bool = False,
) -> tuple[Tensor, Tensor]:
    """Choose tokens to be guessed, and hide them: 80 % as [MASK], 10 % as a random piece, 10 % not at all.

    Special tokens and padding are never chosen, and never put in as a random piece.

    Args:
        input_ids: int64 (B, S).
        tokenizer: tells which ids are special and which pieces continue a word.
        generator: where all chance comes from; the same state gives the same masks.
        probability: of each token (or word) to be chosen.
        whole_words: choose words with all their pieces, as the later published BERTs do.

    Returns:
        The masked ids and the labels, both int64 (B, S). Source: Devlin et al. 2019, §3.1 and appendix A.1.

    Raises:
        ValueError: a probability that is none.
    """
    if not 0 < probability < 1:
        raise ValueError(
            f"probability={probability!r} of being chosen must lie between 0 and 1, as 0.15 does"
        )
    special = special_ids(tokenizer)
    chosen = torch.rand(input_ids.shape, generator=generator) < probability
    if whole_words:
        chosen = chosen.gather(1, word_starts(input_ids, tokenizer))
    chosen &= ~torch.isin(input_ids, special)
    labels = torch.where(chosen, input_ids, IGNORE)
    fate = torch.rand(input_ids.shape, generator=generator)
    pieces = ordinary_ids(tokenizer)
    random_ids = pieces[torch.randint(len(pieces), input_ids.shape, generator=generator)]
    masked = torch.where(chosen & (fate < MASKED_AS_MASK), tokenizer.mask_token_id, input_ids)
    replaced = chosen & (fate >= MASKED_AS_MASK) & (fate < MASKED_AS_MASK + MASKED_AS_RANDOM)
    return torch.where(replaced, random_ids, masked), labels


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
    """Return the ids of all pieces that are not special, int64 (V − 5,)."""
    ids = torch.arange(tokenizer.vocab_size)
    return ids[~torch.isin(ids, special_ids(tokenizer))]


def word_starts(input_ids: Tensor, tokenizer: WordPieceTokenizer) -> Tensor:
    """Return for each token the position of its word's first piece, int64 (B, S)."""
    continues = torch.tensor([token.startswith("##") for token in tokenizer.ids_to_tokens])
    positions = torch.arange(input_ids.shape[1]).expand_as(input_ids)
    return torch.where(continues[input_ids], 0, positions).cummax(dim=1).values


def masked_batch(
    rows: Rows,
    tokenizer: WordPieceTokenizer,
    generator: torch.Generator,
    probability: float = 0.15,
    whole_words: bool = False,
) -> PretrainingBatch:
    """Turn rows of shards into tensors, masked; a mask of nothing but ones is left out.

    Args:
        rows: of `Examples.rows`.
        tokenizer, generator, probability, whole_words: see `mask_tokens`.
    """
    input_ids, labels = mask_tokens(
        torch.from_numpy(rows.input_ids), tokenizer, generator, probability, whole_words
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
    """Cut sequences into pieces of `length` tokens, which no longer see each other but keep their positions.

    Pieces of nothing but padding are dropped. Of a pair only the piece with [CLS] keeps the label.
    """
    count, whole = batch.input_ids.shape
    positions = torch.arange(whole).expand(count, whole)
    tokens = batch._replace(position_ids=positions, next_sentence_label=None)
    pieces = PretrainingBatch._make(x if x is None else x.reshape(-1, length) for x in tokens)
    if batch.next_sentence_label is not None:
        related = torch.full((count, whole // length), IGNORE)
        related[:, 0] = batch.next_sentence_label
        pieces = pieces._replace(next_sentence_label=related.flatten())
    if pieces.attention_mask is None:
        return pieces
    filled = pieces.attention_mask.any(dim=1)
    return PretrainingBatch._make(x if x is None else x[filled] for x in pieces)
