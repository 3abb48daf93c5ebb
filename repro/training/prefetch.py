"""Batches made while the network computes: one thread ahead of the loop.

Decoding and warping release the GIL, so a thread is enough to overlap them with computing; `workers` of the
loader adds threads where one is too slow.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import repeat
from typing import Any, TypeVar

from repro.threads import in_order

T = TypeVar("T")
DEPTH = 4  # batches in waiting


def ahead(batches: Iterator[T], *, pin: bool = False) -> Generator[tuple[T, float]]:
    """(batch, seconds waited for it). An error while making a batch is raised here.

    `pin` puts tensors into page-locked memory, from which CUDA copies while it computes.
    """

    def take(_: None) -> T | None:
        batch = next(batches, None)
        return _pinned(batch) if pin and batch is not None else batch

    try:
        with closing(in_order(take, repeat(None), workers=1, ahead=DEPTH, name="prefetch")) as taken:
            began = time.monotonic()
            while (batch := next(taken)) is not None:
                yield batch, time.monotonic() - began
                began = time.monotonic()
    finally:
        if close := getattr(batches, "close", None):
            close()


def _pinned(batch: Any) -> Any:
    from dataclasses import replace

    return replace(batch, image_NCHW=batch.image_NCHW.pin_memory(), label_NHW=batch.label_NHW.pin_memory())
