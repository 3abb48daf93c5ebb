"""How MLflow shows a record: metrics, params, tags, description, files, and the saved view of an experiment.

MLflow's run list shows no metrics until columns are chosen. A saved view, a tag of the experiment with the
list's state as JSON, does that (MLflow 3.17 shows it in the menu "Views", and by its id in a URL).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.io.safe_text import one_line
from repro.io.text_table import LEFT, RIGHT, markdown
from repro.judgement import Judgement
from repro.params import Project
from repro.published.folder import Published
from repro.published.web_links import page_url
from repro.records import DIFF, FAILING, PASSING, Record, to_json
from repro.records.build import measured_value
from repro.records.dvc_files import is_project_file
from repro.records.metrics_io import read_confusion, read_curve
from repro.records.network import described_network, network_package
from repro.records.overlays import overlays, thumbnail
from repro.records.tier import tier_of
from repro.tracking.tags import KEY, NOTE_TAG

MARKS = {
    **dict.fromkeys(PASSING, "✅"),
    **dict.fromkeys(FAILING, "❌"),
    "unmeasured": "⬜",
    "incomparable": "⚠️",
    "known difference": "⬜",
}
_FORBIDDEN = re.compile(r"[^\w\-. :/]")  # in MLflow's metric names


def metrics_of(record: Record) -> dict[str, float]:
    """All metrics of a record for the run list, in percent; costs in the units of their names."""
    found: dict[str, float] = dict(record.metrics)
    for name, (low, high) in record.intervals.items():
        found |= {f"{name}_low": low, f"{name}_high": high}
    found |= {f"IoU/{name}": value for name, value in record.per_class.items() if value is not None}
    for protocol, one in record.also.items():
        found |= {f"{protocol}/{name}": value for name, value in one.metrics.items()}
    found |= {f"published/{name}": value for name, value in record.published.items()}
    wanted = record.expectation
    measured = measured_value(record.metrics, wanted)
    if wanted and record.published and measured is not None:
        found[f"gap/{wanted.metric}"] = round(measured - wanted.value, 4)
    costs = {k: v for k, v in record.cost.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    found |= {f"cost/{name}": float(value) for name, value in costs.items()}
    return {_FORBIDDEN.sub("_", name): float(value) for name, value in found.items()}


def _program(record: Record) -> Mapping[str, Any]:
    """The program that predicted; {} for a network of this project."""
    return dict((record.params.get("external") or {}).get("predict") or {})


def tags_of(record: Record, found: Judgement, published: Published | None = None) -> dict[str, str]:
    """Tags to filter and group runs by, without empty ones; the verdict is that of `found`."""
    git = record.provenance.get("git", {})
    network = described_network(record.params)
    tags = {
        KEY: record.run_key,
        "repro.experiment": record.experiment,
        "verdict": found.verdict,
        "tier": _tier(record, found),
        "kind": record.kind,
        "dataset": record.dataset,
        "row": ", ".join(record.rows),
        "page": ", ".join(sorted({row.partition("-")[0] for row in record.rows})),
        **{name: "" if value is None else str(value) for name, value in network.items()},
        "package": network_package(record.provenance),
        "predict": str(_program(record).get("command", "")),
        "seed": str(record.params.get("seed", "")),
        "protocol_hash": record.protocol_hash,
        "interval": record.interval_kind if record.intervals else "",
        "undefined": "; ".join(f"{name}: {why}" for name, why in record.undefined.items()),
        "dataset_fingerprint": record.dataset_fingerprint,
        "model_sha256": record.model_sha256 or "",
        "git.commit": str(git.get("commit") or ""),
        "git.dirty": str(git.get("dirty")).lower(),
        "dvc.stage": f"experiments/{record.experiment}",
        "mlflow.source.name": f"repro run {record.experiment}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": str(git.get("commit") or ""),
        "mlflow.note.content": note_of(record, found, published),
    }
    return {name: value for name, value in tags.items() if value}


def note_of(record: Record, found: Judgement, published: Published | None = None) -> str:
    """The run's description in Markdown. MLflow shows about five lines of it, so the result comes first."""
    wanted, git = record.expectation, record.provenance.get("git", {})
    lines = [f"## {MARKS[found.verdict]} {found.verdict}{_numbers(record)}", ""]
    if wanted is None or found.reason != wanted.source:
        lines += [f"{one_line(found.reason)}.", ""]
    if record.rows:
        rows = ", ".join(_row_link(row, published) for row in record.rows)
        lines += [f"Published row {rows}, {record.dataset} {record.split}; {_tier(record, found)}.", ""]
    lines += [f"Again: `dvc repro experiments/{record.experiment}`", ""]
    numbers = [_note_row(record, name) for name in record.metrics]
    numbers += [(name, f"undefined: {reason}", "", "") for name, reason in record.undefined.items()]
    columns = ("metric", "measured", "95 % interval", "published")
    lines.append(markdown(columns, numbers, align=(LEFT, RIGHT, LEFT, RIGHT)))
    if record.intervals:
        lines += ["", f"Interval: {record.interval_kind}."]
    if wanted:
        band = wanted.band if found.band is None or len(found.seeds) > 2 else found.band  # that counts now
        lines += ["", f"Expected {wanted.metric} {wanted.value:g} ± {band:g}: {one_line(wanted.source)}."]
    lines += ["", *(f"- {one_line(note)}" for note in record.notes if note != found.reason)]
    lines += [
        f"{record.n_images} images, protocol `{record.protocol_hash}`, commit `{git.get('commit') or '?'}`."
    ]
    return "\n".join(lines)


