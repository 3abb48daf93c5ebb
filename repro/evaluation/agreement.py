"""Do the files of an experiment belong together, and to its params as they are now? Asked before recording.

In a pipeline DVC keeps them together; by hand one can evaluate, edit params.yaml, exchange prepared data or
weights, and record: the record would then hold the numbers of one thing under the name of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.errors import RecordError
from repro.evaluation.files import StoredConfusions, read_confusions
from repro.evaluation.metrics import metrics
from repro.params.protocol import Protocol, protocol_hash
from repro.records.measured import read_metrics

TOLERANCE = 1e-3  # of a percentage; metrics.json is rounded to 1e-4


def require_measured_so(folder: Path, protocol: Protocol, *, fingerprint: str) -> None:
    """RecordError unless `folder` was measured under `protocol` on the prepared split of this fingerprint."""
    found, stored = read_metrics(folder / "metrics.json"), read_confusions(folder / "confusion.npz")
    code = protocol_hash(protocol, classes=stored.classes)
    _same("the protocol", found["protocol"], code, folder)
    _same("the protocol of the matrices", stored.protocol, code, folder)
    _same("the data", stored.fingerprint[:12], fingerprint[:12], folder)
    _same("the split of the matrices", stored.split, found["split"], folder)
    _same("the number of images of the matrices", len(stored.ids), found["n_images"], folder)
    for name, value in recomputed(stored).items():
        if abs(value - float(found.get(name, value))) > TOLERANCE:
            _same(name, found[name], value, folder)


def recomputed(stored: StoredConfusions) -> Mapping[str, float]:
    """The metrics that the matrices give, percent, with the suffixes of their variants; no NaN."""
    values = {
        name + suffix: value
        for suffix, one in stored.confusions.items()
        for name, value in metrics(one.total(), chosen=stored.chosen, absent=stored.absent).items()
    }
    return {name: value for name, value in values.items() if value == value}


def _same(what: str, found: Any, wanted: Any, folder: Path) -> None:
    if found != wanted:
        hint = f"`dvc repro experiments/{folder.name}` or `repro evaluate {folder.name}` measures again"
        raise RecordError(
            f"{what} is {found}, and must be {wanted}", where=folder / "metrics.json", hint=hint
        )
