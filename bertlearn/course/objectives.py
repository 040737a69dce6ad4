"""The objectives lab of chapter 7: one small model, pretrained with one published change at a time.

Every run reads the same number of tokens. The base is the knock-out lab's BERT with rotary positions, which
leaves the plateau of the loss within the 1,500 steps; learned positions would not, and nothing could be
compared. Each variant says what its paper changed; each model is measured on held-out text and, fine-tuned,
on review sentences. `tools/make_lab.py objectives` makes the stored runs.
Leaves out: the papers' sizes. A claim about a large model need not hold for a small one, and this says so.

Shape letters: B batch, S sequence, E embedding size, H hidden, V vocabulary.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from bertlearn.course import knockout
from bertlearn.course.corpus import course_shards
from bertlearn.data import load_reviews
from bertlearn.finetuning.features import Features, text_features
from bertlearn.finetuning.options import FinetuneOptions
from bertlearn.finetuning.run import finetune
from bertlearn.model.bert import BertPooler, init_weights
from bertlearn.model.config import ModernConfig
from bertlearn.model.electra import ElectraForPreTraining
from bertlearn.model.heads import IGNORE, BertForSequenceClassification, PretrainingOutput
from bertlearn.model.modern import ModernForMaskedLM, ModernModel, Norm
from bertlearn.pretraining.corpus import Examples, Shards
from bertlearn.pretraining.masking import Masking, PretrainingBatch, chunk, masked_batch
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import (
    electra_scores,
    electra_targets,
    evaluate,
    held_out_batches,
    pretraining_scores,
    pretraining_targets,
    pretraining_task,
    training_batches,
)
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training import metrics
from bertlearn.training.loop import train
from bertlearn.training.metrics import Callback
from bertlearn.training.step import derive_seed
from bertlearn.training.task import Task

BASE = frozenset({"rope"})  # of the knock-out lab's switches
BATCH = 16  # sequences in a step
SMALL_TEXT, EPOCHS = 3000, 8  # sequences of the small text; how often 1,500 steps of 16 read it
REVIEWS = FinetuneOptions(epochs=1, learning_rate=5e-4, precision="fp32")


@dataclass(frozen=True)
class Variant:
    """One change of the base; the defaults change nothing."""

    mask_probability: float = 0.4
    masking: Masking = "tokens"
    masks: int = 0  # different masks for each sequence of the small text; 0: all of the text, fresh masks
    batch_size: int = BATCH  # four times as many sequences mean a quarter of the steps
    learning_rate: float = 2e-3
    pairs: Literal["", "no task", "next", "order"] = ""  # what is asked about two texts in a row
    share_layers: bool = False
    embedding_size: int = 0  # E; 0: as wide as the model
    electra: Literal["", "all", "masked"] = ""  # the tokens in the discriminator's loss
    pretrained: bool = True


VARIANTS = {
    "base": Variant(),
    "15 % masked": Variant(mask_probability=0.15),
    "whole words": Variant(masking="words"),
    "spans": Variant(masking="spans"),
    "small text, 1 mask": Variant(masks=1),
    "small text, 8 masks": Variant(masks=EPOCHS),
    "batches of 64": Variant(batch_size=64, learning_rate=4e-3),
    "pairs": Variant(pairs="no task"),
    "pairs, NSP": Variant(pairs="next"),
    "pairs, SOP": Variant(pairs="order"),
    "shared layers": Variant(share_layers=True),
    "narrow embeddings": Variant(embedding_size=32),
    "ELECTRA": Variant(mask_probability=0.15, electra="all"),
    "ELECTRA, masked tokens": Variant(mask_probability=0.15, electra="masked"),
    "not pretrained": Variant(pretrained=False),
}


class Recipe(NamedTuple):
    """What a variant makes of a run."""

    config: ModernConfig
    options: PretrainOptions


def recipe(variant: Variant, vocab_size: int, seed: int = 0, steps: int = knockout.STEPS) -> Recipe:
    """Return the model and the options of a run; `steps` is the number with batches of 16."""
    made = knockout.recipe(BASE, vocab_size, seed, steps)
    training = replace(
        made.options.training,
        steps=steps * BATCH // variant.batch_size,
        batch_size=variant.batch_size,
        learning_rate=variant.learning_rate,
    )
    options = replace(
        made.options,
        mask_probability=variant.mask_probability,
        masking=variant.masking,
        pairs=variant.pairs != "",
        objective="electra" if variant.electra else "mlm",
        training=training,
    )
    return Recipe(made.config, options)


# 1. Models


class ModernForPairs(ModernForMaskedLM):
    """The masked-word model with a second head, which says whether two texts belong together as they are."""

    def __init__(self, config: ModernConfig) -> None:
        super().__init__(config)
        self.pooler = BertPooler(config)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)
        for layer in (self.pooler, self.seq_relationship):
            init_weights(layer, config.initializer_range)

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
    ) -> PretrainingOutput:
        """Take what `BertForPreTraining` takes; return both heads' logits, and no loss of the second."""
        output = super().forward(
            input_ids, attention_mask, token_type_ids, position_ids, labels, output_hidden_states=True
        )
        assert output.hidden_states is not None
        relation = self.seq_relationship(self.pooler(output.hidden_states[-1]))  # (B, 2)
        return output._replace(seq_relationship_logits=relation, hidden_states=None)


