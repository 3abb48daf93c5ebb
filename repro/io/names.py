"""Names that were read from a file or a server, checked before a path or a command is made of them.

A record, a bundle, a journal or a server can hold any text where a name belongs: `../../experiments` would
name another folder, `-f` an option of git. A plain name is one part of a path, and no option.
"""

from __future__ import annotations

import re
from pathlib import Path

from repro.errors import ReproError

PATTERN = re.compile(r"\w[\w.+-]*(?: [\w.+][\w.+-]*)*")
LONGEST = 200  # bytes: file systems take 255, endings included
ALLOWED = f"letters, digits, _ . + - and single spaces, beginning with no sign; {LONGEST} bytes"


def is_plain_name(text: object) -> bool:
    """Whether a value can be one part of a path and one argument of a command."""
    if not isinstance(text, str) or len(text.encode(errors="replace")) > LONGEST:
        return False
    return PATTERN.fullmatch(text) is not None


def plain_name(text: object, kind: str = "name", *, where: object = None) -> str:
    """`text` as it is; ReproError where it is no plain name."""
    if not is_plain_name(text):
        raise ReproError(f"not a {kind}: {str(text)[:80]!r}", where=where, allowed=ALLOWED)
    return str(text)


def plain_path(folder: Path, *names: str) -> Path:
    """`folder`/NAME/...: the only way from names that were read to a path; ReproError for any other text."""
    return folder.joinpath(*(plain_name(name, where=folder) for name in names))


def require_inside(folder: Path, path: Path) -> Path:
    """`path` as it is; ReproError where links lead out of `folder`, so that what is removed belongs to it."""
    if not path.resolve().is_relative_to(folder.resolve()):
        hint = "remove the link, or make it a folder"
        raise ReproError("a link leads out of the folder", where=path, allowed=folder, hint=hint)
    return path
