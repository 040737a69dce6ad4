"""Fine-tuning: a small new head on a pretrained encoder, and all of it trained on (chapter 5).

Source: Devlin et al. 2019, §3.2 and figure 4; §4.1 (a text or pair), §4.2 (answers), §5.3 (tokens).
Leaves out: regression and several labels at once; from text to positions and labels, and back, is `spans`;
the training loop is `training`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from bertlearn.config import TWO_LABELS, BertConfig
from bertlearn.encoder import BertModel, init_weights, mean_pooling
from bertlearn.packing import packed_weights
from bertlearn.pretraining import IGNORE
from bertlearn.tokenization import Encoding, WordPieceTokenizer, check_texts
from bertlearn.weights import PreTrainedModel

Pair = tuple[str, str]
Model = TypeVar("Model", bound=nn.Module)
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
PATIENCE = float(os.environ.get("BERTLEARN_PATIENCE", "2"))  # seconds before a progress bar appears
WORTH_PACKING = 64  # texts: for fewer, packing takes longer than it saves


class ClassifierOutput(NamedTuple):
    """What the two classifiers give back; the optional parts are None unless asked for."""

    loss: Tensor | None  # float (), nats: the mean over the labels that are not −100; None without labels
    logits: Tensor  # floats (B, C), one row a text; or (B, S, C), one a token
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 of (B, S, H)
    attentions: tuple[Tensor, ...] | None = None  # L of (B, A, S, S)


class QuestionAnsweringOutput(NamedTuple):
    """What `BertForQuestionAnswering` gives back; the optional parts are None unless asked for."""

    loss: Tensor | None  # float (), nats: the mean of the start's and the end's; None without positions
    start_logits: Tensor  # floats (B, S)
    end_logits: Tensor  # floats (B, S)
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 of (B, S, H)
    attentions: tuple[Tensor, ...] | None = None  # L of (B, A, S, S)


class BertForSequenceClassification(PreTrainedModel):
    """BERT with a head that gives a text, or a pair of texts, one of C labels.

    The labels are `config.id2label`. `config.classifier_pooling` says what the head sees: "cls", the
    pooler's output, as in the paper; or "mean", the average of all tokens, without a pooler.
    Source: Devlin et al. 2019, §4.1.
    Differs from transformers: it knows "cls" alone. Of a saved "mean" model it reports a missing pooler,
    draws one and gives other scores.
    """

    base_model_prefix = "bert"

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        if config.num_labels < 2:
            raise ValueError(
                f"id2label={config.id2label} leaves nothing to choose; name two or more (regression is not "
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
        """Score the labels for each text; a pair is told apart by its `token_type_ids`.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: as `BertModel` takes them, (B, S).
            labels: int64 (B,), the right labels' numbers, −100 where a text does not count.
            output_attentions, output_hidden_states: as in `BertModel`.

        Raises:
            ValueError: what `BertModel` refuses; labels of a wrong type, shape or range.
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
            encoder: pretrained; a pooler that it lacks and "cls" needs is drawn too.
            labels: the C names of the classes, in the order of their numbers.
            generator: draws the head.
            pooling: what the head sees, see the class.
            dropout: in encoder and head, a probability; None for the encoder's own.

        Returns:
            The model in evaluation mode, fp32 on the CPU.

        Raises:
            ValueError: something else than an encoder or than names.
        """
        id2label, config = number_labels(labels), encoder_config(encoder, dropout)
        return add_head(
            cls(replace(config, id2label=id2label, classifier_pooling=pooling)), encoder, generator
        )


class BertForTokenClassification(PreTrainedModel):
    """BERT with a head that gives each token one of C labels, those of `config.id2label`.

    Source: Devlin et al. 2019, §5.3.
    """

    base_model_prefix = "bert"

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
            labels: int64 (B, S), the right labels' numbers, −100 where a token does not count: padding,
                special tokens and, as `spans.token_labels` makes them, all but a word's first piece.
            output_attentions, output_hidden_states: as in `BertModel`.

        Raises:
            ValueError: what `BertModel` refuses; labels of a wrong type, shape or range.
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
            encoder: pretrained; its pooler, if it has one, is left out.
            labels: the C names of the classes, such as `spans.bio_labels` gives.
            generator: draws the head.
            dropout: in encoder and head, a probability; None for the encoder's own.

        Returns:
            The model in evaluation mode, fp32 on the CPU.

        Raises:
            ValueError: something else than an encoder or than names.
        """
        id2label, config = number_labels(labels), encoder_config(encoder, dropout)
        return add_head(cls(replace(config, id2label=id2label)), encoder, generator)


