"""Data sets, built in or declared by a project; a zip per prepared split; batches determined by the seed."""

from __future__ import annotations

from collections.abc import Mapping

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
from repro.datasets.sets.declared import folder_dataset, zoo_dataset
from repro.datasets.sets.spec import IGNORE, DatasetModule
from repro.errors import ParamsError, UnknownNameError
from repro.params import DatasetFacts, Project, dataset_facts, dataset_names, read_yaml

__all__ = [
    "DATASETS",
    "IGNORE",
    "PrepareResult",
    "Split",
    "built_in",
    "dataset_module",
    "described",
    "prepare_dataset",
]

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


def built_in(name: str) -> DatasetModule:
    """Return a built-in data set. Raises UnknownNameError, which suggests the closest name."""
    if name not in DATASETS:
        raise UnknownNameError("dataset", name, DATASETS, hint=_DECLARE.format(name))
    return DATASETS[name]


def dataset_module(project: Project, name: str) -> DatasetModule:
    """Return a data set of a project, or a built-in one; runs the code of a zoo's module.

    Raises:
        UnknownNameError: There is no such data set; the message suggests the closest name.
        ParamsError: Its declaration in params.yaml is invalid.
        DataError: A module of the zoo cannot be imported, or lacks an attribute.
    """
    facts = declared_facts(project, name)
    if facts is not None and facts.module is not None:
        return zoo_dataset(name, facts, facts.module_name, project.root)
    return described(project, name)


def described(project: Project, name: str) -> DatasetModule:
    """Return a data set as `dataset_module`, but without running code of the zoo.

    What only a module of the zoo knows has a default: commands that list data sets need no more.
    """
    facts = declared_facts(project, name)
    if facts is not None:
        return folder_dataset(name, facts)
    if name not in DATASETS:
        known = {*DATASETS, *dataset_names(project)}
        raise UnknownNameError("dataset", name, known, hint="`repro data list` shows all")
    return DATASETS[name]


def declared_facts(project: Project, name: str) -> DatasetFacts | None:
    """Return the block `datasets.NAME` of params.yaml if it declares a data set of the zoo."""
    block = (read_yaml(project.params).get("datasets") or {}).get(name)
    where = f"params.yaml: datasets.{name}"
    if not isinstance(block, Mapping) or not (block.get("folder") or block.get("module")):
        if name not in DATASETS and block is not None:
            raise UnknownNameError("data set", name, DATASETS, where=where, hint=_DECLARE.format(name))
        return None
    if name in DATASETS:
        raise ParamsError(f"'{name}' is a built-in data set", where=where, hint="choose another name")
    return dataset_facts(project, name)


_DECLARE = "`datasets.{}` in params.yaml declares a data set with `folder:` or `module:`"
