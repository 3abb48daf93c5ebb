"""A stage whose inputs change while it runs is refused, and says which they were."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from repro.errors import ParamsError
from repro.params import Project
from repro.stages.unchanged_inputs import EVALUATION, TRAINING, unchanged_inputs
from tests.programs.kit import NAME, program_project

DEP = "tools/train.py"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program_project(tmp_path_factory.mktemp("inputs") / "zoo").root


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    shutil.copytree(template, tmp_path / "zoo", symlinks=True)
    return Project(tmp_path / "zoo")


def edit(path: Path, **keys: object) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))


def changes(project: Project) -> dict[str, Callable[[], object]]:
    own, program = project.params_of(NAME), project.root / DEP
    return {
        "params.yaml (seed)": lambda: edit(own, seed=1),
        "params.yaml (engine.training)": lambda: edit(
            project.params, engine={"data": 1, "training": 2, "evaluation": 1}
        ),
        DEP: lambda: program.write_text("# edited\n"),
        "prepared/camvid/train.zip": project.prepared_split("camvid", "train").unlink,
        "": lambda: edit(own, note="another", expect={"mIoU": 1.0, "band": 1.0, "source": "x"}),
    }


def test_an_edit_of_what_a_training_reads_is_named(project: Project) -> None:
    split = project.prepared_split("camvid", "train")
    split.parent.mkdir(parents=True)
    split.write_bytes(b"a split")
    for what, change in changes(project).items():
        said = said_of(project, change, split)
        assert said == (f"changed while this ran: {what}; the result is of neither version" if what else "")


def said_of(project: Project, change: Callable[[], object], split: Path) -> str:
    """What is said of a change during a training; "" if nothing is."""
    try:
        with unchanged_inputs(project, NAME, TRAINING, (split, DEP)):
            change()
    except ParamsError as error:
        return error.what
    return ""


def test_an_edit_that_cannot_be_read_is_seen(project: Project) -> None:
    with (
        pytest.raises(ParamsError, match="changed while this ran: "),
        unchanged_inputs(project, NAME, EVALUATION, ()),
    ):
        project.params_of(NAME).write_text("dataset: [")
