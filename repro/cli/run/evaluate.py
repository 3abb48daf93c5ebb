"""`repro evaluate`: how good a network is."""

from __future__ import annotations

from repro.cli.arguments import Device, Out, ProtocolName
from repro.cli.console import Json, Name
from repro.cli.results.evaluation_view import report


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

    Example: repro evaluate camvid_mobilenetv2_os16
    """
    from repro.cli.reporter import aloud
    from repro.params import find_project, load_trained
    from repro.records import sha256_file

    project = find_project()
    experiment = load_trained(project, name)

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
