"""`repro run NAME --seeds 3` for real: three trainings, their spread in the record, one family in MLflow."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import pytest
import yaml

from repro.cli.results.show import result
from repro.params import Project, load_experiment
from repro.records import Record, read_record
from repro.records.build import with_seed_statistics
from repro.reports.results import load_results
from repro.reports.tables import dataset_tables
from repro.stages import local_runner
from repro.stages.seeds import run_seeds
from repro.stages.smoke import smoke_project
from repro.tracking.store import open_client
from tests.reports.kit import a_record

pytestmark = [  # MLflow's own
    pytest.mark.mlflow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

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
    seeds = with_seed_statistics(one, [one, two]).seeds
    assert seeds is not None
    assert (seeds.mean, seeds.sd, seeds.half) == (50.5, 0.7071, None)
