"""Ordered map over threads; image decoding, resizing and hashing release the GIL."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int, ahead: int, name: str = ""
) -> Generator[Result]:
    """Yield `work(item)` for every item, in order; an exception is raised in place of its result.

    Args:
        workers: Number of threads; 0 runs in the caller's thread.
        ahead: Maximum number of results computed in advance.
        name: Prefix of the thread names.

    Closing the iterator waits for running tasks and cancels the others.
    """
    if not workers:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix=name) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def cores(processes: int = 1) -> int:
    """Return the default number of threads (1 to 8) for each of `processes` processes on this machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, usable // processes))
