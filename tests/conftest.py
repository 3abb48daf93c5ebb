"""Fixtures shared by all tests: one CPU thread, no accelerator, no tracking outside the test's own folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: 2 cores are shared by many tests
os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("REPRO_TEST_GPU", "")
os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ["DVC_TEST"] = "true"  # no process for DVC's usage statistics and updates beside every command

ROOT = Path(__file__).parents[1]
# Folders and modules that compute with torch through commands; one that imports torch needs no entry.
COMPUTE = {"evaluation", "models", "stages", "training", "test_bad_input"}
# They begin first, so that no process is left alone with one of them at the end.
LONGEST = {"test_pipeline", "test_bad_input", "test_mirror", "test_fleet", "test_store"}


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what computes with torch: processors differ in the last bits, `make test-cpus` imitates some."""
    for item in items:
        module = getattr(item, "module", None)
        if COMPUTE & {item.path.parent.name, item.path.stem} or hasattr(module, "torch"):
            item.add_marker("torch")
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture
def root() -> Path:
    """The checkout under test."""
    return ROOT


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated sqlite store without runs: making one costs seconds, copying it nothing."""
    from repro.tracking.store import open_client
    from tests.tracking.kit import a_project

    project = a_project(tmp_path_factory.mktemp("empty"))
    open_client(project)
    return project.root / "mlflow.db"
