"""Seeds of one experiment as children of one parent run."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from repro.params import Project
from repro.records import Record
from repro.tracking.feed import ensure_experiment, ensure_run, log_points, set_tags
from repro.tracking.run import Run
from repro.tracking.send import measured_at

FAMILY = "repro.family"  # which records the parent stands for


def join_families(client: Any, project: Project, uri: str, records: Sequence[Record]) -> None:
    """Records that differ in their seed alone get a parent run that shows their mean and spread."""
    families: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        families[record.family_key].append(record)
    for key, members in families.items():
        if len(members) > 1:
            _join(client, project, uri, key, members)


def _join(client: Any, project: Project, uri: str, key: str, members: Sequence[Record]) -> None:
    first = members[0]
    experiment_id = ensure_experiment(client, project, uri, first.dataset)
    run = Run(name=f"{stem(first.experiment)} (seeds)", dataset=first.dataset, run_key=f"seeds-{key}")
    parent_id = ensure_run(client, experiment_id, run, measured_at(first))
    held = ",".join(sorted(member.content_hash[:12] for member in members))
    if client.get_run(parent_id).data.tags.get(FAMILY) == held:
        return
    for member in members:
        child = Run(name=member.experiment, dataset=member.dataset, run_key=member.run_key)
        child_id = ensure_run(client, experiment_id, child, measured_at(member))
        set_tags(client, child_id, {"mlflow.parentRunId": parent_id})
    log_points(client, parent_id, {point: (v, measured_at(first)) for point, v in spread(members).items()})
    client.set_terminated(parent_id, status="FINISHED", end_time=max(map(measured_at, members)))
    set_tags(client, parent_id, {FAMILY: held, "dataset": first.dataset, "kind": "seeds"})


def spread(members: Sequence[Record]) -> dict[tuple[str, int], float]:
    """Mean and standard deviation of the primary metric; the step is the number of seeds."""
    name = members[0].primary
    values = [member.metrics[name] for member in members if name in member.metrics]
    if len(values) < 2:
        return {}
    count = len(values)
    return {
        (name, count): fmean(values),
        (f"{name}_mean", count): fmean(values),
        (f"{name}_std", count): stdev(values),
    }


def stem(name: str) -> str:
    """camvid_r18_os16_seed2 -> camvid_r18_os16"""
    return re.sub(r"_s(eed)?\d+$", "", name)
