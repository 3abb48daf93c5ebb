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
NORM_TOLERANCE = 0.1  # relative; the gradient norm's bf16 noise is below 0.02, a broken graph gives 1.0


def autocast(params: TrainingParams, device: torch.device) -> AbstractContextManager[None]:
    """Autocast context of the forward pass; does nothing for fp32 and tf32."""
    dtype = _AUTOCAST.get(params.precision)
    return nullcontext() if dtype is None else number_formats.autocast(device, dtype)


def scaler_for(params: TrainingParams, device: torch.device) -> torch.amp.GradScaler:
    """Gradient scaler for fp16, disabled for the other formats."""
    if params.precision == "fp16" and device.type == "cpu":
        raise ParamsError("training.precision fp16 needs a GPU", allowed="fp32, bf16 on a CPU")
    return torch.amp.GradScaler(device.type, enabled=params.precision == "fp16")


@contextmanager
def runtime_settings(params: TrainingParams, seed: int) -> Iterator[list[str]]:
    """Set threads, TF32, deterministic kernels and the seed, and restore the settings afterwards.

    Yields a list that collects the operations for which this device has no deterministic kernel.
    """
    threads = torch.get_num_threads()
    if params.threads is not None:
        torch.set_num_threads(params.threads)
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    try:
        with (
            tf32(params.precision == "tf32"),
            _deterministic(params.deterministic) as found,
            keep_freed_memory(),
        ):
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
    # Filling new tensors with NaN only helps to debug reads of uninitialised memory.
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
    """The operation in PyTorch's warning about a missing deterministic kernel, or None."""
    return message.split()[0] if "does not have a deterministic implementation" in message else None


def fork_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Restore the random state of the CPU and of `device` afterwards, without initialising other GPUs."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def compiled(model: nn.Module, step: Callable[[nn.Module], None]) -> tuple[nn.Module, float | None]:
    """Compile `model` and compare gradients, since torch.compile with bf16 autocast once gave zeros.

    Args:
        model: the network; its buffers and the random state are restored.
        step: runs forward and backward of one batch on the given module.

    Returns:
        (compiled model, None) if the gradient norms agree, else (`model`, their relative difference).
    """
    fast = torch.compile(model)
    assert isinstance(fast, nn.Module)
    plain_norm, fast_norm = _gradient_norm(model, model, step), _gradient_norm(model, fast, step)
    difference = abs(fast_norm - plain_norm) / max(plain_norm, 1e-12)
    return (fast, None) if difference < NORM_TOLERANCE else (model, difference)


def _gradient_norm(model: nn.Module, runner: nn.Module, step: Callable[[nn.Module], None]) -> float:
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with fork_random_state(next(model.parameters()).device):
        step(runner)
    squares = [p.grad.float().square().sum() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


# Options of <malloc.h>. KEEP: no mmap, no trimming, growth in steps of 64 MiB. DEFAULT: see mallopt(3).
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
def keep_freed_memory() -> Iterator[bool]:
    """Make glibc reuse freed memory instead of returning it to the system; yields whether it does.

    Every update frees and allocates gigabytes of activations. By default glibc gets each large block from the
    system, which zeroes its pages: 40 % of the time of an update of page 003's DenseNet at batch 45
    (docs/decisions/2026-11-20-kept-memory.md). Does nothing without glibc, or if the environment configures
    an allocator.
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
