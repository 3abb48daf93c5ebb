"""`repro verify`: the released weights of a published row, evaluated without training."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.common import Json, Name, console, emit_json
from repro.cli.measure import Device, bar, chosen_device, num_classes, open_split

if TYPE_CHECKING:
    from torch import nn

    from repro.datasets.archive import Split
    from repro.params import Experiment, Project
    from repro.published import Row


def verify(
    name: Name,
    weights: Annotated[
        Path | None, typer.Option(help="A file that you have, instead of the linked one.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="What the file must be (8 digits or more).")] = None,
    device: Device = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Evaluate again, whatever is kept.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File for the same as JSON, also when it differs.")
    ] = None,
    json: Json = False,
) -> None:
    """Evaluate the weights that NAME's published row links and compare with the row, within ±0.05.

    The file comes from the store (`repro weights`) or its link, is converted strictly, and the result is kept
    by content: the same file, network, protocol and data are evaluated once. Exit code 1 with a list of what
    may differ when the number is another one. In a pipeline: dvc repro experiments/NAME/dvc.yaml:released

    Example: repro verify loveda_r18_os8
    """
    from repro.errors import CheckFailed
    from repro.evaluation import released
    from repro.params import find_project, load_experiment
    from repro.records import write_json

    project = find_project()
    experiment = load_experiment(project, name)
    row = row_of(experiment, weights)
    split = open_split(project, experiment)
    file, digest = find(row, weights, sha256)
    place = chosen_device(device)
    metrics = kept_or_measured(project, experiment, split, file, digest, place, fresh=fresh)
    found = released.check(metrics, row.metrics)
    verdict = released.verdict(found)
    reasons = explain(experiment, row, split, metrics, place)
    told = document(experiment, row, digest, metrics, found, verdict, reasons)
    if out is not None:
        write_json(out, told)
    if json:
        emit_json(told)
    else:
        console().print(f"{experiment.name}, row {row.id}: {verdict}", markup=False)
        for one in found:
            console().print(f"  {released.line(one)}", markup=False)
    if verdict != "reproduced":
        raise CheckFailed("\n".join([f"row {row.id}: {verdict}; what may differ:", *reasons]))


def row_of(experiment: Experiment, weights: Path | None) -> Row:
    """The row to compare with: one that links weights, or with a file of one's own the first."""
    from repro.errors import ParamsError
    from repro.evaluation.released import released_row
    from repro.published import rows

    known = rows()
    mine = [known[name] for name in experiment.rows if name in known]
    if not mine:
        what = f"'{experiment.name}' has no published row to compare with, and so no published weights"
        hint = "`repro checkpoint convert` and then `repro evaluate` measure weights without a row"
        raise ParamsError(what, where=f"{experiment.folder}/params.yaml", allowed="rows: [ROW]", hint=hint)
    return mine[0] if weights is not None else released_row(experiment, known)


def find(row: Row, weights: Path | None, sha256: str | None) -> tuple[Path, str]:
    """The file of weights and its sha256, from `weights`, the store or the row's link."""
    from repro.checkpoints import store

    if weights is not None:
        return weights, store.checked(weights, sha256)
    url = row.links["model"]
    if not store.path_of(store.RELEASED + row.id).is_file():
        console(stderr=True).print(f"fetching {url}", markup=False)
    return store.get_released(row.id, url, sha256=sha256)


def kept_or_measured(
    project: Project,
    experiment: Experiment,
    split: Split,
    file: Path,
    digest: str,
    device: str,
    *,
    fresh: bool,
) -> dict[str, Any]:
    """metrics.json of these weights under this protocol on this data, measured unless it is kept already."""
    from repro.evaluation.evaluate import evaluate
    from repro.evaluation.files import write_result
    from repro.params import to_plain
    from repro.params.protocol import protocol_hash
    from repro.records import run_key

    made_from = {
        "weights": digest,
        "model": to_plain(experiment.model),
        "protocol": protocol_hash(experiment.protocol, classes=split.classes),
        "fingerprint": split.fingerprint,
        "engine": experiment.engine.evaluation,
    }
    folder = project.root / ".repro" / "released" / run_key(made_from)
    if fresh or not (folder / "metrics.json").is_file():
        with bar("verify") as progress:
            result = evaluate(
                converted(file, experiment).to(device),
                split,
                protocol=experiment.protocol,
                model_params=experiment.model,
                num_classes=num_classes(experiment, experiment.protocol),
                device=device,
                progress=progress,
            )
        write_result(result, folder, split=experiment.evaluation.split)
    metrics: dict[str, Any] = jsonlib.loads((folder / "metrics.json").read_text())
    return metrics


def converted(file: Path, experiment: Experiment) -> nn.Module:
    """The experiment's network with the foreign weights; CheckpointError when they are of another one."""
    from repro import checkpoints
    from repro.models import build, build_on_meta

    classes = num_classes(experiment, experiment.protocol)
    state = checkpoints.read_checkpoint(file)
    ours = build_on_meta(experiment.model, num_classes=classes).state_dict()
    model = build(experiment.model, num_classes=classes)
    model.load_state_dict(
        checkpoints.convert(
            state,
            ours,
            format_name=checkpoints.guess_format(state, file),
            params=experiment.model,
            where=file,
            drop_aux=experiment.model.aux is None,
        )
    )
    return model


def explain(
    experiment: Experiment, row: Row, split: Split, metrics: dict[str, Any], device: str
) -> list[str]:
    from importlib.metadata import version

    from repro.evaluation.released import why_different
    from repro.records import device_identity

    identity = device_identity(device)
    names = ("torch", "numpy", "opencv-python-headless")
    return why_different(
        experiment,
        row,
        protocol_hash=metrics["protocol"],
        fingerprint=split.fingerprint,
        n_images=metrics["n_images"],
        packages={name: version(name) for name in names},
        device=str(identity.get("gpu") or f"{identity['cpu']}, {identity['threads']} threads"),
    )


def document(
    experiment: Experiment,
    row: Row,
    digest: str,
    metrics: dict[str, Any],
    found: tuple[Any, ...],
    verdict: str,
    reasons: list[str],
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "experiment": experiment.name,
        "row": row.id,
        "weights_sha256": digest,
        "verdict": verdict,
        "checked": [asdict(one) for one in found],
        "metrics": metrics,
        "may_differ": [] if verdict == "reproduced" else reasons,
    }
