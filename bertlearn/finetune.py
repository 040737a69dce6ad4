"""A fine-tuning run: labeled texts, model and training loop put together (chapters 5 and 6).

Texts of about the same length share a batch, so that little is padded. At each look at the validation set the
weights are kept if they are the best so far, and these are the ones that come back.
Source: Devlin et al. 2019, §4 and appendix A.3; a learning rate for each layer: Howard & Ruder 2018, §3.2.
Leaves out: checkpoints and resume, since a run takes minutes; several processes.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from bertlearn.finetuning import (
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    Pair,
    buckets,
    encode_texts,
    outputs,
)
from bertlearn.history import Record, Watch
from bertlearn.options import FinetuneOptions
from bertlearn.pretraining import IGNORE, Score, score_logits
from bertlearn.spans import NO_ANSWER, Span, answer_positions, token_labels
from bertlearn.tokenization import Encoding, WordPieceTokenizer
from bertlearn.training import Run, Task, measure
from bertlearn.training import train as run_training

FinetuningModel = BertForSequenceClassification | BertForTokenClassification | BertForQuestionAnswering
WINDOW = 50  # batches among whose examples those of the same length are put together
EVALUATION_BATCH = 64
DEFAULTS = FinetuneOptions()


class FinetuningBatch(NamedTuple):
    """Texts and what is to be said of them, by the names of `forward`; parts of other tasks are None."""

    input_ids: Tensor  # int64 (B, S)
    attention_mask: Tensor  # int64 (B, S), 1 = keep
    token_type_ids: Tensor  # int64 (B, S)
    labels: Tensor | None = None  # int64 (B,), one a text; or (B, S), one a token; −100 does not count
    start_positions: Tensor | None = None  # int64 (B,), the answer's first token
    end_positions: Tensor | None = None  # int64 (B,), its last


@dataclass(frozen=True)
class Features:
    """N labeled texts, in pieces.

    `targets` has, under the names of `forward`, a list of N: "labels", for each text a number or a list with
    one a token; or "start_positions" and "end_positions".
    """

    tokenizer: WordPieceTokenizer
    encodings: list[Encoding]
    targets: Mapping[str, list[Any]]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.encodings)

    def batch(self, rows: Sequence[int]) -> FinetuningBatch:
        """Return some of the texts as tensors, padded to the longest of them."""
        padded = self.tokenizer.pad([self.encodings[row] for row in rows])
        targets = {name: _stack([values[row] for row in rows]) for name, values in self.targets.items()}
        return FinetuningBatch(*padded, **targets)


class Finetuned(NamedTuple):
    """What `finetune` gives back."""

    model: Any  # the one that was given, with the weights of the best look, in evaluation mode, on the CPU
    run: Run
    step: int  # of the best look
    scores: Record  # at the best look: "valid_label_loss" (nats), "valid_label_accuracy", …


class Several(NamedTuple):
    """What `finetune_seeds` gives back."""

    results: list[Finetuned]  # one a seed
    mean: Record  # of their scores
    std: Record  # with N − 1


# 1. From texts to features


def text_features(
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str] | Sequence[Pair],
    labels: Sequence[int],
    max_length: int,
) -> Features:
    """Make texts, or pairs, ready for `BertForSequenceClassification`.

    Args:
        tokenizer: the model's own.
        texts: N texts, or N pairs of texts.
        labels: N numbers of labels, from 0.
        max_length: tokens at most, longer texts are cut.

    Raises:
        ValueError: not a label a text, texts mixed with pairs, or what `encode` refuses.
    """
    _check_counts(texts=texts, labels=labels)
    encodings = encode_texts(tokenizer, texts, max_length)
    return Features(tokenizer, encodings, {"labels": [int(label) for label in labels]})


def token_features(
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    spans: Sequence[Sequence[Span]],
    label2id: dict[str, int],
    max_length: int,
) -> Features:
    """Make texts with marked spans ready for `BertForTokenClassification`.

    Args:
        tokenizer: the model's own.
        texts: N texts.
        spans: the spans of each text.
        label2id: the number of each BIO label: `model.config.label2id`.
        max_length: tokens at most, longer texts are cut.

    Raises:
        ValueError: not a list of spans a text, or what `encode` and `token_labels` refuse.
    """
    _check_counts(texts=texts, spans=spans)
    encodings = [tokenizer.encode(text, max_length=max_length) for text in texts]
    labels = [token_labels(encoding, own, label2id) for encoding, own in zip(encodings, spans, strict=True)]
    return Features(tokenizer, encodings, {"labels": labels})


def answer_features(
    tokenizer: WordPieceTokenizer,
    questions: Sequence[str],
    contexts: Sequence[str],
    answers: Sequence[tuple[int, int] | None],
    max_length: int,
) -> Features:
    """Make questions and texts with their answers ready for `BertForQuestionAnswering`.

    Args:
        tokenizer: the model's own.
        questions, contexts: N each.
        answers: for each the answer's first character in the context and one after its last; None where
            there is none. An answer that is cut off counts as none.
        max_length: tokens at most, the longer of the two is cut.

    Raises:
        ValueError: lists of different lengths, or what `encode` and `answer_positions` refuse.
    """
    _check_counts(questions=questions, contexts=contexts, answers=answers)
    rows = list(zip(questions, contexts, answers, strict=True))
    encodings = [tokenizer.encode(question, context, max_length) for question, context, _ in rows]
    spans = [
        NO_ANSWER if answer is None else answer_positions(tokenizer, encoding, context, *answer)
        for encoding, (_, context, answer) in zip(encodings, rows, strict=True)
    ]
    targets = {
        "start_positions": [span.first for span in spans],
        "end_positions": [span.last for span in spans],
    }
    return Features(tokenizer, encodings, targets)


@torch.no_grad()
def predict_logits(
    model: FinetuningModel, features: Features, batch_size: int = EVALUATION_BATCH
) -> list[Tensor]:
    """Return what a model says of each text, padding cut away, in the order of the texts.

    Returns:
        N float32 tensors on the CPU: (C,) of a `BertForSequenceClassification`; (S, C) of a
        `BertForTokenClassification`; (S, 2), start and end, of a `BertForQuestionAnswering`.
    """
    found: dict[int, Tensor] = {}
    for rows, output in outputs(model, features.tokenizer, features.encodings, batch_size):
        ends = isinstance(model, BertForQuestionAnswering)
        logits = torch.stack([output.start_logits, output.end_logits], -1) if ends else output.logits
        for row, own in zip(rows, logits.float().cpu(), strict=True):
            length = len(features.encodings[row].input_ids)
            found[row] = own[:length].clone() if own.dim() == 2 else own.clone()
    return [found[row] for row in range(len(features))]


# 2. The run


def finetune(
    model: FinetuningModel,
    train: Features,
    validation: Features,
    options: FinetuneOptions = DEFAULTS,
    score: Callable[[Any], float] | None = None,
    device: torch.device | str | None = None,
    watch: Watch | None = None,
) -> Finetuned:
    """Train a model with a new head, and return it as it was at its best look at the validation set.

    Args:
        model: such as `from_encoder` gives; it is trained in place.
        train, validation: texts to learn from, and to choose the best look by.
        options: how.
        score: what to choose by, the higher the better, such as an F1; called with the model, its value is
            recorded as "valid_score". The accuracy if not given: of the labels, or of whole answers.
        device: the GPU if there is one, else the CPU.
        watch: such as a `TrainingMonitor`; see `train`.

    Returns:
        Of equally good looks the first. A Ctrl-C ends the run after the step in progress, see `train`; what
        comes back then is the best so far, or, before the first look, the model as it is.

    Raises:
        ValueError: no examples, features of another task than the model's, too many trainable layers.
        TrainingError: see `train`.
    """
    for name, features in (("train", train), ("validation", validation)):
        _check_features(name, features, model)
    best = _BestLook(model, validation, score)
    task = finetuning_task(model, train, options, best.look)
    with frozen(model, options.trainable_layers):
        run = run_training(model, task, options.training(len(train)), device=device, watch=watch)
    model.cpu()
    if best.state:
        model.load_state_dict(best.state)
    looks = [record for record in run.history if best.name in record]
    step = int(max(looks, key=lambda record: record[best.name])["step"]) if looks else run.step
    return Finetuned(model, run, step, best.scores)


def finetune_seeds(
    new_model: Callable[[int], FinetuningModel],
    train: Features,
    validation: Features,
    options: FinetuneOptions = DEFAULTS,
    seeds: Sequence[int] = (0, 1, 2),
    score: Callable[[Any], float] | None = None,
    device: torch.device | str | None = None,
) -> Several:
    """Fine-tune once for each seed: one run says little, its seed alone may move it by a point or two.

    Args:
        new_model: gives the model of a seed, whose head is drawn by it.
        train, validation, score, device: see `finetune`.
        options: how; its seed is replaced.
        seeds: two or more.

    Raises:
        ValueError: fewer than two seeds, or what `finetune` refuses.
        KeyboardInterrupt: one run was stopped; those after it are not begun.
    """
    if len(seeds) < 2:
        raise ValueError(f"seeds={list(seeds)} give no standard deviation; use two or more, or `finetune`")
    results: list[Finetuned] = []
    for seed in seeds:
        own = changed(options, seed=seed)
        results.append(finetune(new_model(seed), train, validation, own, score, device))
        if not results[-1].run.finished:
            raise KeyboardInterrupt
    scores = [result.scores for result in results]
    return Several(
        results,
        {name: statistics.mean(record[name] for record in scores) for name in scores[0]},
        {name: statistics.stdev(record[name] for record in scores) for name in scores[0]},
    )


def finetuning_task(
    model: FinetuningModel,
    features: Features,
    options: FinetuneOptions,
    evaluate: Callable[[nn.Module], Record] | None = None,
) -> Task:
    """Return batches of labeled texts and what to count on them, for `train`."""
    rows = endless_rows([len(row.input_ids) for row in features.encodings], options.batch_size, options.seed)
    identity = {"examples": len(features), "layer_decay": options.layer_decay}
    return Task(
        lambda first, count: features.batch(rows(first, count)),
        count_targets,
        score_batch,
        evaluate,
        identity | {"trainable_layers": options.trainable_layers},
        layer_rates(model, options.layer_decay),
    )


class _BestLook:
    """Measures the model, and keeps a copy of its weights as they were when they were best."""

    def __init__(
        self, model: FinetuningModel, validation: Features, score: Callable[[Any], float] | None
    ) -> None:
        self.batches = [validation.batch(rows) for rows in buckets(validation.encodings, EVALUATION_BATCH)]
        self.score = score
        objective = "answer" if isinstance(model, BertForQuestionAnswering) else "label"
        self.name = "valid_score" if score else f"valid_{objective}_accuracy"
        self.scores: Record = {}
        self.state: dict[str, Tensor] = {}

    def look(self, model: nn.Module) -> Record:
        """Return loss, accuracy and, if there is one, the score."""
        found = measure(model, self.batches, count_targets, score_batch)
        if self.score is not None:
            found["valid_score"] = float(self.score(model))
        if not self.state or found[self.name] > self.scores[self.name]:
            self.scores = found
            self.state = {name: x.detach().to("cpu", copy=True) for name, x in model.state_dict().items()}
        return found


def count_targets(batch: FinetuningBatch) -> dict[str, int]:
    """Count what is to be said: labels that are not −100 ("label"), or answers ("answer")."""
    if batch.labels is None:
        return {"answer": len(batch.input_ids)}
    return {"label": int((batch.labels != IGNORE).sum())}


def score_batch(model: nn.Module, batch: FinetuningBatch) -> dict[str, Score]:
    """Run the model on a batch; return loss and hits as sums, under the names of `count_targets`.

    An answer's loss is the mean of its start's and its end's, and it is right if both are.
    """
    output = model(**{name: value for name, value in batch._asdict().items() if value is not None})
    if batch.labels is not None:
        return {"label": score_logits(output.logits.flatten(0, -2), batch.labels.flatten())}
    assert batch.start_positions is not None and batch.end_positions is not None
    start = score_logits(output.start_logits, batch.start_positions)
    end = score_logits(output.end_logits, batch.end_positions)
    right = (output.start_logits.argmax(-1) == batch.start_positions) & (
        output.end_logits.argmax(-1) == batch.end_positions
    )
    return {"answer": Score((start.loss + end.loss) / 2, right.sum())}


# 3. The order of the examples


def endless_rows(lengths: Sequence[int], batch_size: int, seed: int) -> Callable[[int, int], list[int]]:
    """Return a function that gives the rows numbered `first` to `first + count − 1` of an endless sequence.

    Each N of them, an epoch, hold every row once; see `epoch_order`.
    """
    size = len(lengths)

    @lru_cache(maxsize=2)
    def epoch(number: int) -> list[int]:
        return epoch_order(np.asarray(lengths), batch_size, seed, number).tolist()

    return lambda first, count: [epoch(place // size)[place % size] for place in range(first, first + count)]


def epoch_order(lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return every row once, shuffled, but so that rows of about the same length meet in a batch.

    Among the examples of 50 batches, drawn by chance, those of about the same length are put together; then
    the batches are shuffled. The first few rows complete the batch in which the epoch before ended.

    Args:
        lengths: (N,), tokens.
        batch_size: rows a batch.
        seed, epoch: the same two always give the same order.
    """
    chance = np.random.default_rng([seed, epoch])
    order = chance.permutation(len(lengths))
    first = min(-epoch * len(lengths) % batch_size, len(lengths))
    last = len(lengths) - (len(lengths) - first) % batch_size
    for begin in range(first, last, WINDOW * batch_size):
        window = order[begin : min(begin + WINDOW * batch_size, last)]  # a view
        window[:] = window[np.argsort(lengths[window], kind="stable")]
    chance.shuffle(order[first:last].reshape(-1, batch_size))  # a view, too
    return order