class ModernElectra(ElectraForPreTraining):
    """ELECTRA's two models, with rotary positions."""

    def __init__(self, config: ModernConfig) -> None:
        super().__init__(config)
        encoder, generator = ModernModel(config), ModernForMaskedLM(replace(config, num_hidden_layers=1))
        generator.model.embeddings = encoder.embeddings
        generator.decoder.weight = encoder.embeddings.word.weight  # tied, as in the generator alone
        self.discriminator, self.generator = encoder, generator  # type: ignore[assignment]


class ModernClassifier(BertForSequenceClassification):
    """A head on the mean of a modern encoder's vectors, to be fine-tuned."""

    def __init__(self, encoder: ModernModel) -> None:
        super().__init__(replace(encoder.config, classifier_pooling="mean"))
        self.bert = encoder  # type: ignore[assignment]


def share_layers(model: ModernForMaskedLM) -> None:
    """Use the first layer in place of all. Source: Lan et al. 2020, §3.1."""
    model.model.layers = nn.ModuleList([model.model.layers[0]] * model.config.num_hidden_layers)


def factorize(model: ModernForMaskedLM, embedding_size: int) -> None:
    """Give a model word embeddings of E features, mapped to H, and a head that predicts with them.

    Differs from the paper, which maps the sum of all embeddings: here there are none of positions.
    Source: Lan et al. 2020, §3.1.
    """
    config, narrow = model.config, replace(model.config, hidden_size=embedding_size, num_attention_heads=1)
    words = nn.Embedding(config.vocab_size, embedding_size, config.pad_token_id)
    mapped = nn.Sequential(words, nn.Linear(embedding_size, config.hidden_size))
    model.model.embeddings.word = mapped  # type: ignore[assignment]
    model.dense = nn.Linear(config.hidden_size, embedding_size)
    model.norm = Norm(narrow)
    model.decoder = nn.Linear(embedding_size, config.vocab_size)
    for module in (mapped, model.dense, model.decoder):
        init_weights(module, config.initializer_range)
    model.decoder.weight = words.weight


def new_model(variant: Variant, config: ModernConfig, seed: int) -> ModernForMaskedLM | ModernElectra:
    """Return a variant's model with its initial weights; the same seed always gives the same ones."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed))
        if variant.electra:
            return ModernElectra(config)
        model = (ModernForPairs if variant.pairs in ("next", "order") else ModernForMaskedLM)(config)
        if variant.share_layers:
            share_layers(model)
        if variant.embedding_size:
            factorize(model, variant.embedding_size)
        return model


def encoder_of(model: ModernForMaskedLM | ModernElectra) -> ModernModel:
    """Return the part that is kept for fine-tuning: of ELECTRA's two models, the discriminator."""
    return model.model if isinstance(model, ModernForMaskedLM) else model.discriminator  # type: ignore[return-value]


# 2. What they are trained on


def task_of(variant: Variant, shards: Shards, options: PretrainOptions) -> Task:
    """Return a variant's batches and scores."""
    task = pretraining_task(shards, options)
    task = replace(task, identity={**task.identity, **asdict(variant)})
    tokenizer = WordPieceTokenizer.from_pretrained(shards.folder)
    if variant.electra == "masked":
        return replace(  # Clark et al. 2020, §3.5, "ELECTRA 15%"
            task,
            count=partial(electra_targets, judged=masked_tokens),
            score=partial(electra_scores, judged=masked_tokens),
        )
    if variant.masks:
        return replace(task, batch=repeated_masks(shards, tokenizer, options, variant.masks))
    if variant.pairs == "no task":
        return replace(task, batch=lambda *rows: task.batch(*rows)._replace(next_sentence_label=None))
    if variant.pairs == "order":
        examples = Examples(shards, options.max_length, True, options.training.seed, swapped=True)
        return replace(task, batch=training_batches(examples, tokenizer, options))
    return task


