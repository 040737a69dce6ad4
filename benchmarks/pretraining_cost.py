"""What does BERT-base on 3.3 billion words cost? Measured tokens a second, times the tokens of the paper.

    python -m benchmarks.pretraining_cost [--presets tiny base] [--batch 8]

For each size and length it times whole training steps (forward, backward, clipping, AdamW) on random tokens,
masked at 15 %, and extrapolates. Devlin et al. 2019, appendix A.2: 1,000,000 steps of 256 sequences, 90 % of
the steps with 128 tokens, 10 % with 512: 43 billion tokens. (The paper's "40 epochs" over 3.3 billion words
counts 512 tokens at every step.)
"""

from __future__ import annotations

import argparse
import statistics

import torch

from benchmarks.common import peak, seconds
from benchmarks.pretraining_step import operations
from bertlearn.config import PRESETS, BertConfig
from bertlearn.options import TrainingOptions
from bertlearn.pretraining import BertForPreTraining
from bertlearn.training import make_optimizer, use_bf16

SEQUENCES = 256 * 1_000_000
TOKENS = {128: 0.9 * SEQUENCES * 128, 512: 0.1 * SEQUENCES * 512}
OPTIONS = TrainingOptions()


def tokens_per_second(config: BertConfig, length: int, batch: int, device: torch.device, steps: int) -> float:
    """Return the median over some training steps, the first ones left out."""
    model = BertForPreTraining(config).to(device).train()
    if device.type == "cuda":
        model.compile()
    optimizer = make_optimizer(model, OPTIONS)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, config.vocab_size, (batch, length), generator=generator)
    labels = torch.where(torch.rand(ids.shape, generator=generator) < 0.15, ids, -100)
    following = torch.randint(0, 2, (batch,), generator=generator)
    inputs = {"input_ids": ids, "labels": labels, "next_sentence_label": following}
    inputs = {name: tensor.to(device) for name, tensor in inputs.items()}

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, use_bf16(OPTIONS, device)):
            loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIONS.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()

    times = [seconds(step, device) for _ in range(steps)]
    return batch * length / statistics.median(times[2:])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pretraining_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=["tiny", "base"])
    parser.add_argument("--batch", type=int, default=8, help="sequences of 128 tokens (a quarter for 512)")
    parser.add_argument(
        "--steps", type=int, default=8, help="of each size, 3 at least; the first two do not count"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if arguments.steps < 3:
        parser.error(f"--steps {arguments.steps}: 3 at least, since the first two do not count")
    device = torch.device(arguments.device)
    dtype = torch.bfloat16 if use_bf16(OPTIONS, device) else torch.float32
    best = peak(device, dtype)
    print(f"{device}, {torch.get_num_threads()} threads, {dtype}: {best / 1e9:.0f} GFLOP/s in a product\n")
    print("| model | tokens/s at 128 | tokens/s at 512 | share of the peak | days for the paper's run |")
    print("|---|---|---|---|---|")
    for preset in arguments.presets:
        config = BertConfig.preset(preset)
        speeds = {
            length: tokens_per_second(
                config, length, max(1, arguments.batch * 128 // length), device, arguments.steps
            )
            for length in TOKENS
        }
        days = sum(TOKENS[length] / speed for length, speed in speeds.items()) / 86400
        share = speeds[128] * operations(config, 1, 128) / best
        print(
            f"| {preset} | {speeds[128]:,.0f} | {speeds[512]:,.0f} | {share:.0%} | {days:,.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
