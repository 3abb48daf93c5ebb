"""`repro table`, `list`, `explain`: what was published, what was measured, and where it comes from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli import completion
from repro.cli.console import Json, Name, Names, console, emit_json, write
from repro.cli.reporter import name_broken, note, require_asked
from repro.errors import counted
from repro.io import text_table
from repro.reports.enums import Format, Origin, Values

if TYPE_CHECKING:
    from repro.published import Page, Published
    from repro.reports.grid import Grid
    from repro.reports.results import Results

Dataset = Annotated[
    str | None,
    typer.Option("--dataset", "-d", help="Only rows of this data set.", autocompletion=completion.datasets),
]
PageId = Annotated[
    str | None,
    typer.Option(
        "--page", "-p", help="A published page, laid out as it is.", autocompletion=completion.pages
    ),
]

Query = Annotated[
    str | None,
    typer.Option("--query", "-q", metavar="EXPR", help="Comparisons of columns, e.g. 'gap < -1'."),
]
Wide = Annotated[bool, typer.Option("--wide", help="All columns, in lines wider than the terminal.")]


def table(
    dataset: Dataset = None,
    page: PageId = None,
    values: Annotated[Values | None, typer.Option(help="Numbers in a page's layout.")] = None,
    fmt: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="Output format; md, but on a terminal a table that fits it."),
    ] = None,
    wide: Wide = False,
    origin: Annotated[
        Origin, typer.Option("--from", help="Records in git, or an MLflow store.")
    ] = Origin.records,
    uri: Annotated[str | None, typer.Option(help="Address of the MLflow store, with --from mlflow.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Of the list of runs of --from mlflow, e.g. 'metrics.mIoU,params.*'.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write README, docs and reports/.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when a generated file is stale.")] = False,
) -> None:
    """Print results beside the published rows; --write fills README and reports/, --check compares them.

    csv, json and parquet hold numbers as numbers: docs/json.md describes the columns.

    With --from mlflow the results come from the records in a tracking store; without --dataset, --page and
    --values (or with --columns) all its runs are listed as they are, those of other programs too.

    Example: repro table --dataset cityscapes
    """
    if origin is Origin.mlflow:
        _only_records(write or check)
        if columns is not None or not (dataset or page or values):
            return _runs(uri, dataset, columns or "*", fmt or Format.md)
        return _print(_stored(uri), dataset, page, values, fmt, wide=wide)
    _only_store({"--uri": uri, "--columns": columns})
    if values is Values.published and dataset is None and fmt in (None, Format.md) and not (write or check):
        return _published(page)
    from repro.params.folders import broken_error
    from repro.params.project import find_project
    from repro.reports import generated_files
    from repro.reports.results import load_results

    results = load_results(find_project())
    name_broken(results.left_out)
    if not (check or write):
        return _print(results, dataset, page, values, fmt, wide=wide)
    files = generated_files.generated_files(results)
    if write:
        _write(results, files)
    if results.left_out:
        stale = len(list(generated_files.stale(files)))
        raise broken_error(results.left_out, done=f"no number in tables; {stale} generated files are stale")
    generated_files.check(files, results.project.root)


def _write(results: Results, files: Mapping[Path, str | None]) -> None:
    """Write stale tables, and what DVC's own views show of the same results."""
    from repro.reports import generated_files
    from repro.scaffold.dvc_files import renew_views

    for path in generated_files.write(files):
        console().print(f"wrote {path.relative_to(results.project.root)}")
    renew_views(results.project)


def _published(page_id: str | None) -> None:
    """The pages' tables byte for byte; needs nothing but the page files."""
    from repro.params.project import find_project

    texts = [
        page.markdown(table) for page in _pages(find_project().published, page_id) for table in page.tables
    ]
    write("\n\n".join(texts) + "\n")


