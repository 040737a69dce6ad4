"""Which tokens made a prediction, and does the picture predict what happens (chapter 6).

Integrated gradients and attention give each token a score; `deletion` tests such scores by taking the tokens
away. Which heads matter is `ablation`.
Source: Sundararajan et al. 2017 (integrated gradients, through captum); Jain & Wallace 2019 (attention is not
explanation); Samek et al. 2017 (deletion).
Leaves out: pairs of texts; attention rollout; other attributions, which captum has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients
from numpy.typing import NDArray
from torch import Tensor

from bertlearn.finetuning.spans import text_tokens
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.model.inference import evaluation_mode, outputs
from bertlearn.tokenizer.wordpiece import Encoding, WordPieceTokenizer

Scores = NDArray[np.float64]
TOKENS_AT_ONCE = 4096  # points on the line times tokens that go through the model together


class TokenScores(NamedTuple):
    """A text's tokens, [CLS] and [SEP] among them, and a score for each."""

    tokens: list[str]  # S
    scores: Scores  # (S,)


class Attribution(NamedTuple):
    """What each token adds to the log-odds of a label: log p / (1 − p), in nats."""

    tokens: list[str]  # S
    scores: Scores  # (S,), nats; together log_odds − baseline_log_odds, but for the gap
    label: int  # the number of the label that is explained
    log_odds: float  # of the label, for the text
    baseline_log_odds: float  # for the text with every token masked
    gap: float  # sum of the scores − (log_odds − baseline_log_odds); more steps make it smaller


# 1. Scores for tokens


def integrated_gradients(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    text: str,
    label: int | None = None,
    steps: int = 32,
    max_length: int | None = None,
) -> Attribution:
    """Share out a label's log-odds among the tokens by integrated gradients.

    The word embeddings go in a straight line from the baseline to the text; a token's score is its step times
    the mean gradient along the way. The baseline is the same text with every token but [CLS] and [SEP]
    replaced by [MASK]: it has the text's length and a token that pretraining taught to stand for "some word",
    whereas of [PAD], which nothing attends to, nothing is ever learned; and it is what `deletion` leaves when
    all is deleted.

    Args:
        model: a classifier on any device; dropout is off during the call.
        tokenizer: the model's own.
        text: one text.
        label: the number of the label to explain; None for the predicted one.
        steps: points on the line, in the middles of as many equal parts.
        max_length: tokens at most, longer texts are cut; None for as many as the model has positions.

    Raises:
        ValueError: a text without words, an unknown label, fewer than 2 steps, what `encode` refuses.
    """
    encoding = _encode(model, tokenizer, text, max_length)
    if not isinstance(steps, int) or steps < 2:
        raise ValueError(f"steps={steps!r} must be a whole number of at least 2; 32 is a good start")
    device = next(model.parameters()).device
    ids = torch.tensor([encoding.input_ids], device=device)  # (1, S)
    baseline = torch.tensor([_masked(encoding, text_tokens(encoding), tokenizer)], device=device)
    with evaluation_mode(model):
        with torch.no_grad():
            logits = model(torch.cat([ids, baseline])).logits  # (2, C)
        label = int(logits[0].argmax()) if label is None else _check_label(label, logits.shape[1])
        method = LayerIntegratedGradients(
            lambda ids: _log_odds(model(ids).logits, label), model.bert.embeddings.word_embeddings
        )
        parts = method.attribute(  # (1, S, H)
            ids,
            baseline,
            n_steps=steps,
            method="riemann_middle",
            internal_batch_size=max(1, TOKENS_AT_ONCE // ids.shape[1]),
        )
    scores = parts[0].sum(-1).detach().double().cpu().numpy()
    full, empty = _log_odds(logits, label).tolist()
    return Attribution(encoding.tokens, scores, label, full, empty, float(scores.sum()) - (full - empty))


@torch.no_grad()
def attention_scores(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    text: str,
    layer: int = -1,
    max_length: int | None = None,
) -> TokenScores:
    """Score tokens by the attention they receive, as one reads it off pictures: the mean over the heads.

    Args:
        model: a classifier on any device; dropout is off during the call.
        tokenizer: the model's own.
        text: one text.
        layer: which, from 0; −1 for the last one.
        max_length: see `integrated_gradients`.

    Returns:
        Scores that sum to 1: the attention of [CLS], if the classifier reads that token; the mean over all
        tokens, if it reads their mean.

    Raises:
        ValueError: a layer that the model has not, a text without words, what `encode` refuses.
    """
    encoding = _encode(model, tokenizer, text, max_length)
    layers = model.config.num_hidden_layers
    if not -layers <= layer < layers:
        raise ValueError(
            f"layer={layer}, but the model has {layers}; use 0 to {layers - 1}, or −1 for the last"
        )
    ids = torch.tensor([encoding.input_ids], device=next(model.parameters()).device)
    with evaluation_mode(model):
        probs = model(ids, output_attentions=True).attentions[layer][0].mean(0)  # (S, S), from × to
    received = probs[0] if model.config.classifier_pooling == "cls" else probs.mean(0)  # (S,)
    return TokenScores(encoding.tokens, received.double().cpu().numpy())


# 2. Scores put to the test


@torch.no_grad()
def deletion(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    scores: Sequence[Scores],
    count: int,
    max_length: int | None = None,
    batch_size: int = 32,
) -> Scores:
    """Replace the highest-scored tokens of each text by [MASK]: how far do the log-odds fall?

    Scores that tell what the model relies on make them fall far; random scores are the control.

    Args:
        model: a classifier on any device; dropout is off during the call.
        tokenizer: the model's own.
        texts: N texts.
        scores: for each text a score a token, [CLS] and [SEP] among them, which are never replaced.
        count: tokens to replace; all of a text that has fewer.
        max_length: the one that the scores were made with.
        batch_size: texts at a time.

    Returns:
        floats (N,), nats: the log-odds of the label that the model predicts, before − after.

    Raises:
        ValueError: not a score a token, a count below 0, a text without words, what `encode` refuses.
    """
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"count={count!r} must be a whole number of at least 0")
    whole = [_encode(model, tokenizer, text, max_length) for text in texts]
    if len(scores) != len(whole):
        raise ValueError(f"{len(whole)} texts but scores for {len(scores)}; give one array for each text")
    cut = [
        encoding._replace(input_ids=_masked(encoding, _highest(encoding, own, count), tokenizer))
        for encoding, own in zip(whole, scores, strict=True)
    ]
    before, after = (_all_logits(model, tokenizer, part, batch_size) for part in (whole, cut))
    label = before.argmax(-1)
    return (_log_odds(before, label) - _log_odds(after, label)).double().numpy()