def repeated_masks(
    shards: Shards, tokenizer: WordPieceTokenizer, options: PretrainOptions, masks: int
) -> Callable[[int, int], PretrainingBatch]:
    """Return the `batch` of a `Task` on a small text, whose sequences are masked beforehand, as BERT's were.

    The text is read again and again, each time in another order. With as many masks as times, all are fresh.

    Args:
        shards: the text, of which the first 3,000 sequences in random order are taken.
        tokenizer, options: see `training_batches`.
        masks: copies of the text, each masked differently.
    """
    seed = options.training.seed
    rows = Examples(shards, options.max_length, pairs=False, seed=seed).rows(0, SMALL_TEXT)
    generator = torch.Generator().manual_seed(derive_seed(seed))
    copies = [
        masked_batch(rows, tokenizer, generator, options.mask_probability, options.masking)
        for _ in range(masks)
    ]
    short_examples = options.short_steps * options.training.batch_size

    def batch(first: int, count: int) -> PretrainingBatch:
        numbers = [divmod(number, SMALL_TEXT) for number in range(first, first + count)]
        chosen = [(copies[epoch % masks], _order(seed, epoch)[place]) for epoch, place in numbers]
        ids, types, labels = (
            torch.stack([getattr(copy, name)[row] for copy, row in chosen])
            for name in ("input_ids", "token_type_ids", "labels")
        )
        made = PretrainingBatch(ids, None, types, labels)
        return chunk(made, options.short_length) if first < short_examples else made

    return batch


def _order(seed: int, epoch: int) -> Tensor:
    """Return the order in which the small text is read for the epoch-th time, int64 (SMALL_TEXT,)."""
    return torch.randperm(SMALL_TEXT, generator=torch.Generator().manual_seed(derive_seed(seed, epoch)))


def masked_tokens(batch: PretrainingBatch) -> Tensor:
    """Return which positions of a batch are masked, booleans (B, S)."""
    return batch.labels != IGNORE


# 3. A run and its yardsticks


def run(
    variant: Variant, seed: int = 0, steps: int = knockout.STEPS, callback: Callback | None = None
) -> ModernForMaskedLM | ModernElectra:
    """Pretrain one model; return it in evaluation mode.

    Args:
        variant: such as `VARIANTS["base"]`.
        seed: of everything random.
        steps: with batches of 16 sequences; larger batches take fewer.
        callback: see `train`.

    Raises:
        KeyboardInterrupt: the run was stopped.
    """
    shards = Shards.open(course_shards("train"))
    made = recipe(variant, len(shards.vocab), seed, steps)
    model = new_model(variant, made.config, seed)
    if variant.pretrained:
        task = task_of(variant, shards, made.options)
        if not train(model, task, made.options.training, device="cpu", callback=callback).finished:
            raise KeyboardInterrupt
    return model.eval()


def scores(model: ModernForMaskedLM | ModernElectra, seed: int = 0) -> dict[str, float | None]:
    """Return all yardsticks of a model, None where one has no meaning for it.

    "loss" and "accuracy" of masked words, not for ELECTRA; "next_accuracy" and "order_accuracy" of pairs, for
    models with a head for pairs; "review_loss" and "review_accuracy" after fine-tuning, which changes the
    model.
    """
    masked = held_out_scores(model) if isinstance(model, ModernForMaskedLM) else {}
    pairs = model if isinstance(model, ModernForPairs) else None
    return {
        "loss": masked.get("loss"),
        "accuracy": masked.get("accuracy"),
        "next_accuracy": None if pairs is None else pair_accuracy(pairs, swapped=False),
        "order_accuracy": None if pairs is None else pair_accuracy(pairs, swapped=True),
        **{f"review_{name}": value for name, value in review_scores(model, seed).items()},
    }


def held_out_scores(model: ModernForMaskedLM) -> dict[str, float]:
    """Return loss (nats) and accuracy for the masked words of the held-out text, 15 % of single texts."""
    shards = Shards.open(course_shards("validation"))
    tokenizer = WordPieceTokenizer.from_pretrained(shards.folder)
    record = evaluate(model, held_out_batches(shards, tokenizer, knockout.LENGTH, pairs=False))
    return {"loss": record["valid_mlm_loss"], "accuracy": record["valid_mlm_accuracy"]}


