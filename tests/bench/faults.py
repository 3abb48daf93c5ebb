"""What a tracker that is away, slow or broken costs a training: `python -m tests.bench.faults` (3 minutes).

The demo's own training, MobileNetV2 on the built-in data set, a line in the journal at every iteration. The
trackers take turns, so that a slow moment of the machine hits all of them; the least time of each counts.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from repro.params import Experiment, Project, load_experiment
from repro.records import read_journal
from repro.stages.train import train_experiment
from repro.tracking.mirror import _FOLLOWERS
from repro.tracking.run_info import points_of
from repro.training.distributed import join
from tests.kit import copy_pages
from tests.tracking.kit import Proxy, free_port, server

ROOT = Path(__file__).parents[2]
NAME = "synthetic_mobilenetv2_os16"
TURNS = 2
TRAINING = "training: {split: train, iterations: %d, batch: 4, lr: 0.03, log_every: 1}"


def main() -> None:
    iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        project = checkout(Path(name), iterations)
        experiment = load_experiment(project, NAME)
        trackers = stack.enter_context(all_trackers(Path(name)))
        measured = defaultdict(list)
        run(project, experiment, "off")  # the first training of a process warms everything up
        for _ in range(TURNS):
            for tracker, address in trackers.items():
                measured[tracker].append(run(project, experiment, address))
    tell(measured)


def checkout(root: Path, iterations: int) -> Project:
    folder = root / "experiments" / NAME
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", root)
    copy_pages(root)
    lines = (ROOT / "experiments" / NAME / "params.yaml").read_text().splitlines()
    changed = [TRAINING % iterations if line.startswith("training:") else line for line in lines]
    (folder / "params.yaml").write_text("\n".join(changed) + "\n")
    (root / "prepared").symlink_to(ROOT / "prepared")
    return Project(root)


@contextmanager
def all_trackers(folder: Path) -> Iterator[dict[str, str]]:
    """Name -> address; a real server behind the proxies that break it."""
    with server(folder, folder / "server.db") as (address, _):
        slow, broken = Proxy(address), Proxy(address)
        slow.delay, broken.status = 5.0, 500
        yield {
            "none": "off",
            "healthy server": address,
            "absent": f"http://127.0.0.1:{free_port()}",
            "5 s for every answer": slow.address,
            "500 to every request": broken.address,
        }
        slow.close()
        broken.close()


def run(project: Project, experiment: Experiment, address: str) -> tuple[float, float, int]:
    """(seconds of the whole training, seconds from its first to its last line, points in its journal)."""
    os.environ["REPRO_TRACKING"] = "off" if address == "off" else "on"
    os.environ["MLFLOW_TRACKING_URI"] = address
    shutil.rmtree(project.work, ignore_errors=True)
    began = time.monotonic()
    train_experiment(project, experiment, ranks=join("cpu"))
    whole = time.monotonic() - began
    while _FOLLOWERS:
        follower = _FOLLOWERS.pop()
        follower.kill()  # one whose tracker is away would try for two minutes
        follower.wait()
    (path,) = project.work.glob("*/journal.jsonl")
    entries = read_journal(path)
    lines = [entry["at"] for entry in entries if entry["kind"] == "metrics"]
    return whole, lines[-1] - lines[0], len(points_of(entries))


def tell(measured: dict[str, list[tuple[float, float, int]]]) -> None:
    """A markdown table: the best turn of each tracker beside the best without one."""
    whole_off, lines_off, _ = (min(column) for column in zip(*measured["none"], strict=True))
    print("| tracker | points | whole training | of none | between first and last line | of none |")
    print("|---|--:|--:|--:|--:|--:|")
    for tracker, turns in measured.items():
        whole, lines, points = (min(column) for column in zip(*turns, strict=True))
        print(
            f"| {tracker} | {points} | {whole:.2f} s | {whole / whole_off:.3f}"
            f" | {lines:.2f} s | {lines / lines_off:.3f} |"
        )


if __name__ == "__main__":
    main()
