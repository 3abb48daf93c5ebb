"""Fleets: order, parallel places, crashes, budgets, clean stops; with real processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from repro.cli.app import app
from repro.cli.run.fleet_options import parse_duration, visible_gpus
from repro.errors import CheckFailed, ParamsError, ReproError
from repro.fleet import Fleet, Job, LocalLauncher, SlurmLauncher, estimate, plan, speeds
from repro.fleet.launcher import end
from repro.fleet.run import experiment_command
from repro.fleet.scheduler import progress
from repro.fleet.slurm import parse_options
from repro.params import Experiment, Project, load_experiment, read_yaml, to_plain
from repro.records import Journal, Record, read_record, write_record
from repro.stages.preflight import Machine, blocked
from repro.tracking.run_info import start_fields
from tests.fleet import slurm_kit
from tests.tracking.kit import a_project, a_run

ROOT = Path(__file__).parents[2]
REAL = Project(ROOT)
MOBILE = "synthetic_mobilenetv2_os16"


def jobs_of(project: Project, *names: str, seconds: float = 0.0) -> list[Job]:
    folder = project.root / ".repro" / "fleet"
    return [Job(name=name, dataset="camvid", log=folder / f"{name}.log", seconds=seconds) for name in names]


def script(project: Project, text: str) -> Path:
    """A command that gets the experiment's name as its argument."""
    path = project.root / "job.py"
    path.write_text(text)
    return path


def fleet(project: Project, jobs: list[Job], text: str, **options: object) -> Fleet:
    path = script(project, text)
    command = lambda _, name: [sys.executable, str(path), name]  # noqa: E731
    return Fleet(project=project, jobs=jobs, command=command, **options)  # type: ignore[arg-type]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return a_project(tmp_path)


def test_jobs_run_in_order_with_their_logs(project: Project) -> None:
    jobs = jobs_of(project, "a", "b")
    done = fleet(project, jobs, "import sys; print('this is', sys.argv[1])").run()
    assert [(job.name, job.state, job.attempts, job.code) for job in done] == [
        ("a", "done", 1, 0),
        ("b", "done", 1, 0),
    ]
    assert [job.log.read_text() for job in done] == ["this is a\n", "this is b\n"]
    assert done[0].ended <= done[1].began


def test_places_run_at_once_each_with_its_gpu(project: Project) -> None:
    text = """
import os, sys, time
from pathlib import Path
name = sys.argv[1]
Path(name).write_text(os.environ["CUDA_VISIBLE_DEVICES"])
until = time.monotonic() + 30
while time.monotonic() < until and not (Path("a").exists() and Path("b").exists()):
    time.sleep(0.02)
sys.exit(0 if Path("a").exists() and Path("b").exists() else 1)
"""
    done = fleet(project, jobs_of(project, "a", "b"), text, slots=2, gpus=["3", "5"]).run()
    assert [job.state for job in done] == ["done", "done"]
    assert sorted((project.root / name).read_text() for name in "ab") == ["3", "5"]


def test_gpus_are_numbered_within_those_that_may_be_used() -> None:
    """A shared machine hands out CUDA_VISIBLE_DEVICES=2,3: GPU 0 of the fleet is 2, not somebody else's."""
    assert visible_gpus("0, 1", None) == ["0", "1"]
    assert visible_gpus("0,1", "2,3") == ["2", "3"]
    assert visible_gpus("GPU-8f2,0", "GPU-8f2,GPU-11c") == ["GPU-8f2", "GPU-8f2"]
    with pytest.raises(ParamsError, match="no GPU '2'"):
        visible_gpus("2", "2,3")
    with pytest.raises(ParamsError, match="allowed: none"):
        visible_gpus("0", "")


def test_a_crash_is_tried_again_and_a_failure_keeps_the_rest_going(project: Project) -> None:
    text = """
import os, signal, sys
from pathlib import Path
name, seen = sys.argv[1], Path(sys.argv[1] + ".seen")
if name == "crashes" and not seen.exists():
    seen.touch()
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(3 if name == "fails" else 0)
"""
    done = fleet(project, jobs_of(project, "crashes", "fails", "works"), text).run()
    assert [(job.name, job.state, job.attempts) for job in done] == [
        ("crashes", "done", 2),
        ("fails", "failed", 2),
        ("works", "done", 1),
    ]
    assert done[1].code == 3
    once = fleet(project, jobs_of(project, "fails", "works"), text, attempts=1).run()
    assert [(job.state, job.attempts) for job in once] == [("failed", 1), ("done", 1)]
    fine = fleet(project, jobs_of(project, "fails"), text, succeeds=(0, 3)).run()
    assert [(job.state, job.attempts, job.code) for job in fine] == [("done", 1, 3)]


