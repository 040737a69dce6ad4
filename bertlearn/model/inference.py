"""A trained model in use: labels and vectors for texts, words for masks (chapters 3 to 6)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from bertlearn.arguments import check_count
from bertlearn.model.bert import BertModel, PreTrainedModel, mean_pooling
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForMaskedLM, BertForPreTraining, BertForSequenceClassification
from bertlearn.model.prepacking import prepacked_weights
from bertlearn.tokenizer.encoding import Encoding, SubwordTokenizer
from bertlearn.tokenizer.inputs import check_texts

Pair = tuple[str, str]

PATIENCE = float(os.environ.get("BERTLEARN_PATIENCE", "2"))  # seconds before a progress bar appears

WORTH_PREPACKING = 64  # texts; for fewer, prepacking takes longer than it saves


@torch.no_grad()
def predict(
    model: BertForSequenceClassification,
    tokenizer: SubwordTokenizer,
    texts: Sequence[str] | Sequence[Pair],
    batch_size: int = 32,
    max_length: int | None = None,
) -> Tensor:
    """Return the probability of each label for each text.

    Texts of similar length share a batch, the longest first, so that there is little padding. Neither the
    order of the texts nor the batch size changes a probability beyond rounding.

    Args:
        model: on any device; dropout is off during the call.
        tokenizer: the model's own.
        texts: N texts, or N pairs of texts.
        batch_size: texts per batch.
        max_length: longer texts are truncated to this many tokens; None for the model's maximum.

    Returns:
        float32 (N, C) on the CPU, in the order of the texts; the C labels are `model.config.id2label`.

    Raises:
        ValueError: another kind of model, a tokenizer that does not fit it, a batch size below 1; texts mixed
            with pairs, an empty text or one that `encode` refuses; weights that give NaN or infinite numbers.
    """
    check_model(model, BertForSequenceClassification)
    check_fit(model.config, tokenizer)
    batch_size = check_count("batch_size", batch_size)
    limit = model.config.max_position_embeddings if max_length is None else max_length
    encodings = encode_texts(tokenizer, texts, limit)
    probs = torch.zeros(len(encodings), model.config.num_labels)
    batches = outputs(model, tokenizer, encodings, batch_size, lambda output: probabilities(output.logits))
    for rows, result in batches:
        probs[rows] = result
    return probs


@torch.no_grad()
def sentence_vectors(
    encoder: BertModel,
    tokenizer: SubwordTokenizer,
    texts: Sequence[str],
    batch_size: int = 32,
    max_length: int | None = None,
) -> Tensor:
    """Return one vector for each text: the mean of the last hidden states of its tokens.

    Args:
        encoder: such as MiniLM, which was trained to give similar vectors to texts of similar meaning.
        tokenizer, batch_size, max_length: see `predict`.
        texts: N texts.

    Returns:
        float32 (N, H) on the CPU, in the order of the texts, not normalized.

    Raises:
        ValueError: another kind of model, a tokenizer that does not fit it, a batch size below 1; an empty
            text or one that `encode` refuses; weights that give NaN or infinite numbers.
    """
    check_model(encoder, BertModel)
    check_fit(encoder.config, tokenizer)
    batch_size = check_count("batch_size", batch_size)
    limit = encoder.config.max_position_embeddings if max_length is None else max_length
    encodings = encode_texts(tokenizer, texts, limit)
    vectors = torch.zeros(len(encodings), encoder.config.hidden_size)
    batches = outputs(encoder, tokenizer, encodings, batch_size, lambda output: output.last_hidden_state)
    for rows, hidden in batches:  # hidden: (B, S, H)
        lengths = torch.tensor([len(encodings[row].input_ids) for row in rows])
        keep = torch.arange(hidden.shape[1]) < lengths[:, None]  # (B, S)
        vectors[rows] = mean_pooling(hidden, keep)
    return vectors


class Guess(NamedTuple):
    """One token that could replace a `[MASK]`."""

    token: str
    probability: float


@torch.no_grad()
def fill_mask(
    model: BertForMaskedLM | BertForPreTraining, tokenizer: SubwordTokenizer, text: str, k: int = 5
) -> list[list[Guess]]:
    """Return the most likely tokens for each `[MASK]` of a text.

    Args:
        model: a `BertForMaskedLM` or `BertForPreTraining`; dropout is off during the call.
        tokenizer: the model's own.
        text: with at least one [MASK].
        k: number of guesses for each [MASK].

    Returns:
        For each [MASK] the k most likely tokens, the most likely first. Some models have more ids than the
        tokenizer has tokens: such an id is never offered but, as in transformers, the probabilities of all
        ids sum to 1.

    Raises:
        ValueError: another kind of model, a tokenizer that does not fit it; no [MASK] in the text, or one
            that would be truncated; k not in 1 … V; weights that give NaN or infinite numbers.
    """
    check_model(model, BertForMaskedLM, BertForPreTraining)
    check_fit(model.config, tokenizer)
    k = check_count("k", k, most=tokenizer.vocab_size)
    encoding = _encode_with_masks(tokenizer, text, model.config.max_position_embeddings)
    masks = torch.tensor(encoding.input_ids) == tokenizer.mask_token_id
    batches = outputs(
        model, tokenizer, [encoding], 1, lambda output: probabilities(output.prediction_logits[0, masks])
    )
    ((_, probs),) = batches  # (masks, V of the model)
    best = probs[:, : tokenizer.vocab_size].topk(k)  # (masks, k)
    return [
        [Guess(tokenizer.ids_to_tokens[i], p) for i, p in zip(ids, likely, strict=True)]
        for ids, likely in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _encode_with_masks(tokenizer: SubwordTokenizer, text: str, max_length: int) -> Encoding:
    """Encode a text with one or more [MASK]; refuse one that has none, or loses some by truncation."""
    encoding = tokenizer.encode(text, max_length=max_length)
    mask = tokenizer.special_tokens.mask
    kept, count = encoding.tokens.count(mask), tokenizer.tokenize(text).count(mask)
    if not count:
        raise ValueError(f"no {mask} to fill in {text[:60]!r}; write for example 'the film was {mask}.'")
    if kept < count:
        raise ValueError(
            f"the text has {count} {mask}, but only {kept} within the {max_length} tokens that the model "
            "reads; shorten it"
        )
    return encoding


def check_fit(config: BertConfig, tokenizer: SubwordTokenizer, encodings: Sequence[Encoding] = ()) -> None:
    """Check that a model can read what a tokenizer returns, before any work is done.

    A model may have more embeddings than the tokenizer has tokens; the extra ones are then never read.

    Args:
        config: the model's.
        tokenizer: the one to use with it.
        encodings: made by it; none if there are none yet.

    Raises:
        ValueError: a tokenizer of another library; more tokens than the model has word embeddings; an
            encoding that is longer than the model has positions; pairs for a model without a second segment.
    """
    check_tokenizer(tokenizer)
    tokens = len(tokenizer.vocab)
    if tokens > config.vocab_size:
        raise ValueError(
            f"the tokenizer has {tokens} tokens, but the model has embeddings for "
            f"{config.vocab_size}; use the tokenizer that belongs to this model"
        )
    longest = max((len(encoding.input_ids) for encoding in encodings), default=0)
    if longest > config.max_position_embeddings:
        raise ValueError(
            f"a text has {longest} tokens, but the model has positions for {config.max_position_embeddings}; "
            f"truncate with max_length={config.max_position_embeddings}"
        )
    if config.type_vocab_size < 2 and any(1 in encoding.token_type_ids for encoding in encodings):
        raise ValueError(
            f"a text is a pair, but the model has type_vocab_size={config.type_vocab_size}, no embedding for "
            "the second text of a pair; use single texts"
        )


def check_tokenizer(tokenizer: Any, kind: type[SubwordTokenizer] = SubwordTokenizer) -> None:
    """Check that a tokenizer is one of this package.

    Args:
        tokenizer: the object to check.
        kind: the class that is needed.

    Raises:
        ValueError: it is another object, such as a tokenizer of another library.
    """
    if not isinstance(tokenizer, kind):
        name = "WordPieceTokenizer" if kind is SubwordTokenizer else kind.__name__
        raise ValueError(
            f"tokenizer is {type(tokenizer).__name__}, expected bertlearn's {name}; use "
            f"{name}.from_pretrained"
        )


def encode_texts(
    tokenizer: SubwordTokenizer, texts: Sequence[str] | Sequence[Pair], max_length: int
) -> list[Encoding]:
    """Encode texts or pairs, keeping only ids: tokens and offsets of many texts would fill the memory."""
    return [
        tokenizer.encode(first, second, max_length)._replace(tokens=[], offsets=[], ends={})
        for first, second in tqdm(split_pairs(texts), desc="encode", delay=PATIENCE, leave=False)
    ]


def outputs(
    model: PreTrainedModel,
    tokenizer: SubwordTokenizer,
    encodings: Sequence[Encoding],
    batch_size: int,
    read: Callable[[Any], Tensor],
) -> Iterator[tuple[list[int], Tensor]]:
    """Run a model over encodings, batch by batch, without dropout.

    Args:
        model, tokenizer, encodings: see `check_fit`.
        batch_size: encodings per batch.
        read: extracts the numbers that are needed from the model's output.

    Yields:
        The indices of the batch's encodings, and what `read` returned, as float32 on the CPU.

    Raises:
        ValueError: encodings that do not fit the model, a batch size below 1, or numbers that are not finite.
    """
    check_fit(model.config, tokenizer, encodings)
    batch_size = check_count("batch_size", batch_size)
    device = next(model.parameters()).device
    prepacking = prepacked_weights(model) if len(encodings) >= WORTH_PREPACKING else nullcontext()
    with evaluation_mode(model), prepacking:
        for rows in tqdm(buckets(encodings, batch_size), desc="predict", delay=PATIENCE, leave=False):
            batch = tokenizer.pad([encodings[row] for row in rows])
            output = model(**{name: value.to(device) for name, value in batch._asdict().items()})
            yield rows, check_finite(read(output).float().cpu())


def probabilities(logits: Tensor) -> Tensor:
    """Return the probabilities that logits (..., C) stand for, float32 (..., C)."""
    return logits.float().softmax(-1)


def split_pairs(texts: Sequence[Any]) -> list[tuple[str, str | None]]:
    """Return each text with its second text, None if it has none; refuse texts mixed with pairs."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
        several = isinstance(texts, Iterable) and not isinstance(texts, str | bytes)
        remedy = "use list(texts)" if several else "put a single text into a list"
        raise ValueError(f"texts is {type(texts).__name__}, expected a list; {remedy}")
    if not texts:
        return []
    firsts, seconds = _columns(texts) if isinstance(texts[0], tuple | list) else (texts, None)
    return list(zip(firsts, check_texts(firsts, seconds), strict=True))


