"""What DVC's files say of this checkout, read without DVC: its remote, its cache, and what dvc.lock pins."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from repro.errors import ParamsError
from repro.io.redact import strip_credentials

_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A dvc.lock: path -> md5 of what its stages wrote, and of what they read (one for each stage)."""

    outs: Mapping[str, str]
    deps: Mapping[str, tuple[str, ...]]


def read_lock(path: Path) -> Lock | None:
    """The dvc.lock of an experiment; None where there is none."""
    return parse_lock(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None


def parse_lock(text: str) -> Lock:
    """Line by line, as DVC writes it: a YAML parser takes 20 times longer, and hundreds are read at once."""
    outs: dict[str, str] = {}
    deps: dict[str, tuple[str, ...]] = {}
    part = path = ""
    for line in text.splitlines():
        key, _, value = line.strip().removeprefix("- ").partition(": ")
        if line in ("    outs:", "    deps:", "    params:"):  # of a stage
            part = line.strip()
        elif key == "path":
            path = value
        elif key == "md5" and part == "outs:":
            outs[path] = value
        elif key == "md5" and part == "deps:":
            deps[path] = (*deps.get(path, ()), value)
    return Lock(outs=outs, deps=deps)


@lru_cache
def remote_url(root: Path) -> str | None:
    """Address of the default remote when it can be opened in a browser (http, s3, gs, ...), else None.

    It goes into files that are committed: without user, password and query.
    """
    config = _config(root)
    remote = config.get("core", "remote", fallback=None)
    for section in (f"'remote \"{remote}\"'", f'remote "{remote}"'):
        url = config.get(section, "url", fallback="")
        if "://" in url:
            return strip_credentials(url)
    return None


def cache_folder(root: Path) -> Path:
    """DVC's local cache: the folder its settings name, else the one in .dvc."""
    return (root / ".dvc" / _config(root).get("cache", "dir", fallback="cache")).resolve()


def cached(root: Path, md5: str | None) -> Path | None:
    """The file with this md5 in DVC's local cache; None where it is not there."""
    if md5 is None or not _MD5.fullmatch(md5):
        return None
    path = cache_folder(root) / "files" / "md5" / md5[:2] / md5[2:]
    return path if path.is_file() else None


def is_own(root: Path, path: Path) -> bool:
    """Whether a file of the project at `root` is a plain one, or a link into DVC's cache as DVC makes them.

    Git keeps links: one named like an output, which leads to a key or a password, must not travel with it.
    """
    if not path.is_file():  # nor a link to itself, which cannot be resolved
        return False
    resolved = path.resolve()
    plain = resolved == root.resolve() / path.relative_to(root)
    return plain or resolved.is_relative_to(cache_folder(root))


def _config(root: Path) -> configparser.ConfigParser:
    """.dvc/config with .dvc/config.local laid on top, read once as long as neither is changed."""
    paths = [root / ".dvc" / name for name in ("config", "config.local")]
    return _read(root, tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in paths))


@lru_cache
def _read(root: Path, changed: tuple[int, ...]) -> configparser.ConfigParser:
    """No interpolation: %20 is part of an address."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read([root / ".dvc" / name for name in ("config", "config.local")], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        text = str(error).splitlines()[0]
        raise ParamsError(f"not a configuration of DVC: {text}", where=root / ".dvc") from None
    return config