SAVES = """
import signal, sys, time
from pathlib import Path
def save(*_):
    Path("saved").touch()
    sys.exit(130)
signal.signal(signal.SIGINT, save)
Path("started").touch()
time.sleep(60)
"""


def over(run: Fleet) -> None:
    """The budget ends once the first job has begun."""
    if (run.project.root / "started").exists():
        run.budget = 0.0


def test_the_end_of_the_budget_stops_what_runs_so_that_it_saves(project: Project) -> None:
    jobs = jobs_of(project, "long", "never", seconds=0.5)
    began = time.monotonic()
    run = fleet(project, jobs, SAVES, budget=60.0)
    run.shown = lambda jobs: over(run)
    done = run.run()
    assert [job.state for job in done] == ["stopped", "left out"]
    assert (project.root / "saved").exists()
    assert time.monotonic() - began < 30


def test_what_ends_well_while_it_is_stopped_is_done(project: Project) -> None:
    run = fleet(project, jobs_of(project, "long", seconds=0.5), SAVES.replace("130", "0"), budget=60.0)
    run.shown = lambda jobs: over(run)
    assert [job.state for job in run.run()] == ["done"]


def test_what_does_not_fit_is_not_started(project: Project) -> None:
    jobs = jobs_of(project, "short") + jobs_of(project, "long", seconds=1000.0)
    done = fleet(project, jobs, "", budget=60.0).run()
    assert [job.state for job in done] == ["done", "left out"]
    assert done[1].attempts == 0


def test_a_crash_without_time_for_another_attempt_is_a_failure(project: Project) -> None:
    text = "import sys, time; time.sleep(1.5); sys.exit(3)"
    done = fleet(project, jobs_of(project, "crashes", seconds=2.0), text, budget=3.0).run()
    assert [(job.state, job.attempts, job.code) for job in done] == [("failed", 1, 3)]


# A shell's background job ignores Ctrl-C, one under nohup SIGHUP, and their children inherit that: the test
# may run in one.
STOPPED = """
import signal, sys
from pathlib import Path
import repro.fleet.run as fleet
from repro.params import Project
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
root, command, stage = Path(sys.argv[1]), [sys.executable, sys.argv[2]], sys.argv[3]
if stage == "shared":
    fleet.has_dvc, fleet.dvc_repro = (lambda project: True), (lambda target: command)
jobs = [fleet.Job(name="x", dataset="camvid", log=root / ".repro/fleet/x.log")]
handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)]
try:
    fleet.Fleet(project=Project(root), jobs=jobs, command=lambda project, name: command).run()
except KeyboardInterrupt:
    assert handlers == [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)]
    print(jobs[0].state)
"""


