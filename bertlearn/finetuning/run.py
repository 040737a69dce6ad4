"""A fine-tuning run: combines labeled texts, a model and the training loop (chapters 5 and 6).

Texts of similar length share a batch, so that there is little padding. Each evaluation keeps a copy of the
weights if they are the best so far, and the run returns the model with the best weights.
Source: Devlin et al. 2019, §4 and appendix A.3; a learning rate for each layer: Howard & Ruder 2018, §3.2.
Leaves out: several processes.
"""

from __future__ import annotations

import hashlib
import math
import re
import statistics
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bertlearn.arguments import check_device, check_function, check_kind, check_path
from bertlearn.files import check_output
from bertlearn.finetuning.checks import (
    TARGETS,
    FinetuningModel,
    check_features,
    check_same_tokenizer,
    check_type,
)
from bertlearn.finetuning.features import Features, FinetuningBatch, endless_rows
from bertlearn.finetuning.options import FinetuneOptions
from bertlearn.model.heads import IGNORE, BertForQuestionAnswering, QuestionAnsweringOutput
from bertlearn.model.inference import buckets, check_model, outputs
from bertlearn.training import metrics
from bertlearn.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    find_checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from bertlearn.training.loop import train as run_training
from bertlearn.training.metrics import Callback, Record, Score, score_logits
from bertlearn.training.optim import check_trainable
from bertlearn.training.task import Run, Task

KINDS = tuple(TARGETS)
EVALUATION_BATCH = 64
BEST = "best"  # folder of the best weights in the folder of checkpoints
DEFAULTS = FinetuneOptions()


class Finetuned(NamedTuple):
    """The result of `finetune`."""

    model: Any  # the model given, with the weights of the best evaluation, in evaluation mode, on the CPU
    run: Run
    step: int  # of the best evaluation
    scores: Record  # of the best evaluation: "valid_label_loss" (nats), "valid_label_accuracy", …


class Several(NamedTuple):
    """The result of `finetune_seeds`."""

    results: list[Finetuned]  # one per seed
    mean: Record  # of the scores over the seeds
    std: Record  # standard deviation over the seeds, with N − 1


@torch.no_grad()
def predict_logits(
    model: FinetuningModel, features: Features, batch_size: int = EVALUATION_BATCH
) -> list[Tensor]:
    """Return the logits of each text, without padding, in the order of the texts.

    Returns:
        N float32 tensors on the CPU: (C,) from a `BertForSequenceClassification`; (S, C) from a
        `BertForTokenClassification`; (S, 2), start and end, from a `BertForQuestionAnswering`.

    Raises:
        ValueError: another kind of model, something other than features, or features with ids or lengths that
            the model lacks; a batch size below 1; weights that give NaN or infinite numbers.
    """
    check_model(model, *KINDS)
    check_type("features", features)
    by_row: dict[int, Tensor] = {}
    for rows, logits in outputs(model, features.tokenizer, features.encodings, batch_size, _logits):
        for row, text_logits in zip(rows, logits, strict=True):
            length = len(features.encodings[row].input_ids)
            by_row[row] = text_logits[:length].clone() if text_logits.dim() == 2 else text_logits.clone()
    return [by_row[row] for row in range(len(features))]


def _logits(output: Any) -> Tensor:
    """Return the logits (B, C) or (B, S, C) of one of the three models; of an answer, C is start and end."""
    if isinstance(output, QuestionAnsweringOutput):
        return torch.stack([output.start_logits, output.end_logits], -1)
    return output.logits


# 1. The run


