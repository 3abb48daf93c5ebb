"""The stage `train` of an external experiment: run the program that trains, and keep what is in {out}.

While the program runs, {out} is the folder `out` of the training's work folder: a second start finds it as
the first one left it, so that a program that can resume does. Then it is moved to experiments/NAME/out.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import psutil

from repro.datasets.prepare.prepared_split import Split
from repro.errors import CheckFailed, DataError, ParamsError, StorageError
from repro.io.atomic import sha256_tree
from repro.io.names import require_inside
from repro.judgement.evidence import OUT, RUN_KEY
from repro.live_log import JOURNAL
from repro.params import ExternalExperiment, Project, to_plain
from repro.params.program import PredictProgram, TrainProgram, arguments, names_in
from repro.programs import process
from repro.programs.files import unpack
from repro.programs.log_files import LogFiles
from repro.records import locked, truncate_journal, write_bytes
from repro.records.build import program_key
from repro.records.curve import curve_csv
from repro.stages.reporter import SILENT, Reporter
from repro.stages.unchanged_inputs import TRAINING, unchanged_inputs
from repro.tracking.mirror import Mirror
from repro.tracking.run_info import Run

LOG, PROGRAM = "program.log", "program.json"


def train_with_program(
    project: Project, experiment: ExternalExperiment, *, fresh: bool = False, reporter: Reporter = SILENT
) -> Path:
    """Train an external experiment and return experiments/NAME/out.

    Args:
        project: The project.
        experiment: An experiment with `external.train`.
        fresh: Discard what an earlier start has left.
        reporter: Output for messages and for what the program prints.

    Raises:
        ParamsError: Nothing is trained, or there is no such program.
        DataError: The data is not prepared, or a file in `deps` is missing.
        StorageError: The same training is running.
        CheckFailed: The program failed, exceeded its time limit, or left nothing.
        Interrupted: A signal stopped it.
    """
    train = _program(experiment)
    split = Split.open(project.prepared_split(experiment.dataset, train.split))
    note_unlisted(project, train, "external.train", reporter)
    key = program_key(experiment, training_inputs(project, experiment))
    work = project.work_folder(key)
    with locked(work / ".lock", "this training is running"):
        _rewind(work, fresh, reporter)
        run = Run(
            name=experiment.name,
            dataset=experiment.dataset,
            run_key=key,
            split=train.split,
            dataset_fingerprint=split.fingerprint,
            params=to_plain(experiment),
        )
        with Mirror(project, project.journal(key), run=run):
            with unchanged_inputs(project, experiment.name, TRAINING, (split.path, *train.deps)):
                _run(project, experiment, train, split, work, reporter)
            _promote(project, experiment, work, reporter)
    return project.experiment_folder(experiment.name) / OUT


def _program(experiment: ExternalExperiment) -> TrainProgram:
    if experiment.external.train is None:
        raise ParamsError(
            f"'{experiment.name}' trains nothing: it evaluates released weights",
            where=f"{experiment.folder}/params.yaml",
            allowed="a `train:` block in `external:`",
            hint=f"`repro evaluate {experiment.name}`",
        )
    return experiment.external.train


def training_inputs(project: Project, experiment: ExternalExperiment) -> dict[str, Any]:
    """What determines the training besides the params, stored in the record: data and the program's files."""
    train = experiment.external.train
    if train is None:
        return {"training_fingerprint": "", "deps": {}}
    split = Split.open(project.prepared_split(experiment.dataset, train.split))
    return {"training_fingerprint": split.fingerprint, "deps": hashes(project, train, "external.train")}


def hashes(project: Project, program: TrainProgram | PredictProgram, key: str) -> dict[str, str]:
    """Path -> sha256 of the files and folders that a program depends on; DataError for a missing one."""
    missing = [dep for dep in program.deps if not (project.root / dep).exists()]
    if missing:
        raise DataError(
            f"key '{key}.deps': no file or folder '{missing[0]}'",
            where=project.root,
            allowed="paths from the project's root",
        )
    return {dep: sha256_tree(project.root / dep) for dep in program.deps}


def note_unlisted(
    project: Project, program: TrainProgram | PredictProgram, key: str, reporter: Reporter
) -> None:
    """Name files of the project that a command uses and `deps` does not list: no edit of them is noticed."""
    listed = {dep.strip("/") for dep in program.deps}
    for word in arguments(program.command, dict.fromkeys(names_in(program.command), "")):
        path = Path(word)
        inside = word and not path.is_absolute() and (project.root / path).is_file()
        if inside and not listed & {word, *(str(parent) for parent in path.parents)}:
            reporter.note(f"{word} is not listed in {key}.deps: an edit of it will re-run nothing")


