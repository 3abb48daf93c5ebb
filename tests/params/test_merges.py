"""Unresolved merge conflicts are reported with a hint; text files have LF line endings in every clone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from repro.cli.doctor import _merge
from repro.errors import ParamsError, RecordError
from repro.params import Project, read_yaml
from repro.records import read_record
from repro.stages.inputs_ready import regenerate_files

BOTH = "a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for folder in ("experiments/a", "reports/rows"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("{}\n")
    return Project(tmp_path)


@pytest.mark.parametrize(
    "name", ["dvc.lock", "experiments/dvc.lock", "experiments/a/dvc.lock", "reports/rows/a.json", "README.md"]
)
def test_doctor_names_the_file_and_the_way_back(project: Project, name: str) -> None:
    assert not list(_merge(project))
    (project.root / name).write_text(BOTH)
    (found,) = _merge(project)
    assert found.what == f"merge {name}"
    assert not found.good
    assert Path(name).name in found.advice or "markers" in found.advice


def test_a_run_stops_before_dvc_says_something_about_a_colon(project: Project) -> None:
    (project.experiments / "a" / "dvc.lock").write_text(BOTH)
    with pytest.raises(ParamsError, match="unresolved merge conflict") as caught:
        regenerate_files(project, print)
    assert str(caught.value.where).endswith("experiments/a/dvc.lock")


def test_params_and_records_say_that_it_was_a_merge(project: Project) -> None:
    for path in (project.params, project.record("a")):
        path.write_text(BOTH)
    with pytest.raises(ParamsError, match="unresolved merge conflict"):
        read_yaml(project.params)
    with pytest.raises(RecordError, match="unresolved merge conflict"):
        read_record(project.record("a"))


def test_text_has_the_same_bytes_where_git_would_convert_it(tmp_path: Path) -> None:
    """core.autocrlf=true: every text output would count as modified for DVC."""

    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    attributes = (Path(__file__).parents[2] / ".gitattributes").read_bytes()
    texts = {
        "curve.csv": b"step,loss\n1,2\n",
        "metrics.json": b"{}\n",
        "dvc.lock": b"a: 1\n",
        "a.md": b"a\nb\n",
    }
    git("init", "-q", "one")
    (tmp_path / "one" / ".gitattributes").write_bytes(attributes)
    for name, text in texts.items():
        (tmp_path / "one" / name).write_bytes(text)
    git("-C", "one", "add", "-A")
    git("-C", "one", "commit", "-qm", "texts")
    git("-c", "core.autocrlf=true", "clone", "-q", "one", "two")
    assert {name: (tmp_path / "two" / name).read_bytes() for name in texts} == texts
