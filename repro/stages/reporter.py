"""How a stage speaks to a person while it runs: lines and bars that whoever starts the stage provides."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from repro.training.monitor import Progress

Say: TypeAlias = Callable[[str], None]
Count: TypeAlias = Callable[[int, int], None]  # (images done, all images)
Bytes: TypeAlias = Callable[[int, int | None], None]  # (bytes done, all bytes or None)


def silent(text: str) -> None:
    """Tell nobody."""


def no_bar(text: str) -> AbstractContextManager[None]:
    """Show nothing."""
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Voice:
    """Where a stage speaks; by default nowhere.

    `say` gets results, `note` what happens on the way. A bar is a context, so that it stands on the screen
    only while its work is done: `bar` counts images, `file_bar` bytes of a download, `training_bar` shows a
    running training.
    """

    say: Say = silent
    note: Say = silent
    bar: Callable[[str], AbstractContextManager[Count | None]] = no_bar
    file_bar: Callable[[str], AbstractContextManager[Bytes | None]] = no_bar
    training_bar: Callable[[], AbstractContextManager[Progress | None]] = nullcontext


SILENT = Voice()
