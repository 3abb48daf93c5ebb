"""Memory of the host while training: what is freed stays with the process."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
