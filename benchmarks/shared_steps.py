"""Training steps shared by one or more processes; `benchmarks.scaling` starts this file with torchrun.

Prints the median seconds per step.
"""

from __future__ import annotations

import statistics
import sys
import time
from itertools import pairwise

import torch

from benchmarks.pretraining_step import Case, RandomPairs, models_of
from bertlearn.pretraining.run import pretraining_scores, pretraining_targets
from bertlearn.training.loop import train
from bertlearn.training.metrics import Progress
from bertlearn.training.options import TrainingOptions
from bertlearn.training.task import Task


def main() -> None:
    model, steps = sys.argv[1], int(sys.argv[2])
    case = Case(model, 128, 32, "fp32")
    data = RandomPairs(case, 4)
    options = TrainingOptions(steps=steps + 2, batch_size=case.batch, precision="fp32", log_every=10**6)
    ends: list[float] = []

    def callback(progress: Progress) -> bool:
        ends.append(time.perf_counter())
        return False

    task = Task(data.rows, pretraining_targets, pretraining_scores, None, {})
    train(models_of(case)[0], task, options, device=torch.device("cpu"), callback=callback)
    if ends:  # only the first process calls the callback
        print(statistics.median(end - start for start, end in pairwise(ends[1:])))


if __name__ == "__main__":
    main()
