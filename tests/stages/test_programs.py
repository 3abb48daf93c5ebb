"""An experiment that programs train and evaluate: stages, keys, records, and what programs do wrong."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import (
    CheckFailed,
    CheckpointError,
    DataError,
    ParamsError,
    RecordError,
    ReproError,
    StorageError,
)
from repro.fleet import plan, speeds
from repro.fleet.bundle import export_run, import_run
from repro.fleet.replay import replay
from repro.io.atomic import sha256_tree
from repro.judgement import Judge, from_project
from repro.params import Project
from repro.programs.dvc_stages import external_pipeline
from repro.records import Record, read_journal, read_records, sha256_file
from repro.stages.evaluate_program import evaluate_with_program
from repro.stages.local_runner import run_stages
from repro.stages.record import record_experiment
from repro.stages.reporter import Reporter
from repro.stages.smoke import run_smokes
from repro.stages.train_program import train_with_program
from repro.stages.verify_program import verify_program
from repro.tracking.run_info import read_state, shown_params
from tests.programs.kit import EXTERNAL, NAME, loaded, program, program_project, write_experiment

COPY = """\
import os, shutil, sys
source, maps = sys.argv[1:]
for name in os.listdir(source):
    shutil.copy(os.path.join(source, name), maps)
"""


def git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@e.org")
    subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in git that was run once; git ignores one of the files that its programs depend on."""
    project = program_project(tmp_path_factory.mktemp("programs") / "project")
    (project.root / ".gitignore").write_text("/.repro/\n/data/\n/prepared/\nout/\n/tools/predict.py\n")
    git(project.root, "init", "-q")
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "programs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_TRACKING", "off")
        run_stages(project, loaded(project), "cpu")
    return project.root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    shutil.copytree(template, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("REPRO_TRACKING", "off")
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    return Project(tmp_path / "project")


def record(project: Project) -> Record:
    return read_records(project.rows)[0][NAME]


def outdated(project: Project) -> str:
    known, _ = read_records(project.rows)
    return Judge(project=project, records=known, experiment=from_project(project)).outdated(NAME)


def predict_with(project: Project, code: str, *words: str, **keys: Any) -> None:
    write_experiment(project.root, predict=program(project, "other", code, *words) | keys)


def evaluate(project: Project) -> dict[str, Any]:
    folder = project.experiment_folder(NAME)
    evaluate_with_program(project, loaded(project), folder)
    return dict(json.loads((folder / "metrics.json").read_text()))


def test_a_program_is_trained_evaluated_and_recorded(project: Project) -> None:
    made, folder = record(project), project.experiment_folder(NAME)
    assert made.kind == "external"
    assert made.cost == {}
    assert 0 < made.metrics["mIoU"] < 100
    assert made.params["external"]["family"] == "nearest mean"
    assert (folder / "curve.csv").read_text().splitlines()[1:] == ["1,1,0.1,", "2,0.5,0.1,"]
    assert sorted(path.name for path in (folder / "overlays").iterdir()) == ["val0.png", "val1.png"]
    assert outdated(project) == ""
    shown = {name for name in shown_params(made.params) if name.startswith("external.")}
    assert shown == {f"external.{name}" for name in ("train.command", "train.deps", "train.split")}
    state = read_state(project.journal(made.run_key))
    assert state is not None
    assert (state.status, state.steps) == ("FINISHED", 2)
    assert "trained with seed 0" in (project.work_folder(made.run_key) / "program.log").read_text()


def test_its_maps_are_scored_as_repro_score_does(project: Project) -> None:
    maps = project.root / ".repro" / "maps" / NAME / "maps"
    which = ("-d", "camvid", "-s", "val", "--protocol", "external", "--json")
    done = CliRunner().invoke(app, ("score", "--predictions", str(maps), *which))
    assert done.exit_code == 0, done.output
    ours = json.loads((project.experiment_folder(NAME) / "metrics.json").read_text())
    made_by = ("model_sha256", "program_sha256")
    assert json.loads(done.stdout) == {key: value for key, value in ours.items() if key not in made_by}


def test_perfect_maps_are_a_hundred(project: Project) -> None:
    """255 in the labels is not counted, whatever the map has there."""
    predict_with(project, COPY, "{labels}", "{maps}")
    assert evaluate(project)["mIoU"] == 100.0


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "# edited\n")


