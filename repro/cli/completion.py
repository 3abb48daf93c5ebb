"""What a shell completes: names that this project has, read from file names, params.yaml and records alone.

A shell waits for each of these functions after a key is pressed, so none of them imports torch, numpy or a
package that does. Outside a project there is nothing to complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from repro.errors import ReproError

if TYPE_CHECKING:
    from repro.params.project import Project

MAX_RECORDS = 20  # read for the metrics of all experiments: enough to meet every metric


def _starting(incomplete: str, names: Callable[[Project], Iterable[str]]) -> list[str]:
    """Those of `names` that start with `incomplete`, sorted; none where a file cannot be read."""
    from repro.params.project import find_project  # the light half of repro.params

    try:
        found = set(names(find_project()))
    except (ReproError, OSError, ValueError):  # the command itself reports what is wrong
        return []
    return sorted(name for name in found if name.startswith(incomplete))


def experiments(incomplete: str) -> list[str]:
    """Names of experiments."""
    return _starting(incomplete, lambda project: _folders(project))


def datasets(incomplete: str) -> list[str]:
    """Data sets in params.yaml."""
    return _starting(incomplete, lambda project: _block(project, "datasets"))


def protocols(incomplete: str) -> list[str]:
    """Evaluation protocols in params.yaml."""
    return _starting(incomplete, lambda project: _block(project, "protocols"))


def splits(ctx: typer.Context, incomplete: str) -> list[str]:
    """Splits of the data set on the command line, else of all data sets."""
    return _starting(incomplete, lambda project: _splits(project, ctx.params.get("dataset")))


def pages(incomplete: str) -> list[str]:
    """Ids of published pages."""
    return _starting(incomplete, lambda project: project.published.ids)


def weights(incomplete: str) -> list[str]:
    """Weights that experiments start from, and those that are stored on this machine."""
    return _starting(incomplete, _weights)


def metrics(ctx: typer.Context, incomplete: str) -> list[str]:
    """Metrics in the record of the experiment on the command line, else in the records of all."""
    return _starting(incomplete, lambda project: _metrics(project, ctx.params.get("name")))


def _folders(project: Project) -> Iterator[str]:
    return (path.parent.name for path in project.experiments.glob("*/params.yaml"))


def _block(project: Project, key: str) -> dict[str, Any]:
    from repro.io.yaml_reader import read_yaml

    return dict(read_yaml(project.params).get(key) or {})


def _splits(project: Project, dataset: str | None) -> Iterator[str]:
    blocks = _block(project, "datasets")
    chosen = [blocks[dataset]] if dataset in blocks else blocks.values()
    return (split for block in chosen for split in block["splits"])


def _weights(project: Project) -> Iterator[str]:
    from repro.io.home import home

    store = home() / "weights"
    yield from (path.relative_to(store).with_suffix("").as_posix() for path in store.rglob("*.sha256"))
    for path in (project.params, *project.experiments.glob("*/params.yaml")):
        yield from re.findall(r"\bpretrained: *([\w./-]+)", path.read_text(encoding="utf-8"))


def _metrics(project: Project, name: str | None) -> Iterator[str]:
    from repro.params.names import experiment_name

    paths = [project.record(experiment_name(name))] if name else sorted(project.rows.glob("*.json"))
    yield from ("mIoU", "settings")  # what `repro explain` takes without a record, too
    for path in paths[:MAX_RECORDS]:
        record = json.loads(path.read_bytes()) if path.is_file() else {}
        yield from (*record.get("metrics", {}), *record.get("cost", {}))
        yield from (f"IoU/{label}" for label in record.get("per_class", {}))
