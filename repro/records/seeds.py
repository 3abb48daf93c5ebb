"""Related records: seeds of an experiment, and measurements of a training on several machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from repro.records.device import device_name
from repro.records.record import Record, Replicate
from repro.records.verdict import seed_band

# In bands of a single run, which are about the spread of seeds: three seeds with that standard deviation have
# an interval of 5 bands. A wider one is not seed noise (a seed failed), and would accept any number.
MAX_SEED_BAND = 5.0
OTHER_CHOICE = "the page prints"  # so begins why ours is not the statistic that a page prints


def families(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Group records that differ only in the seed, by family key, in the given order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.family_key, []).append(record)
    return found


def seeds_of(record: Record, others: Iterable[Record]) -> list[Record]:
    """Return `record` and one record per other seed, measured on the same images with the same protocol."""
    same = [one for one in others if one.experiment != record.experiment and _is_comparable(record, one)]
    return _unique_seeds([record, *same])


def disagreement(values: Sequence[float], band: float) -> str:
    """Return why the seeds must not be judged by their mean, or "". `band` is that of a single run."""
    found = seed_band(values)
    if found is None or found.value <= MAX_SEED_BAND * band + 1e-9:
        return ""
    spread = f"±{found.value:g} is more than {MAX_SEED_BAND:g} times the band of ±{band:g}"
    return f"the {len(values)} seeds disagree: {spread}"


def _unique_seeds(family: Iterable[Record]) -> list[Record]:
    """The first record of each seed."""
    found: dict[object, Record] = {}
    for record in family:
        found.setdefault(record.params.get("seed", record.experiment), record)
    return list(found.values())


def _is_comparable(record: Record, other: Record) -> bool:
    pairs = ((_measurement(one), one.family_key) for one in (record, other))
    return len(set(pairs)) == 1 and not (_is_rejected(record) or _is_rejected(other))


def _measurement(record: Record) -> tuple[str, str, int, str]:
    return record.dataset_fingerprint, record.split, record.n_images, record.protocol_hash


def _is_rejected(record: Record) -> bool:
    """Whether it is incomparable for reasons other than other seeds or a missing reference."""
    wanted, seeds = record.expectation, record.seeds
    if record.verdict != "incomparable" or wanted is None or is_other_choice(record):
        return False
    return seeds is None or not disagreement(list(seeds.values.values()), wanted.band)


def is_other_choice(record: Record) -> bool:
    """Whether it was recorded as incomparable only because of how the page chose its number."""
    return bool(record.notes) and record.notes[-1].startswith(OTHER_CHOICE)


MAX_REPLICATES = 20  # per record


def with_replicates(record: Record, known: Iterable[Record]) -> Record:
    """Return `record` with the earlier measurements of the same training that it replaces."""
    before = next((one for one in known if one.experiment == record.experiment), None)
    if before is None or before.run_key != record.run_key:
        return record
    others = list(before.replicates)
    if before.model_sha256 != record.model_sha256:
        others = [replicate_of(before), *others]
    others = [one for one in others if one.model_sha256 != record.model_sha256]
    return replace(record, replicates=tuple(others[:MAX_REPLICATES]))


def replicate_of(record: Record) -> Replicate:
    """Summarise a record as a replicate of another record."""
    training = record.provenance.get("training") or record.provenance
    device = training.get("device")
    names = device if isinstance(device, dict) else {}
    return Replicate(
        content_hash=record.content_hash,
        model_sha256=record.model_sha256,
        metrics=dict(record.metrics),
        at=str(training.get("at", "")),
        device=device_name(names),
    )
