"""`repro report`: one HTML file with every result, that opens from disk without a network.

Charts are drawn by Chart.js 4 (MIT, licence beside it), tables and pages by assets/report.js; the data is
JSON inside the file. The same records give the same bytes.
"""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from repro.errors import RecordError
from repro.io import limits
from repro.io.safe_text import printable_texts
from repro.published import Row
from repro.records import Record
from repro.records.build import measured_value
from repro.records.dvc_files import is_project_file
from repro.records.flatten import flatten
from repro.records.metrics_io import read_confusion, read_curve
from repro.records.network import described_network
from repro.reports.gate import Finding, finding, headline
from repro.reports.results import Results

POINTS = 200  # of a learning curve; more cannot be seen
GALLERY_IMAGES = 6
PICTURE_WIDTH = 720  # pixels; three views side by side
CLASSES = 60  # a larger confusion matrix is a table nobody reads
TITLE = b"<title>DeepLab results: published and measured</title>"
T = TypeVar("T")
COSTS = {"params_M": "params_M", "gmacs": "gmacs_conv", "latency": "latency_ms_p50"}


def html_report(results: Results) -> str:
    """The report of everything that is recorded and declared."""
    text = (_asset("report.html")).replace("/*CHART*/", _asset("chart.umd.min.js"))
    text = text.replace("/*REPORT*/", _asset("report.js"))
    # "<" as an escape: no class name or note can end the script element
    data = json.dumps(
        printable_texts(report_data(results)), ensure_ascii=False, separators=(",", ":")
    ).replace("<", "\\u003c")
    return text.replace("/*DATA*/", data)


def is_report(path: Path) -> bool:
    """Whether a file is a report, of whatever version: by its title, which stands at its beginning."""
    with path.open("rb") as file:
        return TITLE in file.read(1000)


def _asset(name: str) -> str:
    return files("repro.reports").joinpath("assets", name).read_text(encoding="utf-8")


def report_data(results: Results) -> dict[str, Any]:
    """What the page draws: one line a result, and everything about each experiment."""
    lines = [*_published_lines(results), *_own_lines(results)]
    measured = sum(line["measured"] is not None for line in lines)
    return {
        "summary": f"{len(lines)} results, {measured} measured, {len(results.names())} experiments.",
        "headline": headline(results),
        "datasets": sorted({line["dataset"] for line in lines}),
        "rows": lines,
        "measured": sorted(results.records),
        "experiments": {name: _experiment(results, name) for name in results.names()},
    }


def _published_lines(results: Results) -> Iterator[dict[str, Any]]:
    for row in results.published.rows.values():
        name, record = results.by_row.get(row.id, ""), results.record_of(row.id)
        yield _line(row, name, record, results)


def _own_lines(results: Results) -> Iterator[dict[str, Any]]:
    for name in results.own():
        yield _line(None, name, results.records.get(name), results)


def _line(row: Row | None, name: str, record: Record | None, results: Results) -> dict[str, Any]:
    """One line of the table of results; numbers are percent, M, G, ms, or None."""
    metric = record.primary if record else next(iter(row.metrics), "mIoU") if row else "mIoU"
    published = row.metrics.get(metric) if row else None
    measured = measured_value(record.metrics, record.expectation) if record else None
    low, high = record.intervals.get(metric, (None, None)) if record else (None, None)
    model = described_network(record.params if record else {})
    return {
        "row": row.id if row else "",
        "experiment": name,
        "label": row.label if row else name,
        "dataset": results.dataset(name) or (row.dataset if row else ""),
        "backbone": (row.backbone if row else "") or model["backbone"] or model["family"] or "",
        "os": (row.output_stride if row else None) or model["output_stride"],
        "metric": metric,
        "published": published,
        "measured": measured,
        "low": low,
        "high": high,
        "interval": record.interval_kind if record and low is not None else "",
        "gap": None if measured is None or published is None else round(measured - published, 4),
        "verdict": finding(results, name).verdict if name else "unmeasured",
        **{key: record.cost.get(source) if record else None for key, source in COSTS.items()},
    }


def _experiment(results: Results, name: str) -> dict[str, Any]:
    record, folder = results.records.get(name), results.project.experiment_folder(name)
    if record is None:
        return _without_record(results, name)
    found = finding(results, name)
    images = gallery(results.project.root, folder / "overlays")
    broken = [f"overlays/{name} cannot be read" for name, address in images.items() if not address]
    learned = _or_remark(lambda: curve(folder / "curve.csv"), broken)
    matrix = _or_remark(lambda: confusion(folder / "confusion.csv", list(record.per_class)), broken)
    return {
        "dataset": record.dataset,
        "verdict": found.verdict,
        "about": _about(record, found),
        "notes": [*record.notes, *broken],
        "metrics": dict(record.metrics),
        "intervals": {key: list(value) for key, value in record.intervals.items()},
        "interval": record.interval_kind if record.intervals else "",
        "undefined": dict(record.undefined),
        "published": dict(record.published),
        "per_class": dict(record.per_class),
        "cost": flat(record.cost),
        "params": flat({key: value for key, value in record.params.items() if key != "facts"}),
        "provenance": flat({**record.provenance, "record": record.content_hash, "run_key": record.run_key}),
        "curve": learned,
        "confusion": matrix,
        "gallery": [address for address in images.values() if address],
    }


def _or_remark(read: Callable[[], T], remarks: list[str]) -> T | None:
    """What a file holds; None and a remark more where it is damaged, for the report is about others too."""
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


def _without_record(results: Results, name: str) -> dict[str, Any]:
    """An experiment that is not measured, or whose record is damaged; `next` is what to do about it."""
    declared, found = results.experiments.get(name), finding(results, name)
    damaged = name in results.damaged
    return {
        "dataset": results.dataset(name),
        "verdict": found.verdict,
        "about": f"{results.dataset(name)}. {declared.note if declared else ''}".strip(),
        "missing": f"The record is damaged, {found.reason}" if damaged else "Not measured yet",
        "next": f"repro record {name}" if damaged else f"dvc repro experiments/{name}",
        "params": flat(declared.raw if declared else {}),
    }


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


def gallery(root: Path, folder: Path) -> dict[str, str]:
    """Return downscaled prediction images as data URLs by file name; empty for a broken file."""
    found = [path for path in sorted(folder.glob("*.png")) if is_project_file(root, path)]
    return {path.name: _thumbnail(path) for path in found[:GALLERY_IMAGES]}


def _thumbnail(path: Path) -> str:
    from PIL import Image

    try:
        content = limits.read_limited(path, limits.OVERLAY_BYTES, error=RecordError)
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > limits.OVERLAY_PIXELS:
                return ""
            small = image.convert("RGB")
    except Exception:  # of a damaged file Pillow raises a dozen kinds, struct.error and IndexError among them
        return ""
    if small.width > PICTURE_WIDTH:
        small = small.resize((PICTURE_WIDTH, round(small.height * PICTURE_WIDTH / small.width)))
    made = io.BytesIO()
    small.save(made, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(made.getvalue()).decode()
