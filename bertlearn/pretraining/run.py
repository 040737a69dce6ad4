"""Pretraining: connects shards, model and training loop (chapter 4, and `bertlearn pretrain`).

The defaults are the recipe of chapter 4, which leaves the plateau of the loss within minutes on two cores;
`benchmarks/pretraining_ablation.py` measures the effect of each of its choices.
Source: Devlin et al. 2019, §3.1; short sequences before long ones: appendix A.2.
Leaves out: what only a larger corpus would need, such as dynamic mixing of sources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from bertlearn.arguments import check_device, check_kind, check_path
from bertlearn.files import check_output, find_folder, save_or_rescue
from bertlearn.model.electra import WEIGHT, ElectraForPreTraining
from bertlearn.model.heads import IGNORE, targets
from bertlearn.pretraining.corpus import Examples, Shards
from bertlearn.pretraining.corpus.store import META
from bertlearn.pretraining.masking import PretrainingBatch, chunk, masked_batch
from bertlearn.pretraining.models import PretrainingModel, grown_model, new_model
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training import metrics
from bertlearn.training.distributed import is_first_process
from bertlearn.training.loop import train
from bertlearn.training.metrics import Callback, Record, Score, score_logits
from bertlearn.training.step import derive_seed
from bertlearn.training.stopping import check_stops
from bertlearn.training.task import Run, Task

CHECKPOINTS = "checkpoints"  # folder in the output folder


class Pretrained(NamedTuple):
    """The result of `pretrain`."""

    model: PretrainingModel  # in evaluation mode
    tokenizer: WordPieceTokenizer
    run: Run


def pretrain(
    data: str | Path,
    options: PretrainOptions,
    output: str | Path | None = None,
    held_out: str | Path | None = None,
    resume: bool = False,
    device: torch.device | str | None = None,
    until: int | None = None,
    callback: Callback | None = None,
    start_from: str | Path | None = None,
    verify: bool = False,
) -> Pretrained:
    """Pretrain a BERT on shards that `bertlearn data build` has written.

    Args:
        data: folder of shards to train on.
        options: model, objective and training.
        output: folder for checkpoints, history.csv and, at the end, the model; None saves nothing.
        held_out: folder of shards for evaluation, with the same vocabulary.
        resume: continue from the newest checkpoint in `output`, with the same shards and options.
        device: default: the GPU if there is one, else the CPU.
        until: stop after this step, with a checkpoint from which the run can be resumed.
        callback: called with the progress of each step; it may request a stop. See `train`.
        start_from: folder of a pretrained model whose weights to start from, see `grown_model`; None starts
            from scratch. AdamW's averages and the learning rate start anew.
        verify: verify the checksums of the shards, even if that was done before.

    Raises:
        FileNotFoundError: there is no such folder, or one of its files is missing.
        ValueError: an argument of another type; shards were changed or damaged; they, the model and the
            options do not fit each other; held-out text is trained on; the output folder has shards, is
            `start_from`, or cannot be written.
        TrainingError, CheckpointError, FileExistsError: see `train`.
    """
    check_device(device)
    check_kind("options", options, PretrainOptions)
    check_stops(until, callback)
    _check_paths(data, output=output, held_out=held_out, start_from=start_from)
    start = None if start_from is None else find_folder(start_from)
    if output is not None:
        _check_apart(Path(output).expanduser(), start)
    verify = verify and is_first_process()  # once for all processes
    shards = Shards.open(data, verify)
    evaluated = None if held_out is None else _open_held_out(held_out, shards, verify)
    tokenizer = _read_tokenizer(shards, start)
    options.check_corpus(shards.tokens)
    model = new_model(options, tokenizer.vocab_size) if start is None else grown_model(start, options)
    if output is not None and is_first_process():
        check_output(output, 4 * sum(parameter.nbytes for parameter in model.parameters()))
    task = pretraining_task(shards, options, evaluated)
    if start is not None:
        task = replace(task, identity={**task.identity, "start_from": _sha256(model)})
    checkpoints = None if output is None else Path(output) / CHECKPOINTS
    run = train(model, task, options.training, checkpoints, resume, device, until, callback)
    if output is not None and run.finished and is_first_process():
        save_or_rescue(output, lambda folder: _save(model, tokenizer, folder))
    return Pretrained(model.cpu().eval(), tokenizer, run)


def _check_paths(data: str | Path, **optional: str | Path | None) -> None:
    check_path("data", data)
    for name, path in optional.items():
        check_path(name, path, optional=True)


def _check_apart(output: Path, start: Path | None) -> None:
    """Refuse an output folder that is also an input, or that holds shards."""
    if (output / META).is_file():
        raise ValueError(
            f"{output} is a folder of shards, whose vocabulary a model would replace; choose another folder"
        )
    if start is not None and output.is_dir() and output.samefile(start):
        raise ValueError(f"{output} is the model to start from, and would be replaced; choose another folder")


def _read_tokenizer(shards: Shards, start: Path | None) -> WordPieceTokenizer:
    """Read the tokenizer that made the shards; its files, and those of the model to start from, must fit."""
    tokenizer = WordPieceTokenizer.from_pretrained(shards.folder)
    shards.check_vocabulary(tokenizer)
    if start is not None:
        shards.check_vocabulary(WordPieceTokenizer.from_pretrained(start))
    return tokenizer


def _open_held_out(folder: str | Path, trained: Shards, verify: bool) -> Shards:
    """Open the shards to evaluate on; refuse text that is trained on."""
    held_out = Shards.open(folder, verify)
    checksums = {shard.sha256 for shard in trained.shards}
    both = [number for number, shard in enumerate(held_out.shards) if shard.sha256 in checksums]
    if both:
        raise ValueError(
            f"the held-out text in {held_out.folder} (shard {both[0]:05}) is also in {trained.folder}, which "
            "the model is trained on; hold out other text, or none"
        )
    return held_out


def _save(model: PretrainingModel, tokenizer: WordPieceTokenizer, folder: Path) -> None:
    """Write the model; of ELECTRA's two, the discriminator is what is used later."""
    if isinstance(model, ElectraForPreTraining):
        model.generator.save_pretrained(folder / "generator")
        model.discriminator.save_pretrained(folder)
    else:
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _sha256(model: nn.Module) -> str:
    """Return a checksum of the weights."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def pretraining_task(shards: Shards, options: PretrainOptions, held_out: Shards | None = None) -> Task:
    """Return the task for `train`: batches of masked sequences, scores and evaluation."""
    tokenizer = WordPieceTokenizer.from_pretrained(shards.folder)
    examples = Examples(shards, options.max_length, options.pairs, options.training.seed)
    batch = training_batches(examples, tokenizer, options)
    identity = {
        **{name: value for name, value in vars(options).items() if name != "training"},
        "data": shards.fingerprint,
        "held_out": None if held_out is None else held_out.fingerprint,
    }
    evaluation = None if held_out is None else _evaluation(held_out, tokenizer, options)
    if options.objective == "electra":
        return Task(batch, electra_targets, electra_scores, evaluation, identity, weights={"rtd": WEIGHT})
    return Task(batch, pretraining_targets, pretraining_scores, evaluation, identity)


def training_batches(
    examples: Examples, tokenizer: WordPieceTokenizer, options: PretrainOptions
) -> Callable[[int, int], PretrainingBatch]:
    """Return the `batch` of a `Task`: masked sequences, in the first steps split into chunks."""
    short_examples = options.short_steps * options.training.batch_size

    def batch(first: int, count: int) -> PretrainingBatch:
        generator = torch.Generator().manual_seed(derive_seed(options.training.seed, first))
        rows = examples.rows(first, count)
        masked = masked_batch(rows, tokenizer, generator, options.mask_probability, options.masking)
        return chunk(masked, options.short_length) if first < short_examples else masked

    return batch


def held_out_batches(
    shards: Shards, tokenizer: WordPieceTokenizer, max_length: int, pairs: bool, count: int = 512
) -> list[PretrainingBatch]:
    """Return `count` sequences of held-out text, 15 % masked, in batches of 64: the same in every call."""
    examples = Examples(shards, max_length, pairs, seed=0)
    generator = torch.Generator().manual_seed(0)
    return [
        masked_batch(examples.rows(first, min(64, count - first)), tokenizer, generator)
        for first in range(0, count, 64)
    ]


def evaluate(model: nn.Module, batches: list[PretrainingBatch]) -> Record:
    """Return the loss (nats) and accuracy of each objective on the batches, as "valid_mlm_loss" and so on."""
    return metrics.evaluate(model, batches, pretraining_targets, pretraining_scores)


def _evaluation(
    held_out: Shards, tokenizer: WordPieceTokenizer, options: PretrainOptions
) -> Callable[[nn.Module], Record]:
    held_out.check_vocabulary(tokenizer)
    batches = held_out_batches(held_out, tokenizer, options.max_length, options.pairs)
    if options.objective == "electra":
        return lambda model: metrics.evaluate(model, batches, electra_targets, electra_scores)
    return lambda model: evaluate(model, batches)


def pretraining_targets(batch: PretrainingBatch) -> dict[str, int]:
    """Return the number of targets: masked tokens ("mlm") and, if the batch has pairs, pairs ("nsp")."""
    counts = {"mlm": int((batch.labels != IGNORE).sum())}
    if batch.next_sentence_label is not None:
        counts["nsp"] = int((batch.next_sentence_label != IGNORE).sum())
    return counts


def pretraining_scores(model: nn.Module, batch: PretrainingBatch) -> dict[str, Score]:
    """Run the model on a batch; return the loss and correct predictions for "mlm" and, with pairs, "nsp".

    They are sums over targets, not means, so the scores of micro-batches add up to those of the full batch.
    """
    inputs = {name: value for name, value in batch._asdict().items() if value is not None}
    output = model(**inputs)
    scores = {"mlm": score_logits(output.prediction_logits, targets(batch.labels))}
    if batch.next_sentence_label is not None:
        scores["nsp"] = score_logits(output.seq_relationship_logits, batch.next_sentence_label)
    return scores


def all_tokens(batch: PretrainingBatch) -> Tensor:
    """Return which positions of a batch are no padding: booleans (B, S)."""
    if batch.attention_mask is None:
        return torch.ones_like(batch.input_ids, dtype=torch.bool)
    return batch.attention_mask.bool()


def electra_targets(
    batch: PretrainingBatch, judged: Callable[[PretrainingBatch], Tensor] = all_tokens
) -> dict[str, int]:
    """Return the number of targets: masked tokens ("mlm") and judged ones ("rtd")."""
    return {**pretraining_targets(batch), "rtd": int(judged(batch).sum())}


def electra_scores(
    model: nn.Module, batch: PretrainingBatch, judged: Callable[[PretrainingBatch], Tensor] = all_tokens
) -> dict[str, Score]:
    """Return the loss and correct predictions of the generator ("mlm") and of the discriminator ("rtd").

    Args:
        model: an `ElectraForPreTraining`.
        batch: masked sequences.
        judged: returns the positions that count for the discriminator, booleans (B, S).
    """
    inputs = {name: value for name, value in batch._asdict().items() if value is not None}
    output, keep = model(**inputs), judged(batch)
    logits, replaced = output.replaced_logits[keep].float(), output.replaced[keep]
    loss = binary_cross_entropy_with_logits(logits, replaced.float(), reduction="sum")
    return {
        "mlm": score_logits(output.prediction_logits, targets(batch.labels)),
        "rtd": Score(loss, ((logits > 0) == replaced).sum()),
    }
