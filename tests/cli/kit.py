"""The commands of the program, for tests that walk over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from repro.cli.app import app


def commands(*, hidden: bool = False) -> Iterator[tuple[str, Any]]:
    """(full name, command) of every visible command, or of every hidden one, groups opened."""
    yield from _walk("repro", typer.main.get_command(app), hidden=False, wanted=hidden)


def _walk(name: str, command: Any, *, hidden: bool, wanted: bool) -> Iterator[tuple[str, Any]]:
    hidden = hidden or command.hidden
    inner = getattr(command, "commands", None)
    if inner is None:
        if hidden == wanted:
            yield name, command
        return
    for key, value in inner.items():
        yield from _walk(f"{name} {key}", value, hidden=hidden, wanted=wanted)
