"""Pretraining: hide words and guess them, tell whether two texts belong together (chapter 4).

Source: Devlin et al. 2019, §3.1 and appendix A. Logits are computed for the masked positions only: they are
15 % of the tokens, and the vocabulary makes them the dearest part of the model.
Leaves out: reading text from disk (`shards`) and the training loop (`training`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertlearn.config import BertConfig
from bertlearn.encoder import BertModel, gelu, init_weights
from bertlearn.normalization import LayerNorm
from bertlearn.tokenization import WordPieceTokenizer
from bertlearn.weights import PreTrainedModel

IGNORE = -100  # the label of a position that is not to be guessed
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


class PretrainingOutput(NamedTuple):
    """What the pretraining models give back; the optional parts are None unless asked for."""

    loss: Tensor | None  # float (), nats: the sum of the two means; None without labels
    prediction_logits: Tensor  # floats (N, V) for the N labeled positions; (B, S, V) without labels
    seq_relationship_logits: Tensor | None = None  # floats (B, 2)
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 of (B, S, H)
    attentions: tuple[Tensor, ...] | None = None  # L of (B, A, S, S)


class Score(NamedTuple):
    """One objective on one batch, as sums, so that batches of any size can be added up."""

    loss: Tensor  # float (), nats, summed over the targets
    correct: Tensor  # int64 (), targets guessed right


class Guess(NamedTuple):
    """One token that could stand in place of a `[MASK]`."""

    token: str
    probability: float


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
    """A score for each piece of the vocabulary: the word embeddings used backwards, and a bias of its own."""

    def __init__(self, config: BertConfig, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.decoder.weight = word_embeddings.weight  # tied: one matrix, two uses
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
    """The two heads of `BertForPreTraining`: a guess for each masked token, and one for the pair."""

    def __init__(self, config: BertConfig, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config, word_embeddings)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)


class BertForMaskedLM(PreTrainedModel):
    """BERT with the head that guesses masked tokens. Source: Devlin et al. 2019, §3.1, task 1."""

    base_model_prefix = "bert"

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
        """Guess the labeled tokens, or, without labels, every token.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: as `BertModel` takes them, (B, S).
            labels: int64 (B, S), the tokens to be guessed, −100 at all other positions.
            output_attentions, output_hidden_states: as in `BertModel`.

        Returns:
            The loss is the mean over the labeled positions, in nats.
        """
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, output_attentions, output_hidden_states
        )
        logits = self.cls.predictions(labeled(encoded.last_hidden_state, labels))
        loss = None if labels is None else cross_entropy(logits, targets(labels))
        return PretrainingOutput(loss, logits, None, encoded.hidden_states, encoded.attentions)


class BertForPreTraining(PreTrainedModel):
    """BERT with both heads of its pretraining. Source: Devlin et al. 2019, §3.1, tasks 1 and 2."""

    base_model_prefix = "bert"

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
        """Guess the labeled tokens, and whether the second text follows the first.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: as `BertModel` takes them, (B, S).
            labels: int64 (B, S), the tokens to be guessed, −100 at all other positions.
            next_sentence_label: int64 (B,), 0 = B follows A, 1 = B is from another document,
                −100 = not to be guessed.
            output_attentions, output_hidden_states: as in `BertModel`.

        Returns:
            The loss is the sum of the two means, in nats; None unless both kinds of label are given.
        """
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, output_attentions, output_hidden_states
        )
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
    """Return the labels that are not −100, int64 (N,), in the order of `labeled`."""
    return labels[labels != IGNORE]


def count_targets(batch: PretrainingBatch) -> dict[str, int]:
    """Count what is to be guessed: masked tokens ("mlm") and, if the batch has pairs, pairs ("nsp")."""
    counts = {"mlm": int((batch.labels != IGNORE).sum())}
    if batch.next_sentence_label is not None:
        counts["nsp"] = int((batch.next_sentence_label != IGNORE).sum())
    return counts


def score_batch(model: nn.Module, batch: PretrainingBatch) -> dict[str, Score]:
    """Run the model on a batch; return for "mlm", and "nsp" if there are pairs, loss and hits as sums.

    Sums over targets, not means: only so do several small batches add up to what one large batch gives.
    """
    inputs = {name: value for name, value in batch._asdict().items() if value is not None}
    output = model(**inputs)
    scores = {"mlm": score_logits(output.prediction_logits, targets(batch.labels))}
    if batch.next_sentence_label is not None:
        scores["nsp"] = score_logits(output.seq_relationship_logits, batch.next_sentence_label)
    return scores


def score_logits(logits: Tensor, labels: Tensor) -> Score:
    """Return summed loss and hits of logits (N, C) against labels, int64 (N,); −100 does not count."""
    logits = logits.float()
    return Score(cross_entropy(logits, labels, reduction="sum"), (logits.argmax(-1) == labels).sum())


@torch.no_grad()
def fill_mask(
    model: BertForMaskedLM | BertForPreTraining, tokenizer: WordPieceTokenizer, text: str, k: int = 5
) -> list[list[Guess]]:
    """Guess what stands in place of each `[MASK]` of a text.

    Args:
        model: a `BertForMaskedLM` or `BertForPreTraining`; dropout is off during the call.
        tokenizer: the model's own.
        text: with at least one [MASK].
        k: guesses for each.

    Returns:
        For each [MASK] the k likeliest tokens, the likeliest first.

    Raises:
        ValueError: no [MASK] in the text, or none left after truncation, or a k that is not in 1 … V.
    """
    if not 1 <= k <= tokenizer.vocab_size:
        raise ValueError(f"k={k} guesses cannot be made; use 1 to {tokenizer.vocab_size}")
    batch = tokenizer.encode_batch([text], max_length=model.config.max_position_embeddings)
    masks = batch.input_ids[0] == tokenizer.mask_token_id
    if not masks.any():
        raise ValueError(
            f"no [MASK] to fill in the first {batch.input_ids.shape[1]} tokens of {text[:60]!r}; write for "
            "example 'the film was [MASK].'"
        )
    device = next(model.parameters()).device
    was_training = model.training
    output = model.eval()(**{name: value.to(device) for name, value in batch._asdict().items()})
    model.train(was_training)
    best = output.prediction_logits[0, masks].float().softmax(-1).topk(k)  # (masks, k)
    return [
        [Guess(tokenizer.ids_to_tokens[i], p) for i, p in zip(ids, probs, strict=True)]
        for ids, probs in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
