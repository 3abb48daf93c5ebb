"""The bar of a running training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from repro.cli.common import console

if TYPE_CHECKING:
    from repro.training.watch import Progress


@contextmanager
def training_bar() -> Iterator[Progress]:
    """A bar with loss, learning rate, images/s, share of waiting for data and time left, in 80 columns.

    Nothing where nobody looks: the journal has it all.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from repro.training.watch import Status

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
