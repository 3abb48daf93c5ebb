"""Output of stages: results on standard output, remarks and progress bars on standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from repro.cli.console import console, pass_through

if TYPE_CHECKING:
    from repro.errors import ReproError
    from repro.stages.reporter import Reporter


def say(text: str) -> None:
    """A line of results on standard output."""
    console().print(text)


def note(text: str) -> None:
    """A remark on standard error, where it is in the way of no JSON."""
    console(stderr=True).print(text)


def raw(text: str) -> None:
    """What a program prints, unchanged, on standard error."""
    pass_through(text)


def renamed(old: str, new: str) -> None:
    """A notice for a name that works for one more release."""
    note(f"`{old}` is now `{new}`; the old name works until the next release")


def name_broken(broken: Mapping[str, ReproError]) -> None:
    """Each experiment whose params.yaml or record cannot be used, with the reason: the others are shown."""
    for name, error in broken.items():
        note(f"left out {name}: {error.what}\n  where: {error.where}")


def require_asked(names: Sequence[str], broken: Mapping[str, ReproError]) -> None:
    """ParamsError where one of `broken` was asked for by name, not by a pattern or as one of all."""
    from repro.params import broken_error, explicitly_named

    if asked := explicitly_named(names, broken):
        raise broken_error(asked, done="the others are shown")


def aloud() -> Reporter:
    """Output of stages on this terminal."""
    from repro.cli.progress import bar, file_bar, training_bar
    from repro.stages.reporter import Reporter

    return Reporter(say=say, note=note, output=raw, bar=bar, file_bar=file_bar, training_bar=training_bar)
