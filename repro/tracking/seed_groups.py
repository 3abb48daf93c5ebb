"""Parent runs in MLflow for the seeds of an experiment, and for one training on several machines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any, NamedTuple, TypeVar

from repro.io.text_table import LEFT, RIGHT, markdown
from repro.judgement import Judgement
from repro.params import Project
from repro.records import Record, seeds_of, sha256_text
from repro.records.build import measured_value
from repro.tracking.owned_runs import Identity, Known, identity_of, is_parent, shows
from repro.tracking.owner import owner_of
from repro.tracking.record_upload import measured_at
from repro.tracking.record_view import metrics_of, tags_of
from repro.tracking.run_info import Point, Run, shown_params
from repro.tracking.run_writer import ensure_experiment, ensure_run, log_params, log_points, retire, set_tags
from repro.tracking.tags import FAMILY, IN_GIT, KEY, MACHINE, NAME, PARENT, RETIRED, USER

V = TypeVar("V")
Judging = Callable[[str], Judgement]  # name of an experiment -> judgement
MACHINES = "machines-"  # prefix of the key of a parent run for several clones


class Content(NamedTuple):
    """Metrics, params and tags of a parent run."""

    points: dict[Point, float]
    params: dict[str, str]
    tags: dict[str, str]

    @property
    def digest(self) -> str:
        return sha256_text(repr([sorted(part.items()) for part in self]))[:16]


def join_family(
    client: Any, project: Project, uri: str, members: Sequence[Record], judge: Judging, known: Known
) -> None:
    """Create or update the parent run with mean and spread of a family; a single seed has no parent.

    A parent run of ours with other content is replaced, because MLflow cannot delete points. A parent run of
    another clone with the same content is used. `known` are this project's current runs.
    """
    key = f"seeds-{members[0].family_key}"
    content = content_of(members, judge) if len(in_the_mean(members)) > 1 else None
    parents = [run for run in known.runs if run.data.tags[KEY] == key and RETIRED not in run.data.tags]
    ours = {run.info.run_id for run in parents if known.owner.owns(run)}
    if content is None and not ours:
        return
    same = (run.info.run_id for run in parents if content and run.data.tags.get(FAMILY) == content.digest)
    right = min(same, default="")
    if content and not right:
        right = make_parent(client, project, uri, key, members, content, replaced=ours)
    gone = ours - {right}
    for run_id in gone:
        client.delete_run(run_id)
    set_parent(client, members, known, right, gone)


def join_machines(client: Any, known: Known) -> Known:
    """Create or update parent runs of trainings that several clones ran; returns `known` with them.

    The parent is shared by all clones. Its tag PARENT is the only thing that a clone writes to others' runs.
    """
    groups: dict[Identity, list[Any]] = {}
    for run in known.runs:
        if not is_parent(run) and RETIRED not in run.data.tags:
            groups.setdefault(identity_of(run), []).append(run)
    made, gone = [], set()
    for (key, name), runs in groups.items():
        parents = [one for one in known.runs if identity_of(one) == (f"{MACHINES}{key}", name)]
        if len(set(map(shows, runs))) > 1:
            made += [_parent_of(client, known, runs, parents)]
        else:
            gone |= {one.info.run_id for one in parents if known.owner.owns(one)}
    for run in known.runs:
        if run.info.run_id in gone:
            client.delete_run(run.info.run_id)
        elif run.data.tags.get(PARENT) in gone:
            client.delete_tag(run.info.run_id, PARENT)
            del run.data.tags[PARENT]
    kept = [run for run in known.runs if run.info.run_id not in gone]
    ids = {run.info.run_id for run in kept}
    return replace(known, runs=(*kept, *(one for one in made if one.info.run_id not in ids)))


def _parent_of(client: Any, known: Known, runs: list[Any], parents: list[Any]) -> Any:
    """Create or update the parent of `runs`."""
    runs = sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))
    said = {"mlflow.note.content": machines_note(runs), "kind": "machines"}
    if parents:
        parent = min(parents, key=lambda run: str(run.info.run_id))
    else:
        first, (key, name) = runs[0], identity_of(runs[0])
        tags = {KEY: f"{MACHINES}{key}", NAME: name, **known.owner.tags, **said}
        at = first.info.start_time
        parent = client.create_run(
            first.info.experiment_id, start_time=at, tags=tags, run_name=f"{name} (machines)"
        )
        client.set_terminated(parent.info.run_id, status="FINISHED", end_time=at)
    changed = {name: text for name, text in said.items() if parent.data.tags.get(name) != text}
    set_tags(client, parent.info.run_id, changed)
    for run in runs:
        if run.data.tags.get(PARENT) != parent.info.run_id:
            set_tags(client, run.info.run_id, {PARENT: parent.info.run_id})
            run.data.tags[PARENT] = parent.info.run_id
    return parent


def machines_note(runs: Sequence[Any]) -> str:
    """The description of a parent run: a table of the training's runs."""
    columns, align = ("run", "machine", "user", "mIoU", "verdict", "in git"), (LEFT, LEFT, LEFT, RIGHT)
    return markdown(columns, map(_machine_line, runs), align=align)


