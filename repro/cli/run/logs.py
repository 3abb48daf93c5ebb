"""`repro logs`: the journal of a training."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from repro.cli.console import Json, Name, write
from repro.cli.run.local_runs import no_run, runs
from repro.cli.streams import reader_is_gone
from repro.io.safe_text import one_line


def logs(
    name: Name,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Follow the run until it ends.")] = False,
    last: Annotated[int, typer.Option("-n", min=0, help="Number of past lines; 0: all.")] = 20,
    as_json: Json = False,
) -> None:
    """Print the journal of the newest run of NAME: metrics and events.

    Example: repro logs camvid_mobilenetv2_os16 -f
    """
    from repro.params import find_project, load_experiment
    from repro.records import follow_journal

    project = find_project()
    experiment = load_experiment(project, name)
    journals = [Path(run["journal"]) for run in runs(project, experiment)]
    if not journals:
        raise no_run(project, experiment)
    batches = follow_journal(max(journals, key=lambda journal: journal.stat().st_mtime))
    entries = next(batches)
    for entry in entries[-last or None :]:
        _say(entry, as_json)
    while follow and not reader_is_gone():
        follow = _runs(entries)  # checked before reading: what it wrote before it ended is printed as well
        added = next(batches)
        entries += added
        for entry in added:
            _say(entry, as_json)


def _runs(entries: list[dict[str, Any]]) -> bool:
    from repro.tracking.run_info import state_of

    state = state_of(entries)
    return state is not None and state.status == "RUNNING"


def _say(entry: dict[str, Any], as_json: bool) -> None:
    if as_json:
        write(json.dumps(entry) + "\n")
        return
    when = time.strftime("%H:%M:%S", time.localtime(float(entry.get("at", 0))))
    kind = entry.get("kind", "damaged")
    if kind == "metrics":
        values = "  ".join(f"{name} {value:.5g}" for name, value in entry["values"].items())
        write(one_line(f"{when}  {entry['step']:>8}  {values}") + "\n")
        return
    hidden = ("at", "kind", "run", "found")
    rest = "  ".join(f"{key} {value}" for key, value in entry.items() if key not in hidden and value != "")
    write(one_line(f"{when}  {kind}  {rest}".rstrip()) + "\n")
