"""Names that commands had before: hidden, kept for one release, each with a notice on standard error."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NamedTuple

import typer

from repro.cli.reporter import renamed


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
        groups[group].command(name, hidden=True, help=unwrapped(alias.command))(_with_notice(old, alias))


def unwrapped(command: Callable[..., None]) -> str:
    """The docstring of a command with one line per paragraph, so that a terminal of any width can wrap it."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _with_notice(old: str, alias: Alias) -> Callable[..., None]:
    @wraps(alias.command)
    def command(**given: Any) -> None:
        renamed(f"repro {old}", f"repro {alias.new}")
        alias.command(**given | {name: given[name] or value for name, value in alias.preset.items()})

    return command