def _machine_line(run: Any) -> list[str]:
    tags, value = run.data.tags, run.data.metrics.get("mIoU")
    number = "" if value is None else f"{value:.4f}"
    who = [tags.get(MACHINE, ""), tags.get(USER, "")]
    return [run.info.run_id[:8], *who, number, tags.get("verdict", ""), tags.get(IN_GIT, "")]


def make_parent(
    client: Any,
    project: Project,
    uri: str,
    key: str,
    members: Sequence[Record],
    content: Content,
    *,
    replaced: Set[str] = frozenset(),
) -> str:
    """Create a parent run that replaces `replaced`; the tag with its digest is set last. Returns its id."""
    for run_id in replaced:
        retire(client, run_id)
    first, at = members[0], measured_at(members[0])
    experiment_id = ensure_experiment(client, project, uri, first.dataset)
    run = Run(name=f"{stem(first.experiment)} (seeds)", dataset=first.dataset, run_key=key)
    run_id = ensure_run(client, owner_of(project), experiment_id, run, at, renamed=True)
    log_points(client, run_id, {point: (value, at) for point, value in content.points.items()})
    log_params(client, run_id, content.params)
    client.set_terminated(run_id, status="FINISHED", end_time=max(map(measured_at, members)))
    set_tags(client, run_id, content.tags)
    set_tags(client, run_id, {FAMILY: content.digest})
    return run_id


def set_parent(client: Any, members: Sequence[Record], known: Known, parent_id: str, gone: Set[str]) -> None:
    """Set the parent of the members' runs (or of their machines' parents), and unset deleted parents."""
    family = {(member.run_key, member.experiment) for member in members} if parent_id else set()
    joined = {identity_of(run) for run in known.runs}
    for run in known.runs:
        tags, (key, name) = run.data.tags, identity_of(run)
        if (f"{MACHINES}{key}", name) in joined:
            continue
        if (key.removeprefix(MACHINES), name) in family and RETIRED not in tags:
            free = PARENT not in tags or tags[PARENT] in gone
            if tags.get(PARENT) != parent_id and (free or known.owner.owns(run)):
                set_tags(client, run.info.run_id, {PARENT: parent_id})
        elif tags.get(PARENT) in gone:
            client.delete_tag(run.info.run_id, PARENT)


def content_of(members: Sequence[Record], judge: Judging) -> Content:
    """Mean, spread, and the common params and tags of all members."""
    points = spread(in_the_mean(members)) | {
        (name, 0): value for name, value in common(map(published, members)).items()
    }
    params = common(shown_params(member.params) for member in members)
    judged = {member.experiment: judge(member.experiment) for member in members}
    tags = common(tags_of(member, judged[member.experiment]) for member in members)
    tags |= {"mlflow.note.content": note(members, judged), "kind": "seeds"}
    return Content(points, params, tags)


def in_the_mean(members: Iterable[Record]) -> list[Record]:
    """The largest set of comparable members, one per seed, as the gate selects them."""
    family = list(members)
    return max((seeds_of(one, family) for one in family), key=len)


def common(mappings: Iterable[Mapping[str, V]]) -> dict[str, V]:
    """Entries that are equal in all mappings."""
    first, *rest = mappings
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in rest)}


def published(record: Record) -> dict[str, float]:
    return {name: value for name, value in metrics_of(record).items() if name.startswith("published/")}


def note(members: Sequence[Record], judged: Mapping[str, Judgement]) -> str:
    """The parent's description: a table of seeds with metric and verdict."""
    name, counted = members[0].primary, {member.experiment for member in in_the_mean(members)}
    columns, align = ("experiment", "seed", name, "verdict"), (LEFT, RIGHT, RIGHT)

    def line(member: Record) -> list[str]:
        number = measured_value(member.metrics, member.expectation)
        value = "" if number is None else f"{number:.2f}"
        apart = "" if member.experiment in counted else ", not in the mean"
        verdict = judged[member.experiment].verdict + apart
        return [member.experiment, str(member.params.get("seed", "")), value, verdict]

    return markdown(columns, map(line, members), align=align)


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
    """Name without seed: camvid_r18_os16_seed2 -> camvid_r18_os16."""
    return re.sub(r"_s(eed)?\d+$", "", name)
