"""Runtime settings of a training: number formats, determinism, torch.compile, the memory allocator."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from repro.errors import ParamsError
from repro.models import number_formats
from repro.models.number_formats import tf32
from repro.params.training import TrainingParams

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
NORM_TOLERANCE = 0.1  # relative; bf16 noise of a whole gradient is below 0.02, a broken graph gives 1.0


def autocast(params: TrainingParams, device: torch.device) -> AbstractContextManager[None]:
    """The forward pass's number format; fp32 and tf32 leave it alone."""
    dtype = _AUTOCAST.get(params.precision)
    return nullcontext() if dtype is None else number_formats.autocast(device, dtype)


def scaler_for(params: TrainingParams, device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss so that fp16 gradients do not vanish; does nothing for the other formats."""
    if params.precision == "fp16" and device.type == "cpu":
        raise ParamsError("training.precision fp16 needs a GPU", allowed="fp32, bf16 on a CPU")
    return torch.amp.GradScaler(device.type, enabled=params.precision == "fp16")


@contextmanager
def machine(params: TrainingParams, seed: int) -> Iterator[list[str]]:
    """Threads, TF32, deterministic kernels and the seed while a training runs; the old settings afterwards.

    Yields a list that fills with the operations for which this device has no deterministic kernel.
    """
    threads = torch.get_num_threads()
    if params.threads is not None:
        torch.set_num_threads(params.threads)
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    try:
        with tf32(params.precision == "tf32"), _deterministic(params.deterministic) as found, kept():
            yield found
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _deterministic(wanted: bool) -> Iterator[list[str]]:
    found: list[str] = []
    was, warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    # Filling every new tensor with NaN finds programs that read before they write; ours is tested instead.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *rest: object, **more: object) -> None:
        operation = nondeterministic(str(message))
        if operation is None:
            show(message, category, *rest, **more)  # type: ignore[arg-type]
        elif operation not in found:
            found.append(operation)

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", message=".*deterministic implementation.*")
            warnings.showwarning = note
            yield found
    finally:
        torch.use_deterministic_algorithms(was, warn_only=warned)


def nondeterministic(message: str) -> str | None:
    """The operation named in torch's warning about a missing deterministic kernel."""
    return message.split()[0] if "does not have a deterministic implementation" in message else None


def forked(device: torch.device) -> AbstractContextManager[None]:
    """Leaves no trace in the random state of the CPU and of `device`; other GPUs are not woken."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def compiled(model: nn.Module, step: Callable[[nn.Module], None]) -> tuple[nn.Module, float | None]:
    """(torch.compile(model), None) if its gradients are those of `model`, else (model, relative difference).

    `step` runs forward and backward of one batch. On one torchvision network compile with
    bf16 autocast gave gradients of exactly zero, without an error. The batch leaves no trace: buffers and
    random state are put back.
    """
    fast = torch.compile(model)
    assert isinstance(fast, nn.Module)
    plain_norm, fast_norm = _gradient_norm(model, model, step), _gradient_norm(model, fast, step)
    difference = abs(fast_norm - plain_norm) / max(plain_norm, 1e-12)
    return (fast, None) if difference < NORM_TOLERANCE else (model, difference)


def _gradient_norm(model: nn.Module, runner: nn.Module, step: Callable[[nn.Module], None]) -> float:
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with forked(next(model.parameters()).device):
        step(runner)
    squares = [p.grad.float().square().sum() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


# Numbers of <malloc.h>. Kept: no block in pages of its own, nothing given back, 64 MiB asked for at a time;
# then glibc's own defaults, mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
KEEP = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 64 << 20}
DEFAULT = {M_MMAP_MAX: 65536, M_TRIM_THRESHOLD: 128 << 10, M_TOP_PAD: 128 << 10}
CHOSEN_BY_USER = (
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    "MALLOC_MMAP_MAX_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
)


@contextmanager
def kept() -> Iterator[bool]:
    """Inside, freed memory is used again instead of going back to the system; yields whether it is.

    An update frees gigabytes of activations and asks for them again at once, and glibc fetches every large
    block from the system anew, where each page is zeroed: 40 % of an update of page 003's DenseNet at batch
    45 (docs/decisions/2026-11-20-kept-memory.md). Nothing is done without glibc, or where the environment
    chooses an allocator itself.
    """
    libc = _glibc()
    if libc is None:
        yield False
        return
    for number, value in KEEP.items():
        libc.mallopt(number, value)
    try:
        yield True
    finally:
        for number, value in DEFAULT.items():
            libc.mallopt(number, value)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux") or any(name in os.environ for name in CHOSEN_BY_USER):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt") else None