def placeholder_values(
    project: Project, experiment: ExternalExperiment, command: str, split: Split, known: Mapping[str, object]
) -> dict[str, object]:
    """The values of the placeholders in a command; unpacks the split if the command uses it."""
    names: Collection[str] = names_in(command)
    data = {"data": project.data / experiment.dataset, "seed": experiment.seed}
    return {**data, **known, **unpack(project, split, names)}


def _rewind(work: Path, fresh: bool, reporter: Reporter) -> None:
    """Continue with what the last start left in {out}, or begin again with an empty folder and journal."""
    _require_ended(work)
    out = work / OUT
    if fresh:
        shutil.rmtree(out, ignore_errors=True)
    if out.is_dir() and any(out.iterdir()):
        return reporter.note(f"continuing with what an earlier start left in {os.path.relpath(out)}")
    out.mkdir(parents=True, exist_ok=True)
    truncate_journal(work / "journal.jsonl", 0)
    (work / LOG).unlink(missing_ok=True)


def _require_ended(work: Path) -> None:
    """Raise StorageError if the program of an earlier start outlived the `repro train` that started it."""
    try:
        found = json.loads((work / PROGRAM).read_text(encoding="utf-8"))
        other = psutil.Process(int(found["pid"]))
        alive = abs(other.create_time() - float(found["since"])) < 1 and other.is_running()
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return
    if alive:
        what = f"the program of an earlier start is still running, as process {other.pid}"
        raise StorageError(what, where=work, hint="wait for it or stop it")


def _run(
    project: Project,
    experiment: ExternalExperiment,
    train: TrainProgram,
    split: Split,
    work: Path,
    reporter: Reporter,
) -> None:
    """Run the program, and write to the journal what its log file has."""
    out, journal = work / OUT, work / "journal.jsonl"
    known = {"out": out, "weights": weights_file(experiment, reporter)}
    values = placeholder_values(project, experiment, train.command, split, known)
    log = LogFiles(_pattern(project, train.log, out), train.log_format, journal) if train.log else None
    command = process.Command(
        arguments=arguments(train.command, values),
        folder=project.root,
        environment={JOURNAL: str(journal)},
        log=work / LOG,
        timeout=train.timeout,
        what=f"{experiment.folder}/params.yaml: external.train",
    )
    try:
        process.run(
            command,
            show=reporter.output,
            meanwhile=log.poll if log else lambda: None,
            started=lambda pid: _note_process(work, pid),
        )
    finally:
        if log is not None:
            log.read(final=True)
    if log is not None and not log.found:
        reporter.note(f"no metrics were found in the log file '{train.log}'")


def _note_process(work: Path, pid: int) -> None:
    try:
        since = psutil.Process(pid).create_time()
    except psutil.Error:  # it has already ended
        return
    (work / PROGRAM).write_text(json.dumps({"pid": pid, "since": since}), encoding="utf-8")


def _pattern(project: Project, log: str, out: Path) -> str:
    """The log file as a pattern for `glob`; only what the user wrote may contain `*`."""
    text = log.replace("{out}", glob.escape(str(out)))
    return os.path.join(glob.escape(str(project.root)), text)


def weights_file(experiment: ExternalExperiment, reporter: Reporter) -> Path | None:
    """The released weights, from the local cache or downloaded; None without `external.weights`."""
    from repro.checkpoints.weights_cache import get_file  # imports torch

    weights = experiment.external.weights
    if weights is None:
        return None
    with reporter.file_bar(experiment.name) as progress:
        return get_file(weights.url, sha256=weights.sha256, progress=progress)


def _promote(project: Project, experiment: ExternalExperiment, work: Path, reporter: Reporter) -> None:
    """Move {out} to the experiment's folder and write curve.csv; CheckFailed if the program left nothing."""
    if not any((work / OUT).rglob("*")):
        raise CheckFailed(
            "the program ended without an error and left nothing in {out}",
            where=work / LOG,
            allowed="weights or other files in {out}",
            hint="check the folder that the command in external.train writes to",
        )
    folder = project.experiment_folder(experiment.name)
    target = require_inside(project.root, folder / OUT)
    shutil.rmtree(target, ignore_errors=True)
    (work / OUT / RUN_KEY).write_text(work.name + "\n", encoding="utf-8")
    shutil.move(work / OUT, target)
    write_bytes(folder / "curve.csv", curve_csv(work / "journal.jsonl").encode())
    reporter.note(f"wrote {os.path.relpath(target)} and curve.csv")
