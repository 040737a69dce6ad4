"""One process or many: the few calls that training needs, on top of torch.distributed (chapter 4).

`torchrun` starts the processes and numbers them in the environment. Without it there is one process, and
nothing here costs anything. Source: Li et al. 2020 (DDP).
Leaves out: sharding a model over several devices; weights, gradients and AdamW's averages of BERT-large take
5.4 GB, and its activations take more with each sequence.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """The number of this process among those that train together, and its device."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the process that writes files and shows progress."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Add up a few numbers over all processes, on the CPU; every process gets the sums."""
        if self.world_size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def wait(self) -> None:
        """Return when every process has reached this point."""
        self.sum([0.0])


@contextmanager
def join_processes(device: torch.device | str | None = None) -> Iterator[Processes]:
    """Join the processes that `torchrun` started, or be the only one; leave the group at the end.

    Args:
        device: what to compute on; by default this process's GPU if there is one, else the CPU.
    """
    chosen = torch.device(device) if device is not None else _default_device()
    if chosen.type == "cuda" and chosen.index is None:
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Processes(0, 1, chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    store, rank, _ = next(dist.rendezvous("env://"))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo",
        store=_private_store(store, rank, world_size),
        rank=rank,
        world_size=world_size,
    )
    yield Processes(rank, world_size, chosen)
    # DDP must be deleted before its group; otherwise the two can wait for each other forever.
    gc.collect()
    dist.destroy_process_group()  # not after an error, when other processes may be waiting for this one


def _private_store(store: dist.Store, rank: int, world_size: int) -> dist.Store:
    """Return a part of torchrun's store that belongs to the processes running now.

    The store survives a restart, and processes would wait in vain at addresses that dead ones left in it. So
    every process publishes a name that it has just drawn, and process 0 answers with a name for the group.
    """
    own = uuid4().hex
    store.set(f"bertlearn/{rank}", own)
    for other in range(1, world_size) if rank == 0 else ():
        while not store.check([f"{own}/{other}"]):
            shown = store.get(f"bertlearn/{other}").decode()  # at first this may still be a dead process's
            store.set(f"answer/{shown}", own)
            time.sleep(0.02)
    group = own if rank == 0 else store.get(f"answer/{own}").decode()
    store.set(f"{group}/{rank}", "joined")
    return dist.PrefixStore(group, store)


def is_first_process() -> bool:
    """Return True on rank 0 (always, without `torchrun`)."""
    return int(os.environ.get("RANK", "0")) == 0


def was_restarted(processes: Processes) -> bool:
    """Say whether `torchrun` restarted this run after a process died; not every machine counts restarts."""
    return processes.sum([float(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))])[0] > 0


def wrap(model: nn.Module, processes: Processes) -> nn.Module:
    """Return the model on its device; with several processes in DDP, which averages their gradients."""
    model = model.to(processes.device)
    return model if processes.world_size == 1 else DistributedDataParallel(model)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model without DDP's wrapper, so that its names are its own."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def sync_only_last(model: nn.Module, is_last: bool) -> AbstractContextManager[Any]:
    """Let the processes exchange gradients only after the last micro-batch of a step."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) and not is_last else nullcontext()


def _default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
