"""The command table: panels of the help page, each in the order in which a person meets its commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

from repro.cli import docs, doctor, init
from repro.cli.aliases import WithFormerNames
from repro.cli.data import check as data_check
from repro.cli.data import data, prepare
from repro.cli.pages import import_page, links, lint
from repro.cli.results import (
    attest,
    check,
    compare,
    metadata,
    predict,
    promote,
    report,
    score,
    show,
    table,
    ui,
)
from repro.cli.run import (
    benchmark,
    bundle,
    cost,
    evaluate,
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

Command = Callable[..., None]

app = typer.Typer(
    name="repro",
    cls=WithFormerNames,
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
    """Reproduce published segmentation results: prepare, train, evaluate, record, compare."""


def _help(command: Command) -> str:
    """The docstring of a command with one line per paragraph, so that a terminal of any width can wrap it."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _group(text: str, commands: dict[str, Command]) -> typer.Typer:
    made = typer.Typer(help=text, no_args_is_help=True)
    for name, command in commands.items():
        made.command(name, help=_help(command))(command)
    return made


DATA: dict[str, Command] = {
    "list": data.list_,
    "get": data.get,
    "link": data.link,
    "synthetic": data.synthetic,
    "verify": data_check.verify,
    "stats": data_check.stats,
    "require": data.require,
}
PAGE: dict[str, Command] = {
    "lint": lint.lint,
    "import": import_page.import_,
    "links": links.links,
    "export": metadata.metadata,
    "attest": attest.attest,
}
WEIGHTS: dict[str, Command] = {
    "list": weights.list_,
    "get": weights.get,
    "add": weights.add,
    "inspect": checkpoint.inspect,
    "convert": checkpoint.convert,
    "promote": promote.promote,
}
BUNDLE: dict[str, Command] = {"export": bundle.export, "import": bundle.import_run}

PANELS: dict[str, dict[str, Command | typer.Typer]] = {
    "Start": {
        "init": init.init,
        "doctor": doctor.doctor,
        "data": _group("Data sets: list, download, link, verify.", DATA),
        "page": _group("Published result pages: lint, import, check links, export, attest.", PAGE),
        "new": scaffold.new,
        "plan": plan.plan,
    },
    "Run": {
        "run": run.run,
        "logs": logs.logs,
        "replay": bundle.replay,
        "bundle": _group("Finished runs as files: export, and import on another machine.", BUNDLE),
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
    },
    "Networks and weights": {
        "cost": cost.cost,
        "weights": _group("Weights: download, inspect, convert, promote.", WEIGHTS),
        "verify": verify.verify,
        "predict": predict.predict,
        "score": score.score,
    },
    "Stages and generated files (DVC, make and CI call these)": {
        "prepare": prepare.prepare,
        "train": train.train,
        "evaluate": evaluate.evaluate,
        "benchmark": benchmark.benchmark,
        "record": record.record,
        "sync": sync.sync,
    },
}

for panel, commands in PANELS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel, help=_help(command))(command)

app.command("docs", hidden=True)(docs.docs)  # for those who change a command
