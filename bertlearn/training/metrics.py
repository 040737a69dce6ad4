"""Numbers of a run: scores as sums, running metrics, evaluation, and the history as CSV (chapters 4 to 6)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertlearn.files import write_whole


class Score(NamedTuple):
    """One objective on one batch, as sums, so that batches of any size can be added up."""

    loss: Tensor  # float (), nats, summed over the targets
    correct: Tensor  # int64 (), targets predicted correctly


def score_logits(logits: Tensor, labels: Tensor) -> Score:
    """Return the summed loss of logits (N, C) against labels, int64 (N,), and how many are correct; −100 is
    ignored."""
    logits = logits.float()
    return Score(cross_entropy(logits, labels, reduction="sum"), (logits.argmax(-1) == labels).sum())


Record = dict[str, float]


class Progress(NamedTuple):
    """How far a run has come."""

    step: int  # updates done
    until: int  # the step it goes to
    seconds: float  # since its first step, those before a resume included
    tokens: int  # read so far
    history: list[Record]  # the run's own list: read it, do not change it
    running: bool  # False once, when the run has ended, whatever the reason


Callback = Callable[[Progress], bool]  # returns whether it requests a stop


@dataclass
class RunningMetrics:
    """Sums since the last record, over all processes."""

    steps: int = 0
    tokens: float = 0.0
    seconds: float = 0.0  # of the updates alone
    norm: float = 0.0
    learning_rate: float = 0.0  # of the last step
    losses: dict[str, float] = field(default_factory=dict)
    correct: dict[str, float] = field(default_factory=dict)
    targets: dict[str, float] = field(default_factory=dict)

    def add_step(self, learning_rate: float, norm: float, tokens: float, seconds: float) -> None:
        """Add a step: its learning rate, the gradient's norm before clipping, its tokens and its time."""
        self.steps, self.learning_rate, self.norm = self.steps + 1, learning_rate, self.norm + norm
        self.tokens, self.seconds = self.tokens + tokens, self.seconds + seconds

    def add_scores(self, scores: dict[str, tuple[float, float]], totals: dict[str, float]) -> None:
        """Add each objective's summed loss (nats), its correct targets and the number of its targets."""
        for name, (loss, correct) in scores.items():
            self.losses[name] = self.losses.get(name, 0.0) + loss
            self.correct[name] = self.correct.get(name, 0.0) + correct
            self.targets[name] = self.targets.get(name, 0.0) + totals[name]

    def means(self) -> Record:
        """Return the means per target, and the tokens per second."""
        record = {"learning_rate": self.learning_rate, "grad_norm": self.norm / self.steps}
        for name, targets in self.targets.items():
            record[f"{name}_loss"] = self.losses[name] / max(1.0, targets)
            record[f"{name}_accuracy"] = self.correct[name] / max(1.0, targets)
        return record | {"tokens_per_second": round(self.tokens / self.seconds, 1)}


def write_history(history: list[Record], path: Path) -> None:
    """Write the records as CSV, with a column for each name that occurs."""
    names = list(dict.fromkeys(name for record in history for name in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_whole(path, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))


def read_history(path: str | Path) -> list[Record]:
    """Read what `write_history` wrote."""
    with Path(path).expanduser().open(encoding="utf-8", newline="") as file:
        return [{name: float(x) for name, x in row.items() if x} for row in csv.DictReader(file)]


def describe(record: Record, endings: tuple[str, ...] = ("loss", "accuracy")) -> str:
    """Return in one line the values whose names have these endings, and the speed."""
    shown = {name: value for name, value in record.items() if name.endswith(endings)}
    speed = record.get("tokens_per_second", 0.0)
    return ", ".join(f"{name} {value:.3f}" for name, value in shown.items()) + f", {speed:,.0f} tokens/s"


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Any],
    count: Callable[[Any], dict[str, int]],
    score: Callable[[nn.Module, Any], Mapping[str, tuple[Tensor, Tensor]]],
) -> Record:
    """Return loss (nats) and accuracy of each objective on batches, under "valid_mlm_loss" and the like.

    Args:
        model: in evaluation mode.
        batches, count, score: as a `Task` has them.
    """
    device = next(model.parameters()).device
    sums: dict[str, Tensor] = {}
    for batch in batches:
        counts = count(batch)
        for name, (loss, correct) in score(model, to_device(batch, device)).items():
            new = torch.tensor([loss.item(), correct.item(), counts[name]], dtype=torch.float64)
            sums[name] = sums.get(name, torch.zeros(3, dtype=torch.float64)) + new
    return {
        f"valid_{name}_{kind}": (value / total[2]).item()
        for name, total in sums.items()
        for kind, value in (("loss", total[0]), ("accuracy", total[1]))
    }


def to_device(batch: Any, device: torch.device) -> Any:
    """Return a NamedTuple of tensors, or None among them, on another device."""
    return type(batch)(*(x if x is None else x.to(device, non_blocking=True) for x in batch))
