"""Forged names from files and servers never become other paths or options, in any command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from repro.cli.app import app
from repro.cli.run.fleet_run import make_job
from repro.errors import ParamsError, RecordError, ReproError
from repro.fleet.bundle import export_run, import_run
from repro.fleet.replay import replay
from repro.fleet.run import stages_of
from repro.fleet.scheduler import Estimate
from repro.fleet.workspace import garbage
from repro.io.atomic import canonical, sha256_text
from repro.io.names import is_plain_name, plain_name, plain_path, require_inside
from repro.params import Project, load_experiment
from repro.params.names import experiment_name
from repro.records import read_record
from repro.reports.results import declared_experiments
from repro.scaffold.dvc_files import drift, sync
from repro.tracking.owner import owner_of
from repro.tracking.registry import champions, champions_file
from repro.tracking.run_info import Run, read_state, start_fields
from tests.fleet.test_bundle import KEY, NAME, ROOT, _git, checkout, finish
from tests.kit import every

HOSTILE = (
    "../../experiments",
    "{outside}",
    "..",
    "-f",
    "--force",
    "",
    "a --force",
    "a\x00b",
    "a/b",
    "a\\b",
    "x" * 300,
)
READERS = (
    *(
        ("list",),
        ("table",),
        ("check",),
        ("show", NAME),
        ("explain", NAME),
        ("report",),
        ("table", "--write"),
    ),
    *(
        ("page", "export", "csv"),
        ("plan", NAME),
        ("bundle", "export", NAME),
        ("replay", NAME),
        ("gc", "--yes", "--days", "0"),
    ),
    *(
        ("weights", "promote", NAME, "--force"),
        ("sync", "--check"),
        ("docs", "--check"),
        ("logs", NAME),
        ("cost", NAME),
    ),
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A finished run in git, next to an unrelated folder."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("kept")
    made = checkout(tmp_path / "here")
    finish(made)
    for path in (*(ROOT / "experiments").glob("*.yaml"), ROOT / "README.md"):
        shutil.copy(path, made.root / path.relative_to(ROOT))
    (made.root / ".gitignore").write_text(".repro/\ndata\nprepared\n")
    _git(made.root, "init", "-q")
    _git(made.root, "add", ".")
    _git(made.root, "commit", "-qm", "first")
    return made


def content(*folders: Path) -> dict[str, bytes]:
    """Every file below."""
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in found}


def forge(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Forge a record: change it and update its hash."""
    raw = json.loads(path.read_text())
    change(raw)
    raw.pop("content_hash")
    path.write_text(json.dumps(raw | {"content_hash": sha256_text(canonical(raw))}))


def setting(*keys: str, name: str) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        raw[keys[-1]] = name

    return change


def also(name: str) -> Callable[[dict[str, Any]], None]:
    one = {
        "n_images": 1,
        "metrics": {},
        "intervals": {},
        "per_class": {},
        "protocol": {},
        "protocol_hash": "a",
    }
    return lambda raw: raw["also"].update({name: one})


