"""ELECTRA's objective: a generator fills masked tokens, a BERT says which of them are wrong (chapter 7).

Source: Clark et al. 2020, §3.
Differs from the paper in the generator: it has fewer layers, where theirs is narrower, so that both models
share their embeddings as they are. Leaves out: adversarial training, which they found no better.

Shape letters: B batch, S sequence, V vocabulary, N masked tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from bertlearn.model.bert import BertModel, gelu, init_weights
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForMaskedLM, targets
from bertlearn.model.inputs import IGNORE

WEIGHT = 50.0  # of the discriminator's loss; its yes or no carries far less information than a word


class ElectraOutput(NamedTuple):
    """The output of `ElectraForPreTraining`."""

    loss: Tensor  # float (), nats: the generator's loss plus WEIGHT times the discriminator's
    prediction_logits: Tensor  # floats (N, V), the generator's, for the masked tokens
    replaced_logits: Tensor  # floats (B, S), the discriminator's: above 0 for "this token was replaced"
    replaced: Tensor  # booleans (B, S): whether it was
    corrupted_ids: Tensor  # int64 (B, S): what the discriminator read


class ElectraForPreTraining(nn.Module):
    """Generator and discriminator, trained together. Only the discriminator, a BERT, is kept afterwards.

    Args:
        config: of the discriminator.
        generator_layers: of the generator; its other sizes are those of the discriminator.
    """

    def __init__(self, config: BertConfig, generator_layers: int = 1) -> None:
        super().__init__()
        self.config = config
        self.generator = BertForMaskedLM(replace(config, num_hidden_layers=generator_layers))
        self.discriminator = BertModel(config, add_pooling_layer=False)
        self.generator.bert.embeddings = self.discriminator.embeddings
        words = self.discriminator.embeddings.word_embeddings
        self.generator.cls.predictions.decoder.weight = words.weight
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dense_prediction = nn.Linear(config.hidden_size, 1)
        for layer in (self.dense, self.dense_prediction):
            init_weights(layer, config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> ElectraOutput:
        """Replace the masked tokens by samples of the generator, and look for them.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: as `BertModel` takes them, after masking.
            labels: int64 (B, S), the original tokens where they were masked, −100 elsewhere.
        """
        if labels is None:
            raise ValueError(
                "labels is None, but ELECTRA's objective needs the masked tokens; use mask_tokens"
            )
        rest = (attention_mask, token_type_ids, position_ids)
        prediction_logits = self.generator(input_ids, *rest, labels=labels).prediction_logits  # (N, V)
        original, corrupted = input_ids.clone(), input_ids.clone()
        original[labels != IGNORE] = targets(labels)
        corrupted[labels != IGNORE] = sample(prediction_logits)
        replaced = corrupted != original  # not where the generator guessed right (§3.1)
        replaced_logits = self.score_tokens(corrupted, *rest)
        count = torch.ones_like(replaced) if attention_mask is None else attention_mask.bool()
        found = binary_cross_entropy_with_logits(replaced_logits[count].float(), replaced[count].float())
        loss = cross_entropy(prediction_logits, targets(labels)) + WEIGHT * found
        return ElectraOutput(loss, prediction_logits, replaced_logits, replaced, corrupted)

    def score_tokens(self, input_ids: Tensor, *rest: Tensor | None) -> Tensor:
        """Return the discriminator's logits, floats (B, S), for texts as `BertModel` takes them."""
        states = self.discriminator(input_ids, *rest).last_hidden_state
        return self.dense_prediction(gelu(self.dense(states))).squeeze(-1)


@torch.no_grad()
def sample(logits: Tensor) -> Tensor:
    """Draw a token for each row of logits (N, V), int64 (N,); no gradient passes through."""
    return torch.multinomial(logits.float().softmax(dim=-1), 1).squeeze(-1)
