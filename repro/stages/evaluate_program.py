"""The stage `evaluate` of an external experiment: run the program that predicts, and score its label maps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from repro.datasets.prepare.prepared_split import Split
from repro.errors import CheckFailed, CheckpointError, RecordError
from repro.evaluation.confusion import LabelMap
from repro.evaluation.map_files import ALLOWED
from repro.evaluation.outputs import write_result
from repro.evaluation.score import score
from repro.evaluation.summary import EvaluationResult
from repro.evaluation.visualize import OVERLAYS, evenly
from repro.io.atomic import sha256_tree
from repro.io.json_reader import read_json
from repro.judgement.evidence import METRICS, OUT, RUN_KEY
from repro.params import ExternalExperiment, Project
from repro.params.program import arguments
from repro.params.protocol import Protocol
from repro.programs import process
from repro.records import locked, write_json
from repro.records.build import predict_sha256, program_key
from repro.records.metrics_io import read_metrics
from repro.records.schema import Cost, require
from repro.stages.evaluate import overlay_writer, result_folder
from repro.stages.lookup import open_split
from repro.stages.reporter import SILENT, Reporter
from repro.stages.train_program import (
    LOG,
    hashes,
    note_unlisted,
    placeholder_values,
    training_inputs,
    weights_file,
)
from repro.stages.unchanged_inputs import EVALUATION, unchanged_inputs

MAPS = "maps"  # in .repro: the label maps of the last evaluation


def evaluate_all_with_programs(
    project: Project, experiment: ExternalExperiment, *, reporter: Reporter = SILENT
) -> None:
    """Evaluate under the experiment's protocol and its `also`; raises like `evaluate_with_program`."""
    for name in (None, *experiment.also):
        folder = result_folder(project, experiment, name)
        evaluate_with_program(project, experiment, folder, protocol=name, reporter=reporter)


def evaluate_with_program(
    project: Project,
    experiment: ExternalExperiment,
    folder: Path,
    *,
    protocol: str | None = None,
    reporter: Reporter = SILENT,
) -> EvaluationResult:
    """Predict with the experiment's program, score the maps, and write the result to `folder`.

    Args:
        project: The project.
        experiment: The experiment.
        folder: Folder of the result.
        protocol: One of the experiment's `also`; None: its own protocol.
        reporter: Output for messages and for what the program prints.

    Raises:
        ParamsError: There is no such program.
        DataError: The data is not prepared, a file in `deps` is missing, or maps are missing or wrong.
        CheckpointError: Nothing was trained yet.
        CheckFailed: The program failed, exceeded its time limit, or wrote no map.
        Interrupted: A signal stopped it.
    """
    split = open_split(project, experiment)
    key, predict = experiment.external.predicting(protocol)
    note_unlisted(project, predict, key, reporter)
    weights, program = identity(project, experiment), program_sha256(project, experiment, protocol)
    with locked(project.root / ".repro" / MAPS / f".{experiment.name}.lock", "this evaluation is running"):
        out = project.experiment_folder(experiment.name) / OUT
        paths: list[Path | str] = [split.path, out, *predict.deps]
        with unchanged_inputs(project, experiment.name, EVALUATION, paths):
            maps = _predict(project, experiment, protocol, split, reporter)
            chosen = experiment.protocol if protocol is None else experiment.also[protocol]
            result = _score(maps, split, chosen, folder, reporter)
    if protocol is None:
        _write_cost(project, experiment, folder)
    write_result(
        result, folder, split=experiment.evaluation.split, model_sha256=weights, program_sha256=program
    )
    return result


def _score(
    maps: Path, split: Split, protocol: Protocol, folder: Path, reporter: Reporter
) -> EvaluationResult:
    """Score the maps, and write overlays of some of them."""
    shown = evenly(OVERLAYS, min(len(split), protocol.first or len(split)))
    with overlay_writer(folder / "overlays", split, protocol) as keep, reporter.bar("score") as progress:

        def keep_map(index: int, truth: LabelMap, prediction: LabelMap) -> None:
            if index in shown:
                keep(index, split.image(index), truth, prediction)

        return score(maps, split, palette=split.palette, protocol=protocol, progress=progress, keep=keep_map)


