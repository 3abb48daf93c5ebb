"""`repro new` and `repro sync`: folders, template copies and root stages."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from repro.cli.app import app
from repro.cli.reporter import note
from repro.errors import CheckFailed, ParamsError, UnknownNameError
from repro.params import Project
from repro.scaffold.dvc_files import drift, sync
from repro.scaffold.new import new_experiment, settings_text
from repro.stages.inputs_ready import regenerate_files
from repro.stages.seeds import with_seed
from tests.kit import PUBLISHED, copy_pages
from tests.params.test_params import OWN
from tests.params.test_params import ROOT as BLOCKS

ROOT = Path(__file__).parents[2]
BORROWED_REMARK = re.compile(r"links? (is the|are cop)|links are copies")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose one experiment stands for the published rows 001-06 and 003-028."""
    folder = tmp_path / "experiments" / "tiny_r18_os16"
    folder.mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("datasets: {tiny: {}, other: {}}\n")
    copy_pages(tmp_path)
    (folder / "params.yaml").write_text("# heading\ndataset: tiny\nrows: ['001-06', '003-028']\nexpect: {}\n")
    return Project(tmp_path)


def root_stages(project: Project) -> dict[str, dict[str, object]]:
    stages: dict[str, dict[str, object]] = yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"]
    return stages


def test_sync_writes_copies_and_root_stages_once(project: Project) -> None:
    assert {p.relative_to(project.root).as_posix() for p in sync(project)} == {
        "dvc.yaml",
        "experiments/tiny_r18_os16/dvc.yaml",
    }
    assert sync(project) == []
    assert list(root_stages(project)) == ["data", "prepare", "experiments/tiny_r18_os16", "tables"]
    assert root_stages(project)["data"]["foreach"] == ["other", "tiny"]
    assert list(root_stages(project)["prepare"]["foreach"]) == ["other", "tiny"]


def test_record_stage_depends_on_its_rows_alone(project: Project) -> None:
    sync(project)
    assert root_stages(project)["experiments/tiny_r18_os16"]["params"] == [
        {"experiments/tiny_r18_os16/params.yaml": ["rows", "expect"]},
        {"published/001.json": ["rows.001-06"]},
        {"published/003.json": ["rows.003-028"]},
    ]


