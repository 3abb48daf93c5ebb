"""Work on threads, handed out in order: decoding, resizing and hashing release the interpreter lock."""

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
    """`work(item)` of every item, in the order of the items; an error is raised where its result would be.

    While a result is used, the next `ahead` are being made or wait, never more. `workers` = 0 works in the
    caller's thread. Closing the iterator waits for what has begun, and nothing else begins.
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
    """Threads to use where nobody said how many, in each of so many equal processes on this machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, usable // processes))
