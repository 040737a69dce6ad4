"""One process or many: torch's own engine behind the few calls that `training` needs (chapter 4).

`torchrun` starts the processes and says in the environment who is who. Without it there is one process, and
nothing here costs anything. Source: Li et al. 2020 (DDP), Zhao et al. 2023 (FSDP).
Leaves out: model and pipeline parallelism, which a BERT does not need.
"""

from __future__ import annotations

import copy
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
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """Who this process is among those that train together, and the device it computes on."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and shows."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Add up a few numbers over all processes, beside the GPU's work; every process gets the sums."""
        if self.world_size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def wait(self) -> None:
        """Return when every process has come this far."""
        self.sum([0.0])


@contextmanager
def join_processes(device: torch.device | str | None = None) -> Iterator[Processes]:
    """Join the processes that `torchrun` started, or be the only one; leave them at the end.

    Args:
        device: to compute on; this process's GPU if there is one, else the CPU.
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
        store=_own_part(store, rank, world_size),
        rank=rank,
        world_size=world_size,
    )
    yield Processes(rank, world_size, chosen)
    # DDP must be gone before its group: the other way round, the two can wait for each other for ever.
    gc.collect()
    dist.destroy_process_group()  # not after an error: it could wait for processes that wait for this one


def _own_part(store: dist.Store, rank: int, world_size: int) -> dist.Store:
    """Return a part of torchrun's store that these living processes have to themselves.

    The store outlives a restart, and the living would wait in vain at the addresses of the dead in it. So
    every process shows a name that it has just drawn, and process 0 answers to it with one for the group.
    """
    own = uuid4().hex
    store.set(f"bertlearn/{rank}", own)
    for other in range(1, world_size) if rank == 0 else ():
        while not store.check([f"{own}/{other}"]):
            shown = store.get(f"bertlearn/{other}").decode()  # for a moment it may be a dead one's
            store.set(f"answer/{shown}", own)
            time.sleep(0.02)
    group = own if rank == 0 else store.get(f"answer/{own}").decode()
    store.set(f"{group}/{rank}", "has come")
    return dist.PrefixStore(group, store)


def is_first_process() -> bool:
    """Say whether this process is the one that writes and shows; so it is without `torchrun`."""
    return int(os.environ.get("RANK", "0")) == 0


def was_restarted(processes: Processes) -> bool:
    """Say whether `torchrun` has started this run again after a process died; not every machine counts it."""
    return processes.sum([float(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))])[0] > 0


def wrap(model: nn.Module, processes: Processes, strategy: str) -> nn.Module:
    """Make the processes' gradients one: DDP (each has the whole model) or FSDP2 (each has a part of it).

    Returns:
        One process: the model on its device. "ddp": the same in a wrapper. "fsdp": a copy of the model,
        divided; the model itself stays whole where it was, and `hand_back` fills it.
    """
    if processes.world_size == 1:
        return model.to(processes.device)
    if strategy == "ddp":
        return DistributedDataParallel(model.to(processes.device))
    model = copy.deepcopy(model)
    mesh = init_device_mesh(processes.device.type, (processes.world_size,))
    for blocks in [module for module in model.modules() if isinstance(module, nn.ModuleList)]:
        for block in blocks:
            fully_shard(block, mesh=mesh)
    # The root too, or after an evaluation its parameters would be others than those the optimizer knows.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    return model


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model with its own names, without DDP's wrapper."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def is_divided(model: nn.Module) -> bool:
    """Say whether each process has only a part of the model."""
    return isinstance(model, FSDPModule)


@torch.no_grad()
def hand_back(divided: nn.Module, model: nn.Module) -> None:
    """Copy the weights from FSDP's parts to the whole model; all processes must take part."""
    tensors = model.state_dict()
    for name, tensor in divided.state_dict().items():
        tensors[name].copy_(whole(tensor))


def last_part(model: nn.Module, is_last: bool) -> AbstractContextManager[Any]:
    """Let the processes exchange gradients only after the last part of a step."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_last)
    elif isinstance(model, DistributedDataParallel) and not is_last:
        return model.no_sync()
    return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """Return the whole tensor on every process, where FSDP has left each with a part."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """Lay a whole tensor out over the processes as `other` is."""
    if isinstance(other, DTensor):
        return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
    return tensor.to(other.device)


def _default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
