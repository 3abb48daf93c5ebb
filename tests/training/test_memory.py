"""Freed memory is kept while training and returned afterwards, unless the user chose an allocator."""

from __future__ import annotations

import subprocess
import sys

import pytest

from repro.training.runtime import CHOSEN_BY_USER, keep_freed_memory

PAGES = """
import resource, torch
from repro.training.runtime import keep_freed_memory

def pages():  # fetched from the system while forty tensors of 1 to 40 MiB live and are dropped, twice
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(2):
        [torch.ones(size << 18) for size in range(1, 41)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

outside = pages()
with keep_freed_memory() as whether:
    pages()
    inside, held = pages(), resident()
given_back = held - resident()
print(int(whether), outside, inside, pages(), given_back)
"""


def measured() -> list[int]:
    """Whether memory is kept; pages outside, inside and afterwards; pages given back at the end."""
    done = subprocess.run(
        [sys.executable, "-c", PAGES],
        env={"PATH": ""},
        capture_output=True,
        check=True,
        text=True,
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: memory is kept on Linux only")
@pytest.mark.slow
def test_freed_memory_is_used_again_inside_and_given_back_afterwards() -> None:
    whether, outside, inside, afterwards, given_back = measured()
    assert whether
    assert min(outside, afterwards) > 5000, "pages no longer come fresh: is this still needed?"
    assert inside < outside / 50
    assert given_back > 10_000


@pytest.mark.parametrize("name", sorted(set(CHOSEN_BY_USER) - {"LD_PRELOAD", "GLIBC_TUNABLES"}))
def test_an_allocator_chosen_by_the_user_is_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1000000")
    with keep_freed_memory() as whether:
        assert not whether