def test_a_run_renews_what_an_edit_made_stale(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """DVC itself would stop: "Parameters 'expect' are missing"."""
    regenerate_files(project, note)
    assert not (project.root / "dvc.yaml").exists(), "a project without DVC stays so"
    sync(project)
    params = project.experiments / "tiny_r18_os16" / "params.yaml"
    params.write_text(params.read_text().replace("expect: {}\n", ""))
    regenerate_files(project, note)
    assert capsys.readouterr().err == "regenerated dvc.yaml (params.yaml changed)\n"
    listed = root_stages(project)["experiments/tiny_r18_os16"]["params"]
    assert listed[0] == {"experiments/tiny_r18_os16/params.yaml": ["rows"]}  # type: ignore[index]
    regenerate_files(project, note)
    assert capsys.readouterr().err == ""


def test_further_protocols_are_a_stage_and_a_dependency_of_the_record(project: Project) -> None:
    copy = with_templates(project, "also: [page003_321]\n")
    stages = yaml.safe_load(copy)["stages"]
    assert list(stages) == ["train", "evaluate", "benchmark", "also"]
    assert stages["also"]["do"]["cmd"] == "repro evaluate . --protocol ${item}"
    deps = root_stages(project)["experiments/tiny_r18_os16"]["deps"]
    assert "experiments/tiny_r18_os16/also/page003_321/metrics.json" in deps  # type: ignore[operator]


def test_released_weights_are_a_stage_that_nothing_needs(project: Project) -> None:
    """Row 004-01 links its own weights; 004-05 repeats the link of 004-01."""
    stages = yaml.safe_load(with_templates(project, "rows: ['004-01']\n"))["stages"]
    assert list(stages) == ["train", "evaluate", "benchmark", "released"]
    assert stages["released"]["params"][-1] == {"../../published/004.json": ["rows.004-01"]}
    made = {out for stage in stages.values() for out in _files(stage["outs"])}
    needed = {dep for stage in stages.values() for dep in stage["deps"]}
    assert "released.json" in made - needed
    assert "released" not in str(root_stages(project))
    assert "released" not in yaml.safe_load(with_templates(project, "rows: ['004-05']\n"))["stages"]


def _files(outs: list[str | dict[str, object]]) -> list[str]:
    return [out if isinstance(out, str) else next(iter(out)) for out in outs]


def with_templates(project: Project, more: str) -> str:
    """The dvc.yaml of the tiny experiment with `more` in its params.yaml."""
    folder = project.experiments / "tiny_r18_os16"
    (folder / "params.yaml").write_text(f"dataset: tiny\n{more}")
    sync(project)
    return (folder / "dvc.yaml").read_text()


def test_a_link_is_borrowed_where_the_page_says_so() -> None:
    """Rows whose remarks say that the link is another row's, and no other row with a link."""
    told = {
        row.id
        for row in PUBLISHED.rows.values()
        if "model" in row.links and any(BORROWED_REMARK.search(remark) for remark in row.remarks)
    }
    assert told == {row.id for row in PUBLISHED.rows.values() if row.weights_of}


def test_new_copies_with_comments_and_adds_the_stage(project: Project) -> None:
    source = project.experiments / "tiny_r18_os16" / "params.yaml"
    source.write_text(source.read_text() + "# about the batch\ntraining: {batch: 2}  # two\n")
    path = new_experiment(project, "tiny_r50_os16", "experiments/tiny_r18_os16/")
    heading = path.read_text().partition("dataset:")[0]
    assert heading.startswith("# Copied from tiny_r18_os16,")
    assert "Not a published row" in heading, (
        "as tests/params/test_experiments.py wants it of one without `rows:`"
    )
    assert path.read_text().endswith("dataset: tiny\n# about the batch\ntraining: {batch: 2}  # two\n")
    assert "experiments/tiny_r50_os16" in root_stages(project)
    assert list(drift(project)) == []


@pytest.mark.parametrize(("name", "told"), [("tiny_r50_os16", False), ("other_r18_os16", True)])
def test_new_says_that_the_data_set_is_still_that_of_the_other(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str, told: bool
) -> None:
    monkeypatch.chdir(project.root)
    answer = CliRunner().invoke(app, ["new", name, "--like", "tiny_r18_os16", "--json"])
    assert json.loads(answer.stdout)["experiment"] == name
    assert ("`dataset: tiny`" in answer.stderr) == told
    assert answer.exit_code == 0


CLAIMING = """\
# Published 50 mIoU
# (page 003).

dataset: tiny  # the small one
rows:
  - 001-06
  - 003-028  # twice on the page
# about the seed
seed: 0
expect: {mIoU: 50.0, band: 1.0,
  source: "measured"}
note: >
  one line
  and another
training:
  # kept
  lr: 0.1
"""


def test_a_copy_claims_neither_rows_nor_numbers() -> None:
    kept = "dataset: tiny  # the small one\n# about the seed\nseed: 0\ntraining:\n  # kept\n  lr: 0.1\n"
    assert settings_text(CLAIMING) == kept
    assert settings_text("rows:\n- 001-06\n- 003-028\nseed: 0\nnote: |\n  x\n") == "seed: 0\n"


def test_another_seed_keeps_rows_and_is_not_a_second_claim(project: Project) -> None:
    source = project.experiments / "tiny_r18_os16" / "params.yaml"
    copy = project.experiments / "tiny_r18_os16_seed1" / "params.yaml"
    copy.parent.mkdir()
    copy.write_text(with_seed(source.read_text(), 1))
    assert yaml.safe_load(copy.read_text())["rows"] == ["001-06", "003-028"]
    sync(project)
    assert "experiments/tiny_r18_os16_seed1" in root_stages(project)


@pytest.mark.parametrize("name", ["tiny_r50_os16", "other_r18_os16_seed1"])
def test_a_row_that_two_experiments_claim_is_named_with_both(project: Project, name: str) -> None:
    (project.experiments / name).mkdir()
    (project.experiments / name / "params.yaml").write_text("dataset: tiny\nrows: [003-028]\n")
    for attempt in (lambda: list(drift(project)), lambda: sync(project)):
        with pytest.raises(ParamsError, match="row 003-028 is claimed by") as caught:
            attempt()
        assert "'tiny_r18_os16'" in caught.value.what
        assert f"'{name}'" in caught.value.what
    assert not (project.root / "dvc.yaml").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("[003-999]", ["unknown published row '003-999'", "did you mean '003-09"]),
        ("003-028", ["key 'rows': got '003-028'", "`rows: [003-028]`"]),
        ("", ["key 'rows': got None", "a list"]),
    ],
)
def test_a_row_that_no_page_has_is_an_error_and_stops_no_other(
    project: Project, monkeypatch: pytest.MonkeyPatch, rows: str, words: list[str]
) -> None:
    add_whole(project)
    params = project.experiments / "tiny_r18_os16" / "params.yaml"
    params.write_text(f"dataset: tiny\nrows: {rows}\n")
    monkeypatch.chdir(project.root)
    found = CliRunner().invoke(app, ["sync", "--files"])
    assert isinstance(found.exception, ParamsError)
    assert all(word in str(found.exception) for word in [*words, str(params)]), str(found.exception)
    assert "experiments/whole_r18/dvc.yaml" in found.stdout