def finetune(
    model: FinetuningModel,
    train: Features,
    validation: Features,
    options: FinetuneOptions = DEFAULTS,
    score: Callable[[Any], float] | None = None,
    device: torch.device | str | None = None,
    callback: Callback | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
) -> Finetuned:
    """Train a model with a new head, and return it with the weights of its best evaluation.

    Args:
        model: as returned by `from_encoder`, for example; it is trained in place.
        train, validation: examples to train on, and examples to choose the best evaluation by.
        options: how to train.
        score: a function of the model by which to choose the best evaluation, such as F1, where higher is
            better; its value is recorded as "valid_score". By default the accuracy decides: of the labels, or
            of whole answers. A run is resumed with a function of the same name.
        device: the GPU if there is one, else the CPU.
        callback: called with the progress of each step; it can request a stop, see `train`.
        folder: for a checkpoint at each evaluation and when the run is stopped; None keeps nothing.
        resume: continue from the newest checkpoint in the folder; start from step 0 if it has none.

    Returns:
        The model and its best evaluation, the first one if several are equally good. Ctrl-C ends the run
        after the step in progress, see `train`; the result is then the best so far or, before the first
        evaluation, the model as it is.

    Raises:
        ValueError: another kind of model, or one that cannot be trained, see `check_trainable`; no examples
            or no labels, features for a task other than the model's, with ids or labels that it lacks, or
            made by two tokenizers; too many trainable layers; a folder that cannot be written to; an argument
            of another type; a score that is not a number, at the first evaluation, after which there is a
            checkpoint.
        TrainingError, CheckpointError, FileExistsError: see `train`.
    """
    check_device(device)
    _check_choices(options, score, folder)
    model = getattr(model, "_orig_mod", model)  # torch.compile's wrapper, which renames the parameters
    _check_sets(model, train, validation)
    folder = None if folder is None else Path(folder).expanduser()
    if folder is not None:
        check_output(folder)
    best = _BestWeights(model, validation, score, folder)
    task = finetuning_task(model, train, options, best.evaluate)
    identity = task.identity | {"validation": fingerprint(validation), "score": _name_of(score)}
    task = replace(task, identity=identity, started=best.start, evaluated=best.keep)
    with frozen(model, options.trainable_layers):
        run = run_training(
            model, task, options.training(len(train)), folder, resume, device, callback=callback
        )
    return best.finetuned(model, run)


def _name_of(score: Callable[[Any], float] | None) -> str | None:
    """Return the name of a score function, or of the class if it is another callable object."""
    return None if score is None else getattr(score, "__name__", type(score).__name__)


def finetune_seeds(
    new_model: Callable[[int], FinetuningModel],
    train: Features,
    validation: Features,
    options: FinetuneOptions = DEFAULTS,
    seeds: Sequence[int] = (0, 1, 2),
    score: Callable[[Any], float] | None = None,
    device: torch.device | str | None = None,
) -> Several:
    """Fine-tune once per seed, because the seed alone can change a score by a point or two.

    Args:
        new_model: returns a new model whose head is initialized with the given seed. All models are made
            before the first is trained.
        train, validation, score, device: see `finetune`.
        options: how to train; the seed in it is replaced.
        seeds: two or more, all different.

    Raises:
        ValueError: fewer than two seeds or a repeated one; `new_model` is not a function, or its models share
            weights; arguments that `finetune` rejects.
        KeyboardInterrupt: a run was stopped; the runs after it are not started.
    """
    if not isinstance(seeds, Iterable):
        raise ValueError(f"seeds={seeds!r} is {type(seeds).__name__}, expected a list, such as [0, 1, 2]")
    seeds = list(seeds)
    if len(set(seeds)) < max(2, len(seeds)):
        raise ValueError(
            f"seeds={seeds} give no standard deviation; use two or more, all different, or `finetune`"
        )
    check_kind("options", options, FinetuneOptions)
    each_options = [replace(options, seed=seed) for seed in seeds]
    models = _new_models(new_model, seeds)
    results: list[Finetuned] = []
    for model, seed_options in zip(models, each_options, strict=True):
        results.append(finetune(model, train, validation, seed_options, score, device))
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
    """Return the task for `train`: batches of labeled texts, and the scores to compute on them."""
    rows = endless_rows([len(row.input_ids) for row in features.encodings], options.batch_size, options.seed)
    identity = {
        **model.config.to_dict(),
        "architectures": [type(model).__name__],
        "examples": len(features),
        "data": fingerprint(features),
        "layer_decay": options.layer_decay,
        "trainable_layers": options.trainable_layers,
    }
    return Task(
        lambda first, count: features.batch(rows(first, count)),
        finetuning_targets,
        finetuning_scores,
        evaluate,
        identity,
        layer_multipliers(model, options.layer_decay),
    )


def fingerprint(features: Features) -> str:
    """Return a short hash of the tokens and targets."""
    digest = hashlib.sha256()
    for encoding, *targets in zip(features.encodings, *features.targets.values(), strict=True):
        digest.update(repr((encoding.input_ids, encoding.token_type_ids, targets)).encode())
    return digest.hexdigest()[:16]


