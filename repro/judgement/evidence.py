"""What a result was made of: the files beside it, dvc.lock, the weights, the prepared data.

A judgement reads all of it through one `Evidence`, whether the files are in an experiment's folder, in DVC's
cache or in an exported run. Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from repro.errors import RecordError, ReproError
from repro.io import limits
from repro.params import Project
from repro.records.dvc_files import Lock, cached_file, read_lock

ALSO = "also"  # folder of an experiment with a folder for every further protocol
CSV, NPZ, METRICS, COST = "confusion.csv", "confusion.npz", "metrics.json", "cost.json"
CURVE, LOCK, WEIGHTS = "curve.csv", "dvc.lock", "model.safetensors"
LONGEST_HEADER = 100 << 20  # bytes; safetensors refuses longer ones


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A safetensors file: its sha256, and the run key in its metadata ("" where there is none)."""

    sha256: str
    run_key: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The files of one result; what is absent is None.

    `read` gives a file by its name below the experiment's folder ("also/whole/metrics.json"). `lock` is
    dvc.lock, None where DVC is not asked. `fingerprint` gives that of a
    prepared split by data set and split. `thorough`: also what takes seconds (intervals, sha256 of weights).
    """

    where: Path
    read: Callable[[str], bytes | None]
    lock: Lock | None = None
    weights: Callable[[], Weights | None] = field(default=lambda: None)
    fingerprint: Callable[[str, str], str | None] = field(default=lambda dataset, split: None)
    thorough: bool = True


def folder_evidence(project: Project, name: str, *, thorough: bool, locked: bool = True) -> Evidence:
    """The files in the folder of an experiment, and of its large ones those in DVC's cache.

    `locked` is False while its stages run: DVC writes dvc.lock after them.
    """
    folder = project.experiment_folder(name)
    lock = read_lock(folder / LOCK) if locked else None
    if locked and lock is None and (project.root / ".dvc").is_dir():
        lock = Lock(outs={}, deps={})

    def read(member: str) -> bytes | None:
        path = found(member)
        return limits.read_limited(path, limits.NPZ_BYTES, error=RecordError) if path else None

    def found(member: str) -> Path | None:
        path = folder / member
        if path.is_file():
            return path
        large = member.endswith((NPZ, WEIGHTS))
        return cached_file(project.root, lock.outs.get(member)) if large and lock else None

    def weights() -> Weights | None:
        path = found(WEIGHTS)
        if path is None:
            return None
        with path.open("rb") as file:
            return read_weights(file, path)

    return Evidence(
        where=folder,
        read=read,
        lock=lock,
        weights=weights,
        fingerprint=lambda dataset, split: prepared_fingerprint(project, dataset, split),
        thorough=thorough,
    )


def bundle_evidence(
    project: Project, where: Path, read: Callable[[str], bytes | None], open_file: Callable[[str], BinaryIO]
) -> Evidence:
    """The members of an exported run: `read` gives a small one (None where it is absent), `open_file` any."""

    def weights() -> Weights | None:
        with open_file(WEIGHTS) as file:
            return read_weights(file, where)

    return Evidence(
        where=where,
        read=read,
        weights=weights,
        fingerprint=lambda dataset, split: prepared_fingerprint(project, dataset, split),
    )


def prepared_fingerprint(project: Project, dataset: str, split: str) -> str | None:
    """Fingerprint of a split that is prepared here; None where it is not, or cannot be read."""
    path = project.prepared_split(dataset, split)
    if not path.is_file():
        return None
    from repro.datasets.prepare.prepared_split import Split  # OpenCV

    try:
        return Split.open(path).fingerprint
    except (ReproError, KeyError):  # `repro data check` says what is wrong with it
        return None


def read_weights(file: BinaryIO, where: object) -> Weights:
    """Hash a safetensors file; RecordError unless its header and its length fit each other.

    A header is 8 bytes with its length, then JSON: name -> {dtype, shape, data_offsets}, and `__metadata__`.
    """
    digest, start = hashlib.sha256(), file.read(8)
    size = int.from_bytes(start, "little")
    text = file.read(size) if len(start) == 8 and size <= LONGEST_HEADER else b""
    digest.update(start + text)
    length = 0
    while block := file.read(1 << 20):
        digest.update(block)
        length += len(block)
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        ends = [int(one["data_offsets"][1]) for one in header.values()]
        if max(ends, default=0) != length or not ends:
            raise ValueError("its tensors and its length do not fit each other")
        return Weights(sha256=digest.hexdigest(), run_key=str(metadata.get("run_key", "")))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        what = f"not a complete safetensors file: {error}"
        raise RecordError(what, where=where, hint="`dvc checkout`, or train it again") from None
