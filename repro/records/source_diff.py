"""What the code of a result had that its commit has not: a patch of code and parameters, without secrets.

The patch travels: it is kept beside the journal, exported with the run and sent to MLflow. So a list says
what may be in it, everything else that differs is named only, and credentials in what remains are masked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repro.errors import ReproError
from repro.io.git import git, run_git
from repro.io.redact import is_secret_file, redact_lines

DIFF = "source.diff"  # the artifact that holds the difference of the code, and the file beside the journal
# What the pipeline itself writes: it differs from HEAD in every `dvc repro` and says nothing of the code.
WRITTEN = (
    *("reports/**", "README.md", "dvc.lock", "experiments/*/dvc.lock", "experiments/*/*.json"),
    *("experiments/*/*.csv", "experiments/*/overlays/**", "experiments/*/also/**"),
)
# What may be copied: the package, experiments, params, published pages, project, lock and Make files.
KEPT = re.compile(
    r"repro/(?:[^/]+/)*[^/]+\.py|repro/published/[^/]+\.json|repro/datasets/lists/[^/]+\.txt"
    r"|experiments/[^/]+\.yaml|experiments/[^/]+/(?:params|dvc)\.yaml|published/[^/]+\.(?:md|ya?ml|json)"
    r"|params\.yaml|dvc\.yaml|pyproject\.toml|requirements[^/]*\.lock|uv\.lock|(?:GNU)?[Mm]akefile|[^/]+\.mk"
)
LARGEST = 1 << 20  # bytes of a file that is copied whole
_SECONDS = 60.0
# A user's own settings would make a patch that `git apply` does not take.
_PLAIN = (
    *("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--submodule=short"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)


@dataclass(frozen=True, kw_only=True)
class SourceDiff:
    """The patch, names of changed files that are not in it, and names of those in it with masked lines."""

    patch: bytes
    left_out: tuple[str, ...]
    masked: tuple[str, ...]


def source_diff(root: Path) -> bytes:
    """The patch alone; empty where nothing that may be copied was changed, and where git cannot be asked."""
    try:
        return source_changes(root).patch
    except ReproError:  # provenance says why
        return b""


def source_changes(root: Path) -> SourceDiff:
    """Changes of hand-written files below `root` against HEAD, with new files that git does not ignore."""
    paths = ["--", ".", *(f":(exclude,glob){pattern}" for pattern in WRITTEN)]
    changed = _names(root, "diff", "HEAD", "--name-only", "--no-renames", "--relative", "-z", *paths)
    new = _names(root, "ls-files", "--others", "--exclude-standard", "-z", *paths)
    kept = {name: name in changed for name in sorted({*changed, *new}) if may_be_copied(root, name)}
    sections = {name: _section(root, name, is_tracked) for name, is_tracked in kept.items()}
    cleaned = {name: _cleaned(section, name) for name, section in sections.items()}
    parts = {name: part for name, part in cleaned.items() if part is not None}
    return SourceDiff(
        patch=b"".join(parts.values()),
        left_out=tuple(_shown(name) for name in sorted({*changed, *new} - parts.keys())),
        masked=tuple(_shown(name) for name, part in parts.items() if part != sections[name]),
    )


def may_be_copied(root: Path, name: str) -> bool:
    """Whether the list names a file (path below `root`), and it is a text of its own and not too large."""
    path = root / name
    if not KEPT.fullmatch(name) or is_secret_file(name) or path.is_symlink():
        return False
    return not path.exists() or (path.is_file() and path.stat().st_size <= LARGEST)


def _section(root: Path, name: str, is_tracked: bool) -> bytes:
    """The patch of one file."""
    if is_tracked:
        return _ask(root, "diff", "HEAD", "--relative", *_PLAIN, "--", f":(literal){name}")
    return run_git(root, "diff", *_PLAIN, "--no-index", "--", "/dev/null", name, timeout=_SECONDS).stdout


def _cleaned(section: bytes, name: str) -> bytes | None:
    """The patch of one file without credentials; None where it would not apply without them, and of binaries.

    A masked line that the file gained changes what is applied, one that it had already changes where.
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


def _ask(root: Path, *arguments: str) -> bytes:
    return git(root, *arguments, timeout=_SECONDS)


def _names(root: Path, *arguments: str) -> list[str]:
    return [os.fsdecode(name) for name in _ask(root, *arguments).split(b"\0") if name]


def _shown(name: str) -> str:
    """A name that JSON and a terminal can hold."""
    return os.fsencode(name).decode(errors="backslashreplace")


def shortened(names: Sequence[str], most: int = 20) -> list[str]:
    """The first names, and how many there are more."""
    return [*names[:most], *([f"and {len(names) - most} more"] if len(names) > most else [])]
