"""Do results that name the same file say the same of it? Seen without data and weights.

dvc.lock names the files of a result by their md5. Results that were measured on one prepared file have one
data fingerprint, and weights with one md5 have one sha256 and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from repro.judgement.evidence import WEIGHTS
from repro.records import Record
from repro.records.dvc_files import Lock

DATA, SHA256, FILE = "data fingerprint", "sha256 of the weights", "md5 of the weights"


class Said(NamedTuple):
    """What a record and its dvc.lock say: `fact` has `value` wherever `key` is the same."""

    fact: str
    key: str
    value: str


Known = Mapping[tuple[str, str], Mapping[str, str]]  # (fact, key) -> value -> an experiment that says so


def said(record: Record, lock: Lock | None) -> Iterator[Said]:
    """What a record says of its prepared split and of its weights, where dvc.lock names one file for it."""
    if lock is None:
        return
    read, weights = set(lock.deps.get(_prepared(record), ())), lock.outs.get(WEIGHTS)
    if len(read) == 1:
        yield Said(DATA, read.pop(), record.dataset_fingerprint)
    if weights and record.model_sha256:
        yield Said(SHA256, weights, record.model_sha256)
        yield Said(FILE, record.model_sha256, weights)


def _prepared(record: Record) -> str:
    return f"../../prepared/{record.dataset}/{record.split}.zip"


def gather(everything: Iterable[tuple[str, Iterable[Said]]]) -> Known:
    """What all experiments say together; of those that say the same, the first is named."""
    known: dict[tuple[str, str], dict[str, str]] = {}
    for name, facts in everything:
        for fact, key, value in facts:
            known.setdefault((fact, key), {}).setdefault(value, name)
    return known


def disagreements(facts: Iterable[Said], known: Known) -> Iterator[str]:
    """Where another experiment says something else of the same file."""
    for fact, key, value in facts:
        for there, other in known.get((fact, key), {}).items():
            if there != value:
                yield f"the {fact} is {value[:12]}, and {there[:12]} in {other}, which names the same file"
