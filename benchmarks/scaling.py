"""How do time and memory grow with the sequence length, batch size, model size and number of processes?

    python -m benchmarks.scaling [--quick] [--device cuda]

1. One layer, forward and backward, with sequences of 64 to 4,096 tokens and 4,096 tokens per batch: ours with
   fused attention, ours with unfused attention (used for `output_attentions=True`), and torch's own
   `nn.TransformerEncoderLayer` with the same weights.
2. The full mini model at the same lengths, fused and unfused.
3. A training step by model and batch size: the time per token.
4. The same training step in one process with all threads, and in two processes with half of the threads each
   (on a CPU only).
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
VARIANTS = ("ours, fused", "ours, unfused", "torch's layer")


# 1. A layer


def torch_layer(layer: BertLayer, config: BertConfig) -> nn.TransformerEncoderLayer:
    """Return torch's own layer with our layer's weights."""
    theirs = nn.TransformerEncoderLayer(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=config.layer_norm_eps,
        batch_first=True,
    )
    ours, state = layer.state_dict(), {}
    projections = [f"attention.self.{name}" for name in ("query", "key", "value")]
    for kind in ("weight", "bias"):
        state[f"self_attn.in_proj_{kind}"] = torch.cat([ours[f"{name}.{kind}"] for name in projections])
        for theirs_name, ours_name in (
            ("self_attn.out_proj", "attention.output.dense"),
            ("norm1", "attention.output.LayerNorm"),
            ("linear1", "intermediate.dense"),
            ("linear2", "output.dense"),
            ("norm2", "output.LayerNorm"),
        ):
            state[f"{theirs_name}.{kind}"] = ours[f"{ours_name}.{kind}"]
    theirs.load_state_dict(state)
    return theirs


def layers(device: torch.device) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the three variants of one layer, with the same weights."""
    torch.manual_seed(0)
    config = BertConfig(**SHAPE, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    layer = BertLayer(config).to(device)
    theirs = torch_layer(layer, config).to(device)
    return {
        "ours, fused": lambda x: layer(x).context,
        "ours, unfused": lambda x: layer(x, output_attentions=True).context,
        "torch's layer": theirs,
    }


def forward_backward(layer: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Run a layer forward and backward."""
    layer(x).sum().backward()


def layer_once(name: str, length: int, device: torch.device) -> None:
    """Run a layer once, so that its memory can be measured."""
    forward_backward(layers(device)[name], vectors(length, device))


def vectors(length: int, device: torch.device) -> Tensor:
    """Return TOKENS random vectors in sequences of this length, floats (TOKENS / length, length, H)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(TOKENS // length, length, SHAPE["hidden_size"], generator=generator).to(device)


def by_length(setting: Setting) -> list[dict[str, Any]]:
    """Time a layer at every length."""
    results, variants, device = [], layers(setting.device), setting.device
    for length in (64, 512) if setting.quick else LENGTHS:
        x = vectors(length, device)
        for name, layer in variants.items():
            check_same(f"a layer at {length}, {name}", variants["ours, fused"](x), layer(x), 1e-4)
        works = {name: partial(forward_backward, layer, x) for name, layer in variants.items()}
        standalone = {name: partial(layer_once, name, length, device) for name in VARIANTS}
        results.append(measured(length, works, standalone, setting, 15))
    return results


def measured(
    length: int, works: dict[str, Work], standalone: dict[str, Work], setting: Setting, rounds: int
) -> dict[str, Any]:
    """Time `works` in turns; measure the memory of each of `standalone` in a separate process."""
    times = in_turns(works, setting.device, 3 if setting.quick else rounds)
    memory_works = {} if setting.quick else standalone
    return {
        "length": length,
        "seconds": {name: value._asdict() for name, value in times.items()},
        "memory_mb": {name: memory_of(setting.device, work) for name, work in memory_works.items()},
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


def model_forward_backward(model: BertModel, unfused: bool, length: int, device: torch.device) -> None:
    """Run the full model forward and backward."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 30_000, (TOKENS // length, length), generator=generator).to(device)
    model(ids, output_attentions=unfused).last_hidden_state.sum().backward()


def model_once(unfused: bool, length: int, device: torch.device) -> None:
    """Run the model once, so that its memory can be measured."""
    model_forward_backward(model_of(device), unfused, length, device)


def model_by_length(setting: Setting) -> list[dict[str, Any]]:
    """Time the model at every length."""
    results, model, device = [], model_of(setting.device), setting.device
    variants = dict(zip(VARIANTS, (False, True), strict=False))
    for length in (64, 512) if setting.quick else LENGTHS:
        works: dict[str, Work] = {
            name: partial(model_forward_backward, model, unfused, length, device)
            for name, unfused in variants.items()
        }
        standalone: dict[str, Work] = {
            name: partial(model_once, unfused, length, device) for name, unfused in variants.items()
        }
        results.append(measured(length, works, standalone, setting, 5))
    return results


# 3. Model and batch size


def by_model_and_batch(setting: Setting) -> list[dict[str, Any]]:
    """Time training steps with sequences of 128 tokens."""
    factor, precision = (8, "bf16") if setting.device.type == "cuda" else (1, "fp32")
    return [
        time_ours(Case(model, 128, batch * factor, precision), setting.device, 2 if setting.quick else 5)
        for model in (("tiny",) if setting.quick else ("tiny", "mini", "MiniLM-6", "base"))
        for batch in ((1, 4) if setting.quick else (1, 4, 16, 64))
    ]


# 4. Processes


def shared_step(model: str, processes: int, threads: int, steps: int) -> float:
    """Return the median seconds of a step shared by some processes, measured in a separate run."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "benchmarks.shared_steps", model, str(steps)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    completed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(completed.stdout.split()[-1])


def by_processes(setting: Setting) -> list[dict[str, Any]]:
    """Time the same steps in one process and in two; runs of each alternate."""
    results, cores = [], torch.get_num_threads()
    threads = {1: cores, 2: max(1, cores // 2)}
    for model in ("tiny",) if setting.quick else ("tiny", "mini"):
        turns: dict[int, list[float]] = {processes: [] for processes in threads}
        for _ in range(1 if setting.quick else 5):
            for processes, count in threads.items():
                turns[processes].append(shared_step(model, processes, count, 3 if setting.quick else 10))
        results += [
            {"model": model, "processes": processes, "threads_each": threads[processes], "turns": durations}
            for processes, durations in turns.items()
        ]
    return results


# The report


def length_rows(results: list[dict[str, Any]], names: tuple[str, ...]) -> list[list[str]]:
    """Return the rows of a table by length."""
    rows = []
    for result in results:
        times = [result["seconds"][name]["median"] for name in names]
        memory = [f"{result['memory_mb'][name]:,.0f}" if result["memory_mb"] else "–" for name in names]
        rows.append([f"{result['length']:,}", *(f"{1e3 * seconds:,.1f}" for seconds in times), *memory])
    return rows


def process_rows(results: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of the table by processes; speeds are compared turn by turn."""
    single = {result["model"]: result["turns"] for result in results if result["processes"] == 1}
    rows = []
    for result in results:
        rows.append(
            [
                result["model"],
                str(result["processes"]),
                str(result["threads_each"]),
                milliseconds(spread(result["turns"])),
                times_as_long(single[result["model"]], result["turns"]),
            ]
        )
    return rows


def main() -> None:
    setting = read_setting("scaling", __doc__)
    on_gpu = setting.device.type == "cuda"
    lengths, model, costs = by_length(setting), model_by_length(setting), by_model_and_batch(setting)
    processes = [] if on_gpu else by_processes(setting)
    columns = ["tokens", *(f"{name}, ms" for name in VARIANTS), *(f"{name}, MB" for name in VARIANTS)]
    tables = [
        Table(
            "A layer of 256 features, 4 heads, 4,096 tokens, forward and backward, no dropout",
            columns,
            length_rows(lengths, VARIANTS),
        ),
        Table(
            "The mini model, 4,096 tokens, forward and backward, no dropout",
            ["tokens", *(f"{name}, ms" for name in VARIANTS[:2]), *(f"{name}, MB" for name in VARIANTS[:2])],
            length_rows(model, VARIANTS[:2]),
        ),
        Table(
            "A pretraining step with sequences of 128 tokens",
            ["model", "sequences", "µs per token", "share of the peak"],
            [
                [
                    cost["case"]["model"],
                    str(cost["case"]["batch"]),
                    f"{1e6 / cost['tokens_per_second']:,.1f}",
                    f"{cost['share_of_peak']:.0%}",
                ]
                for cost in costs
            ],
        ),
    ]
    if processes:
        tables.append(
            Table(
                "A pretraining step with 32 sequences of 128 tokens",
                [
                    "model",
                    "processes",
                    "threads per process",
                    "ms per step (interquartile range)",
                    "speedup (interquartile range)",
                ],
                process_rows(processes),
            )
        )
    raw = {"layer": lengths, "model": model, "cost": costs, "processes": processes}
    keep(setting, tables, raw)


if __name__ == "__main__":
    main()
