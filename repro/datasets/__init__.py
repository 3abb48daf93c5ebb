"""Data: one module a set, one zip a split, batches that depend on the seed alone."""

from __future__ import annotations

from repro.datasets import camvid, synthetic
from repro.datasets.archive import Split
from repro.datasets.prepare import Report, prepare_dataset
from repro.datasets.spec import IGNORE, DatasetModule
from repro.errors import UnknownNameError

__all__ = ["DATASETS", "IGNORE", "Report", "Split", "dataset_module", "prepare_dataset"]

DATASETS: dict[str, DatasetModule] = {
    "synthetic": synthetic,
    "camvid": camvid,
}


def dataset_module(name: str) -> DatasetModule:
    """The module of a data set; an unknown name gets the nearest one."""
    if name not in DATASETS:
        raise UnknownNameError("dataset", name, DATASETS, hint="`repro data list` shows all")
    return DATASETS[name]