def _print(
    results: Results,
    dataset: str | None,
    page_id: str | None,
    values: Values | None,
    fmt: Format | None,
    *,
    wide: bool,
) -> None:
    from repro.cli.tables import print_grids
    from repro.reports import data_formats, tables

    if dataset:
        results.require_dataset(dataset)
    if page_id or values:
        return _print_pages(results, dataset, page_id, values or Values.both, fmt or Format.md)
    if fmt in (Format.csv, Format.parquet):
        return _emit(data_formats.DATA_FORMATS[fmt](results.to_frame(dataset=dataset, measured=not dataset)))
    grids = tables.dataset_tables(results, dataset) if dataset else tables.measured_table(results)
    if fmt is Format.json:
        _emit(data_formats.tables_json(results, grids))
    elif fmt is None and sys.stdout.isatty() and not wide:
        print_grids(grids)
    else:
        _emit_grids(grids, fmt or Format.md)


def _print_pages(
    results: Results, dataset: str | None, page_id: str | None, values: Values, fmt: Format
) -> None:
    """Published tables in their own layout."""
    from repro.errors import ParamsError
    from repro.reports import page_tables

    if fmt is Format.parquet:
        hint = "leave --page and --values out: `repro table --dataset NAME -f parquet` has numbers"
        raise ParamsError("a page's layout is text, and Parquet is for numbers", where="--format", hint=hint)
    shown = _pages(results.published, page_id)
    if fmt is Format.md:
        texts = [page_tables.page_text(results, page, values, dataset=dataset) for page in shown]
        write("\n".join(text for text in texts if text.strip()))
    else:
        grids = (page_tables.page_grids(results, page, values, dataset=dataset) for page in shown)
        _emit_grids([grid for found in grids for grid in found], fmt)


def _pages(published: Published, page_id: str | None) -> list[Page]:
    return [published.page(page_id)] if page_id else list(published.pages.values())


def _emit_grids(grids: list[Grid], fmt: Format) -> None:
    from repro.reports.grid import FORMATS

    _emit(FORMATS[fmt.value](grids))


def _emit(made: str | bytes) -> None:
    """Text, or a file's content into a pipe: a terminal would obey some of its bytes."""
    from repro.errors import ParamsError

    if isinstance(made, str):
        return write(made)
    if sys.stdout.isatty():
        raise ParamsError("a Parquet file on a terminal", hint="`repro table -f parquet > results.parquet`")
    sys.stdout.flush()
    sys.stdout.buffer.write(made)
    sys.stdout.buffer.flush()


def _only_records(files: bool) -> None:
    from repro.errors import ParamsError

    if files:
        raise ParamsError(
            "--write and --check with --from mlflow",
            allowed="the files in git are made from the records in git",
            hint="`repro table --write`, or --from mlflow without it",
        )


def _only_store(given: dict[str, str | None]) -> None:
    from repro.errors import ParamsError

    if said := [name for name, text in given.items() if text is not None]:
        what = f"{' and '.join(said)} without --from mlflow"
        raise ParamsError(what, hint="add --from mlflow; the records in git have neither")


def _runs(uri: str | None, dataset: str | None, columns: str, fmt: Format) -> None:
    """Every run as it is."""
    from repro.params.project import find_project
    from repro.reports import runs
    from repro.tracking.run_reader import read_runs

    found = read_runs(find_project(), uri)
    if fmt is Format.parquet:
        from repro.reports import data_formats

        _emit(data_formats.parquet(runs.runs_frame(found, dataset=dataset, columns=columns)))
    elif fmt is Format.json:
        _emit(runs.runs_json(found, dataset=dataset, columns=columns))
    else:  # CSV too: a thousand runs are written before pandas would be imported
        _emit_grids([runs.runs_table(found, dataset=dataset, columns=columns)], fmt)


def _stored(uri: str | None) -> Results:
    """The declared experiments with the records of a tracking store in place of those in git."""
    from repro.params.project import find_project
    from repro.reports.results import Results, declared_experiments
    from repro.tracking.run_reader import stored_records

    project = find_project()
    records = stored_records(project, uri)
    experiments, broken = declared_experiments(project)
    return Results(project=project, records=records, experiments=experiments, broken=broken)


