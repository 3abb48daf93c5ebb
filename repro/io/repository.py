"""Web addresses of the project's git repository, its files and its commits."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from repro.errors import ReproError
from repro.io.git import run_git
from repro.io.redact import strip_credentials

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SSH = re.compile(r"(?:ssh://)?[\w.-]+@([\w.-]+)(?::\d+)?[:/](.+)")  # git@host:owner/repository.git


@lru_cache
def repository_url(root: Path) -> str | None:
    """Web address of the git remote `origin`, without credentials; None for a local one and without git."""
    try:
        found = run_git(root, "config", "--get", "remote.origin.url")
    except ReproError:
        return None
    return web_address(found.stdout.decode(errors="replace").strip())


def web_address(remote: str) -> str | None:
    """The address for browsers of a git remote; None if there is none.

    Example: git@host.org:owner/name.git is https://host.org/owner/name
    """
    remote = remote.removesuffix("/").removesuffix(".git")
    if remote.startswith(("https://", "http://")):
        return strip_credentials(remote)
    found = _SSH.fullmatch(remote)
    return f"https://{found[1]}/{found[2]}" if found else None


def file_url(root: Path, path: str) -> str | None:
    """Address of a file of the project in its repository's default branch; None without a remote."""
    base = repository_url(root)
    return None if base is None else f"{base}/blob/HEAD/{_prefix(root)}{quote(path)}"


def commit_url(root: Path, commit: object) -> str | None:
    """Address of a commit of the project; None without a remote or for something else than a commit."""
    base = repository_url(root)
    known = isinstance(commit, str) and _COMMIT.fullmatch(commit)
    return f"{base}/commit/{commit}" if base and known else None


@lru_cache
def _prefix(root: Path) -> str:
    """Path of the project inside its repository, with a slash at its end; "" for the repository itself."""
    return quote(run_git(root, "rev-parse", "--show-prefix").stdout.decode(errors="replace").strip())
