"""`repro show`: one experiment in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.console import Json, Name, console, emit_json, write
from repro.cli.run.local_runs import runs, thin
from repro.io import text_table

if TYPE_CHECKING:
    from repro.params import Experiment, Project, TrainedExperiment
    from repro.published import Row
    from repro.records import Record
    from repro.records.record import Measured
    from repro.reports.results import Results

BARS = "▁▂▃▄▅▆▇█"


def show(
    name: Name,
    schedule: Annotated[
        bool, typer.Option("--schedule", help="Plot learning rate and weight decay over the iterations.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the parameters that are at their defaults.")
    ] = False,
    as_json: Json = False,
) -> None:
    """One experiment: parameters, published row, result, verdict, cost, and the course of its loss.

    Example: repro show camvid_mobilenetv2_os16
    """
    from repro.params import find_project, load_experiment, load_trained
    from repro.records import read_record

    project = find_project()
    if schedule:
        return show_schedule(load_trained(project, name), as_json)
    experiment = load_experiment(project, name)
    path = project.record(experiment.name)
    found = read_record(path) if path.is_file() else None
    if as_json:
        return emit_json(whole(project, experiment, found))
    for title, facts in sections(project, experiment, found, everything=everything).items():
        _print(title, facts)


def whole(project: Project, experiment: Experiment, found: Record | None) -> dict[str, Any]:
    """What --json prints; `experiment` holds the params until the next release (docs/json.md)."""
    from repro.params import to_plain
    from repro.records import to_json
    from repro.reports.listing import listing
    from repro.reports.results import load_results

    params, (line,) = to_plain(experiment), listing(load_results(project), [experiment.name])
    record = to_json(found) if found else None
    return {"result": line, "params": params, "record": record, "runs": runs(project, experiment)} | {
        "experiment": params
    }


def show_schedule(experiment: TrainedExperiment, as_json: bool) -> None:
    from repro.cli.run.schedule import points, schedule_text

    emit_json(points(experiment, count=200)) if as_json else console().print(schedule_text(experiment))


def sections(
    project: Project, experiment: Experiment, found: Record | None, *, everything: bool = False
) -> dict[str, dict[str, str]]:
    """Title -> name -> text."""
    from repro.reports.results import load_results

    results = load_results(project)
    found = results.as_judged(experiment.name) if experiment.name in results.records else found
    params = parameters(experiment, everything=everything)
    title = (
        "parameters" if everything else "parameters that are not at their defaults (--all shows every one)"
    )
    return {
        experiment.name: about(project.published.rows, experiment, verdict_now(results, experiment.name)),
        "result": result(found),
        **others(found),
        "cost": {k: _short(v) for k, v in found.cost.items() if not isinstance(v, dict)} if found else {},
        "training": training(project, experiment),
        title: params,
    }


PARTS = ("seed", "model", "augmentation", "training", "external", "evaluation", "protocol")


def parameters(experiment: Experiment, *, everything: bool) -> dict[str, str]:
    """Dotted name -> text of the parameters that say something, or of those that differ from the default."""
    from repro.params import to_plain
    from repro.records.flatten import flatten

    plain = to_plain(experiment) if everything else chosen(experiment)
    listed = flatten({part: plain[part] for part in PARTS if part in plain})
    return {name: str(one) for name, one in listed.items() if not everything or one not in (None, "")}


def chosen(params: Any) -> dict[str, Any]:
    """The fields of a params dataclass that differ from their default, nested ones likewise."""
    import dataclasses

    found: dict[str, Any] = {}
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        if value != field.default:
            found[field.name] = chosen(value) if dataclasses.is_dataclass(value) else value
    return found


def verdict_now(results: Results, name: str) -> str:
    """The gate's verdict with its tier; the reason where it cannot compare (params newer than record)."""
    from repro.reports.gate import finding

    judged = finding(results, name)
    reason = f": {judged.reason}" if judged.verdict == "incomparable" else ""
    return judged.verdict_and_tier + reason


