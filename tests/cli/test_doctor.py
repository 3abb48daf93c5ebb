"""`repro doctor`: each line has the cure that works, and only what every run needs is a failure."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.cli.console import guarded

PARAMS = "datasets: {ade20k: {}, camvid: {}, synthetic: {}, atlantis: {}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose repository holds a dvc.lock."""
    (tmp_path / "experiments/a").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    names = {f"GIT_{who}_{what}": "t@e.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for variable, name in names.items():
        monkeypatch.setenv(variable, name)
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    return tmp_path


def doctor(code: int = 0) -> dict[str, dict[str, object]]:
    """What was found, by its name, after a run that ended with `code`."""
    result = CliRunner().invoke(app, ["doctor", "--json"])
    raised = result.exception

    def again() -> None:
        if raised is not None:
            raise raised

    assert guarded(again) == code, result.output
    return {one["what"]: one for one in json.loads(result.output)}


def test_a_damaged_page_is_named(project: Path) -> None:
    assert doctor()["published pages"]["found"] == "0 pages, 0 rows"
    (project / "published").mkdir()
    (project / "published/mine.json").write_text("{")
    found = doctor(1)["published pages"]
    assert str(found["found"]).startswith("published/mine.json: not JSON")
    assert str(found["advice"]).startswith("correct the file, or write it again: `repro page import")


def test_a_missing_data_set_is_not_a_failure_and_has_its_own_cure(project: Path) -> None:
    (project / "data").mkdir()
    (project / "data/camvid").symlink_to("/nowhere")
    found = doctor()
    advice = {name: (one["good"], one["advice"]) for name, one in found.items() if name.startswith("data ")}
    assert advice == {
        "data ade20k": (False, "repro data get ade20k"),
        "data camvid": (False, "repro data link camvid PATH"),
        "data synthetic": (True, "repro data synthetic"),
        "data atlantis": (False, "take it out of params.yaml, or declare it with `folder:` or `module:`"),
    }
    assert found["data camvid"]["found"] == "the link leads to nothing: /nowhere"
    assert not any(one["required"] for name, one in found.items() if name.startswith(("data", "MLflow")))


def test_programs_that_dvc_needs_are_required(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == "repro" else f"/bin/{name}")
    found = doctor(1)["dvc"]
    assert (found["found"], found["required"]) == ("not on PATH: repro", True)
    assert str(found["advice"]).startswith(("source /", "export PATH=/"))


@pytest.mark.parametrize("text", ["", "<<<<<<< HEAD\nschema: '2.0'\n=======\n"], ids=["killed", "merged"])
def test_a_lock_file_that_dvc_cannot_read_has_a_way_back(project: Path, text: str) -> None:
    own = project / "experiments/a/dvc.lock"
    (project / "dvc.lock").write_text(text)
    found = doctor(1)["dvc.lock"]
    assert found["advice"] == "git checkout HEAD -- dvc.lock"
    assert ("empty" in str(found["found"])) == (text == "")
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    own.write_text(text)
    found = doctor(1)["dvc.lock"]
    assert found["advice"] == "rm experiments/a/dvc.lock && dvc commit --force experiments/a/dvc.yaml"
    own.unlink()
    assert doctor()["dvc.lock"]["good"]


def test_git_that_cannot_be_used_has_a_cure(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(doctor()["git"]["found"]).startswith("commit ")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found = doctor()["git"]
    assert (found["found"], found["good"]) == ("git refuses a repository that belongs to another user", False)
    assert found["advice"] == f"`git config --global --add safe.directory {project}`"
    monkeypatch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
    with monkeypatch.context() as without:
        without.setenv("PATH", str(project))
        found = doctor()["git"]
    assert (found["found"], found["advice"], found["required"]) == (
        "git is not installed",
        "install it",
        False,
    )
    (project / ".git").rename(project / "git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    found = doctor(1)["git"]
    assert (found["found"], found["required"]) == ("not in a git repository", True)
    (project / ".dvc").mkdir()
    (project / ".dvc/config").write_text("[core]\n    no_scm = True\n")
    assert not doctor()["git"]["required"]


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\na: 1\n=======\n>>>>>>> b\n", "datasets: 5\n", "a: [\n"])
def test_a_params_file_that_cannot_be_read_is_one_line_of_many(project: Path, text: str) -> None:
    (project / "params.yaml").write_text(text)
    found = doctor(1)
    assert not found["params.yaml"]["good"]
    assert found["params.yaml"]["advice"]
    assert found["MLflow store"]


def test_a_folder_in_place_of_a_lock_file_is_named(project: Path) -> None:
    (project / "experiments/a/dvc.lock").mkdir()
    assert "a folder, not a file" in str(doctor(1)["dvc.lock"]["found"])
