"""How do time and memory grow with the length of the text, the batch, the model and the processes?

    python -m benchmarks.scaling [--quick] [--device cuda]

1. One layer, forward and backward, at 64 to 4,096 tokens: ours with fused attention, ours written out (what
   `output_attentions` takes), torch's own `nn.TransformerEncoderLayer`, with the same weights and 4,096
   tokens a batch.
2. The whole mini model at the same lengths, fused and written out.
3. A training step by model and batch: what a token costs.
4. The same step shared by one process with all threads, and by two with half of them each (on a CPU).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import (
    Setting,
    Table,
    Work,
    check_same,
    in_turns,
    keep,
    memory_of,
    milliseconds,
    read_setting,
    spread,
    times_as_long,
)
from benchmarks.pretraining_step import Case, time_ours
from bertlearn import BertConfig, BertModel
from bertlearn.model.bert import BertLayer

LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
TOKENS = 4096
SHAPE = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
WAYS = ("ours, fused", "ours, written out", "torch's layer")


# 1. A layer


def torch_layer(layer: BertLayer, config: BertConfig) -> nn.TransformerEncoderLayer:
    """Return torch's own layer with the weights of ours."""
    theirs = nn.TransformerEncoderLayer(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=config.layer_norm_eps,
        batch_first=True,
    )
    own, state = layer.state_dict(), {}
    parts = [f"attention.self.{name}" for name in ("query", "key", "value")]
    for kind in ("weight", "bias"):
        state[f"self_attn.in_proj_{kind}"] = torch.cat([own[f"{part}.{kind}"] for part in parts])
        for theirs_name, ours_name in (
            ("self_attn.out_proj", "attention.output.dense"),
            ("norm1", "attention.output.LayerNorm"),
            ("linear1", "intermediate.dense"),
            ("linear2", "output.dense"),
            ("norm2", "output.LayerNorm"),
        ):
            state[f"{theirs_name}.{kind}"] = own[f"{ours_name}.{kind}"]
    theirs.load_state_dict(state)
    return theirs


def layers(device: torch.device) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the three ways through one layer."""
    torch.manual_seed(0)
    config = BertConfig(**SHAPE, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    layer = BertLayer(config).to(device)
    theirs = torch_layer(layer, config).to(device)
    return {
        "ours, fused": lambda x: layer(x).context,
        "ours, written out": lambda x: layer(x, output_attentions=True).context,
        "torch's layer": theirs,
    }


def there_and_back(way: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Go forward and backward."""
    way(x).sum().backward()


def layer_once(name: str, length: int, device: torch.device) -> None:
    """Go through a layer once, to see the memory it takes."""
    there_and_back(layers(device)[name], vectors(length, device))


def vectors(length: int, device: torch.device) -> Tensor:
    """Return TOKENS random vectors in sequences of a length."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(TOKENS // length, length, SHAPE["hidden_size"], generator=generator).to(device)


def by_length(setting: Setting) -> list[dict[str, Any]]:
    """Time a layer at every length."""
    found, ways, device = [], layers(setting.device), setting.device
    for length in (64, 512) if setting.quick else LENGTHS:
        x = vectors(length, device)
        for name, way in ways.items():
            check_same(f"a layer at {length}, {name}", ways["ours, fused"](x), way(x), 1e-4)
        works = {name: partial(there_and_back, way, x) for name, way in ways.items()}
        alone = {name: partial(layer_once, name, length, device) for name in WAYS}
        found.append(measured(length, works, alone, setting, 15))
    return found


def measured(
    length: int, works: dict[str, Work], alone: dict[str, Work], setting: Setting, rounds: int
) -> dict[str, Any]:
    """Time the ways in turns; look at the memory of each `alone`, in a process of its own."""
    times = in_turns(works, setting.device, 3 if setting.quick else rounds)
    looked_at = {} if setting.quick else alone
    return {
        "length": length,
        "seconds": {name: one._asdict() for name, one in times.items()},
        "memory_mb": {name: memory_of(setting.device, work) for name, work in looked_at.items()},
    }


# 2. The model


def model_of(device: torch.device) -> BertModel:
    """Return the mini model with 4,096 positions, without dropout."""
    torch.manual_seed(0)
    config = BertConfig.preset(
        "mini",
        max_position_embeddings=max(LENGTHS),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertModel(config).to(device)


def model_there_and_back(model: BertModel, written_out: bool, length: int, device: torch.device) -> None:
    """Go forward and backward through the whole model."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 30_000, (TOKENS // length, length), generator=generator).to(device)
    model(ids, output_attentions=written_out).last_hidden_state.sum().backward()


def model_once(written_out: bool, length: int, device: torch.device) -> None:
    """Go through the model once, to see the memory it takes."""
    model_there_and_back(model_of(device), written_out, length, device)


