"""The data sets of a project: built in, declared by `folder:`, or a module of the zoo."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from repro.datasets.sets.folder import FolderDataset
from repro.datasets.sets.palettes import voc_colours
from repro.datasets.sets.spec import DatasetModule
from repro.errors import DataError
from repro.io.sources import import_own, own_file
from repro.params.dataset import DatasetFacts

REQUIRED = ("CLASSES", "pairs", "read_label")  # of a module of a zoo
OPTIONAL = ("TITLE", "PALETTE", "SPLITS", "LICENCE", "PAGE", "LAYOUT", "DOWNLOADS", "MARKERS")
_SHOW = "`python -c 'import {}'` in the project's folder shows the line"


def folder_dataset(name: str, facts: DatasetFacts) -> DatasetModule:
    """Return the data set that `folder:` declares; of one with `module:`, only what params.yaml says."""
    return cast(DatasetModule, FolderDataset(name=name, facts=facts))


def zoo_dataset(name: str, facts: DatasetFacts, module: str, root: Path) -> DatasetModule:
    """Run a module of the zoo and return it, with the defaults of what it leaves out.

    Raises DataError if it cannot be imported, or lacks one of REQUIRED.
    """
    try:
        loaded = import_own(root, module)
    except (Exception, SystemExit) as error:  # the code of a zoo can raise anything
        what = f"cannot be imported: {type(error).__name__}: {error}"
        raise DataError(what, where=own_file(root, module) or module, hint=_SHOW.format(module)) from error
    place = getattr(loaded, "__file__", None) or module
    for attribute in REQUIRED:
        if not hasattr(loaded, attribute):
            what = f"the data set has no {attribute}"
            allowed = f"{', '.join(REQUIRED)}; optional: {', '.join(OPTIONAL)}"
            raise DataError(what, where=place, allowed=allowed, hint=f"define {attribute} in this file")
    described = folder_dataset(name, facts)
    defaults = {attribute: getattr(described, attribute) for attribute in OPTIONAL}
    defaults["PALETTE"] = voc_colours(len(loaded.CLASSES))
    return cast(DatasetModule, SimpleNamespace(**defaults | vars(loaded)))
