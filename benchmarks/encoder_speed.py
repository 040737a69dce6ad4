"""How fast is our encoder beside transformers', and how far from what the machine could do?

    python benchmarks/encoder_speed.py [--device cuda] [--preset mini] [--batch 16] [--length 128]

Everything is timed in one run, in turns, so that a busy machine slows all alike; ratios are what to report.
The floor is the time the matrix products alone would take at the speed measured for one large product.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import transformers

from bertlearn import BertConfig, BertModel

ROUNDS = 15


def matrix_operations(config: BertConfig, batch: int, length: int) -> float:
    """Return the multiplications and additions of one forward pass, matrix products only."""
    tokens, hidden = batch * length, config.hidden_size
    projections = 2 * tokens * (4 * hidden**2 + 2 * hidden * config.intermediate_size)
    attention = 2 * 2 * tokens * length * hidden
    return config.num_hidden_layers * (projections + attention)


def seconds(work: Callable[[], object], device: str) -> float:
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak(device: str, dtype: torch.dtype) -> float:
    """Return operations a second in a large matrix product."""
    size = 2048 if device == "cpu" else 8192
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    return 2 * size**3 / statistics.median(seconds(lambda: matrix @ matrix, device) for _ in range(ROUNDS))


def contestants(config: BertConfig, device: str) -> dict[str, torch.nn.Module]:
    models = {"ours": BertModel(config)}
    for kernel in ("sdpa", "eager"):
        fields = {**config.to_dict(), "attn_implementation": kernel}
        models[f"transformers {kernel}"] = transformers.BertModel(transformers.BertConfig(**fields))
    for model in models.values():
        model.load_state_dict(models["ours"].state_dict())
        model.to(device)
    return models


def forward(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Callable[[], object]:
    model.eval()

    def work() -> object:
        with torch.inference_mode():
            return model(**batch)

    return work


def forward_and_backward(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Callable[[], object]:
    model.train()

    def work() -> None:
        model.zero_grad()
        model(**batch).last_hidden_state.square().mean().backward()

    return work


def report(title: str, works: dict[str, Callable[[], object]], device: str, floor: float) -> None:
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS + 2):
        for name, work in works.items():
            times[name].append(seconds(work, device))
    medians = {name: statistics.median(values[2:]) for name, values in times.items()}
    print(f"\n{title}: floor {1e3 * floor:.1f} ms (matrix products at the measured peak)")
    for name, median in medians.items():
        share, ratio = floor / median, median / medians["ours"]
        print(
            f"  {name:<20} {1e3 * median:8.1f} ms   {share:4.0%} of the floor's speed   {ratio:5.2f} × ours"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    args = parser.parse_args()
    torch.manual_seed(0)
    config = BertConfig.preset(args.preset)
    models = contestants(config, args.device)
    ids = torch.randint(0, config.vocab_size, (args.batch, args.length), device=args.device)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    floor = matrix_operations(config, args.batch, args.length) / peak(args.device, torch.float32)
    for title, kind, cost in (("forward", forward, 1), ("forward and backward", forward_and_backward, 3)):
        report(title, {name: kind(model, batch) for name, model in models.items()}, args.device, cost * floor)


if __name__ == "__main__":
    main()