def list_(
    names: Names = None,
    dataset: Dataset = None,
    page: PageId = None,
    measured: Annotated[bool, typer.Option("--measured", help="Only experiments with a record.")] = False,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--filter", help="FIELD=PATTERN, FIELD>NUMBER or a pattern of names; all must hold."),
    ] = None,
    query: Query = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """List every experiment with its published number, the measured one, and the verdict.

    Fields of --filter and --query: docs/json.md. Among them are experiment, dataset, rows, label, recipe,
    backbone, output_stride, published, measured, gap, verdict.

    Example: repro list 'camvid_*' --filter 'backbone=densenet*' --query 'published >= 50'
    """
    from repro.cli.tables import print_table
    from repro.params.project import find_project
    from repro.reports.listing import SHORT, WIDE, listing, shown
    from repro.reports.results import load_results

    results = load_results(find_project())
    if dataset:
        results.require_dataset(dataset)
    lines = listing(
        results,
        names or (),
        dataset=dataset,
        page=results.published.page_id(page) if page else None,
        measured=measured,
        conditions=tuple(conditions or ()),
        query=query,
    )
    for name, error in results.stray.items():
        note(f"left out: reports/rows/{name}.json is of no experiment: {error.what}")
    name_broken({name: why for name, why in results.left_out.items() if name not in results.stray})
    if json:
        emit_json(lines)
    else:
        columns = (*SHORT, *WIDE) if wide else SHORT
        cells = [shown(line, wide=wide) for line in lines]
        print_table(columns, cells, numbers=("published", "measured", "gap"), wide=wide)
        ours = sum(line["measured"] is not None for line in lines)
        console(stderr=True).print(f"{counted(len(lines), 'experiment')}, {ours} measured")
    require_asked(names or (), results.left_out)


def explain(
    name: Name,
    metric: Annotated[
        str,
        typer.Argument(
            metavar="METRIC",
            help="mIoU, IoU/road, params_M, latency_ms_p50... or settings",
            autocompletion=completion.metrics,
        ),
    ] = "mIoU",
    json: Json = False,
) -> None:
    """Say where a number comes from: record, run, commit, data, protocol, weights, interval.

    Of an experiment that is not measured yet: which row of which page publishes it, and how it was printed.
    `settings` says in which file and line of which repository, at which commit, each setting of its rows is.

    Example: repro explain camvid_mobilenetv2_os16 mIoU
    """
    from repro.errors import UnknownNameError
    from repro.params.names import experiment_name
    from repro.params.project import find_project
    from repro.records import read_row
    from repro.reports.explain import SETTINGS, explanation, settings, unmeasured, values
    from repro.reports.gate import finding
    from repro.reports.results import declared_experiments, load_results

    project, name = find_project(), experiment_name(name)
    path: Path = project.record(name)
    declared, broken = declared_experiments(project)
    if name in broken:
        raise broken[name]
    if name not in declared and not path.is_file():
        raise UnknownNameError("experiment", name, declared, hint="`repro list` shows all")
    published = [project.published.rows[row] for row in declared[name].rows] if name in declared else []
    if metric == SETTINGS and published:
        facts = settings(project.published, published)
    elif not path.is_file():
        facts = unmeasured(name, published, metric)
    else:
        results = load_results(project)
        record = results.as_judged(name) if name in results.records else read_row(path)
        facts = explanation(record, metric, path.relative_to(project.root))
        if "verdict" in facts:
            now = finding(results, name)
            if now.verdict != record.verdict:  # the record's own is older than its params
                facts["verdict"] = f"{now.verdict} ({now.reason})"
    if json:
        return emit_json({**facts, **values(load_results(project), name, metric)})
    write(text_table.facts(facts))