def about(known: Mapping[str, Row], experiment: Experiment, verdict: str) -> dict[str, str]:
    published = [known[row] for row in experiment.rows if row in known]
    facts = {"dataset": f"{experiment.dataset} {experiment.evaluation.split}", **made_by(experiment)}
    for row in published:
        numbers = ", ".join(f"{metric} {value:g}" for metric, value in row.metrics.items()) or "no number"
        facts[f"row {row.id}"] = f"{row.label}: {numbers}"
    facts["verdict"] = verdict
    return facts | ({"note": experiment.note} if experiment.note else {})


def made_by(experiment: Experiment) -> dict[str, str]:
    from repro.params import ExternalExperiment, TrainedExperiment

    if isinstance(experiment, ExternalExperiment):
        return {"family": experiment.external.family}
    return {"recipe": experiment.recipe} if isinstance(experiment, TrainedExperiment) else {}


def numbers(found: Record | Measured) -> dict[str, str]:
    """Metric -> value, with its interval where there is one."""
    facts = {}
    for metric, value in found.metrics.items():
        low_high = found.intervals.get(metric)
        facts[metric] = f"{value:.2f}" + (f"  ({low_high[0]:.2f} to {low_high[1]:.2f})" if low_high else "")
    facts |= {metric: f"undefined: {reason}" for metric, reason in found.undefined.items()}
    return facts | ({"interval": found.interval_kind} if found.intervals else {})


def others(found: Record | None) -> dict[str, dict[str, str]]:
    """The further protocols, each a section."""
    return {f"result, protocol {name}": numbers(one) for name, one in (found.also if found else {}).items()}


def result(found: Record | None) -> dict[str, str]:
    from repro.stages.seeds import text_of

    if found is None:
        return {}
    facts = numbers(found)
    wanted = found.expectation
    if wanted:
        facts["expected"] = f"{wanted.metric} {wanted.value:g} ± {wanted.band:g}: {wanted.source}"
    if found.seeds:
        facts["seeds"] = text_of(found.seeds)
    for one in found.replicates:
        value = one.metrics.get(found.primary)
        number = "" if value is None else f"{found.primary} {value:.4f}, "
        facts[f"replicate {one.content_hash[:8]}"] = f"{number}{one.at} on {one.device or 'another machine'}"
    git = found.provenance.get("git", {})
    facts["measured"] = f"{found.provenance.get('at', '')} at {_commit(git)}"
    return facts


def _commit(git: Mapping[str, Any]) -> str:
    """The commit, or why it is not known."""
    return (
        str(git["commit"])[:12] if git.get("commit") else f"no known commit ({git.get('unknown', 'no git')})"
    )


def training(project: Project, experiment: Experiment) -> dict[str, str]:
    """The loss as a sparkline, and where a running or stopped training stands."""
    path = project.experiment_folder(experiment.name) / "curve.csv"
    facts: dict[str, str] = {}
    if losses := course(path):
        facts["loss"] = losses
    for run in runs(project, experiment):
        line = f"{run['status']}, iteration {run['iteration']}"
        facts[f"run {run['run_key']}"] = f"{line}  {sparkline(run['losses'])}"
    return facts


def course(path: Path) -> str:
    """The loss of curve.csv as a sparkline, '' without one; what is wrong with a damaged file."""
    from repro.errors import RecordError
    from repro.records.metrics_io import read_curve

    try:
        losses = thin([value for _, value in read_curve(path).get("loss", [])], 48)
    except RecordError as error:
        return f"{path.name}: {error.what}"
    return f"{sparkline(losses)}  {losses[0]:.3f} to {losses[-1]:.3f}" if losses else ""


def sparkline(values: Sequence[float]) -> str:
    """Values as eight heights; the highest is full."""
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in values)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print(title: str, facts: dict[str, str]) -> None:
    if not facts:
        return
    console().print(title, style="bold")
    write(text_table.facts(facts, indent="  "))
