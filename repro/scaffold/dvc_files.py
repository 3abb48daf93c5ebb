"""`repro sync`: the generated DVC files, written and compared, without importing dvc.

The root dvc.yaml has the stages `data` and `prepare` per data set, one stage named `experiments/<name>` per
experiment, and `tables`; and metrics and plots of what is measured. The stage name makes `dvc repro
experiments/<name>` work (`dvc stage add` refuses the slash, but DVC reads it). The dvc.yaml of an experiment
is a copy of a template with additions from its params.yaml; a symlink would break `dvc metrics diff` and
`dvc exp show`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repro.errors import ParamsError
from repro.io.locks import locked
from repro.io.names import plain_name
from repro.params import Project, also_names, experiment_names, read_each, read_yaml, section
from repro.params.experiment import check_start_from, resolve
from repro.params.names import SEED_COPY
from repro.records import write_text
from repro.scaffold.pipelines import HEADER, data_sources, experiment_pipeline, root_pipeline, views


def sync(project: Project) -> list[Path]:
    """Write all stale DVC files; returns their paths."""
    stale = list(drift(project))
    for path, text in stale:
        path.unlink() if text is None else write_text(path, text)
    return [path for path, _ in stale]


def renew_views(project: Project) -> None:
    """Renew metrics and plots in the root dvc.yaml after a result was recorded; its stages stay as they are.

    Under a lock, since several experiments of `repro run --jobs` may end at once.
    """
    path = project.root / "dvc.yaml"
    with locked(project.root / ".repro" / "dvc.yaml.lock", "dvc.yaml is being written", timeout=60.0):
        text = _text(path) if path.is_file() else None
        if isinstance(text, str) and text.startswith(HEADER):
            stages = re.split(r"(?m)^(?=metrics:|plots:)", text, maxsplit=1)[0]
            wanted = stages + views(project, re.findall(r"(?m)^  experiments/(\w+):$", stages))
            if wanted != text:
                write_text(path, wanted)


def drift(project: Project) -> Iterator[tuple[Path, str | None]]:
    """Yield (path, content) of each stale generated file; content None means that it must not exist."""
    for path, text in _wanted(project):
        if (_text(path) if path.exists() else None) != text:
            yield path, text


def _text(path: Path) -> str | bytes:
    """Content as text, or as bytes if it is not UTF-8."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _wanted(project: Project) -> Iterator[tuple[Path, str | None]]:
    """All generated files; a folder with an unreadable params.yaml gets none, since DVC would always fail."""
    own, broken = read_each(experiment_names(project), lambda name: own_params(project, name))
    yield from ((project.experiments / name / "dvc.yaml", None) for name in broken)
    _check_claims(project, own)
    root = read_yaml(project.params)
    for name, params in own.items():
        text = experiment_pipeline(project, root, params)
        yield project.experiment_folder(name) / "dvc.yaml", text
    where, found = project.params, section(root, "datasets")
    datasets = {
        plain_name(name, "data set", where=where): data_sources(project, found[name])
        for name in sorted(found)
    }
    yield project.root / "dvc.yaml", HEADER + root_pipeline(project, datasets, own)


def own_params(project: Project, name: str) -> dict[str, Any]:
    """Read an experiment's params.yaml; ReproError if it is invalid.

    Names are checked because DVC inserts them into paths and commands.
    """
    path = project.params_of(name)
    params = read_yaml(path)
    project.published.row_ids(params.get("rows", []), path)
    names = [*also_names(params, path), params.get("start_from"), params.get("dataset")]
    for one in filter(None, names):
        plain_name(one, where=path)
    check_start_from(project, name, params.get("start_from"))
    if "external" in params:
        resolve(name, params, read_yaml(project.params), path)  # its deps become those of DVC's stages
    return params


def _check_claims(project: Project, own: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ParamsError if two experiments, except seeds of one, claim the same published row."""
    claimed: dict[str, str] = {}
    for name, params in own.items():
        base = SEED_COPY.sub("", name)
        base = base if base in own else name
        where = project.params_of(name)
        for row in project.published.row_ids(params.get("rows", []), where):
            first = claimed.setdefault(row, base)
            if first != base:
                hint = "remove the row from the `rows:` of one of them"
                raise ParamsError(f"row {row} is claimed by '{first}' and '{name}'", where=where, hint=hint)
