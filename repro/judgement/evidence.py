"""The files of a result: metrics, matrices, dvc.lock, weights and prepared data.

`Evidence` gives uniform access to files in an experiment's folder, DVC's cache or an exported run. Does not
import torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from repro.errors import RecordError, ReproError
from repro.io import limits
from repro.io.atomic import sha256_tree, tree_digest
from repro.params import Project
from repro.records.dvc_files import Lock, cached_file, read_lock

CSV, NPZ, METRICS, COST = "confusion.csv", "confusion.npz", "metrics.json", "cost.json"
CURVE, LOCK, WEIGHTS = "curve.csv", "dvc.lock", "model.safetensors"
OUT, RUN_KEY = "out", ".run_key"  # what a program's training left, and the file that says which training
DEPS = "deps"  # folder in an exported run: what its programs depend on
LARGEST_KEY = 1 << 10
MAX_HEADER = 100 << 20  # bytes; the limit of safetensors


@dataclass(frozen=True, kw_only=True)
class Weights:
    """sha256 of a safetensors file, and the run key in its metadata ("" without one)."""

    sha256: str
    run_key: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Access to the files of a result; missing files are None.

    Attributes:
        where: Folder or archive, for errors.
        read: Returns a file by its path below the experiment's folder ("also/whole/metrics.json").
        lock: dvc.lock; None if it is not checked.
        weights: Returns hash and run key of the weights.
        left: Returns the same of the folder that a program's training left.
        dependency: Returns the sha256 of a file or folder that a program depends on, by its path.
        fingerprint: Returns the fingerprint of a prepared split by data set and split.
        thorough: Also run checks that take seconds: intervals, sha256 of the weights.
    """

    where: Path
    read: Callable[[str], bytes | None]
    lock: Lock | None = None
    weights: Callable[[], Weights | None] = field(default=lambda: None)
    left: Callable[[], Weights | None] = field(default=lambda: None)
    dependency: Callable[[str], str | None] = field(default=lambda path: None)
    fingerprint: Callable[[str, str], str | None] = field(default=lambda dataset, split: None)
    thorough: bool = True


def folder_evidence(project: Project, name: str, *, thorough: bool, locked: bool = True) -> Evidence:
    """Return the files in an experiment's folder; large ones may be in DVC's cache.

    `locked` is False while its stages run, because DVC writes dvc.lock after them.
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
        left=lambda: left_by_program(folder / OUT),
        dependency=lambda path: dependency_sha256(project, path),
        fingerprint=lambda dataset, split: prepared_fingerprint(project, dataset, split),
        thorough=thorough,
    )


def left_by_program(out: Path) -> Weights | None:
    """Return hash and run key of the folder that a program's training left; None without it."""
    if not out.is_dir():
        return None
    key = out / RUN_KEY
    text = limits.read_limited(key, LARGEST_KEY, error=RecordError) if key.is_file() else b""
    return Weights(sha256=sha256_tree(out), run_key=text.decode(errors="replace").strip())


def dependency_sha256(project: Project, path: str) -> str | None:
    """Return the sha256 of a file or folder of the project; None if it is missing."""
    target = project.root / path
    return sha256_tree(target) if target.exists() else None


def bundle_evidence(
    project: Project,
    where: Path,
    read: Callable[[str], bytes | None],
    open_file: Callable[[str], BinaryIO],
    hashes: Mapping[str, str],
) -> Evidence:
    """Return the files of an exported run.

    Args:
        project: The project.
        where: The file, for errors.
        read: Returns the content of a small member; None if it is missing.
        open_file: Opens any member.
        hashes: Verified sha256 of every member.
    """

    def left() -> Weights | None:
        digest, key = member_sha256(hashes, OUT), read(f"{OUT}/{RUN_KEY}") or b""
        return Weights(sha256=digest, run_key=key.decode(errors="replace").strip()) if digest else None

    def weights() -> Weights | None:
        with open_file(WEIGHTS) as file:
            return read_weights(file, where)

    return Evidence(
        where=where,
        read=read,
        weights=weights,
        left=left,
        dependency=lambda path: dependency_sha256(project, path) or member_sha256(hashes, dependency(path)),
        fingerprint=lambda dataset, split: prepared_fingerprint(project, dataset, split),
    )


def dependency(path: str) -> str:
    """Return the name in an exported run of a file or folder that a program depends on."""
    return f"{DEPS}/{PurePosixPath(path)}"


def member_sha256(hashes: Mapping[str, str], name: str) -> str | None:
    """Return the sha256 of a file or folder among the members of an exported run; None if it is missing."""
    inside = {
        one.removeprefix(f"{name}/"): digest for one, digest in hashes.items() if one.startswith(f"{name}/")
    }
    return hashes.get(name) or (tree_digest(inside) if inside else None)


def prepared_fingerprint(project: Project, dataset: str, split: str) -> str | None:
    """Return the fingerprint of a prepared split; None if it is missing or invalid."""
    path = project.prepared_split(dataset, split)
    if not path.is_file():
        return None
    from repro.datasets.prepare.prepared_split import Split  # imports OpenCV

    try:
        return Split.open(path).fingerprint
    except (ReproError, KeyError):  # `repro data check` reports the error
        return None


def read_weights(file: BinaryIO, where: object) -> Weights:
    """Hash a safetensors file. Raises RecordError if its header does not match its length.

    The header is 8 bytes with its length, then JSON: name -> {dtype, shape, data_offsets} and `__metadata__`.
    """
    digest, start = hashlib.sha256(), file.read(8)
    size = int.from_bytes(start, "little")
    text = file.read(size) if len(start) == 8 and size <= MAX_HEADER else b""
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
            raise ValueError("the tensors do not match the length of the file")
        return Weights(sha256=digest.hexdigest(), run_key=str(metadata.get("run_key", "")))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        what = f"not a complete safetensors file: {error}"
        raise RecordError(what, where=where, hint="`dvc checkout`, or train it again") from None
