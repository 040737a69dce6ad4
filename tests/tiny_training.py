"""A training run so small that tests can afford many; also a script, for the tests that need processes.

`python tiny_training.py kills FOLDER KIND` kills runs; under torchrun, `… processes FOLDER` runs DDP.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file

from bertlearn import files
from bertlearn.files import untied_state
from bertlearn.model.config import BertConfig, ModernConfig
from bertlearn.model.electra import WEIGHT, ElectraForPreTraining
from bertlearn.model.heads import IGNORE, BertForPreTraining
from bertlearn.model.modern import ModernForMaskedLM
from bertlearn.pretraining.masking import PretrainingBatch
from bertlearn.pretraining.run import (
    electra_scores,
    electra_targets,
    pretraining_scores,
    pretraining_targets,
)
from bertlearn.training.checkpoint import find_checkpoints
from bertlearn.training.loop import LOCK, train
from bertlearn.training.metrics import Record
from bertlearn.training.optim import make_optimizer
from bertlearn.training.options import TrainingOptions
from bertlearn.training.step import derive_seed
from bertlearn.training.task import Run, Task, TrainingError

LENGTH, VOCABULARY = 12, 101
ORDINARY = dict(
    steps=8,
    batch_size=8,
    learning_rate=3e-3,
    warmup=0.25,
    precision="fp32",
    log_every=3,
    evaluate_every=4,
    checkpoint_every=5,
)


def options(**changes: object) -> TrainingOptions:
    return TrainingOptions(**{**ORDINARY, **changes})


def tiny_model(dropout: float = 0.1, seed: int = 0) -> BertForPreTraining:
    torch.manual_seed(seed)
    return BertForPreTraining(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=16,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    )


def example(number: int) -> tuple[torch.Tensor, ...]:
    """Counting with step 1 or 2, some of it hidden: every third example has far more targets than others."""
    generator = torch.Generator().manual_seed(derive_seed(7, number))
    stride = number % 2 + 1
    ids = (torch.randint(96, (1,), generator=generator) + stride * torch.arange(LENGTH)) % 96 + 5
    chosen = torch.rand(LENGTH, generator=generator) < (0.6 if number % 3 == 0 else 0.1)
    segments = (torch.arange(LENGTH) >= LENGTH // 2).long()
    return (
        torch.where(chosen, 4, ids),
        segments,
        torch.where(chosen, ids, IGNORE),
        torch.tensor(stride - 1),
    )


def tiny_batch(first: int, count: int) -> PretrainingBatch:
    ids, segments, labels, strides = zip(*map(example, range(first, first + count)), strict=True)
    return PretrainingBatch(
        torch.stack(ids), None, torch.stack(segments), torch.stack(labels), torch.stack(strides)
    )


@torch.no_grad()
def measure(model: torch.nn.Module) -> Record:
    assert not model.training
    return {"valid_mlm_loss": float(pretraining_scores(model, tiny_batch(10**6, 4))["mlm"].loss)}


def tiny_task(
    batch: Callable[[int, int], PretrainingBatch] = tiny_batch, name: str = "counting", **parts: object
) -> Task:
    return Task(
        **{
            "batch": batch,
            "count": pretraining_targets,
            "score": pretraining_scores,
            "evaluate": measure,
            "identity": {"data": name, "shape": (LENGTH, VOCABULARY)},
            **parts,
        }
    )


def without_times(history: list[Record]) -> list[Record]:
    return [{n: v for n, v in r.items() if n not in ("seconds", "tokens_per_second")} for r in history]


# What follows runs in processes of its own.

KILLS = 20
LONG = dict(steps=70, batch_size=4, checkpoint_every=1, log_every=7, evaluate_every=25)


Batches = Callable[[int, int], PretrainingBatch]


class Kind(NamedTuple):
    """What is trained: a new model, its task for some batches, and further options."""

    model: Callable[[], Any]
    task: Callable[[Batches], Task]
    options: Mapping[str, object] = MappingProxyType({})


def single(batch: Batches) -> Batches:
    """Return batches of single texts."""

    def without_pairs(first: int, count: int) -> PretrainingBatch:
        made = batch(first, count)
        return made._replace(token_type_ids=torch.zeros_like(made.input_ids), next_sentence_label=None)

    return without_pairs


def tiny_electra() -> ElectraForPreTraining:
    torch.manual_seed(0)
    return ElectraForPreTraining(tiny_model().config)


def tiny_modern() -> ModernForMaskedLM:
    torch.manual_seed(0)
    sizes = asdict(tiny_model().config)
    return ModernForMaskedLM(ModernConfig.modernbert(**sizes, local_attention=4, unpadding=False))


@torch.no_grad()
def measure_electra(model: torch.nn.Module) -> Record:
    return {"valid_rtd_loss": float(electra_scores(model, single(tiny_batch)(10**6, 4))["rtd"].loss)}


@torch.no_grad()
def measure_modern(model: torch.nn.Module) -> Record:
    return {"valid_mlm_loss": float(pretraining_scores(model, single(tiny_batch)(10**6, 4))["mlm"].loss)}


ELECTRA = {"count": electra_targets, "score": electra_scores, "weights": {"rtd": WEIGHT}}
KINDS = {
    "bert": Kind(tiny_model, tiny_task),
    "modern": Kind(
        tiny_modern, lambda batch: tiny_task(single(batch), evaluate=measure_modern), {"optimizer": "muon"}
    ),
    "electra": Kind(
        tiny_electra, lambda batch: tiny_task(single(batch), evaluate=measure_electra, **ELECTRA)
    ),
}


def run_to_the_end(folder: Path, batch: Batches = tiny_batch, kind: str = "bert") -> Run:
    made = KINDS[kind]
    model = made.model()
    run = train(model, made.task(batch), options(**LONG, **made.options), folder, resume=True)
    if run.finished:
        save_file(untied_state(model), folder / files.WEIGHTS)
    return run


def child(folder: Path, told: int, die_at: str, kind: str) -> None:
    """Train, and tell the parent of each batch; die of one's own hand at `die_at`, a function of os."""

    def batch(first: int, count: int) -> PretrainingBatch:
        os.write(told, b".")
        return tiny_batch(first, count)

    if die_at:
        calls, real = iter((False, True)), getattr(os, die_at)  # the first writes the history, at the start
        setattr(
            os, die_at, lambda *args: os.kill(os.getpid(), signal.SIGKILL) if next(calls) else real(*args)
        )
    run_to_the_end(folder, batch, kind)


