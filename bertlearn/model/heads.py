"""Heads on the encoder: for masked words and pairs (chapter 4), for texts, tokens and answers (chapter 5).

Source: Devlin et al. 2019, §3.1 and appendix A (pretraining); §3.2 and figure 4, §4.1 (a text or pair), §4.2
(answers), §5.3 (tokens). In pretraining, logits are computed for the masked positions only: they are 15 % of
the tokens, and the vocabulary makes them the most expensive part of the model.
Leaves out: regression and several labels at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertlearn.model.bert import BertModel, LayerNorm, PreTrainedModel, gelu, init_weights, mean_pooling
from bertlearn.model.config import TWO_LABELS, BertConfig
from bertlearn.model.inputs import IGNORE, check_labels, check_targets

Model = TypeVar("Model", bound=nn.Module)

DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


class PretrainingOutput(NamedTuple):
    """The output of the pretraining models; the optional parts are None unless requested."""

    loss: Tensor | None  # float (), nats, the sum of both objectives' means; None without labels
    prediction_logits: Tensor  # floats (N, V) for the N labeled positions; (B, S, V) without labels
    seq_relationship_logits: Tensor | None = None  # floats (B, 2)
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 of (B, S, H)
    attentions: tuple[Tensor, ...] | None = None  # L of (B, A, S, S)


class ClassifierOutput(NamedTuple):
    """The output of the two classifiers; the optional parts are None unless requested."""

    loss: Tensor | None  # float (), nats: the mean over the labels that are not −100; None without labels
    logits: Tensor  # floats (B, C), one row per text; or (B, S, C), one per token
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 of (B, S, H)
    attentions: tuple[Tensor, ...] | None = None  # L of (B, A, S, S)


class QuestionAnsweringOutput(NamedTuple):
    """The output of `BertForQuestionAnswering`; the optional parts are None unless requested."""

    loss: Tensor | None  # float (), nats, the mean of start and end; None without positions
    start_logits: Tensor  # floats (B, S)
    end_logits: Tensor  # floats (B, S)
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 of (B, S, H)
    attentions: tuple[Tensor, ...] | None = None  # L of (B, A, S, S)


# 1. Pretraining: masked words and pairs of texts (chapter 4)


class BertPredictionHeadTransform(nn.Module):
    """A dense layer, GELU and LayerNorm between the encoder and the vocabulary."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Take and return floats (..., H)."""
        return self.LayerNorm(gelu(self.dense(hidden_states)))


