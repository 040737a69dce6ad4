"""What takes a small BERT off the plateau? One choice of the recipe changed at a time, several seeds each.

    python -m benchmarks.pretraining_ablation               run what is missing, then print the table
    python -m benchmarks.pretraining_ablation --table       only print it, from the kept results

Results are kept in bertlearn/ladder/ablation.csv, one line for each look at the held-out text, so that
an interrupted series goes on where it was. Every run reads the same number of tokens a step (1,024).
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections import defaultdict
from dataclasses import replace

from bertlearn.options import PretrainOptions, TrainingOptions
from bertlearn.pretrain import LADDER, course_shards, pretrain

RESULTS = LADDER / "ablation.csv"
COLUMNS = ("variant", "seed", "step", "seconds", "loss", "accuracy", "nsp_accuracy")
OFF_THE_PLATEAU = 0.15  # held-out accuracy; unigrams give 0.12
SEEDS = 3
UNTIL = 2500  # steps of a schedule of 5000

RECIPE = PretrainOptions(training=TrainingOptions(evaluate_every=125, log_every=125))


def with_training(**changes: float) -> PretrainOptions:
    return replace(RECIPE, training=replace(RECIPE.training, **changes))


VARIANTS: dict[str, PretrainOptions] = {
    "the recipe": RECIPE,
    "64 tokens from the start": replace(RECIPE, short_share=0.0),
    "16 tokens first, not 8": replace(RECIPE, short_length=16),
    "weights drawn with std 0.02": replace(RECIPE, initializer_range=0.02),
    "random positions": replace(RECIPE, positions="random"),
    "dropout 0.1": replace(RECIPE, dropout=0.1),
    "15 % masked, not 20": replace(RECIPE, mask_probability=0.15),
    "learning rate 1e-3, not 2e-3": with_training(learning_rate=1e-3),
    "learning rate 4e-3": with_training(learning_rate=4e-3),
    "with pairs (NSP)": replace(RECIPE, pairs=True),
}


def missing() -> list[tuple[int, str]]:
    done = {(row["seed"], row["variant"]) for row in read() if int(row["step"]) == UNTIL}
    return [(seed, name) for seed in range(SEEDS) for name in VARIANTS if (str(seed), name) not in done]


def measure(name: str, seed: int) -> None:
    options = VARIANTS[name]
    options = replace(options, training=replace(options.training, seed=seed))
    data, held_out = course_shards("train"), course_shards("validation")
    run = pretrain(data, options, held_out=held_out, until=UNTIL).run
    is_new = not RESULTS.exists()
    with RESULTS.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(COLUMNS)
        for record in run.history:
            found = [record.get(f"valid_{key}", "") for key in ("mlm_loss", "mlm_accuracy", "nsp_accuracy")]
            found = [x if x == "" else round(x, 4) for x in found]
            writer.writerow([name, seed, record["step"], round(record["seconds"]), *found])


def read() -> list[dict[str, str]]:
    if not RESULTS.exists():
        return []
    with RESULTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table() -> str:
    """Return a Markdown table: the step at which each variant left the plateau, and where it ended."""
    runs: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for row in read():
        runs[row["variant"]][row["seed"]].append(row)
    lines = [
        f"| variant | off the plateau at step | loss at step {UNTIL} | accuracy | seeds |",
        "|---|---|---|---|---|",
    ]
    for name in VARIANTS:
        if name in runs:
            lines.append(_line(name, list(runs[name].values())))
    return "\n".join(lines)


def _line(name: str, seeds: list[list[dict[str, str]]]) -> str:
    left = [
        next((row["step"] for row in rows if float(row["accuracy"]) >= OFF_THE_PLATEAU), "never")
        for rows in seeds
    ]
    ends = [rows[-1] for rows in seeds]
    loss, accuracy = (_spread([float(row[key]) for row in ends]) for key in ("loss", "accuracy"))
    return f"| {name} | {', '.join(left)} | {loss} | {accuracy} | {len(seeds)} |"


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true", help="only print the table of the kept results")
    if not parser.parse_args().table:
        for seed, name in missing():
            measure(name, seed)
    print(table())


if __name__ == "__main__":
    main()
