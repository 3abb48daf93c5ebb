"""Seeds of one experiment as children of one parent run."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, TypeVar

from repro.params import Project
from repro.records import Record, one_a_seed
from repro.tracking.feed import KEY, ensure_experiment, ensure_run, log_params, log_points, set_tags
from repro.tracking.run import Run, shown_params
from repro.tracking.send import measured_at
from repro.tracking.shown import metrics_of, tags_of

V = TypeVar("V")
FAMILY = "repro.family"  # which records the parent stands for


def join_families(client: Any, project: Project, uri: str, records: Sequence[Record]) -> None:
    """Records that differ in their seed alone get a parent run that shows their mean and spread."""
    families: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        families[record.family_key].append(record)
    for key, members in families.items():
        if len(one_a_seed(members)) > 1:
            _join(client, project, uri, key, members)


def _join(client: Any, project: Project, uri: str, key: str, members: Sequence[Record]) -> None:
    first = members[0]
    experiment_id = ensure_experiment(client, project, uri, first.dataset)
    run = Run(name=f"{stem(first.experiment)} (seeds)", dataset=first.dataset, run_key=f"seeds-{key}")
    parent_id = ensure_run(client, experiment_id, run, measured_at(first), renamed=True)
    held = ",".join(sorted(member.content_hash[:12] for member in members))
    if client.get_run(parent_id).data.tags.get(FAMILY) == held:
        return
    for member in members:
        child = Run(name=member.experiment, dataset=member.dataset, run_key=member.run_key)
        child_id = ensure_run(client, experiment_id, child, measured_at(member))
        set_tags(client, child_id, {"mlflow.parentRunId": parent_id})
    points = spread(one_a_seed(members)) | {
        (name, 0): v for name, v in common(map(published, members)).items()
    }
    log_points(client, parent_id, {point: (v, measured_at(first)) for point, v in points.items()})
    log_params(client, parent_id, common(shown_params(member.params) for member in members))
    client.set_terminated(parent_id, status="FINISHED", end_time=max(map(measured_at, members)))
    tags = common(map(tags_of, members)) | {"mlflow.note.content": note(members)}
    set_tags(client, parent_id, tags | {KEY: run.run_key, FAMILY: held, "kind": "seeds"})


def common(mappings: Iterable[Mapping[str, V]]) -> dict[str, V]:
    """What all of some mappings say alike."""
    first, *rest = mappings
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in rest)}


def published(record: Record) -> dict[str, float]:
    return {name: value for name, value in metrics_of(record).items() if name.startswith("published/")}


def note(members: Sequence[Record]) -> str:
    """The parent's description: every seed with its number and verdict."""
    name = members[0].primary
    lines = ["| experiment | seed | " + name + " | verdict |", "|---|--:|--:|---|"]
    for member in members:
        value = f"{member.metrics[name]:.2f}" if name in member.metrics else ""
        lines.append(
            f"| {member.experiment} | {member.params.get('seed', '')} | {value} | {member.verdict} |"
        )
    return "\n".join(lines)


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
