"""Consistency between results that share a file, checked without data and weights.

dvc.lock identifies files by md5. Results measured on the same prepared file must have the same data
fingerprint, and md5 and sha256 of weights must correspond one to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from repro.judgement.evidence import WEIGHTS
from repro.records import Record
from repro.records.dvc_files import Lock

DATA, SHA256, FILE = "data fingerprint", "sha256 of the weights", "md5 of the weights"


class Fact(NamedTuple):
    """A statement of a record with its dvc.lock: equal `kind` and `key` imply equal `value`."""

    kind: str
    key: str
    value: str


KnownFacts = Mapping[tuple[str, str], Mapping[str, str]]  # (kind, key) -> value -> an experiment with it


@dataclass(frozen=True, kw_only=True)
class Peers:
    """What connects the results of a project.

    Attributes:
        families: key -> names of the results that differ only in the seed.
        facts: statements of all results about the files in their dvc.lock.
    """

    families: Mapping[str, tuple[str, ...]]
    facts: KnownFacts


def facts_of(record: Record, lock: Lock | None) -> Iterator[Fact]:
    """Yield the facts of a record about its prepared split and its weights."""
    if lock is None:
        return
    read, weights = set(lock.deps.get(_prepared(record), ())), lock.outs.get(WEIGHTS)
    if len(read) == 1:
        yield Fact(DATA, read.pop(), record.dataset_fingerprint)
    if weights and record.model_sha256:
        yield Fact(SHA256, weights, record.model_sha256)
        yield Fact(FILE, record.model_sha256, weights)


def _prepared(record: Record) -> str:
    return f"../../prepared/{record.dataset}/{record.split}.zip"


def collect_facts(experiments: Iterable[tuple[str, Iterable[Fact]]]) -> KnownFacts:
    """Collect the facts of all experiments, with the first experiment for each value."""
    known: dict[tuple[str, str], dict[str, str]] = {}
    for name, facts in experiments:
        for kind, key, value in facts:
            known.setdefault((kind, key), {}).setdefault(value, name)
    return known


def conflicts(facts: Iterable[Fact], known: KnownFacts) -> Iterator[str]:
    """Yield facts that contradict those of another experiment."""
    for kind, key, value in facts:
        for there, other in known.get((kind, key), {}).items():
            if there != value:
                yield f"the {kind} is {value[:12]}, but {there[:12]} in {other} for the same file"