class _BestWeights:
    """Evaluates the model, and keeps its best weights so far, in memory and in the folder if there is one."""

    def __init__(
        self,
        model: FinetuningModel,
        validation: Features,
        score: Callable[[Any], float] | None,
        folder: Path | None = None,
    ) -> None:
        self.folder = None if folder is None else folder / BEST
        self.batches = [validation.batch(rows) for rows in buckets(validation.encodings, EVALUATION_BATCH)]
        self.score = score
        objective = "answer" if isinstance(model, BertForQuestionAnswering) else "label"
        self.name = "valid_score" if score else f"valid_{objective}_accuracy"
        self.step = 0
        self.scores: Record = {}
        self.state: dict[str, Tensor] = {}

    def start(self, history: list[Record]) -> None:
        """Read what an earlier part of the run wrote, and warn if its best weights are lost."""
        evaluations = [record for record in history if self.name in record]
        stored = [] if self.folder is None else find_checkpoints(self.folder)
        if not evaluations:
            for path in stored:  # of another run
                path.unlink()
            return
        reason = self._restore(stored[0]) if stored else "there are none"
        best = max(evaluations, key=lambda record: record[self.name])
        if self.scores.get(self.name, -math.inf) < best[self.name]:
            warnings.warn(
                f"{self.folder} lacks the weights of the best evaluation so far, at step {best['step']:.0f} "
                f"with {self.name} {best[self.name]:.3f} ({reason}); the run goes on without them",
                stacklevel=2,
            )

    def _restore(self, path: Path) -> str:
        """Read the best weights on disk; return what they are, or why they cannot be used."""
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError as error:
            return str(error)
        if "scores" not in checkpoint.metadata:
            return f"{path.name} is a checkpoint to resume from"
        self.step, self.state = checkpoint.step, checkpoint.tensors
        self.scores = checkpoint.metadata["scores"]
        return f"there are those of step {self.step}"

    def evaluate(self, model: nn.Module) -> Record:
        """Return loss, accuracy and, if there is a score function, the score."""
        record = metrics.evaluate(model, self.batches, finetuning_targets, finetuning_scores)
        if self.score is not None:
            record["valid_score"] = _as_score(self.score(model))
        return record

    def keep(self, model: nn.Module, record: Record) -> None:
        """Keep the weights if their record, with its step, is better than all before."""
        if self.state and record[self.name] <= self.scores[self.name]:
            return
        self.step = int(record["step"])
        self.scores = {name: value for name, value in record.items() if name.startswith("valid_")}
        self.state = {name: x.detach().to("cpu", copy=True) for name, x in model.state_dict().items()}
        self._save()

    def _save(self) -> None:
        """Write the best weights; a full disk costs these, not the run."""
        if self.folder is None:
            return
        try:
            write_checkpoint(self.folder, Checkpoint(self.step, self.state, {"scores": self.scores}), 1)
        except OSError as error:
            warnings.warn(f"the best weights are not kept on disk ({error}); training goes on", stacklevel=2)

    def finetuned(self, model: FinetuningModel, run: Run) -> Finetuned:
        """Give the model its best weights, if it was evaluated at all."""
        model.cpu()
        if not self.state and any(self.name in record for record in run.history):  # the weights are lost
            with torch.no_grad():
                self.keep(model, {"step": run.step} | self.evaluate(model))
        if self.state:
            model.load_state_dict(self.state)
        return Finetuned(model, run, self.step if self.state else run.step, self.scores)


def _as_score(value: Any) -> float:
    """Return what a score function returned; refuse anything that cannot be compared."""
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several numbers
        number = math.nan
    if math.isnan(number):
        raise ValueError(
            f"the score function returned {repr(value)[:60]}, expected a number, the higher the better; "
            "correct it, and continue a run that has a folder with resume=True"
        )
    return number


def finetuning_targets(batch: FinetuningBatch) -> dict[str, int]:
    """Count the targets: labels that are not −100 ("label"), or answers ("answer")."""
    if batch.labels is None:
        return {"answer": len(batch.input_ids)}
    return {"label": int((batch.labels != IGNORE).sum())}


