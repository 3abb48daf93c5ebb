"""Verify an exported run before import: complete, of this experiment, and consistent."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from repro.errors import RecordError, ReproError, UnknownNameError
from repro.fleet.ro_crate import CRATE
from repro.io.limits import require_regular
from repro.io.names import is_plain_name
from repro.judgement import Case, Evidence, bundle_evidence, contradictions
from repro.judgement.evidence import DEPS, OUT, dependency, member_sha256
from repro.judgement.outdated import outdated
from repro.params import Experiment, Project, experiment_names, load_experiment, to_plain
from repro.records import DIFF, Record, from_json
from repro.records.build import ALSO, program_deps
from repro.records.flatten import leaves

MANIFEST = "manifest.json"
RECORD = "record.json"
WEIGHTS = "model.safetensors"
METRICS = "metrics.json"
OF_WORK = ("journal.jsonl", DIFF)  # from the work folder
OUTPUTS = (WEIGHTS, "curve.csv", METRICS, "cost.json", "confusion.csv", "confusion.npz")
NEEDED = (WEIGHTS, METRICS, "cost.json", "confusion.npz")
OF_PROGRAM = (OUT, DEPS)  # folders: what a program's training left, and the files of its programs
# Limits on members and, by suffix, on their bytes; actual runs are far below.
MOST_MEMBERS = 2_000
_MiB = 1 << 20
LARGEST = {
    WEIGHTS: 4096 * _MiB,
    "journal.jsonl": 512 * _MiB,
    "confusion.npz": 1024 * _MiB,
    DIFF: 64 * _MiB,
    ".png": 32 * _MiB,
    ".csv": 32 * _MiB,
    ".json": 16 * _MiB,
}
LARGEST_OF_PROGRAM = 4096 * _MiB  # a file in OF_PROGRAM
LONGEST = 255  # bytes of a file name
RUN_KEY = re.compile(r"[0-9a-f]{16}")  # a folder name, so a forged one must not be another path
COPY = "copy the file again, or export it again"
COMMIT = "check out the run's commit, or run the experiment again"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified file with its record and members."""

    path: Path
    record: Record
    hashes: Mapping[str, str]  # member -> sha256

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.hashes)


def verify_bundle(project: Project, path: Path) -> Bundle:
    """Verify all members, the record, its parameters and its result; raises RecordError."""
    with _reading(path) as archive:
        check_entries(archive.infolist(), path)
        name, hashes = _manifest(archive)
        _check_listed(archive, hashes, path)
        _check_members(archive, hashes, path)
        record = from_json(_mapping(archive, RECORD), path)
        if name != record.experiment:
            raise RecordError(f"its manifest is of {name!r}, its record of '{record.experiment}'", where=path)
        check_complete(record, hashes, where=path, hint=COPY)
        check_program(record, hashes, where=path, hint=COPY)
        _check_named(record, hashes, path)
        now = _check_experiment(project, record, path)
        _check_result(project, record, now, _evidence(project, archive, path, hashes))
    return Bundle(path=path, record=record, hashes=hashes)


