"""The report's page of one experiment: what a page prints of it, where it leads to, and what was measured.

Useful before anything was measured too: published numbers, config, weights, licence, estimates, the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from repro.datasets import described
from repro.errors import RecordError, ReproError
from repro.io.repository import commit_url, file_url
from repro.published import Row
from repro.published.markdown import links as cell_links
from repro.published.web_links import page_url, papers
from repro.records import Record
from repro.records.flatten import flatten
from repro.records.metrics_io import read_confusion, read_curve
from repro.reports.cost_cells import NAMED, cost_cells, verdict_cell
from repro.reports.costs import compared, cost_of
from repro.reports.formatting import NO_VALUE
from repro.reports.frame import claimed
from repro.reports.gate import Finding, finding
from repro.reports.links import measured_links
from repro.reports.prediction_images import gallery
from repro.reports.results import Results
from repro.reports.training_estimates import estimates

POINTS = 200  # of a learning curve; more cannot be seen
CLASSES = 60  # a larger confusion matrix is a table nobody reads
OWN_KEYS = ("rows", "note")  # of params.yaml, shown elsewhere on the page
T = TypeVar("T")
Link = tuple[str, str | None]  # text, address


def experiment_page(
    results: Results, name: str, line: Mapping[str, Any], missing: Mapping[str, str]
) -> dict[str, Any]:
    """Everything that the report shows of an experiment.

    Args:
        results: all results.
        name: the experiment.
        line: what `result_lines` says of it.
        missing: command that provides a data set that is not on this machine, by data set.
    """
    record, found = results.records.get(name), finding(results, name)
    page = {
        "dataset": results.dataset(name),
        "verdict": found.verdict,
        "tier": found.tier,
        "rows": [_published(results, row) for row in rows_of(results, name)],
        "links": list(_links(results, name, record)),
        "data": _data(results, name),
        "missing": missing.get(results.dataset(name), ""),
        "network": _network(results, name),
        "estimates": estimates(results, name),
        **_params(results, name),
    }
    return page | (_measured(results, record, found) if record else _unmeasured(results, name, found))


def rows_of(results: Results, name: str) -> list[Row]:
    """The published rows of an experiment."""
    return [results.published.rows[row_id] for row_id in claimed(results, name)]


def _published(results: Results, row: Row) -> dict[str, Any]:
    """What a page prints of a row, and where."""
    page = results.published.page(row.page)
    about = {
        "trained on": row.train_set,
        "evaluated on": row.eval_set,
        "iterations": row.iterations,
        "batch": row.batch,
        "script": row.source,
        "first recorded": row.recorded,
        "device of the time": row.device,
    }
    return {
        "id": row.id,
        "label": row.label,
        "page": page.title,
        "url": page_url(page.source, row.line),
        "printed": {**row.metrics, **row.cost},
        "about": {key: value for key, value in about.items() if value},
        "remarks": list(row.remarks),
        "papers": list(papers(row.family, row.backbone)),
        "weights": list(_weights(row)),
    }


def _weights(row: Row) -> Iterator[list[str | None]]:
    """[text, address, state] of the links that a page prints in a row."""
    shared = f"weights of row {row.weights_of}" if row.weights_of else ""
    for role, url in row.links.items():
        yield [role, url, shared if role.startswith("model") else ""]
    empty = [text for cell in row.cells for text, url in cell_links(cell) if not url]
    yield from ([text, None, "empty link"] for text in empty)


def _links(results: Results, name: str, record: Record | None) -> Iterator[Link]:
    """Files of the experiment and its commit; with addresses where the repository has a remote."""
    root = results.project.root
    config = f"experiments/{name}/params.yaml"
    yield config, file_url(root, config)
    if record is None:
        return
    path = f"reports/rows/{name}.json"
    yield path, file_url(root, path)
    commit = (record.provenance.get("git") or {}).get("commit")
    if commit:
        yield f"commit {str(commit)[:12]}", commit_url(root, commit)
    ours = measured_links(results.project, name)
    if "model" in ours:
        yield "weights", ours["model"]
    if "attested" in ours:
        path = ours["attested"].partition("?")[0]
        yield path, file_url(root, path)


def _data(results: Results, name: str) -> dict[str, str]:
    """Title, licence and page of the data set; {} for one that cannot be read."""
    try:
        found = described(results.project, results.dataset(name))
    except ReproError:
        return {}
    return {"title": found.TITLE, "licence": found.LICENCE, "page": found.PAGE}


def _params(results: Results, name: str) -> dict[str, Any]:
    """The note, the recipe, and what params.yaml holds besides it."""
    declared = results.experiments.get(name)
    if declared is None:
        return {"own": {}, "recipe": "", "note": ""}
    own = {key: value for key, value in declared.raw.items() if key not in (*OWN_KEYS, "recipe")}
    return {"own": flat(own), "recipe": declared.recipe, "note": declared.note}


def _network(results: Results, name: str) -> dict[str, str]:
    """The counted cost of its network, with what became of the costs that a page prints."""
    cells = cost_cells(None, cost_of(results, name), ())
    found = {title: cells[title] for title in ("params (M)", "GMACs") if cells[title] != NO_VALUE}
    for row in rows_of(results, name):
        found |= {f"{row.id}: {NAMED[one.name]}": verdict_cell(one) for one in compared(results, row)}
    return found


def _unmeasured(results: Results, name: str, found: Finding) -> dict[str, Any]:
    """An experiment without a record, or with a damaged one; `next` is the command to run."""
    damaged = name in results.damaged
    return {
        "about": "",
        "state": f"The record is damaged, {found.reason}" if damaged else "Not measured yet",
        "next": f"repro record {name}" if damaged else f"dvc repro experiments/{name}",
    }


def _measured(results: Results, record: Record, found: Finding) -> dict[str, Any]:
    folder = results.project.experiment_folder(record.experiment)
    images, unreadable = gallery(results.project, record)
    broken = [f"overlays/{name} cannot be read" for name in unreadable]
    learned = _or_remark(lambda: curve(folder / "curve.csv"), broken)
    matrix = _or_remark(lambda: confusion(folder / "confusion.csv", list(record.per_class)), broken)
    kept = {key: value for key, value in record.params.items() if key != "facts"}
    return {
        "about": _about(results.as_judged(record.experiment), found),
        "next": f"dvc repro experiments/{record.experiment}",
        "notes": [*record.notes, *broken],
        "metrics": dict(record.metrics),
        "intervals": {key: list(value) for key, value in record.intervals.items()},
        "interval": record.interval_kind if record.intervals else "",
        "undefined": dict(record.undefined),
        "published": dict(record.published),
        "per_class": dict(record.per_class),
        "cost": flat(record.cost),
        "params": flat(kept),
        "provenance": flat({**record.provenance, "record": record.content_hash, "run_key": record.run_key}),
        "curve": learned,
        "confusion": matrix,
        "gallery": images,
    }


def _or_remark(read: Callable[[], T], remarks: list[str]) -> T | None:
    """What a file holds; None and another remark where it is damaged, because the report is about all."""
    try:
        return read()
    except RecordError as error:
        remarks.append(f"{Path(error.where or '').name}: {error.what}")
        return None


def _about(record: Record, found: Finding) -> str:
    """What was measured, what it should be, and why it cannot be compared where it cannot."""
    text = f"{record.dataset}, {record.split}, {record.n_images} images, protocol {record.protocol_hash}."
    wanted = record.expectation
    if wanted:
        text += f" Expected {wanted.metric} {wanted.value:g} ± {wanted.band:g}: {wanted.source}."
    return text + (f" Incomparable: {found.reason}." if found.verdict == "incomparable" else "")


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys of what says something."""
    return {name: value for name, value in flatten(values).items() if value not in (None, "")}


def curve(path: Path) -> dict[str, list[list[float]]] | None:
    """Learning curve of curve.csv, thinned; None where there is none."""
    found = read_curve(path)
    if not found:
        return None
    series = {name: [list(point) for point in found.get(name, [])] for name in ("loss", "val_mIoU")}
    return {name: points[:: max(1, len(points) // POINTS)] for name, points in series.items()}


def confusion(path: Path, classes: list[str]) -> dict[str, Any] | None:
    """Confusion matrix in percent of the actual class; None where it is missing or too large to read."""
    counts = read_confusion(path) if len(classes) <= CLASSES else {}
    if not counts:
        return None
    sums = {name: sum(counts.get((name, other), 0.0) for other in classes) or 1.0 for name in classes}
    percent = [[round(100 * counts.get((a, p), 0.0) / sums[a], 1) for p in classes] for a in classes]
    return {"classes": classes, "percent": percent}
