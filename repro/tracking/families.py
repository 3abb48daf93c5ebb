"""Seeds of one experiment as children of one parent run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from statistics import fmean, stdev
from typing import Any, NamedTuple, TypeVar

from repro.params import Project
from repro.records import Record, seeds_of, sha256_text
from repro.records.make import measured_value
from repro.tracking.feed import NAME, ensure_experiment, ensure_run, log_params, log_points, set_tags
from repro.tracking.run import Run, shown_params
from repro.tracking.send import measured_at
from repro.tracking.shown import metrics_of, tags_of
from repro.tracking.state import Point
from repro.tracking.store import KEY

V = TypeVar("V")
FAMILY = "repro.family"  # digest of what the parent says
PARENT = "mlflow.parentRunId"


class Content(NamedTuple):
    """What a parent run says of its members."""

    points: dict[Point, float]
    params: dict[str, str]
    tags: dict[str, str]

    @property
    def digest(self) -> str:
        return sha256_text(repr([sorted(part.items()) for part in self]))[:16]


def join_family(
    client: Any, project: Project, uri: str, members: Sequence[Record], runs: Sequence[Any]
) -> None:
    """Let a parent run show the mean and spread of a family; one seed alone has none.

    A parent that says something else is made anew: MLflow cannot take a point back. `runs` is what MLflow
    holds of this project now.
    """
    key = f"seeds-{members[0].family_key}"
    content = content_of(members) if len(in_the_mean(members)) > 1 else None
    parents = {run.info.run_id: run.data.tags.get(FAMILY) for run in runs if run.data.tags[KEY] == key}
    if content is None and not parents:
        return
    right = next((run_id for run_id, held in parents.items() if content and held == content.digest), "")
    gone = parents.keys() - {right}
    for run_id in gone:
        client.delete_run(run_id)
    if content and not right:
        right = make_parent(client, project, uri, key, members, content)
    set_parent(client, members, runs, right, gone)


def make_parent(
    client: Any, project: Project, uri: str, key: str, members: Sequence[Record], content: Content
) -> str:
    """Id of a new parent run; the tag that says what it holds comes last."""
    first, at = members[0], measured_at(members[0])
    experiment_id = ensure_experiment(client, project, uri, first.dataset)
    run = Run(name=f"{stem(first.experiment)} (seeds)", dataset=first.dataset, run_key=key)
    run_id = ensure_run(client, experiment_id, run, at, renamed=True)
    log_points(client, run_id, {point: (value, at) for point, value in content.points.items()})
    log_params(client, run_id, content.params)
    client.set_terminated(run_id, status="FINISHED", end_time=max(map(measured_at, members)))
    set_tags(client, run_id, content.tags)
    set_tags(client, run_id, {FAMILY: content.digest})
    return run_id


def set_parent(
    client: Any, members: Sequence[Record], runs: Sequence[Any], parent_id: str, gone: Set[str]
) -> None:
    """Lead the members' runs to their parent, and all others away from one that is gone."""
    own = {(member.run_key, member.experiment) for member in members} if parent_id else set()
    for run in runs:
        tags = run.data.tags
        if (tags[KEY], tags.get(NAME)) in own:
            if tags.get(PARENT) != parent_id:
                set_tags(client, run.info.run_id, {PARENT: parent_id})
        elif tags.get(PARENT) in gone:
            client.delete_tag(run.info.run_id, PARENT)


def content_of(members: Sequence[Record]) -> Content:
    """Mean, spread, and what all members have in common."""
    points = spread(in_the_mean(members)) | {
        (name, 0): value for name, value in common(map(published, members)).items()
    }
    params = common(shown_params(member.params) for member in members)
    tags = common(map(tags_of, members)) | {"mlflow.note.content": note(members), "kind": "seeds"}
    return Content(points, params, tags)


def in_the_mean(members: Iterable[Record]) -> list[Record]:
    """One of every seed, measured in the same way: the most that the gate too would put together."""
    family = list(members)
    return max((seeds_of(one, family) for one in family), key=len)


def common(mappings: Iterable[Mapping[str, V]]) -> dict[str, V]:
    """What all of some mappings say alike."""
    first, *rest = mappings
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in rest)}


def published(record: Record) -> dict[str, float]:
    return {name: value for name, value in metrics_of(record).items() if name.startswith("published/")}


def note(members: Sequence[Record]) -> str:
    """The parent's description: every seed with its number and verdict."""
    name, counted = members[0].primary, {member.experiment for member in in_the_mean(members)}
    lines = ["| experiment | seed | " + name + " | verdict |", "|---|--:|--:|---|"]
    for member in members:
        number = measured_value(member.metrics, member.expectation)
        value = "" if number is None else f"{number:.2f}"
        verdict = member.verdict + ("" if member.experiment in counted else ", not in the mean")
        lines.append(f"| {member.experiment} | {member.params.get('seed', '')} | {value} | {verdict} |")
    return "\n".join(lines)


def spread(members: Sequence[Record]) -> dict[tuple[str, int], float]:
    """Mean and standard deviation of the primary metric; the step is the number of seeds."""
    name = members[0].primary
    found = [measured_value(member.metrics, member.expectation) for member in members]
    values = [value for value in found if value is not None]
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
