"""`repro evaluate`: how good a network is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from repro.cli.arguments import Device, Out, ProtocolName
from repro.cli.console import Json, Name
from repro.cli.results.evaluation_view import report

if TYPE_CHECKING:
    from repro.params import ExternalExperiment, Project


def evaluate(
    name: Name,
    device: Device = "auto",
    protocol: ProtocolName = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Evaluate NAME's weights on its split, under its own protocol or another one.

    Writes metrics.json, confusion.npz, confusion.csv and overlays/. Results of a protocol listed under
    `also:` in params.yaml go to NAME/also/PROTOCOL and into the record; other protocols need --out.

    On several GPUs: torchrun --nproc-per-node 4 -m repro evaluate NAME. The result is bit-identical; on CPUs
    that needs the same OMP_NUM_THREADS per process.

    An experiment with `external:` is predicted by its program, and the maps are scored (docs/programs.md).

    Example: repro evaluate camvid_mobilenetv2_os16
    """
    from repro.cli.reporter import aloud
    from repro.params import ExternalExperiment, find_project, load_experiment
    from repro.records import sha256_file

    project = find_project()
    experiment = load_experiment(project, name)
    if isinstance(experiment, ExternalExperiment):
        return evaluate_program(project, experiment, protocol=protocol, out=out, json=json)

    # after the params: importing torch takes seconds, and a mistake is reported at once
    from repro.stages.evaluate import evaluate_experiment, require_outside, result_folder
    from repro.stages.lookup import protocol_named
    from repro.stages.model_setup import process_group

    chosen = experiment.protocol if protocol is None else protocol_named(project, protocol)
    folder = result_folder(project, experiment, protocol) if out is None else require_outside(project, out)
    with process_group(device) as place:
        result = evaluate_experiment(project, experiment, chosen, folder, device=place, reporter=aloud())
    if result is not None:
        sha256 = sha256_file(project.weights(experiment.name))
        report(result, experiment.evaluation.split, as_json=json, model_sha256=sha256)


def evaluate_program(
    project: Project, experiment: ExternalExperiment, *, protocol: str | None, out: Path | None, json: bool
) -> None:
    """Predict with the experiment's program and score its maps."""
    from repro.cli.reporter import aloud
    from repro.errors import ParamsError
    from repro.records.metrics_io import read_metrics
    from repro.stages.evaluate import require_outside, result_folder
    from repro.stages.evaluate_program import evaluate_with_program

    own = experiment.evaluation.protocol
    if protocol not in (None, own, *experiment.also):
        what = f"the program of '{experiment.name}' does not predict under '{protocol}'"
        hint = f"list it under `also:`, with its command in `external.also.{protocol}`"
        raise ParamsError(what, allowed=", ".join([own, *experiment.also]), hint=hint)
    further = None if protocol == own else protocol
    folder = result_folder(project, experiment, further)
    folder = folder if out is None else require_outside(project, out)
    result = evaluate_with_program(project, experiment, folder, protocol=further, reporter=aloud())
    made = read_metrics(folder / "metrics.json")  # hashing what was trained takes seconds per gigabyte
    report(
        result,
        experiment.evaluation.split,
        as_json=json,
        model_sha256=made["model_sha256"],
        program_sha256=made["program_sha256"],
    )
