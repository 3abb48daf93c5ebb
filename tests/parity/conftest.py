"""Comparisons with other libraries. `make parity` installs them into .venv-parity and runs this folder there.

The ordinary test run leaves the folder out (pyproject.toml: --ignore). Asked for by name where a library is
missing, it fails: a comparison that does not run must not look like one that passed.
"""

from __future__ import annotations

import importlib.util

import pytest

NEEDED = ("mmcv", "mmengine", "mmseg", "segmentation_models_pytorch", "timm")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Other libraries warn about themselves; our own tests keep warnings as errors."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise pytest.UsageError(f"tests/parity needs {', '.join(missing)}: run it with `make parity`")
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore"))
