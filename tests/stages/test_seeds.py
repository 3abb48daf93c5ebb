"""`repro run NAME --seeds 3` for real: three trainings, their spread in the record, one family in MLflow."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import pytest
import yaml
from scipy.special import stdtrit

from repro.cli.results.show import result
from repro.errors import ParamsError
from repro.params import AnyExperiment, Project, load_experiment
from repro.records import Record, read_record, write_record
from repro.records.build import with_seed_statistics
from repro.reports.grid import Grid
from repro.reports.results import load_results
from repro.reports.tables import dataset_tables
from repro.stages import local_runner, seeds
from repro.stages.record import record_experiment
from repro.stages.reporter import SILENT
from repro.stages.seeds import SeedPlan, run_plan, run_seeds, seed_plan
from repro.stages.smoke import smoke_project
from repro.tracking.store import open_client
from tests.reports.kit import a_project, a_record

pytestmark = [  # MLflow's own
    pytest.mark.mlflow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

ROOT = Path(__file__).parents[2]
NAME = "synthetic_mobilenetv2_os16"
FAMILY = (NAME, f"{NAME}_seed1", f"{NAME}_seed2")
T_2 = 4.3027  # 97.5 % quantile of Student's t with two degrees of freedom


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project without DVC in which one command ran three seeds of an experiment of three updates."""
    root, home = Path(__file__).parents[2], tmp_path_factory.mktemp("seeds")
    (home / "experiments").mkdir()
    project, shrunk = smoke_project(Project(home), load_experiment(Project(root), NAME))
    path = project.root / shrunk.folder / "params.yaml"
    expect = {"mIoU": 0.0, "band": 100.0, "source": "anything will do"}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"expect": expect}, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("repro.tracking.mirror.Mirror._start", lambda mirror: None)  # the record brings it
        patch.setattr(local_runner, "run_stages", partial(local_runner.run_stages, bench_seconds=0.1))
        run_seeds(project, load_experiment(project, NAME), 3, "cpu")
    return project


def records(project: Project) -> list[Record]:
    return [read_record(project.record(name)) for name in FAMILY]


@pytest.mark.slow
def test_every_seed_is_an_experiment_with_separate_weights(trained: Project) -> None:
    found = records(trained)
    assert [record.params["seed"] for record in found] == [0, 1, 2]
    assert len({record.model_sha256 for record in found}) == 3
    assert len({record.family_key for record in found}) == 1
    assert all((trained.experiments / name / "dvc.yaml").is_file() for name in FAMILY[1:])


@pytest.mark.slow
def test_the_record_holds_mean_deviation_and_t_interval(trained: Project) -> None:
    found = records(trained)
    values = {record.experiment: record.metrics["mIoU"] for record in found}
    seeds = found[0].seeds
    assert seeds is not None
    assert (seeds.metric, dict(seeds.values)) == ("mIoU", values)
    assert seeds.mean == pytest.approx(fmean(values.values()), abs=1e-4)
    assert seeds.sd == pytest.approx(stdev(values.values()), abs=1e-4)
    assert seeds.half == pytest.approx(T_2 * stdev(values.values()) * math.sqrt(4 / 3), abs=1e-3)
    assert "judged by the mean of 3 seeds" in found[0].notes


@pytest.mark.slow
def test_recording_an_unchanged_result_again_changes_its_provenance_alone(trained: Project) -> None:
    """And the hash over all of it; no table and no other file of the project moves."""

    def kept() -> dict[str, bytes]:
        found = {path.relative_to(trained.root): path for path in trained.root.rglob("*") if path.is_file()}
        return {
            name.as_posix(): path.read_bytes() for name, path in found.items() if name.parts[0] != ".repro"
        }

    def grids() -> list[Grid]:
        return dataset_tables(load_results(trained), "synthetic")

    record = trained.record(NAME).relative_to(trained.root).as_posix()
    before, tables = kept(), grids()
    record_experiment(trained, load_experiment(trained, NAME))
    after = kept()
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {record}
    old, new = (json.loads(one[record]) for one in (before, after))
    assert {key for key in old | new if old.get(key) != new.get(key)} <= {"provenance", "content_hash"}
    assert grids() == tables


