"""Bars on standard error; nothing where nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from repro.cli.common import console

if TYPE_CHECKING:
    from rich.progress import TaskID


@contextmanager
def bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that counts images, as a function of (done, all)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(text),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeRemainingColumn(),
    )
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as shown:
        task = shown.add_task(text, total=None)
        yield lambda done, number: shown.update(task, completed=done, total=number)


@contextmanager
def split_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar a split, as a function of (split, done, all)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(split: str, done: int, total: int) -> None:
            if split not in tasks:
                tasks[split] = bars.add_task(split, total=total)
            bars.update(tasks[split], completed=done)

        yield tell


@contextmanager
def file_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar of a file that is fetched, as a function of (bytes done, all or None): size, speed, time left."""
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    out = console(stderr=True)
    shown = (*Progress.get_default_columns()[:2], *columns)
    with Progress(*shown, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
