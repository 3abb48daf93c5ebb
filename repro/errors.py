"""The exceptions of this package.

ReproError                 exit code 2: a mistake the user can correct; printed without a traceback
├── ParamsError            params file: unknown key, wrong type, invalid value
├── UnknownNameError       unknown experiment, data set, stage, ...; suggests the closest name
├── DataError              data set: missing link, wrong layout, corrupt image, label out of range
├── CheckpointError        weights: missing, corrupt, or for a different network
├── DownloadError          failed download or wrong checksum
├── RecordError            result record: missing, manually edited, or unknown schema
├── StorageError           disk full, no permission
├── IncomparableError      two results under different protocols or data
├── Interrupted            exit code 130: a signal stopped a training
└── CheckFailed            exit code 1: a check ran and failed
    └── TrainingDiverged   NaN, inf or diverging loss; the last good checkpoint is kept
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LINE_CHARACTERS = 1000


def shortened(text: str) -> str:
    """Cut lines of more than 1,000 characters: a message may quote what a file holds."""
    if len(text) <= LINE_CHARACTERS:
        return text
    return "\n".join(
        line
        if len(line) <= LINE_CHARACTERS
        else f"{line[: LINE_CHARACTERS // 2]}... ({len(line):,} characters)"
        for line in text.splitlines()
    )


class ReproError(Exception):
    """An error that the user can correct.

    Args:
        what: What failed.
        where: File, folder or key that caused it.
        allowed: What would be accepted.
        hint: What to do next.
    """

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
        self.what = shortened(what)
        self.where = None if where is None else shortened(str(where))
        self.allowed = None if allowed is None else shortened(str(allowed))
        self.hint = hint

    def __str__(self) -> str:
        parts = {"where": self.where, "allowed": self.allowed, "next": self.hint}
        return "\n".join([self.what, *(f"  {key}: {text}" for key, text in parts.items() if text)])


class ParamsError(ReproError):
    """A params file is invalid."""


class UnknownNameError(ReproError):
    """A name does not exist; the message suggests the closest one in `choices`."""

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
    """A data set is missing, incomplete or corrupt."""


class CheckpointError(ReproError):
    """Weights are missing, corrupt or belong to a different network."""


class DownloadError(ReproError):
    """A download failed, or the file has the wrong checksum."""


class RecordError(ReproError):
    """A result record is missing, edited or has an unknown schema."""


class StorageError(ReproError):
    """The disk is full or not writable."""


class IncomparableError(ReproError):
    """Two results were not measured in the same way."""


class Interrupted(ReproError):
    """A signal stopped a training; what it had saved is kept."""

    exit_code = 130


class CheckFailed(ReproError):
    """A check ran and failed."""

    exit_code = 1


class TrainingDiverged(CheckFailed):
    """The loss became NaN or infinite, or exceeded its limit."""


def _listed(name: str, known: list[str]) -> str:
    """All names if there are at most 20; else up to five similar ones and the total."""
    if len(known) <= 20:
        return ", ".join(known)
    lower, first = name.lower(), name.lower().partition("_")[0]
    alike = difflib.get_close_matches(lower, [one.lower() for one in known], n=5, cutoff=0.6)
    family = [one for one in known if first and one.lower().startswith(first)]
    shown = [one for one in known if one.lower() in alike] or family or known
    return f"{', '.join(shown[:5])}, ... ({len(known)} in total)"


def counted(number: int, noun: str) -> str:
    """'1 page', '2 pages'."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Return up to `most` names and the number of the others: 'a, b, c and 4 more'."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice most similar to `name`, ignoring case, or None if none is similar."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None
