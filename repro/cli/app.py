"""The command table: panels of the help page, each in the order in which a person meets its commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from repro.cli import docs, doctor
from repro.cli.data import data, prepare
from repro.cli.pages import links, lint
from repro.cli.results import check, compare, metadata, predict, promote, report, score, show, table, ui
from repro.cli.run import (
    benchmark,
    bundle,
    cost,
    evaluate,
    fleet,
    gc,
    logs,
    plan,
    record,
    run,
    scaffold,
    sync,
    train,
)
from repro.cli.weights import checkpoint, verify, weights

app = typer.Typer(
    name="repro",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from repro import __version__
        from repro.cli.console import write

        write(f"repro {__version__}\n")
        raise typer.Exit


@app.callback()
def repro(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Reproduce published DeepLab results: prepare, train, evaluate, record, compare."""


PANELS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Start": {"doctor": doctor.doctor, "data": data.app, "new": scaffold.new, "plan": plan.plan},
    "Run": {
        "run": run.run,
        "fleet": fleet.fleet,
        "campaign": fleet.campaign,
        "logs": logs.logs,
        "export": bundle.export,
        "import-run": bundle.import_run,
        "replay": bundle.replay,
        "gc": gc.gc,
    },
    "Results": {
        "list": table.list_,
        "show": show.show,
        "table": table.table,
        "explain": table.explain,
        "check": check.check,
        "compare": compare.compare,
        "report": report.report,
        "ui": ui.ui,
        "promote": promote.promote,
        "metadata": metadata.metadata,
    },
    "Networks and weights": {
        "cost": cost.cost,
        "checkpoint": checkpoint.app,
        "weights": weights.app,
        "verify": verify.verify,
        "predict": predict.predict,
        "score": score.score,
    },
    "Published pages": {"lint": lint.lint, "import": lint.import_, "links": links.links},
    "Stages and generated files (DVC, make and CI call these)": {
        "prepare": prepare.prepare,
        "train": train.train,
        "evaluate": evaluate.evaluate,
        "benchmark": benchmark.benchmark,
        "record": record.record,
        "sync": sync.sync,
        "docs": docs.docs,
    },
}

for panel, commands in PANELS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(command)
