"""What goes wrong for a person, met with the real commands: a message, the exit code, and no lost work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from repro.cli.app import app
from repro.cli.console import guarded
from repro.params import Project, load_experiment
from repro.records import read_journal
from repro.stages.smoke import smoke_project

Told = Callable[..., str]
NAME = "camvid_mobilenetv2_os16"
UPDATES = 4
# Ctrl-C is ignored in a process whose parent's shell started it in the background; a person's is not.
REPRO = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from repro.cli import main
main()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A stand-in of CamVid, prepared, and one experiment of a few updates, each with its checkpoint."""
    root = Path(__file__).parents[2]
    folder = tmp_path_factory.mktemp("bad")
    (folder / "experiments").mkdir()
    project, _ = smoke_project(Project(folder), load_experiment(Project(root), NAME))
    params = project.experiments / NAME / "params.yaml"
    own = yaml.safe_load(params.read_text())
    own["training"] |= {"iterations": UPDATES, "threads": 1, "precision": "fp32", "checkpoint_minutes": 0.0}
    params.write_text(yaml.safe_dump(own))
    done(start(project, "prepare", "camvid"), 0)
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    """A copy of it, to be broken."""
    shutil.copytree(made.root, tmp_path / "p")
    return Project(tmp_path / "p")


def start(project: Project, *arguments: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """`repro ARGUMENTS` as a person types it, `before` it another program that starts it."""
    environment = os.environ | {"REPRO_TRACKING": "off", "OMP_NUM_THREADS": "1"}
    command = [*before, sys.executable, "-c", REPRO, *arguments]
    return subprocess.Popen(
        command,
        cwd=project.root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(process: subprocess.Popen[str], code: int) -> str:
    """What the command said; it must end with `code` and without a traceback."""
    said = process.communicate(timeout=500)[1]
    assert process.returncode == code, said
    assert "Traceback" not in said
    return said


@pytest.fixture
def told(project: Project, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    """What `repro ARGUMENTS` says on standard error, in this process; it must end with `code`."""

    def tell(*arguments: str, code: int = 2) -> str:
        monkeypatch.setattr(sys, "argv", ["repro", *arguments])
        assert guarded(lambda: app(standalone_mode=True)) == code
        return capfd.readouterr().err

    monkeypatch.chdir(project.root)
    monkeypatch.setenv("REPRO_TRACKING", "off")
    return tell


def events(project: Project, kind: str) -> list[dict[str, Any]]:
    """What the journal of the training says of one kind."""
    (journal,) = project.work.glob("*/journal.jsonl")
    return [entry for entry in read_journal(journal) if entry["kind"] == kind]


def unlink_data(project: Project) -> None:
    shutil.rmtree(project.data / "camvid")


def odd_label(project: Project) -> None:
    path = project.data / "camvid/trainannot/train1.png"
    label_HW = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)).copy()
    label_HW[3, 5] = 200
    cv2.imwrite(str(path), label_HW)


def half_image(project: Project) -> None:
    path = project.data / "camvid/train/train2.png"
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (unlink_data, ["the data set camvid is missing", "repro data link camvid PATH"]),
        (odd_label, ["label values [200]", "trainannot/train1.png", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"]),
        (half_image, ["damaged image", "train/train2.png", "download it again"]),
    ],
    ids=["no link", "wrong label", "truncated image"],
)
def test_bad_data(project: Project, told: Told, harm: Callable[[Project], None], words: list[str]) -> None:
    """Other splits, prepared before, stay."""
    harm(project)
    (project.prepared / "camvid/trainval.zip").unlink()
    before = (project.prepared / "camvid/test.zip").read_bytes()
    said = told("prepare", "camvid")
    assert all(word in said for word in words), said
    assert (project.prepared / "camvid/test.zip").read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "momentum: 0.9",
            "momentun: 0.9",
            ["unknown key 'training.momentun'", "did you mean 'momentum'", NAME],
        ),
        ("batch: 2", "batch: two", ["key 'training.batch': got 'two'", "integer", "params.yaml"]),
        ("batch: 2", "batch: [", ["not valid YAML", "params.yaml"]),
        ("batch: 2", "batch: 1", ["one image per device", "accumulate 1", "batch_norm frozen"]),
        ("lr: 0.05", "lr: .inf", ["key 'training.lr'", "finite number"]),
        ("seed: 0", "seed: -1", ["key 'seed': got -1", "greater than or equal to 0"]),
        ("threads: 1", "threads: 100000", ["key 'training.threads'", "less than or equal to 1024"]),
    ],
)
def test_bad_params(project: Project, told: Told, old: str, new: str, words: list[str]) -> None:
    params = project.experiments / NAME / "params.yaml"
    text = params.read_text()
    assert text.count(old) == 1
    params.write_text(text.replace(old, new))
    said = told("train", NAME)
    assert all(word in said for word in words), said