class BertLMPredictionHead(nn.Module):
    """A score for each token of the vocabulary: the word embeddings, transposed, and a bias.

    With `tie_word_embeddings=False`, a matrix of its own takes the place of the word embeddings.
    """

    def __init__(self, config: BertConfig, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        if config.tie_word_embeddings:
            self.decoder.weight = word_embeddings.weight  # tied: one matrix with two uses
        else:
            nn.init.normal_(self.decoder.weight, std=config.initializer_range)
        self.decoder.bias = self.bias  # transformers' files have it under both names

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return logits (..., V) from floats (..., H)."""
        return self.decoder(self.transform(hidden_states))


class BertOnlyMLMHead(nn.Module):
    """The head of `BertForMaskedLM`."""

    def __init__(self, config: BertConfig, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config, word_embeddings)


class BertPreTrainingHeads(nn.Module):
    """The two heads of `BertForPreTraining`: one for masked tokens, one for the pair."""

    def __init__(self, config: BertConfig, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config, word_embeddings)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)


class BertForMaskedLM(PreTrainedModel):
    """BERT with the head that predicts masked tokens. Source: Devlin et al. 2019, §3.1, task 1."""

    base_model_prefix, head_prefix = "bert", "cls"

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertOnlyMLMHead(config, self.bert.embeddings.word_embeddings)
        init_weights(self.cls.predictions.transform, config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> PretrainingOutput:
        """Predict the labeled tokens or, without labels, every token.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: as `BertModel` takes them, (B, S).
            labels: int64 (B, S), the tokens to predict, −100 at all other positions.
            output_attentions, output_hidden_states: as in `BertModel`.

        Returns:
            The loss is the mean over the labeled positions, in nats.

        Raises:
            ValueError: inputs that `BertModel` refuses; labels of a wrong type, shape or range.
        """
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, output_attentions, output_hidden_states
        )
        if labels is not None:
            check_labels("labels", labels, input_ids.shape, self.config.vocab_size)
        logits = self.cls.predictions(labeled(encoded.last_hidden_state, labels))
        loss = None if labels is None else cross_entropy(logits, targets(labels))
        return PretrainingOutput(loss, logits, None, encoded.hidden_states, encoded.attentions)


class BertForPreTraining(PreTrainedModel):
    """BERT with both heads used in pretraining. Source: Devlin et al. 2019, §3.1, tasks 1 and 2."""

    base_model_prefix, head_prefix = "bert", "cls"

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = BertModel(config)
        self.cls = BertPreTrainingHeads(config, self.bert.embeddings.word_embeddings)
        init_weights(self.cls.predictions.transform, config.initializer_range)
        init_weights(self.cls.seq_relationship, config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> PretrainingOutput:
        """Predict the labeled tokens, and whether the second text follows the first.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: as `BertModel` takes them, (B, S).
            labels: int64 (B, S), the tokens to predict, −100 at all other positions.
            next_sentence_label: int64 (B,), 0 = B follows A, 1 = B is from another document,
                −100 = does not count.
            output_attentions, output_hidden_states: as in `BertModel`.

        Returns:
            The loss is the sum of the two means, in nats; None unless both kinds of label are given.

        Raises:
            ValueError: inputs that `BertModel` refuses; labels of a wrong type, shape or range.
        """
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, output_attentions, output_hidden_states
        )
        if labels is not None:
            check_labels("labels", labels, input_ids.shape, self.config.vocab_size)
        if next_sentence_label is not None:
            check_labels("next_sentence_label", next_sentence_label, input_ids.shape[:1], 2)
        assert encoded.pooler_output is not None
        logits = self.cls.predictions(labeled(encoded.last_hidden_state, labels))
        relation = self.cls.seq_relationship(encoded.pooler_output)  # (B, 2)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = cross_entropy(logits, targets(labels)) + cross_entropy(relation, next_sentence_label)
        return PretrainingOutput(loss, logits, relation, encoded.hidden_states, encoded.attentions)


def labeled(hidden_states: Tensor, labels: Tensor | None) -> Tensor:
    """Return the N labeled positions' vectors, floats (N, H); without labels all of them, (B, S, H)."""
    return hidden_states if labels is None else hidden_states[labels != IGNORE]


def targets(labels: Tensor) -> Tensor:
    """Return the labels that are not −100, int64 (N,), in the same order as `labeled`."""
    return labels[labels != IGNORE]


# 2. Fine-tuning: a label for a text, a label for each token, the two ends of an answer (chapter 5)


class BertForSequenceClassification(PreTrainedModel):
    """BERT with a head that assigns one of C labels to a text or a pair of texts.

    The labels are `config.id2label`. `config.classifier_pooling` is the head's input: "cls", the pooler's
    output, as in the paper; or "mean", the average of all tokens, without a pooler.
    Source: Devlin et al. 2019, §4.1.
    Differs from transformers, which knows only "cls": when it loads a saved "mean" model, it reports a
    missing pooler, draws one at random and gives other scores.
    """

    base_model_prefix, head_prefix = "bert", "classifier"

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        if config.num_labels < 2:
            raise ValueError(
                f"id2label={config.id2label} has fewer than two labels; name two or more (regression is not "
                "supported)"
            )
        self.config = config
        self.bert = BertModel(config, add_pooling_layer=config.classifier_pooling == "cls")
        self.dropout = head_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        init_weights(self.classifier, config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> ClassifierOutput:
        """Score the labels for each text; `token_type_ids` tell the two texts of a pair apart.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: as `BertModel` takes them, (B, S).
            labels: int64 (B,), the ids of the correct labels, −100 where a text does not count.
            output_attentions, output_hidden_states: as in `BertModel`.

        Raises:
            ValueError: inputs that `BertModel` refuses; labels of a wrong type, shape or range.
        """
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, output_attentions, output_hidden_states
        )
        pooled = encoded.pooler_output
        if pooled is None:
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            pooled = mean_pooling(encoded.last_hidden_state, mask)  # (B, H)
        logits = self.classifier(self.dropout(pooled))  # (B, C)
        loss = classification_loss(logits, labels)
        return ClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)

    @classmethod
    def from_encoder(
        cls,
        encoder: BertModel,
        labels: Sequence[str],
        generator: torch.Generator,
        pooling: Literal["cls", "mean"] = "cls",
        dropout: float | None = None,
    ) -> BertForSequenceClassification:
        """Put a new head on a copy of an encoder; `new_parameters` lists what is untrained.

        Args:
            encoder: pretrained; if it lacks the pooler that "cls" needs, one is drawn.
            labels: the C names of the classes, in the order of their ids.
            generator: draws the head.
            pooling: the head's input, see the class.
            dropout: in encoder and head, a probability; None for the encoder's own.

        Returns:
            The model in evaluation mode, fp32 on the CPU.

        Raises:
            ValueError: not an encoder, or not names.
        """
        id2label, config = number_labels(labels), encoder_config(encoder, dropout)
        return add_head(
            cls(replace(config, id2label=id2label, classifier_pooling=pooling)), encoder, generator
        )


