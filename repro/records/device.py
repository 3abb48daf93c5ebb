"""Identity of the device of a measurement: processor, GPU, driver, threads."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any


def device_identity(device: str = "cpu") -> dict[str, Any]:
    """Return the identity of "cpu", "cuda", "cuda:1" or "mps"; equal for equal devices.

    It includes the number of threads: training with 1 and 2 threads differs in the last bits.
    """
    import torch

    identity = cpu_identity() | {
        "type": "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    more = {"cuda": _cuda, "mps": _mps}.get(torch.device(device).type)
    return identity | more(device) if more is not None else identity


def device_name(identity: Mapping[str, Any]) -> str:
    """The name of the GPU, or else of the processor, of a device identity; "" if it has none."""
    return str(identity.get("gpu") or identity.get("cpu") or "")


@lru_cache
def cpu_identity() -> dict[str, Any]:
    """Return name and cores of the processor, without importing torch."""
    import psutil

    return {
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_GiB": round(psutil.virtual_memory().total / 2**30),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or platform.machine()


def synchronize(device: str) -> None:
    """Wait for all kernels on `device`; a no-op on the CPU."""
    import torch

    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(device)


def _mps(_: str) -> dict[str, Any]:
    """Apple's GPU is part of the processor, and its driver part of the system."""
    name = cpu_identity()["cpu"]
    return {"type": "mps", "gpu": f"GPU of {name}", "driver": platform.mac_ver()[0] or None}


def _cuda(device: str) -> dict[str, Any]:
    import torch

    number = torch.device(device).index or 0
    facts = torch.cuda.get_device_properties(number)
    return {
        "type": "cuda",
        "gpu": facts.name,
        "gpu_memory_GiB": round(facts.total_memory / 2**30, 1),
        "capability": f"{facts.major}.{facts.minor}",
        "driver": gpu_driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


def peak_memory(device: str) -> float:
    """Return the peak memory in MiB: of tensors on CUDA devices, of the process elsewhere."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def reset_peak_memory(device: str) -> None:
    """Reset `peak_memory` of a GPU; the peak of a process cannot be reset."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


@lru_cache
def gpu_driver() -> str | None:
    """Return the version of the NVIDIA driver, or None without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, encoding="utf-8", timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.split("\n")[0].strip() or None