# What the functions share


def _log_odds(logits: Tensor, label: int | Tensor) -> Tensor:
    """Return log p / (1 − p) of a label for each text: its logit − log Σ exp of the others.

    Args:
        logits: floats (B, C).
        label: a number for all texts, or int64 (B,).

    Returns:
        floats (B,); with two labels the difference of the two logits.
    """
    own = torch.as_tensor(label, device=logits.device).expand(len(logits))[:, None]  # (B, 1)
    others = logits.scatter(1, own, -torch.inf).logsumexp(1)
    return logits.gather(1, own)[:, 0] - others


def _encode(
    model: BertForSequenceClassification, tokenizer: WordPieceTokenizer, text: str, max_length: int | None
) -> Encoding:
    """Encode a text, cut to what the model can read; refuse one that holds nothing."""
    if not isinstance(model, BertForSequenceClassification):
        raise ValueError(f"model is {type(model).__name__}, expected BertForSequenceClassification")
    limit = model.config.max_position_embeddings if max_length is None else max_length
    encoding = tokenizer.encode(text, max_length=limit)
    if not text_tokens(encoding):
        raise ValueError(f"text={text[:60]!r} has no token but [CLS] and [SEP]; give a text with words")
    return encoding


def _masked(encoding: Encoding, places: Iterable[int], tokenizer: WordPieceTokenizer) -> list[int]:
    """Return the ids with [MASK] at some places."""
    hidden = set(places)
    return [
        tokenizer.mask_token_id if place in hidden else id_ for place, id_ in enumerate(encoding.input_ids)
    ]


def _highest(encoding: Encoding, scores: Scores, count: int) -> list[int]:
    """Return the places of the text's highest-scored pieces; of equal ones the first."""
    if np.shape(scores) != (len(encoding.tokens),):
        raise ValueError(
            f"scores has shape {np.shape(scores)} for a text of {len(encoding.tokens)} tokens; give one a "
            "token, [CLS] and [SEP] too, made with the same max_length"
        )
    return sorted(text_tokens(encoding), key=lambda place: -scores[place])[:count]


def _all_logits(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    encodings: Sequence[Encoding],
    batch_size: int,
) -> Tensor:
    """Return the logits (N, C) on the CPU, in the order of the encodings."""
    logits = torch.zeros(len(encodings), model.config.num_labels)
    for rows, output in outputs(model, tokenizer, encodings, batch_size):
        logits[rows] = output.logits.float().cpu()
    return logits


# What callers may get wrong


def _check_label(label: int, count: int) -> int:
    if label not in range(count):
        raise ValueError(f"label={label!r} is no number of a label; use 0 to {count - 1}")
    return int(label)
