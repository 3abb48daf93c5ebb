"""`repro verify`: evaluation of the weights that a published row links."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.arguments import Device, Key
from repro.cli.console import Json, Name, emit_json
from repro.cli.output_path import output_file
from repro.cli.reporter import aloud, say

if TYPE_CHECKING:
    from repro.params import ExternalExperiment, Project
    from repro.stages.verify import Verification


def verify(
    name: Name,
    weights: Annotated[Path | None, typer.Option(help="Local file to use instead of the linked one.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Expected sha256 (8 digits or more).")] = None,
    key: Key = None,
    device: Device = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Ignore cached results.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="JSON file to write, also on a failed check.", callback=output_file),
    ] = None,
    json: Json = False,
) -> None:
    """Evaluate the weights that NAME's published row links and compare with the row, within ±0.05.

    The file comes from the local store (`repro weights list`) or its link, and is converted strictly. Results
    are cached: the same file, network, protocol and data are evaluated once. Exit code 1 with a list of
    possible reasons where the numbers differ. In a pipeline: dvc repro experiments/NAME/dvc.yaml:released

    An experiment with `external.weights` is verified by its program (docs/programs.md).

    Example: repro verify loveda_r18_os8
    """
    from repro.errors import CheckFailed
    from repro.params import ExternalExperiment, find_project, load_experiment
    from repro.records import write_json
    from repro.stages.verify import to_json, verify_released

    project = find_project()
    experiment = load_experiment(project, name)
    if isinstance(experiment, ExternalExperiment):
        refuse((weights, sha256, key))
        found = verify_by_program(project, experiment, fresh=fresh)
    else:
        found = verify_released(
            project,
            experiment,
            weights=weights,
            sha256=sha256,
            key=key,
            device=device,
            fresh=fresh,
            reporter=aloud(),
        )
    if out is not None:
        write_json(out, to_json(found))
    emit_json(to_json(found)) if json else print_verdict(found)
    if found.verdict != "reproduced":
        what = f"row {found.row}: {found.verdict}; what may differ:"
        raise CheckFailed("\n".join([what, *found.reasons]))


def refuse(options: tuple[object, ...]) -> None:
    """ParamsError for options that concern the files of a network of this project."""
    from repro.errors import ParamsError

    if any(option is not None for option in options):
        what = "--weights, --sha256 and --key are for networks of this project"
        raise ParamsError(what, hint="`external.weights` in params.yaml names the file of a program")


def verify_by_program(project: Project, experiment: ExternalExperiment, *, fresh: bool) -> Verification:
    from repro.stages.verify_program import verify_program

    return verify_program(project, experiment, fresh=fresh, reporter=aloud())


def print_verdict(found: Verification) -> None:
    """Print the verdict, then one line per metric."""
    from repro.evaluation import published_weights

    say(f"{found.experiment}, row {found.row}: {found.verdict}")
    for one in found.checked:
        say(f"  {published_weights.line(one)}")
