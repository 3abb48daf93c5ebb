"""Progress bars on standard error, for stages and trainings; none when piped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from repro.cli.console import console

if TYPE_CHECKING:
    from rich.progress import TaskID

    from repro.training.monitor import Progress


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

        def update(split: str, done: int, total: int) -> None:
            if split not in tasks:
                tasks[split] = bars.add_task(split, total=total)
            bars.update(tasks[split], completed=done)

        yield update


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


@contextmanager
def training_bar() -> Iterator[Progress]:
    """A bar with loss, learning rate, images/s, share of waiting for data and time left, in 80 columns.

    Nothing where nobody looks: the journal has it all.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from repro.training.monitor import Status

    out = console(stderr=True)
    width = 40 if out.width >= 130 else 6
    columns = (TextColumn("train"), BarColumn(width), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=out, refresh_per_second=2, disable=not out.is_terminal) as bar:
        task = bar.add_task("train", total=None, text="")

        def show(status: Status) -> None:
            bar.update(task, completed=status.iteration, total=status.iterations, text=describe(status))

        yield show


def describe(status: Any) -> str:
    """One line about a running training."""
    minutes, seconds = divmod(round(status.eta_s), 60)
    return (
        f"loss {status.loss:.3f} lr {status.lr:.1e} {status.images_per_s:.1f} images/s "
        f"wait {status.data_wait:.0%} left {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    )
