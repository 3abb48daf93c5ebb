"""Names that commands had before: hidden, kept for one release, each with a notice on standard error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NamedTuple

import typer

from repro.cli.reporter import note


class Alias(NamedTuple):
    """What a former name runs."""

    command: Callable[..., None]
    new: str
    preset: Mapping[str, Any] = {}  # options that the former name implied


def add_aliases(app: typer.Typer, aliases: Mapping[str, Alias]) -> None:
    """Add former names (`NAME` or `GROUP NAME`) to `app`, hidden."""
    groups = {"": app}
    for old, alias in aliases.items():
        group, _, name = old.rpartition(" ")
        if group not in groups:
            groups[group] = typer.Typer(no_args_is_help=True)
            app.add_typer(groups[group], name=group, hidden=True)
        groups[group].command(name, hidden=True)(_with_notice(old, alias))


def _with_notice(old: str, alias: Alias) -> Callable[..., None]:
    @wraps(alias.command)
    def command(**given: Any) -> None:
        note(f"`repro {old}` is now `repro {alias.new}`; the old name works until the next release")
        alias.command(**given | {name: given[name] or value for name, value in alias.preset.items()})

    return command
