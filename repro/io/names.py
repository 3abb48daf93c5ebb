"""Validation of names read from files or servers, before they become paths or command arguments.

A record, a bundle or a server may hold any text as a name: `../../experiments` is a path to another folder,
`-f` an option of git. A plain name is a single path component and never an option.
"""

from __future__ import annotations

import re
from pathlib import Path

from repro.errors import ReproError

PATTERN = re.compile(r"\w[\w.+-]*(?: [\w.+][\w.+-]*)*")
LONGEST = 200  # bytes: file systems allow 255, including the suffix
ALLOWED = f"letters, digits, _ . + - and single spaces, not starting with . + -; at most {LONGEST} bytes"


def is_plain_name(text: object) -> bool:
    """Return whether a value is safe as a path component and as a command argument."""
    if not isinstance(text, str) or len(text.encode(errors="replace")) > LONGEST:
        return False
    return PATTERN.fullmatch(text) is not None


def plain_name(text: object, kind: str = "name", *, where: object = None) -> str:
    """Return `text` unchanged. Raises ReproError if it is not a plain name."""
    if not is_plain_name(text):
        raise ReproError(f"not a {kind}: {str(text)[:80]!r}", where=where, allowed=ALLOWED)
    return str(text)


def plain_path(folder: Path, *names: str) -> Path:
    """Join `folder` and plain names. Raises ReproError for any other text."""
    return folder.joinpath(*(plain_name(name, where=folder) for name in names))


def require_inside(folder: Path, path: Path) -> Path:
    """Return `path` unchanged. Raises ReproError if links lead out of `folder`; call it before deleting."""
    if not path.resolve().is_relative_to(folder.resolve()):
        hint = "remove the link, or make it a folder"
        raise ReproError("a link leads out of the folder", where=path, allowed=folder, hint=hint)
    return path
