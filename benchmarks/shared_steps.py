"""The steps that `benchmarks.scaling` has done by one process and by two; started by it, under torchrun.

Prints the median seconds of a step.
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

    def watch(progress: Progress) -> bool:
        ends.append(time.perf_counter())
        return False

    task = Task(data.rows, pretraining_targets, pretraining_scores, None, {})
    train(models_of(case)[0], task, options, device=torch.device("cpu"), callback=watch)
    if ends:  # the first process alone has a watch
        print(statistics.median(end - start for start, end in pairwise(ends[1:])))


if __name__ == "__main__":
    main()
