"""Replicate an experiment with other seeds: create copies, run them, report the spread."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from repro.errors import CheckFailed, ParamsError
from repro.fleet.check_bundle import difference
from repro.fleet.workspace import has_dvc, run_dvc
from repro.params import AnyExperiment, Project, experiment_name, load_experiment, to_plain
from repro.params.names import SEED_COPY
from repro.records import read_record, write_text
from repro.records.build import measured_value
from repro.records.record import Seeds
from repro.records.verdict import mean_half_width
from repro.scaffold.dvc_files import sync
from repro.stages.pipeline import each, run_pipeline
from repro.stages.reporter import SILENT, Reporter, Say
from repro.stages.summary import show_in_mlflow

MOST = 8  # seeds of `--seeds until:WIDTH` without --max
OWN = ("name", "seed", "note", "expect", "rows", "also")  # parameters in which the copies may differ
SEED, DATASET = (re.compile(rf"""(['"]?){key}\1\s*:""") for key in ("seed", "dataset"))  # in params.yaml


@dataclass(frozen=True, kw_only=True)
class SeedPlan:
    """How many seeds to run: `most`, or fewer where the mean is known well enough before."""

    most: int = 1
    until: float | None = None  # half of the mean's 95 % confidence interval, in points

    @property
    def several(self) -> bool:
        return self.most > 1


def seed_plan(text: str, most: int | None = None) -> SeedPlan:
    """Parse "3" or "until:0.5"; `most` (default: 8) is the largest number of seeds of the latter.

    Raises:
        ParamsError: the text is neither, or `most` is given for a fixed number.
    """
    allowed = "a number from 1, or until:WIDTH, such as until:0.5"
    wrong = ParamsError(f"not a number of seeds: '{text}'", where="--seeds", allowed=allowed)
    if text.isdecimal() and int(text) > 0:
        if most is not None:
            raise ParamsError(
                "--max is for --seeds until:WIDTH", where="--max", hint=f"--seeds {text} runs {text}"
            )
        return SeedPlan(most=int(text))
    if not text.startswith("until:"):
        raise wrong
    try:
        half = float(text.removeprefix("until:"))
    except ValueError:
        raise wrong from None
    if not 0 < half < 100:
        raise wrong
    if most is not None and most < 3:
        raise ParamsError("fewer than three seeds have no interval", where="--max", allowed="3 or more")
    return SeedPlan(most=most or MOST, until=half)


def run_plan(
    project: Project,
    experiment: AnyExperiment,
    plan: SeedPlan,
    device: str,
    reporter: Reporter = SILENT,
    *,
    stdout: int | None = None,
) -> None:
    """Run the seeds of a plan, see `run_seeds` and `run_seeds_until`."""
    if plan.until is None:
        return run_seeds(project, experiment, plan.most, device, reporter, stdout=stdout)
    run_seeds_until(project, experiment, plan.until, plan.most, device, reporter, stdout=stdout)


def run_seeds_until(
    project: Project,
    experiment: AnyExperiment,
    half: float,
    most: int,
    device: str,
    reporter: Reporter = SILENT,
    *,
    stdout: int | None = None,
) -> None:
    """Add seeds until half of the mean's 95 % confidence interval is below `half` points, or `most` ran.

    Seeds that ran before count, so that an interrupted command continues.
    """
    values: dict[str, float] = {}
    try:
        for number in range(most):
            member = seed_copy(project, experiment, number) if number else experiment
            run_pipeline(project, member, device, reporter, stdout=stdout)
            values |= measured_seeds(project, member)
            reached = mean_half_width(list(values.values()))
            reporter.say(f"{experiment.name}: {progress_text(list(values.values()), half, most)}")
            if reached is not None and reached < half:
                return
    finally:
        report_seeds(project, [experiment], reporter.say, reporter.note)


def measured_seeds(project: Project, member: AnyExperiment) -> dict[str, float]:
    """The compared number of a seed by its name; {} if it has none."""
    record = read_record(project.record(member.name))
    value = measured_value(record.metrics, record.expectation)
    return {} if value is None else {member.name: value}


def progress_text(values: Sequence[float], half: float, most: int) -> str:
    """'3 of at most 8 seeds: mean 50.12 ± 0.61, wanted below 0.5'."""
    count, reached = len(values), mean_half_width(values)
    begun = f"{count} of at most {most} seeds"
    if reached is None:
        return f"{begun}; three have an interval"
    wanted = "enough: below" if reached < half else "wanted: below"
    return f"{begun}: mean {fmean(values):.2f} ± {reached:.2f} (95 % confidence interval), {wanted} {half:g}"


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
