"""What every experiment says of itself in a few words: enough to list it and to find what it is judged with.

Reading it takes milliseconds an experiment, so `results_cache` keeps it until one of its files changes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from repro.errors import ParamsError, ReproError
from repro.io.yaml_reader import read_yaml
from repro.judgement.evidence import LOCK, NPZ, WEIGHTS
from repro.judgement.peers import Fact, Peers, collect_facts, facts_of
from repro.params.folders import Broken, read_each
from repro.params.project import Project
from repro.params.reference import network_kind
from repro.records import Record
from repro.records.dvc_files import Lock, read_lock
from repro.records.network import NETWORK
from repro.records.record import read_row
from repro.reports.results_cache import ResultsCache


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What an experiment folder says about itself, before anything is resolved."""

    name: str
    dataset: str
    rows: tuple[str, ...] = ()
    note: str = ""
    recipe: str = ""
    network: Mapping[str, Any] = field(default_factory=dict)  # its blocks of NETWORK
    raw: Mapping[str, Any] = field(default_factory=dict)  # the whole file


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Data set and rows of an experiment, and what connects it with others.

    Attributes:
        dataset: of the record, or else of params.yaml.
        declared: rows in params.yaml; None without a file that can be read.
        recorded: rows in the record; None without a record that can be read.
        note: of params.yaml.
        family: key of the results that differ only in the seed.
        facts: statements that must agree with those of other results.
        large: md5 of matrices and weights, which only DVC's cache may hold.
        own_code: whether its run key depends on files of the project that params.yaml does not list.
    """

    dataset: str = ""
    declared: tuple[str, ...] | None = None
    recorded: tuple[str, ...] | None = None
    note: str = ""
    family: str = ""
    facts: tuple[Fact, ...] = ()
    large: tuple[str, ...] = ()
    own_code: bool = False


def claim_of(declared: Declared | None, record: Record | None, lock: Lock | None = None) -> Claim:
    """The claim of an experiment from its params.yaml, record and dvc.lock."""
    outs = lock.outs if lock else {}
    return Claim(
        dataset=record.dataset if record else declared.dataset if declared else "",
        declared=declared.rows if declared else None,
        recorded=record.rows if record else None,
        note=declared.note if declared else "",
        family=record.family_key if record else "",
        facts=tuple(facts_of(record, lock)) if record else (),
        large=tuple(md5 for name, md5 in outs.items() if name.endswith((NPZ, WEIGHTS))),
        own_code=_has_code(declared.raw if declared else {}) or _has_code(record.params if record else {}),
    )


def _has_code(params: Mapping[str, Any]) -> bool:
    """A network by reference, or a program of the project."""
    return "external" in params or network_kind(params.get("model")) == "ReferenceModel"


def read_claims(
    project: Project,
    with_params: Collection[str],
    with_record: Collection[str],
    cache: ResultsCache,
    stamps: Mapping[str, str],
) -> tuple[dict[str, Claim], Broken, Broken]:
    """The claim of each experiment; errors of records and of params.yaml by name.

    What cannot be read is read again by every command, until it is mended.
    """
    claims: dict[str, Claim] = {}
    for name, stamp in stamps.items():
        kept = cache.get("claim", name, stamp, partial(_read, project, name, with_params, with_record))
        claims[name] = _from_json(kept)
    damaged = [name for name in stamps if name in with_record and claims[name].recorded is None]
    broken = [name for name in stamps if name in with_params and claims[name].declared is None]
    _, why_damaged = read_each(damaged, lambda name: read_row(project.record(name)))
    _, why_broken = read_each(broken, lambda name: read_declared(project, name))
    return claims, why_damaged, why_broken


def _read(
    project: Project, name: str, with_params: Collection[str], with_record: Collection[str]
) -> dict[str, Any]:
    """The claim of an experiment as JSON types, without what cannot be read."""
    stated = record = None
    with suppress(ReproError):
        stated = read_declared(project, name) if name in with_params else None
    with suppress(ReproError):
        record = read_row(project.record(name)) if name in with_record else None
    return asdict(claim_of(stated, record, read_lock(project.experiment_folder(name) / LOCK)))


def _from_json(raw: Mapping[str, Any]) -> Claim:
    lists = {key: None if raw[key] is None else tuple(raw[key]) for key in ("declared", "recorded")}
    facts = tuple(Fact(*one) for one in raw["facts"])
    return Claim(**{**raw, **lists, "facts": facts, "large": tuple(raw["large"])})


def peers_of(claims: Mapping[str, Claim]) -> Peers:
    """What connects the results: families of seeds, and facts about files that several share."""
    families: dict[str, list[str]] = {}
    for name, claim in claims.items():
        if claim.family:
            families.setdefault(claim.family, []).append(name)
    facts = collect_facts((name, claim.facts) for name, claim in claims.items())
    return Peers(families={key: tuple(names) for key, names in families.items()}, facts=facts)


def read_declared(project: Project, name: str) -> Declared:
    """What experiments/<name>/params.yaml declares. Raises ParamsError if it is invalid."""
    path = project.params_of(name)
    raw = read_yaml(path)
    network = {key: raw.get(key) or {} for key in NETWORK if key in raw}
    for key, block in network.items():
        if not isinstance(block, Mapping):
            what = f"key '{key}': got {block!r}"[:200]
            raise ParamsError(what, where=path, allowed="indented `key: value` lines")
    return Declared(
        name=name,
        dataset=str(raw.get("dataset", "")),
        rows=project.published.row_ids(raw.get("rows", []), path),
        note=str(raw.get("note", "")),
        recipe=str(raw.get("recipe", "")),
        network=network,
        raw=raw,
    )
