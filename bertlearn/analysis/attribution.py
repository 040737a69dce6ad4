"""Token attribution: which tokens a prediction depends on, and a test of the scores (chapter 6).

Integrated gradients and attention give each token a score; `deletion` tests such scores by masking the
highest-scored tokens. For the heads that matter, see `ablation`.
Source: Sundararajan et al. 2017 (integrated gradients, through captum); Jain & Wallace 2019 (attention is not
explanation); Samek et al. 2017 (deletion).
Leaves out: pairs of texts; attention rollout; other attribution methods, which captum provides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients
from numpy.typing import NDArray
from torch import Tensor

from bertlearn.analysis.evaluation import as_array
from bertlearn.arguments import check_count
from bertlearn.finetuning.spans import text_tokens
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.model.inference import check_finite, check_fit, evaluation_mode, outputs
from bertlearn.tokenizer.encoding import Encoding, SubwordTokenizer

Scores = NDArray[np.float64]
TOKENS_AT_ONCE = 4096  # tokens per forward pass: points on the path times tokens of the text


class TokenScores(NamedTuple):
    """The tokens of a text, including [CLS] and [SEP], and a score for each."""

    tokens: list[str]  # S
    scores: Scores  # (S,)


class Attribution(NamedTuple):
    """What each token contributes to the log-odds of a label, log p / (1 − p), in nats."""

    tokens: list[str]  # S
    scores: Scores  # (S,), nats; their sum is log_odds − baseline_log_odds + gap
    label: int  # the id of the explained label
    log_odds: float  # of the label, for the text
    baseline_log_odds: float  # for the text with every token masked
    gap: float  # sum of the scores − (log_odds − baseline_log_odds); more steps make it smaller


# 1. Scores for tokens


@torch.inference_mode(False)
def integrated_gradients(
    model: BertForSequenceClassification,
    tokenizer: SubwordTokenizer,
    text: str,
    label: int | None = None,
    steps: int = 32,
    max_length: int | None = None,
) -> Attribution:
    """Attribute a label's log-odds to the tokens by integrated gradients.

    The word embeddings move on a straight line from the baseline to the text; the score of a token is its
    displacement times its mean gradient along the line. The baseline is the same text with every token but
    [CLS] and [SEP] replaced by [MASK]. It has the length of the text, and pretraining taught [MASK] to stand
    for "some word", whereas [PAD] is never attended to and its vector is never trained. The baseline is also
    what `deletion` leaves when it masks everything.

    Args:
        model: a classifier on any device; dropout is off during the call.
        tokenizer: the model's own.
        text: one text.
        label: the id of the label to explain; None for the predicted one.
        steps: number of points on the line, at the midpoints of as many equal intervals.
        max_length: longer texts are truncated to this many tokens; None for the model's maximum.

    Raises:
        ValueError: a text without words, an unknown label, fewer than 2 steps, a text that `encode` rejects;
            weights that give NaN or infinite numbers.
    """
    encoding = _encode(model, tokenizer, text, max_length)
    check_count("steps", steps, 2, remedy="32 is a good start")
    device = next(model.parameters()).device
    ids = torch.tensor([encoding.input_ids], device=device)  # (1, S)
    baseline = torch.tensor([_masked(encoding, text_tokens(encoding), tokenizer)], device=device)
    with evaluation_mode(model):
        with torch.no_grad():
            logits = check_finite(model(torch.cat([ids, baseline])).logits)  # (2, C)
        label = int(logits[0].argmax()) if label is None else _check_label(label, logits.shape[1])
        method = LayerIntegratedGradients(
            lambda ids: _log_odds(model(ids).logits, label), model.bert.embeddings.word_embeddings
        )
        attributions = method.attribute(  # (1, S, H)
            ids,
            baseline,
            n_steps=steps,
            method="riemann_middle",
            internal_batch_size=max(1, TOKENS_AT_ONCE // ids.shape[1]),
        )
    scores = check_finite(attributions[0].sum(-1)).detach().double().cpu().numpy()
    log_odds, baseline_log_odds = _log_odds(logits, label).tolist()
    gap = float(scores.sum()) - (log_odds - baseline_log_odds)
    return Attribution(encoding.tokens, scores, label, log_odds, baseline_log_odds, gap)


@torch.no_grad()
def attention_scores(
    model: BertForSequenceClassification,
    tokenizer: SubwordTokenizer,
    text: str,
    layer: int = -1,
    max_length: int | None = None,
) -> TokenScores:
    """Score tokens by the attention they receive, as read off attention maps: the mean over the heads.

    Args:
        model: a classifier on any device; dropout is off during the call.
        tokenizer: the model's own.
        text: one text.
        layer: counted from 0; −1 for the last layer.
        max_length: see `integrated_gradients`.

    Returns:
        Scores that sum to 1: the attention of [CLS] if the classifier reads that token; the mean attention of
        all tokens if it reads their mean.

    Raises:
        ValueError: a layer that the model does not have, a text without words, a text that `encode` rejects;
            weights that give NaN or infinite numbers.
    """
    encoding = _encode(model, tokenizer, text, max_length)
    layers = model.config.num_hidden_layers
    layer = check_count("layer", layer, -layers, layers - 1, "0 is the first layer, -1 the last")
    ids = torch.tensor([encoding.input_ids], device=next(model.parameters()).device)
    with evaluation_mode(model):
        probs = check_finite(model(ids, output_attentions=True).attentions[layer][0]).mean(0)  # query × key
    received = probs[0] if model.config.classifier_pooling == "cls" else probs.mean(0)  # (S,)
    return TokenScores(encoding.tokens, received.double().cpu().numpy())


# 2. A test of scores


@torch.no_grad()
def deletion(
    model: BertForSequenceClassification,
    tokenizer: SubwordTokenizer,
    texts: Sequence[str],
    scores: Sequence[Scores],
    count: int,
    max_length: int | None = None,
    batch_size: int = 32,
) -> Scores:
    """Return by how much the log-odds of each prediction fall when its highest-scored tokens are masked.

    They fall far if the scores find the tokens that the model relies on; random scores are the control.

    Args:
        model: a classifier on any device; dropout is off during the call.
        tokenizer: the model's own.
        texts: N texts.
        scores: for each text one score per token, including [CLS] and [SEP], which are never replaced.
        count: number of tokens to replace by [MASK], or all of them if a text has fewer.
        max_length: the one that the scores were computed with.
        batch_size: texts per batch.

    Returns:
        floats (N,), nats: the log-odds of the label that the model predicts, before − after.

    Raises:
        ValueError: not one finite score per token, a count below 0, a text without words or one that
            `encode` rejects.
    """
    check_count("count", count, 0)
    full = [_encode(model, tokenizer, text, max_length) for text in texts]
    if len(scores) != len(full):
        raise ValueError(f"{len(full)} texts but scores for {len(scores)}; give one array for each text")
    masked = [
        encoding._replace(input_ids=_masked(encoding, _highest(encoding, text_scores, count), tokenizer))
        for encoding, text_scores in zip(full, scores, strict=True)
    ]
    before, after = (_all_logits(model, tokenizer, encodings, batch_size) for encodings in (full, masked))
    label = before.argmax(-1)
    return (_log_odds(before, label) - _log_odds(after, label)).double().numpy()


# Shared helpers


def _log_odds(logits: Tensor, label: int | Tensor) -> Tensor:
    """Return log p / (1 − p) of a label for each text: its logit − log Σ exp of the others.

    Args:
        logits: floats (B, C).
        label: one number for all texts, or int64 (B,).

    Returns:
        floats (B,); with two labels, this is the difference of the two logits.
    """
    index = torch.as_tensor(label, device=logits.device).expand(len(logits))[:, None]  # (B, 1)
    others = logits.scatter(1, index, -torch.inf).logsumexp(1)
    return logits.gather(1, index)[:, 0] - others


def _encode(
    model: BertForSequenceClassification, tokenizer: SubwordTokenizer, text: str, max_length: int | None
) -> Encoding:
    """Encode a text, truncated to what the model can read; refuse a text without words."""
    if not isinstance(model, BertForSequenceClassification):
        raise ValueError(f"model is {type(model).__name__}, expected BertForSequenceClassification")
    limit = model.config.max_position_embeddings if max_length is None else max_length
    encoding = tokenizer.encode(text, max_length=limit)
    check_fit(model.config, tokenizer, [encoding])
    if not text_tokens(encoding):
        raise ValueError(f"text={text[:60]!r} has no token but [CLS] and [SEP]; give a text with words")
    return encoding


def _masked(encoding: Encoding, positions: Iterable[int], tokenizer: SubwordTokenizer) -> list[int]:
    """Return the input ids with [MASK] at the given positions."""
    masked = set(positions)
    return [
        tokenizer.mask_token_id if position in masked else id_
        for position, id_ in enumerate(encoding.input_ids)
    ]


def _highest(encoding: Encoding, scores: Scores, count: int) -> list[int]:
    """Return the positions of the text's highest-scored tokens; among equal scores, the first ones."""
    scores = as_array(scores)
    if np.shape(scores) != (len(encoding.tokens),):
        raise ValueError(
            f"scores has shape {np.shape(scores)} for a text of {len(encoding.tokens)} tokens; give one "
            "score per token, including [CLS] and [SEP], computed with the same max_length"
        )
    if scores.dtype.kind not in "iuf" or not np.isfinite(scores).all():
        raise ValueError(f"scores holds {scores.dtype} {scores}, expected finite numbers")
    return sorted(text_tokens(encoding), key=lambda position: -scores[position])[:count]


def _all_logits(
    model: BertForSequenceClassification,
    tokenizer: SubwordTokenizer,
    encodings: Sequence[Encoding],
    batch_size: int,
) -> Tensor:
    """Return the logits (N, C) on the CPU, in the order of the encodings."""
    logits = torch.zeros(len(encodings), model.config.num_labels)
    for rows, result in outputs(model, tokenizer, encodings, batch_size, lambda output: output.logits):
        logits[rows] = result
    return logits


# What callers may get wrong


def _check_label(label: int, count: int) -> int:
    if label not in range(count):
        raise ValueError(f"label={label!r} is not the id of a label; use 0 to {count - 1}")
    return int(label)