def stopped_by(project: Project, number: int, stage: str) -> str:
    """What a fleet says of its only job, ended by a signal while `stage` ran."""
    arguments = [str(project.root), str(script(project, SAVES)), stage]
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    until = time.monotonic() + 60
    while not (project.root / "started").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(number)
    return process.communicate(timeout=60)[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.slow
def test_a_signal_stops_the_whole_fleet_cleanly(project: Project, number: int) -> None:
    assert stopped_by(project, number, "own") == "stopped\n"
    assert (project.root / "saved").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_a_signal_ends_shared_stages_too(project: Project, number: int) -> None:
    assert stopped_by(project, number, "shared") == "waiting\n"
    assert (project.root / "saved").exists()


def test_a_training_is_asked_to_save_once_only(project: Project) -> None:
    """As when Ctrl-C comes while the end of the budget stops it: a second SIGINT would end it unsaved."""
    again = "    signal.signal(signal.SIGINT, signal.SIG_DFL)\n    time.sleep(1)\n    Path"
    command = [sys.executable, str(script(project, SAVES.replace("    Path", again, 1)))]
    handle = LocalLauncher()(command, environment={}, log=project.root / "log", folder=project.root)
    until = time.monotonic() + 60
    while not (project.root / "started").exists() and time.monotonic() < until:
        time.sleep(0.05)
    handle.stop(hard=False)
    time.sleep(0.5)
    end([handle])
    assert (project.root / "saved").exists()


@pytest.mark.slow
def test_the_budget_holds_for_shared_stages(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(project, SAVES)
    monkeypatch.setattr("repro.fleet.run.has_dvc", lambda project: True)
    monkeypatch.setattr("repro.fleet.run.dvc_repro", lambda target: [sys.executable, str(path)])
    began = time.monotonic()
    done = Fleet(project=project, jobs=jobs_of(project, "x"), budget=3.0).run()
    assert [job.state for job in done] == ["left out"]
    assert (project.root / "saved").exists()
    assert time.monotonic() - began < 30


def test_a_data_set_that_is_missing_fails_its_own_experiments_only(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.fleet.run.has_dvc", lambda project: True)
    no_camvid = "import sys; sys.exit('camvid' in sys.argv[1])"
    monkeypatch.setattr("repro.fleet.run.dvc_repro", lambda target: [sys.executable, "-c", no_camvid, target])
    jobs = [*jobs_of(project, "a", "b"), replace(jobs_of(project, "c")[0], dataset="synthetic")]
    done = fleet(project, jobs, "").run()
    assert [(job.state, job.attempts, job.code) for job in done] == [
        *[("failed", 0, 1)] * 2,
        ("done", 1, 0),
    ]
    assert "data set 'camvid' could not be prepared" in done[1].log.read_text()


def test_a_stop_reaches_the_grandchildren(project: Project) -> None:
    """dvc runs a shell that runs the training: the signal goes to all of them."""
    path = script(project, SAVES)
    log = project.root / "log"
    handle = LocalLauncher()(
        ["sh", "-c", f"{sys.executable} {path}; exit $?"], environment={}, log=log, folder=project.root
    )
    until = time.monotonic() + 60
    while not (project.root / "started").exists() and time.monotonic() < until:
        time.sleep(0.05)
    handle.stop(hard=False)
    while handle.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    assert (project.root / "saved").exists()
    assert handle.poll() is not None


def test_shared_stages_come_first(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.root / ".dvc").mkdir()
    order: list[str] = []

    class Done:
        def poll(self) -> int:
            return 0

        def stop(self, *, hard: bool) -> None: ...

    def launch(command: list[str], *, environment: object, log: Path, folder: Path) -> Done:
        order.append(command[-1])
        log.touch()
        return Done()

    for name, text in (("a", "dataset: camvid\n"), ("b", "dataset: camvid\nstart_from: a\n")):
        (project.experiments / name).mkdir()
        (project.experiments / name / "params.yaml").write_text(text)
    Fleet(project=project, jobs=jobs_of(project, "a", "b"), slots=2, launcher=launch).run()  # type: ignore[arg-type]
    assert order == ["prepare@camvid", "experiments/a", "experiments/b"]
    command = experiment_command(project, "b")
    assert command[1:6] == ["-m", "dvc", "--wait-for-lock", "repro", "--single-item"]
    own = ["experiments/b/dvc.yaml", "experiments/b"]
    assert command[6:] == ["experiments/a/dvc.yaml", "experiments/a", *own]


PIPELINE = """
stages:
  prepare:
    foreach: [camvid]
    do:
      cmd: mkdir -p prepared/${item} && cp raw prepared/${item}/train.zip
      deps: [raw]
      outs: ["prepared/${item}"]
  experiments/a:
    cmd: "true"
    deps: [experiments/a/model]
  experiments/b:
    cmd: "true"
    deps: [experiments/b/model]
"""
TRAIN = """
stages:
  train:
    cmd: PYTHON ../../job.py
    deps: [../../prepared/camvid]
    outs: [model]
"""
# waits for the other one, is killed or stopped in the middle once, and resumes from what it has saved
WORK = """
import os, signal, sys, time
from pathlib import Path
me, other = Path("begun"), Path("../b" if Path.cwd().name == "a" else "../a") / "begun"
me.write_text(me.read_text() + "." if me.exists() else ".")
def save(*_):
    Path("saved").touch()
    sys.exit(130)
signal.signal(signal.SIGINT, save)
until = time.monotonic() + 60
while not other.exists() and time.monotonic() < until:
    time.sleep(0.05)
if Path.cwd().name == "b" and me.read_text() == ".":
    os.kill(os.getpid(), signal.SIGKILL)
if Path.cwd().name == "a" and not Path("saved").exists():
    time.sleep(600)
Path("model").write_text(me.read_text())
"""


@pytest.mark.dvc
@pytest.mark.slow
def test_experiments_that_share_data_run_at_once_under_the_real_dvc(project: Project) -> None:
    """b is killed and tried again while a reads the same data; the budget stops a; the next call ends it."""
    (project.root / "raw").write_text("images")
    (project.root / "dvc.yaml").write_text(PIPELINE)
    script(project, WORK)
    for name in "ab":
        (project.experiments / name).mkdir()
        (project.experiments / name / "dvc.yaml").write_text(TRAIN.replace("PYTHON", sys.executable))
        (project.experiments / name / "params.yaml").write_text("dataset: camvid\n")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=project.root, check=True)

    def stop(jobs: Sequence[Job]) -> None:  # as the budget would, as soon as b is done
        run.budget = 1.0 if jobs[1].state == "done" else None

    run = Fleet(project=project, jobs=jobs_of(project, "a", "b"), slots=2, shown=stop)
    logs = "".join(job.log.read_text() for job in run.run())
    assert [(job.name, job.state, job.attempts) for job in run.jobs] == [
        ("a", "stopped", 1),
        ("b", "done", 2),
    ]
    assert "busy" not in logs
    again = Fleet(project=project, jobs=jobs_of(project, "a", "b"), slots=2).run()
    assert [(job.state, job.attempts) for job in again] == [("done", 1), ("done", 1)]
    assert (project.experiments / "a" / "model").read_text() == ".."
    assert (project.experiments / "b" / "model").read_text() == ".."


# --- plan ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_cheapest_come_first_and_the_budget_holds() -> None:
    names = ["camvid_dense30k36_os16_321_x320", "camvid_dense30k36_os16_321_x32_b45"]
    fitting, left = plan(REAL, names, speed=lambda one: 100.0, again=True)
    assert [one.name for one in fitting] == names[::-1]
    assert left == []
    first, second = fitting
    assert second.samples > 5 * first.samples
    some, rest = plan(REAL, names, speed=lambda one: 100.0, budget=first.seconds * 1.5, again=True)
    assert ([one.name for one in some], [one.name for one in rest]) == ([names[1]], [names[0]])


def test_the_estimate_of_row_003_028_is_its_arithmetic() -> None:
    """Batch 45, scale 32, 10 epochs of 468 images: 10 whole batches an epoch; 10 GFLOP forward at 321x321."""
    experiment = load_experiment(REAL, "camvid_dense30k36_os16_321_x32_b45")
    found = estimate(experiment, speed=1000.0)
    assert found.samples == (468 // 45) * 45 * 32 * 10
    assert found.gflop / found.samples == pytest.approx(3 * 10, rel=0.25)


def training_of(project: Project, experiment: Experiment, *, iterations: int, seconds: float) -> None:
    """A journal of an experiment, ended by a signal."""
    run = replace(a_run(), name=experiment.name, params=to_plain(experiment))
    path = project.journal(experiment.name)
    with Journal(path) as journal:
        journal.event("run", **start_fields(run))
        journal.event("provenance", found={"device": {"type": "cpu"}})
        for step in (0, iterations):
            journal.metrics({"train/loss": 1.0}, step=step)
        journal.event("end", status="KILLED", error="")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[3]["at"] = lines[2]["at"] + seconds
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_speed_is_that_of_trainings_with_the_same_backbone(project: Project) -> None:
    mobile = load_experiment(REAL, "synthetic_mobilenetv2_os16")
    dense = load_experiment(REAL, "camvid_dense30k36_os16_321_x32_b45")
    training_of(project, mobile, iterations=100, seconds=50.0)
    whole = estimate(mobile, speed=1.0)
    measured = whole.seconds / whole.samples * mobile.training.batch * 100 / 50.0
    assert speeds(project, "cpu")(mobile) == pytest.approx(measured)
    assert speeds(project, "cpu")(dense) == pytest.approx(95.0 * (os.cpu_count() or 1))
    assert speeds(project, "cuda:0")(mobile) == 3000.0


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        (0, {"run": {"name": MOBILE}}),
        (0, {"run": {"name": MOBILE, "dataset": "d", "run_key": "k", "params": {"model": {"new": 1}}}}),
        (0, {"run": {"name": MOBILE, "dataset": "d", "run_key": "k", "params": {"model": {}}}}),
        (1, {"found": None}),
        (2, {"values": None}),
        (3, {"step": "x"}),
        (3, {"at": 0.0}),
        (3, {"at": "x"}),
        *((number, {"kind": None}) for number in range(4)),
    ],
)
def test_a_journal_of_another_version_or_a_damaged_one_is_left_out(
    project: Project, line: int, changes: dict[str, object]
) -> None:
    mobile = load_experiment(REAL, MOBILE)
    training_of(project, mobile, iterations=100, seconds=50.0)
    path = project.journal(MOBILE)
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    lines[line] |= changes
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert speeds(project, "cpu")(mobile) == pytest.approx(95.0 * (os.cpu_count() or 1))
    assert progress(project)(mobile) in (0, 100)


@pytest.mark.parametrize("seconds", [0.0, -3600.0, 1e-9])
def test_a_clock_that_was_set_gives_no_speed(project: Project, seconds: float) -> None:
    mobile = load_experiment(REAL, MOBILE)
    training_of(project, mobile, iterations=100, seconds=seconds)
    assert speeds(project, "cpu")(mobile) == pytest.approx(95.0 * (os.cpu_count() or 1))


def test_what_a_stopped_training_has_behind_it_is_not_paid_again(tmp_path: Path) -> None:
    project = a_project(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    names = ["camvid_dense30k36_os16_321_x32_b32", "camvid_longer"]
    for name in names:
        shutil.copytree(REAL.experiments / names[0], project.experiments / name)
    params = project.experiments / names[1] / "params.yaml"
    params.write_text(params.read_text().replace("batch: 32", "batch: 45"))
    (fresh, dear), _ = plan(project, names, speed=lambda one: 100.0)
    assert [fresh.name, dear.name] == names
    experiment = load_experiment(project, names[1])
    training_of(project, experiment, iterations=1600, seconds=1.0)  # of 3,200
    (first, _), _ = plan(project, names, speed=lambda one: 100.0)
    assert (first.name, first.done, first.seconds) == (names[1], 0.5, pytest.approx(dear.seconds / 2))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("25m", 1500), ("3h", 10800), ("1h30m", 5400), ("45", 45)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "3d", "-1h"])
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ParamsError, match="not a duration"):
        parse_duration(text)


