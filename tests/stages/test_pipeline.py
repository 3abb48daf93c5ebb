"""The whole chain with the real DVC from a fresh clone: what re-runs, and what DVC's users expect.

The tests of this module share one clone and run in file order: each leaves it up to date.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from repro.cli.app import app
from repro.params.project import BUILT_IN
from tests.datasets.kit import camvid

pytestmark = [pytest.mark.dvc, pytest.mark.mlflow, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
NAME = "synthetic_mobilenetv2_os16"
STAGE = f"experiments/{NAME}"
TEMPLATES = ("experiments/dvc.yaml", "experiments/dvc.lock")
OUTPUTS = ("metrics.json", "confusion.npz", "cost.json", "curve.csv", "confusion.csv", "model.safetensors")


class Clone:
    """A clone of this project's tracked files with a short training, and the tools to work in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        git = {
            f"GIT_{who}_{what}": "t@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        self.env = (
            os.environ | {"PATH": path, "PYTHONPATH": str(root), "REPRO_HOME": str(root / ".home")} | git
        )
        # MLflow is 5 s of imports in each training and each record: one run of the chain has it.
        self.untracked = self.env | {"REPRO_TRACKING": "off"}

    def run(self, *command: str, ok: bool = True, tracked: bool = False) -> str:
        environment = self.env if tracked else self.untracked
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True)
        assert not ok or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def repro(self, *arguments: str, tracked: bool = False) -> list[str]:
        """The stages that `dvc repro` ran."""
        return _ran(self.run("dvc", "repro", *arguments, tracked=tracked))

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert text.count(old) == 1, f"{path}: {old!r} occurs {text.count(old)} times"
        file.write_text(text.replace(old, new))

    def metrics(self) -> dict[str, float]:
        loaded: dict[str, float] = json.loads((self.root / STAGE / "metrics.json").read_text())
        return loaded


def _ran(output: str) -> list[str]:
    stages = [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]
    return [
        stage.replace("dvc.yaml:", "").replace(f"{STAGE}/", "").replace(f"{STAGE}:", "") for stage in stages
    ]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    root = tmp_path_factory.mktemp("clone")
    for name in subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    ).splitlines():
        if not name.startswith(("tests/", "docs/", "experiments/")) or name.startswith((STAGE, *TEMPLATES)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    made = Clone(root)
    made.run("repro", "data", "synthetic")
    made.run("git", "init", "-q", "-b", "main")
    made.run("dvc", "commit", "-q", "-f", "data.dvc")
    params = root / STAGE / "params.yaml"
    own = yaml.safe_load(params.read_text())
    own["training"] |= {"epochs": 1, "batch": 16, "lr": 0.05, "checkpoint_minutes": 0}
    own["augmentation"]["crop"] = [60, 80]
    own["evaluation"] |= {"split": "val", "protocol": "page000"}  # a twelfth of the views of `whole`
    params.write_text("# short\n" + yaml.safe_dump(own, sort_keys=False))
    # twenty runs of the network in place of ten seconds, in each of two chains
    made.edit(
        "repro/templates/stages/pipeline.yaml", "cmd: repro benchmark .", "cmd: repro benchmark . --seconds 0"
    )
    made.run("repro", "sync", "--files")
    for leftover in ("dvc.lock", f"{STAGE}/dvc.lock", f"reports/rows/{NAME}.json"):
        (root / leftover).unlink(missing_ok=True)
    made.run("git", "add", ".")
    made.run("git", "commit", "-qm", "a clone")
    return made


def one_of_each_data_set() -> dict[str, str]:
    """Data set -> the first experiment on it."""
    own = {
        path.parent.name: yaml.safe_load(path.read_text()) for path in ROOT.glob("experiments/*/params.yaml")
    }
    trained = [name for name in sorted(own, reverse=True) if own[name].get("measure") != "cost"]
    return {own[name]["dataset"]: name for name in trained}


def bare_clone(root: Path, *experiments: str) -> Clone:
    """Nothing but what git holds of the named experiments: no data, nothing prepared, nothing trained.

    DVC reads every dvc.yaml before it does anything: 155 of them are 4 s for each command.
    """
    names = [f"experiments/{name}" for name in experiments] or ["experiments"]
    paths = ("dvc.yaml", "data.dvc", "params.yaml", ".gitignore", ".dvc/config", "published")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths]
    for name in subprocess.check_output([*listed, *names, *TEMPLATES], cwd=ROOT, text=True).splitlines():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    made = Clone(root)
    made.run("git", "init", "-q")
    if experiments:
        made.run("repro", "sync", "--files")  # dvc.yaml without the others
    return made


