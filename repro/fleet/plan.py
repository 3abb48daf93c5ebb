"""Which experiments, in which order: the cheapest first, as many as the budget holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from repro.errors import ParamsError
from repro.fleet.estimate import Estimate, estimate, progress
from repro.params import Experiment, Project, load_experiment
from repro.reports.results import load_results


def plan(
    project: Project,
    names: Sequence[str],
    *,
    speed: Callable[[Experiment], float],
    refused: Callable[[str, ParamsError], None] | None = None,
    budget: float | None = None,
    jobs: int = 1,
    again: bool = False,
) -> tuple[list[Estimate], list[Estimate]]:
    """(what to run in this order, what does not fit). `budget` is seconds of wall time for `jobs` at a time.

    Experiments with a record of what their params are now are left out unless `again`, and so are those that
    cannot run (a split is not in params.yaml): `refused` is told; a single one is a ParamsError.
    """
    measured = frozenset() if again else up_to_date(project)
    left = [name for name in names if name not in measured]
    done, costs = progress(project), list[Estimate]()
    for name in left:
        try:
            experiment = load_experiment(project, name)
            costs.append(estimate(experiment, speed=speed(experiment), done_iterations=done(experiment)))
        except ParamsError as error:
            if refused is None or len(names) == 1:
                raise
            refused(name, error)
    costs.sort(key=lambda one: (one.seconds, one.name))
    if budget is None:
        return costs, []
    free, fitting = [0.0] * jobs, []
    for one in costs:
        place = free.index(min(free))
        if free[place] + one.seconds <= budget:
            free[place] += one.seconds
            fitting.append(one)
    return fitting, [one for one in costs if one not in fitting]


def up_to_date(project: Project) -> frozenset[str]:
    """Experiments whose record is about what their params.yaml says now; a damaged record is none."""
    results = load_results(project)
    return frozenset(name for name in results.records if not results.judge.outdated(name))
