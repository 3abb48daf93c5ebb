"""Programs as stages of the real DVC, and live in the real MLflow. The tests share one zoo, in file order."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.params import Project
from repro.records import read_records
from repro.records.build import program_key
from repro.stages.init import init_zoo
from repro.stages.train_program import training_inputs
from repro.tracking.store import open_client
from tests.datasets.kit import camvid
from tests.programs.kit import EXTERNAL, NAME, PREDICT, ROOT_PARAMS, TRAIN, loaded, program, write_experiment
from tests.tracking.kit import WITH_MLFLOW, the_run

pytestmark = [*WITH_MLFLOW, pytest.mark.dvc, pytest.mark.slow]
FOLDER = f"experiments/{NAME}"


def run(root: Path, *words: str, ok: bool = True, tracking: str = "off") -> str:
    """Run a module of this Python in the zoo; return its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "REPRO_TRACKING": tracking}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=root, env=environment, capture_output=True, text=True
    )
    assert not ok or done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A zoo made by `repro init`, with CamVid in place of its data and one experiment of programs."""
    root = tmp_path_factory.mktemp("zoo")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    init_zoo(root)
    text = (root / "params.yaml").read_text()
    splits = json.dumps(ROOT_PARAMS["datasets"]["camvid"])  # type: ignore[index]
    (root / "params.yaml").write_text(text.replace("datasets:\n", f"datasets:\n  camvid: {splits}\n"))
    (root / "tools").mkdir()
    (root / "tools" / "train.py").write_text(TRAIN)
    (root / "tools" / "predict.py").write_text(PREDICT)
    camvid(root / "data" / "camvid")
    write_experiment(root)
    run(root, "repro", "sync", "--files")
    return Project(root)


def ran(output: str) -> list[str]:
    return [line.split("'")[1].rpartition(":")[2] for line in output.splitlines() if "Running stage" in line]


def test_every_stage_runs_and_an_edit_of_what_predicts_does_not_train(zoo: Project) -> None:
    assert ran(run(zoo.root, "dvc", "repro", FOLDER))[-3:] == ["train", "evaluate", FOLDER]
    (zoo.root / "tools" / "predict.py").write_text(PREDICT + "# edited\n")
    write_experiment(zoo.root, train=EXTERNAL["train"] | {"timeout": 600}, smoke=True)
    assert ran(run(zoo.root, "dvc", "repro", FOLDER)) == ["evaluate", FOLDER]
    ignored = subprocess.run(["git", "check-ignore", "-q", f"{FOLDER}/out"], cwd=zoo.root, check=False)
    assert ignored.returncode == 0
    assert read_records(zoo.rows)[0][NAME].provenance["locks"]


def test_a_training_is_followed_live_and_ctrl_c_lets_it_save(zoo: Project, empty_database: Path) -> None:
    """MLflow has the first steps while the program runs; a second start continues, in the same run."""
    code = """
        import os, sys, time
        import repro
        out = sys.argv[1]
        done = os.path.exists(out + "/half")
        for step in () if done else (1, 2):
            repro.log({"loss": 1 / step}, step=step)
        if not done:
            open(out + "/half", "w").close()
            time.sleep(60)
        repro.log({"loss": 0.1}, step=3)
    """
    write_experiment(zoo.root, train=program(zoo, "slow", code, "{out}") | {"split": "train"})
    shutil.copy(empty_database, zoo.root / "mlflow.db")
    command = [sys.executable, "-m", "repro", "train", NAME]
    process = subprocess.Popen(command, cwd=zoo.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client, key = open_client(zoo), program_key(loaded(zoo), training_inputs(zoo, loaded(zoo)))

    def losses(status: str) -> list[float]:
        try:
            found = the_run(client, key).info
        except ValueError:  # it has not begun
            return []
        points = client.get_metric_history(found.run_id, "loss")
        return [point.value for point in points] if found.status == status else []

    wait_for(lambda: losses("RUNNING") == [1.0, 0.5])
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    run(zoo.root, "repro", "train", NAME, tracking="on")
    wait_for(lambda: losses("FINISHED") == [1.0, 0.5, 0.1])
    assert (zoo.root / FOLDER / "out" / "half").is_file()


def test_a_result_whose_inputs_were_edited_while_it_was_made_is_refused(zoo: Project) -> None:
    """DVC hashes dependencies after the command: its lock would name the edited file."""
    code = """
        import sys
        out, = sys.argv[1:]
        open(out + "/weights", "w").close()
        with open("tools/edits.py", "r+") as file:
            text = file.read()
            if not text.endswith("# edited"):
                file.write("# edited")
    """
    write_experiment(zoo.root, train=program(zoo, "edits", code, "{out}") | {"split": "train"})
    run(zoo.root, "repro", "sync", "--files")
    lock = zoo.root / FOLDER / "dvc.lock"
    before, stage = lock.read_text(), f"{FOLDER}/dvc.yaml:train"
    output = run(zoo.root, "dvc", "repro", stage, ok=False)
    assert "changed while this ran: tools/edits.py; the result is of neither version" in output
    assert lock.read_text() == before
    assert ran(run(zoo.root, "dvc", "repro", stage)) == ["train"]
    assert lock.read_text() != before


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until a condition holds; processes that import MLflow take seconds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "the condition did not become true"
        time.sleep(0.2)
