"""What a sync did and what it could not: an error in one run keeps no other from being sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from repro.io.redact import redact_text

Confirm = Callable[[list[str]], bool]  # labels of runs that would be deleted -> whether they may


@dataclass(kw_only=True)
class Report:
    """What a sync did, by names of experiments ("champion of camvid": an alias), and what it could not."""

    sent: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)  # labels of own runs whose place others took
    kept: bool = False  # a rebuild failed or was declined, and the store is what it was


def guard(report: Report, name: str, send: Callable[[], bool]) -> None:
    """`send` tells whether anything was sent."""
    with reported(report, name):
        (report.sent if send() else report.unchanged).append(name)


@contextmanager
def reported(report: Report, name: str) -> Iterator[None]:
    """An error becomes a line of the report: it is told at the end, and the next sync tries again."""
    try:
        yield
    except Exception as error:
        report.failed[name] = text_of(error)


def text_of(error: Exception) -> str:
    return redact_text(f"{type(error).__name__}: {error}")[:500]