def _tier(record: Record, found: Judgement) -> str:
    return tier_of(record, seeds=len(found.seeds), published=bool(record.published)) or ""


def _numbers(record: Record) -> str:
    """': mIoU 49.76, published 50', as far as there are numbers."""
    name = record.primary
    measured, printed = measured_value(record.metrics, record.expectation), record.published.get(name)
    parts = [] if measured is None else [f"{name} {measured:.2f}"]
    parts += [] if printed is None else [f"published {printed:g}"]
    return f": {', '.join(parts)}" if parts else ""


def _row_link(row_id: str, published: Published | None) -> str:
    """The row's id, linked to its line on the published page if that is on the web."""
    row = published.rows.get(row_id) if published else None
    url = page_url(published.page(row.page).source, row.line) if published and row else None
    return f"[{row_id}]({url})" if url else row_id


def _note_row(record: Record, name: str) -> tuple[str, ...]:
    low_high = record.intervals.get(name)
    interval = f"{low_high[0]:.2f} to {low_high[1]:.2f}" if low_high else ""
    published = f"{record.published[name]:g}" if name in record.published else ""
    return name, f"{record.metrics[name]:.2f}", interval, published


def curve_of(project: Project, record: Record) -> list[tuple[str, int, float]]:
    """(metric, step, value) of the committed learning curve; empty without one."""
    names = {"loss": "train/loss", "lr": "train/lr", "val_mIoU": "val/mIoU"}
    found = read_curve(project.experiment_folder(record.experiment) / "curve.csv")
    return [(names[column], step, value) for column, points in found.items() for step, value in points]


def texts_of(record: Record) -> dict[str, str]:
    """Artifacts created from the record: name -> text."""
    rows = [
        f"{json.dumps(name, ensure_ascii=False)},{_number(iou)}" for name, iou in record.per_class.items()
    ]
    return {
        "record.json": json.dumps(to_json(record), indent=2, ensure_ascii=False),
        "metrics.json": json.dumps({**record.metrics, "IoU": dict(record.per_class)}, indent=2),
        "per_class.csv": "\n".join(["class,IoU", *rows]) + "\n",
        "params.json": json.dumps(record.params, indent=2, ensure_ascii=False),
    }


def files_of(project: Project, record: Record) -> list[tuple[Path, str]]:
    """(file, artifact folder) of further files: overlays, tables, and the diff of uncommitted code.

    Without overlays, as in a fresh clone, the thumbnails that git holds.
    """
    folder, small = project.experiment_folder(record.experiment), thumbnail(project, record)
    images = [(path, "overlays") for path in overlays(project, record.experiment)]
    images = images or ([(small, "")] if small else [])
    others = (folder / "confusion.csv", folder / "curve.csv", project.work_folder(record.run_key) / DIFF)
    found = [*images, *((path, "") for path in others)]
    return [(path, under) for path, under in found if is_project_file(project.root, path)]


