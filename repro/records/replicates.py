"""One training measured on several machines: the record in git is one of them and names the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from repro.records.record import Record, Replicate

MOST = 20  # other measurements that a record names


def with_replicates(record: Record, known: Iterable[Record]) -> Record:
    """`record` with the measurements of the same training that it takes the place of."""
    before = next((one for one in known if one.experiment == record.experiment), None)
    if before is None or before.run_key != record.run_key:
        return record
    others = list(before.replicates)
    if before.model_sha256 != record.model_sha256:
        others = [replicate_of(before), *others]
    others = [one for one in others if one.model_sha256 != record.model_sha256]
    return replace(record, replicates=tuple(others[:MOST]))


def replicate_of(record: Record) -> Replicate:
    """What another record of the same training says of `record`."""
    training = record.provenance.get("training") or record.provenance
    device = training.get("device")
    names = device if isinstance(device, dict) else {}
    return Replicate(
        content_hash=record.content_hash,
        model_sha256=record.model_sha256,
        metrics=dict(record.metrics),
        at=str(training.get("at", "")),
        device=str(names.get("gpu") or names.get("cpu") or ""),
    )
