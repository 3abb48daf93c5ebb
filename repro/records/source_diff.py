"""The diff between a result's code and its commit, without secrets.

The diff is stored next to the journal, exported with the run and sent to MLflow. Therefore only listed files
are included, other changed files are only named, and credentials are redacted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from repro.errors import ReproError
from repro.io.git import git, run_git
from repro.io.redact import is_secret_file, redact_lines

DIFF = "source.diff"  # name of the MLflow artifact and of the file next to the journal
# Outputs of the pipeline: they differ from HEAD in every `dvc repro`.
WRITTEN = (
    *("reports/**", "README.md", "dvc.lock", "experiments/*/dvc.lock", "experiments/*/*.json"),
    *("experiments/*/*.csv", "experiments/*/overlays/**", "experiments/*/also/**"),
)
# Files to include: the package, experiments, params, published pages, project, lock and Make files.
KEPT = re.compile(
    r"repro/(?:[^/]+/)*[^/]+\.py|repro/datasets/lists/[^/]+\.txt"
    r"|repro/templates/(?:[^/]+/)*[^/]+\.yaml|experiments/[^/]+\.yaml|experiments/[^/]+/(?:params|dvc)\.yaml|published/[^/]+\.(?:md|ya?ml|json)"
    r"|params\.yaml|dvc\.yaml|pyproject\.toml|requirements[^/]*\.lock|uv\.lock|(?:GNU)?[Mm]akefile|[^/]+\.mk"
)
MAX_FILE_BYTES = 1 << 20
_SECONDS = 60.0
# Override user settings that would make the patch unusable for `git apply`.
_PLAIN = (
    *("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--submodule=short"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)


@dataclass(frozen=True, kw_only=True)
class SourceDiff:
    """The patch, names of changed files that are not in it, and names of files with redacted lines."""

    patch: bytes
    left_out: tuple[str, ...]
    masked: tuple[str, ...]


def source_diff(root: Path, code: Collection[str] = ()) -> bytes:
    """Return only the patch; b"" without changes, and if git fails."""
    try:
        return source_changes(root, code).patch
    except ReproError:  # the reason is in the provenance
        return b""


def source_changes(root: Path, code: Collection[str] = ()) -> SourceDiff:
    """Return the changes of source files below `root` against HEAD, including untracked files.

    Args:
        root: The project root.
        code: Files and folders to include besides those listed here: a project's own code.
    """
    paths = ["--", ".", *(f":(exclude,glob){pattern}" for pattern in WRITTEN)]
    changed = _names(root, "diff", "HEAD", "--name-only", "--no-renames", "--relative", "-z", *paths)
    new = _names(root, "ls-files", "--others", "--exclude-standard", "-z", *paths)
    kept = {name: name in changed for name in sorted({*changed, *new}) if is_included(root, name, code)}
    sections = {name: _section(root, name, is_tracked) for name, is_tracked in kept.items()}
    redacted = {name: _redacted(section, name) for name, section in sections.items()}
    parts = {name: part for name, part in redacted.items() if part is not None}
    return SourceDiff(
        patch=b"".join(parts.values()),
        left_out=tuple(_shown(name) for name in sorted({*changed, *new} - parts.keys())),
        masked=tuple(_shown(name) for name, part in parts.items() if part != sections[name]),
    )


def is_included(root: Path, name: str, code: Collection[str] = ()) -> bool:
    """Return whether a changed file (path below `root`) is included: listed, not a link, not too large."""
    path = root / name
    if not (KEPT.fullmatch(name) or _is_below(name, code)) or is_secret_file(name) or path.is_symlink():
        return False
    return not path.exists() or (path.is_file() and path.stat().st_size <= MAX_FILE_BYTES)


def _is_below(name: str, paths: Collection[str]) -> bool:
    """Whether a file is one of the paths, or in a folder among them."""
    return any(PurePosixPath(name).is_relative_to(PurePosixPath(path)) for path in paths)


def _section(root: Path, name: str, is_tracked: bool) -> bytes:
    """The patch of one file."""
    if is_tracked:
        return _git(root, "diff", "HEAD", "--relative", *_PLAIN, "--", f":(literal){name}")
    return run_git(root, "diff", *_PLAIN, "--no-index", "--", "/dev/null", name, timeout=_SECONDS).stdout


def _redacted(section: bytes, name: str) -> bytes | None:
    """The patch of one file without credentials; None for binaries, and if it would no longer apply.

    Redacting an added line keeps the patch applicable; redacting a context or removed line does not.
    """
    head, mark, body = section.partition(b"\n@@ ")
    if b"\nGIT binary patch" in head:
        return None
    lines = body.decode(errors="surrogateescape").split("\n")
    texts = redact_lines([line[1:] for line in lines], is_code=name.endswith(".py"))
    found = [old[:1] + new for old, new in zip(lines, texts, strict=True)]
    if any(old != new and old[:1] != "+" for old, new in zip(lines, found, strict=True)):
        return None
    return head + mark + "\n".join(found).encode(errors="surrogateescape")


def _git(root: Path, *arguments: str) -> bytes:
    return git(root, *arguments, timeout=_SECONDS)


def _names(root: Path, *arguments: str) -> list[str]:
    return [os.fsdecode(name) for name in _git(root, *arguments).split(b"\0") if name]


def _shown(name: str) -> str:
    """A name that JSON and terminals can represent."""
    return os.fsencode(name).decode(errors="backslashreplace")


def shortened(names: Sequence[str], most: int = 20) -> list[str]:
    """Return the first names and the number of the others."""
    return [*names[:most], *([f"and {len(names) - most} more"] if len(names) > most else [])]
