"""The demo project: one experiment on the built-in data, in a separate folder that git ignores.

A first run must not change the committed records, since results differ in the last bits between processors.
The demo has its own params.yaml, DVC without git, records, tables and MLflow store.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from repro.params import Project, find_project, load_experiment, read_yaml
from repro.records import write_text
from repro.scaffold import sync

NAME = "synthetic_mobilenetv2_os16"
FOLDER = "demo"
COPIED = (
    "experiments/pipeline.yaml",
    "experiments/also.yaml",
    "experiments/released.yaml",
    "experiments/dvc.yaml",
    "experiments/dvc.lock",
    f"experiments/{NAME}/params.yaml",
    ".dvc/plots/confusion_counts.json",
)
NO_GIT = "[core]\n    analytics = false\n    check_update = false\n    no_scm = true\n"
HEADING = f"# Written by `make demo`: the blocks of the clone's params.yaml that experiments/{NAME} uses.\n"


def demo_project(source: Project, root: Path) -> Project:
    """Create or update the demo project in `root` from the clone's files; existing results are kept."""
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.root / name, root / name)
    write_text(root / ".dvc" / "config", NO_GIT)
    write_text(root / "params.yaml", HEADING + yaml.safe_dump(shared_params(source), sort_keys=False))
    project = Project(root)
    sync(project)
    return project


def shared_params(source: Project) -> dict[str, Any]:
    """The blocks of the clone's params.yaml that the experiment uses."""
    shared, own = read_yaml(source.params), read_yaml(source.experiments / NAME / "params.yaml")
    named = {"datasets": own["dataset"], "recipes": own["recipe"], "protocols": own["evaluation"]["protocol"]}
    return {key: {name: shared[key][name]} for key, name in named.items()} | {"engine": shared["engine"]}


def main() -> None:
    """Create the folder demo/ in the clone and print its path."""
    source = find_project()
    project = demo_project(source, source.root / FOLDER)
    experiment = load_experiment(project, NAME)
    sys.stdout.write(f"demo project: {project.root}\n  experiment: {experiment.folder}\n")


if __name__ == "__main__":
    main()
