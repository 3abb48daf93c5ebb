"""Export a finished run as one file, and import it in another clone.

The file is a zip of the stages' outputs, the record, the journal, and `manifest.json` with the sha256 of
every member. Before it writes anything, import verifies all members, that the parameters are those of the
local experiment, and that the result passes the checks of `record` and `check`.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from repro.errors import RecordError, StorageError
from repro.fleet.check_bundle import (
    COPY,
    MANIFEST,
    OF_WORK,
    OUTPUTS,
    RECORD,
    Bundle,
    check_complete,
    recorded_diff,
    verify_bundle,
)
from repro.fleet.workspace import remove, training_lock
from repro.io.names import require_inside
from repro.judgement import Case, folder_evidence, require_consistent
from repro.params import Project, load_experiment
from repro.records import DIFF, Record, read_record, sha256_file, write_bytes
from repro.records.build import ALSO
from repro.records.dvc_files import is_project_file


def export_run(project: Project, name: str, out: Path) -> Bundle:
    """Write the finished run of `name` to `out`; RecordError if the outputs do not match the record."""
    if not out.parent.is_dir():
        raise StorageError("no such folder", where=out.parent, hint=f"`mkdir -p {out.parent}`")
    record, folder = read_record(project.record(name)), project.experiment_folder(name)
    if record.kind == "external":
        what = f"the run of '{name}' cannot be exported: a program trained it, and its files are in out/"
        hint = "git has its record, metrics and curve; `dvc push` and `dvc pull` move out/"
        raise RecordError(what, where=folder, allowed="a run of this project's engine", hint=hint)
    sources = {
        member: path for member, path in _sources(project, record) if is_project_file(project.root, path)
    }
    check_complete(record, sources, where=folder, hint=f"`repro run {name}`")
    hashes = {member: sha256_file(path) for member, path in sources.items()}
    again = f"`repro record {name}`, or `repro run {name}` if a stage is out of date"
    evidence = folder_evidence(project, name, thorough=True, locked=False)  # dvc.lock is not exported
    require_consistent(
        Case(
            project=project,
            record=record,
            current=load_experiment(project, name),
            evidence=evidence,
        ),
        hint=again,
    )
    _write(out, {"name": name, "files": hashes}, sources)
    return Bundle(path=out, record=record, hashes=hashes)


def _sources(project: Project, record: Record) -> Iterator[tuple[str, Path]]:
    folder = project.experiment_folder(record.experiment)
    yield RECORD, project.record(record.experiment)
    yield from ((name, folder / name) for name in OUTPUTS)
    yield from ((f"overlays/{path.name}", path) for path in sorted((folder / "overlays").glob("*.png")))
    further = (path for protocol in record.also for path in sorted((folder / ALSO / protocol).rglob("*")))
    yield from ((path.relative_to(folder).as_posix(), path) for path in further)
    work = project.work_folder(record.run_key)
    yield from ((name, work / name) for name in OF_WORK if name != DIFF)
    if (work / DIFF).is_file() and sha256_file(work / DIFF) == recorded_diff(record):
        yield DIFF, work / DIFF  # else it belongs to a later training


def _write(out: Path, manifest: Mapping[str, object], sources: Mapping[str, Path]) -> None:
    """Write the zip atomically; members are dated 1980, so that equal runs give equal files."""
    half = out.with_name(f".{out.name}.part")
    try:
        with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(zipfile.ZipInfo(MANIFEST), json.dumps(manifest, indent=2))
            for member, path in sources.items():
                with path.open("rb") as source, archive.open(member, mode="w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 2**20)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)


def import_run(project: Project, path: Path) -> Record:
    """Verify an exported run and write its outputs and record, replacing earlier ones."""
    bundle = verify_bundle(project, path)
    record = bundle.record
    unpacked = project.cache_folder("import", record.experiment)
    try:
        with training_lock(project.work_folder(record.run_key)):
            _unpack(bundle, unpacked)
            _place(project, record, unpacked)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return record


def _unpack(bundle: Bundle, unpacked: Path) -> None:
    shutil.rmtree(unpacked, ignore_errors=True)
    with zipfile.ZipFile(bundle.path) as archive:
        for member, wanted in bundle.hashes.items():
            target = unpacked / member
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
            if sha256_file(target) != wanted:
                raise StorageError(f"'{member}' changed while it was read", where=bundle.path, hint=COPY)


def _place(project: Project, record: Record, unpacked: Path) -> None:
    """Move the files by renames on one disk; the record, which marks completion, is last."""
    folder, work = (
        require_inside(project.root, one)
        for one in (project.experiment_folder(record.experiment), project.work_folder(record.run_key))
    )
    for name in ("overlays", ALSO):
        remove(folder / name)
        if (unpacked / name).is_dir():
            (unpacked / name).replace(folder / name)
    for name in OUTPUTS:
        _move(unpacked / name, folder / name)
    for name in OF_WORK:
        _move(unpacked / name, work / name)
    write_bytes(project.record(record.experiment), (unpacked / RECORD).read_bytes())


def _move(source: Path, target: Path) -> None:
    """Replace `target` by `source`; without `source`, remove `target`."""
    if source.is_file():
        source.replace(target)
    else:
        target.unlink(missing_ok=True)
