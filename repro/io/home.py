"""The folder of this machine in which downloaded weights are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

APP = "deeplab-repro"


def home() -> Path:
    """`REPRO_HOME`, or the user's cache folder; one that an earlier release made on macOS stays in use."""
    from platformdirs import user_cache_path

    if chosen := os.environ.get("REPRO_HOME"):
        return Path(chosen).expanduser()
    before = Path.home() / "Library" / "Caches" / APP  # whatever XDG_CACHE_HOME says
    if sys.platform == "darwin" and before.is_dir():
        return before
    return user_cache_path(APP, appauthor=False, opinion=False)
