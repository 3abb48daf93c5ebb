"""Where the settings of each published row are written: repository, commit, file and line (`sources.json`).

A row's code is read at the commit in force when its number was recorded, or, where the page was edited before
its script was committed, at the first commit that has the script. Only the standard library is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from repro.errors import ParamsError

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
