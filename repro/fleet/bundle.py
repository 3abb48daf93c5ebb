"""A finished run as one verified file: made on a machine with nothing but torch, brought home elsewhere.

The file is a zip of what the stages wrote, the record, the journal, and `manifest.json` with the sha256 of
every member. Bringing it in checks all of them, that the parameters are those of the experiment here, and
that the data was the same, before anything is written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from repro.errors import RecordError, ReproError, UnknownNameError
from repro.params import Project, experiment_names, load_experiment, to_plain
from repro.records import DIFF, Record, from_json, read_record, write_bytes
from repro.records.make import ALSO

MANIFEST = "manifest.json"
RECORD = "record.json"
OF_WORK = ("journal.jsonl", DIFF)  # of the work folder
OUTPUTS = ("model.safetensors", "curve.csv", "metrics.json", "cost.json", "confusion.csv", "confusion.npz")
NEEDED = ("model.safetensors", "metrics.json", "cost.json", "confusion.npz")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified file: its record, and its members below the experiment's folder."""

    path: Path
    record: Record
    members: tuple[str, ...]


def export_run(project: Project, name: str, out: Path) -> Bundle:
    """Write the finished run of `name` to `out`; RecordError when a stage has not run."""
    record = read_record(project.rows / f"{name}.json")
    sources = dict(_sources(project, record))
    missing = [file for file in NEEDED if file not in sources]
    if missing:
        hint = f"`repro run {name}`"
        raise RecordError(f"{missing[0]} is missing", where=project.experiments / name, hint=hint)
    manifest = {"name": name, "files": {member: _sha256(path) for member, path in sources.items()}}
    half = out.with_name(f".{out.name}.part")
    try:
        with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(MANIFEST, json.dumps(manifest, indent=2))
            for member, path in sources.items():
                archive.write(path, member)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)
    return Bundle(path=out, record=record, members=tuple(sources))


def _sources(project: Project, record: Record) -> Iterator[tuple[str, Path]]:
    folder = project.experiments / record.experiment
    yield RECORD, project.rows / f"{record.experiment}.json"
    yield from ((name, folder / name) for name in OUTPUTS if (folder / name).is_file())
    yield from ((f"overlays/{path.name}", path) for path in sorted((folder / "overlays").glob("*.png")))
    further = (path for protocol in record.also for path in sorted((folder / ALSO / protocol).rglob("*")))
    yield from ((path.relative_to(folder).as_posix(), path) for path in further if path.is_file())
    work = project.work / record.run_key
    yield from ((name, work / name) for name in OF_WORK if (work / name).is_file())


def verify_bundle(project: Project, path: Path) -> Bundle:
    """Check a file completely; RecordError tells what is wrong with it."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read(MANIFEST))
            members = tuple(manifest["files"])
            _check_members(archive, manifest["files"], path)
            record = from_json(json.loads(archive.read(RECORD)), path)
    except FileNotFoundError:
        raise RecordError("no such file", where=path, hint="`repro export NAME` makes one") from None
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
        raise RecordError(f"not an exported run: {error}", where=path, hint="copy the file again") from None
    _check_experiment(project, record, path)
    return Bundle(path=path, record=record, members=members)


def _check_members(archive: zipfile.ZipFile, hashes: Mapping[str, str], path: Path) -> None:
    for member, wanted in hashes.items():
        if not allowed(member):
            raise RecordError(f"the file holds '{member}'", where=path, allowed="outputs of the stages")
        with archive.open(member) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        if found != wanted:
            raise RecordError(f"'{member}' is damaged", where=path, hint="copy the file again")


def allowed(member: str) -> bool:
    """Whether a member is an output of a stage, and nothing that leaves the experiment's folder."""
    parts = PurePosixPath(member).parts
    further = len(parts) > 2 and parts[0] == ALSO and parts[1] != ".."  # as above, a folder each
    inner = parts[2:] if further else parts
    picture = len(inner) == 2 and inner[0] == "overlays" and inner[1].endswith(".png")
    known = "/".join(inner) in (*OUTPUTS, *(() if further else (RECORD, *OF_WORK)))
    return (known or picture) and "\\" not in member


def _check_experiment(project: Project, record: Record, path: Path) -> None:
    """The experiment exists here and has the parameters that the run was made with."""
    if record.experiment not in experiment_names(project):
        raise UnknownNameError("experiment", record.experiment, experiment_names(project))
    here = to_plain(load_experiment(project, record.experiment))
    wrong = sorted(difference(here, record.params))
    if wrong:
        raise RecordError(
            f"made with other parameters: {wrong[0]}" + (f" and {len(wrong) - 1} more" if wrong[1:] else ""),
            where=path,
            hint="check out the commit it was made at, or run it again",
        )


def difference(here: Mapping[str, Any], there: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`model.backbone: 'resnet50' here, 'resnet101' there` for every key that differs."""
    for key in sorted({*here, *there}):
        mine, other = here.get(key), there.get(key)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            yield from difference(mine, other, f"{prefix}{key}.")
        elif mine != other:
            yield f"{prefix}{key}: {mine!r} here, {other!r} there"


def import_run(project: Project, path: Path) -> Record:
    """Put a verified run where its stages would have; what was there before is replaced as a whole."""
    bundle = verify_bundle(project, path)
    record = bundle.record
    folder = project.experiments / record.experiment
    unpacked = project.root / ".repro" / "import" / record.experiment
    shutil.rmtree(unpacked, ignore_errors=True)
    with zipfile.ZipFile(path) as archive:
        for member in bundle.members:
            target = unpacked / member
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
    _place(project, record, unpacked, folder)
    shutil.rmtree(unpacked, ignore_errors=True)
    return record


def _place(project: Project, record: Record, unpacked: Path, folder: Path) -> None:
    """By renames on one disk; the record, which says that all is there, comes last."""
    for name in ("overlays", ALSO):
        if (unpacked / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
            (unpacked / name).replace(folder / name)
    for name in OUTPUTS:
        if (unpacked / name).is_file():
            (unpacked / name).replace(folder / name)
    for name in OF_WORK:
        if (unpacked / name).is_file():
            work = project.work / record.run_key
            work.mkdir(parents=True, exist_ok=True)
            (unpacked / name).replace(work / name)
    write_bytes(project.rows / f"{record.experiment}.json", (unpacked / RECORD).read_bytes())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_data(project: Project, record: Record) -> None:
    """The split it was measured on is the one prepared here; ReproError when it is not or is absent."""
    from repro.datasets.archive import Split

    path = project.prepared / record.dataset / f"{record.split}.zip"
    if not path.is_file():
        raise ReproError(
            "the data is not prepared here", where=path, hint=f"`repro prepare {record.dataset}`"
        )
    if Split.open(path).fingerprint != record.dataset_fingerprint:
        raise RecordError("measured on other data", where=path, hint=f"compare the {record.dataset} of both")
