"""What trackers cost a training of hours: they take turns under one that runs.

    MLFLOW_TRACKING_URI=http://127.0.0.1:PORT dvc repro experiments/NAME/dvc.yaml:train &
    python -m tests.bench.long_faults JOURNAL PORT TURNS.jsonl
    python -m tests.bench.long_faults JOURNAL TURNS.jsonl

The second stands between the training and a real MLflow server, and every thirty iterations makes that
server healthy, absent, slow or broken, or stops the follower, so that there is no tracker at all. The turns
are short beside the training, so a slow hour of the machine hits all of them. It ends with the training, and
waits until MLflow has everything. The last prints the table from what was written.
"""

from __future__ import annotations

import itertools
import json
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import mlflow
import psutil

from repro.records import follow_journal, read_journal
from repro.tracking.run_info import points_of
from tests.tracking.kit import Proxy, server

SPAN = 30  # iterations a turn
FAULTS = ("no tracker", "healthy server", "absent", "5 s for every answer", "500 to every request")


def main() -> None:
    journal, *port, turns = sys.argv[1:]
    if port:
        with (
            tempfile.TemporaryDirectory() as folder,
            server(Path(folder), Path(folder, "server.db")) as (address, _),
        ):
            take_turns(Path(journal), Path(turns), address, int(port[0]))
    tell(read_journal(Path(journal)), [json.loads(line) for line in Path(turns).read_text().splitlines()])


def take_turns(journal: Path, turns: Path, address: str, port: int) -> None:
    """Break the server in turns until the training has ended, then compare what it holds with the journal."""
    proxy: Proxy | None = Proxy(address, port)
    faults, due = itertools.cycle(FAULTS), 0
    batches = follow_journal(journal)
    next(batches)  # what was before is no matter
    for entry in itertools.chain.from_iterable(batches):
        if entry["kind"] == "end":
            break
        if entry["kind"] == "metrics" and entry["step"] >= due:
            due, fault = entry["step"] + SPAN, next(faults)
            proxy = turn(fault, proxy, address, port)
            pause(journal, stop=fault == "no tracker")
            note(turns, fault=fault, step=entry["step"])
    proxy = turn("healthy server", proxy, address, port)
    pause(journal, stop=False)
    note(turns, held=wait_for_all(journal, address), written=len(points_of(read_journal(journal))))


def turn(fault: str, proxy: Proxy | None, address: str, port: int) -> Proxy | None:
    if fault == "absent":
        if proxy:
            proxy.close()
        return None
    proxy = proxy or Proxy(address, port)
    proxy.delay = 5.0 if fault.startswith("5 s") else 0.0
    proxy.status = 500 if fault.startswith("500") else 0
    return proxy


def pause(journal: Path, *, stop: bool) -> None:
    """Stop the processes that follow this journal, or let them go on."""
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "repro.tracking.follower" in command and str(journal) in command:
            process.send_signal(signal.SIGSTOP if stop else signal.SIGCONT)


def wait_for_all(journal: Path, address: str) -> dict[str, int]:
    """How many points the server holds, how many of them twice, two minutes after the end at most."""
    client, found = mlflow.MlflowClient(address), {}
    for _ in range(24):
        time.sleep(5)
        found = held(client)
        if found["points"] >= len(points_of(read_journal(journal))):
            break
    return found


def held(client: Any) -> dict[str, int]:
    places = [experiment.experiment_id for experiment in client.search_experiments()]
    points: Counter[tuple[str, int]] = Counter()
    for run in client.search_runs(places):
        for name in run.data.metrics:
            points.update((name, point.step) for point in client.get_metric_history(run.info.run_id, name))
    return {"points": len(points), "twice": sum(count > 1 for count in points.values())}


def note(turns: Path, **what: object) -> None:
    with turns.open("a") as file:
        file.write(json.dumps(what) + "\n")


def tell(entries: list[dict[str, Any]], turns: list[dict[str, Any]]) -> None:
    """A markdown table of the seconds an iteration took under each tracker, and what MLflow holds."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for (first, last), duration in intervals(entries).items():
        for fault in (t["fault"] for t in turns if "step" in t and t["step"] <= first < t["step"] + SPAN):
            seconds[fault].append(duration / (last - first))
    none = statistics.median(seconds[FAULTS[0]])
    print("| tracker | intervals | seconds an iteration, median | of none | standard error |")
    print("|---|--:|--:|--:|--:|")
    for fault in FAULTS:
        values = seconds[fault]
        middle, error = statistics.median(values), statistics.stdev(values) / len(values) ** 0.5
        print(f"| {fault} | {len(values)} | {middle:.3f} | {middle / none:.3f} | {error / none:.3f} |")
    print(turns[-1])


def intervals(entries: list[dict[str, Any]]) -> dict[tuple[int, int], float]:
    """(first step, last step) -> seconds, between two lines of metrics with nothing else between them."""
    lines = [entry for entry in entries if "system/images_per_s" not in entry.get("values", {})]
    return {
        (first["step"], last["step"]): last["at"] - first["at"]
        for first, last in itertools.pairwise(lines)
        if all("train/loss" in entry.get("values", {}) for entry in (first, last))
    }


if __name__ == "__main__":
    main()
