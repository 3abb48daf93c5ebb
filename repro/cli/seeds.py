"""`repro run NAME --seeds N`: the same experiment with other seeds, and what their spread says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repro.cli.common import console

if TYPE_CHECKING:
    from repro.params import Experiment, Project
    from repro.records.record import Seeds


def run_seeds(project: Project, experiment: Experiment, seeds: int, device: str) -> None:
    """Run NAME and NAME_seed1...; then NAME's record and MLflow's parent run are made from all of them."""
    from repro.cli.run import each, run_chain

    family = seed_family(project, experiment, seeds)
    try:
        each(family, lambda seed: run_chain(project, seed, device))
    finally:  # what was measured is told, also when a seed failed
        if (project.rows / f"{experiment.name}.json").is_file():
            record_again(project, experiment)
            console().print(f"{experiment.name}: {seeds_text(project, experiment) or 'one seed'}")


def record_again(project: Project, experiment: Experiment) -> None:
    """NAME's record once more, now that its other seeds are measured; through DVC where it made the first."""
    import subprocess
    import sys

    from repro.cli import record
    from repro.cli.run import has_dvc
    from repro.errors import CheckFailed
    from repro.records import write_record

    if not has_dvc(project):
        path = project.rows / f"{experiment.name}.json"
        return record.show_in_mlflow(project, write_record(path, record.build(project, experiment)))
    command = [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", experiment.folder]
    code = subprocess.run(command, cwd=project.root, check=False).returncode
    if code:
        raise CheckFailed(f"the record was not made again (dvc exit code {code})", where=experiment.folder)


def seeds_text(project: Project, experiment: Experiment) -> str:
    """'mIoU of 3 seeds: mean 50.12, sd 0.31, 95 % t-interval of one more run 48.58 to 51.66', or ''."""
    from repro.records import read_record

    found = read_record(project.rows / f"{experiment.name}.json").seeds
    return text_of(found) if found else ""


def text_of(seeds: Seeds) -> str:
    """One line about the seeds of a record."""
    spread = f"{seeds.metric} of {len(seeds.values)} seeds: mean {seeds.mean:.2f}, sd {seeds.sd:.2f}"
    if seeds.half is None:
        return spread
    low, high = seeds.mean - seeds.half, seeds.mean + seeds.half
    return f"{spread}, 95 % t-interval of one more run {low:.2f} to {high:.2f}"


def seed_family(project: Project, experiment: Experiment, seeds: int) -> list[Experiment]:
    """The experiment and its copies with the next seeds, NAME_seed1 and so on; copies are made once."""
    from repro.params import load_experiment
    from repro.records import write_text
    from repro.scaffold import new_experiment

    family = [experiment]
    for number in range(1, seeds):
        name = f"{experiment.name}_seed{number}"
        path = project.experiments / name / "params.yaml"
        if not path.exists():
            new_experiment(project, name, experiment.name)
            write_text(path, with_seed(path.read_text(), experiment.seed + number))
        family.append(load_experiment(project, name))
    return family


def with_seed(params: str, seed: int) -> str:
    """The text of a params.yaml with another top-level seed; comments and everything else stay."""
    lines = [line for line in params.splitlines() if not line.startswith("seed:")]
    place = next(i for i, line in enumerate(lines) if line.startswith("dataset:")) + 1
    return "\n".join([*lines[:place], f"seed: {seed}", *lines[place:]]) + "\n"
