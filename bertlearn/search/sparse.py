"""Learned sparse vectors: one weight for each token of the vocabulary, most of them 0 (SPLADE, chapter 9)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.sparse import csr_matrix, vstack
from torch import Tensor

from bertlearn.arguments import check_count
from bertlearn.model.heads import BertForMaskedLM
from bertlearn.model.inference import check_fit, check_model, encode_texts, outputs
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


@torch.no_grad()
def sparse_vectors(
    model: BertForMaskedLM,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    batch_size: int = 8,
    max_length: int | None = None,
) -> csr_matrix:
    """Return the weight of each vocabulary token for each text (SPLADE-max, Formal et al. 2021, eq. 4).

    The masked-word head gives each token of the text a score for each word of the vocabulary. A word's weight
    is log(1 + max(score, 0)), the largest over all tokens. It may have one without being in the text.
    The score of a query and a text is the dot product of their vectors.

    Args:
        model: trained for search; the head of a BERT that only fills masks gives nearly every word a weight.
        tokenizer, max_length: see `predict`.
        texts: N texts.
        batch_size: texts per batch; of 512 tokens each, eight take half a gigabyte.

    Returns:
        float32 (N, V), sparse.

    Raises:
        ValueError: see `predict`.
    """
    check_model(model, BertForMaskedLM)
    check_fit(model.config, tokenizer)
    batch_size = check_count("batch_size", batch_size)
    limit = model.config.max_position_embeddings if max_length is None else max_length
    encodings = encode_texts(tokenizer, texts, limit)
    lengths = torch.tensor([len(encoding.input_ids) for encoding in encodings])
    order: list[int] = []
    parts = [csr_matrix((0, model.config.vocab_size), dtype="float32")]
    batches = outputs(model, tokenizer, encodings, batch_size, lambda output: output.prediction_logits)
    for rows, logits in batches:
        parts.append(csr_matrix(token_weights(logits, lengths[rows]).numpy()))
        order += rows
    return vstack(parts, format="csr")[torch.tensor(order, dtype=torch.long).argsort().numpy()]


def token_weights(logits: Tensor, lengths: Tensor) -> Tensor:
    """Return the weights of the vocabulary: floats (B, S, V) and the tokens of each text (B,) → (B, V)."""
    padding = torch.arange(logits.shape[1]) >= lengths[:, None]  # (B, S)
    largest = logits.masked_fill(padding[..., None], -torch.inf).amax(dim=1)  # the logarithm changes no order
    return torch.log1p(largest.relu())
