"""Compute the stored runs of the knock-out lab of chapter 8, bertlearn/course/results/knockout.json.

    python tools/make_lab.py                   all runs (three to four hours on one core)
    python tools/make_lab.py --part 1/2        half of them; run --part 2/2 in a second terminal
    python tools/make_lab.py --time            only measure what a step costs, relative to BERT's, in turns

Each finished run is a row in a folder (--work), so that an interrupted series continues where it stopped.
The results file is replaced once all runs and the times are there.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bertlearn.course import knockout
from bertlearn.course.corpus import course_shards
from bertlearn.course.results import RESULTS, Row
from bertlearn.files import write_whole
from bertlearn.pretraining.corpus import Shards
from bertlearn.pretraining.run import pretraining_task
from bertlearn.training.distributed import Processes
from bertlearn.training.step import Stepper

SEEDS = (0, 1, 2)
TIMED, TURNS = 10, 20  # steps in a turn, turns


def name_of(on: Collection[str]) -> str:
    """Return a combination of switches as text, the same for the same switches."""
    return " ".join(name for name in knockout.SWITCHES if name in on)


def compute(on: frozenset[str], seed: int) -> list[Row]:
    """Run one combination with one seed; return a row for each evaluation."""
    started = time.process_time()
    run = knockout.run(on, seed, callback=lambda progress: False)
    if not run.finished:  # Ctrl-C: no row of half a run
        raise KeyboardInterrupt
    seconds = round(time.process_time() - started, 1)
    return [
        {
            "on": name_of(on),
            "seed": seed,
            "step": int(record["step"]),
            "loss": round(record["valid_mlm_loss"], 4),
            "accuracy": round(record["valid_mlm_accuracy"], 4),
            "core_seconds": seconds,  # of the whole run, evaluations included
        }
        for record in run.history
        if "valid_mlm_loss" in record
    ]


def relative_times() -> dict[str, float]:
    """Return the processor time of a step of each combination, divided by BERT's, measured in turns."""
    steppers = {name_of(on): _stepper(on) for on in knockout.knock_outs()}
    seconds: dict[str, list[float]] = {name: [] for name in steppers}
    for _ in tqdm(range(TURNS), unit="turn"):
        for name, stepper in steppers.items():
            started = time.process_time()
            for _ in range(TIMED):
                stepper.update(lambda: False)
            seconds[name].append(time.process_time() - started)
    bert = seconds[name_of(knockout.BERT)]
    return {
        name: round(statistics.median(mine / base for mine, base in zip(all_, bert, strict=True)), 3)
        for name, all_ in seconds.items()
    }


def _stepper(on: frozenset[str]) -> Stepper:
    """Return what takes steps of one combination, past the short chunks of the beginning."""
    shards = Shards.open(course_shards("train"))
    made = knockout.recipe(on | {"whole"}, len(shards.vocab))
    model = knockout.new_model(made.config, 0)
    task = pretraining_task(shards, made.options)
    return Stepper(model, task, made.options.training, Processes(0, 1, torch.device("cpu")))


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing; see the text above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("lab-work"), help="folder for finished runs")
    parser.add_argument("--part", default="1/1", help="which runs to do, such as 1/2")
    parser.add_argument("--time", action="store_true", help="measure times, and do no runs")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    times = options.work / "times.json"
    if options.time:
        _write(times, relative_times())
    else:
        part, parts = (int(number) for number in options.part.split("/"))
        jobs = [(on, seed) for seed in SEEDS for on in knockout.knock_outs()][part - 1 :: parts]
        for on, seed in tqdm(jobs, unit="run"):
            path = options.work / f"{name_of(on).replace(' ', '+') or 'bert'}-{seed}.json"
            if not path.exists():
                _write(path, compute(on, seed))
    _collect(options.work, times)


def _collect(work: Path, times: Path) -> None:
    """Write the results file if nothing is missing; otherwise say what is."""
    rows = [row for path in sorted(work.glob("*-[0-9].json")) for row in json.loads(path.read_text("utf-8"))]
    done, wanted = {(row["on"], row["seed"]) for row in rows}, len(SEEDS) * len(knockout.knock_outs())
    if len(done) < wanted or not times.exists():
        print(f"{len(done)} of {wanted} runs are finished; times {'are' if times.exists() else 'are not'}")
        return
    relative = json.loads(times.read_text("utf-8"))
    rows = [{**row, "relative_time": relative[row["on"]]} for row in rows]
    _write(RESULTS / "knockout.json", {"provenance": _provenance(), "rows": rows})


def _provenance() -> dict[str, Any]:
    return {
        "command": "python tools/make_lab.py",
        "settings": {"steps": knockout.STEPS, "seeds": SEEDS, "timed_steps": TIMED * TURNS},
        "data": Shards.open(course_shards("train")).fingerprint,
        "hardware": f"{platform.machine()}, one thread",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def _write(path: Path, value: object) -> None:
    text = json.dumps(value, indent=1) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
