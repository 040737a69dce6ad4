"""Compute the stored runs of the two labs, bertlearn/course/results/knockout.json and objectives.json.

    python tools/make_lab.py                         the knock-out lab (three to four hours on one core)
    python tools/make_lab.py objectives              the objectives lab of chapter 7 (about as long)
    python tools/make_lab.py objectives --part 1/2   half of it; run --part 2/2 in a second terminal
    python tools/make_lab.py --time                  only measure what a step costs, relative to BERT's

Each finished run is a file in a folder (--work, one for each lab), so that an interrupted series continues
where it stopped. A results file is replaced once all its runs, and the knock-out lab's times, are there.
Runs that it has are not repeated, so a further seed costs no more than itself: delete it to start anew.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bertlearn.course import knockout, objectives
from bertlearn.course.corpus import course_shards
from bertlearn.course.results import RESULTS, Row
from bertlearn.files import write_whole
from bertlearn.pretraining.corpus import Shards
from bertlearn.pretraining.run import pretraining_task
from bertlearn.training.distributed import Processes
from bertlearn.training.step import Stepper

SEEDS = (0, 1, 2)
TIMED, TURNS = 10, 20  # steps in a turn, turns
TIMES = "times.json"  # in the knock-out lab's folder


@dataclass(frozen=True)
class Lab:
    """The recipe of one results file: its runs by the name of their file, each returning rows."""

    command: str
    settings: dict[str, Any]
    runs: dict[str, Callable[[], list[Row]]]
    timed: bool  # whether relative times belong to its rows


# 1. The knock-out lab


def name_of(on: Collection[str]) -> str:
    """Return a combination of switches as text, the same for the same switches."""
    return " ".join(name for name in knockout.SWITCHES if name in on)


def knock_out(on: frozenset[str], seed: int) -> list[Row]:
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


def knockout_lab() -> Lab:
    runs = {
        f"{name_of(on).replace(' ', '+') or 'bert'}-{seed}": partial(knock_out, on, seed)
        for seed in SEEDS
        for on in knockout.knock_outs()
    }
    settings = {"steps": knockout.STEPS, "seeds": SEEDS, "timed_steps": TIMED * TURNS}
    return Lab("python tools/make_lab.py", settings, runs, timed=True)


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


# 2. The objectives lab


def objective(name: str, seed: int) -> list[Row]:
    """Pretrain one variant with one seed, measure it, and return its row."""
    variant = objectives.VARIANTS[name]
    started = time.process_time()
    model = objectives.run(variant, seed, callback=lambda progress: False)
    seconds = round(time.process_time() - started, 1)
    scores = objectives.scores(model, seed)
    return [
        {
            "variant": name,
            "seed": seed,
            **{column: None if value is None else round(value, 4) for column, value in scores.items()},
            "parameters": sum(parameter.numel() for parameter in objectives.encoder_of(model).parameters()),
            "core_seconds": seconds,  # of pretraining
        }
    ]


def objectives_lab() -> Lab:
    runs = {
        f"{name.replace(' ', '+')}-{seed}": partial(objective, name, seed)
        for seed in SEEDS
        for name in objectives.VARIANTS
    }
    settings = {"steps": knockout.STEPS, "seeds": SEEDS, "variants": list(objectives.VARIANTS)}
    return Lab("python tools/make_lab.py objectives", settings, runs, timed=False)


# 3. Either


LABS: dict[str, Callable[[], Lab]] = {"knockout": knockout_lab, "objectives": objectives_lab}


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing; see the text above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("lab", nargs="?", default="knockout", choices=LABS, help="which lab")
    parser.add_argument("--work", type=Path, help="folder for finished runs (default: LAB-work)")
    parser.add_argument("--part", default="1/1", help="which runs to do, such as 1/2")
    parser.add_argument(
        "--time", action="store_true", help="measure the knock-out lab's times, and do no runs"
    )
    options = parser.parse_args(arguments)
    lab, work = LABS[options.lab](), options.work or Path(f"{options.lab}-work")
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if options.time:
        _write(work / TIMES, relative_times())
    else:
        _restore(RESULTS / f"{options.lab}.json", work)
        part, parts = (int(number) for number in options.part.split("/"))
        for name in tqdm(list(lab.runs)[part - 1 :: parts], unit="run"):
            path = work / f"{name}.json"
            if not path.exists():
                _write(path, lab.runs[name]())
    _collect(lab, work, RESULTS / f"{options.lab}.json")


def _restore(results: Path, work: Path) -> None:
    """Write the file of each run that the results have."""
    found: dict[str, list[Row]] = {}
    for row in json.loads(results.read_text("utf-8"))["rows"] if results.exists() else []:
        subject = row.get("variant", row.get("on")).replace(" ", "+")
        own = {column: value for column, value in row.items() if column != "relative_time"}
        found.setdefault(f"{subject or 'bert'}-{row['seed']}.json", []).append(own)
    for name, rows in found.items():
        if not (work / name).exists():
            _write(work / name, rows)


def _collect(lab: Lab, work: Path, results: Path) -> None:
    """Write the results file if nothing is missing; otherwise say what is."""
    done = [work / f"{name}.json" for name in lab.runs if (work / f"{name}.json").exists()]
    times = work / TIMES
    if len(done) < len(lab.runs) or (lab.timed and not times.exists()):
        waiting = "; times are missing" if lab.timed and not times.exists() else ""
        print(f"{len(done)} of {len(lab.runs)} runs are finished{waiting}")
        return
    rows = [row for path in done for row in json.loads(path.read_text("utf-8"))]
    if lab.timed:
        relative = json.loads(times.read_text("utf-8"))
        rows = [{**row, "relative_time": relative[row["on"]]} for row in rows]
    _write(results, {"provenance": _provenance(lab), "rows": rows})


def _provenance(lab: Lab) -> dict[str, Any]:
    return {
        "command": lab.command,
        "settings": lab.settings,
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
