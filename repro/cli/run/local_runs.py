"""The trainings of an experiment on this machine, by their journals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.errors import ReproError
    from repro.params import Experiment, Project


def runs(project: Project, experiment: Experiment) -> list[dict[str, Any]]:
    """Journals of this experiment in .repro/work."""
    from repro.tracking.run_info import read_state

    found = []
    for path in sorted(project.work.glob("*/journal.jsonl")):
        state = read_state(path)
        if state is not None and state.run.name == experiment.name:
            losses = [value for (metric, _), (value, _) in state.points.items() if metric == "train/loss"]
            one = {"run_key": state.run.run_key, "status": state.status, "iteration": state.steps}
            found.append(one | {"losses": thin(losses, 48), "journal": str(path)})
    return found


def no_run(project: Project, experiment: Experiment) -> ReproError:
    """The error for an experiment that never ran on this machine; it names those that did."""
    from repro.errors import ReproError
    from repro.tracking.run_info import read_state

    states = map(read_state, project.work.glob("*/journal.jsonl"))
    names = sorted({state.run.name for state in states if state is not None})
    listed = ", ".join(names[:20]) + (f", ... ({len(names)} in total)" if len(names) > 20 else "")
    return ReproError(
        f"{experiment.name} has no run on this machine",
        where=project.work,
        allowed=listed or "none exist yet",
        hint=f"`repro train {experiment.name}` starts one",
    )


def thin(values: Sequence[float], most: int) -> list[float]:
    """Every n-th value, so that at most `most` are left."""
    step = -(-len(values) // most) or 1
    return list(values[::step])