@contextmanager
def _reading(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the file; every error while reading it becomes a RecordError."""
    require_regular(path, error=RecordError)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except ReproError:
        raise
    except FileNotFoundError:
        raise RecordError("no such file", where=path, hint="`repro bundle export NAME` writes one") from None
    except Exception as error:  # zipfile, zlib, lzma and json raise many types for corrupt files
        raise RecordError(f"not an exported run: {error}", where=path, hint=COPY) from None


def _manifest(archive: zipfile.ZipFile) -> tuple[object, dict[str, str]]:
    """(name of the experiment, member -> sha256)."""
    manifest = _mapping(archive, MANIFEST)
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise ValueError("its manifest lists no files")
    return manifest.get("name"), files


def _mapping(archive: zipfile.ZipFile, member: str) -> dict[str, Any]:
    found = json.loads(archive.read(member))
    if not isinstance(found, dict):
        raise ValueError(f"'{member}' is not a mapping")
    return found


def check_entries(entries: Sequence[zipfile.ZipInfo], where: Path) -> None:
    """Check names and sizes of members before reading them; raises RecordError."""
    if len(entries) > MOST_MEMBERS:
        raise RecordError(
            f"the file holds {len(entries)} members", where=where, allowed=f"{MOST_MEMBERS} at most"
        )
    names: set[str] = set()
    for entry in entries:
        name = entry.filename
        if name != MANIFEST and not allowed(name):
            raise RecordError(f"the file holds {name[:80]!r}", where=where, allowed="outputs of the stages")
        if name in names:
            raise RecordError(f"the file holds '{name}' twice", where=where, hint=COPY)
        if stat.S_ISLNK(entry.external_attr >> 16) or entry.flag_bits & 1:
            raise RecordError(f"'{name}' is a link or encrypted", where=where, allowed="plain files")
        check_size(name, entry.file_size, where)
        names.add(name)
    both = names & {str(parent) for name in names for parent in PurePosixPath(name).parents}
    if both:
        raise RecordError(f"'{min(both)}' is a file and a folder", where=where, hint=COPY)


def check_size(name: str, size: int, where: Path) -> None:
    """Raise RecordError for a member that is larger than any output of a stage."""
    of_program = name.split("/")[0] in OF_PROGRAM
    most = LARGEST_OF_PROGRAM if of_program else next(n for end, n in LARGEST.items() if name.endswith(end))
    if size > most:
        what = f"'{name}' has {size / _MiB:,.0f} MiB"
        raise RecordError(what, where=where, allowed=f"{most // _MiB:,} MiB at most")


def _check_listed(archive: zipfile.ZipFile, hashes: Mapping[str, str], path: Path) -> None:
    """Check that the manifest lists exactly the members."""
    for member in sorted({*archive.namelist()} ^ {*hashes, MANIFEST}):
        if not allowed(member):
            raise RecordError(f"the file holds {member[:80]!r}", where=path, allowed="outputs of the stages")
        raise RecordError(f"'{member}' is not both in the file and in its manifest", where=path, hint=COPY)


def _check_members(archive: zipfile.ZipFile, hashes: Mapping[str, str], path: Path) -> None:
    for member, wanted in hashes.items():
        with archive.open(member) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        if found != wanted:
            raise RecordError(f"'{member}' is corrupt", where=path, hint=COPY)


def allowed(member: str) -> bool:
    """Whether a member is an output of a stage, with a normalised path (not `./a`, `a//b` or `b/../a`)."""
    parts = tuple(member.split("/"))
    if parts[0] in OF_PROGRAM:
        return len(parts) > 1 and all(map(_is_file_name, parts))
    further = len(parts) > 2 and parts[0] == ALSO and is_plain_name(parts[1])  # one folder per protocol
    inner = parts[2:] if further else parts
    overlay = len(inner) == 2 and inner[0] == "overlays" and _is_overlay(inner[1])
    known = "/".join(inner) in (*OUTPUTS, *(() if further else (RECORD, CRATE, *OF_WORK)))
    return known or overlay


def _is_overlay(name: str) -> bool:
    """Whether `name` is a PNG file name; hidden files and paths are not allowed."""
    return _is_file_name(name) and name.endswith(".png") and not name.startswith(".")


def _is_file_name(name: str) -> bool:
    """Whether `name` is one component of a normalised path."""
    size = len(name.encode(errors="replace"))
    return 0 < size <= LONGEST and name not in (".", "..") and name.isprintable() and "\\" not in name


def check_complete(record: Record, members: Iterable[str], *, where: Path, hint: str) -> None:
    """Raise RecordError unless all files of an experiment are present, and none of another kind."""
    if record.kind not in ("trained", "external"):
        raise RecordError(f"its kind is '{record.kind}'", where=where, allowed="trained or external")
    held, further = set(members), (f"{ALSO}/{name}/{METRICS}" for name in record.also)
    needed = NEEDED if record.kind == "trained" else NEEDED[1:]
    missing = [name for name in (*needed, *further) if name not in held]
    if missing:
        raise RecordError(f"{missing[0]} is missing", where=where, hint=hint)
    foreign = (WEIGHTS,) if record.kind == "external" else OF_PROGRAM
    strange = sorted(name for name in held if name.split("/")[0] in foreign)
    if strange:
        what = f"the file holds {strange[0]!r}, and its kind is '{record.kind}'"
        raise RecordError(what, where=where, hint=hint)


def check_program(record: Record, hashes: Mapping[str, str], *, where: Path, hint: str) -> None:
    """Raise RecordError unless the members have the programs of the record, and what they left."""
    inputs = record.provenance.get("inputs")
    if record.kind != "external" or not isinstance(inputs, Mapping):
        return
    wanted = {dependency(path): digest for path, digest in program_deps(inputs).items()}
    if (record.params.get("external") or {}).get("train"):
        wanted[OUT] = str(record.model_sha256)
    wrong = [name for name, digest in wanted.items() if member_sha256(hashes, name) != digest]
    if wrong:
        what = f"{wrong[0]} is missing, or not the one of the record"
        raise RecordError(what, where=where, hint=hint)


def _check_named(record: Record, hashes: Mapping[str, str], path: Path) -> None:
    """Check protocols and the code difference, which the judgement does not read, against the record."""
    protocols = {member.split("/")[1] for member in hashes if member.startswith(f"{ALSO}/")}
    for name in sorted(protocols - record.also.keys()):
        what = f"the file holds a result under '{name}', which is not in the record"
        raise RecordError(what, where=path, hint=COPY)
    if DIFF in hashes and hashes[DIFF] != recorded_diff(record):
        raise RecordError(f"{DIFF} does not match the record", where=path, hint=COPY)


def recorded_diff(record: Record) -> object:
    """sha256 of the uncommitted code of a training; None if all was committed."""
    made_at = (record.provenance.get("training") or record.provenance).get("git")
    return made_at.get("diff_sha256") if isinstance(made_at, Mapping) else None


def _evidence(project: Project, archive: zipfile.ZipFile, path: Path, hashes: Mapping[str, str]) -> Evidence:
    """The members of a file as evidence; `check_entries` has checked their sizes."""
    held = set(archive.namelist())
    return bundle_evidence(
        project,
        path,
        read=lambda member: archive.read(member) if member in held else None,
        open_file=lambda member: cast("BinaryIO", archive.open(member)),
        hashes=hashes,
    )


def _check_result(project: Project, record: Record, now: Experiment, evidence: Evidence) -> None:
    """Check the result like `record` and `check` do, for the local experiment."""
    case = Case(project=project, record=record, current=now, evidence=evidence)
    for found in contradictions(case):
        raise RecordError(found, where=evidence.where, hint=COPY)
    for found in outdated(case):
        raise RecordError(found, where=evidence.where, hint=COMMIT)


def _check_experiment(project: Project, record: Record, path: Path) -> Experiment:
    """The local experiment; raises an error if it is unknown or has other parameters."""
    if record.experiment not in experiment_names(project):
        raise UnknownNameError("experiment", record.experiment, experiment_names(project))
    if not RUN_KEY.fullmatch(record.run_key):
        raise RecordError(f"not a run key: '{record.run_key}'", where=path, allowed="16 hexadecimal digits")
    here = load_experiment(project, record.experiment)
    wrong = sorted(difference(to_plain(here), record.params))
    if wrong:
        raise RecordError(
            f"run with other parameters: {wrong[0]}" + (f" and {len(wrong) - 1} more" if wrong[1:] else ""),
            where=path,
            hint=COMMIT,
        )
    return here


def difference(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    """Yield `model.backbone: 'resnet50' here, 'resnet101' there` for every differing key."""
    mine, theirs = dict(leaves(here)), dict(leaves(there))
    for key in sorted({*mine, *theirs}):
        if mine.get(key) != theirs.get(key):
            yield f"{key}: {mine.get(key)!r} here, {theirs.get(key)!r} there"


def check_data(project: Project, record: Record) -> None:
    """Raise ReproError unless the local prepared split is the one that the record was measured on."""
    from repro.datasets.prepare.prepared_split import Split

    path = project.prepared_split(record.dataset, record.split)
    if not path.is_file():
        raise ReproError("the data is not prepared", where=path, hint=f"`repro prepare {record.dataset}`")
    if Split.open(path).fingerprint != record.dataset_fingerprint:
        raise RecordError(
            "measured on different data", where=path, hint=f"compare the {record.dataset} of both"
        )
