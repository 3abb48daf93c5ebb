"""What `repro run` goes through: many experiments, smoke runs, copies with other seeds."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from repro.cli.reporter import note
from repro.errors import CheckFailed, ParamsError, StorageError
from repro.params import Experiment, Project, experiment_names, load_experiment
from repro.stages.pipeline import each
from repro.stages.seeds import seed_family, with_seed, without_copies
from repro.stages.smoke import NOTE, own_params, representatives, run_smoke, shared_params, traits
from repro.training.schedule import length

NAME = "camvid_mobilenetv2_os16"


@pytest.mark.slow
def test_smoke_runs_every_stage_and_marks_it(tmp_path: Path, root: Path) -> None:
    (tmp_path / "experiments").mkdir()
    experiment = load_experiment(Project(root), NAME)
    run_smoke(Project(tmp_path), experiment, "cpu")
    home = tmp_path / ".repro" / "smoke" / NAME
    assert NOTE in (home / "SMOKE.txt").read_text()
    assert NOTE in (home / "experiments" / NAME / "params.yaml").read_text()
    made = {path.name for path in (home / "experiments" / NAME).iterdir()}
    assert made >= {"model.safetensors", "curve.csv", "metrics.json", "confusion.npz", "cost.json"}
    record = json.loads((home / "reports" / "rows" / f"{NAME}.json").read_text())
    assert (record["kind"], record["verdict"]) == ("smoke", "incomparable")
    assert NOTE in json.dumps(record)
    assert (
        f"{record['metrics']['mIoU']:.2f} (smoke run)"
        in (home / "reports" / "tables" / "camvid.md").read_text()
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [".repro", "experiments"]
    assert not list((tmp_path / "experiments").iterdir())


@pytest.mark.slow
def test_smoke_trains_first_what_an_experiment_starts_from(tmp_path: Path, root: Path) -> None:
    """And runs the protocols listed under `also`; nothing big stays behind when it is one of many."""
    base = load_experiment(Project(root), NAME)
    (tmp_path / "experiments" / NAME).mkdir(parents=True)
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())
    own = (root / "experiments" / NAME / "params.yaml").read_text()
    (tmp_path / "experiments" / NAME / "params.yaml").write_text(own)
    small = load_experiment(Project(tmp_path), NAME)
    second = replace(small, name="second", start_from=NAME, also={"more": base.protocol})
    run_smoke(Project(tmp_path), second, "cpu")
    folder = tmp_path / ".repro" / "smoke" / "second" / "experiments"
    assert (folder / NAME / "model.safetensors").is_file()
    assert not (folder / NAME / "metrics.json").exists()
    assert (folder / "second" / "also" / "smoke_more" / "metrics.json").is_file()
    run_smoke(Project(tmp_path), small, "cpu", keep=False)
    assert not (tmp_path / ".repro" / "smoke" / NAME).exists()


def test_smoke_without_names_shows_every_page_family_and_data_set(root: Path) -> None:
    """What CI runs: far fewer than all, and nothing that the pages have is missing."""
    every = [load_experiment(Project(root), name) for name in experiment_names(Project(root))]
    chosen = representatives(every)
    assert len(chosen) < 20
    shown = {(row[:3], e.model.family, e.model.backbone == "densenet") for e in chosen for row in e.rows}
    assert shown == {
        (row[:3], e.model.family, e.model.backbone == "densenet") for e in every for row in e.rows
    }
    assert {e.dataset for e in chosen} == {e.dataset for e in every}
    assert {e.start_from is None for e in chosen} == {True, False}
    assert {trait for e in chosen for trait in traits(e)} == {trait for e in every for trait in traits(e)}


def test_ci_runs_the_smoke(root: Path) -> None:
    targets = (root / "Makefile").read_text()
    assert "\nsmoke: setup" in targets
    assert "\n\trepro run --smoke\n" in targets
    assert "\nmake smoke\n" in (root / ".ci" / "run").read_text()
    assert "- run: make smoke\n" in (root / ".github" / "workflows" / "ci.yml").read_text()


def test_many_continue_after_one_that_failed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = load_experiment(Project(root), NAME)
    done: list[str] = []

    def do(experiment: Experiment) -> None:
        done.append(experiment.name)
        if experiment.name == "b":
            raise ZeroDivisionError("a mistake of ours")
        if experiment.name == "c":
            raise StorageError("no space")

    with pytest.raises(CheckFailed, match="2 of 4 experiments failed") as caught:
        each([replace(first, name=name) for name in "abcd"], do, note)
    assert "b, c" in str(caught.value)
    assert done == list("abcd")
    said = capsys.readouterr().err
    assert "2/4 b: Traceback" in said
    assert "3/4 c: no space" in said
    with pytest.raises(ZeroDivisionError):
        each([replace(first, name="b")], do, note)


@pytest.mark.slow
def test_every_experiment_shrinks_to_a_smoke_run(root: Path, tmp_path: Path) -> None:
    """The params of all of them, without running: resolvable, small, and the same choices."""
    from repro.datasets.prepare.smoke_fixtures import write_fixture
    from repro.params.experiment import resolve

    counts: dict[str, dict[str, int]] = {}
    for name in experiment_names(Project(root)):
        e = load_experiment(Project(root), name)
        if e.dataset not in counts:
            counts[e.dataset] = write_fixture(e.dataset, tmp_path / e.dataset)
        shared = shared_params([e], {e.dataset: e.facts}, counts)
        small = resolve(name, own_params(e), shared, Project(root).params_of(name))
        assert length(small.training, images=small.facts.splits[e.training.split]).iterations == 3
        assert (small.training.optimizer, small.training.heads) == (e.training.optimizer, e.training.heads)
        assert small.protocol.mode == e.protocol.mode
        assert max(small.augmentation.crop) <= 65
        assert not small.rows
        assert (small.start_from, small.seed) == (e.start_from, e.seed)


@pytest.fixture
def one_experiment(tmp_path: Path, root: Path) -> Project:
    """A project of one experiment that can be copied."""
    (tmp_path / "experiments" / NAME).mkdir(parents=True)
    for path in ("params.yaml", f"experiments/{NAME}/params.yaml"):
        shutil.copy(root / path, tmp_path / path)
    return Project(tmp_path)


def params_of(project: Project, name: str) -> Path:
    return project.experiments / name / "params.yaml"


def test_seeds_are_experiments_beside_the_first(one_experiment: Project) -> None:
    project = one_experiment
    family = seed_family(project, load_experiment(project, NAME), 3)
    assert [e.name for e in family] == [NAME, f"{NAME}_seed1", f"{NAME}_seed2"]
    assert [e.seed for e in family] == [0, 1, 2]
    assert all(replace(e, name="", seed=0) == replace(family[0], name="", seed=0) for e in family)
    again = seed_family(project, family[0], 3)
    assert again == family


def test_a_copy_without_its_seed_is_made_again(one_experiment: Project) -> None:
    """What a command leaves that was ended between the copy and its seed."""
    copy = params_of(one_experiment, f"{NAME}_seed1")
    copy.parent.mkdir()
    copy.write_text(params_of(one_experiment, NAME).read_text())
    family = seed_family(one_experiment, load_experiment(one_experiment, NAME), 2)
    assert [e.seed for e in family] == [0, 1]
    assert "seed: 1\n" in copy.read_text()


def test_a_copy_appears_with_its_seed(one_experiment: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended at any moment, there is no experiment that trains with another seed than its name says."""

    def interrupted(project: Project) -> None:
        assert load_experiment(project, f"{NAME}_seed1").seed == 1
        raise KeyboardInterrupt

    monkeypatch.setattr("repro.stages.seeds.sync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        seed_family(one_experiment, load_experiment(one_experiment, NAME), 2)


def test_seeds_follow_an_edit_of_the_first_until_they_are_measured(one_experiment: Project) -> None:
    project, source = one_experiment, params_of(one_experiment, NAME)
    (_, copy) = seed_family(project, load_experiment(project, NAME), 2)
    source.write_text(re.sub(r"lr: [\d.]+", "lr: 0.01", source.read_text()))
    base = load_experiment(project, NAME)
    (_, renewed) = seed_family(project, base, 2)
    assert (copy.training.lr != 0.01, renewed.training.lr, renewed.seed) == (True, 0.01, 1)
    (params_of(project, renewed.name).parent / "metrics.json").write_text("{}")
    source.write_text(
        source.read_text().replace("lr: 0.01", "lr: 0.02").replace("expect:", "note: x\nexpect:")
    )
    with pytest.raises(ParamsError, match=r"training\.lr: 0\.01 here, 0\.02 there"):
        seed_family(project, load_experiment(project, NAME), 2)
    source.write_text(source.read_text().replace("lr: 0.02", "lr: 0.01"))
    assert seed_family(project, load_experiment(project, NAME), 2)[1] == renewed, "a note is no parameter"


@pytest.mark.parametrize("text", ["dataset: x\nseed: 3\nb: 1\n", "'dataset': x\n\"seed\" : 3\nb: 1\n"])
def test_a_seed_replaces_another(text: str) -> None:
    assert yaml.safe_load(with_seed(text, 7)) == {"dataset": "x", "seed": 7, "b": 1}
    assert with_seed("b: 1\n", 7) == "seed: 7\nb: 1\n"


def test_all_means_experiments_and_not_their_seeds() -> None:
    assert without_copies(["a", "a_seed1", "a_seed12", "b_seed1", "c"]) == ["a", "b_seed1", "c"]