# --- commands -----------------------------------------------------------------------------------------------


def bring_data(project: Project) -> None:
    (project.data / "synthetic").mkdir(parents=True)
    (project.data / "synthetic" / "scene.png").write_bytes(b"x")


@pytest.fixture
def asked(project: Project, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The experiments of each fleet that a command starts; nothing is run."""
    shutil.copy(ROOT / "params.yaml", project.root)
    (project.experiments / MOBILE).mkdir()
    shutil.copy(REAL.experiments / MOBILE / "params.yaml", project.experiments / MOBILE)
    bring_data(project)
    monkeypatch.chdir(project.root)
    found: list[list[str]] = []

    def run(self: Fleet) -> list[Job]:
        found.append(sorted(job.name for job in self.jobs))
        return list(self.jobs)

    monkeypatch.setattr(Fleet, "run", run)
    return found


def repro(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["run", "--jobs", "2"], "nothing to run"),
        (["run", MOBILE, "--budget", ""], "not a duration"),
        (["run", MOBILE, "--jobs", "2", "--device", "cpu"], "takes no --device"),
        (["run", "synth*", "--device", "cpu"], "takes no --device"),
        (["run", MOBILE, "--smoke", "--seeds", "2"], "smoke run"),
        (["run", "--smoke", "--jobs", "2"], "smoke run"),
        (["run", MOBILE, "--slurm", "partition=gpu"], "--launcher slurm"),
        (["run", MOBILE, "--seeds", "2", "--dry-run"], "--dry-run makes no copies"),
    ],
)
def test_options_that_contradict_each_other(
    asked: list[list[str]], project: Project, arguments: list[str], match: str
) -> None:
    found = repro(*arguments)
    assert isinstance(found.exception, ParamsError)
    assert match in str(found.exception)
    assert asked == []
    assert [path.parent.name for path in project.experiments.glob("*/params.yaml")] == [MOBILE]


def test_a_device_that_a_stage_would_not_hear_of_is_refused(project: Project) -> None:
    (project.root / ".dvc").mkdir()
    found = repro("run", MOBILE, "--device", "cdua")
    assert isinstance(found.exception, ParamsError)
    assert "DVC's stages take the device that is there" in str(found.exception)


@pytest.mark.parametrize("more", [["--jobs", "2"], ["--budget", "99h"], ["--again"]])
def test_a_fleet_has_the_seeds_too(asked: list[list[str]], project: Project, more: list[str]) -> None:
    assert repro("run", MOBILE, "--seeds", "3", *more).exception is None
    assert repro("run", "--all", "--seeds", "3", *more).exception is None
    assert asked == [[MOBILE, f"{MOBILE}_seed1", f"{MOBILE}_seed2"]] * 2
    assert load_experiment(project, f"{MOBILE}_seed2").seed == 2


def test_the_record_of_the_first_is_made_again_after_its_seeds(
    asked: list[list[str]], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[str] = []
    monkeypatch.setattr("repro.stages.seeds.record_again", lambda project, one, note: again.append(one.name))
    recorded(project)
    found = repro("run", MOBILE, "--seeds", "2", "--jobs", "2", "--json")
    assert [one["experiment"] for one in json.loads(found.stdout)] == [f"{MOBILE}_seed1"]
    assert again == [MOBILE]
    assert f"{MOBILE}: one seed" in found.stderr


@pytest.fixture
def dvc(asked: list[list[str]], project: Project, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A DVC that says what it runs and finds everything up to date; the record of MOBILE."""
    chatter = [sys.executable, "-c", "print('Running stage')"]
    monkeypatch.setattr("repro.fleet.workspace.dvc", lambda *arguments: chatter)
    monkeypatch.setattr("repro.stages.seeds.record_again", lambda *_: None)
    (project.root / ".dvc").mkdir()
    return recorded(project)


def recorded(project: Project) -> Record:
    """The record of MOBILE and the files that it was made of."""
    folder = project.experiments / MOBILE
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("metrics.json", "confusion.csv", "cost.json", "curve.csv", "dvc.lock"):
        shutil.copy(ROOT / "experiments" / MOBILE / name, folder / name)
    return write_record(project.record(MOBILE), read_record(ROOT / "reports/rows" / f"{MOBILE}.json"))


@pytest.mark.parametrize("more", [[], ["--seeds", "2"]])
def test_standard_output_is_one_json_document(
    dvc: Record, more: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    app(["run", MOBILE, *more, "--json"], standalone_mode=False)
    printed = capfd.readouterr()
    line = {"experiment": MOBILE, "verdict": dvc.verdict, "metric": "mIoU", "undefined": {}, "seeds": None}
    assert json.loads(printed.out) == [line | {"value": dvc.metrics["mIoU"]}]
    assert printed.err.count("Running stage") == 1 + bool(more)
    app(["run", MOBILE, *more], standalone_mode=False)
    assert "Running stage" in capfd.readouterr().out


def test_the_document_comes_also_when_one_of_many_failed(
    dvc: Record, project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(project.experiments / MOBILE, project.experiments / "synthetic_b")  # never recorded
    with pytest.raises(CheckFailed, match="1 of 2 experiments failed"):
        app(["run", "synthetic_b", MOBILE, "--json"], standalone_mode=False)
    assert [one["experiment"] for one in json.loads(capfd.readouterr().out)] == [MOBILE]


def test_a_smoke_run_reports_its_seconds_as_json(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.stages.smoke.run_smoke", lambda *_, **__: 3.14)
    found = repro("run", MOBILE, "--smoke", "--json")
    assert json.loads(found.stdout) == [{"experiment": MOBILE, "seconds": 3.1}]


@pytest.mark.parametrize("command", [["run", "synthetic_*"], ["run", MOBILE, "synthetic_b"]])
def test_nothing_starts_where_something_is_missing(
    asked: list[list[str]], project: Project, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """What `repro plan` knows is asked first; --keep-going starts what can run."""
    ran: list[str] = []
    monkeypatch.setattr(
        "repro.stages.pipeline.run_pipeline", lambda project, one, *_, **__: ran.append(one.name)
    )
    other = project.experiments / "synthetic_b"
    shutil.copytree(project.experiments / MOBILE, other)
    text = (other / "params.yaml").read_text()
    (other / "params.yaml").write_text(text.replace("dataset: synthetic", "dataset: camvid"))
    found = repro(*command)
    assert isinstance(found.exception, ParamsError)
    words = "1 of 2 experiments cannot run: data: repro data link camvid PATH (synthetic_b)"
    assert words in str(found.exception)
    assert "--keep-going" in str(found.exception)
    assert (asked, ran) == ([], [])
    found = repro(*command, "--keep-going")
    assert "cannot run synthetic_b: data: repro data link camvid PATH" in found.stderr
    assert isinstance(found.exception, CheckFailed)
    assert [MOBILE] in (*asked, ran)
    assert len(asked) + len(ran) == 1


def test_what_stops_the_start_stops_what_starts_from_it(project: Project, asked: list[list[str]]) -> None:
    path = project.experiments / "synthetic_b" / "params.yaml"
    shutil.copytree(project.experiments / MOBILE, path.parent)
    path.write_text(path.read_text() + f"start_from: {MOBILE}\n")
    first = project.experiments / MOBILE / "params.yaml"
    pretrained = {"pretrained": "torchvision_mobilenetv2"}
    own = read_yaml(first)
    first.write_text(yaml.safe_dump(own | {"model": own["model"] | pretrained}))
    both = [load_experiment(project, name) for name in (MOBILE, "synthetic_b")]
    why = "weights torchvision_mobilenetv2: repro weights get torchvision_mobilenetv2"
    assert blocked(project, both, Machine()) == {MOBILE: [why], "synthetic_b": [f"{MOBILE}: {why}"]}
    (first.parent / "model.safetensors").write_bytes(b"x")
    assert blocked(project, both, Machine()) == {}


def test_a_card_that_is_too_small_is_a_reason(project: Project, asked: list[list[str]]) -> None:
    one = load_experiment(project, MOBILE)
    (why,) = blocked(project, [one], Machine(gpu_GiB=0.1))[MOBILE]
    assert re.fullmatch(r"GPU memory: about [\d.]+ GiB needed, 0.1 GiB available", why)
    assert blocked(project, [one], Machine(gpu_GiB=100.0)) == {}


def test_a_broken_folder_keeps_no_fleet_from_the_others(asked: list[list[str]], project: Project) -> None:
    broken = project.experiments / "synthetic_b" / "params.yaml"
    broken.parent.mkdir()
    broken.write_text("x: [")
    for command in (["run", "synthetic_*"], ["run", "--all", "--jobs", "1"]):
        found = repro(*command)
        assert isinstance(found.exception, ParamsError)
        assert "synthetic_b: not valid YAML" in str(found.exception)
        assert "left out synthetic_b" in found.stderr
    assert asked == [[MOBILE]] * 2


def test_a_plan_of_the_others_comes_although_one_is_broken(asked: list[list[str]], project: Project) -> None:
    broken = project.experiments / "synthetic_b" / "params.yaml"
    broken.parent.mkdir()
    broken.write_text("x: [")
    found = repro("plan")
    assert found.stdout.startswith(f"{MOBILE}\n")
    assert "left out synthetic_b: not valid YAML" in found.stderr
    assert found.exception is None


def test_a_record_of_other_params_is_not_a_reason_to_leave_it_out(project: Project) -> None:
    """`repro run NAME` would train it again; --dry-run said that there was nothing to do."""
    recorded(project)
    path = project.experiments / MOBILE / "params.yaml"
    shutil.copy(ROOT / "experiments" / MOBILE / "params.yaml", path)
    shutil.copy(ROOT / "params.yaml", project.params)
    assert plan(project, [MOBILE], speed=lambda one: 100.0) == ([], [])
    path.write_text(path.read_text().replace("seed: 0", "seed: 7"))
    fitting, _ = plan(project, [MOBILE], speed=lambda one: 100.0)
    assert [one.name for one in fitting] == [MOBILE]


def test_a_fleet_with_nothing_to_do_says_why(asked: list[list[str]], project: Project) -> None:
    found = repro("run", MOBILE, "--budget", "1s", "--json")
    assert "0 have a record (--again runs them too), 1 do not fit the budget" in found.stderr
    assert json.loads(found.stdout) == []


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_plan_with_nothing_in_it_says_why(dvc: Record, more: list[str]) -> None:
    found = repro("run", MOBILE, "--dry-run", *more)
    assert "1 have a record (--again runs them too), 0 do not fit the budget" in found.stderr
    assert "have a record" not in found.stdout + repro("run", MOBILE, "--dry-run", "--again", *more).stderr


# --- SLURM --------------------------------------------------------------------------------------------------

NODE = """
import os, sys, time
from pathlib import Path
name = sys.argv[1]
print("job", os.environ.get("SLURM_JOB_ID"))
if name == "crashes" and not Path("seen").exists():
    Path("seen").touch()
    os.kill(os.getppid(), 9)  # what SLURM started, not the command: no exit status ever comes
sys.exit(3 if name == "fails" else 0)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bool]:
    """Whether a real slurmctld and slurmd run here for these tests; they are started where installed."""
    if not slurm_kit.installed():
        yield False
        return
    with (
        slurm_kit.slurm(tmp_path_factory.mktemp("slurm")) as variables,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in variables.items():
            patch.setenv(name, value)
        yield True


@pytest.fixture
def slurm(cluster: bool) -> SlurmLauncher:
    if cluster:
        return SlurmLauncher(options={"partition": "test", "time": 5})
    submitit = pytest.importorskip("submitit", reason="NO SUBMITIT: the SLURM launcher was not tried")
    warnings.warn(UserWarning("NO SLURM HERE: submitit's local executor replaces it"), stacklevel=1)
    return SlurmLauncher(executor=lambda folder: submitit.LocalExecutor(folder=folder))


@pytest.mark.slow
@pytest.mark.filterwarnings("default:NO SLURM HERE")
def test_slurm_runs_jobs_and_keeps_their_logs(project: Project, slurm: SlurmLauncher, cluster: bool) -> None:
    jobs = jobs_of(project, "good", "fails", "crashes")
    done = fleet(project, jobs, NODE, slots=2, launcher=slurm, is_here=False).run()
    found = [(job.name, job.state, job.attempts, job.code) for job in done]
    assert found == [("good", "done", 1, 0), ("fails", "failed", 2, 3), ("crashes", "done", 2, 0)]
    assert re.fullmatch(r"job \d+\n" if cluster else r"job None\n", jobs[0].log.read_text())


@pytest.mark.slow
@pytest.mark.filterwarnings("default:NO SLURM HERE")
def test_slurm_jobs_are_stopped_so_that_they_save_once(project: Project, slurm: SlurmLauncher) -> None:
    """One SIGINT, whatever SLURM tracks processes by: a training ends unsaved at the second."""
    text = """
import signal, sys, time
from pathlib import Path
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
Path("started").touch()
until = time.monotonic() + 60
while not got and time.monotonic() < until:
    time.sleep(0.05)
time.sleep(2)
Path("saved").write_text(str(len(got)))
sys.exit(130)
"""
    jobs = jobs_of(project, "x", "waiting", seconds=1.0)
    made = fleet(project, jobs, text, budget=300.0, slots=1, launcher=slurm, is_here=False)
    made.shown = lambda jobs: over(made)
    assert [job.state for job in made.run()] == ["stopped", "left out"]
    assert (project.root / "saved").read_text() == "1"


def test_what_sbatch_refuses_is_said(
    project: Project, cluster: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    if not cluster:
        pytest.skip("NO SLURM HERE: what sbatch refuses was not tried")
    launcher = SlurmLauncher(options={"partition": "nowhere"})
    with pytest.raises(ReproError, match="sbatch refused"):
        fleet(project, jobs_of(project, "x"), "", launcher=launcher).run()
    assert "invalid partition" in capfd.readouterr().err
    with pytest.raises(ParamsError, match="color"):
        fleet(project, jobs_of(project, "x"), "", launcher=SlurmLauncher(options={"color": 1})).run()


@pytest.mark.parametrize("setting", ["partition", "=3", "time="])
def test_what_is_not_a_setting_for_sbatch(setting: str) -> None:
    assert parse_options(["partition=gpu", "gpus_per_node=1"]) == {"partition": "gpu", "gpus_per_node": 1}
    assert parse_options(["account=0042", "nice=0"]) == {"account": "0042", "nice": 0}
    with pytest.raises(ParamsError, match="KEY=VALUE"):
        parse_options([setting])
