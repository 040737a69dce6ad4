"""The bug hunt of chapter 4: four pretraining runs that look plausible and have one bug each.

Each is the healthy run with one change that people have made by accident. All continue from a snapshot, now
with sentence pairs. Letters hide which run has which bug; reading this file spoils the hunt.

Sources: lucidrains/mlm-pytorch #2 and transformers #20797 (a label at every token), codertimo/BERT-pytorch
#29 (conditions under which nothing is ever masked) and #49 (`ignore_index=0` for both losses), transformers
#44931 (output weights left random instead of tied).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertlearn.course.attempt import is_stub, run_attempt
from bertlearn.course.built import note
from bertlearn.course.compare import short, show
from bertlearn.course.exercise import RAISED, TOO_LONG, WRONG, Result
from bertlearn.model.heads import IGNORE, BertForMaskedLM, BertForPreTraining, targets
from bertlearn.pretraining.corpus import Shards
from bertlearn.pretraining.masking import PretrainingBatch
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import pretraining_task
from bertlearn.training.loop import train
from bertlearn.training.metrics import Record, Score
from bertlearn.training.options import TrainingOptions
from bertlearn.training.task import Task

OPTIONS = PretrainOptions(
    pairs=True,
    short_share=0.0,
    mask_probability=0.15,
    training=TrainingOptions(steps=150, learning_rate=1e-3, warmup=0.1, log_every=10, precision="fp32"),
)


class Setup(NamedTuple):
    """Model and task of a run before its first step."""

    model: BertForPreTraining
    task: Task


class Suspect(NamedTuple):
    """A trained run, to be examined for its bug."""

    model: BertForPreTraining
    batch: PretrainingBatch  # the first one that it was trained on
    history: list[Record]


def healthy(start: BertForMaskedLM, shards: Shards, options: PretrainOptions = OPTIONS) -> Setup:
    """Return the correct run: encoder and MLM head continue from `start`, pooler and NSP head are new."""
    with torch.random.fork_rng():
        torch.manual_seed(options.training.seed)
        model = BertForPreTraining(start.config)
    model.bert.load_state_dict({**model.bert.state_dict(), **start.bert.state_dict()})
    model.cls.predictions.load_state_dict(start.cls.predictions.state_dict())
    return Setup(model, pretraining_task(shards, options))


def train_suspect(
    letter: str, start: BertForMaskedLM, shards: Shards, options: PretrainOptions = OPTIONS
) -> Suspect:
    """Train one of the suspects "A" to "D", or "healthy"; this takes a few seconds.

    Raises:
        ValueError: the letter is none of these.
    """
    if letter != "healthy" and letter not in _CULPRITS:
        raise ValueError(f"letter={letter!r} is not a suspect; choose 'A', 'B', 'C', 'D' or 'healthy'")
    setup = healthy(start, shards, options)
    if letter != "healthy":
        setup = FAULTS[_CULPRITS[letter]](setup)
    batch = setup.task.batch(0, options.training.batch_size)
    return Suspect(setup.model, batch, train(setup.model, setup.task, options.training).history)


def label_every_token(setup: Setup) -> Setup:
    """Give every token a label, even those that are not masked."""

    def batch(first: int, count: int) -> PretrainingBatch:
        correct = setup.task.batch(first, count)
        return correct._replace(labels=_true_ids(correct))

    return Setup(setup.model, replace(setup.task, batch=batch))


def mask_nothing(setup: Setup) -> Setup:
    """Label the chosen tokens, but mask none of them."""

    def batch(first: int, count: int) -> PretrainingBatch:
        correct = setup.task.batch(first, count)
        return correct._replace(input_ids=_true_ids(correct))

    return Setup(setup.model, replace(setup.task, batch=batch))


def ignore_class_0(setup: Setup) -> Setup:
    """Use one loss for both objectives that ignores label 0: padding in MLM, but “B follows A” in NSP."""

    def score(model: nn.Module, batch: PretrainingBatch) -> dict[str, Score]:
        inputs = {name: value for name, value in batch._asdict().items() if value is not None}
        output = model(**inputs)
        assert batch.next_sentence_label is not None
        outputs = {
            "mlm": (output.prediction_logits, targets(batch.labels)),
            "nsp": (output.seq_relationship_logits, batch.next_sentence_label),
        }
        return {
            name: Score(
                cross_entropy(logits.float(), labels, ignore_index=0, reduction="sum"),
                (logits.argmax(-1) == labels).sum(),
            )
            for name, (logits, labels) in outputs.items()
        }

    return Setup(setup.model, replace(setup.task, score=score))


def untie(setup: Setup) -> Setup:
    """Give the decoder its own random weights, as a loader does that forgets to tie them."""
    decoder, config = setup.model.cls.predictions.decoder, setup.model.config
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(decoder.weight.shape, generator=generator) * config.initializer_range
    decoder.weight = nn.Parameter(drawn)
    return setup


def _true_ids(batch: PretrainingBatch) -> Tensor:
    """Return the ids as they were before masking."""
    return torch.where(batch.labels == IGNORE, batch.input_ids, batch.labels)


FAULTS: dict[str, Callable[[Setup], Setup]] = {
    "every token has a label": label_every_token,
    "nothing is masked": mask_nothing,
    "the loss ignores class 0": ignore_class_0,
    "the weights are not tied": untie,
}
_CULPRITS = {
    "A": "nothing is masked",
    "B": "the loss ignores class 0",
    "C": "the weights are not tied",
    "D": "every token has a label",
}
AGAINST = {  # suspicion: the evidence against it, if it is wrong
    "every token has a label": "about 15 % of its labels are not −100, as it should be. Count them.",
    "nothing is masked": "about 12 % of its input ids are [MASK], 0.8 of 15 %, as it should be. Count them.",
    "the loss ignores class 0": "its NSP loss begins near ln 2 = 0.69, as a random guess should.",
    "the weights are not tied": "decoder.weight and word_embeddings.weight are one and the same tensor.",
    "there is no warm-up": "the history has its learning rate: it rises over the first steps.",
    "special tokens are masked": "every row of its batch still begins with [CLS]. Look at input_ids[:, 0].",
    "nothing is wrong": "compare its curves with those of the healthy run.",
}


_WHY = "No run stopped with an error: looking at what goes in and what comes out is how such bugs are found."


def verdict(bug_hunt: Callable[[], dict[str, str]]) -> Result:
    """Check the learner's answer: a function that returns a suspicion for each letter.

    For a wrong suspicion the result gives the evidence against it, but not the correct one.
    """
    name = "bug_hunt"
    if not callable(bug_hunt):
        return Result(name, False, f"✗ {name}: give the function itself, without calling it")
    outcome = run_attempt(bug_hunt, ())
    if is_stub(outcome.error):
        return Result(name, False, f"– {name}: not attempted yet", attempted=False)
    if outcome.timed_out:
        said = f"stopped after {outcome.limit:.3g} s of computing"
        return Result(name, False, f"✗ {name}: {said}", reason=f"{TOO_LONG}: it was {said}")
    if outcome.error is not None:
        said = f"it stops with {type(outcome.error).__name__}: {short(str(outcome.error))}"
        return Result(name, False, f"✗ {name}: {said}", reason=f"{RAISED}: {said}")
    return _verdict(name, outcome.value)


def _verdict(name: str, answers: object) -> Result:
    if not isinstance(answers, dict):
        lines = [
            f"✗ {name}: return a dictionary with a suspicion for each letter",
            'expected: something like {"A": "there is no warm-up", "B": …}',
            f"yours:    {show(answers)}",
        ]
        return Result(name, False, "\n  ".join(lines), reason=f"{WRONG}: it returns no dictionary")
    lines = [_judge(letter, answers.get(letter)) or "" for letter in _CULPRITS]
    wrong = [line for line in lines if line]
    if not wrong:
        return Result(name, True, "\n  ".join([f"✓ {name}: all four are found", _WHY, note(4, name)]))
    said = f"{len(lines) - len(wrong)} of {len(lines)} found"
    if not all(_is_known(answers.get(letter)) for letter in _CULPRITS):
        wrong.append(f"the suspicions to choose from: {', '.join(repr(name) for name in AGAINST)}")
    return Result(name, False, "\n  ".join([f"✗ {name}: {said}", *wrong]), reason=f"{WRONG}: {said}")


def _is_known(answer: object) -> TypeGuard[str]:
    return isinstance(answer, str) and answer in AGAINST


def _judge(letter: str, answer: object) -> str | None:
    """Return what to say about a wrong or missing answer, None for a correct one."""
    if answer == _CULPRITS[letter]:
        return None
    if not _is_known(answer):
        return f"{letter}: no suspicion yet" if answer is None else f"{letter}: {answer!r} is not a suspicion"
    return f"{letter}: against “{answer}”: {AGAINST[answer]}"
