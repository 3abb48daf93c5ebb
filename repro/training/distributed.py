"""One process or many: who this process is, and the few things that processes tell each other.

Started by torchrun, or by srun without it, each process finds its place in the environment; Accelerate's
PartialState turns that into a process group (gloo on CPUs, nccl on NVIDIA). A single process needs neither.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from repro.errors import ParamsError, ReproError

_BROKEN = ("gloo", "NCCL", "nccl", "Connection", "Broken pipe", "timed out")
_SLURM = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_STEP_NUM_TASKS", "LOCAL_RANK": "SLURM_LOCALID"}


class RankLost(ReproError):
    """Another process of the job is gone; this one cannot go on without it."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among `world` equal ones; rank 0 writes files and speaks."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over processes."""
        if self.world == 1:
            return model
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)

    def exchange(self, model: nn.Module, *, now: bool) -> AbstractContextManager[object]:
        """Whether a backward pass exchanges gradients: only the last micro-batch of an update does."""
        if now or not isinstance(model, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return cast(AbstractContextManager[object], model.no_sync())

    def mean(self, value: float) -> float:
        """Mean of a number over processes."""
        return value if self.world == 1 else self._reduce([value], dist.ReduceOp.SUM)[0] / self.world

    def agree(self, *flags: bool) -> list[bool]:
        """Whether any process says so, the same answer everywhere."""
        if self.world == 1:
            return list(flags)
        return [value > 0 for value in self._reduce([float(flag) for flag in flags], dist.ReduceOp.MAX)]

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the values that rank 0 has."""
        for tensor in tensors if self.world > 1 else ():
            dist.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def gather(self, value: Any) -> list[Any]:
        """The value of every process, in rank order."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def _reduce(self, values: Any, how: Any) -> list[float]:
        numbers = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        dist.all_reduce(numbers, op=how)
        return [float(number) for number in numbers]


def join(device: str = "auto") -> Ranks:
    """Find this process's place; `device` is auto, cpu, cuda, cuda:N or mps."""
    slurm_place()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Ranks(device=pick_device(device))
    from accelerate import PartialState

    cpu = pick_device(device).type == "cpu"
    state = PartialState(cpu=cpu)
    return Ranks(device=state.device, rank=state.process_index, world=state.num_processes)


def slurm_place() -> None:
    """What srun says about this process, in torchrun's names; all meet on the first node of the step.

    Only inside a step: a batch script that asked for four tasks and starts one process itself sees
    SLURM_NTASKS=4 too, and would wait for three that never come.
    """
    found = os.environ
    if not all(slurm in found for slurm in (*_SLURM.values(), "SLURM_STEP_NODELIST", "SLURM_JOB_ID")):
        return
    for name, slurm in _SLURM.items():
        found.setdefault(name, found[slurm])
    found.setdefault("MASTER_ADDR", first_node(found["SLURM_STEP_NODELIST"]))
    found.setdefault("MASTER_PORT", str(20_000 + int(found["SLURM_JOB_ID"]) % 10_000))


def first_node(nodes: str) -> str:
    """'gpu[07-09,12].cluster,cpu1' -> 'gpu07.cluster'"""
    match = re.match(r"([^\[,]*)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    return "" if match is None else "".join(part or "" for part in match.groups())


def leave() -> None:
    """End the process group, so that the other processes do not wait for this one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def telling(ranks: Ranks) -> Iterator[None]:
    """Turn the broken connection that a dead process leaves behind into a clear message."""
    try:
        yield
    except RuntimeError as error:
        if ranks.world == 1 or not any(word in str(error) for word in _BROKEN):
            raise
        raise RankLost(
            f"process {ranks.rank} of {ranks.world}: another process of this job is gone",
            where=str(error).splitlines()[0][:200],
            hint="its own output says why; the same command goes on from the last checkpoint",
        ) from None


def pick_device(name: str) -> torch.device:
    """auto takes CUDA, then MPS, then the CPU; a device that is not there is a ParamsError."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    kind = name.split(":")[0]
    if not there.get(kind, False):
        here = ", ".join(kind for kind, present in there.items() if present)
        raise ParamsError(f"device '{name}' is not available", allowed=f"auto, {here}")
    if kind == "cuda" and name != "cuda":
        known = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        if name not in known:
            raise ParamsError(f"device '{name}' is not available", allowed=", ".join(("auto", *known)))
    return torch.device("cuda", 0) if name == "cuda" else torch.device(name)
