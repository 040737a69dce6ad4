"""ALBERT: one layer used L times, and word embeddings narrower than the model (chapter 7).

Source: Lan et al. 2019, §3.1. Everything else is BERT's, so the two changes are all that is here.
Leaves out: saving and loading, since the course trains these models only to compare them.

Shape letters: B batch, S sequence, E embedding size, H hidden, L layers, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from bertlearn.model.bert import BertEmbeddings, BertModel, LayerNorm, gelu, init_weights
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForMaskedLM, BertForPreTraining


class FactorizedEmbeddings(nn.Module):
    """Embeddings of E features, then a dense layer to H: V · E + E · H weights in place of V · H."""

    def __init__(self, config: BertConfig, embedding_size: int) -> None:
        super().__init__()
        self.narrow = BertEmbeddings(replace(config, hidden_size=embedding_size, num_attention_heads=1))
        self.mapping = nn.Linear(embedding_size, config.hidden_size)
        init_weights(self, config.initializer_range)

    @property
    def word_embeddings(self) -> nn.Embedding:
        """Floats (V, E)."""
        return self.narrow.word_embeddings

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Return floats (B, S, H) from what `BertEmbeddings` takes."""
        return self.mapping(self.narrow(input_ids, token_type_ids, position_ids))


class NarrowTransform(nn.Module):
    """The head's dense layer, GELU and LayerNorm, from H features to the E of the word embeddings."""

    def __init__(self, config: BertConfig, embedding_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, embedding_size)
        self.LayerNorm = LayerNorm(embedding_size, config.layer_norm_eps)
        init_weights(self, config.initializer_range)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return floats (..., E) from (..., H)."""
        return self.LayerNorm(gelu(self.dense(hidden_states)))


def share_layers(model: BertModel) -> None:
    """Use a model's first layer in place of all: an L-th of the layers' weights, the same work."""
    first = model.encoder.layer[0]
    model.encoder.layer = nn.ModuleList([first] * model.config.num_hidden_layers)


def factorize(model: BertForMaskedLM | BertForPreTraining, embedding_size: int) -> None:
    """Give a model embeddings of E features, and a head that predicts with them.

    Raises:
        ValueError: E is not between 1 and H.
    """
    config, head = model.config, model.cls.predictions
    if not 1 <= embedding_size <= config.hidden_size:
        raise ValueError(
            f"embedding_size={embedding_size} must lie between 1 and hidden_size={config.hidden_size}"
        )
    embeddings = FactorizedEmbeddings(config, embedding_size)
    model.bert.embeddings = embeddings  # type: ignore[assignment]
    head.transform = NarrowTransform(config, embedding_size)  # type: ignore[assignment]
    head.decoder.weight = embeddings.word_embeddings.weight
