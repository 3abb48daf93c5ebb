"""Replicate an experiment with other seeds: create copies, run them, report the spread."""

from __future__ import annotations

import re
from collections.abc import Iterable

from repro.errors import CheckFailed, ParamsError
from repro.fleet.check_bundle import difference
from repro.fleet.workspace import has_dvc, run_dvc
from repro.params import AnyExperiment, Project, experiment_name, load_experiment, to_plain
from repro.params.names import SEED_COPY
from repro.records import read_record, write_text
from repro.records.record import Seeds
from repro.scaffold.dvc_files import sync
from repro.stages.pipeline import each, run_pipeline
from repro.stages.reporter import SILENT, Reporter, Say
from repro.stages.summary import show_in_mlflow

OWN = ("name", "seed", "note", "expect", "rows", "also")  # parameters in which the copies may differ
SEED, DATASET = (re.compile(rf"""(['"]?){key}\1\s*:""") for key in ("seed", "dataset"))  # in params.yaml


def run_seeds(
    project: Project,
    experiment: AnyExperiment,
    seeds: int,
    device: str,
    reporter: Reporter = SILENT,
    *,
    stdout: int | None = None,
) -> None:
    """Run NAME, NAME_seed1, ..., then update NAME's record and MLflow's parent run.

    `stdout` is the file descriptor for DVC's output, see `run_dvc`.
    """
    family = seed_family(project, experiment, seeds)
    try:
        each(family, lambda seed: run_pipeline(project, seed, device, reporter, stdout=stdout), reporter.note)
    finally:  # report what was measured even if a seed failed
        report_seeds(project, [experiment], reporter.say, reporter.note)


def without_copies(names: Iterable[str]) -> list[str]:
    """Remove copies whose original is in `names`: --all and patterns select experiments, not their seeds."""
    chosen = list(names)
    return [name for name in chosen if not SEED_COPY.search(name) or SEED_COPY.sub("", name) not in chosen]


def report_seeds(project: Project, experiments: Iterable[AnyExperiment], say: Say, note: Say) -> None:
    """Update the record of every measured experiment, and report the spread of its seeds."""
    for experiment in experiments:
        if project.record(experiment.name).is_file():
            record_again(project, experiment, note)
            say(f"{experiment.name}: {seeds_text(project, experiment) or 'one seed'}")


def record_again(project: Project, experiment: AnyExperiment, note: Say) -> None:
    """Build NAME's record again from all its seeds, through DVC if the project uses it."""
    if not has_dvc(project):
        from repro.stages.record import record_experiment  # imports torch

        return show_in_mlflow(project, record_experiment(project, experiment), note)
    # Standard output may be JSON.
    code = run_dvc(project, "repro", "--force", "--single-item", experiment.folder, stdout=2)
    if code:
        raise CheckFailed(f"the stage `record` failed (dvc exit code {code})", where=experiment.folder)


def seeds_text(project: Project, experiment: AnyExperiment) -> str:
    """'mIoU of 3 seeds: mean 50.12, sd 0.31, 95 % prediction interval 48.58 to 51.66', or ''."""
    found = read_record(project.record(experiment.name)).seeds
    return text_of(found) if found else ""


def text_of(seeds: Seeds) -> str:
    """Describe the seeds of a record in one line."""
    spread = f"{seeds.metric} of {len(seeds.values)} seeds: mean {seeds.mean:.2f}, sd {seeds.sd:.2f}"
    if seeds.half is None:
        return spread
    low, high = seeds.mean - seeds.half, seeds.mean + seeds.half
    return f"{spread}, 95 % prediction interval {low:.2f} to {high:.2f}"


def seed_family(project: Project, experiment: AnyExperiment, seeds: int) -> list[AnyExperiment]:
    """The experiment and its copies with the next seeds, NAME_seed1 and so on."""
    return [experiment, *(seed_copy(project, experiment, number) for number in range(1, seeds))]


def seed_copy(project: Project, base: AnyExperiment, number: int) -> AnyExperiment:
    """NAME_seedK, created from NAME; without results, an outdated copy is replaced.

    Raises:
        ParamsError: an outdated copy has results, or NAME's params.yaml has no replaceable seed.
    """
    name, seed = experiment_name(f"{base.name}_seed{number}"), base.seed + number
    source, path = (project.params_of(one) for one in (base.name, name))
    wrong = differing(load_experiment(project, name), base, seed) if path.exists() else ["no params.yaml"]
    if not wrong:
        return load_experiment(project, name)
    if has_results(project, name):
        hint = f"revert the edit of one of them, or delete {path.parent} and its record to run it again"
        raise ParamsError(f"'{name}' is not {base.name} with seed {seed}: {wrong[0]}", where=path, hint=hint)
    write_text(path, with_seed(source.read_text(encoding="utf-8"), seed))
    sync(project)
    copy = load_experiment(project, name)
    if copy.seed != seed:
        raise ParamsError("the seed could not be replaced", where=source, allowed="a line `seed: 0`")
    return copy


def differing(copy: AnyExperiment, base: AnyExperiment, seed: int) -> list[str]:
    """Parameters in which `copy` differs from `base` with `seed`."""
    plain = [{k: v for k, v in to_plain(one).items() if k not in OWN} for one in (copy, base)]
    return list(difference(plain[0] | {"seed": copy.seed}, plain[1] | {"seed": seed}))


def has_results(project: Project, name: str) -> bool:
    """Whether the experiment has weights, metrics or a record."""
    folder = project.experiment_folder(name)
    results = (folder / "model.safetensors", folder / "metrics.json", project.record(name))
    return any(path.is_file() for path in results)


def with_seed(params: str, seed: int) -> str:
    """The text of a params.yaml with another top-level seed; everything else is unchanged."""
    lines = [line for line in params.splitlines() if not SEED.match(line)]
    place = next((i for i, line in enumerate(lines, start=1) if DATASET.match(line)), 0)
    return "\n".join([*lines[:place], f"seed: {seed}", *lines[place:]]) + "\n"
