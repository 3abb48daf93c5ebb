"""The worked zoos in examples/: each becomes a project by `repro init`, and runs on stand-in data."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from repro.params import Project, experiment_names, load_trained, read_yaml
from repro.published.columns import read_map
from repro.published.import_page import import_page
from repro.stages.init import init_zoo
from repro.stages.smoke import run_smoke, smoke_project
from tests.stages.test_smoke import dvc

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS = {
    "torchvision": "torchvision",
    "smp": "segmentation_models_pytorch",
}  # `make parity` installs the others
LINES = 60  # written by a person, with the headings of files


def zoos() -> list[Path]:
    return [path for path in sorted(EXAMPLES.iterdir()) if path.name in NEEDS]


def copy(name: str, to: Path) -> Project:
    """A copy of the example's tracked files, made a project."""
    if importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"NOT RUN: {NEEDS[name]} is not installed; `make parity` installs it into .venv-parity")
    shutil.copytree(EXAMPLES / name, to / name, ignore=shutil.ignore_patterns(".repro"))
    init_zoo(to / name)
    return Project(to / name)


def test_each_is_short_and_its_rows_are_those_of_its_page() -> None:
    for zoo in zoos():
        written = [zoo / "params.yaml", *zoo.glob("published/*.yaml"), *zoo.glob("experiments/*/params.yaml")]
        lines = [line for path in written for line in path.read_text().splitlines() if line.strip()]
        assert len(lines) < LINES, zoo.name
        project = Project(zoo)
        for page in zoo.glob("published/*.md"):
            column_map = read_map(read_yaml(page.with_suffix(".yaml")), page)
            made = import_page(page.read_text(), source=page.stem, origin=page.name, column_map=column_map)
            assert made.raw["rows"] == json.loads(page.with_suffix(".json").read_text())["rows"], page
        for name in experiment_names(project):
            experiment = load_trained(project, name)
            of = {project.published.rows[row].dataset for row in experiment.rows}
            assert of <= {experiment.dataset}, name


@pytest.mark.smoke
@pytest.mark.dvc
@pytest.mark.parametrize("name", NEEDS)
def test_every_stage_of_a_worked_zoo(name: str, tmp_path: Path) -> None:
    """Of its last experiment under the real DVC, of the others in this process."""
    project = copy(name, tmp_path)
    *others, last = (load_trained(project, one) for one in experiment_names(project))
    for experiment in others:
        run_smoke(project, experiment, "cpu")
    small, _ = smoke_project(project, last)
    init_zoo(small.root)
    said = dvc(small, "repro", last.folder)
    assert said.count("Running stage") >= 5, said
    assert "Running stage" not in dvc(small, "repro", last.folder)
    for experiment in (*others, last):
        found = Project(project.root / ".repro" / "smoke" / experiment.name).record(experiment.name)
        record = json.loads(found.read_text())
        assert record["params"]["model"]["build"].startswith(NEEDS[name])
        assert 0 <= record["metrics"]["mIoU"] <= 100
        for row in experiment.rows:
            printed = project.published.rows[row].cost["params_M"]
            assert record["cost"]["params_M"] == pytest.approx(printed, abs=0.05)
