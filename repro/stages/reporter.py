"""Messages and progress bars of a running stage, provided by the caller."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from repro.training.monitor import Progress

Say: TypeAlias = Callable[[str], None]
Count: TypeAlias = Callable[[int, int], None]  # (images done, total images)
Bytes: TypeAlias = Callable[[int, int | None], None]  # (bytes done, total bytes or None)


def silent(text: str) -> None:
    """Ignore a message."""


def no_bar(text: str) -> AbstractContextManager[None]:
    """Show nothing."""
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """Output of a stage; by default there is none.

    `say` gets results, `note` progress messages, and `output` what a program prints, with its line ends. Bars
    are context managers, shown while their block runs: `bar` counts images, `file_bar` bytes of a download,
    `training_bar` shows a training.
    """

    say: Say = silent
    note: Say = silent
    output: Say = silent
    bar: Callable[[str], AbstractContextManager[Count | None]] = no_bar
    file_bar: Callable[[str], AbstractContextManager[Bytes | None]] = no_bar
    training_bar: Callable[[], AbstractContextManager[Progress | None]] = nullcontext


SILENT = Reporter()