class BertForQuestionAnswering(PreTrainedModel):
    """BERT with a head that marks where in a text the answer to a question begins and ends.

    The question is the first text of the pair, the text with the answer the second.
    Source: Devlin et al. 2019, §4.2 and §4.3.
    """

    base_model_prefix = "bert"

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        if config.num_labels != 2:
            raise ValueError(
                f"id2label has {config.num_labels} labels, expected 2, start and end; leave id2label out"
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
            start_positions, end_positions: int64 (B,), the answer's first and last token, such as
                `spans.answer_positions` gives; S or more where the answer is out of reach: such a position
                does not count. As in transformers a negative one is taken for 0, that is [CLS], no answer.
            output_attentions, output_hidden_states: as in `BertModel`.

        Raises:
            ValueError: what `BertModel` refuses; only one kind of position, or a wrong type or shape.
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
            encoder: pretrained; its pooler, if it has one, is left out.
            generator: draws the head.
            dropout: in the encoder, a probability; None for the encoder's own.

        Returns:
            The model in evaluation mode, fp32 on the CPU.

        Raises:
            ValueError: something else than an encoder.
        """
        return add_head(cls(encoder_config(encoder, dropout)), encoder, generator)


# The parts of a head


def head_dropout(config: BertConfig) -> nn.Dropout:
    """Return the dropout before a classifier: `classifier_dropout` or, where that is None, the encoder's."""
    own = config.classifier_dropout
    return nn.Dropout(config.hidden_dropout_prob if own is None else own)


def classification_loss(logits: Tensor, labels: Tensor | None) -> Tensor | None:
    """Return the cross-entropy in nats, the mean over all labels but −100; None without labels.

    Args:
        logits: floats (..., C).
        labels: int64 (...), 0 to C − 1, or −100.

    Raises:
        ValueError: labels of a wrong type, shape or range.
    """
    if labels is None:
        return None
    labels = _check_targets("labels", labels, logits.shape[:-1])
    count = logits.shape[-1]
    if not torch.compiler.is_compiling():  # reading values would break the graph
        wrong = labels[(labels != IGNORE) & ((labels < 0) | (labels >= count))]
        if len(wrong):
            raise ValueError(
                f"labels holds {int(wrong[0])}, expected 0 to {count - 1}, or {IGNORE} where none counts"
            )
    return cross_entropy(logits.flatten(0, -2), labels.flatten())


def position_loss(name: str, logits: Tensor, positions: Tensor | None) -> Tensor:
    """Return the cross-entropy of one end of the answers in nats, the mean over the positions below S.

    Args:
        name: what to call the positions in an error.
        logits: floats (B, S).
        positions: int64 (B,); S and above do not count, below 0 is 0.

    Raises:
        ValueError: positions of a wrong type or shape.
    """
    positions = _check_targets(name, positions, logits.shape[:1])
    beyond = logits.shape[1]
    return cross_entropy(logits, positions.clamp(0, beyond), ignore_index=beyond)


def _check_targets(name: str, targets: Tensor | None, shape: torch.Size) -> Tensor:
    """Return the targets if they are whole numbers of this shape."""
    if not isinstance(targets, Tensor):
        raise ValueError(
            f"{name} is {type(targets).__name__}, expected a tensor {tuple(shape)} of torch.int64"
        )
    if targets.dtype != torch.int64:
        raise ValueError(
            f"{name} has dtype {targets.dtype}, expected torch.int64: a class or place has a number; convert "
            "with .long()"
        )
    if targets.shape != shape:
        raise ValueError(f"{name} has shape {tuple(targets.shape)}, expected {tuple(shape)}")
    return targets


# A new head


def new_parameters(model: nn.Module, encoder: BertModel) -> list[str]:
    """Tell which parameters of a fine-tuning model do not come from the encoder: its head, maybe a pooler.

    Returns:
        Their names, such as "classifier.weight": what `from_encoder` drew anew and training must teach.
    """
    known = {f"bert.{name}" for name in encoder.state_dict()}
    return [name for name in model.state_dict() if name not in known]


def add_head(model: Model, encoder: BertModel, generator: torch.Generator) -> Model:
    """Copy the encoder's weights into the model and draw the others anew; evaluation mode."""
    own = model.state_dict()
    known = {f"bert.{name}": tensor for name, tensor in encoder.state_dict().items()}
    model.load_state_dict({name: known.get(name, tensor) for name, tensor in own.items()})
    for name in new_parameters(model, encoder):
        draw_anew(model.get_parameter(name), encoder.config.initializer_range, generator)
    return model.eval()


def draw_anew(parameter: nn.Parameter, std: float, generator: torch.Generator) -> None:
    """Fill a matrix with normal numbers of this standard deviation, a bias with 0, in place."""
    if parameter.dim() > 1:
        nn.init.normal_(parameter, std=std, generator=generator)
    else:
        nn.init.zeros_(parameter)


def encoder_config(encoder: BertModel, dropout: float | None = None) -> BertConfig:
    """Return the encoder's config, maybe with another dropout, without what an earlier head left in it."""
    if not isinstance(encoder, BertModel):
        raise ValueError(
            f"encoder is {type(encoder).__name__}, expected BertModel; of a model with a head take .bert"
        )
    own: dict[str, Any] = {"id2label": TWO_LABELS, "classifier_pooling": "cls"}
    if dropout is not None:
        own |= dict.fromkeys(DROPOUTS, dropout) | {"classifier_dropout": None}
    return replace(encoder.config, **own)


def number_labels(labels: Sequence[str]) -> dict[int, str]:
    """Return the labels by their numbers, as `BertConfig.id2label` has them."""
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise ValueError(f"labels={labels!r} are no names of classes; give for example ['bad', 'good']")
    return dict(enumerate(labels))


# Using a classifier


@torch.no_grad()
def predict(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str] | Sequence[Pair],
    batch_size: int = 32,
    max_length: int | None = None,
) -> Tensor:
    """Return the probability of each label for each text.

    Texts of about the same length go through the model together, the longest first, so that little is
    padded. Neither the order of the texts nor the size of the batches changes a probability by more than
    rounding does.

    Args:
        model: on any device; dropout is off during the call.
        tokenizer: the model's own.
        texts: N texts, or N pairs of texts.
        batch_size: texts at a time.
        max_length: tokens at most, longer texts are cut; None for as many as the model has positions.

    Returns:
        float32 (N, C) on the CPU, in the order of the texts; C are `model.config.id2label`.

    Raises:
        ValueError: texts mixed with pairs, an empty one, what `encode` refuses, or another kind of model.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} is no number of texts; use a whole number from 1 up")
    limit = model.config.max_position_embeddings if max_length is None else max_length
    encodings = encode_texts(tokenizer, texts, limit)
    probs = torch.zeros(len(encodings), model.config.num_labels)
    for rows, output in outputs(model, tokenizer, encodings, batch_size):
        probs[rows] = text_logits(output).float().softmax(-1).cpu()
    return probs


@torch.no_grad()
def sentence_vectors(
    encoder: BertModel,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    batch_size: int = 32,
    max_length: int | None = None,
) -> Tensor:
    """Return one vector for each text: the mean of its tokens' last hidden states.

    Args:
        encoder: such as MiniLM, which was trained to give texts of like meaning like vectors.
        tokenizer, batch_size, max_length: see `predict`.
        texts: N texts.

    Returns:
        float32 (N, H) on the CPU, in the order of the texts, not normalized.

    Raises:
        ValueError: an empty text, or what `encode` refuses.
    """
    limit = encoder.config.max_position_embeddings if max_length is None else max_length
    encodings = encode_texts(tokenizer, texts, limit)
    vectors = torch.zeros(len(encodings), encoder.config.hidden_size)
    for rows, output in outputs(encoder, tokenizer, encodings, batch_size):
        hidden = output.last_hidden_state  # (B, S, H)
        lengths = torch.tensor([len(encodings[row].input_ids) for row in rows])
        keep = torch.arange(hidden.shape[1]) < lengths[:, None]  # (B, S)
        vectors[rows] = mean_pooling(hidden.float().cpu(), keep)
    return vectors


def encode_texts(
    tokenizer: WordPieceTokenizer, texts: Sequence[str] | Sequence[Pair], max_length: int
) -> list[Encoding]:
    """Encode texts or pairs, ids alone: tokens and offsets of many texts would fill the memory."""
    return [
        tokenizer.encode(first, second, max_length)._replace(tokens=[], offsets=[])
        for first, second in tqdm(split_pairs(texts), desc="encode", delay=PATIENCE, leave=False)
    ]


def outputs(
    model: nn.Module, tokenizer: WordPieceTokenizer, encodings: Sequence[Encoding], batch_size: int
) -> Iterator[tuple[list[int], Any]]:
    """Run a model over encodings, batch by batch, dropout off; give the rows' numbers and the output."""
    device = next(model.parameters()).device
    packing = packed_weights(model) if len(encodings) >= WORTH_PACKING else nullcontext()
    with evaluation_mode(model), packing:
        for rows in tqdm(buckets(encodings, batch_size), desc="predict", delay=PATIENCE, leave=False):
            batch = tokenizer.pad([encodings[row] for row in rows])
            yield rows, model(**{name: value.to(device) for name, value in batch._asdict().items()})


