"""Where a run stands: model, optimizer and counts, turned into a checkpoint and exactly restored from one.

Used by `loop` (chapters 4 to 6). Leaves out: the file itself, which `checkpoint` writes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bertlearn.files import untied_state
from bertlearn.training.checkpoint import Checkpoint, CheckpointError
from bertlearn.training.metrics import Record, RunningMetrics

AVERAGES = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")  # what AdamW and Muon keep of a parameter


@dataclass
class TrainingState:
    """Everything that changes during a run."""

    model: nn.Module  # without a wrapper: its names are those in files
    optimizer: torch.optim.Optimizer
    step: int = 0  # updates done
    seconds: float = 0.0  # since the first step, those before a resume included
    tokens: int = 0  # read so far, by all processes
    history: list[Record] = field(default_factory=list)
    metrics: RunningMetrics = field(default_factory=RunningMetrics)  # since the last record

    def close_record(self) -> Record:
        """Return one line of the history from the metrics, and start them anew."""
        record = {"step": self.step, "seconds": round(self.seconds, 2), "tokens": self.tokens}
        record |= self.metrics.means()
        self.metrics = RunningMetrics()
        return record

    def checkpoint(self, identity: dict[str, Any]) -> Checkpoint:
        """Return all that the run needs to continue; `identity` says which run it is."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        tensors = {f"model.{name}": tensor for name, tensor in untied_state(self.model).items()}
        for parameter, averages in self.optimizer.state.items():
            tensors |= {f"optimizer.{key}.{names[id(parameter)]}": x for key, x in averages.items()}
        metadata = {
            "identity": identity,
            "history": self.history,
            "metrics": asdict(self.metrics),
            "seconds": self.seconds,
            "tokens": self.tokens,
        }
        return Checkpoint(self.step, tensors, metadata)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Bring back what `checkpoint` returned, in place.

        Raises:
            CheckpointError: the tensors are those of another model.
        """
        tensors, metadata = checkpoint.tensors, checkpoint.metadata
        own = {f"model.{name}": tensor.detach() for name, tensor in untied_state(self.model).items()}
        _check_shapes(tensors, own, checkpoint.step)
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        for name, parameter in self.model.named_parameters():
            keys = [key for key in AVERAGES if f"optimizer.{key}.{name}" in tensors]
            if keys:  # none if the parameter never had a gradient
                self.optimizer.state[parameter] = {
                    key: tensors[f"optimizer.{key}.{name}"].to(parameter.device) for key in keys
                }
        self.step, self.history = checkpoint.step, metadata["history"]
        self.seconds, self.tokens = metadata["seconds"], metadata["tokens"]
        self.metrics = RunningMetrics(**metadata["metrics"])


def _check_shapes(found: dict[str, Tensor], own: dict[str, Tensor], step: int) -> None:
    theirs = {name: tuple(tensor.shape) for name, tensor in found.items() if name.startswith("model.")}
    ours = {name: tuple(tensor.shape) for name, tensor in own.items()}
    if theirs != ours:
        differing = sorted({name for name, _ in theirs.items() ^ ours.items()})
        raise CheckpointError(
            f"the checkpoint at step {step} is of another model; tensors that differ: {', '.join(differing)}"
        )
