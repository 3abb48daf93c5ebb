"""`repro check`: the gate."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli import completion
from repro.cli.console import Json, Names, console, emit_json, write
from repro.cli.output_path import file_in_folder
from repro.cli.reporter import name_broken
from repro.io.safe_text import one_line

if TYPE_CHECKING:
    from repro.reports.gate import Finding
    from repro.reports.results import Results

File = Path | None


def check(
    names: Names = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", "-d", help="Experiments of a data set.", autocompletion=completion.datasets
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every experiment must be measured.")] = False,
    against: Annotated[str | None, typer.Option(metavar="REV", help="Compare with a git revision.")] = None,
    json: Json = False,
    junit: Annotated[
        File, typer.Option(help="Write JUnit XML to this file.", callback=file_in_folder)
    ] = None,
    sarif: Annotated[File, typer.Option(help="Write SARIF to this file.", callback=file_in_folder)] = None,
    wide: Annotated[bool, typer.Option("--wide", help="All columns, wider than the terminal.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a pull-request comment.")] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Also pass where nothing was measured yet.")
    ] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Judge unchanged results again too.")] = False,
) -> None:
    """Check that recorded results still hold: exit 0 all pass, 1 a regression, 2 cannot compare.

    Without names: everything that is recorded; exit 2 where that is nothing. Printed parameters, sizes and
    FLOPs are compared too (`repro cost --all` counts ours): exit 1 where they differ without a reason in
    published/ID.yaml.

    Example: repro check --against main
    """
    from repro.params.project import find_project
    from repro.reports import ci_formats, gate
    from repro.reports.results import load_results

    results = load_results(find_project(), thorough=True, cache=not no_cache)
    name_broken(results.broken)
    wanted = names or []
    if against:
        from repro.reports.compare_revision import compare

        findings = compare(results, against, gate.chosen(results, wanted, dataset, everything))
    else:
        findings = gate.check(results, names=wanted, dataset=dataset, everything=everything)
    findings += gate.cost_findings(results, _scope(results, wanted, dataset))
    code = gate.exit_code(findings, strict=bool(wanted or dataset or everything), allow_empty=allow_empty)
    for path, text in ((junit, ci_formats.junit(findings)), (sarif, ci_formats.sarif(findings))):
        if path:
            path.write_text(text, encoding="utf-8")
    if json:
        emit_json(ci_formats.as_json(findings, code))
    elif markdown:
        write(ci_formats.comment(findings, code))
    else:
        _show(findings, wide=wide)
        if not wanted:
            console().print(gate.headline(results), soft_wrap=not sys.stdout.isatty())
    if os.environ.get("GITHUB_ACTIONS") == "true":
        write(ci_formats.github(findings), stderr=True)  # read there too: stdout stays one document
    raise typer.Exit(code)


def _scope(results: Results, names: list[str], dataset: str | None) -> list[str] | None:
    """The experiments whose printed costs are looked at: those asked for; None: all."""
    from repro.reports.gate import chosen

    return chosen(results, names, dataset, everything=False) if names or dataset else None


def _show(findings: list[Finding], *, wide: bool) -> None:
    from repro.reports import ci_formats
    from repro.reports.gate import summary

    measured = [one for one in findings if one.verdict != "unmeasured"]
    if measured and sys.stdout.isatty():
        _table(measured, wide=wide)
    else:
        for one in measured:
            write(one_line(f"{one.experiment}: {ci_formats.message(one)}") + "\n")
    console().print(summary(findings))


FITTED = ("experiment", "measured", "reference", "difference", "verdict")


def _table(findings: list[Finding], *, wide: bool) -> None:
    """A row per finding; without `wide` the reasons of those that do not pass follow."""
    from repro.cli.tables import print_table
    from repro.reports.ci_formats import grid, message

    found = grid(findings)
    columns = found.columns if wide else FITTED
    cells = [[row[found.columns.index(column)] for column in columns] for row in found.rows]
    print_table(columns, cells, numbers=("measured", "reference", "band", "difference"), wide=wide)
    for one in findings:
        if not (one.passes or wide):
            console().print(one_line(f"{one.experiment}: {message(one)}"), soft_wrap=False)
