"""Sources of published rows: repository, commit, file and line of their settings, and their weights.

Line numbers refer to the commit at which the number was recorded or, if the page was edited before its script
was committed, to the first commit that has the script. Only the standard library is imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from repro.errors import ParamsError
from repro.io.json_reader import read_json
from repro.published.page import Row

FILE = "sources.json"  # in the folder of pages


@dataclass(frozen=True, kw_only=True)
class Source:
    """The code of one row. `files` maps file -> setting -> 1-based line at `commit` of `repository`."""

    repository: str  # owner/name
    recorded: str  # the commit that put the number on the page
    commit: str  # the commit of the line numbers
    files: Mapping[str, Mapping[str, int]]
    page: str = ""  # the commit of the page's code, if it differs from the page's own, as on another branch

    def places(self) -> Iterator[tuple[str, str, int]]:
        """Yield (setting, file, line) in the order of `files`."""
        return ((key, file, line) for file, lines in self.files.items() for key, line in lines.items())


def read_sources(path: Path) -> Mapping[str, Source]:
    """Return the sources by row id. Raises ParamsError if the file is invalid."""
    try:
        raw = read_json(path, error=ParamsError)
        return {row: Source(**found) for row, found in raw["rows"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ParamsError(f"not a list of sources: {error}", where=path) from error


def row_with_weights(names: Sequence[str], rows: Mapping[str, Row]) -> Row | None:
    """Return the first of the rows `names` that links its own weights, or None."""
    known = (rows[name] for name in names if name in rows)
    return next((row for row in known if "model" in row.links and not row.weights_of), None)


def direct_url(url: str) -> str:
    """Convert Dropbox and Google Drive links, which show a page, to direct download links."""
    drive = re.match(r"https://drive\.google\.com/file/d/([\w-]+)", url)
    if drive:
        return f"https://drive.usercontent.google.com/download?id={drive.group(1)}&export=download&confirm=t"
    return url.replace("?dl=0", "?dl=1")


def hash_in_name(url: str) -> str | None:
    """Return the sha256 prefix in the name of a weights file (r50-d8-ce0fa0ca.pth), or None."""
    found = re.search(r"-([0-9a-f]{8,64})\.(?:pth|pt|ckpt|safetensors)(?:\?|$)", url)
    return found.group(1) if found else None
