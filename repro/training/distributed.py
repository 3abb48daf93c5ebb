"""Distributed training: rank and device of this process, and collective operations.

torchrun, or srun without it, sets the rank in the environment; Accelerate's PartialState creates the process
group (gloo on CPUs, nccl on NVIDIA GPUs). A single process needs neither.
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
    """Another process of the job has died, so this one cannot continue."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Device and rank of this process among `world` processes; rank 0 writes files and messages."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over processes (DistributedDataParallel)."""
        if self.world == 1:
            return model
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)

    def sync_gradients(self, model: nn.Module, *, enabled: bool) -> AbstractContextManager[object]:
        """Enable or disable gradient synchronisation; only the last micro-batch of an update needs it."""
        if enabled or not isinstance(model, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return cast(AbstractContextManager[object], model.no_sync())

    def mean(self, value: float) -> float:
        """Mean of a number over processes."""
        return value if self.world == 1 else self._reduce([value], dist.ReduceOp.SUM)[0] / self.world

    def any(self, *flags: bool) -> list[bool]:
        """Whether each flag is set on any process."""
        if self.world == 1:
            return list(flags)
        return [value > 0 for value in self._reduce([float(flag) for flag in flags], dist.ReduceOp.MAX)]

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Copy the values of rank 0 to every process, in place."""
        for tensor in tensors if self.world > 1 else ():
            dist.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Wait until every process gets here (a barrier)."""
        if self.world > 1:
            dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in rank order."""
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
    """Rank and device of this process; joins the process group if there are several.

    Args:
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ParamsError: the device is not available.
    """
    read_slurm_environment()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Ranks(device=pick_device(device))
    from accelerate import PartialState

    cpu = pick_device(device).type == "cpu"
    state = PartialState(cpu=cpu)
    return Ranks(device=state.device, rank=state.process_index, world=state.num_processes)


def read_slurm_environment() -> None:
    """Set torchrun's environment variables from srun's; the first node of the step is the master.

    This needs the variables of a step: a batch script of four tasks that starts a single process has
    SLURM_NTASKS=4 too, and would wait for three processes that never start.
    """
    found = os.environ
    if not all(slurm in found for slurm in (*_SLURM.values(), "SLURM_STEP_NODELIST", "SLURM_JOB_ID")):
        return
    for name, slurm in _SLURM.items():
        found.setdefault(name, found[slurm])
    found.setdefault("MASTER_ADDR", first_node(found["SLURM_STEP_NODELIST"]))
    found.setdefault("MASTER_PORT", str(20_000 + int(found["SLURM_JOB_ID"]) % 10_000))


def first_node(nodes: str) -> str:
    """The first node of a SLURM node list: 'gpu[07-09,12].cluster,cpu1' -> 'gpu07.cluster'."""
    match = re.match(r"([^\[,]*)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    return "" if match is None else "".join(part or "" for part in match.groups())


def leave() -> None:
    """Destroy the process group, so that other processes do not wait for this one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def detect_lost_rank(ranks: Ranks) -> Iterator[None]:
    """Raise RankLost for the connection error that follows the death of another process."""
    try:
        yield
    except RuntimeError as error:
        if ranks.world == 1 or not any(word in str(error) for word in _BROKEN):
            raise
        raise RankLost(
            f"process {ranks.rank} of {ranks.world}: another process of this job has died",
            where=str(error).splitlines()[0][:200],
            hint="see that process's output; rerun to resume from the last checkpoint",
        ) from None


def pick_device(name: str) -> torch.device:
    """The device `name`; auto prefers CUDA, then MPS. ParamsError for a device that is not available."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    kind = name.split(":")[0]
    if not available.get(kind, False):
        allowed = ", ".join(("auto", *(kind for kind, found in available.items() if found)))
        raise ParamsError(f"device '{name}' is not available", allowed=allowed)
    if kind == "cuda" and name != "cuda":
        known = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        if name not in known:
            raise ParamsError(f"device '{name}' is not available", allowed=", ".join(("auto", *known)))
    return torch.device("cuda", 0) if name == "cuda" else torch.device(name)
