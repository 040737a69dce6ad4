"""How long is a step of pretraining beside transformers' Trainer, as it comes and at its best?

    python -m benchmarks.pretraining_step [--quick] [--device cuda]

A step: forward, backward, clipping, AdamW, with dropout, masked tokens (15 %) and pairs; random tokens,
nothing padded. Each peer runs its own training loop: ours is `bertlearn.training.train`, theirs
`transformers.Trainer` as it comes (SDPA attention, fused AdamW), and the same with `torch_compile=True`.
"ours, compiled" is `TrainingOptions(compile="on")`, the default on a GPU.
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
MANY = 100_000  # steps of a schedule that no benchmark comes to the end of
MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
ROUNDS = 7
TOKENS = {"cpu": 2048, "cuda": 32_768}  # a step: as many as the device has use for


class Case(NamedTuple):
    """One line of the table."""

    model: str
    length: int
    batch: int
    precision: str


def config_of(model: str) -> BertConfig:
    """Return one of the published sizes, or MiniLM's, with dropout and BERT's vocabulary."""
    return BertConfig(**MINILM) if model == "MiniLM-6" else BertConfig.preset(model)


def cases(setting: Setting) -> list[Case]:
    """Return what is measured."""
    if setting.quick:
        return [Case("tiny", 128, 4, "fp32")]
    return [
        Case(model, length, TOKENS[setting.device.type] // length, precision)
        for model in ("tiny", "mini", "MiniLM-6", "base")
        for length in (128, 512)
        for precision in DTYPES
    ]


class RandomPairs(Dataset):
    """Sequences of chance, masked, with all that `BertForPreTraining` takes."""

    def __init__(self, case: Case, count: int) -> None:
        chance = torch.Generator().manual_seed(0)
        shape = (count * case.batch, case.length)
        ids = torch.randint(1000, config_of(case.model).vocab_size, shape, generator=chance)
        chosen = torch.rand(shape, generator=chance) < MASKED
        segments = (torch.arange(case.length) >= case.length // 2).long().expand(shape)
        following = torch.randint(0, 2, shape[:1], generator=chance)
        masked, labels = torch.where(chosen, 103, ids), torch.where(chosen, ids, -100)
        self.batch = PretrainingBatch(masked, None, segments, labels, following)

    def __len__(self) -> int:
        return len(self.batch.input_ids)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        """Return a row as transformers' collators leave it: with a mask."""
        fields = {name: value[row] for name, value in self.batch._asdict().items() if value is not None}
        return fields | {"attention_mask": torch.ones_like(fields["input_ids"])}

    def rows(self, first: int, count: int) -> PretrainingBatch:
        """Return some rows as our shards give them: without a mask, since nothing is padded."""
        begin = first % len(self)
        return PretrainingBatch._make(x if x is None else x[begin : begin + count] for x in self.batch)


# The peers


def models_of(case: Case) -> tuple[BertForPreTraining, transformers.BertForPreTraining]:
    """Return ours and transformers' model with the same weights."""
    torch.manual_seed(0)
    config = config_of(case.model)
    ours = BertForPreTraining(config)
    fields = {**config.to_dict(), "attn_implementation": "sdpa"}
    theirs = transformers.BertForPreTraining(transformers.BertConfig(**fields))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def ours(case: Case, data: RandomPairs, device: torch.device, compiled: bool) -> Loop:
    """Return `train`, a step at a call."""
    options = TrainingOptions(
        steps=MANY,
        batch_size=case.batch,
        precision=case.precision,
        compile="on" if compiled else "off",
        learning_rate=1e-4,
        log_every=MANY,
    )
    task = Task(data.rows, pretraining_targets, pretraining_scores, None, {})
    return our_loop(models_of(case)[0], task, options, device)


