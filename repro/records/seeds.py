"""Records that belong together: seeds of one experiment, and one training on several machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from repro.records.record import Record, Replicate
from repro.records.verdict import seed_band

# Of a single run's band, which is about one seed's spread: three seeds with that standard deviation have an
# interval of 5 bands. A wider one is no noise of seeds (one of them failed), and would pass any number.
WIDEST = 5.0


def families(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Family key -> the records that differ in their seed alone, in the order given."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.family_key, []).append(record)
    return found


def seeds_of(record: Record, others: Iterable[Record]) -> list[Record]:
    """`record`, then one of every other seed of it, measured on the same images in the same way."""
    same = [one for one in others if one.experiment != record.experiment and _alike(record, one)]
    return _one_a_seed([record, *same])


def disagreement(values: Sequence[float], band: float) -> str:
    """Why these seeds must not be judged by their mean; empty when they may. `band` is that of one run."""
    found = seed_band(values)
    if found is None or found.value <= WIDEST * band + 1e-9:
        return ""
    spread = f"±{found.value:g} is more than {WIDEST:g} times the band of ±{band:g}"
    return f"the {len(values)} seeds disagree: {spread}"


def _one_a_seed(family: Iterable[Record]) -> list[Record]:
    """A family without those that train with a seed which an earlier one has: they say nothing new."""
    found: dict[object, Record] = {}
    for record in family:
        found.setdefault(record.params.get("seed", record.experiment), record)
    return list(found.values())


def _alike(record: Record, other: Record) -> bool:
    pairs = ((_measurement(one), one.family_key) for one in (record, other))
    return len(set(pairs)) == 1 and not (_doubtful(record) or _doubtful(other))


def _measurement(record: Record) -> tuple[str, str, int, str]:
    return record.dataset_fingerprint, record.split, record.n_images, record.protocol_hash


def _doubtful(record: Record) -> bool:
    """Incomparable by itself: seeds that disagree, or no reference, say nothing against its number."""
    wanted, seeds = record.expectation, record.seeds
    if record.verdict != "incomparable" or wanted is None:
        return False
    return seeds is None or not disagreement(list(seeds.values.values()), wanted.band)


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
