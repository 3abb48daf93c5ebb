"""Export a finished run as one file, and import it in another clone.

The file is a zip of the stages' outputs, the record, the journal, the metadata of an RO-Crate, and
`manifest.json` with the sha256 of every member; of a program's run also what its training left, and the files
that its programs depend on.
Before it writes anything, import verifies all members, that the parameters are those of the local experiment,
and that the result passes the checks of `record` and `check`. It runs no program.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from repro.errors import RecordError, StorageError
from repro.fleet.check_bundle import (
    COPY,
    MANIFEST,
    MOST_MEMBERS,
    OF_WORK,
    OUTPUTS,
    RECORD,
    Bundle,
    check_complete,
    check_program,
    check_size,
    recorded_diff,
    verify_bundle,
)
from repro.fleet.ro_crate import CRATE, ro_crate
from repro.fleet.workspace import remove, training_lock
from repro.io.atomic import sha256_text, tree_files
from repro.io.names import require_inside
from repro.judgement import Case, folder_evidence, require_consistent
from repro.judgement.evidence import OUT, dependency
from repro.params import Project, load_experiment, load_external
from repro.records import DIFF, Record, read_record, sha256_file, write_bytes
from repro.records.build import ALSO
from repro.records.dvc_files import is_project_file
from repro.scaffold.dvc_files import renew_views


def export_run(project: Project, name: str, out: Path) -> Bundle:
    """Write the finished run of `name` to `out`; RecordError if the outputs do not match the record."""
    if not out.parent.is_dir():
        raise StorageError("no such folder", where=out.parent, hint=f"`mkdir -p {out.parent}`")
    record, folder = read_record(project.record(name)), project.experiment_folder(name)
    sources = {
        member: path for member, path in _sources(project, record) if is_project_file(project.root, path)
    }
    check_complete(record, sources, where=folder, hint=f"`repro run {name}`")
    require_small(sources, folder)
    hashes = {member: sha256_file(path) for member, path in sources.items()}
    again = f"`repro record {name}`, or `repro run {name}` if a stage is out of date"
    check_program(record, hashes, where=folder, hint=again)
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
    crate = ro_crate(record, hashes)
    hashes |= {CRATE: sha256_text(crate)}
    manifest = json.dumps({"name": name, "files": hashes}, indent=2)
    _write(out, {MANIFEST: manifest, CRATE: crate}, sources)
    return Bundle(path=out, record=record, hashes=hashes)


def _sources(project: Project, record: Record) -> Iterator[tuple[str, Path]]:
    folder = project.experiment_folder(record.experiment)
    yield RECORD, project.record(record.experiment)
    yield from ((name, folder / name) for name in OUTPUTS)
    yield from ((f"overlays/{path.name}", path) for path in sorted((folder / "overlays").glob("*.png")))
    further = (path for protocol in record.also for path in sorted((folder / ALSO / protocol).rglob("*")))
    yield from ((path.relative_to(folder).as_posix(), path) for path in further)
    if record.kind == "external":
        yield from _of_program(project, record, folder)
    work = project.work_folder(record.run_key)
    yield from ((name, work / name) for name in OF_WORK if name != DIFF)
    if (work / DIFF).is_file() and sha256_file(work / DIFF) == recorded_diff(record):
        yield DIFF, work / DIFF  # else it belongs to a later training


def _of_program(project: Project, record: Record, folder: Path) -> Iterator[tuple[str, Path]]:
    """What the program's training left, and the files of the project that its programs depend on."""
    yield from _in_tree(OUT, folder / OUT)
    for path in load_external(project, record.experiment).external.deps:
        yield from _in_tree(dependency(path), project.root / path)


def _in_tree(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    """(member, path) of a file, or of each file in a folder."""
    for one in sorted(tree_files(path)):
        yield (PurePosixPath(name) / one.relative_to(path)).as_posix(), one


def require_small(sources: Mapping[str, Path], where: Path) -> None:
    """Raise RecordError for more or larger files than an import accepts, before they are packed."""
    if len(sources) > MOST_MEMBERS:
        hint = "pack what the training leaves in {out} into fewer files"
        allowed = f"{MOST_MEMBERS:,} at most"
        raise RecordError(f"the run has {len(sources):,} files", where=where, allowed=allowed, hint=hint)
    for member, path in sources.items():
        check_size(member, path.stat().st_size, where)


def _write(out: Path, texts: Mapping[str, str], sources: Mapping[str, Path]) -> None:
    """Write the zip atomically; members are dated 1980, so that equal runs give equal files."""
    half = out.with_name(f".{out.name}.part")
    try:
        with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for member, text in texts.items():
                archive.writestr(zipfile.ZipInfo(member), text)
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
    for name in ("overlays", ALSO, *((OUT,) if record.kind == "external" else ())):
        remove(folder / name)
        if (unpacked / name).is_dir():
            (unpacked / name).replace(folder / name)
    _place_program(project, record, unpacked)
    for name in OUTPUTS:
        _move(unpacked / name, folder / name)
    for name in OF_WORK:
        _move(unpacked / name, work / name)
    write_bytes(project.record(record.experiment), (unpacked / RECORD).read_bytes())
    renew_views(project)


def _place_program(project: Project, record: Record, unpacked: Path) -> None:
    """Write the files of programs that this project lacks; those that it has are the same."""
    if record.kind != "external":
        return
    for path in load_external(project, record.experiment).external.deps:
        source, target = unpacked / dependency(path), require_inside(project.root, project.root / path)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)


def _move(source: Path, target: Path) -> None:
    """Replace `target` by `source`; without `source`, remove `target`."""
    if source.is_file():
        source.replace(target)
    else:
        target.unlink(missing_ok=True)
