"""`repro sync`: generated DVC files and MLflow, updated."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import Json, console, emit_json
from repro.cli.reporter import name_broken, note
from repro.errors import ReproError, counted

if TYPE_CHECKING:
    from repro.params import Broken, Project
    from repro.tracking.report import Report


def sync(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when a file is stale.")
    ] = False,
    files: Annotated[bool, typer.Option("--files", help="Only the generated files, not MLflow.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Send everything again, from records and journals.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Delete this clone's superseded runs without asking.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Update the generated DVC files and MLflow from experiments, journals and records.

    Runs of other clones, projects and programs are not changed. Superseded runs of this clone are listed, and
    deleted after you confirm.

    Example: repro sync --rebuild
    """
    from repro.errors import CheckFailed
    from repro.params import broken_error, find_project
    from repro.stages.inputs_ready import write_files

    project = find_project()
    broken = broken_of(project)
    if check:
        check_files(project, broken, as_json=as_json)
        return
    written = write_files(project)
    if files:
        report = None
    else:
        from repro.reports.gate import headline
        from repro.reports.results import load_results
        from repro.tracking.sync import sync as to_mlflow

        question, results = Question(yes=yes), load_results(project)
        report = to_mlflow(
            project,
            rebuild=rebuild,
            confirm=question.ask,
            judge=results.judge,
            headline=headline(results),
        )
    if as_json:
        emit_json({"files": written, "broken": words(broken), **(vars(report) if report else {})})
    else:
        for name in written:
            console().print(f"wrote {name}")
        if report:
            print_report(project, report)
    if broken:
        raise broken_error(broken, done="all others are up to date")
    if report and report.failed:
        raise CheckFailed(f"{len(report.failed)} were not sent", hint="`repro sync` tries them again")
    if report and question.unanswered:
        raise question.unanswered


@dataclass
class Question:
    """Asks a person whether runs may be deleted; `unanswered` where there is nobody to ask."""

    yes: bool
    unanswered: ReproError | None = None

    def ask(self, runs: list[str]) -> bool:
        note(f"in MLflow, {counted(len(runs), 'run')} of this clone would be deleted (kept in its trash):")
        for text in runs[:LISTED]:
            note(f"  {text}")
        if len(runs) > LISTED:
            note(f"  and {len(runs) - LISTED} more")
        if self.yes:
            return True
        if sys.stdin.isatty():
            return typer.confirm("Delete them?", err=True)
        words = " ".join(["repro", *sys.argv[1:], "--yes"])
        self.unanswered = ReproError(
            "nothing was deleted: nobody can be asked here", hint=f"`{words}` deletes them"
        )
        return False


LISTED = 20


def broken_of(project: Project) -> Broken:
    """Experiments that no stage could run: unreadable, misspelt, or of a recipe that is not there."""
    from repro.params import experiment_names, read_each, resolve_all
    from repro.scaffold.dvc_files import own_params

    own, unreadable = read_each(experiment_names(project), lambda name: own_params(project, name))
    return dict(sorted({**unreadable, **resolve_all(project, own)[1]}.items()))


def words(broken: Broken) -> dict[str, str]:
    return {name: str(error) for name, error in broken.items()}


def check_files(project: Project, broken: Broken, *, as_json: bool = False) -> None:
    """Exit 1 when a generated file is stale, 2 when a params.yaml is wrong."""
    from repro.errors import CheckFailed
    from repro.params import broken_error
    from repro.scaffold.dvc_files import drift

    stale = [str(path.relative_to(project.root)) for path, _ in drift(project)]
    if as_json:
        emit_json({"stale": stale, "broken": words(broken)})
    for name in () if as_json else stale:
        console().print(f"stale {name}")
    if broken:
        name_broken(broken)
        raise broken_error(broken, done=f"{len(stale)} generated files are stale")
    if stale:
        raise CheckFailed(f"{len(stale)} generated files are stale", hint="run `repro sync` and commit")


def print_report(project: Project, report: Report) -> None:
    """Print what was sent, and what was not sent and why."""
    from repro.tracking.address import shown_address

    out = console()
    out.print(
        f"MLflow at {shown_address(project)}: {len(report.sent)} sent, {len(report.unchanged)} unchanged"
    )
    for name, error in report.failed.items():
        out.print(f"not sent: {name}: {error}")
    if report.kept:
        out.print("nothing was rebuilt: the store is what it was")
    if report.deleted:
        out.print(f"deleted {counted(len(report.deleted), 'run')} of this clone that others have replaced")