def whole_model(setting: Setting) -> list[dict[str, Any]]:
    """Time the model at every length."""
    found, model, device = [], model_of(setting.device), setting.device
    ways = dict(zip(WAYS, (False, True), strict=False))
    for length in (64, 512) if setting.quick else LENGTHS:
        works: dict[str, Work] = {
            name: partial(model_there_and_back, model, written_out, length, device)
            for name, written_out in ways.items()
        }
        alone: dict[str, Work] = {
            name: partial(model_once, written_out, length, device) for name, written_out in ways.items()
        }
        found.append(measured(length, works, alone, setting, 5))
    return found


# 3. Model and batch


def by_model_and_batch(setting: Setting) -> list[dict[str, Any]]:
    """Time training steps of 128 tokens."""
    larger, precision = (8, "bf16") if setting.device.type == "cuda" else (1, "fp32")
    return [
        time_ours(Case(model, 128, batch * larger, precision), setting.device, 2 if setting.quick else 5)
        for model in (("tiny",) if setting.quick else ("tiny", "mini", "MiniLM-6", "base"))
        for batch in ((1, 4) if setting.quick else (1, 4, 16, 64))
    ]


# 4. Processes


def shared_step(model: str, processes: int, threads: int, steps: int) -> float:
    """Return the median seconds of a step that so many processes share, in a run of its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "benchmarks.shared_steps", model, str(steps)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def by_processes(setting: Setting) -> list[dict[str, Any]]:
    """Time the same steps in one process and in two, runs of each in turns."""
    found, cores = [], torch.get_num_threads()
    threads = {1: cores, 2: max(1, cores // 2)}
    for model in ("tiny",) if setting.quick else ("tiny", "mini"):
        turns: dict[int, list[float]] = {processes: [] for processes in threads}
        for _ in range(1 if setting.quick else 5):
            for processes, each in threads.items():
                turns[processes].append(shared_step(model, processes, each, 3 if setting.quick else 10))
        found += [
            {"model": model, "processes": processes, "threads_each": threads[processes], "turns": taken}
            for processes, taken in turns.items()
        ]
    return found


# The report


def grown(found: list[dict[str, Any]], names: tuple[str, ...]) -> list[list[str]]:
    """Return the rows of a table by length."""
    rows = []
    for one in found:
        times = [one["seconds"][name]["median"] for name in names]
        memory = [f"{one['memory_mb'][name]:,.0f}" if one["memory_mb"] else "–" for name in names]
        rows.append([f"{one['length']:,}", *(f"{1e3 * taken:,.1f}" for taken in times), *memory])
    return rows


def shared(found: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of the table by processes; speeds are compared turn by turn."""
    alone = {one["model"]: one["turns"] for one in found if one["processes"] == 1}
    rows = []
    for one in found:
        rows.append(
            [
                one["model"],
                str(one["processes"]),
                str(one["threads_each"]),
                milliseconds(spread(one["turns"])),
                times_as_long(alone[one["model"]], one["turns"]),
            ]
        )
    return rows


def main() -> None:
    setting = read_setting("scaling", __doc__)
    on_gpu = setting.device.type == "cuda"
    lengths, model, costs = by_length(setting), whole_model(setting), by_model_and_batch(setting)
    processes = [] if on_gpu else by_processes(setting)
    columns = ["tokens", *(f"{name}, ms" for name in WAYS), *(f"{name}, MB" for name in WAYS)]
    tables = [
        Table(
            "A layer of 256 features, 4 heads, 4,096 tokens, forward and backward, no dropout",
            columns,
            grown(lengths, WAYS),
        ),
        Table(
            "The mini model, 4,096 tokens, forward and backward, no dropout",
            ["tokens", *(f"{name}, ms" for name in WAYS[:2]), *(f"{name}, MB" for name in WAYS[:2])],
            grown(model, WAYS[:2]),
        ),
        Table(
            "A step of pretraining with sequences of 128 tokens",
            ["model", "sequences", "µs a token", "share of the peak"],
            [
                [
                    one["case"]["model"],
                    str(one["case"]["batch"]),
                    f"{1e6 / one['tokens_per_second']:,.1f}",
                    f"{one['share_of_peak']:.0%}",
                ]
                for one in costs
            ],
        ),
    ]
    if processes:
        tables.append(
            Table(
                "A step of pretraining with 32 sequences of 128 tokens",
                ["model", "processes", "threads each", "ms a step (middle half)", "speed (middle half)"],
                shared(processes),
            )
        )
    raw = {"layer": lengths, "model": model, "cost": costs, "processes": processes}
    keep(setting, tables, raw)


if __name__ == "__main__":
    main()