def split_pairs(texts: Sequence[Any]) -> list[tuple[str, str | None]]:
    """Return every text with its second one, None where there is none; refuse texts mixed with pairs."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
        raise ValueError(f"texts is {type(texts).__name__}, expected a list; put a single text in a list")
    if not texts:
        return []
    firsts, seconds = (texts, None) if isinstance(texts[0], str) else _columns(texts)
    return list(zip(firsts, check_texts(firsts, seconds), strict=True))


def _columns(pairs: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Return the first and the second texts of pairs."""
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"texts[{number}] is {repr(pair)[:60]}, expected a pair (A, B) like texts[0]")
    return [first for first, _ in pairs], [second for _, second in pairs]


def buckets(encodings: Sequence[Encoding], batch_size: int) -> list[list[int]]:
    """Return the encodings' numbers in batches of about the same length, the longest first."""
    order = sorted(range(len(encodings)), key=lambda row: len(encodings[row].input_ids), reverse=True)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Turn dropout off for a while; afterwards each part of the model is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def text_logits(output: Any) -> Tensor:
    """Return the logits (B, C) of a model's output; refuse a model that gives none for whole texts."""
    logits = getattr(output, "logits", None)
    if logits is None or logits.dim() != 2:
        raise ValueError(
            f"a model with a {type(output).__name__} has no label for a whole text; use a "
            "BertForSequenceClassification"
        )
    return logits