@pytest.mark.parametrize("chosen", [["ade20k_r50_os16"], []], ids=["one", "all"])
def test_a_bare_clone_ends_at_the_missing_data_with_the_way_to_it(tmp_path: Path, chosen: list[str]) -> None:
    bare = bare_clone(tmp_path, *chosen)
    said = bare.run("dvc", "repro", *(f"experiments/{name}" for name in chosen), ok=False)
    assert _ran(said) == ["data@ade20k"]
    for words in ("ade20k is missing", "repro data link ade20k PATH", "`dvc repro` without a name"):
        assert words in said
    assert "synthetic" not in said


def test_linked_data_are_hashed_and_left_alone(tmp_path: Path) -> None:
    """DVC looks through the link, never removes or caches what it leads to, and finds it in a copy too."""
    bare = bare_clone(tmp_path / "bare", one_of_each_data_set()["camvid"])
    mine, link = camvid(tmp_path / "mine"), bare.root / "data/camvid"
    bare.run("repro", "data", "link", "camvid", str(mine))
    assert bare.repro("data@camvid") == ["data@camvid"]
    assert bare.repro("data@camvid") == []
    bare.run("dvc", "checkout", "--force", "data@camvid")
    assert link.readlink() == mine
    (mine / "train/train0.png").write_bytes((mine / "train/train1.png").read_bytes())
    assert bare.repro("data@camvid") == ["data@camvid"]
    assert link.readlink() == mine
    assert len(list(mine.rglob("*.png"))) == 12
    bare.run("git", "add", ".")
    bare.run("git", "commit", "-qm", "linked")
    link.unlink()
    link.symlink_to(mine)
    assert _ran(bare.run("dvc", "exp", "run", "--temp", "-f", "data@camvid")) == ["data@camvid"]
    assert bare.run("git", "status", "--short") == ""


def test_a_dry_run_in_a_bare_clone_lists_every_stage(tmp_path: Path) -> None:
    chosen = one_of_each_data_set()
    bare = bare_clone(tmp_path, *chosen.values())
    shown = bare.run("dvc", "repro", "--dry", *(f"experiments/{name}" for name in chosen.values()))
    for dataset, name in chosen.items():
        inner = [f"experiments/{name}/dvc.yaml:{stage}" for stage in ("train", "evaluate", "benchmark")]
        raw = () if dataset == BUILT_IN else (f"data@{dataset}",)
        for stage in (*raw, f"prepare@{dataset}", *inner, f"experiments/{name}"):
            assert f"Running stage '{stage}':" in shown


def test_the_command_as_typed_runs_the_whole_chain(clone: Clone) -> None:
    ran = clone.repro(STAGE, tracked=True)
    assert set(ran) == {"prepare@synthetic", "train", "evaluate", "benchmark", STAGE}
    assert all((clone.root / STAGE / name).is_file() for name in OUTPUTS)
    record = json.loads((clone.root / "reports/rows" / f"{NAME}.json").read_text())
    assert record["metrics"]["mIoU"] == pytest.approx(clone.metrics()["mIoU"])
    clone.run("git", "add", ".")
    clone.run("git", "commit", "-qm", "first result")


def test_a_second_run_does_nothing(clone: Clone) -> None:
    assert clone.repro(STAGE) == []


def test_tables_alone(clone: Clone) -> None:
    assert clone.repro("--single-item", "tables") == ["tables"]
    assert f"{clone.metrics()['mIoU']:.2f}" in (clone.root / "reports/tables/synthetic.md").read_text()


def test_the_run_is_in_mlflow(clone: Clone) -> None:
    with sqlite3.connect(clone.root / "mlflow.db") as store:
        runs = store.execute("select name, status from runs").fetchall()
        steps = store.execute("select count(*) from metrics where key = 'train/loss'").fetchone()
    assert (NAME, "FINISHED") in runs
    assert steps[0] > 0


def test_facts_of_another_data_set_touch_nothing(clone: Clone) -> None:
    clone.edit("params.yaml", "{train: 20210, val: 2000}", "{train: 20209, val: 2000}")
    assert clone.repro("--dry", STAGE) == []
    clone.run("git", "checkout", "-q", "params.yaml")


def test_facts_of_this_data_set_prepare_and_train_again(clone: Clone) -> None:
    clone.edit("params.yaml", "splits: {train: 96,", "splits: {train: 95,")
    assert clone.repro("--dry", STAGE)[:2] == ["prepare@synthetic", "train"]
    clone.run("git", "checkout", "-q", "params.yaml")


