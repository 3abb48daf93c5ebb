"""Markers that a merge leaves in a file, named before a parser misses a colon in them."""

from __future__ import annotations

import re
from pathlib import Path

from repro.errors import ParamsError, ReproError

_MARKER = re.compile(rb"(?m)^(<{7}|>{7}) ")
# What to do about each kind of file, by the end of its name; the first that fits counts.
WAYS = {
    "params.yaml": "edit it, or take a side: `git checkout --ours FILE` or `--theirs`",
    "dvc.lock": "keep one side between the markers, `repro table --write`, `dvc commit --force tables`"
    " (CONTRIBUTING.md: merge two measured branches)",
    "dvc.yaml": "`git checkout --ours FILE`, then `repro sync --files`",
    ".json": "`git checkout --ours FILE` or `--theirs`: the measurement to keep",
    "": "`git checkout --ours FILE`, then `repro table --write`",
}


def marked(data: bytes | str) -> bool:
    """Whether a merge left both sides in a text."""
    return bool(_MARKER.search(data.encode(errors="replace") if isinstance(data, str) else data))


def has_markers(path: Path) -> bool:
    """Whether a merge left both sides in a file."""
    try:
        return marked(path.read_bytes())
    except OSError:
        return False


def unmerged(where: object, error: type[ReproError] = ParamsError) -> ReproError:
    """The error for a file with both sides in it."""
    name = Path(str(where)).name
    way = next(text for end, text in WAYS.items() if name.endswith(end))
    return error("a merge left both sides in this file", where=where, hint=way.replace("FILE", name))
