"""The command table: one line a command, in the order in which a person meets them."""

from __future__ import annotations

import typer

from repro.cli import (
    benchmark,
    check,
    checkpoint,
    compare,
    cost,
    data,
    docs,
    doctor,
    evaluate,
    fleet,
    links,
    lint,
    metadata,
    plan,
    predict,
    promote,
    record,
    report,
    run,
    scaffold,
    score,
    show,
    sync,
    table,
    train,
    transfer,
    ui,
    verify,
    weights,
)

app = typer.Typer(
    name="repro",
    help="Reproduce published DeepLab results: prepare, train, evaluate, record, compare.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

app.command("new")(scaffold.new)
app.command("docs")(docs.docs)
app.command("doctor")(doctor.doctor)
app.command("table")(table.table)
app.command("list")(table.list_)
app.command("explain")(table.explain)
app.command("check")(check.check)
app.command("record")(record.record)
app.command("sync")(sync.sync)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("benchmark")(benchmark.benchmark)
app.command("prepare")(data.prepare)
app.add_typer(data.app, name="data")
app.command("cost")(cost.cost)
app.add_typer(checkpoint.app, name="checkpoint")
app.add_typer(weights.app, name="weights")
app.command("lint")(lint.lint)
app.command("import")(lint.import_)
app.command("links")(links.links)
app.command("score")(score.score)
app.command("compare")(compare.compare)
app.command("predict")(predict.predict)
app.command("verify")(verify.verify)
app.command("run")(run.run)
app.command("metadata")(metadata.metadata)
app.command("report")(report.report)
app.command("plan")(plan.plan)
app.command("fleet")(fleet.fleet)
app.command("campaign")(fleet.campaign)
app.command("show")(show.show)
app.command("logs")(show.logs)
app.command("gc")(show.gc)
app.command("export")(transfer.export)
app.command("import-run")(transfer.import_run)
app.command("replay")(transfer.replay)
app.command("ui")(ui.ui)
app.command("promote")(promote.promote)
