"""Released weights of many experiments: each verified in a separate process, compared with the last time.

A row that fails ends none of the others. Each evaluation is cached when it ends, so that an interrupted
command can be repeated. What was found is kept in reports/verified, for git. If a number moved, the last
accepted result stays there, so that every later command reports it too, until it is accepted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any, Literal

from repro.errors import CheckFailed, RecordError, ReproError
from repro.fleet import Fleet, Job
from repro.io.json_reader import read_json
from repro.params import Project, read_each
from repro.published.page import METRICS, Row
from repro.published.sources import row_with_weights
from repro.records.verified import Number, Verified, changes, moved, read_verified, write_verified
from repro.reports.claims import Declared, read_declared
from repro.reports.results import Results

FOLDER = "verify"  # in .repro: logs and results of the processes
LOG_BYTES = 100_000  # of the end of a log, which may hold what a program printed


@dataclass(frozen=True, kw_only=True)
class Options:
    """How rows are verified: parallel processes, their options, and when a number has moved."""

    slots: int = 1
    arguments: Sequence[str] = ()  # of `repro verify NAME`
    tolerance: float = 0.05  # percent points
    accept: bool = False  # keep numbers that moved


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was found of an experiment; numbers are percent of `metric`, the one that moved if any did."""

    experiment: str
    state: Literal["same", "moved", "not looked at"]
    row: str = ""
    metric: str = "mIoU"
    published: float | None = None
    last: float | None = None
    measured: float | None = None
    verdict: str = ""
    changes: tuple[str, ...] = ()
    last_at: str = ""
    at: str = ""
    error: str = ""

    @property
    def gap(self) -> float | None:
        """Measured minus published."""
        if self.measured is None or self.published is None:
            return None
        return round(self.measured - self.published, 4)


def with_weights(results: Results, names: Iterable[str]) -> list[str]:
    """Return the experiments whose published row links weights, or whose program names them."""
    return [name for name in names if name in results.experiments and _has_weights(results, name)]


def _has_weights(results: Results, name: str) -> bool:
    row = row_of(results.experiments[name], results.published.rows)
    return row is not None and bool(row.metrics)


def row_of(declared: Declared, rows: Mapping[str, Row]) -> Row | None:
    """Return the row that the released weights of an experiment are compared with; None without weights."""
    external = declared.raw.get("external")
    if declared.raw.get("measure") == "cost":
        return None
    if not isinstance(external, Mapping):
        return row_with_weights(declared.rows, rows)
    released = external.get("weights") and not external.get("train")
    return next((rows[row] for row in declared.rows if row in rows), None) if released else None


def not_since(project: Project, names: Iterable[str], max_age: float) -> list[str]:
    """Return the experiments that were not verified within `max_age` seconds, or whose result is damaged."""
    known, _ = read_each(names, lambda name: read_verified(project.verified(name)))
    recent = {name for name, one in known.items() if one and time() - one.seconds < max_age}
    return [name for name in names if name not in recent]


def verify_all(
    project: Project,
    names: Sequence[str],
    options: Options,
    shown: Callable[[Sequence[Job]], None] = lambda jobs: None,
) -> list[Outcome]:
    """Verify experiments, each in a process, and keep what was found in reports/verified.

    Args:
        project: The project; its code is run.
        names: Experiments with released weights.
        options: How they are verified.
        shown: Called with the state of all processes, several times each second.
    """
    jobs = [Job(name=name, dataset="", log=_file(project, name, "log")) for name in names]
    for job in jobs:
        for path in (job.log, _file(project, job.name, "json")):
            path.unlink(missing_ok=True)

    def command(project: Project, name: str) -> list[str]:
        out = str(_file(project, name, "json"))
        return [sys.executable, "-m", "repro", "verify", name, "--out", out, *options.arguments]

    fleet = Fleet(
        project=project,
        jobs=jobs,
        slots=options.slots,
        attempts=1,
        succeeds=(0, CheckFailed.exit_code),  # a number that differs was looked at
        command=command,
        shown=shown,
    )
    return [outcome(project, job, options) for job in fleet.run()]


def _file(project: Project, name: str, suffix: str) -> Path:
    return project.cache_folder(FOLDER, f"{name}.{suffix}")


def outcome(project: Project, job: Job, options: Options) -> Outcome:
    """Return what a process found, beside the last time; and keep it."""
    path = _file(project, job.name, "json")
    if not path.is_file():
        return not_looked_at(project, job.name, error_in(job))
    try:
        return compare(project, job.name, verified_of(read_json(path, error=RecordError)), options)
    except ReproError as error:
        return not_looked_at(project, job.name, str(error))


def not_looked_at(project: Project, name: str, error: str) -> Outcome:
    """Return that there is no number, beside what the page prints and the last time."""
    row = row_of(read_declared(project, name), project.published.rows)
    metric = next((one for one in METRICS if row and one in row.metrics), "mIoU")
    known, _ = read_each([name], lambda name: read_verified(project.verified(name)))
    before = known.get(name)
    last = before.numbers.get(metric) if before else None
    return Outcome(
        experiment=name,
        state="not looked at",
        row=row.id if row else "",
        metric=metric,
        published=row.metrics.get(metric) if row else None,
        last=last.measured if last else None,
        last_at=before.at if before else "",
        error=error,
    )


def verified_of(found: Mapping[str, Any]) -> Verified:
    """Return what is kept of a result of `repro verify NAME --out FILE`."""
    numbers = {
        one["metric"]: Number(published=one["published"], measured=one["measured"])
        for one in found["checked"]
    }
    inputs, keys = found["inputs"], ("row", "at", "verdict")
    return Verified(**{key: str(found[key]) for key in keys}, numbers=numbers, inputs=inputs)


def compare(project: Project, name: str, now: Verified, options: Options) -> Outcome:
    """Return a result beside the last one, which it replaces unless a number moved."""
    path = project.verified(name)
    before = read_verified(path)
    if now.verdict == "unmeasured":
        return not_looked_at(project, name, "its protocol measures none of the metrics that the row prints")
    found = moved(before, now, tolerance=options.tolerance)
    if options.accept or not found:
        write_verified(path, now)
    metric = (found or [one for one in METRICS if one in now.numbers])[0]
    last = before.numbers.get(metric) if before else None
    return Outcome(
        experiment=name,
        state="moved" if found else "same",
        row=now.row,
        metric=metric,
        published=now.numbers[metric].published,
        last=last.measured if last else None,
        measured=now.numbers[metric].measured,
        verdict=now.verdict,
        changes=tuple(changes(before, now)),
        last_at=before.at if before else "",
        at=now.at,
    )


def error_in(job: Job) -> str:
    """Return the error that a process printed last, or its last line, or its exit status."""
    text = job.log.read_bytes()[-LOG_BYTES:].decode(errors="replace") if job.log.is_file() else ""
    _, found, error = f"\n{text}".rpartition("\nerror: ")
    lines = [line for line in text.splitlines() if line.strip()]
    return error.strip() if found else lines[-1].strip() if lines else f"ended with status {job.code}"