def identity(project: Project, experiment: ExternalExperiment) -> str:
    """sha256 of what is evaluated: the folder that the training left, or the released weights.

    Without both it is that of the program, which is then all there is.

    Raises CheckpointError if nothing was trained yet, or with other params, data or program files.
    """
    if experiment.external.train is None:
        weights = experiment.external.weights
        return weights.sha256 if weights else program_sha256(project, experiment)
    out = project.experiment_folder(experiment.name) / OUT
    if not out.is_dir():
        hint = f"`repro train {experiment.name}`, or `dvc pull` if it was trained elsewhere"
        raise CheckpointError("nothing was trained yet", where=out, hint=hint)
    key = program_key(experiment, training_inputs(project, experiment))
    if (out / RUN_KEY).is_file() and (out / RUN_KEY).read_text(encoding="utf-8").strip() != key:
        what = "the training is from another command, seed, data, or from other files in `deps`"
        raise CheckpointError(what, where=out, hint=f"`repro train {experiment.name}` trains it again")
    return sha256_tree(out)


def program_inputs(project: Project, experiment: ExternalExperiment) -> dict[str, Any]:
    """What the record holds of data and programs; RecordError if the measurement is from another program."""
    identity(project, experiment)
    for name in (None, *experiment.also):
        path = result_folder(project, experiment, name) / METRICS
        if read_metrics(path).get("program_sha256") != program_sha256(project, experiment, name):
            hint = f"`repro evaluate {experiment.name}`, or `dvc repro {experiment.folder}`"
            raise RecordError("measured with another command or other files in `deps`", where=path, hint=hint)
    predict = predict_deps(project, experiment)
    also = {name: predict_deps(project, experiment, name) for name in experiment.external.also}
    known = {**training_inputs(project, experiment), "predict_deps": predict}
    return {**known, "also_deps": also} if also else known


def predict_deps(
    project: Project, experiment: ExternalExperiment, protocol: str | None = None
) -> dict[str, str]:
    """Path -> sha256 of what the program that predicts under a protocol depends on."""
    key, predict = experiment.external.predicting(protocol)
    return hashes(project, predict, key)


def program_sha256(project: Project, experiment: ExternalExperiment, protocol: str | None = None) -> str:
    """A hash over the command that predicts under a protocol and the files that it depends on."""
    _, predict = experiment.external.predicting(protocol)
    return predict_sha256(predict.command, predict_deps(project, experiment, protocol))


def _predict(
    project: Project,
    experiment: ExternalExperiment,
    protocol: str | None,
    split: Split,
    reporter: Reporter,
) -> Path:
    """Run the program with an empty folder for its maps, and return the folder."""
    work = project.cache_folder(MAPS, experiment.name)
    shutil.rmtree(work, ignore_errors=True)
    maps = work / "maps"
    maps.mkdir(parents=True)
    out = project.experiment_folder(experiment.name) / OUT
    known = {"out": out, "maps": maps, "weights": weights_file(experiment, reporter)}
    key, predict = experiment.external.predicting(protocol)
    values = placeholder_values(project, experiment, predict.command, split, known)
    command = process.Command(
        arguments=arguments(predict.command, values),
        folder=project.root,
        log=work / LOG,
        timeout=predict.timeout,
        what=f"{experiment.folder}/params.yaml: {key}",
    )
    process.run(command, show=reporter.output)
    if not any(maps.rglob("*")):
        what = "the program ended without an error and wrote nothing into {maps}"
        raise CheckFailed(what, where=work / LOG, allowed=ALLOWED)
    return maps


def _write_cost(project: Project, experiment: ExternalExperiment, folder: Path) -> None:
    """Write cost.json: what the training declares in {out}/cost.json, and nothing otherwise."""
    path = project.experiment_folder(experiment.name) / OUT / "cost.json"
    hint = "the program writes it; the keys are those of `repro benchmark`, all optional"
    found = {}
    if path.is_file() and experiment.external.train is not None:
        found = read_json(path, hint=hint)
        unknown = sorted(found.keys() - Cost.model_fields.keys())
        if unknown:
            allowed = ", ".join(Cost.model_fields)
            raise RecordError(f"unknown key '{unknown[0]}'", where=path, allowed=allowed, hint=hint)
        require(Cost, found, path, hint=hint)
    write_json(folder / "cost.json", found)