def add_whole(project: Project) -> Path:
    """An experiment that can be resolved, and the blocks it names; its params.yaml."""
    project.params.write_text(yaml.safe_dump(BLOCKS))
    params = project.experiments / "whole_r18" / "params.yaml"
    params.parent.mkdir()
    params.write_text(yaml.safe_dump(OWN))
    return params


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("traning: {lr: 1}\n", ["unknown key 'traning'", "did you mean 'training'"]),
        ("x: [\n", ["not valid YAML"]),
        ("x: " + "[" * 100_000 + "\n", ["too many levels", "at most 50 nested levels"]),
        ("a: &a [*a]\n", ["the alias *a refers to itself"]),
        ("seed: 1\n", ["duplicate key 'seed'"]),
        ("expect: " + "9" * 5000 + "\n", ["a number has 5000 characters", "at most 40"]),
    ],
    ids=["misspelt", "YAML", "deep", "alias", "twice", "digits"],
)
def test_a_broken_folder_is_named_and_stops_no_other(
    project: Project, monkeypatch: pytest.MonkeyPatch, wrong: str, words: list[str]
) -> None:
    add_whole(project)
    broken = project.experiments / "tiny_r18_os16" / "params.yaml"
    broken.write_text(yaml.safe_dump(OWN) + wrong)
    monkeypatch.chdir(project.root)
    for arguments in (["sync", "--files"], ["sync", "--check"]):
        found = CliRunner().invoke(app, arguments)
        assert isinstance(found.exception, ParamsError)
        said = str(found.exception)
        assert all(word in said for word in ["tiny_r18_os16", str(broken), *words]), said
    assert (project.experiments / "whole_r18" / "dvc.yaml").is_file()
    assert "experiments/whole_r18" in root_stages(project)


def test_dvc_is_shown_no_file_that_it_would_stop_at(project: Project) -> None:
    """DVC reads the params.yaml beside every dvc.yaml, whatever it was asked for."""
    params = project.experiments / "tiny_r18_os16" / "params.yaml"
    text = params.read_text()
    sync(project)
    params.write_text("x: [")
    assert set(sync(project)) == {params.with_name("dvc.yaml"), project.root / "dvc.yaml"}
    assert not params.with_name("dvc.yaml").exists()
    assert "experiments/tiny_r18_os16" not in root_stages(project)
    params.write_text(text)
    sync(project)
    assert params.with_name("dvc.yaml").is_file()


def test_a_key_that_the_recipe_has_needs_no_line(project: Project) -> None:
    """DVC stops at a key that is listed and not there: "Parameters 'seed' are missing"."""
    stages = yaml.safe_load(with_templates(project, "also: [page003_321]\n"))["stages"]
    listed = [stages["train"], stages["evaluate"], stages["benchmark"], stages["also"]["do"]]
    keys = {key for stage in listed for key in stage["params"] if isinstance(key, str)}
    assert keys == {"dataset", "recipe", "training", "evaluation"}
    stages = yaml.safe_load(with_templates(project, "seed: 1\nmodel: {}\n"))["stages"]
    assert {"seed", "model"} < set(stages["train"]["params"][:5])


def test_new_never_overwrites(project: Project) -> None:
    with pytest.raises(ParamsError, match="exists"):
        new_experiment(project, "tiny_r18_os16", "tiny_r18_os16")


@pytest.mark.parametrize("name", ["Tiny", "tiny-r18", "_x"])
def test_new_refuses_odd_names(project: Project, name: str) -> None:
    with pytest.raises(ParamsError, match="not a"):
        new_experiment(project, name, "tiny_r18_os16")


def test_new_from_an_unknown_one_suggests(project: Project) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tiny_r18_os16'"):
        new_experiment(project, "tiny_r50_os16", "tiny_r18_os8")


def test_no_stage_of_a_chain_keeps_a_run_cache(project: Project) -> None:
    """`ds://` first, or `dvc repro --dry` hashes the other inputs, which may not be there yet."""
    inner = yaml.safe_load(with_templates(project, "also: [page003_321]\nrows: ['004-01']\n"))["stages"]
    root = {name: stage for name, stage in root_stages(project).items() if name != "tables"}
    first = {name: stage.get("do", stage)["deps"][0] for name, stage in (inner | root).items()}
    assert set(first.values()) == {"ds://no-run-cache"}
    assert {"train", "evaluate", "benchmark", "also", "released", "prepare"} < set(first)


def test_generated_files_of_this_project_are_current() -> None:
    assert [path for path, _ in drift(Project(ROOT))] == []


def test_stale_files_as_one_document(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    add_whole(project)
    shutil.rmtree(project.experiments / "tiny_r18_os16")
    monkeypatch.chdir(project.root)
    found = CliRunner().invoke(app, ["sync", "--check", "--json"])
    wanted = {"stale": ["experiments/whole_r18/dvc.yaml", "dvc.yaml"], "broken": {}}
    assert json.loads(found.stdout) == wanted
    assert isinstance(found.exception, CheckFailed)
    sync(project)
    found = CliRunner().invoke(app, ["sync", "--check", "--json"])
    assert (found.exit_code, json.loads(found.stdout)) == (0, {"stale": [], "broken": {}})


def test_linked_data_survive_a_repetition(project: Project) -> None:
    """Without `persist` DVC deletes a data set, or the link to it, before its stage runs again."""
    sync(project)
    stages = yaml.safe_load((project.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert stages["data"]["do"]["outs"] == [{"data/${item}": {"cache": False, "persist": True}}]
