"""Ordered map over threads: order, bounded look-ahead, errors and closing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

from repro.io.threads import in_order


@pytest.mark.parametrize(("workers", "ahead"), [(0, 0), (1, 0), (1, 1), (3, 2), (3, 20)])
def test_results_come_in_the_order_of_the_items(workers: int, ahead: int) -> None:
    def slow_at_first(i: int) -> int:
        time.sleep(0.02 if i < 2 else 0)
        return i * i

    assert list(in_order(slow_at_first, range(9), workers=workers, ahead=ahead)) == [i * i for i in range(9)]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_is_begun_than_the_lead_allows(workers: int) -> None:
    begun: list[int] = []
    results = in_order(begun.append, count(), workers=workers, ahead=4)
    for i in range(3):
        next(results)
        time.sleep(0.02)
        assert len(begun) == 1 + i + 4
    results.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_where_its_result_would_be(workers: int) -> None:
    results = in_order(lambda i: 1 // (2 - i), range(9), workers=workers, ahead=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_closing_ends_the_threads_and_what_has_not_begun(workers: int) -> None:
    before, go, begun = set(threading.enumerate()), threading.Event(), []

    def work(i: int) -> int:
        begun.append(i)
        if i:
            go.wait(5)
        return i

    results = in_order(work, count(), workers=workers, ahead=8)
    next(results)
    threading.Timer(0.05, go.set).start()
    results.close()
    assert len(begun) <= 1 + workers
    assert {one for one in threading.enumerate() if not isinstance(one, threading.Timer)} <= before


def test_an_error_of_the_items_ends_the_threads() -> None:
    before = set(threading.enumerate())

    def items() -> Iterator[int]:
        yield from range(3)
        raise ValueError("the list is torn")

    with pytest.raises(ValueError, match="torn"):
        list(in_order(abs, items(), workers=2, ahead=2))
    assert set(threading.enumerate()) <= before  # a timer of another test may have ended meanwhile
