"""git, asked from Python: what it prints, as bytes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from repro.errors import RecordError, ReproError


def git(root: Path, *arguments: str, feed: bytes = b"") -> bytes:
    """What `git ARGUMENTS` prints in the folder `root`; ReproError where git fails or is missing."""
    done = run_git(root, *arguments, feed=feed)
    if done.returncode:
        raise ReproError(f"git {arguments[0]} failed: {_reason(done)}", where=root)
    return done.stdout


def run_git(
    root: Path, *arguments: str, feed: bytes = b"", timeout: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """The ended process, whatever its status; ReproError where git is missing."""
    try:
        return subprocess.run(
            ["git", *arguments], cwd=root, input=feed, capture_output=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise ReproError(
            "git is not installed", where=root, hint="install it: old code is read by it"
        ) from None


def commit_id(text: object, where: object) -> str:
    """The full hash of a commit as a record holds it; RecordError for anything else, such as an option."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text):
        raise RecordError(
            f"not a commit: {str(text)[:80]!r}", where=where, allowed="40 or 64 hexadecimal digits"
        )
    return text


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """The line that tells why: `git worktree add` says first what it is about to do."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return next(iter(fatal or lines), f"exit code {done.returncode}")