def test_what_trains_is_the_run_key_and_what_predicts_is_not(project: Project) -> None:
    made = record(project)
    edit(project.root / "tools" / "predict.py")
    assert "files changed since it was measured (tools/predict.py)" in outdated(project)
    with pytest.raises(RecordError, match="another command or other files"):
        record_experiment(project, loaded(project))
    evaluate(project)
    again = record_experiment(project, loaded(project))
    assert again.run_key == made.run_key
    assert again.model_sha256 == made.model_sha256
    assert outdated(project) == ""
    edit(project.root / "tools" / "train.py")
    assert "tools/train.py" in outdated(project)
    with pytest.raises(CheckpointError, match="another command, seed, data"):
        evaluate(project)
    train_with_program(project, loaded(project))
    evaluate(project)
    assert record_experiment(project, loaded(project)).run_key != made.run_key


def test_a_time_limit_and_a_log_file_change_no_key(project: Project) -> None:
    train = EXTERNAL["train"] | {"timeout": 60, "log": "{out}/log.json", "log_format": "csv"}
    write_experiment(project.root, train=train, predict=EXTERNAL["predict"] | {"timeout": 9}, smoke=True)
    assert outdated(project) == ""
    assert record_experiment(project, loaded(project)).run_key == record(project).run_key
    write_experiment(project.root, predict=EXTERNAL["predict"] | {"command": "x {maps}"})
    assert "params changed since it was measured (external)" in outdated(project)


RESUMABLE = """\
import json, os, sys
out = sys.argv[1]
state = os.path.join(out, "state")
done = int(open(state).read()) if os.path.exists(state) else 0
for step in range(done + 1, 5):
    with open(os.path.join(out, "log.json"), "a") as file:
        print(json.dumps({"step": step, "loss": 1 / step, "from": done}), file=file)
    open(state, "w").write(str(step))
    if step == 2 and not done:
        sys.exit("killed")
"""


def test_a_second_start_finds_what_the_first_one_left(project: Project) -> None:
    train = program(project, "resumable", RESUMABLE, "{out}") | {"split": "train", "log": "{out}/log.json"}
    write_experiment(project.root, train=train)
    with pytest.raises(CheckFailed, match="exit code 1; it said: killed"):
        train_with_program(project, loaded(project))
    notes: list[str] = []
    out = train_with_program(project, loaded(project), reporter=Reporter(note=notes.append))
    assert any("continuing with what an earlier start left" in note for note in notes), notes
    log = [json.loads(line) for line in (out / "log.json").read_text().splitlines()]
    assert [(line["step"], line["from"]) for line in log] == [(1, 0), (2, 0), (3, 2), (4, 2)]
    key = (out / ".run_key").read_text().strip()
    steps = [entry["step"] for entry in read_journal(project.journal(key)) if entry["kind"] == "metrics"]
    assert steps == [1, 2, 3, 4]
    with pytest.raises(CheckFailed, match="exit code 1"):  # as the first one
        train_with_program(project, loaded(project), fresh=True)


def test_a_program_that_outlived_its_start_is_not_joined_by_another(project: Project) -> None:
    key = record(project).run_key
    began = {"pid": os.getpid(), "since": psutil.Process().create_time()}
    (project.work_folder(key) / "program.json").write_text(json.dumps(began))
    with pytest.raises(StorageError, match=f"still running, as process {os.getpid()}"):
        train_with_program(project, loaded(project))
    (project.work_folder(key) / "program.json").write_text(json.dumps(began | {"since": 0.0}))
    train_with_program(project, loaded(project))


