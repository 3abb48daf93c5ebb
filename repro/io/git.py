"""git as a subprocess: its output as bytes, why it failed, and conflict markers left in a file."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from repro.errors import ParamsError, RecordError, ReproError

# (what git says, in our words, the way out); git's own sentence for anything else.
_REFUSALS = (
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
# In English, because of the sentences above, and without a lock: reading waits for nobody.
_ENVIRONMENT = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


def git(root: Path, *arguments: str, feed: bytes = b"", timeout: float | None = None) -> bytes:
    """What `git ARGUMENTS` prints in the folder `root`; ReproError where git fails or is missing."""
    done = run_git(root, *arguments, feed=feed, timeout=timeout)
    if done.returncode:
        raise refusal(root, done) or ReproError(f"git {arguments[0]} failed: {_reason(done)}", where=root)
    return done.stdout


def run_git(
    root: Path, *arguments: str, feed: bytes = b"", timeout: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """The ended process, whatever its status; ReproError where git is missing or slower than `timeout` s."""
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


def refusal(root: Path, done: subprocess.CompletedProcess[bytes]) -> ReproError | None:
    """Why git reads nothing in this folder at all; None where the folder is not the reason."""
    said = done.stderr.decode(errors="replace")
    for sentence, what, hint in _REFUSALS:
        if sentence in said:
            return ReproError(what, where=root, hint=hint.format(root=root))
    return None


def is_shallow(root: Path) -> bool:
    """Whether the clone holds only the newest commits."""
    return run_git(root, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true"


def commit_id(text: object, where: object) -> str:
    """The full hash of a commit as a record holds it; RecordError for anything else, such as an option."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text):
        allowed = "40 or 64 hexadecimal digits"
        raise RecordError(f"not a commit: {str(text)[:80]!r}", where=where, allowed=allowed)
    return text


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """The line that tells why: `git worktree add` says first what it is about to do."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return next(iter(fatal or lines), f"exit code {done.returncode}")


_MARKER = re.compile(rb"(?m)^(<{7}|>{7}) ")
# What to do about each kind of file, by the end of its name; the first that fits counts.
WAYS = {
    "params.yaml": "edit it, or take a side: `git checkout --ours FILE` or `--theirs`",
    "dvc.lock": "keep one side between the markers, `repro table --write`, `dvc commit --force tables`"
    " (CONTRIBUTING.md: merge two measured branches)",
    "dvc.yaml": "`git checkout --ours FILE`, then `repro sync --files`",
    ".json": "`git checkout --ours FILE` or `--theirs`: the measurement to keep",
    "": "`git checkout --ours FILE`, then `repro table --write`",
}


def marked(data: bytes | str) -> bool:
    """Whether a merge left both sides in a text."""
    return bool(_MARKER.search(data.encode(errors="replace") if isinstance(data, str) else data))


def has_markers(path: Path) -> bool:
    """Whether a merge left both sides in a file."""
    try:
        return marked(path.read_bytes())
    except OSError:
        return False


def unmerged(where: object, error: type[ReproError] = ParamsError) -> ReproError:
    """The error for a file with both sides in it."""
    name = Path(str(where)).name
    way = next(text for end, text in WAYS.items() if name.endswith(end))
    return error("a merge left both sides in this file", where=where, hint=way.replace("FILE", name))
