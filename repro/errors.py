"""Everything this project raises on purpose.

ReproError                 exit code 2: the user can act on it; printed without a traceback
├── ParamsError            a params file: unknown key, wrong type, impossible value
├── UnknownNameError       a name that is not there (experiment, dataset, stage, ...); suggests the nearest
├── DataError              a data set: missing link, wrong layout, damaged image, label out of range
├── CheckpointError        weights: missing, damaged, of another network
├── DownloadError          a file that could not be fetched or does not have its sha256
├── RecordError            a result record: missing, edited by hand, of another schema
├── StorageError           disk full, no permission
├── IncomparableError      two results under different protocols or data
└── CheckFailed            exit code 1: the program worked, the answer is no
    └── TrainingDiverged   NaN, inf or runaway loss; the last good checkpoint is kept
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ReproError(Exception):
    """A failure with a way out: what failed, where, what is allowed, what to do next."""

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: object | None = None,
        allowed: object | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.allowed = None if allowed is None else str(allowed)
        self.hint = hint

    def __str__(self) -> str:
        parts = {"where": self.where, "allowed": self.allowed, "next": self.hint}
        return "\n".join([self.what, *(f"  {key}: {text}" for key, text in parts.items() if text)])


class ParamsError(ReproError):
    """A params file says something that cannot be."""


class UnknownNameError(ReproError):
    """A name that does not exist, with the nearest one that does."""

    def __init__(
        self,
        kind: str,
        name: str,
        choices: Iterable[str],
        *,
        hint: str | None = None,
        where: object | None = None,
    ) -> None:
        known = sorted(choices)
        near = nearest(name, known)
        listed = _listed(name, known)
        suggestion = f"did you mean '{near}'?" if near else hint
        what, allowed = f"unknown {kind} '{name}'", listed or "none exist yet"
        super().__init__(what, where=where, allowed=allowed, hint=suggestion)


class DataError(ReproError):
    """A data set that is missing, incomplete or damaged."""


class CheckpointError(ReproError):
    """Weights that are missing, damaged or made for another network."""


class DownloadError(ReproError):
    """A file that could not be fetched, or whose sha256 is wrong."""


class RecordError(ReproError):
    """A result record that is missing, edited or of another schema."""


class StorageError(ReproError):
    """The disk is full or may not be written."""


class IncomparableError(ReproError):
    """Two results that were not measured in the same way."""


class CheckFailed(ReproError):
    """A check that ran and said no."""

    exit_code = 1


class TrainingDiverged(CheckFailed):
    """The loss became NaN, infinite or ran away."""


def _listed(name: str, known: list[str]) -> str:
    """All of a few names; of many those that look like `name` or share its first word, and the count."""
    if len(known) <= 20:
        return ", ".join(known)
    lower, first = name.lower(), name.lower().partition("_")[0]
    alike = difflib.get_close_matches(lower, [one.lower() for one in known], n=5, cutoff=0.6)
    family = [one for one in known if first and one.lower().startswith(first)]
    shown = [one for one in known if one.lower() in alike] or family or known
    return f"{', '.join(shown[:5])}, ... ({len(known)} in all)"


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice that looks most like `name`, whatever the case; None when nothing is close."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None