def test_nothing_in_out_is_an_error(project: Project) -> None:
    write_experiment(project.root, train=program(project, "idle", "", "{out}") | {"split": "train"})
    with pytest.raises(CheckFailed, match="left nothing in"):
        train_with_program(project, loaded(project))


ONE_MAP = """\
import sys
from PIL import Image
Image.new("L", (int(sys.argv[2]), 12), int(sys.argv[3])).save(sys.argv[1] + "/val0.png")
"""
TWO_MAPS = (
    ONE_MAP + 'Image.new("L", (int(sys.argv[2]), 12), int(sys.argv[3])).save(sys.argv[1] + "/val1.png")\n'
)


@pytest.mark.parametrize(
    ("code", "words", "error", "text"),
    [
        ("", ("{maps}",), CheckFailed, "wrote nothing into {maps}"),
        (ONE_MAP, ("{maps}", "16", "0"), DataError, "1 missing: val1"),
        (TWO_MAPS, ("{maps}", "9", "0"), DataError, "9x12 pixels, the image has 16x12"),
        (TWO_MAPS, ("{maps}", "16", "77"), DataError, "values of no class: 77"),
        ("import time; time.sleep(60)", ("{maps}",), CheckFailed, "did not end within 1 s"),
    ],
)
def test_wrong_maps_are_one_clear_error(
    project: Project, code: str, words: tuple[str, ...], error: type[ReproError], text: str
) -> None:
    predict_with(project, code, *words, timeout=1 if "sleep" in code else None)
    before = (project.experiment_folder(NAME) / "metrics.json").read_bytes()
    with pytest.raises(error) as caught:
        evaluate(project)
    assert text in str(caught.value)
    assert caught.value.allowed is not None
    assert (project.experiment_folder(NAME) / "metrics.json").read_bytes() == before