class BertForTokenClassification(PreTrainedModel):
    """BERT with a head that assigns to each token one of C labels, those of `config.id2label`.

    Source: Devlin et al. 2019, §5.3.
    """

    base_model_prefix, head_prefix = "bert", "classifier"

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = head_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        init_weights(self.classifier, config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> ClassifierOutput:
        """Score the labels for each token.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: as `BertModel` takes them, (B, S).
            labels: int64 (B, S), the ids of the correct labels, −100 where a token does not count: padding,
                special tokens and, as made by `spans.token_labels`, all but the first token of a word.
            output_attentions, output_hidden_states: as in `BertModel`.

        Raises:
            ValueError: inputs that `BertModel` refuses; labels of a wrong type, shape or range.
        """
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, output_attentions, output_hidden_states
        )
        logits = self.classifier(self.dropout(encoded.last_hidden_state))  # (B, S, C)
        loss = classification_loss(logits, labels)
        return ClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)

    @classmethod
    def from_encoder(
        cls,
        encoder: BertModel,
        labels: Sequence[str],
        generator: torch.Generator,
        dropout: float | None = None,
    ) -> BertForTokenClassification:
        """Put a new head on a copy of an encoder; `new_parameters` lists what is untrained.

        Args:
            encoder: pretrained; a pooler is dropped.
            labels: the C names of the classes, as returned by `spans.bio_labels`.
            generator: draws the head.
            dropout: in encoder and head, a probability; None for the encoder's own.

        Returns:
            The model in evaluation mode, fp32 on the CPU.

        Raises:
            ValueError: not an encoder, or not names.
        """
        id2label, config = number_labels(labels), encoder_config(encoder, dropout)
        return add_head(cls(replace(config, id2label=id2label)), encoder, generator)


class BertForQuestionAnswering(PreTrainedModel):
    """BERT with a head that marks where in a text the answer to a question starts and ends.

    The question is the first text of the pair; the text with the answer is the second.
    Source: Devlin et al. 2019, §4.2 and §4.3.
    """

    base_model_prefix, head_prefix = "bert", "qa_outputs"

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        if config.num_labels != 2:
            raise ValueError(
                f"id2label has {config.num_labels} labels, expected 2, start and end; leave out id2label"
            )
        self.config = config
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)  # the vectors S and E of the paper
        init_weights(self.qa_outputs, config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> QuestionAnsweringOutput:
        """Score each token as the answer's first and as its last.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: as `BertModel` takes them, (B, S).
            start_positions, end_positions: int64 (B,), the first and last token of the answer, as returned by
                `spans.answer_positions`. Positions of S or more, where the answer was truncated, do not
                count. As in transformers, a negative position is read as 0, that is [CLS], no answer.
            output_attentions, output_hidden_states: as in `BertModel`.

        Raises:
            ValueError: inputs that `BertModel` refuses; only one of the two positions, or a wrong type or
                shape.
        """
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, output_attentions, output_hidden_states
        )
        start_logits, end_logits = self.qa_outputs(encoded.last_hidden_state).unbind(-1)  # 2 of (B, S)
        loss = None
        if start_positions is not None or end_positions is not None:
            start_loss = position_loss("start_positions", start_logits, start_positions)
            loss = (start_loss + position_loss("end_positions", end_logits, end_positions)) / 2
        return QuestionAnsweringOutput(
            loss, start_logits, end_logits, encoded.hidden_states, encoded.attentions
        )

    @classmethod
    def from_encoder(
        cls, encoder: BertModel, generator: torch.Generator, dropout: float | None = None
    ) -> BertForQuestionAnswering:
        """Put a new head on a copy of an encoder; `new_parameters` lists what is untrained.

        Args:
            encoder: pretrained; a pooler is dropped.
            generator: draws the head.
            dropout: in the encoder, a probability; None for the encoder's own.

        Returns:
            The model in evaluation mode, fp32 on the CPU.

        Raises:
            ValueError: not an encoder.
        """
        return add_head(cls(encoder_config(encoder, dropout)), encoder, generator)


