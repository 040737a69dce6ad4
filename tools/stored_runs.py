"""Series of runs whose rows become a results file: resumable, in parts, with provenance.

The rows of each finished run are kept in a folder (--work), so that an interrupted series continues where it
stopped. A run that was made with other settings is made again. A results file is replaced once all of its
runs are finished.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bertlearn.course.results import RESULTS, Row, check_rows
from bertlearn.data.sources import SOURCES
from bertlearn.files import write_whole


@dataclass(frozen=True)
class Experiment:
    """The recipe of one results file: its runs by name, each returning rows, and their common settings."""

    settings: dict[str, Any]
    runs: dict[str, Callable[[], list[Row]]]


@dataclass(frozen=True)
class Tool:
    """A script that makes results files: how it is called, its experiments, and the sources they read."""

    command: str
    experiments: Mapping[str, Callable[[Path], Experiment]]
    sources: tuple[str, ...]

    def compute(self, work: Path, name: str, part: tuple[int, int]) -> None:
        """Do the missing runs of one experiment that belong to part (i, n), every n-th from the i-th.

        Write the results file if all runs are finished afterwards.
        """
        experiment = self.experiments[name](work)
        settings = plain(experiment.settings)
        mine = list(experiment.runs)[part[0] - 1 :: part[1]]
        (work / name).mkdir(parents=True, exist_ok=True)
        for run in tqdm([run for run in mine if not is_done(work, name, run, settings)], desc=name):
            rows = experiment.runs[run]()
            check_rows(name, rows)
            write_text(run_file(work, name, run), json.dumps({"settings": settings, "rows": rows}))
        if all(is_done(work, name, run, settings) for run in experiment.runs):
            rows = [row for run in experiment.runs for row in read_run(work, name, run)]
            write_text(RESULTS / f"{name}.json", results_text(self.provenance(name, experiment), rows))

    def provenance(self, name: str, experiment: Experiment) -> dict[str, Any]:
        """Return where the rows come from."""
        return {
            "command": f"{self.command} {name}",
            "settings": plain(experiment.settings),
            "data": {source: SOURCES[source].sha256 for source in self.sources},
            "hardware": f"{torch.get_num_threads()} threads, {platform.machine()}",
            "python": platform.python_version(),
            "torch": version("torch"),
            "date": datetime.now(UTC).date().isoformat(),
        }

    def main(self, description: str | None) -> None:
        """Run the script's command line."""
        parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawTextHelpFormatter
        )
        names = ", ".join(self.experiments)
        parser.add_argument("names", nargs="*", metavar="FILE", help=f"{names}; default: all")
        parser.add_argument("--part", default="1/1", metavar="I/N", help="do every N-th run, from the I-th")
        parser.add_argument(
            "--work", type=Path, default=Path("results-run"), help="folder that keeps finished runs"
        )
        parser.add_argument("--threads", type=int, default=torch.get_num_threads())
        options = parser.parse_args()
        if unknown := set(options.names) - set(self.experiments):
            parser.error(f"{', '.join(unknown)}: no such results file; choose from {names}")
        torch.set_num_threads(options.threads)
        match = re.fullmatch(r"(\d+)/(\d+)", options.part)
        first, count = map(int, match.groups()) if match else (0, 0)
        if not 1 <= first <= count:
            parser.error(f"--part {options.part}: expected I/N with I from 1 to N, such as 1/2")
        for name in options.names or self.experiments:
            self.compute(options.work, name, (first, count))


def run_file(work: Path, name: str, run: str) -> Path:
    """Return the file that keeps the rows of a finished run."""
    return work / name / f"{run}.json"


def read_run(work: Path, name: str, run: str) -> list[Row]:
    """Return the rows of a finished run."""
    return json.loads(run_file(work, name, run).read_text(encoding="utf-8"))["rows"]


def is_done(work: Path, name: str, run: str, settings: dict[str, Any]) -> bool:
    """Return whether a run is finished, with these settings."""
    path = run_file(work, name, run)
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["settings"] == settings


def plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they are read from a file: tuples as lists."""
    return json.loads(json.dumps(settings))


def results_text(provenance: dict[str, Any], rows: list[Row]) -> str:
    """Return a results file, one row per line."""
    head = json.dumps(provenance, indent=1)
    body = ",\n".join(json.dumps(row) for row in rows)
    return f'{{"provenance": {head},\n"rows": [\n{body}\n]}}\n'


def write_text(path: Path, text: str) -> None:
    """Write a file atomically, in UTF-8."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
