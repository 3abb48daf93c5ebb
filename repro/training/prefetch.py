"""Batches made while the network computes: one thread ahead of the loop.

Decoding and warping release the GIL, so a thread is enough to overlap them with computing; `workers` of the
loader adds processes where one thread is too slow.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

T = TypeVar("T")
DEPTH = 3  # batches in waiting
_END = object()


def ahead(batches: Iterator[T], *, pin: bool = False) -> Iterator[tuple[T, float]]:
    """(batch, seconds waited for it). An error while making a batch is raised here.

    `pin` puts tensors into page-locked memory, from which CUDA copies while it computes.
    """
    queue: Queue[Any] = Queue(DEPTH)
    stop = Event()
    thread = Thread(target=_fill, args=(batches, queue, stop, pin), daemon=True, name="prefetch")
    thread.start()
    try:
        while True:
            began = time.monotonic()
            item = queue.get()
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item, time.monotonic() - began
    finally:
        stop.set()
        _drain(queue)
        thread.join()


def _fill(batches: Iterator[Any], queue: Queue[Any], stop: Event, pin: bool) -> None:
    try:
        for batch in batches:
            if not _put(queue, _pinned(batch) if pin else batch, stop):
                break
        _put(queue, _END, stop)
    except BaseException as error:  # handed to the loop, which raises it
        _put(queue, error, stop)
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


def _put(queue: Queue[Any], item: Any, stop: Event) -> bool:
    while not stop.is_set():
        try:
            queue.put(item, timeout=0.1)
            return True
        except Full:
            continue
    return False


def _drain(queue: Queue[Any]) -> None:
    try:
        while True:
            queue.get_nowait()
    except Empty:
        return


def _pinned(batch: Any) -> Any:
    from dataclasses import replace

    return replace(batch, image_NCHW=batch.image_NCHW.pin_memory(), label_NHW=batch.label_NHW.pin_memory())
