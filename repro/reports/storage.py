"""What DVC's settings say of this checkout, read without DVC: its default remote and its cache."""

from __future__ import annotations

import configparser
from functools import lru_cache
from pathlib import Path

from repro.errors import ParamsError
from repro.records.secrets import public


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
            return public(url)
    return None


def cache_folder(root: Path) -> Path:
    """DVC's local cache: the folder its settings name, else the one in .dvc."""
    return (root / ".dvc" / _config(root).get("cache", "dir", fallback="cache")).resolve()


def _config(root: Path) -> configparser.ConfigParser:
    """.dvc/config with .dvc/config.local laid on top. No interpolation: %20 is part of an address."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read([root / ".dvc" / name for name in ("config", "config.local")], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        text = str(error).splitlines()[0]
        raise ParamsError(f"not a configuration of DVC: {text}", where=root / ".dvc") from None
    return config
