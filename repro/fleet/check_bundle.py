"""What an exported run must be to be brought in: whole, of this experiment, and of one measurement."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from repro.errors import RecordError, ReproError, UnknownNameError
from repro.params import Project, experiment_names, load_experiment, to_plain
from repro.records import DIFF, Record, from_json
from repro.records.make import ALSO
from repro.records.measured import intervals, plain_metrics
from repro.records.nested import leaves
from repro.records.record import Measured

MANIFEST = "manifest.json"
RECORD = "record.json"
WEIGHTS = "model.safetensors"
METRICS = "metrics.json"
OF_WORK = ("journal.jsonl", DIFF)  # of the work folder
OUTPUTS = (WEIGHTS, "curve.csv", METRICS, "cost.json", "confusion.csv", "confusion.npz")
NEEDED = (WEIGHTS, METRICS, "cost.json", "confusion.npz")
RUN_KEY = re.compile(r"[0-9a-f]{16}")  # it names a folder: a forged one must not name another
COPY = "copy the file again, or export it again where it was made"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified file: its record, and its members below the experiment's folder."""

    path: Path
    record: Record
    members: tuple[str, ...]


def verify_bundle(project: Project, path: Path) -> Bundle:
    """Check a file completely; RecordError tells what is wrong with it."""
    with _reading(path) as archive:
        hashes = _manifest(archive)
        _check_members(archive, hashes, path)
        record = from_json(_mapping(archive, RECORD), path)
        check_complete(record, hashes, where=path, hint=COPY)
        check_results(record, hashes[WEIGHTS], lambda name: _mapping(archive, name), where=path, hint=COPY)
    _check_experiment(project, record, path)
    return Bundle(path=path, record=record, members=tuple(hashes))


@contextmanager
def _reading(path: Path) -> Iterator[zipfile.ZipFile]:
    """The file, opened; whatever goes wrong while it is read, RecordError says that it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except ReproError:
        raise
    except FileNotFoundError:
        raise RecordError("no such file", where=path, hint="`repro export NAME` makes one") from None
    except Exception as error:  # of zipfile, zlib, lzma, json, ...: damage anywhere has a type of its own
        raise RecordError(f"not an exported run: {error}", where=path, hint=COPY) from None


def _manifest(archive: zipfile.ZipFile) -> dict[str, str]:
    """Member -> sha256."""
    files = _mapping(archive, MANIFEST).get("files")
    if not isinstance(files, dict):
        raise ValueError("its manifest names no files")
    return files


def _mapping(archive: zipfile.ZipFile, member: str) -> dict[str, Any]:
    found = json.loads(archive.read(member))
    if not isinstance(found, dict):
        raise ValueError(f"'{member}' is not a mapping")
    return found


def _check_members(archive: zipfile.ZipFile, hashes: Mapping[str, str], path: Path) -> None:
    for member, wanted in hashes.items():
        if not allowed(member):
            raise RecordError(f"the file holds '{member}'", where=path, allowed="outputs of the stages")
        with archive.open(member) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        if found != wanted:
            raise RecordError(f"'{member}' is damaged", where=path, hint=COPY)


def allowed(member: str) -> bool:
    """Whether a member is an output of a stage, and nothing that leaves the experiment's folder."""
    parts = PurePosixPath(member).parts
    further = len(parts) > 2 and parts[0] == ALSO and parts[1] != ".."  # a folder for each protocol
    inner = parts[2:] if further else parts
    picture = len(inner) == 2 and inner[0] == "overlays" and inner[1].endswith(".png")
    known = "/".join(inner) in (*OUTPUTS, *(() if further else (RECORD, *OF_WORK)))
    return (known or picture) and "\\" not in member


def check_complete(record: Record, members: Iterable[str], *, where: Path, hint: str) -> None:
    """Everything that a record is made of is there."""
    held, further = set(members), (f"{ALSO}/{name}/{METRICS}" for name in record.also)
    missing = [name for name in (*NEEDED, *further) if name not in held]
    if missing:
        raise RecordError(f"{missing[0]} is missing", where=where, hint=hint)


def check_results(
    record: Record, weights: str, read: Callable[[str], Mapping[str, Any]], *, where: Path, hint: str
) -> None:
    """Weights (their sha256) and numbers are those of the record, not of a run before it or after it."""
    under: dict[str, Record | Measured] = {METRICS: record}
    under |= {f"{ALSO}/{name}/{METRICS}": one for name, one in record.also.items()}
    other = [name for name, measured in under.items() if not _agrees(read(name), measured)]
    if weights != record.model_sha256:
        other.insert(0, WEIGHTS)
    if other:
        raise RecordError(f"the record was made of another {other[0]}", where=where, hint=hint)


def _agrees(found: Mapping[str, Any], measured: Record | Measured) -> bool:
    numbers = (plain_metrics(found), intervals(found), found.get("IoU"), found.get("n_images"))
    recorded = (measured.metrics, measured.intervals, measured.per_class, measured.n_images)
    return numbers == recorded and found.get("protocol") == measured.protocol_hash


def _check_experiment(project: Project, record: Record, path: Path) -> None:
    """The experiment exists here and has the parameters that the run was made with."""
    if record.experiment not in experiment_names(project):
        raise UnknownNameError("experiment", record.experiment, experiment_names(project))
    if not RUN_KEY.fullmatch(record.run_key):
        raise RecordError(f"not a run key: '{record.run_key}'", where=path, allowed="16 hexadecimal digits")
    here = to_plain(load_experiment(project, record.experiment))
    wrong = sorted(difference(here, record.params))
    if wrong:
        raise RecordError(
            f"made with other parameters: {wrong[0]}" + (f" and {len(wrong) - 1} more" if wrong[1:] else ""),
            where=path,
            hint="check out the commit it was made at, or run it again",
        )


def difference(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    """`model.backbone: 'resnet50' here, 'resnet101' there` for every key that differs."""
    mine, theirs = dict(leaves(here)), dict(leaves(there))
    for key in sorted({*mine, *theirs}):
        if mine.get(key) != theirs.get(key):
            yield f"{key}: {mine.get(key)!r} here, {theirs.get(key)!r} there"


def check_data(project: Project, record: Record) -> None:
    """The split it was measured on is the one prepared here; ReproError when it is not or is absent."""
    from repro.datasets.archive import Split

    path = measured_on(project, record)
    if not path.is_file():
        raise ReproError(
            "the data is not prepared here", where=path, hint=f"`repro prepare {record.dataset}`"
        )
    if Split.open(path).fingerprint != record.dataset_fingerprint:
        raise RecordError("measured on other data", where=path, hint=f"compare the {record.dataset} of both")


def measured_on(project: Project, record: Record) -> Path:
    """The prepared split of a record, where this project has or would have it."""
    return project.prepared_split(record.dataset, record.split)
