"""Data sets: a module per set, a zip per prepared split, and batches determined by the seed."""

from __future__ import annotations

from repro.datasets.prepare.prepare import PrepareResult, prepare_dataset
from repro.datasets.prepare.prepared_split import Split
from repro.datasets.sets import (
    ade20k,
    camvid,
    camvid12,
    camvid_original,
    cityscapes,
    inria_aerial,
    isaid,
    loveda,
    loveda_r2u,
    loveda_u2r,
    pascal_context,
    pascal_context59,
    potsdam,
    synthetic,
    vaihingen,
    voc2012,
)
from repro.datasets.sets.spec import IGNORE, DatasetModule
from repro.errors import UnknownNameError

__all__ = ["DATASETS", "IGNORE", "PrepareResult", "Split", "dataset_module", "prepare_dataset"]

DATASETS: dict[str, DatasetModule] = {
    "synthetic": synthetic,
    "camvid": camvid,
    "camvid12": camvid12,
    "camvid_original": camvid_original,
    "voc2012": voc2012,
    "ade20k": ade20k,
    "cityscapes": cityscapes,
    "pascal_context": pascal_context,
    "pascal_context59": pascal_context59,
    "inria_aerial": inria_aerial,
    "loveda": loveda,
    "loveda_r2u": loveda_r2u,
    "loveda_u2r": loveda_u2r,
    "potsdam": potsdam,
    "vaihingen": vaihingen,
    "isaid": isaid,
}


def dataset_module(name: str) -> DatasetModule:
    """Return the module of a data set. Raises UnknownNameError, which suggests the closest name."""
    if name not in DATASETS:
        raise UnknownNameError("dataset", name, DATASETS, hint="`repro data list` shows all")
    return DATASETS[name]
