"""`repro init`: in an empty folder, in a repository, in a folder that git ignores, and from a wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ParamsError
from repro.params import Project, load_trained
from repro.reports.generated_files import generated_files, stale
from repro.reports.results import load_results
from repro.scaffold.dvc_files import drift
from repro.stages.init import EXPERIMENT, init_zoo
from tests.kit import PROJECT

ROOT = Path(__file__).parents[2]
WORKFLOW = ".github/workflows/repro.yml"


def run(folder: Path, *command: str, path: str = "") -> str:
    """Output of a command with this package and this Python's programs."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": programs, "PYTHONPATH": path or str(ROOT), "REPRO_TRACKING": "off"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def gate(folder: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((folder / WORKFLOW).read_text())["jobs"]["gate"]
    return found


def test_an_empty_folder_becomes_a_zoo_that_is_complete(tmp_path: Path) -> None:
    root = tmp_path / "My zoo"
    assert all(path.is_file() for path in init_zoo(root))
    made = Project(root)
    assert list(drift(made)) == []
    results = load_results(made)
    assert list(stale(generated_files(results))) == []
    assert (results.left_out, results.by_row) == ({}, {"example-01": EXPERIMENT})
    assert made.published.rows["example-01"].dataset == "synthetic"
    assert made.bands["synthetic"].value == 6.0
    assert yaml.safe_load(made.params.read_text())["tracking"]["project"].startswith("My-zoo-")
    assert (root / ".git").is_dir()
    assert "no_scm" not in (root / ".dvc/config").read_text()
    assert gate(root)["defaults"] == {"run": {"working-directory": "."}}


def test_its_experiment_is_the_one_that_this_project_recorded(tmp_path: Path) -> None:
    """The number of the example's page is that experiment's."""
    init_zoo(tmp_path)
    mine, recorded = (load_trained(project, EXPERIMENT) for project in (Project(tmp_path), PROJECT))
    for key in ("dataset", "facts", "model", "augmentation", "training", "evaluation", "protocol", "seed"):
        assert getattr(mine, key) == getattr(recorded, key), key
    printed = Project(tmp_path).published.rows["example-01"].metrics["mIoU"]
    assert recorded.expect is not None
    assert printed == recorded.expect.mIoU


def test_what_exists_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("/prepared/\n*.log")
    (tmp_path / "README.md").write_text("mine\n")
    (tmp_path / "published").mkdir()
    (tmp_path / "published/mine.md").write_text("mine\n")
    init_zoo(tmp_path)
    ignored = (tmp_path / ".gitignore").read_text().splitlines()
    assert ignored[:2] == ["/prepared/", "*.log"]
    assert ignored.count("/prepared/") == 1
    assert "/mlartifacts/" in ignored
    assert [(tmp_path / name).read_text() for name in ("README.md", "published/mine.md")] == ["mine\n"] * 2
    assert init_zoo(tmp_path) == []


def test_an_existing_zoo_gets_what_it_lacks_and_no_example(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "params.yaml").write_text("datasets: {}\n")
    init_zoo(tmp_path)
    assert (tmp_path / "experiments/dvc.lock").is_file()
    assert not (tmp_path / "published").exists()
    assert list(Project(tmp_path).experiments.glob("*/params.yaml")) == []


def test_a_folder_of_a_repository_has_its_gate_at_the_top(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "-q")
    init_zoo(tmp_path / "zoo")
    assert not (tmp_path / "zoo/.git").exists()
    assert not (tmp_path / "zoo" / WORKFLOW).exists()
    assert gate(tmp_path)["defaults"] == {"run": {"working-directory": "zoo"}}


def test_the_gate_installs_this_version_or_its_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, words in (("zoo", f'"deeplab-repro=={version("deeplab-repro")}"'), ("own", '--editable "$')):
        root = tmp_path / name
        monkeypatch.setattr("repro.stages.init.CHECKOUT", tmp_path / "own")
        init_zoo(root)
        (install,) = [one["run"] for one in gate(root)["steps"] if "pip" in one.get("run", "")]  # type: ignore[attr-defined]
        assert install.startswith(f"pip install {words}"), install


def test_a_folder_that_git_ignores_runs_without_git(tmp_path: Path) -> None:
    """As `make demo`: DVC refuses a dvc.yaml that git ignores, unless it is told to do without git."""
    run(tmp_path, "git", "init", "-q")
    (tmp_path / ".gitignore").write_text("/demo/\n")
    init_zoo(tmp_path / "demo")
    assert "no_scm = true" in (tmp_path / "demo/.dvc/config").read_text()
    assert run(tmp_path, "git", "status", "--short") == "?? .gitignore\n"


def test_without_git_dvc_runs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    init_zoo(tmp_path / "zoo")
    assert "no_scm = true" in (tmp_path / "zoo/.dvc/config").read_text()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("params.yaml", "a: 1\n", "params.yaml that is none of a zoo"),
        ("dvc.yaml", "stages: {}\n", "dvc.yaml that is none of a zoo"),
    ],
)
def test_files_of_another_program_stop_it(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ParamsError, match=words):
        init_zoo(tmp_path)
    with pytest.raises(ParamsError, match="not a folder"):
        init_zoo(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_command_says_what_comes_next(in_tmp: Path) -> None:
    said = CliRunner().invoke(app, ["init", "my zoo"]).output
    assert "wrote my zoo/params.yaml" in said
    next_ = [line.strip() for line in said.partition("Next:")[2].splitlines() if line.startswith("  ")]
    commit = "cd 'my zoo' && git add . && git commit -m 'New zoo'"
    assert next_[::2] == [commit, "dvc repro", "repro check"]
    again = CliRunner().invoke(app, ["init", "my zoo", "--json"]).output
    assert json.loads(again)["written"] == []


def built_wheel(folder: Path) -> Path:
    """The wheel of this package, built from a copy of the checkout."""
    source = folder / "source"
    shutil.copytree(ROOT / "repro", source / "repro", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    run(source, sys.executable, "-W", "ignore", "-c", code, str(folder))
    (found,) = folder.glob("*.whl")
    return found


def wheel(folder: Path) -> Path:
    """The content of the wheel, as an installation has it."""
    shutil.unpack_archive(built_wheel(folder), folder / "installed", "zip")
    return folder / "installed"


@pytest.mark.dvc
@pytest.mark.slow
def test_a_wheel_holds_all_that_it_needs(tmp_path: Path) -> None:
    """The package without this clone makes the same zoo, and DVC knows its stages."""
    installed = str(wheel(tmp_path))
    run(tmp_path, sys.executable, "-m", "repro", "init", "zoo", path=installed)
    zoo, other = tmp_path / "zoo", tmp_path / "here/zoo"
    written = {path.relative_to(other) for path in init_zoo(other)}
    files = {path.relative_to(zoo) for path in zoo.rglob("*") if path.is_file()}
    assert {path for path in files if path.parts[0] not in (".git", ".repro")} == written
    run(zoo, sys.executable, "-m", "dvc", "repro", "prepare@synthetic", path=installed)
    shown = run(zoo, sys.executable, "-m", "dvc", "repro", "--dry", path=installed)
    assert f"Running stage 'experiments/{EXPERIMENT}/dvc.yaml:train'" in shown
    assert "Running stage 'tables'" in shown