def trainer(case: Case, data: RandomPairs, device: torch.device, compiled: bool) -> Loop:
    """Return transformers' Trainer, a step at a call."""
    return their_loop(
        models_of(case)[1],
        data,
        device,
        max_steps=MANY,
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


MEASURED = ("ours", "Trainer")  # whose memory is looked at


def compare(case: Case, data: RandomPairs, device: torch.device) -> None:
    """Check that both give the same loss and gradients, without dropout and with weights of large spread."""
    losses, gradients = [], []
    batches = data.rows(0, case.batch)
    inputs = {name: value.to(device) for name, value in batches._asdict().items() if value is not None}
    for model in models_of(case):
        chance = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn(parameter.shape, generator=chance)
        model.to(device).eval()
        with torch.autocast(device.type, torch.bfloat16, enabled=case.precision == "bf16"):
            loss = model(**inputs).loss
        loss.backward()
        losses.append(loss)
        gradients.append(model.bert.encoder.layer[0].attention.self.query.weight.grad)
    tolerance = 1e-4 if case.precision == "fp32" else 0.1
    check_same(f"{case}, loss", *losses, tolerance)
    check_same(f"{case}, gradient", *gradients, tolerance)


def one_step_of(peer: str, case: Case, device: torch.device) -> None:
    """Do two steps, to see the memory they take."""
    make, compiled = PEERS[peer]
    loop = make(case, RandomPairs(case, 2), device, compiled)
    several(loop, 2)
    loop.end()


# The report


def operations(config: BertConfig, tokens: int, length: int) -> float:
    """Return the multiplications and additions of a step, matrix products only; backward costs two forwards.

    The vocabulary is counted for the masked tokens only, since only these are guessed.
    """
    hidden = config.hidden_size
    layer = 4 * hidden**2 + 2 * hidden * config.intermediate_size + 2 * length * hidden
    head = MASKED * (hidden**2 + hidden * config.vocab_size)
    return 3 * 2 * tokens * (config.num_hidden_layers * layer + head)


def several(loop: Loop, steps: int) -> None:
    """Do some steps."""
    for _ in range(steps):
        loop()


def time_peers(names: Sequence[str], case: Case, device: torch.device, rounds: int) -> dict[str, Any]:
    """Time a step of these peers."""
    steps = 10 if device.type == "cuda" else 1  # in a turn: waiting for a GPU after each would slow it
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


def chosen_by_train(device: torch.device) -> str:
    """Return which of ours `train` is if nobody tells it."""
    return "ours, compiled" if device.type == "cuda" else "ours"


def time_ours(case: Case, device: torch.device, rounds: int) -> dict[str, Any]:
    """Time a step of ours alone, as `train` does it by itself."""
    name = chosen_by_train(device)
    found = time_peers([name], case, device, rounds)
    one = {key: found[key][name] for key in ("tokens_per_second", "share_of_peak")}
    return {"case": found["case"], "peak": found["peak"], **one}


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """Compare all peers on one case, time them, and look at their memory."""
    device = setting.device
    compare(case, RandomPairs(case, 1), device)
    found = time_peers(list(PEERS), case, device, 3 if setting.quick else ROUNDS)
    if not setting.quick:
        found["memory_mb"] = {name: memory_of(device, one_step_of, name, case, device) for name in MEASURED}
    return found


def line(found: dict[str, Any]) -> list[str]:
    """Return one case as a row of the table."""
    case, times = found["case"], {name: value["median"] for name, value in found["seconds"].items()}
    best_ours, best_theirs = (
        min(times[f"{who}{how}"] for how in ("", ", compiled")) for who in ("ours", "Trainer")
    )
    default = times[chosen_by_train(torch.device(found["device"]))]
    memory = found.get("memory_mb", {})
    return [
        f"{case['model']}, {case['batch']} × {case['length']}, {case['precision']}",
        *(f"{1e3 * times[name] / found['steps_a_turn']:,.1f}" for name in PEERS),
        f"{times['Trainer'] / default:.2f}×",
        f"{best_theirs / best_ours:.2f}×",
        f"{max(found['share_of_peak'][name] for name in ('ours', 'ours, compiled')):.0%}",
        f"{memory['ours']:,.0f} / {memory['Trainer']:,.0f}" if memory else "–",
    ]


def main() -> None:
    setting = read_setting("pretraining_step", __doc__, packages=["accelerate"])
    transformers.utils.logging.set_verbosity_error()
    columns = [
        "model, batch × tokens",
        *(f"{name}, ms" for name in PEERS),
        "ours : Trainer",
        "best : best",
        "our share of the peak",
        "memory, MB, ours / Trainer",
    ]
    table, found = Table("A step of pretraining", columns, []), []
    for case in cases(setting):
        found.append(measure(case, setting))
        table.rows.append(line(found[-1]))
        print(", ".join(table.rows[-1]), flush=True)
        if setting.output:
            save(setting, setting.output, [table], found)
    keep(setting, [table], found)


if __name__ == "__main__":
    main()
