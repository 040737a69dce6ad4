"""One encoder, two heads: what a command asks for, and which words are its details (chapter 9).

Source: Chen, Zhuo and Wang 2019, BERT for Joint Intent Classification and Slot Filling, §3.2.
Leaves out: their CRF layer, which gained them nothing.

Shape letters: B batch, S sequence, H hidden, I intents, C slot labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bertlearn.model.bert import BertModel, init_weights
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import (
    add_head,
    classification_loss,
    encoder_config,
    head_dropout,
    number_labels,
)


class IntentAndSlotsOutput(NamedTuple):
    """The output of `BertForIntentAndSlots`."""

    loss: Tensor | None  # float (), nats: the sum of both means; None without labels
    intent_logits: Tensor  # floats (B, I)
    slot_logits: Tensor  # floats (B, S, C)


class BertForIntentAndSlots(nn.Module):
    """BERT with a label for the text, from [CLS], and a label for each token.

    Args:
        config: of the encoder.
        intents: the I names of the intents.
        slots: the C names of the token labels, as returned by `spans.bio_labels`.
    """

    def __init__(self, config: BertConfig, intents: Sequence[str], slots: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.id2intent, self.id2slot = number_labels(intents), number_labels(slots)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = head_dropout(config)
        self.intent_classifier = nn.Linear(config.hidden_size, len(intents))
        self.slot_classifier = nn.Linear(config.hidden_size, len(slots))
        for head in (self.intent_classifier, self.slot_classifier):
            init_weights(head, config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        intent_labels: Tensor | None = None,
        slot_labels: Tensor | None = None,
    ) -> IntentAndSlotsOutput:
        """Score the intents of each text and the slots of each token.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: as `BertModel` takes them, (B, S).
            intent_labels: int64 (B,), −100 where a text does not count.
            slot_labels: int64 (B, S), −100 at special tokens, padding, and all but the first token of a word.

        Raises:
            ValueError: inputs that `BertModel` refuses; only one kind of labels, or labels of a wrong type,
                shape or range.
        """
        if (intent_labels is None) != (slot_labels is None):
            raise ValueError("one of intent_labels and slot_labels is None; give both, or neither")
        hidden = self.bert(input_ids, attention_mask, token_type_ids, position_ids).last_hidden_state
        hidden = self.dropout(hidden)  # (B, S, H)
        intents, slots = self.intent_classifier(hidden[:, 0]), self.slot_classifier(hidden)
        losses = classification_loss(intents, intent_labels), classification_loss(slots, slot_labels)
        loss = None if losses[0] is None or losses[1] is None else losses[0] + losses[1]
        return IntentAndSlotsOutput(loss, intents, slots)

    @classmethod
    def from_encoder(
        cls,
        encoder: BertModel,
        intents: Sequence[str],
        slots: Sequence[str],
        generator: torch.Generator,
        dropout: float | None = None,
    ) -> BertForIntentAndSlots:
        """Put both heads on a copy of an encoder, in evaluation mode; see `BertForTokenClassification`."""
        return add_head(cls(encoder_config(encoder, dropout), intents, slots), encoder, generator)
