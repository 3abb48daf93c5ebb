"""The weights that published rows link: whose they are, where the file is, which sha256 its name tells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from repro.published.page import Row

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
