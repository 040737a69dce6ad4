"""How long would the pretraining run of BERT's paper take on this machine?

    python -m benchmarks.pretraining_cost [--quick] [--device cuda]

The measured tokens per second of `train` are extrapolated to the run of the paper. The steps are those of
`pretraining_step`, with BERT's vocabulary and in the default precision of `train`. Devlin et al. 2019,
appendix A.2: 1,000,000 steps of 256 sequences, 90 % of them with 128 tokens and 10 % with 512, together
43 billion tokens. (The paper's "40 epochs" over 3.3 billion words count 512 tokens in every step.)
"""

from __future__ import annotations

from typing import Any

from benchmarks.common import Setting, Table, keep, read_setting
from benchmarks.pretraining_step import TOKENS, Case, time_ours
from bertlearn.training.options import TrainingOptions
from bertlearn.training.step import use_bf16

SEQUENCES = 256 * 1_000_000
PAPER = {128: 0.9 * SEQUENCES * 128, 512: 0.1 * SEQUENCES * 512}  # tokens, by the length of the sequences


def measure(model: str, setting: Setting) -> list[dict[str, Any]]:
    """Time steps with sequences of both lengths."""
    device = setting.device
    precision = "bf16" if use_bf16(TrainingOptions(), device) else "fp32"
    cases = [Case(model, length, TOKENS[device.type] // length, precision) for length in PAPER]
    return [time_ours(case, device, 2 if setting.quick else 5) for case in cases]


def row(results: list[dict[str, Any]]) -> list[str]:
    """Return a model's row of the table."""
    speeds = {result["case"]["length"]: result["tokens_per_second"] for result in results}
    days = sum(PAPER[length] / speed for length, speed in speeds.items()) / 86400
    case = results[0]["case"]
    return [
        f"{case['model']}, {case['precision']}",
        *(f"{speed:,.0f}" for speed in speeds.values()),
        f"{results[0]['share_of_peak']:.0%}",
        f"{days:,.0f}",
    ]


def main() -> None:
    setting = read_setting("pretraining_cost", __doc__)
    models = [measure(model, setting) for model in (("tiny",) if setting.quick else ("tiny", "base"))]
    columns = [
        "",
        *(f"tokens per second in sequences of {length}" for length in PAPER),
        f"share of the peak at {min(PAPER)}",
        "days for the paper's run",
    ]
    keep(
        setting,
        [Table("Pretraining as in BERT's paper", columns, [row(results) for results in models])],
        models,
    )


if __name__ == "__main__":
    main()