def test_a_missing_file_and_a_missing_program_are_named_before_a_run(project: Project) -> None:
    predict = {"command": "no_such_program {maps}", "deps": ["tools/gone.py"]}
    write_experiment(project.root, predict=predict)
    error = CliRunner().invoke(app, ["run", NAME]).exception
    assert isinstance(error, ParamsError)
    assert "no 'no_such_program' (external.predict)" in error.what
    assert "no 'tools/gone.py' (external.predict.deps)" in error.what
    with pytest.raises(DataError, match=r"external.predict.deps.*tools/gone.py"):
        evaluate(project)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server of the files in tmp_path/web."""
    (tmp_path / "web").mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_released_weights_are_evaluated_without_training(
    project: Project, address: str, tmp_path: Path
) -> None:
    trained = project.experiment_folder(NAME) / "out" / "means.json"
    shutil.copy(trained, tmp_path / "web" / "means.json")
    predict = EXTERNAL["predict"] | {
        "command": EXTERNAL["predict"]["command"].replace("{out}/means.json", "{weights}")
    }
    weights = {"url": f"{address}/means.json", "sha256": sha256_file(trained)}
    before = record(project).metrics
    write_experiment(project.root, "released", train=None, predict=predict, weights=weights)
    made = run_stages(project, loaded(project, "released"), "cpu")
    assert made.metrics == before
    assert made.model_sha256 == weights["sha256"]
    assert not (project.experiment_folder("released") / "curve.csv").exists()
    known, _ = read_records(project.rows)
    judge = Judge(project=project, records=known, experiment=from_project(project))
    assert judge.outdated("released") == ""
    verified_with_its_row(project, made.metrics["mIoU"])
    wrong = weights | {"sha256": "0" * 64}
    write_experiment(project.root, "released", train=None, predict=predict, weights=wrong)
    with pytest.raises(ReproError, match="sha256"):
        run_stages(project, loaded(project, "released"), "cpu")
    with pytest.raises(ParamsError, match="trains nothing"):
        train_with_program(project, loaded(project, "released"))


def verified_with_its_row(project: Project, mIoU: float) -> None:
    """`repro verify`: reproduced within ±0.05, differs beyond, and measured once."""
    path = project.params_of("released")
    path.write_text(path.read_text() + "rows: [mine-01]\n")
    for printed, verdict in ((f"{mIoU:.2f}", "reproduced"), (f"{mIoU + 0.1:.2f}", "differs")):
        page = project.root / "RESULTS.md"
        page.write_text(f"| Method | Dataset | mIoU |\n|---|---|---|\n| mean | CamVid | {printed} |\n")
        done = CliRunner().invoke(app, ["page", "import", str(page), "--id", "mine", "--force"])
        assert done.exit_code == 0, done.output
        again = Project(project.root)  # which reads the page again
        found = verify_program(again, loaded(again, "released"))
        assert (found.row, found.verdict) == ("mine-01", verdict)
        assert found.inputs["files"] == {"tools/predict.py": sha256_tree(again.root / "tools/predict.py")}
        shutil.rmtree(project.root / ".repro" / "maps", ignore_errors=True)
    assert not (project.root / ".repro" / "maps").exists()  # the second one came from the cache
    with pytest.raises(ParamsError, match="no released weights to verify"):
        verify_program(project, loaded(project))


def test_cost_is_what_the_program_declares(project: Project) -> None:
    path = project.experiment_folder(NAME) / "out" / "cost.json"
    path.write_text(json.dumps({"params_M": 3.75, "input_size": [12, 16]}))
    evaluate(project)
    made = record_experiment(project, loaded(project))
    assert made.cost == {"params_M": 3.75, "input_size": [12, 16]}
    assert outdated(project) == ""
    path.write_text(json.dumps({"parameters": 3.75}))
    with pytest.raises(RecordError, match="unknown key 'parameters'"):
        evaluate(project)


def test_a_smoke_run_needs_a_declaration(project: Project) -> None:
    notes: list[str] = []
    reporter = Reporter(note=notes.append, say=notes.append)
    run_smokes(project, [NAME], "cpu", reporter)
    assert any("does not declare `external.smoke: true`" in note for note in notes), notes
    write_experiment(project.root, smoke=True)
    run_smokes(project, [NAME], "cpu", reporter)
    assert any("every stage works" in note for note in notes), notes


def test_seeds(project: Project) -> None:
    done = CliRunner().invoke(app, ["run", NAME, "--seeds", "2"])
    assert done.exit_code == 0, done.output
    assert "mIoU of 2 seeds" in done.output
    assert record(project).seeds is not None


def test_a_run_of_programs_travels(project: Project, tmp_path: Path) -> None:
    """To a clone that lacks a file of the programs; import runs none of them."""
    bundle = export_run(project, NAME, tmp_path / "run.zip")
    home = program_project(tmp_path / "home")
    (home.root / "tools" / "predict.py").unlink()
    assert import_run(home, bundle.path) == record(project)
    assert outdated(home) == ""
    files = (
        "out/means.json",
        "out/.run_key",
        "metrics.json",
        "confusion.npz",
        "curve.csv",
        "overlays/val0.png",
    )
    paths = [f"experiments/{NAME}/{name}" for name in files] + ["tools/predict.py"]
    for path in paths:
        assert (home.root / path).read_bytes() == (project.root / path).read_bytes(), path
    assert not (home.root / ".repro" / "maps").exists()
    edit(home.root / "tools" / "train.py")
    with pytest.raises(RecordError, match=r"files changed .*tools/train.py"):
        import_run(home, bundle.path)


def test_a_forged_run_of_programs_is_refused(project: Project, tmp_path: Path) -> None:
    path, home = export_run(project, NAME, tmp_path / "run.zip").path, program_project(tmp_path / "home")
    changes = {
        "out/means.json": (b"[]", "out is missing, or not the one of the record"),
        "deps/tools/predict.py": (b"print()", "deps/tools/predict.py is missing, or not the one"),
        "deps/tools/other.py": (b"print()", ""),
        "model.safetensors": (b"x", "holds 'model.safetensors', and its kind is 'external'"),
        "out/means.json/x": (b"x", "is a file and a folder"),
    }
    for member, (content, why) in changes.items():
        forged = tmp_path / "forged.zip"
        rewrite(path, forged, {member: content})
        if why:
            with pytest.raises(RecordError, match=why):
                import_run(home, forged)
        else:  # nothing names it, so it is not written
            import_run(home, forged)
            assert not (home.root / "tools" / "other.py").exists()


def rewrite(path: Path, to: Path, changes: dict[str, bytes]) -> None:
    """A bundle with other members, and a manifest that agrees with them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != "manifest.json"}
    members |= changes
    files = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    with zipfile.ZipFile(to, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("manifest.json", json.dumps({"name": NAME, "files": files}))


def run_in(tree: Path, words: Sequence[str]) -> None:
    """A stage of a replay, in this process."""
    there = Project(tree)
    if words[0] == "train":
        train_with_program(there, loaded(there))
    else:
        evaluate_with_program(there, loaded(there), there.experiment_folder(NAME))


def test_a_replay_runs_the_programs_of_the_commit(project: Project) -> None:
    found = {one.output: one.outcome for one in replay(project, NAME, run=run_in)}
    assert found == dict.fromkeys(
        ("out", "metrics.json", "curve.csv", "confusion.csv", "journal"), "bit-equal"
    )
    edit(project.root / "tools" / "train.py")  # not recorded, so not replayed
    assert {one.outcome for one in replay(project, NAME, run=run_in)} == {"bit-equal"}
    edit(project.root / "tools" / "predict.py")  # ignored by git, and another one than the recorded
    with pytest.raises(RecordError, match=r"no 'tools/predict\.py' as the program used it"):
        replay(project, NAME, run=run_in)


def test_what_was_not_committed_is_replayed_from_its_difference(project: Project) -> None:
    edit(project.root / "tools" / "train.py")
    run_stages(project, loaded(project), "cpu")
    assert "tools/train.py" in (project.work_folder(record(project).run_key) / "source.diff").read_text()
    assert {one.outcome for one in replay(project, NAME, run=run_in)} == {"bit-equal"}


WHITE = """\
import os, sys
import numpy as np
from PIL import Image
images, maps = sys.argv[1:]
for name in os.listdir(images):
    size = Image.open(os.path.join(images, name)).size
    Image.fromarray(np.zeros(size[::-1], np.uint8)).save(os.path.join(maps, name))
"""


def test_further_protocols_are_predicted_by_their_own_commands(project: Project, tmp_path: Path) -> None:
    """Without a command, the maps of the first one are counted in another way."""
    root = yaml.safe_load(project.params.read_text())
    root["protocols"] = {
        "ms": {"mode": "external", "scales": [0.5, 1.0], "words": "all of class 0"},
        "two": {"mode": "external", "mean_over": ["sky", "building"]},
    }
    project.params.write_text(yaml.safe_dump(root))
    white = program(project, "white", WHITE, "{images}", "{maps}")
    write_experiment(project.root, also={"ms": white})
    path = project.params_of(NAME)
    path.write_text(path.read_text() + "also: [ms, two]\n")
    before = record(project)
    assert outdated(project) == "", "what was measured is as it was"
    stages = yaml.safe_load(external_pipeline(yaml.safe_load(path.read_text()), root))["stages"]
    assert stages["also_ms"]["cmd"] == "repro evaluate . --protocol ms"
    deps = [dep for dep in stages["also_ms"]["deps"] if not dep.startswith("ds:")]
    assert deps == ["out", "../../prepared/camvid/val.zip", "../../tools/white.py"]
    assert "external.also.ms.command" in stages["also_ms"]["params"]
    assert "../../tools/predict.py" in stages["also_two"]["deps"]
    assert "../../tools/white.py" not in stages["evaluate"]["deps"]
    made = run_stages(project, loaded(project), "cpu")
    assert (made.run_key, made.metrics) == (before.run_key, before.metrics)
    assert made.also["ms"].per_class["building"] == 0.0
    pair = [before.per_class[name] or 0.0 for name in ("sky", "building")]
    assert made.also["two"].metrics["mIoU"] == pytest.approx(sum(pair) / 2, abs=1e-3)
    assert outdated(project) == ""
    home = program_project(tmp_path / "home")
    for name in ("params.yaml", f"experiments/{NAME}/params.yaml"):
        shutil.copy(project.root / name, home.root / name)
    assert import_run(home, export_run(project, NAME, tmp_path / "run.zip").path) == made
    assert (home.root / "tools" / "white.py").read_text() == WHITE
    edit(project.root / "tools" / "white.py")
    assert "tools/white.py" in outdated(project)
    with pytest.raises(RecordError, match="another command or other files"):
        record_experiment(project, loaded(project))
    done = CliRunner().invoke(app, ["evaluate", NAME, "--protocol", "ms"])
    assert done.exit_code == 0, done.output
    assert record_experiment(project, loaded(project)).run_key == before.run_key
    for wrong, text in ((["two"], "'ms' is not listed"), (["ms", "two", "external"], "unique")):
        write_experiment(project.root, also={"ms": white})
        path.write_text(path.read_text() + f"also: {wrong}\n")
        with pytest.raises(ParamsError, match=text):
            loaded(project)


def test_a_fleet_knows_how_long_a_program_took(project: Project) -> None:
    """Its last training here; one that never ran is unknown, comes last and fits no budget."""
    write_experiment(project.root, "never")
    speed = speeds(project, "cpu")
    (known, other), _ = plan(project, ["never", NAME], speed=speed, again=True)
    assert (known.name, known.known, other.name, other.known) == (NAME, True, "never", False)
    assert 0 < known.seconds < 600
    fitting, left = plan(project, ["never", NAME], speed=speed, again=True, budget=900.0)
    assert ([one.name for one in fitting], [one.name for one in left]) == ([NAME], ["never"])
    done = CliRunner().invoke(app, ["run", NAME, "never", "--again", "--dry-run"])
    assert "unknown" in done.output, done.output
    found = json.loads(
        CliRunner().invoke(app, ["run", NAME, "never", "--again", "--dry-run", "--json"]).stdout
    )
    assert [one["seconds"] is None for one in found["run"]] == [False, True]


def test_what_a_training_left_is_hashed_by_the_gate(project: Project) -> None:
    """Where it is present, as the weights of our networks are."""
    edit(project.experiment_folder(NAME) / "out" / "means.json")
    assert "the weights are" in outdated(project)
    shutil.rmtree(project.experiment_folder(NAME) / "out")
    assert outdated(project) == ""


READING = (
    ("list",),
    ("show", NAME),
    ("explain", NAME, "mIoU"),
    ("table",),
    ("check",),
    ("report", "-o", "report.html"),
    ("plan", NAME),
    ("sync", "--files"),
)


def test_commands_that_read_run_no_program(project: Project) -> None:
    trap = program(project, "trap", "open('ran', 'w')", "{maps}", "{out}")
    write_experiment(
        project.root,
        train={**trap, "command": trap["command"].replace("{maps}", ""), "split": "train"},
        predict=trap,
    )
    texts = {words[0]: CliRunner().invoke(app, words).output for words in READING}
    assert not (project.root / "ran").exists()
    assert "nearest mean" in texts["show"]
    assert "nearest mean, predicted by: " in texts["explain"]
    assert "Traceback" not in "".join(texts.values())


def test_networks_and_programs_are_distinguished(project: Project) -> None:
    for command in ("cost", "benchmark"):
        done = CliRunner().invoke(app, [command, NAME])
        assert "runs a program" in str(done.exception), command
