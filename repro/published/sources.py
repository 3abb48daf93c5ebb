"""Sources of published rows: repository, commit, file and line of their settings, and their weights.

A row's code is read at the commit in force when its number was recorded, or, where the page was edited before
its script was committed, at the first commit that has the script. Only the standard library is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from repro.errors import ParamsError
from repro.published.page import Row

FILE = Path(__file__).with_name("sources.json")


@dataclass(frozen=True, kw_only=True)
class Source:
    """The code of one row: file -> setting -> 1-based line, all at `commit` of `repository`."""

    repository: str  # owner/name
    recorded: str  # the commit that put the number on the page
    commit: str  # the commit at which the lines are counted
    files: Mapping[str, Mapping[str, int]]
    page: str = ""  # the commit of the page's code where that is not the page's own, as on another branch

    def places(self) -> Iterator[tuple[str, str, int]]:
        """(setting, file, line) in the order of the file."""
        return ((key, file, line) for file, lines in self.files.items() for key, line in lines.items())


@lru_cache
def sources(path: Path = FILE) -> Mapping[str, Source]:
    """Row id -> where its settings are; ParamsError for a file that is not of this form."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return MappingProxyType({row: Source(**found) for row, found in raw["rows"].items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParamsError(f"not a list of sources: {error}", where=path) from error


# Rows whose link leads to the file of another row (the page repeats it; each row's remarks say so).
BORROWED = frozenset({"000-02", "000-04", "000-05", "004-04", "004-05", "004-06"})


def own_weights(names: Sequence[str], rows: Mapping[str, Row]) -> Row | None:
    """The first of the rows `names` that links weights of its own; None when there is none."""
    known = (rows[name] for name in names if name in rows and name not in BORROWED)
    return next((row for row in known if "model" in row.links), None)


def direct(url: str) -> str:
    """A link to the file itself: Dropbox and Google Drive show a page unless asked for the download."""
    drive = re.match(r"https://drive\.google\.com/file/d/([\w-]+)", url)
    if drive:
        return f"https://drive.usercontent.google.com/download?id={drive.group(1)}&export=download&confirm=t"
    return url.replace("?dl=0", "?dl=1")


def hash_in_name(url: str) -> str | None:
    """First digits of the sha256, where the name of a weights file ends with them: r50-d8-ce0fa0ca.pth."""
    found = re.search(r"-([0-9a-f]{8,64})\.(?:pth|pt|ckpt|safetensors)(?:\?|$)", url)
    return found.group(1) if found else None
