"""The history of a run: plain records, one a line of a CSV, that plot as they are (chapters 4 to 6).

Also what a run tells while it goes on, and what is normal.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bertlearn.weights import write_whole

Record = dict[str, float]


class Progress(NamedTuple):
    """How far a run is."""

    step: int  # updates done
    until: int  # the step it goes to
    seconds: float  # since its first step, those before a resume counted
    tokens: int  # read so far
    history: list[Record]  # the run's own list: to be read, not changed
    running: bool  # False once, at the end, however it came


Watch = Callable[[Progress], bool]  # returns whether the run shall stop


class Band(NamedTuple):
    """What is normal: a loss curve's mean and standard deviation over several seeds, by step."""

    steps: list[int]
    mean: list[float]  # nats
    std: list[float]  # nats


@dataclass
class Window:
    """Sums since the last record, over all processes."""

    steps: int = 0
    tokens: float = 0.0
    seconds: float = 0.0  # of the updates alone
    norm: float = 0.0
    learning_rate: float = 0.0  # of the latest step
    losses: dict[str, float] = field(default_factory=dict)
    hits: dict[str, float] = field(default_factory=dict)
    targets: dict[str, float] = field(default_factory=dict)

    def add_step(self, learning_rate: float, norm: float, tokens: float, seconds: float) -> None:
        """Add an update: its rate, the gradient's norm before clipping, its tokens and time."""
        self.steps, self.learning_rate, self.norm = self.steps + 1, learning_rate, self.norm + norm
        self.tokens, self.seconds = self.tokens + tokens, self.seconds + seconds

    def add_scores(self, scores: dict[str, tuple[float, float]], totals: dict[str, float]) -> None:
        """Add up each objective's summed loss (nats) and hits, and how many targets there were."""
        for name, (loss, hits) in scores.items():
            self.losses[name] = self.losses.get(name, 0.0) + loss
            self.hits[name] = self.hits.get(name, 0.0) + hits
            self.targets[name] = self.targets.get(name, 0.0) + totals[name]

    def means(self) -> Record:
        """Return means per target, and the speed."""
        record = {"learning_rate": self.learning_rate, "grad_norm": self.norm / self.steps}
        for name, targets in self.targets.items():
            record[f"{name}_loss"] = self.losses[name] / max(1.0, targets)
            record[f"{name}_accuracy"] = self.hits[name] / max(1.0, targets)
        return record | {"tokens_per_second": round(self.tokens / self.seconds, 1)}


def write_history(history: list[Record], path: Path) -> None:
    """Write the records as CSV, one column for each name that occurs."""
    names = list(dict.fromkeys(name for record in history for name in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_whole(path, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))


def read_history(path: str | Path) -> list[Record]:
    """Read what `write_history` wrote."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [{name: float(x) for name, x in row.items() if x} for row in csv.DictReader(file)]


def describe(record: Record, endings: tuple[str, ...] = ("loss", "accuracy")) -> str:
    """Return the speed of a record and what has a name that ends so, in one line."""
    shown = {name: value for name, value in record.items() if name.endswith(endings)}
    speed = record.get("tokens_per_second", 0.0)
    return ", ".join(f"{name} {value:.3f}" for name, value in shown.items()) + f", {speed:,.0f} tokens/s"