def fork(folder: Path, kind: str, die_at: str = "") -> tuple[int, int]:
    """Start a child; return its number and the end of the pipe on which it tells of its batches."""
    heard, told = os.pipe()
    number = os.fork()
    if number == 0:
        os.close(heard)
        status = 1
        try:
            child(folder, told, die_at, kind)
            status = 0
        finally:
            os._exit(status)
    os.close(told)
    return number, heard


def hear(heard: int, batches: int) -> None:
    for _ in range(batches):
        os.read(heard, 1)  # empty, at once, when the child is dead


def kills(folder: Path, kind: str) -> dict[str, object]:
    """Kill a run again and again, at chosen and at random moments, then stop it twice politely."""
    make_optimizer(tiny_model(), options())  # brings in the modules that take seconds, once for all children
    chance, leftovers, deaths = random.Random(0), 0, 0
    for attempt in range(KILLS):
        die_at = {3: "fsync", 7: "replace", 11: "fsync"}.get(attempt, "")
        number, heard = fork(folder, kind, die_at)
        if die_at:
            hear(heard, 100)
        hear(heard, chance.randrange(1, 6))
        select.select([], [], [], chance.uniform(0, 0.02))
        os.kill(number, signal.SIGKILL)
        deaths += os.WIFSIGNALED(os.waitpid(number, 0)[1])
        os.close(heard)
        leftovers += any(folder.glob(".step-*"))
    polite = []
    for wish in (signal.SIGTERM, signal.SIGINT):
        number, heard = fork(folder, kind)
        hear(heard, 4)
        os.kill(number, wish)
        status = os.waitpid(number, 0)[1]
        os.close(heard)
        polite.append([status, len(find_checkpoints(folder)), (folder / files.WEIGHTS).exists()])
    run = run_to_the_end(folder, kind=kind)
    return {"deaths": deaths, "leftovers": leftovers, "polite": polite, "history": run.history}


def processes(folder: Path) -> None:
    """Under torchrun: process 1 dies at step 6 of its first life; an undisturbed run; one with a callback."""
    rank, life = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]

    def recorded(name: str, dies: bool) -> Callable[[int, int], PretrainingBatch]:
        def batch(first: int, count: int) -> PretrainingBatch:
            with (folder / f"{name}-{life}-{rank}.txt").open("a", encoding="utf-8") as file:
                file.write(f"{first} {count}\n")
            if dies and rank == "1" and life == "0" and first >= 6 * 8:
                os.kill(os.getpid(), signal.SIGKILL)
            return tiny_batch(first, count)

        return batch

    for name in ("dying", "living"):
        model = tiny_model()
        task = tiny_task(recorded(name, dies=name == "dying"))
        run = train(model, task, options(micro_batch_size=2), folder / name)
        model.save_pretrained(folder / f"{name}-model-{rank}")
        (folder / f"{name}-{rank}.json").write_text(json.dumps(run.history), encoding="utf-8")
    for kind in ("modern", "electra"):
        made = KINDS[kind]
        model = made.model()
        train(model, made.task(tiny_batch), options(micro_batch_size=2, **made.options))
        save_file(untied_state(model), folder / f"{kind}-{rank}.safetensors")
    told: list[int] = []
    run = train(tiny_model(), tiny_task(), options(), callback=lambda p: told.append(p.step) or p.step == 2)
    (folder / f"watched-{rank}.json").write_text(json.dumps([run.step, told]), encoding="utf-8")
    with files.file_lock(folder / "living" / LOCK) if rank == "0" else nullcontext():
        try:
            train(tiny_model(), tiny_task(), options(), folder / "living", resume=True)
        except TrainingError as error:
            (folder / f"refused-{rank}.txt").write_text(str(error), encoding="utf-8")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / files.WEIGHTS)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "kills":
        print(json.dumps(kills(Path(sys.argv[2]), sys.argv[3])))
    else:
        processes(Path(sys.argv[2]))
