"""The report of a sync; an error in one run does not prevent others from being sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from repro.io.redact import redact_text

Confirm = Callable[[list[str]], bool]  # labels of runs to delete -> whether to delete them


@dataclass(kw_only=True)
class Report:
    """Result of a sync by name of experiment or alias ("champion of camvid")."""

    sent: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)  # labels of replaced runs of this clone
    kept: bool = False  # a rebuild failed or was declined; the store is unchanged


def guard(report: Report, name: str, send: Callable[[], bool]) -> None:
    """Call `send`, which returns whether anything was sent, and report its result or error."""
    with reported(report, name):
        (report.sent if send() else report.unchanged).append(name)


@contextmanager
def reported(report: Report, name: str) -> Iterator[None]:
    """Add an error to the report instead of raising it; the next sync tries again."""
    try:
        yield
    except Exception as error:
        report.failed[name] = text_of(error)


def text_of(error: Exception) -> str:
    return redact_text(f"{type(error).__name__}: {error}")[:500]
