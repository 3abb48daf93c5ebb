"""`repro page attest`: is this number right, and under which protocol?"""

from __future__ import annotations

from typing import Annotated

import typer

from repro.cli import completion
from repro.cli.console import Json, console, emit_json
from repro.cli.console import write as show


def attest(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|ROW",
            help="Experiment, or published row; without one, --check looks at every kept attestation.",
            autocompletion=completion.experiments,
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Who measured; default: the commit's author.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Keep it in published/attested.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 where a kept one is out of date.")] = False,
    as_json: Json = False,
) -> None:
    """Attest a recorded result: value, verdict, protocol, data, weights, who, when, how to repeat it.

    It reads records and git alone. docs/exports.md says how others check an attestation.

    Example: repro page attest camvid_mobilenetv2_os16
    """
    from repro.errors import CheckFailed, ParamsError
    from repro.params.project import find_project
    from repro.reports import attest as attestations
    from repro.reports.results import load_results

    if (write and check) or (name is None and not check):
        raise ParamsError("nothing to attest", allowed="NAME, NAME --write, NAME --check or --check")
    project = find_project()
    names = [name] if name else attestations.kept_names(project)
    results = load_results(project)
    made = [attestations.attested(results, one, by=by) for one in names]
    if check:
        wanted = {path: text for facts in made for path, text in attestations.files(project, facts).items()}
        if changed := attestations.outdated(wanted):
            listed = ", ".join(str(path.relative_to(project.root)) for path in changed)
            raise CheckFailed(f"attestations that do not match their records: {listed}")
        console(stderr=True).print(f"{len(made)} attestations match their records")
        return
    for facts in made:
        if write:
            for path in attestations.write(project, facts):
                console(stderr=True).print(f"wrote {path.relative_to(project.root)}")
        elif as_json:
            emit_json(facts)
        else:
            show(attestations.as_markdown(facts))
