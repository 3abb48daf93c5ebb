"""`repro show`, `repro logs`, `repro gc`: one experiment in a terminal, its training, and old leftovers."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.common import Json, Name, console, emit_json

if TYPE_CHECKING:
    from repro.params import Experiment, Project
    from repro.records import Record
    from repro.records.record import Measured

BARS = "▁▂▃▄▅▆▇█"


def show(
    name: Name,
    schedule: Annotated[
        bool, typer.Option("--schedule", help="Plot learning rate and weight decay over the iterations.")
    ] = False,
    as_json: Json = False,
) -> None:
    """One experiment: parameters, published row, result, verdict, cost, and the course of its loss.

    Example: repro show camvid_mobilenetv2_os16
    """
    from repro.params import find_project, load_experiment, to_plain
    from repro.records import read_record, to_json

    project = find_project()
    experiment = load_experiment(project, name)
    if schedule:
        return show_schedule(experiment, as_json)
    path = project.rows / f"{experiment.name}.json"
    found = read_record(path) if path.is_file() else None
    if as_json:
        plain = to_json(found) if found else None
        return emit_json(
            {"experiment": to_plain(experiment), "record": plain, "runs": runs(project, experiment)}
        )
    for title, facts in sections(project, experiment, found).items():
        _print(title, facts)


def show_schedule(experiment: Experiment, as_json: bool) -> None:
    from repro.cli.schedule import points, schedule_text

    emit_json(points(experiment, count=200)) if as_json else console().print(schedule_text(experiment))


def sections(project: Project, experiment: Experiment, found: Record | None) -> dict[str, dict[str, str]]:
    """Title -> name -> text."""
    from repro.params import to_plain
    from repro.tracking.run import flatten

    plain = to_plain(experiment)
    parts = ("seed", "model", "augmentation", "training", "evaluation", "protocol")
    params = {
        k: v for k, v in flatten({part: plain[part] for part in parts}).items() if v not in ("None", "")
    }
    return {
        experiment.name: about(experiment, found),
        "result": result(found),
        **others(found),
        "cost": {k: _short(v) for k, v in found.cost.items() if not isinstance(v, dict)} if found else {},
        "training": training(project, experiment),
        "parameters": params,
    }


def about(experiment: Experiment, found: Record | None) -> dict[str, str]:
    from repro.published import rows

    published = [rows()[row] for row in experiment.rows if row in rows()]
    facts = {"dataset": f"{experiment.dataset} {experiment.evaluation.split}", "recipe": experiment.recipe}
    for row in published:
        numbers = ", ".join(f"{metric} {value:g}" for metric, value in row.metrics.items()) or "no number"
        facts[f"row {row.id}"] = f"{row.label}: {numbers}"
    facts["verdict"] = found.verdict if found else "unmeasured"
    return facts | ({"note": experiment.note} if experiment.note else {})


def numbers(found: Record | Measured) -> dict[str, str]:
    """Metric -> value, with its interval where there is one."""
    facts = {}
    for metric, value in found.metrics.items():
        low_high = found.intervals.get(metric)
        facts[metric] = f"{value:.2f}" + (f"  ({low_high[0]:.2f} to {low_high[1]:.2f})" if low_high else "")
    return facts


def others(found: Record | None) -> dict[str, dict[str, str]]:
    """The further protocols, each a section."""
    return {f"result, protocol {name}": numbers(one) for name, one in (found.also if found else {}).items()}


def result(found: Record | None) -> dict[str, str]:
    from repro.cli.seeds import text_of

    if found is None:
        return {}
    facts = numbers(found)
    wanted = found.expectation
    if wanted:
        facts["expected"] = f"{wanted.metric} {wanted.value:g} ± {wanted.band:g}: {wanted.source}"
    if found.seeds:
        facts["seeds"] = text_of(found.seeds)
    git = found.provenance.get("git", {})
    facts["measured"] = f"{found.provenance.get('at', '')} at {str(git.get('commit'))[:12]}"
    return facts


def training(project: Project, experiment: Experiment) -> dict[str, str]:
    """The loss as a sparkline, and where a running or stopped training stands."""
    path = project.root / experiment.folder / "curve.csv"
    facts: dict[str, str] = {}
    losses = curve_losses(path) if path.is_file() else []
    if losses:
        facts["loss"] = f"{sparkline(losses)}  {losses[0]:.3f} to {losses[-1]:.3f}"
    for run in runs(project, experiment):
        line = f"{run['status']}, iteration {run['iteration']}"
        facts[f"run {run['run_key']}"] = f"{line}  {sparkline(run['losses'])}"
    return facts


def runs(project: Project, experiment: Experiment) -> list[dict[str, Any]]:
    """Journals of this experiment in .repro/work."""
    from repro.tracking import read_state

    found = []
    for path in sorted(project.work.glob("*/journal.jsonl")):
        state = read_state(path)
        if state is not None and state.run.name == experiment.name:
            losses = [value for (metric, _), (value, _) in state.points.items() if metric == "train/loss"]
            one = {"run_key": state.run.run_key, "status": state.status, "iteration": state.steps}
            found.append(one | {"losses": _thin(losses, 48), "journal": str(path)})
    return found


def curve_losses(path: Path) -> list[float]:
    import csv

    with path.open(newline="") as file:
        return _thin([float(row["loss"]) for row in csv.DictReader(file) if row.get("loss")], 48)


def sparkline(values: Sequence[float]) -> str:
    """Values as eight heights; the highest is full."""
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in values)


def _thin(values: Sequence[float], most: int) -> list[float]:
    step = -(-len(values) // most) or 1
    return list(values[::step])


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print(title: str, facts: dict[str, str]) -> None:
    if not facts:
        return
    out = console()
    out.print(f"[bold]{title}[/]")
    width = max(map(len, facts))
    for name, text in facts.items():
        out.print(f"  {name:<{width}}  {text}", markup=False)


def logs(
    name: Name,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run ends.")] = False,
    last: Annotated[int, typer.Option("-n", min=0, help="Lines from the past; 0: all.")] = 20,
    as_json: Json = False,
) -> None:
    """The journal of the newest run of NAME: metrics and events, as they come.

    Example: repro logs camvid_mobilenetv2_os16 -f
    """
    from repro.errors import UnknownNameError
    from repro.params import find_project, load_experiment
    from repro.records import read_journal

    project = find_project()
    experiment = load_experiment(project, name)
    journals = [Path(run["journal"]) for run in runs(project, experiment)]
    if not journals:
        raise UnknownNameError("run", experiment.name, [], hint=f"`repro train {experiment.name}` starts one")
    path = max(journals, key=lambda journal: journal.stat().st_mtime)
    entries = read_journal(path)
    for entry in entries[-last or None :]:
        _say(entry, as_json)
    if follow:
        _follow(path, len(entries), as_json)


def _follow(path: Path, seen: int, as_json: bool) -> None:
    """Print what is added; a journal that was cut by a resumed run is read on from its new end."""
    from repro.records import read_journal
    from repro.tracking.state import state_of

    while True:
        entries = read_journal(path)
        for entry in entries[seen:]:
            _say(entry, as_json)
        seen = len(entries)
        state = state_of(entries)
        if state is None or state.status != "RUNNING":
            return
        time.sleep(0.5)


def _say(entry: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(entry))
        return
    when = time.strftime("%H:%M:%S", time.localtime(float(entry.get("at", 0))))
    if entry["kind"] == "metrics":
        values = "  ".join(f"{name} {value:.5g}" for name, value in entry["values"].items())
        typer.echo(f"{when}  {entry['step']:>8}  {values}")
        return
    hidden = ("at", "kind", "run", "found")
    rest = "  ".join(f"{key} {value}" for key, value in entry.items() if key not in hidden and value != "")
    typer.echo(f"{when}  {entry['kind']}  {rest}".rstrip())


def gc(
    apply: Annotated[bool, typer.Option("--yes", help="Really delete; without it only shown.")] = False,
    days: Annotated[float, typer.Option(min=0, help="Keep what was used since so many days.")] = 7.0,
    as_json: Json = False,
) -> None:
    """Show, and with --yes delete, work folders that were not used for a week, fleet logs and caches.

    What is running is never touched, nor are records, weights, data and MLflow. A stopped training that could
    be resumed is marked so.

    Example: repro gc --yes
    """
    from repro.fleet.workspace import garbage, remove, size_of
    from repro.params import find_project

    project = find_project()
    found = [(path, why, size_of(path)) for path, why in garbage(project, older_than=days * 86400)]
    if apply:
        for path, _, _ in found:
            remove(path)
    if as_json:
        lines = [{"path": str(path), "why": why, "bytes": size} for path, why, size in found]
        return emit_json({"deleted": apply, "found": lines})
    for path, why, size in found:
        console().print(f"{size / 2**20:>9.1f} MiB  {path.relative_to(project.root)}  {why}", markup=False)
    total = sum(size for _, _, size in found) / 2**20
    word = "deleted" if apply else "could be deleted with --yes"
    console().print(f"{len(found)} folders and files, {total:.1f} MiB, {word}")
