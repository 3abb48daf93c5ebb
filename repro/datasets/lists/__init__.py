"""Official lists of ids and class names, one entry per line."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def official(name: str) -> tuple[str, ...]:
    """Return the lines of lists/<name>.txt."""
    return tuple(files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8").splitlines())