# 4. Layers: their learning rates, and which of them are trained


def layer_rates(model: FinetuningModel, decay: float) -> dict[str, float]:
    """Return by what the learning rate of each parameter is multiplied: decay ^ (layers above it).

    The head, a pooler and the top layer have 1, the embeddings decay ^ L.
    """
    if decay == 1.0:
        return {}
    layers = model.config.num_hidden_layers
    return {name: decay ** max(0, layers - height(name, layers)) for name, _ in model.named_parameters()}


@contextmanager
def frozen(model: FinetuningModel, trainable_layers: int | None) -> Iterator[None]:
    """Train only the head, a pooler and the top layers for a while; None trains all.

    Raises:
        ValueError: more layers than the model has.
    """
    layers = model.config.num_hidden_layers
    if trainable_layers is not None and trainable_layers > layers:
        raise ValueError(
            f"trainable_layers={trainable_layers}, but the model has {layers}; use 0 to {layers}, or None "
            "for all and the embeddings"
        )
    below = -1 if trainable_layers is None else layers - trainable_layers
    held = [p for name, p in model.named_parameters() if p.requires_grad and height(name, layers) <= below]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def height(name: str, layers: int) -> int:
    """Return where a parameter is: 0 in the embeddings, 1 to L in the layers, L + 1 in head and pooler."""
    if name.startswith("bert.embeddings."):
        return 0
    layer = re.match(r"bert\.encoder\.layer\.(\d+)\.", name)
    return int(layer[1]) + 1 if layer else layers + 1


def _stack(values: list[Any]) -> Tensor:
    """Return numbers as (B,), lists of numbers as (B, S), padded with what does not count."""
    if not isinstance(values[0], list):
        return torch.tensor(values)
    return pad_sequence([torch.tensor(own) for own in values], batch_first=True, padding_value=IGNORE)


# What callers may get wrong


def _check_counts(**columns: Sequence[Any]) -> None:
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"{found}; give as many of each, at least one")


def _check_features(name: str, features: Features, model: FinetuningModel) -> None:
    if not isinstance(features, Features):
        raise ValueError(
            f"{name} is {type(features).__name__}, expected Features; use text_features, token_features or "
            "answer_features"
        )
    answers = "start_positions" in features.targets
    if answers != isinstance(model, BertForQuestionAnswering):
        raise ValueError(
            f"{name} has {', '.join(features.targets)}, which are not for {type(model).__name__}"
        )