def _columns(pairs: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Return the first texts and the second texts of pairs."""
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            like = " like texts[0]" if number else ""
            raise ValueError(f"texts[{number}] is {repr(pair)[:60]}, expected a pair (A, B){like}")
    return [first for first, _ in pairs], [second for _, second in pairs]


def buckets(encodings: Sequence[Encoding], batch_size: int) -> list[list[int]]:
    """Return the row numbers of the encodings in batches of similar length, the longest first."""
    order = sorted(range(len(encodings)), key=lambda row: len(encodings[row].input_ids), reverse=True)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Turn dropout off inside the block; afterwards each module is in the mode it was in.

    Several threads may be in such blocks with one model: the last one to leave restores the modes.
    """
    with _LOCK:
        uses = [(module, _join(module)) for module in model.modules()]
    try:
        yield
    finally:
        with _LOCK:
            for module, use in uses:
                _leave(module, use)


@dataclass
class _Use:
    """The blocks of `evaluation_mode` that a module is in at the same time."""

    training: bool  # the mode before them
    blocks: int = 0


_LOCK = threading.RLock()
_USES: dict[nn.Module, _Use] = {}


def _join(module: nn.Module) -> _Use:
    """Switch to evaluation mode; if training was switched on since, earlier blocks no longer count."""
    if module.training or module not in _USES:
        _USES[module] = _Use(module.training)
    if module.training:
        module.training = False
    _USES[module].blocks += 1
    return _USES[module]


def _leave(module: nn.Module, use: _Use) -> None:
    """Count one block less, and restore the mode after the last one."""
    use.blocks -= 1
    if use.blocks == 0 and _USES.get(module) is use:
        del _USES[module]
        if module.training != use.training:
            module.training = use.training


# What callers may get wrong


def check_model(model: Any, *kinds: type[nn.Module]) -> None:
    """Refuse a model of another kind, or one that cannot be run, before any work is done.

    Raises:
        ValueError: not a model of one of these classes; weights on the meta device, of several types, or on
            several devices.
    """
    plain = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    if not isinstance(plain, kinds):
        names = " or ".join(map(_full_name, kinds))
        remedy = f"load one with {kinds[0].__name__}.from_pretrained(folder)"
        if isinstance(plain, BertModel) and hasattr(kinds[0], "from_encoder"):
            remedy = f"put a head on it with {kinds[0].__name__}.from_encoder, and train it"
        if isinstance(getattr(plain, "bert", None), kinds):
            remedy = "use its .bert"
        raise ValueError(f"model is {_full_name(type(plain))}, expected {names}; {remedy}")
    places = {(parameter.dtype, parameter.device) for parameter in plain.parameters()}
    if any(device.type == "meta" for _, device in places):
        raise ValueError(
            "the model is on the meta device, so it has no weights; load it with from_pretrained"
        )
    if len(places) > 1:
        listed = " and ".join(sorted(f"{dtype} on {device}" for dtype, device in places))
        raise ValueError(
            f"the model's weights are {listed}, expected one type on one device; convert all of it, for "
            "example with model.float().cpu()"
        )


def _full_name(kind: type) -> str:
    """Return a class's name with its package, because several libraries have a BertModel."""
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package == "builtins" else f"{package}.{kind.__name__}"


def check_finite(numbers: Tensor) -> Tensor:
    """Return what a model computed; refuse NaN and infinity, which would pass for a result.

    Raises:
        ValueError: a number is not finite.
    """
    finite = numbers.isfinite()
    if not finite.all():
        raise ValueError(
            f"the model returns {int((~finite).sum())} NaN or infinite numbers among {numbers.numel()}; use "
            "weights from before its training diverged, or model.float() if it is in half precision"
        )
    return numbers