def head_dropout(config: BertConfig) -> nn.Dropout:
    """Return the dropout before a classifier: `classifier_dropout` or, if that is None, the encoder's."""
    own = config.classifier_dropout
    return nn.Dropout(config.hidden_dropout_prob if own is None else own)


def classification_loss(logits: Tensor, labels: Tensor | None) -> Tensor | None:
    """Return the mean cross-entropy of all labels except −100, in nats; None without labels.

    Args:
        logits: floats (..., C).
        labels: int64 (...), 0 to C − 1, or −100.

    Raises:
        ValueError: labels of a wrong type, shape or range.
    """
    if labels is None:
        return None
    labels = check_labels("labels", labels, logits.shape[:-1], logits.shape[-1])
    return cross_entropy(logits.flatten(0, -2), labels.flatten())


def position_loss(name: str, logits: Tensor, positions: Tensor | None) -> Tensor:
    """Return the mean cross-entropy of the answers' starts (or ends) below S, in nats.

    Args:
        name: of the positions, for errors.
        logits: floats (B, S).
        positions: int64 (B,); S and above do not count, negative ones are read as 0.

    Raises:
        ValueError: positions of a wrong type or shape.
    """
    positions = check_targets(name, positions, logits.shape[:1])
    beyond = logits.shape[1]
    return cross_entropy(logits, positions.clamp(0, beyond), ignore_index=beyond)


# 3. A new head on a pretrained encoder


def new_parameters(model: nn.Module, encoder: BertModel) -> list[str]:
    """Return the names of parameters that do not come from the encoder: the head, sometimes a pooler.

    These, such as "classifier.weight", were drawn at random by `from_encoder` and must be trained.
    """
    known = {f"bert.{name}" for name in encoder.state_dict()}
    return [name for name in model.state_dict() if name not in known]


def add_head(model: Model, encoder: BertModel, generator: torch.Generator) -> Model:
    """Copy the encoder's weights into the model, draw the others at random; return it in evaluation mode."""
    own = model.state_dict()
    known = {f"bert.{name}": tensor for name, tensor in encoder.state_dict().items()}
    model.load_state_dict({name: known.get(name, tensor) for name, tensor in own.items()})
    for name in new_parameters(model, encoder):
        draw(model.get_parameter(name), encoder.config.initializer_range, generator)
    return model.eval()


def draw(parameter: nn.Parameter, std: float, generator: torch.Generator) -> None:
    """Fill a matrix with normal numbers of this standard deviation, or a bias with 0, in place."""
    if parameter.dim() > 1:
        nn.init.normal_(parameter, std=std, generator=generator)
    else:
        nn.init.zeros_(parameter)


def encoder_config(encoder: BertModel, dropout: float | None = None) -> BertConfig:
    """Return the encoder's config without an earlier head's fields, with another dropout if one is given."""
    if not isinstance(encoder, BertModel):
        raise ValueError(
            f"encoder is {type(encoder).__name__}, expected BertModel; of a model with a head, pass .bert"
        )
    changes: dict[str, Any] = {
        "id2label": TWO_LABELS,
        "classifier_pooling": "cls",
        "tie_word_embeddings": True,
    }
    if dropout is not None:
        changes |= dict.fromkeys(DROPOUTS, dropout) | {"classifier_dropout": None}
    return replace(encoder.config, **changes)


def number_labels(labels: Sequence[str]) -> dict[int, str]:
    """Return the labels by their ids, as in `BertConfig.id2label`."""
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise ValueError(f"labels={labels!r} are not names of classes; use for example ['bad', 'good']")
    return dict(enumerate(labels))
