"""The input of BERT: for each token the sum of three learned vectors (chapter 3).

Source: Devlin et al. 2019, §3 and figure 2. Leaves out: sinusoidal and rotary positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bertlearn.config import BertConfig
from bertlearn.normalization import LayerNorm


def sum_embeddings(word: Tensor, position: Tensor, token_type: Tensor) -> Tensor:
    """Add what the piece is, where it stands and which sentence it is in.

    Args:
        word: floats (B, S, H).
        position: floats (S, H), the same for every sequence of the batch, or (B, S, H).
        token_type: floats (B, S, H).

    Returns:
        floats (B, S, H), not yet normalized.
    """
    return word + position + token_type


class BertEmbeddings(nn.Module):
    """Word, position and token-type embeddings, summed, normalized and dropped out."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Look the tokens up.

        Args:
            input_ids: whole numbers (B, S), each below vocab_size; S at most max_position_embeddings.
            token_type_ids: whole numbers (B, S), 0 for the first sentence, 1 for the second; all 0 if None.
            position_ids: whole numbers (B, S), where each token stands; 0, 1, 2, … if None.

        Returns:
            floats (B, S, H).
        """
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        places = slice(input_ids.shape[1]) if position_ids is None else position_ids
        embeddings = sum_embeddings(
            self.word_embeddings(input_ids),
            self.position_embeddings.weight[places],
            self.token_type_embeddings(token_type_ids),
        )
        return self.dropout(self.LayerNorm(embeddings))


def sinusoidal_positions(length: int, hidden_size: int) -> Tensor:
    """Return the fixed sines and cosines of the first Transformer, one row for each position.

    BERT learns its positions; as a start for learning, these already say which positions are near each other.

    Args:
        length: positions.
        hidden_size: features, an even number.

    Returns:
        floats (length, hidden_size) in [−1, 1]. Source: Vaswani et al. 2017, §3.5.
    """
    positions = torch.arange(length)[:, None]
    wavelengths = 10000 ** (torch.arange(0, hidden_size, 2) / hidden_size)
    angles = positions / wavelengths  # (length, hidden_size / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
