"""How long does a pretraining step take, compared with transformers' Trainer?

    python -m benchmarks.pretraining_step [--quick] [--device cuda]

A step consists of forward, backward, gradient clipping and AdamW, with dropout. A batch holds sentence pairs
of random tokens, 15 % of them masked, without padding. Each peer runs its own training loop: ours is
`bertlearn.training.train`, theirs is `transformers.Trainer` with its defaults (SDPA attention, fused AdamW),
and again with `torch_compile=True`. "ours, compiled" is `TrainingOptions(compile="on")`, which is our default
on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.common import (
    DTYPES,
    Setting,
    Table,
    check_same,
    in_turns,
    keep,
    memory_of,
    peaks,
    read_setting,
    save,
)
from benchmarks.loops import Loop, our_loop, their_loop
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForPreTraining
from bertlearn.pretraining.masking import PretrainingBatch
from bertlearn.pretraining.run import pretraining_scores, pretraining_targets
from bertlearn.training.options import TrainingOptions
from bertlearn.training.task import Task

MASKED = 0.15
SCHEDULE_STEPS = 100_000  # more than any benchmark takes
MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
ROUNDS = 7
TOKENS = {"cpu": 2048, "cuda": 32_768}  # per step: enough to use the device well


class Case(NamedTuple):
    """What one row of the table measures."""

    model: str
    length: int
    batch: int
    precision: str


def config_of(model: str) -> BertConfig:
    """Return a published model size, or MiniLM's, with dropout and BERT's vocabulary."""
    return BertConfig(**MINILM) if model == "MiniLM-6" else BertConfig.preset(model)


def cases(setting: Setting) -> list[Case]:
    """Return the cases to measure."""
    if setting.quick:
        return [Case("tiny", 128, 4, "fp32")]
    return [
        Case(model, length, TOKENS[setting.device.type] // length, precision)
        for model in ("tiny", "mini", "MiniLM-6", "base")
        for length in (128, 512)
        for precision in DTYPES
    ]


class RandomPairs(Dataset):
    """Masked sequences of random tokens, with all inputs that `BertForPreTraining` takes."""

    def __init__(self, case: Case, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (count * case.batch, case.length)
        ids = torch.randint(1000, config_of(case.model).vocab_size, shape, generator=generator)
        chosen = torch.rand(shape, generator=generator) < MASKED
        segments = (torch.arange(case.length) >= case.length // 2).long().expand(shape)
        next_sentence = torch.randint(0, 2, shape[:1], generator=generator)
        masked, labels = torch.where(chosen, 103, ids), torch.where(chosen, ids, -100)
        self.batch = PretrainingBatch(masked, None, segments, labels, next_sentence)

    def __len__(self) -> int:
        return len(self.batch.input_ids)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        """Return a row in the form of transformers' collators, with an attention mask."""
        fields = {name: value[row] for name, value in self.batch._asdict().items() if value is not None}
        return fields | {"attention_mask": torch.ones_like(fields["input_ids"])}

    def rows(self, first: int, count: int) -> PretrainingBatch:
        """Return a batch in the form of our shards, without an attention mask, since nothing is padded."""
        start = first % len(self)
        return PretrainingBatch._make(x if x is None else x[start : start + count] for x in self.batch)


# The peers


def models_of(case: Case) -> tuple[BertForPreTraining, transformers.BertForPreTraining]:
    """Return our model and transformers', with the same weights."""
    torch.manual_seed(0)
    config = config_of(case.model)
    ours = BertForPreTraining(config)
    fields = {**config.to_dict(), "attn_implementation": "sdpa"}
    theirs = transformers.BertForPreTraining(transformers.BertConfig(**fields))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def ours(case: Case, data: RandomPairs, device: torch.device, compiled: bool) -> Loop:
    """Return the loop of `train`."""
    options = TrainingOptions(
        steps=SCHEDULE_STEPS,
        batch_size=case.batch,
        precision=case.precision,
        compile="on" if compiled else "off",
        learning_rate=1e-4,
        log_every=SCHEDULE_STEPS,
    )
    task = Task(data.rows, pretraining_targets, pretraining_scores, None, {})
    return our_loop(models_of(case)[0], task, options, device)


def trainer(case: Case, data: RandomPairs, device: torch.device, compiled: bool) -> Loop:
    """Return the loop of transformers' Trainer."""
    return their_loop(
        models_of(case)[1],
        data,
        device,
        max_steps=SCHEDULE_STEPS,
        per_device_train_batch_size=case.batch,
        bf16=case.precision == "bf16",
        torch_compile=compiled,
    )


PEERS: dict[str, tuple[Callable[..., Loop], bool]] = {
    "ours": (ours, False),
    "ours, compiled": (ours, True),
    "Trainer": (trainer, False),
    "Trainer, compiled": (trainer, True),
}

MEMORY_PEERS = ("ours", "Trainer")  # peers whose memory is measured