def confusion_figure(path: Path, classes: Mapping[str, Any]) -> Any:
    """Draw the confusion matrix of `confusion.csv` (actual,predicted,count); rows sum to 100 %."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(classes)
    place = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)))
    for (actual, predicted), pixels in read_confusion(path).items():
        if actual in place and predicted in place:
            counts[place[actual], place[predicted]] += pixels
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 3 + 0.28 * min(len(names), 60)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    size = 8 if len(names) <= 30 else 4
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    if len(names) <= 25:
        for (row_index, column), value in np.ndenumerate(percent):
            colour = "white" if value > 60 else "black"
            axes.text(column, row_index, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=6)
    figure.colorbar(shown, label="% of the actual class", shrink=0.8)
    return figure


def classes_figure(classes: Mapping[str, float | None]) -> Any:
    """Draw the IoU of all classes as one bar chart; a class that is not in the split has no bar."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(classes)
    figure = Figure(figsize=(8, 1 + 0.26 * min(len(names), 80)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = axes.barh(range(len(names)), [classes[name] or 0.0 for name in names], color="#2f6fb0")
    labels = ["" if classes[name] is None else f"{classes[name]:.1f}" for name in names]
    axes.bar_label(bars, labels, padding=2, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=8 if len(names) <= 40 else 5)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("IoU, %")
    return figure


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


VIEW = "results"  # id of the view in URLs
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
COLUMNS = (
    *("tags.`verdict`", "metrics.`mIoU`", "metrics.`published/mIoU`", "metrics.`gap/mIoU`"),
    *("metrics.`mIoU_ms_flip`", "tags.`row`", "params.`model.backbone`", "params.`model.output_stride`"),
    *("metrics.`cost/params_M`", "metrics.`cost/gmacs_conv`", "params.`seed`"),
)
# Sections of the charts, in this order: the learning curves first, classes folded. MLflow's own order is
# alphabetical, which puts a bar chart of each class first.
SECTIONS = {"train": True, "val": True, "Model metrics": True, "published": True, "gap": True}
FOLDED = ("cost", "IoU", "System metrics")
NOTE = (
    "[**Results: measured beside published**]({}), best first."
    "{} Networks on {}, in percent: `gap/mIoU` is `mIoU` (measured) minus `published/mIoU`."
    " Filter and group by the tags `verdict`, `page`, `row`, `family`, `backbone`, `output_stride`."
)


def results_path(experiment_id: str) -> str:
    """Path of the saved view below the address of MLflow; without the mode it shows traces of agents."""
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"


def show_first(client: Any, experiment: Any, dataset: str) -> None:
    """Set the saved view of an MLflow experiment, and its note unless a user has written one."""
    client.set_experiment_tag(experiment.experiment_id, VIEW_TAG, saved_view())
    show_note(client, experiment, dataset, "")


def show_note(client: Any, experiment: Any, dataset: str, headline: str) -> None:
    """Update the note of an experiment with `headline`, the number of rows reproduced in the project."""
    own, present = experiment.experiment_id, experiment.tags.get(NOTE_TAG, "")
    known = f" **{headline}** in the whole project." if headline else ""
    note = NOTE.format(results_path(own), known, dataset)
    if note != present and (not present or present.startswith(NOTE.partition("]")[0])):
        client.set_experiment_tag(own, NOTE_TAG, note)


def saved_view() -> str:
    """Content of the view's tag; sorting by a metric lists runs without grouping by parent run."""
    now = round(time.time() * 1000)
    state = json.dumps(view_state())
    return json.dumps({"name": "Results", "createdAt": now, "updatedAt": now, "state": state})


def view_state() -> dict[str, Any]:
    """Columns, order and chart sections of the view."""
    sections = {**SECTIONS, **dict.fromkeys(FOLDED, False)}
    shown = {"isReordered": False, "deleted": False, "isGenerated": True}
    return {
        "orderByKey": "metrics.`mIoU`",
        "orderByAsc": False,
        "selectedColumns": COLUMNS,
        "columnOrder": COLUMNS,
        "compareRunCharts": [],
        "compareRunSections": [
            {"uuid": name, "name": name, "display": display, **shown} for name, display in sections.items()
        ],
        "isAccordionReordered": True,
    }


def is_current_view(tag: str | None) -> bool:
    """Whether an experiment's saved view is that of this version."""
    try:
        found: Any = json.loads(json.loads(tag or "{}")["state"])
    except (ValueError, KeyError, TypeError):
        return False
    return bool(found == json.loads(json.dumps(view_state())))
