"""`repro verify`: evaluation of the weights that a published row links."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.arguments import WHICH, Device, Key, OfDataset, OfPage, Patterns
from repro.cli.console import Json, emit_json
from repro.cli.output_path import output_file
from repro.cli.reporter import aloud, say
from repro.cli.weights.verify_many import Many, parse_age, verify_many

if TYPE_CHECKING:
    from repro.params import ExternalExperiment, Project
    from repro.stages.verify import Verification

MANY = "Several experiments"


def verify(
    names: Patterns = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every experiment with released weights.", rich_help_panel=WHICH)
    ] = False,
    page: OfPage = None,
    dataset: OfDataset = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Parallel processes.", rich_help_panel=MANY)] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Percent points that a number may move.", rich_help_panel=MANY)
    ] = 0.05,
    accept: Annotated[
        bool, typer.Option("--accept", help="Keep numbers that moved.", rich_help_panel=MANY)
    ] = False,
    stale: Annotated[
        str | None, typer.Option(help="Only what was not evaluated within this time: 30d, 2w, 12h.")
    ] = None,
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
    are cached: the same file, network, protocol, data and package versions are evaluated once. Exit code 1
    with a list of possible reasons where the numbers differ. In a pipeline: dvc repro
    experiments/NAME/dvc.yaml:released

    An experiment with `external.weights` is verified by its program (docs/programs.md).

    Several names, patterns, --all, --page, --dataset, --jobs or --accept print one table and keep each result
    in reports/verified, for git: what was published, the last time and now, and what changed since. Exit code
    1 if a number moved, 2 if a row could not be looked at. Rerun an interrupted command to resume.

    Example: repro verify --all --stale 30d --jobs 2
    """
    from repro.params import find_project
    from repro.params.names import is_pattern

    project, asked = find_project(), list(names or ())
    require_choice(asked, everything, (page, dataset))
    age = 0.0 if fresh else parse_age(stale)
    selects = everything or jobs is not None or accept or page is not None or dataset is not None
    if selects or len(asked) > 1 or is_pattern(asked[0]):
        refuse((weights, sha256, key), "one experiment")
        many = Many(
            page=page, dataset=dataset, stale=stale, jobs=jobs or 1, tolerance=tolerance, accept=accept
        )
        arguments = ["--device", device, *["--fresh"] * fresh, *(["--stale", stale] if stale else [])]
        return verify_many(project, asked, many, arguments, out=out, json=json)
    verify_one(
        project,
        asked[0],
        inf if age is None else age,
        weights=weights,
        sha256=sha256,
        key=key,
        device=device,
        out=out,
        json=json,
    )


def require_choice(names: Sequence[str], everything: bool, filters: Sequence[str | None]) -> None:
    """ParamsError unless names, --all, --page or --dataset say what to verify, and not names with --all."""
    from repro.errors import ParamsError

    if names and everything:
        raise ParamsError("names with --all", allowed="NAME or patterns, or --all")
    if not (names or everything or any(filters)):
        raise ParamsError("nothing to verify", allowed="NAME or patterns, --page, --dataset, or --all")


def verify_one(
    project: Project,
    name: str,
    max_age: float,
    *,
    weights: Path | None,
    sha256: str | None,
    key: str | None,
    device: str,
    out: Path | None,
    json: bool,
) -> None:
    """Verify one experiment and print the verdict. Raises CheckFailed where the numbers differ."""
    from repro.errors import CheckFailed
    from repro.params import ExternalExperiment, load_experiment
    from repro.records import write_json
    from repro.stages.verify import to_json, verify_released

    experiment = load_experiment(project, name)
    if isinstance(experiment, ExternalExperiment):
        refuse((weights, sha256, key), "networks of this project")
        found = verify_by_program(project, experiment, max_age)
    else:
        found = verify_released(
            project,
            experiment,
            weights=weights,
            sha256=sha256,
            key=key,
            device=device,
            max_age=max_age,
            reporter=aloud(),
        )
    if out is not None:
        write_json(out, to_json(found))
    emit_json(to_json(found)) if json else print_verdict(found)
    if found.verdict != "reproduced":
        what = f"row {found.row}: {found.verdict}; what may differ:"
        raise CheckFailed("\n".join([what, *found.reasons]))


def refuse(options: tuple[object, ...], whose: str) -> None:
    """ParamsError for options that concern the file of one network of this project."""
    from repro.errors import ParamsError

    if any(option is not None for option in options):
        what = f"--weights, --sha256 and --key are for {whose}"
        raise ParamsError(what, hint="`external.weights` in params.yaml names the file of a program")


def verify_by_program(project: Project, experiment: ExternalExperiment, max_age: float) -> Verification:
    from repro.stages.verify_program import verify_program

    return verify_program(project, experiment, max_age=max_age, reporter=aloud())


def print_verdict(found: Verification) -> None:
    """Print the verdict, then one line per metric."""
    from repro.evaluation import published_weights

    say(f"{found.experiment}, row {found.row}: {found.verdict}")
    for one in found.checked:
        say(f"  {published_weights.line(one)}")
