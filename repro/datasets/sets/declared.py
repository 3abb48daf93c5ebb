"""The data sets of a project: built in, declared by `folder:`, or a module of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from traceback import extract_tb
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from repro.datasets.sets.folder import FolderDataset
from repro.datasets.sets.palettes import voc_colours
from repro.datasets.sets.spec import DatasetModule
from repro.errors import DataError, ReproError
from repro.io.sources import import_own, own_file
from repro.params.dataset import DatasetFacts

REQUIRED = ("CLASSES", "pairs", "read_label")  # of a module of a zoo
OPTIONAL = ("TITLE", "PALETTE", "SPLITS", "LICENCE", "PAGE", "LAYOUT", "DOWNLOADS", "MARKERS")
FUNCTIONS = ("pairs", "read_label", "windows", "group")
T = TypeVar("T")
_PROTOCOL = "docs/data.md has an example, repro/datasets/sets/spec.py the interface"
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
    found = vars(loaded)
    functions = {name: guarded(found[name], Path(place)) for name in FUNCTIONS if callable(found.get(name))}
    return cast(DatasetModule, SimpleNamespace(**defaults | found | functions))


def guarded(function: Callable[..., T], path: Path) -> Callable[..., T]:
    """Return a function of a module whose mistakes are a DataError that names its line."""

    @wraps(function)
    def call(*arguments: Any) -> T:
        try:
            return function(*arguments)
        except (ReproError, OSError, MemoryError):
            raise
        except Exception as error:  # the code of a zoo can raise anything
            lines = [one.lineno for one in extract_tb(error.__traceback__) if Path(one.filename) == path]
            what = f"{function.__name__}() failed: {type(error).__name__}: {error}"[:500]
            raise DataError(what, where=f"{path}:{lines[-1]}" if lines else path, hint=_PROTOCOL) from error

    return call