def compare(case: Case, data: RandomPairs, device: torch.device) -> None:
    """Check that both give the same loss and gradients, without dropout and with perturbed weights."""
    losses, gradients = [], []
    batches = data.rows(0, case.batch)
    inputs = {name: value.to(device) for name, value in batches._asdict().items() if value is not None}
    for model in models_of(case):
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
        model.to(device).eval()
        with torch.autocast(device.type, torch.bfloat16, enabled=case.precision == "bf16"):
            loss = model(**inputs).loss
        loss.backward()
        losses.append(loss)
        gradients.append(model.bert.encoder.layer[0].attention.self.query.weight.grad)
    tolerance = 1e-4 if case.precision == "fp32" else 0.1
    check_same(f"{case}, loss", *losses, tolerance)
    check_same(f"{case}, gradient", *gradients, tolerance)


def two_steps_of(peer: str, case: Case, device: torch.device) -> None:
    """Take two steps, so that their memory can be measured."""
    make, compiled = PEERS[peer]
    loop = make(case, RandomPairs(case, 2), device, compiled)
    several(loop, 2)
    loop.end()


# The report


def operations(config: BertConfig, tokens: int, length: int) -> float:
    """Return the multiplications and additions of a step's matrix products; backward costs two forwards.

    The output layer is counted for the masked tokens only, since only these are predicted.
    """
    hidden = config.hidden_size
    layer = 4 * hidden**2 + 2 * hidden * config.intermediate_size + 2 * length * hidden
    head = MASKED * (hidden**2 + hidden * config.vocab_size)
    return 3 * 2 * tokens * (config.num_hidden_layers * layer + head)


def several(loop: Loop, steps: int) -> None:
    """Take several steps."""
    for _ in range(steps):
        loop()


def time_peers(names: Sequence[str], case: Case, device: torch.device, rounds: int) -> dict[str, Any]:
    """Time the steps of these peers."""
    steps = 10 if device.type == "cuda" else 1  # per turn: waiting for a GPU after each step would slow it
    tokens, data = case.batch * case.length, RandomPairs(case, 4)
    loops = {name: PEERS[name][0](case, data, device, PEERS[name][1]) for name in names}
    with peaks(device, case.precision) as fastest:
        times = in_turns(
            {name: partial(several, loop, steps) for name, loop in loops.items()}, device, rounds
        )
        for loop in loops.values():
            loop.end()
    floor = operations(config_of(case.model), tokens, case.length) / fastest[case.precision]
    return {
        "case": case._asdict(),
        "device": device.type,
        "steps_a_turn": steps,
        "seconds": {name: value._asdict() for name, value in times.items()},
        "tokens_per_second": {name: steps * tokens / value.median for name, value in times.items()},
        "peak": fastest[case.precision],
        "share_of_peak": {name: steps * floor / value.median for name, value in times.items()},
    }


def default_peer(device: torch.device) -> str:
    """Return the peer that `train` is with its defaults on this device."""
    return "ours, compiled" if device.type == "cuda" else "ours"


def time_ours(case: Case, device: torch.device, rounds: int) -> dict[str, Any]:
    """Time our steps alone, with the defaults of `train`."""
    name = default_peer(device)
    result = time_peers([name], case, device, rounds)
    measured = {key: result[key][name] for key in ("tokens_per_second", "share_of_peak")}
    return {"case": result["case"], "peak": result["peak"], **measured}


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """Check all peers on one case, time them and measure their memory."""
    device = setting.device
    compare(case, RandomPairs(case, 1), device)
    result = time_peers(list(PEERS), case, device, 3 if setting.quick else ROUNDS)
    if not setting.quick:
        result["memory_mb"] = {
            name: memory_of(device, two_steps_of, name, case, device) for name in MEMORY_PEERS
        }
    return result


def line(result: dict[str, Any]) -> list[str]:
    """Return the row of one case."""
    case, times = result["case"], {name: value["median"] for name, value in result["seconds"].items()}
    best_ours, best_theirs = (
        min(times[f"{name}{suffix}"] for suffix in ("", ", compiled")) for name in ("ours", "Trainer")
    )
    default = times[default_peer(torch.device(result["device"]))]
    memory = result.get("memory_mb", {})
    return [
        f"{case['model']}, {case['batch']} × {case['length']}, {case['precision']}",
        *(f"{1e3 * times[name] / result['steps_a_turn']:,.1f}" for name in PEERS),
        f"{times['Trainer'] / default:.2f}×",
        f"{best_theirs / best_ours:.2f}×",
        f"{max(result['share_of_peak'][name] for name in ('ours', 'ours, compiled')):.0%}",
        f"{memory['ours']:,.0f} / {memory['Trainer']:,.0f}" if memory else "–",
    ]


def main() -> None:
    setting = read_setting("pretraining_step", __doc__, packages=["accelerate"])
    transformers.utils.logging.set_verbosity_error()
    columns = [
        "model, batch × tokens",
        *(f"{name}, ms" for name in PEERS),
        "speedup over Trainer",
        "speedup, best of each",
        "our share of the peak",
        "memory, MB, ours / Trainer",
    ]
    table, results = Table("A pretraining step", columns, []), []
    for case in cases(setting):
        results.append(measure(case, setting))
        table.rows.append(line(results[-1]))
        print(", ".join(table.rows[-1]), flush=True)
        if setting.output:
            save(setting, setting.output, [table], results)
    keep(setting, [table], results)


if __name__ == "__main__":
    main()