FORGERIES: dict[str, Callable[[str], Callable[[dict[str, Any]], None]]] = {
    **{key: lambda name, key=key: setting(key, name=name) for key in ("experiment", "dataset", "split")},  # type: ignore[misc]
    "run_key": lambda name: setting("run_key", name=name),
    "also": also,
    "commit": lambda name: lambda raw: raw.update(provenance={"git": {"commit": name}}),
    "rows": lambda name: lambda raw: raw.update(rows=[name]),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow's libraries
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.slow
@pytest.mark.parametrize("field", FORGERIES)
def test_a_forged_record_touches_nothing_else(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    """Regression: it removed the folder in `experiment`, including weights and outside the clone."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("REPRO_TRACKING", "off")
    good, kept = project.record(NAME).read_text(), (tmp_path / "outside", project.experiments)
    before = content(*kept)
    for name in HOSTILE[:4]:
        project.record(NAME).write_text(good)
        forge(project.record(NAME), FORGERIES[field](name.format(outside=tmp_path / "outside")))
        for command in READERS if name == HOSTILE[0] else [("replay", NAME), ("bundle", "export", NAME)]:
            done = CliRunner().invoke(app, list(command))
            assert isinstance(done.exception, ReproError | SystemExit | None), (command, done.exception)
            assert content(*kept) == before, command
        assert _git(project.root, "worktree", "list").count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "outside"]


@every("name", HOSTILE)
@every("field", ["experiment", "dataset", "split", "run_key", "also"])
def test_a_record_with_such_a_name_is_none(project: Project, field: str, name: str) -> None:
    good = project.record(NAME).read_text()
    assert read_record(project.record(NAME))
    forge(project.record(NAME), FORGERIES[field](name))
    with pytest.raises(RecordError, match="not a record: key"):
        read_record(project.record(NAME))
    project.record(NAME).write_text(good)


@pytest.mark.parametrize("commit", ["-f", "--detach", "HEAD", "main", "../x", "abc123", "0" * 39 + "g"])
def test_a_commit_that_is_none_never_reaches_git(project: Project, commit: str) -> None:
    """Regression: `-f` was an option of `git worktree add`."""

    def change(raw: dict[str, Any]) -> None:
        raw["provenance"] = {"git": {"commit": commit, "dirty": False}}

    forge(project.record(NAME), change)
    with pytest.raises(RecordError, match="not a commit"):
        replay(project, NAME, run=lambda tree, arguments: None)


@pytest.mark.parametrize("link", [f"experiments/{NAME}", "data"])
def test_a_commit_whose_folders_are_links_loses_nothing(project: Project, link: str) -> None:
    """The recorded code is checked out below .repro: its links could lead back to this checkout."""
    real, path = project.experiments / "real", project.root / link
    real.mkdir()
    (real / "metrics.json").write_text("kept")
    before = _git(project.root, "rev-parse", "HEAD").strip()
    shutil.rmtree(path, ignore_errors=True)
    path.symlink_to(real)
    _git(project.root, "add", "-f", link)
    _git(project.root, "commit", "-qm", "a link")
    commit = _git(project.root, "rev-parse", "HEAD").strip()
    _git(project.root, "reset", "-q", "--hard", before)
    forge(project.record(NAME), lambda raw: raw.update(provenance={"git": {"commit": commit}}))
    with pytest.raises(ReproError, match="leads out of the folder"):
        replay(project, NAME, run=lambda tree, arguments: None)
    assert content(real) == {str(real / "metrics.json"): b"kept"}
    assert _git(project.root, "worktree", "list").count("\n") == 1


# --- params, journals, champions, servers -------------------------------------------------------------------


def change_params(path: Path, **changes: object) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


@pytest.mark.parametrize("name", ["../../x", "/x", "-f", "x; touch y", "$(touch y)"])
@pytest.mark.parametrize("key", ["dataset", "start_from", "also"])
def test_names_in_params_reach_no_path_and_no_pipeline(project: Project, key: str, name: str) -> None:
    path = project.params_of(NAME)
    change_params(path, **{key: [name] if key == "also" else name})
    with pytest.raises(ReproError, match=r"not a|unknown|key"):
        load_experiment(project, NAME)
    sync(project)  # a broken folder keeps no pipeline, and the others theirs
    pipeline = yaml.safe_load((project.root / "dvc.yaml").read_text())
    assert f"experiments/{NAME}" not in pipeline["stages"]
    assert not (project.experiment_folder(NAME) / "dvc.yaml").exists()
    if key == "start_from":
        with pytest.raises(ReproError, match="not a name"):
            stages_of(project, NAME)
    if key == "dataset":
        with pytest.raises(ReproError, match="not a data set"):
            make_job(project, _estimate())


def _estimate() -> Estimate:
    fields = dict.fromkeys(Estimate.__dataclass_fields__, 0)
    return Estimate(**fields | {"name": NAME})  # type: ignore[arg-type]


@pytest.mark.parametrize("block", ["dataset", "split"])
def test_names_in_the_shared_params_are_checked(project: Project, block: str) -> None:
    shared = yaml.safe_load(project.params.read_text())
    if block == "dataset":
        shared["datasets"]["../evil"] = shared["datasets"]["synthetic"]
    else:
        shared["datasets"]["synthetic"]["splits"]["../evil"] = 1
    project.params.write_text(yaml.safe_dump(shared))
    with pytest.raises(ReproError, match=r"not a data set|key 'splits"):
        sync(project) if block == "dataset" else load_experiment(project, NAME)


def test_a_folder_that_cannot_be_a_stage_is_named_and_stops_no_other(project: Project) -> None:
    shutil.copytree(project.experiment_folder(NAME), project.experiments / "-a copy")
    declared, broken = declared_experiments(project)
    assert list(declared) == [NAME]
    assert "not a name" in str(broken["-a copy"])
    assert "repro record -a" not in dict(drift(project))[project.root / "dvc.yaml"]


@pytest.mark.parametrize("text", ["..", "-f", "--help", "a -b", "a\tb", "a  b", ".hidden", "a;b", "x" * 65])
def test_a_typed_name_is_checked_as_well(text: str) -> None:
    with pytest.raises(ParamsError, match="not an experiment name"):
        experiment_name(text)


@pytest.mark.parametrize("field", ["name", "dataset", "run_key"])
def test_a_journal_with_such_a_name_counts_for_nothing(tmp_path: Path, field: str) -> None:
    run = asdict(Run(name="a", dataset="b", run_key=KEY)) | {field: "../../x"}
    line = {"kind": "run", "at": 1.0, **start_fields(Run(name="a", dataset="b", run_key=KEY)), "run": run}
    (tmp_path / "journal.jsonl").write_text(json.dumps(line) + "\n")
    assert read_state(tmp_path / "journal.jsonl") is None


@pytest.mark.parametrize("noted", [{"../x": {"champion": "a"}}, {"camvid": {"champion": "-f"}}])
def test_champions_are_plain_names(project: Project, noted: Mapping[str, object]) -> None:
    champions_file(project).write_text(yaml.safe_dump(dict(noted)))
    with pytest.raises(ParamsError, match="invalid entry"):
        champions(project)


def test_the_id_of_a_run_on_a_server_names_no_folder(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.tracking import run_reader
    from repro.tracking.run_reader import StoredRun
    from repro.tracking.run_writer import RECORD

    run = StoredRun(
        id="../../evil", name="a", experiment="b", status="FINISHED", started=0, tags={RECORD: "x"}
    )
    folders: list[Path] = []

    def fetch(client: object, run: object, folder: Path) -> Any:
        folders.append(folder)
        return SimpleNamespace(experiment="a")

    monkeypatch.setattr(run_reader, "read_runs", lambda project, uri: [run])
    monkeypatch.setattr(run_reader, "open_client", lambda project, uri: None)
    monkeypatch.setattr(run_reader, "_fetch", fetch)
    run_reader.stored_records(project)
    assert [folder.name for folder in folders] == ["0"]


def test_the_target_of_a_link_is_never_deleted(project: Project, tmp_path: Path) -> None:
    """Regression: a link can be committed in an ignored folder, and `repro gc --yes` deleted its target."""
    shutil.rmtree(project.root / ".repro", ignore_errors=True)
    (project.root / ".repro").mkdir()
    for name in ("tmp", "work", "import", "replay", "smoke"):
        (project.root / ".repro" / name).symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / NAME).mkdir()
    assert list(garbage(project, older_than=0)) == []
    for kind in ("import", "replay", "smoke"):
        with pytest.raises(ReproError, match="leads out of the folder"):
            project.cache_folder(kind, NAME)


def test_a_run_is_not_brought_in_behind_a_link(project: Project, tmp_path: Path) -> None:
    bundle = export_run(project, NAME, tmp_path / "outside" / "a.zip").path
    folder, target = project.experiment_folder(NAME), tmp_path / "outside" / "theirs"
    (folder / "overlays").mkdir(exist_ok=True)
    folder.rename(target)
    folder.symlink_to(target)
    before = content(target)
    with pytest.raises(ReproError, match="leads out of the folder"):
        import_run(project, bundle)
    assert content(target) == before


@pytest.mark.parametrize("line", [[NAME], [NAME, "other"]])
def test_a_circle_of_starts_is_said(project: Project, line: list[str]) -> None:
    """Regression: smoke runs never ended and plans hit the recursion limit; DVC fails for every target."""
    for name, start in zip(line, [*line[1:], line[0]], strict=True):
        if name != NAME:
            shutil.copytree(project.experiment_folder(NAME), project.experiment_folder(name))
        change_params(project.params_of(name), start_from=start)
    with pytest.raises(ParamsError, match="is a cycle"):
        load_experiment(project, NAME)
    sync(project)
    assert f"experiments/{NAME}" not in yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("own", ["a' or tags.x = '", "../x", "", "A" * 16])
def test_the_id_of_a_clone_is_not_part_of_a_question(project: Project, own: str) -> None:
    path = project.root / ".repro" / "clone.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"id": own, "path": str(project.root.resolve())}))
    assert owner_of(project).clone != own


# --- the functions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*HOSTILE, ".", ".git", "a\nb", "a\n", None, 3])
def test_what_is_not_a_plain_name(tmp_path: Path, name: object) -> None:
    assert not is_plain_name(name)
    with pytest.raises(ReproError, match="not a name"):
        plain_name(name)
    with pytest.raises(ReproError, match="not a name"):
        plain_path(tmp_path, "a", name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["camvid_r18_os16", "a", "0", "_x", "a.b-c+d", "x" * 200, "ä", "a b"])
def test_what_is_one(tmp_path: Path, name: str) -> None:
    assert plain_path(tmp_path, name, "b") == tmp_path / name / "b"


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "out").symlink_to(tmp_path)
    assert require_inside(tmp_path / "in", tmp_path / "in" / "a").name == "a"
    with pytest.raises(ReproError, match="leads out"):
        require_inside(tmp_path / "in", tmp_path / "in" / "out" / "x")
