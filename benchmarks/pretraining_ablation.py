"""What gets a small BERT off the plateau? Ablation: one choice of the recipe is changed, with several seeds.

    python -m benchmarks.pretraining_ablation               do the missing runs, then print the table
    python -m benchmarks.pretraining_ablation --part 1/2    half of them; run --part 2/2 in a second terminal
    python -m benchmarks.pretraining_ablation --table       only print the table of the stored results

Results are stored in bertlearn/course/snapshots/ablation.csv, one line per evaluation, so an interrupted
series continues where it stopped. Every run reads the same number of tokens, 1.5 million. That is three
tenths of its learning rate schedule, and takes 2 to 10 minutes on two cores.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections import defaultdict
from dataclasses import replace
from typing import Any

from bertlearn.course.corpus import course_shards
from bertlearn.course.snapshots import SNAPSHOTS
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import pretrain
from bertlearn.training.options import TrainingOptions

RESULTS = SNAPSHOTS / "ablation.csv"
COLUMNS = ("variant", "seed", "step", "seconds", "loss", "accuracy", "nsp_accuracy")
OFF_THE_PLATEAU = 0.15  # held-out accuracy; unigrams give 0.12
SEEDS = 3
SHARE = 0.3  # of the schedule

RECIPE = PretrainOptions(training=TrainingOptions(evaluate_every=125, log_every=125))


def with_training(**changes: Any) -> PretrainOptions:
    return replace(RECIPE, training=replace(RECIPE.training, **changes))


def with_batch(size: int, every: int) -> PretrainOptions:
    """Return the recipe with another batch size, as many tokens, and an evaluation every `every` steps."""
    steps = RECIPE.training.steps * RECIPE.training.batch_size // size
    return with_training(batch_size=size, steps=steps, evaluate_every=every, log_every=every)


VARIANTS: dict[str, PretrainOptions] = {
    "the recipe": RECIPE,
    "whole sequences from the start": replace(RECIPE, short_share=0.0),
    "chunks of 16 tokens, not 8": replace(RECIPE, short_length=16),
    "chunks for twice as long": replace(RECIPE, short_share=0.2),
    "weights drawn with std 0.02": replace(RECIPE, initializer_range=0.02),
    "positions that start as sines": replace(RECIPE, positions="sinusoidal"),
    "dropout 0.1": replace(RECIPE, dropout=0.1),
    "15 % masked, as BERT": replace(RECIPE, mask_probability=0.15),
    "60 % masked": replace(RECIPE, mask_probability=0.6),
    "learning rate 1e-3, not 2e-3": with_training(learning_rate=1e-3),
    "learning rate 4e-3": with_training(learning_rate=4e-3),
    "8 sequences a step, twice the steps": with_batch(8, 250),
    "32 sequences a step, half the steps": with_batch(32, 50),
    "with pairs (NSP)": replace(RECIPE, pairs=True),
    "mini (4 layers, 256 features), learning rate 5e-4": replace(
        with_training(learning_rate=5e-4), preset="mini"
    ),
}


def last_step(options: PretrainOptions) -> int:
    return round(SHARE * options.training.steps)


def missing() -> list[tuple[int, str]]:
    done = {(row["seed"], row["variant"]) for row in read()}
    return [(seed, name) for seed in range(SEEDS) for name in VARIANTS if (str(seed), name) not in done]


def measure(name: str, seed: int) -> None:
    options = VARIANTS[name]
    options = replace(options, training=replace(options.training, seed=seed))
    data, held_out = course_shards("train"), course_shards("validation")
    run = pretrain(data, options, held_out=held_out, until=last_step(options)).run
    if run.step < last_step(options):
        sys.exit(f"stopped in “{name}”, seed {seed}; run the same command again to continue")
    is_new = not RESULTS.exists()
    with RESULTS.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(COLUMNS)
        for record in run.history:
            scores = [record.get(f"valid_{key}", "") for key in ("mlm_loss", "mlm_accuracy", "nsp_accuracy")]
            scores = [x if x == "" else f"{x:.4f}" for x in scores]
            writer.writerow([name, seed, record["step"], round(record["seconds"]), *scores])


def read() -> list[dict[str, str]]:
    if not RESULTS.exists():
        return []
    with RESULTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table() -> str:
    """Return a Markdown table: after how many tokens each variant left the plateau, and its final scores."""
    runs: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for row in read():
        runs[row["variant"]][row["seed"]].append(row)
    lines = [
        "| variant | off the plateau after (million tokens) | loss at the end | accuracy | seeds |",
        "|---|---|---|---|---|",
    ]
    for name in VARIANTS:
        if name in runs:
            lines.append(_line(name, [runs[name][seed] for seed in sorted(runs[name])]))
    return "\n".join(lines)


def _line(name: str, seeds: list[list[dict[str, str]]]) -> str:
    tokens = VARIANTS[name].training.batch_size * VARIANTS[name].max_length
    left = [
        next((row["step"] for row in rows if float(row["accuracy"]) >= OFF_THE_PLATEAU), None)
        for rows in seeds
    ]
    when = ", ".join("never" if step is None else f"{int(step) * tokens / 1e6:.2f}" for step in left)
    ends = [rows[-1] for rows in seeds]
    loss, accuracy = (_spread([float(row[key]) for row in ends]) for key in ("loss", "accuracy"))
    return f"| {name} | {when} | {loss} | {accuracy} | {len(seeds)} |"


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def part(text: str) -> slice:
    number, count = map(int, text.split("/"))
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f"{text}: I must be between 1 and N, as in 1/2")
    return slice(number - 1, None, count)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pretraining_ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", action="store_true", help="only print the table of the stored results")
    parser.add_argument(
        "--part", type=part, default="1/1", metavar="I/N", help="do every N-th run, from the I-th"
    )
    arguments = parser.parse_args()
    if not arguments.table:
        for seed, name in missing()[arguments.part]:
            measure(name, seed)
    print(table())


if __name__ == "__main__":
    main()
