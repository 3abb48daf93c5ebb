"""The local cache folder of downloaded weights."""

from __future__ import annotations

import os
import sys
from pathlib import Path

APP = "deeplab-repro"


def home() -> Path:
    """Return `REPRO_HOME` or the user's cache folder, or on macOS an existing folder of earlier releases."""
    from platformdirs import user_cache_path

    if chosen := os.environ.get("REPRO_HOME"):
        return Path(chosen).expanduser()
    old = Path.home() / "Library" / "Caches" / APP  # ignores XDG_CACHE_HOME
    if sys.platform == "darwin" and old.is_dir():
        return old
    return user_cache_path(APP, appauthor=False, opinion=False)