@pytest.mark.slow
def test_show_and_table_print_the_spread(trained: Project) -> None:
    seeds = records(trained)[0].seeds
    assert seeds is not None
    assert seeds.half is not None
    shown = result(records(trained)[0])["seeds"]
    low, high = seeds.mean - seeds.half, seeds.mean + seeds.half
    assert shown == (
        f"mIoU of 3 seeds: mean {seeds.mean:.2f}, sd {seeds.sd:.2f}, "
        f"95 % prediction interval {low:.2f} to {high:.2f}"
    )
    (table,) = dataset_tables(load_results(trained), "synthetic")
    column = table.columns.index("seeds")
    assert {row[column] for row in table.rows} == {f"{seeds.mean:.2f} ± {seeds.sd:.2f} (3)"}


@pytest.mark.slow
def test_mlflow_shows_them_as_children_of_one_run(trained: Project) -> None:
    client = open_client(trained)
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    children = {run.info.run_name: run.data.tags.get("mlflow.parentRunId") for run in runs}
    (parent,) = [run for run in runs if run.info.run_name == f"{NAME} (seeds)"]
    assert {children[name] for name in FAMILY} == {parent.info.run_id}
    seeds = records(trained)[0].seeds
    assert seeds is not None
    assert parent.data.metrics["mIoU_mean"] == pytest.approx(seeds.mean, abs=1e-4)
    assert parent.data.metrics["mIoU_std"] == pytest.approx(seeds.sd, abs=1e-4)
    assert parent.info.status == "FINISHED"


def test_one_seed_has_no_spread_and_two_have_no_interval() -> None:
    made = [a_record(f"x_seed{seed}", metrics={"mIoU": 50.0 + seed}) for seed in (0, 1)]
    one, two = (replace(record, params={**record.params, "seed": i}) for i, record in enumerate(made))
    assert with_seed_statistics(one, [one]).seeds is None
    found = with_seed_statistics(one, [one, two]).seeds
    assert found is not None
    assert (found.mean, found.sd, found.half) == (50.5, 0.7071, None)


def test_a_plan_of_seeds_is_a_number_or_a_width() -> None:
    assert seed_plan("3") == SeedPlan(most=3)
    assert seed_plan("until:0.5") == SeedPlan(most=8, until=0.5)
    assert seed_plan("until:2", 5) == SeedPlan(most=5, until=2.0)
    for text, most in (("0", None), ("-1", None), ("x", None), ("until:", None), ("until:0", None)):
        with pytest.raises(ParamsError, match="not a number of seeds"):
            seed_plan(text, most)
    for text, most in (("until:nan", None), ("until:inf", None), ("1.5", None), ("until:-1", None)):
        with pytest.raises(ParamsError, match="not a number of seeds"):
            seed_plan(text, most)
    with pytest.raises(ParamsError, match="--max is for"):
        seed_plan("3", 4)
    with pytest.raises(ParamsError, match="fewer than three seeds"):
        seed_plan("until:0.5", 2)


@pytest.mark.parametrize(
    ("values", "half", "ran"),
    [
        ([50.0, 50.1, 50.2, 50.1], 0.5, 3),  # t(2) * 0.1 / sqrt(3) = 0.25
        ([50.0, 51.0, 49.0, 50.0, 50.0, 50.0], 1.1, 5),  # 2.48, 1.30, 0.88
        ([40.0, 60.0, 40.0, 60.0], 0.5, 4),  # not reached
    ],
)
def test_seeds_are_added_until_the_mean_is_known(
    values: list[float], half: float, ran: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of planted numbers; what trains is replaced, since no training has a known spread."""
    project = a_project(tmp_path, a_record("camvid_own", row=None))
    shutil.copy(ROOT / "params.yaml", project.params)
    base, said, started = load_experiment(project, "camvid_own"), list[str](), list[str]()

    def run(project: Project, member: AnyExperiment, *_: object, **__: object) -> None:
        value = values[len(started)]
        started.append(member.name)
        write_record(project.record(member.name), a_record(member.name, row=None, metrics={"mIoU": value}))

    monkeypatch.setattr(seeds, "run_pipeline", run)
    monkeypatch.setattr(seeds, "report_seeds", lambda *_: None)
    run_plan(project, base, SeedPlan(most=len(values), until=half), "cpu", replace(SILENT, say=said.append))
    assert started == ["camvid_own", *(f"camvid_own_seed{number}" for number in range(1, ran))]
    reached = stdtrit(ran - 1, 0.975) * stdev(values[:ran]) / math.sqrt(ran)
    assert (reached < half) == (ran < len(values))
    assert said[1] == f"camvid_own: 2 of at most {len(values)} seeds; three have an interval"
    assert f"mean {fmean(values[:ran]):.2f} ± {reached:.2f}" in said[-1]