def finetuning_scores(model: nn.Module, batch: FinetuningBatch) -> dict[str, Score]:
    """Run the model on a batch; return summed loss and number correct, named as in `finetuning_targets`.

    The loss of an answer is the mean of the losses of its start and its end; it is correct if both are.
    """
    output = model(**{name: value for name, value in batch._asdict().items() if value is not None})
    if batch.labels is not None:
        return {"label": score_logits(output.logits.flatten(0, -2), batch.labels.flatten())}
    assert batch.start_positions is not None and batch.end_positions is not None
    start = score_logits(output.start_logits, batch.start_positions)
    end = score_logits(output.end_logits, batch.end_positions)
    correct = (output.start_logits.argmax(-1) == batch.start_positions) & (
        output.end_logits.argmax(-1) == batch.end_positions
    )
    return {"answer": Score((start.loss + end.loss) / 2, correct.sum())}


# 2. Layers: learning-rate multipliers and freezing


def layer_multipliers(model: FinetuningModel, decay: float) -> dict[str, float]:
    """Return the learning-rate multiplier of each parameter: decay ^ (number of layers above it).

    The head, a pooler and the top layer have 1, the embeddings decay ^ L.
    """
    if decay == 1.0:
        return {}
    layers = model.config.num_hidden_layers
    return {name: decay ** max(0, layers - height(name, layers)) for name, _ in model.named_parameters()}


def check_layers(model: FinetuningModel, trainable_layers: int | None) -> None:
    """Refuse to train more layers than the model has.

    Raises:
        ValueError: there are more.
    """
    layers = model.config.num_hidden_layers
    if trainable_layers is not None and trainable_layers > layers:
        raise ValueError(
            f"trainable_layers={trainable_layers}, but the model has {layers}; use 0 to {layers}, or None "
            "for all layers and the embeddings"
        )


@contextmanager
def frozen(model: FinetuningModel, trainable_layers: int | None) -> Iterator[None]:
    """Freeze all but the head, a pooler and the top layers inside the block; None freezes nothing.

    Raises:
        ValueError: more layers than the model has.
    """
    check_layers(model, trainable_layers)
    layers = model.config.num_hidden_layers
    below = -1 if trainable_layers is None else layers - trainable_layers
    to_freeze = [
        p for name, p in model.named_parameters() if p.requires_grad and height(name, layers) <= below
    ]
    for parameter in to_freeze:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in to_freeze:
            parameter.requires_grad_(True)


def height(name: str, layers: int) -> int:
    """Return a parameter's height: 0 in the embeddings, 1 to L in the layers, L + 1 in head and pooler."""
    if name.startswith("bert.embeddings."):
        return 0
    layer = re.match(r"bert\.encoder\.layer\.(\d+)\.", name)
    return int(layer[1]) + 1 if layer else layers + 1


# What callers may get wrong


def _check_choices(
    options: FinetuneOptions, score: Callable[[Any], float] | None, folder: str | Path | None
) -> None:
    check_kind("options", options, FinetuneOptions)
    check_path("folder", folder, optional=True)
    if score is not None:
        check_function("score", score, "the model")


def _check_sets(model: FinetuningModel, train: Features, validation: Features) -> None:
    """Refuse a model that cannot be trained, and features that it cannot learn from."""
    check_model(model, *KINDS)
    check_trainable(model)
    for name, features in (("train", train), ("validation", validation)):
        check_features(name, features, model)
    check_same_tokenizer(train, validation)


def _new_models(new_model: Callable[[int], FinetuningModel], seeds: list[int]) -> list[FinetuningModel]:
    """Return a model for each seed; refuse models that share weights, which would all be trained on."""
    if isinstance(new_model, nn.Module):
        raise ValueError(
            f"new_model is {type(new_model).__name__}, expected a function that returns a model for a seed"
        )
    check_function("new_model", new_model, "a seed")
    models: list[FinetuningModel] = []
    owners: dict[int, int] = {}  # from an address in memory to the seed whose model has its weights there
    for seed in seeds:
        models.append(new_model(seed))
        check_model(models[-1], *KINDS)
        for name, parameter in models[-1].named_parameters():
            owner = owners.setdefault(parameter.data_ptr(), seed)
            if owner != seed:
                raise ValueError(
                    f"new_model returns models that share {name} for the seeds {owner} and {seed}, but each "
                    "run needs a model of its own; make or load it inside the function"
                )
    return models
