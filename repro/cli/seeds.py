"""`repro run NAME --seeds N`: the same experiment with other seeds, and what their spread says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repro.params import Experiment, Project


def run_seeds(project: Project, experiment: Experiment, seeds: int, device: str) -> None:
    """Run NAME and NAME_seed1...; then NAME's record and MLflow's parent run are made from all of them."""
    from repro.cli.run import each, run_chain

    each(seed_family(project, experiment, seeds), lambda seed: run_chain(project, seed, device))


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