def test_a_plan_names_the_first_step(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder only keeps the place of a data set that was never linked."""
    (project.prepared / "camvid/trainval.zip").unlink()
    monkeypatch.chdir(project.root)
    assert "missing: prepared data: repro prepare camvid" in CliRunner().invoke(app, ["plan", NAME]).stdout
    unlink_data(project)
    (project.data / "camvid").mkdir()
    assert "missing: data: repro data link camvid PATH" in CliRunner().invoke(app, ["plan", NAME]).stdout


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("split: trainval", "split: tranval", "key 'training.split': got 'tranval'"),
        ("batch: 2", "batch: 64", "training.batch: batch size 64 exceeds the"),
    ],
    ids=["split", "batch"],
)
def test_one_that_cannot_run_keeps_no_other_from_being_planned(
    project: Project, told: Told, old: str, new: str, words: str
) -> None:
    """So it is where a person has a part of a data set, and says so in params.yaml."""
    own = (project.experiments / NAME / "params.yaml").read_text()
    assert own.count(old) == 1
    other = project.experiments / f"{NAME}_other" / "params.yaml"
    other.parent.mkdir()
    other.write_text(own.replace(old, new))
    for asked in (["plan", "--json"], ["run", "*", "--dry-run", "--json", "--again"]):
        answer = CliRunner().invoke(app, asked, catch_exceptions=False)
        assert answer.exit_code == 0, answer.stderr
        assert f"left out {NAME}_other: {words}" in answer.stderr
        assert NAME in answer.stdout
        assert f"{NAME}_other" not in answer.stdout
    said = told("plan", f"{NAME}_other")
    assert words in said
    assert f"{NAME}_other/params.yaml" in said


def test_an_unknown_experiment(project: Project) -> None:
    said = done(start(project, "train", NAME.replace("16", "61")), 2)
    assert f"did you mean '{NAME}'?" in said


def checkpoints(project: Project) -> list[Path]:
    return sorted(project.work.glob("*/step-*.ckpt"))


def await_checkpoint(process: subprocess.Popen[str], project: Project) -> None:
    deadline = time.monotonic() + 500
    while not checkpoints(project):
        assert process.poll() is None, "it ended before it had a checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_ctrl_c_and_a_half_written_checkpoint(project: Project, told: Told) -> None:
    process = start(project, "train", NAME)
    await_checkpoint(process, project)
    process.send_signal(signal.SIGINT)
    assert "rerun to resume" in done(process, 130)
    newest = checkpoints(project)[-1]
    newest.write_bytes(newest.read_bytes()[:-1000])
    told("train", NAME, code=0)
    assert [event["file"] for event in events(project, "damaged_checkpoint")] == [newest.name]
    assert (project.experiments / NAME / "model.safetensors").is_file()


@pytest.fixture
def small_disk(project: Project) -> Iterator[Path]:
    """.repro on a disk that has room for two checkpoints (42 MB each) and no third."""
    project.work.mkdir(parents=True)
    mounted = shutil.which("mount") and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(project.work)], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("NO RIGHT to mount a small disk here: the full disk was not tried for real")
    yield project.work
    subprocess.run(["umount", str(project.work)], check=True)


@pytest.mark.slow
def test_a_full_disk_keeps_what_was_done(project: Project, told: Told, small_disk: Path) -> None:
    said = told("train", NAME)
    assert "the disk is full" in said
    assert str(small_disk) in said
    assert "free some space" in said
    assert len(checkpoints(project)) == 2
    assert not (project.experiments / NAME / "model.safetensors").exists()
    subprocess.run(["mount", "-o", "remount,size=400m", str(small_disk)], check=True)
    told("train", NAME, code=0)
    assert [event["step"] for event in events(project, "resumed")] == [2]


@pytest.mark.slow
@pytest.mark.parametrize("command", [("prepare", "camvid"), ("train", NAME), ("new", "x", "--like", NAME)])
def test_no_permission_to_write(project: Project, command: tuple[str, ...]) -> None:
    """In folders that are closed to everybody; root is asked to forget that it may do everything."""
    before = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    if before and not shutil.which(before[0]):
        pytest.skip("ROOT and NO setpriv: writing cannot be forbidden")
    if command[0] == "prepare":
        shutil.rmtree(project.prepared)
    folders = [project.root, *(path for path in project.root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    said = done(start(project, *command, before=before), 2)
    for folder in folders:
        folder.chmod(0o755)
    assert "permission" in said.strip().splitlines()[0].lower()  # behind the blank line of a progress bar
    assert str(project.root) in said
    assert "fix the permission" in said


@pytest.mark.parametrize(
    "command",
    [
        ("report", "--out", "experiments"),
        ("report", "--out=README.md/x.html"),
        ("page", "export", "csv", "-o", "experiments"),
        ("page", "export", "csv", "-o", "nowhere/x.csv"),
        ("check", "--junit", "nowhere/x.xml"),
        ("check", "--sarif", "experiments"),
        ("page", "import", "README.md", "--source", "x", "-oexperiments"),
        ("benchmark", NAME, "--seconds", "0", "--out", "README.md"),
    ],
    ids=" ".join,
)
def test_a_place_that_cannot_be_written(project: Project, told: Told, command: tuple[str, ...]) -> None:
    (project.root / "README.md").write_text("| method | mIoU |\n| --- | --- |\n| R-50 | 70.1 |\n")
    said = told(*command)
    assert "cannot write there" in said
    assert str(project.root) in said
    assert "next: name another path" in said