def test_a_published_number_makes_only_the_record_again(clone: Clone) -> None:
    params = clone.root / STAGE / "params.yaml"
    params.write_text(params.read_text() + "rows: ['003-028']\n")
    clone.run("repro", "sync", "--files")
    assert clone.repro(STAGE) == [STAGE]
    page = clone.root / "published/003.json"
    raw = json.loads(page.read_text())
    raw["rows"]["003-028"]["metrics"]["mIoU"] += 1
    page.write_text(json.dumps(raw))
    assert clone.repro("--dry", STAGE) == [STAGE]
    clone.run("git", "checkout", "-q", ".")
    clone.run("dvc", "checkout", "-q", "--allow-missing")
    assert clone.repro(STAGE) in ([], [STAGE])


def test_code_is_not_a_dependency_but_its_version_is(clone: Clone) -> None:
    with (clone.root / "repro/evaluation/metrics.py").open("a") as file:
        file.write("# a refactor\n")
    assert clone.repro("--dry", STAGE) == []
    clone.edit("params.yaml", "evaluation: 1", "evaluation: 2")
    assert "evaluate" in (ran := clone.repro("--dry", STAGE))
    assert "train" not in ran
    clone.run("git", "checkout", "-q", ".")


def test_dvc_metrics_plots_and_graph(clone: Clone) -> None:
    shown = json.loads(clone.run("dvc", "metrics", "show", "--json"))
    values = shown[""]["data"][f"{STAGE}/metrics.json"]["data"]
    assert values["mIoU"] == clone.metrics()["mIoU"]
    clone.run("dvc", "metrics", "diff", "HEAD")
    clone.run("dvc", "plots", "show", "--out", "plots")
    page = (clone.root / "plots/index.html").read_text()
    assert "training loss" in page
    assert "% of actual" in page, "the confusion matrix uses our template"
    assert STAGE in clone.run("dvc", "dag")


def test_push_and_pull_bring_the_weights_back(clone: Clone) -> None:
    clone.run("dvc", "remote", "add", "-d", "--local", "store", str(clone.root / ".store"))
    clone.run("dvc", "push", "-q")
    weights = clone.root / STAGE / "model.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    shutil.rmtree(clone.root / ".dvc/cache")
    clone.run("dvc", "pull", "-q", f"{STAGE}/dvc.yaml")
    assert weights.read_bytes() == before
    clone.run("dvc", "pull", "-q", "--allow-missing")
    assert clone.repro(STAGE) == []


def test_an_experiment_with_another_learning_rate(clone: Clone) -> None:
    """`dvc exp run -S` trains again, and `dvc exp show` lists the result beside the first."""
    setting = f"{STAGE}/params.yaml:training.lr=0.02"
    weights = clone.root / STAGE / "model.safetensors"
    before = weights.read_bytes()
    assert "train" in _ran(clone.run("dvc", "exp", "run", "-n", "slower", "-S", setting, STAGE))
    assert weights.read_bytes() != before
    assert "slower" in clone.run("dvc", "exp", "show", "--csv", "--only-changed")
    clone.run("git", "checkout", "-q", ".")
    clone.run("dvc", "checkout", "-q", "--allow-missing")


def test_killed_and_repeated_equals_never_killed(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = clone.root / STAGE / "model.safetensors"
    assert clone.repro(STAGE) == []
    uninterrupted = weights.read_bytes()
    weights.unlink()
    shutil.rmtree(clone.root / ".repro/work", ignore_errors=True)
    _kill_after_first_checkpoint(clone)
    assert not weights.exists()
    monkeypatch.chdir(clone.root)
    monkeypatch.setenv("REPRO_TRACKING", "off")
    CliRunner().invoke(app, ["train", NAME], catch_exceptions=False)
    assert weights.read_bytes() == uninterrupted


def _kill_after_first_checkpoint(clone: Clone) -> None:
    """Start a training that saves after every iteration, and kill -9 it once a checkpoint is there."""
    command = [sys.executable, "-m", "repro", "train", NAME]
    started = subprocess.Popen(command, cwd=clone.root, env=clone.untracked, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((clone.root / ".repro/work").rglob("*.ckpt*")):
        assert started.poll() is None, "the training ended before it was killed"
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.02)
    started.send_signal(signal.SIGKILL)
    started.wait()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "synthetic_mobilenetv2_os61"], 2, "did you mean"),
        (["prepare", "camvid"], 2, "repro data link camvid"),
        (["evaluate", "camvid_mobilenetv2_os16"], 2, "unknown experiment"),
    ],
)
def test_a_mistake_gets_a_message(clone: Clone, arguments: list[str], code: int, words: str) -> None:
    done = subprocess.run(
        ["repro", *arguments], cwd=clone.root, env=clone.env, capture_output=True, text=True
    )
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
