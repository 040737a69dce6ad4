"""A pretraining run: shards, model and training loop put together (chapter 4, and `bertlearn pretrain`).

The defaults are the recipe of chapter 4, which leaves the plateau of the loss in minutes on two cores;
`benchmarks/pretraining_ablation.py` measures what each of its choices is worth.
Source: Devlin et al. 2019, §3.1; short sequences before long ones: appendix A.2.
Leaves out: anything that only a larger corpus would need, such as dynamic mixing of sources.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import nn

from bertlearn.config import BertConfig
from bertlearn.data import cache_folder, course_documents
from bertlearn.distributed import is_first_process
from bertlearn.embeddings import sinusoidal_positions
from bertlearn.history import Record, Watch
from bertlearn.options import PretrainOptions
from bertlearn.pretraining import (
    IGNORE,
    BertForMaskedLM,
    BertForPreTraining,
    PretrainingBatch,
    count_targets,
    mask_tokens,
    score_batch,
)
from bertlearn.shards import Examples, Rows, Shards, build_shards
from bertlearn.shards.store import META, vocabulary_hash
from bertlearn.tokenization import WordPieceTokenizer
from bertlearn.training import Run, Task, derive_seed, measure, train

PretrainingModel = BertForMaskedLM | BertForPreTraining
CHECKPOINTS = "checkpoints"  # folder in the output folder
LADDER = Path(__file__).parent / "ladder"  # vocabulary and rungs


class Pretrained(NamedTuple):
    """What `pretrain` gives back."""

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
    watch: Watch | None = None,
) -> Pretrained:
    """Pretrain a BERT from nothing on shards made by `bertlearn data build`.

    Args:
        data: folder of shards to learn from.
        options: model, objective, training.
        output: folder for checkpoints, history.csv and, at the end, the model; None keeps nothing.
        held_out: folder of shards that the model is measured on, of the same vocabulary.
        resume: go on from the newest checkpoint in `output`.
        device: the GPU if there is one, else the CPU.
        until: stop after this step, with a checkpoint to go on from.
        watch: such as a `TrainingMonitor`; see `train`.

    Raises:
        ValueError: shards that do not fit each other or the options.
        TrainingError, CheckpointError, FileExistsError: see `train`.
    """
    shards = Shards.open(data)
    tokenizer = WordPieceTokenizer.from_pretrained(shards.folder)
    model = new_model(options, tokenizer.vocab_size)
    task = pretraining_task(shards, options, None if held_out is None else Shards.open(held_out))
    checkpoints = None if output is None else Path(output) / CHECKPOINTS
    run = train(model, task, options.training, checkpoints, resume, device, until, watch)
    if output is not None and run.finished and is_first_process():
        model.save_pretrained(output)
        tokenizer.save_pretrained(output)
    return Pretrained(model.cpu().eval(), tokenizer, run)


def course_shards(split: Literal["train", "validation"]) -> Path:
    """Return the folder with the shards of the course's own texts, made at the first call.

    The vocabulary is the ladder's, 4,096 pieces. Nothing of a test film is in them (see `course_documents`).

    Raises:
        DataError: a source could not be fetched, or there is no room.
    """
    tokenizer = WordPieceTokenizer.from_pretrained(LADDER)
    folder = cache_folder() / "shards" / f"{split}-{vocabulary_hash(tokenizer.ids_to_tokens)[:12]}"
    if not (folder / META).is_file():
        build_shards(course_documents(split), folder, tokenizer)
    return folder


def new_model(options: PretrainOptions, vocab_size: int) -> PretrainingModel:
    """Draw the weights that training starts from; the same seed draws the same ones."""
    config = BertConfig.preset(
        options.preset,
        vocab_size=vocab_size,
        max_position_embeddings=options.max_length,
        initializer_range=options.initializer_range,
        hidden_dropout_prob=options.dropout,
        attention_probs_dropout_prob=options.dropout,
    )
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(options.training.seed))
        model = BertForPreTraining(config) if options.pairs else BertForMaskedLM(config)
    if options.positions == "sinusoidal":
        table = sinusoidal_positions(config.max_position_embeddings, config.hidden_size)
        scale = config.initializer_range * 2**0.5  # sines have variance 1/2: as large as random ones
        model.bert.embeddings.position_embeddings.weight.data.copy_(scale * table)
    return model


def pretraining_task(shards: Shards, options: PretrainOptions, held_out: Shards | None = None) -> Task:
    """Return batches of masked sequences and what to count on them, for `train`."""
    seed, tokenizer = options.training.seed, WordPieceTokenizer.from_pretrained(shards.folder)
    examples = Examples(shards, options.max_length, options.pairs, seed)
    until = options.short_steps * options.training.batch_size

    def batch(first: int, count: int) -> PretrainingBatch:
        generator = torch.Generator().manual_seed(derive_seed(seed, first))
        rows = examples.rows(first, count)
        masked = masked_batch(rows, tokenizer, generator, options.mask_probability, options.whole_words)
        return cut(masked, options.short_length) if first < until else masked

    identity = {
        **{name: value for name, value in vars(options).items() if name != "training"},
        "data": shards.fingerprint,
    }
    evaluation = None if held_out is None else _evaluation(held_out, tokenizer, options)
    return Task(batch, count_targets, score_batch, evaluation, identity)


def masked_batch(
    rows: Rows,
    tokenizer: WordPieceTokenizer,
    generator: torch.Generator,
    probability: float = 0.15,
    whole_words: bool = False,
) -> PretrainingBatch:
    """Turn rows of shards into tensors, masked; a mask of nothing but ones is left out.

    Args:
        rows: of `Examples.rows`.
        tokenizer, generator, probability, whole_words: see `mask_tokens`.
    """
    input_ids, labels = mask_tokens(
        torch.from_numpy(rows.input_ids), tokenizer, generator, probability, whole_words
    )
    padded = rows.attention_mask is not None and not rows.attention_mask.all()
    return PretrainingBatch(
        input_ids,
        torch.from_numpy(rows.attention_mask) if padded else None,
        torch.from_numpy(rows.token_type_ids),
        labels,
        None if rows.next_sentence_label is None else torch.from_numpy(rows.next_sentence_label),
    )


def cut(batch: PretrainingBatch, length: int) -> PretrainingBatch:
    """Cut sequences into pieces of `length` tokens, which no longer see each other but keep their positions.

    Pieces of nothing but padding are dropped. Of a pair only the piece with [CLS] keeps the label.
    """
    count, whole = batch.input_ids.shape
    positions = torch.arange(whole).expand(count, whole)
    tokens = batch._replace(position_ids=positions, next_sentence_label=None)
    pieces = PretrainingBatch._make(x if x is None else x.reshape(-1, length) for x in tokens)
    if batch.next_sentence_label is not None:
        related = torch.full((count, whole // length), IGNORE)
        related[:, 0] = batch.next_sentence_label
        pieces = pieces._replace(next_sentence_label=related.flatten())
    if pieces.attention_mask is None:
        return pieces
    filled = pieces.attention_mask.any(dim=1)
    return PretrainingBatch._make(x if x is None else x[filled] for x in pieces)


def held_out_batches(
    shards: Shards, tokenizer: WordPieceTokenizer, max_length: int, pairs: bool, count: int = 512
) -> list[PretrainingBatch]:
    """Return the same `count` sequences of held-out text at every call, 15 % masked, in batches of 64."""
    examples = Examples(shards, max_length, pairs, seed=0)
    generator = torch.Generator().manual_seed(0)
    return [
        masked_batch(examples.rows(first, min(64, count - first)), tokenizer, generator)
        for first in range(0, count, 64)
    ]


def evaluate(model: nn.Module, batches: list[PretrainingBatch]) -> Record:
    """Return loss (nats) and accuracy of each objective on batches, under "valid_mlm_loss" and the like."""
    return measure(model, batches, count_targets, score_batch)


def _evaluation(
    held_out: Shards, tokenizer: WordPieceTokenizer, options: PretrainOptions
) -> Callable[[nn.Module], Record]:
    held_out.check_vocabulary(tokenizer)
    batches = held_out_batches(held_out, tokenizer, options.max_length, options.pairs)
    return lambda model: evaluate(model, batches)