def pair_accuracy(model: ModernForPairs, swapped: bool, count: int = 1024) -> float:
    """Return the share of held-out pairs that a model judges correctly, whichever task it was trained on.

    Args:
        model: trained on one of the two tasks.
        swapped: ask for the order of two texts; otherwise whether the second is from another document.
        count: pairs, half of them as they are.
    """
    shards = Shards.open(course_shards("validation"))
    tokenizer = WordPieceTokenizer.from_pretrained(shards.folder)
    examples = Examples(shards, knockout.LENGTH, True, 0, swapped)
    generator = torch.Generator().manual_seed(0)
    batches = [masked_batch(examples.rows(first, 64), tokenizer, generator) for first in range(0, count, 64)]
    record = metrics.evaluate(model, batches, pretraining_targets, pretraining_scores)
    return record["valid_nsp_accuracy"]


def review_scores(model: ModernForMaskedLM | ModernElectra, seed: int) -> dict[str, float]:
    """Fine-tune on the review sentences for one epoch; return the validation split's loss and accuracy.

    Raises:
        KeyboardInterrupt: the run was stopped.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed))
        classifier = ModernClassifier(encoder_of(model))
    train_set, validation = review_features()
    options, quiet = replace(REVIEWS, seed=seed), lambda progress: False
    tuned = finetune(classifier, train_set, validation, options, device="cpu", callback=quiet)
    if not tuned.run.finished:
        raise KeyboardInterrupt
    return {"loss": tuned.scores["valid_label_loss"], "accuracy": tuned.scores["valid_label_accuracy"]}


@cache
def review_features() -> tuple[Features, Features]:
    """Return the sentences of the training and of the validation split, for the vocabulary of the shards."""
    tokenizer, reviews = WordPieceTokenizer.from_pretrained(course_shards("train")), load_reviews()
    train_set, validation = (
        text_features(tokenizer, part.sentences, part.labels, knockout.LENGTH)
        for part in (reviews.train, reviews.validation)
    )
    return train_set, validation


# 4. What the papers claim


class Claim(NamedTuple):
    """A paper's claim as a comparison of two variants, by a yardstick of which more is better."""

    says: str
    source: str
    better: str
    worse: str
    column: str = "accuracy"


CLAIMS = (
    Claim("40 % masked beats 15 %", "Wettig et al. 2023", "base", "15 % masked"),
    Claim("fresh masks beat one fixed mask", "RoBERTa", "small text, 8 masks", "small text, 1 mask"),
    Claim("larger batches beat more steps", "RoBERTa", "batches of 64", "base"),
    Claim("without NSP is better", "RoBERTa", "pairs", "pairs, NSP", "review_accuracy"),
    Claim("SOP is better than NSP", "ALBERT", "pairs, SOP", "pairs, NSP", "review_accuracy"),
    Claim("whole words beat tokens", "BERT, 2019", "whole words", "base", "review_accuracy"),
    Claim("spans beat tokens", "SpanBERT", "spans", "base", "review_accuracy"),
    Claim("all tokens beat masked ones", "ELECTRA", "ELECTRA", "ELECTRA, masked tokens", "review_accuracy"),
    Claim("replaced tokens beat masked words", "ELECTRA", "ELECTRA", "base", "review_accuracy"),
)
BEYOND_CHANCE = 3.0  # standard errors; of three runs, the mean gets there by chance once in twenty times


def differences(rows: list[dict[str, Any]], claim: Claim) -> list[float]:
    """Return, for each seed, by how much the variant that should be better is better.

    Args:
        rows: those of `load_results("objectives")`.
        claim: such as one of `CLAIMS`.
    """
    values = {(row["variant"], row["seed"]): row[claim.column] for row in rows}
    seeds = sorted(seed for variant, seed in values if variant == claim.better)
    return [values[claim.better, seed] - values[claim.worse, seed] for seed in seeds]


def verdict(gaps: list[float]) -> Literal["reproduced", "not reproduced", "reversed"]:
    """Judge a claim by its differences: the mean must be three standard errors away from 0.

    Raises:
        ValueError: fewer than two differences.
    """
    if len(gaps) < 2:
        raise ValueError(
            f"gaps={gaps} has {len(gaps)} values, but a spread needs two or more; run more seeds"
        )
    error = statistics.stdev(gaps) / len(gaps) ** 0.5
    if abs(statistics.mean(gaps)) <= BEYOND_CHANCE * error:
        return "not reproduced"
    return "reproduced" if statistics.mean(gaps) > 0 else "reversed"
