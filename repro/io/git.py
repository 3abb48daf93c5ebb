"""git as a subprocess, its common failures as errors, and detection of merge conflicts in files."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from repro.errors import ParamsError, RecordError, ReproError

# (text in git's stderr, error message, hint); other failures show git's own message.
_KNOWN_FAILURES = (
    (
        "dubious ownership",
        "git refuses a repository that belongs to another user",
        "`git config --global --add safe.directory {root}`",
    ),
    ("not a git repository (", "not in a git repository", "work in a clone, or `git init` and commit"),
    (
        "not a git repository:",
        "the repository of this worktree is missing",
        "`git worktree repair`",
    ),
    ("ambiguous argument 'HEAD'", "the repository has no commit yet", "`git commit`"),
)
# English output, for the texts above; and no optional locks, so that reading never waits.
_ENVIRONMENT = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


def git(root: Path, *arguments: str, feed: bytes = b"", timeout: float | None = None) -> bytes:
    """Run git in the folder `root` and return its stdout. Raises ReproError if git fails or is missing."""
    done = run_git(root, *arguments, feed=feed, timeout=timeout)
    if done.returncode:
        raise known_failure(root, done) or ReproError(
            f"git {arguments[0]} failed: {_reason(done)}", where=root
        )
    return done.stdout


def run_git(
    root: Path, *arguments: str, feed: bytes = b"", timeout: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run git in `root`. Raises ReproError if git is missing or exceeds `timeout` seconds."""
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=root,
            input=feed,
            capture_output=True,
            timeout=timeout,
            check=False,
            env=os.environ | _ENVIRONMENT,
        )
    except FileNotFoundError:
        raise ReproError("git is not installed", where=root, hint="install it") from None
    except subprocess.TimeoutExpired:
        raise ReproError(f"git {arguments[0]} did not answer in {timeout:.0f} s", where=root) from None


def known_failure(root: Path, done: subprocess.CompletedProcess[bytes]) -> ReproError | None:
    """Return the error for a repository that git cannot read at all; None for other failures."""
    stderr = done.stderr.decode(errors="replace")
    for text, what, hint in _KNOWN_FAILURES:
        if text in stderr:
            return ReproError(what, where=root, hint=hint.format(root=root))
    return None


def is_shallow(root: Path) -> bool:
    """Return whether this is a shallow clone."""
    return run_git(root, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true"


def commit_id(text: object, where: object) -> str:
    """Return `text` if it is a full commit hash. Raises RecordError otherwise, e.g. for a git option."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text):
        allowed = "40 or 64 hexadecimal digits"
        raise RecordError(f"not a commit: {str(text)[:80]!r}", where=where, allowed=allowed)
    return text


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """The first error line: `git worktree add` prints progress before it."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return next(iter(fatal or lines), f"exit code {done.returncode}")


_MARKER = re.compile(rb"(?m)^(<{7}|>{7}) ")
# Hints to resolve a conflict, by file name suffix; the first match applies.
_CONFLICT_HINTS = {
    "params.yaml": "edit it, or keep one side: `git checkout --ours FILE` or `--theirs`",
    "dvc.lock": "keep one side between the markers, `repro table --write`, `dvc commit --force tables`"
    " (CONTRIBUTING.md: merge two measured branches)",
    "dvc.yaml": "`git checkout --ours FILE`, then `repro sync --files`",
    ".json": "`git checkout --ours FILE` or `--theirs`: the measurement to keep",
    "": "`git checkout --ours FILE`, then `repro table --write`",
}


def has_conflict(data: bytes | str) -> bool:
    """Return whether a text contains merge conflict markers."""
    return bool(_MARKER.search(data.encode(errors="replace") if isinstance(data, str) else data))


def file_has_conflict(path: Path) -> bool:
    """Return whether a file contains merge conflict markers."""
    try:
        return has_conflict(path.read_bytes())
    except OSError:
        return False


def merge_conflict(where: object, error: type[ReproError] = ParamsError) -> ReproError:
    """Return the error for a file with merge conflict markers."""
    name = Path(str(where)).name
    hint = next(text for end, text in _CONFLICT_HINTS.items() if name.endswith(end))
    return error("unresolved merge conflict in this file", where=where, hint=hint.replace("FILE", name))
