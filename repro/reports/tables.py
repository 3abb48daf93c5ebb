"""Tables of a data set: every published row beside what was measured here, and our own experiments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from repro.published import Row
from repro.published.page import QUIRK
from repro.records import Record
from repro.records.record import Measured
from repro.records.verdict import sizes
from repro.reports import formatting
from repro.reports.gate import finding
from repro.reports.grid import Grid
from repro.reports.links import link_cell, measured_links
from repro.reports.results import Results

COLUMNS = (
    "row",
    "experiment",
    "model",
    "published mIoU",
    "measured mIoU",
    "95 % interval",
    "seeds",
    "as the page computes",
    "difference",
    "verdict",
    "published ms+flip",
    "measured ms+flip",
    "published params (M)",
    "params (M)",
    "published size (MiB)",
    "size (MiB)",
    "GMACs",
    "latency p50 (ms)",
    "memory (MiB)",
    "protocol",
    "other protocols",
    "links",
)
# What README shows; the tables in reports/ have all columns.
SHORT = (
    *("row", "experiment", "published mIoU", "measured mIoU", "95 % interval", "difference", "verdict"),
    *("protocol",),
)
MACS_NOTE = "GMACs: multiply-accumulates of the convolutions of one forward pass at the size given"
WEIGHTS_NOTE = "no link to the weights: no DVC remote is set; `dvc repro experiments/NAME` trains them again"
OWN_TITLE = "Experiments of this project without a published row"


def dataset_tables(results: Results, dataset: str, *, base: str = "") -> list[Grid]:
    """One table per page with rows of `dataset`, then one of the other experiments on it."""
    results.require_dataset(dataset)
    by_page: dict[str, list[Row]] = {}
    for row in results.rows_of(dataset):
        by_page.setdefault(row.page, []).append(row)
    tables = [
        _table(results, results.published.page(page).title, page_rows, (), base)
        for page, page_rows in by_page.items()
    ]
    own = [name for name in results.own() if results.dataset(name) == dataset]
    return tables + ([_table(results, OWN_TITLE, (), own, base)] if own else [])


def measured_table(results: Results, *, base: str = "", columns: Sequence[str] = COLUMNS) -> list[Grid]:
    """Every result measured so far in one table, with those of `columns` that any row fills."""
    measured = [row for row in results.published.rows.values() if results.record_of(row.id)]
    own = [name for name in results.own() if name in results.records]
    if not measured and not own:
        return [Grid(title="", columns=("results",), rows=(("nothing measured yet",),))]
    return [_table(results, "", measured, own, base, columns)]


def row_tables(results: Results, *, base: str = "") -> list[Grid]:
    """Which experiment stands for which published row, a table a page."""
    pages: dict[str, list[Row]] = {}
    for row in results.published.rows.values():
        pages.setdefault(row.page, []).append(row)
    columns = ("row", "label", "published mIoU", "experiment")
    return [
        Grid(
            title=results.published.page(page).title,
            columns=columns,
            rows=tuple(_row_line(results, row, base) for row in rows),
        )
        for page, rows in pages.items()
    ]


def _row_line(results: Results, row: Row, base: str) -> tuple[str, ...]:
    name = results.by_row.get(row.id)
    link = f"[{name}]({base}experiments/{name}/params.yaml)" if name else "not run"
    return row.id, row.label, formatting.percent(row.metrics.get("mIoU")), link


class Marks:
    """The footnotes of one table."""

    def __init__(self) -> None:
        self.devices, self.protocols = formatting.Footnotes(), formatting.Footnotes(numbered=True)
        self.intervals = formatting.Footnotes(numbered=True, prefix="i")

    def notes(self) -> list[str]:
        named = {"device": self.devices, "protocol": self.protocols, "interval": self.intervals}
        return [note for name, one in named.items() for note in one.notes(name)]


def _table(
    results: Results,
    title: str,
    rows: Iterable[Row],
    own: Iterable[str],
    base: str,
    columns: Sequence[str] = COLUMNS,
) -> Grid:
    marks = Marks()
    lines = [_line(results, row, results.by_row.get(row.id, ""), marks, base) for row in rows]
    lines += [_line(results, None, name, marks, base) for name in own]
    cells = tuple(tuple(line.get(column, "") for column in columns) for line in lines)
    grid = Grid(title=title, columns=tuple(columns), rows=cells).used()
    notes = [MACS_NOTE] if "GMACs" in grid.columns else []
    shown = " ".join(cell for row in grid.rows for cell in row)
    notes += [note for note in marks.notes() if note.partition(" ")[0] in shown]
    notes += own_notes(results, dict.fromkeys(line["experiment"] for line in lines))
    notes += undefined_notes(results, dict.fromkeys(line["experiment"] for line in lines))
    if "links" in columns and any(
        "[log]" in line["links"] and "[model]" not in line["links"] for line in lines
    ):
        notes.append(WEIGHTS_NOTE)
    return Grid(title=title, columns=grid.columns, rows=grid.rows, notes=tuple(notes))


def own_notes(results: Results, names: Iterable[str]) -> list[str]:
    """What the params.yaml of measured experiments says of them: a reader of the number must see it too."""
    declared = {name: results.experiments[name].note for name in names if name in results.experiments}
    return [f"{name}: {note}" for name, note in declared.items() if note and name in results.records]


def undefined_notes(results: Results, names: Iterable[str]) -> list[str]:
    """Why a metric of a result has no value: the class that is absent."""
    notes = []
    for record in (results.records[name] for name in names if name in results.records):
        under: dict[str, Record | Measured] = {record.experiment: record}
        under |= {f"{record.experiment}, {name}": one for name, one in record.also.items()}
        for name, one in under.items():
            reasons = [(metric, why) for metric, why in one.undefined.items() if metric.startswith("mIoU")]
            notes += [f"{name}: {metric} is undefined: {why}" for metric, why in reasons]
    return notes


def _line(
    results: Results,
    row: Row | None,
    name: str,
    marks: Marks,
    base: str,
) -> dict[str, str]:
    record = results.records.get(name)
    line = {"row": row.id if row else "", "experiment": name, "verdict": "unmeasured" if name else "not run"}
    line |= _published(row) if row else {}
    if record:
        line |= _measured(record, row, marks) | _judged(results, record, row)
        line |= _sizes(record, row)
    ours = measured_links(results.project, name, base=base) if name else {}
    theirs = {f"published {role}": url for role, url in (row.links if row else {}).items() if role == "model"}
    return line | {"links": link_cell(ours | theirs)}


def _published(row: Row) -> dict[str, str]:
    sized = "size_MB" in row.cost  # rows of sizes alone: their parameters are compared too
    return {
        "model": row.label,
        "published mIoU": formatting.percent(row.metrics.get("mIoU")),
        "published ms+flip": formatting.percent(row.metrics.get("mIoU_ms_flip")),
        "published params (M)": f"{row.cost['params_M']:g}" if sized else "",
        "published size (MiB)": f"{row.cost['size_MB']:g}" if sized else "",
    }


def _sizes(record: Record, row: Row | None) -> dict[str, str]:
    """The size of the weights, where the row prints one."""
    found = {size.name: size.built for size in sizes(record.cost, row)} if row else {}
    return {"size (MiB)": f"{found['size_MB']:.2f}"} if "size_MB" in found else {}


def _measured(record: Record, row: Row | None, marks: Marks) -> dict[str, str]:
    cost = record.cost
    latency, memory = cost.get("latency_ms_p50"), cost.get("peak_memory_MiB")
    device, smoke = formatting.device_text(cost), " (smoke run)" if record.kind == "smoke" else ""
    protocol = record.protocol_hash[:8] if record.metrics or record.undefined else ""
    return {
        "measured mIoU": formatting.metric(record, "mIoU") + smoke,
        "95 % interval": marks.intervals.mark(formatting.interval(record), record.interval_kind),
        "as the page computes": formatting.metric(record, "mIoU" + QUIRK),
        "measured ms+flip": formatting.metric(record, "mIoU_ms_flip"),
        "params (M)": f"{cost['params_M']:.2f}" if cost.get("params_M") is not None else "",
        "GMACs": formatting.macs(cost),
        "latency p50 (ms)": marks.devices.mark("" if latency is None else f"{latency:.1f}", device),
        "memory (MiB)": marks.devices.mark("" if memory is None else f"{memory:.0f}", device),
        "protocol": marks.protocols.mark(protocol, protocol_text(record)),
        "other protocols": " · ".join(other_protocol(record, one, marks) for one in record.also.values()),
    }


def other_protocol(record: Record, one: Measured, marks: Marks) -> str:
    """mIoU and interval of the same weights under a further protocol; footnotes describe both."""
    interval = marks.intervals.mark(formatting.interval(one), one.interval_kind)
    cell = " ".join([formatting.metric(one, "mIoU"), interval]).strip()
    return marks.protocols.mark(cell, protocol_text(record, one))


def _judged(results: Results, record: Record, row: Row | None) -> dict[str, str]:
    """The gate's verdict, the difference to this very row, and the seeds it rests on."""
    found = finding(results, record.experiment)
    reference = row.metrics.get("mIoU") if row else found.reference
    shown = found.verdict not in ("incomparable", "unmeasured")
    seeds = results.seeds(record)
    return {
        "verdict": found.verdict,
        "difference": formatting.difference(found.measured, reference) if shown and record.metrics else "",
        "seeds": formatting.seeds(seeds),
    }


def protocol_text(record: Record, further: Measured | None = None) -> str:
    """What a reader must know to compare: split, images, whole or tiles, scales, flip, quirks of the page."""
    measured = further or record
    protocol = measured.protocol
    scales = protocol.get("scales") or ()
    parts = {
        f"{record.dataset} {record.split}": True,
        f"{measured.n_images} images": True,
        str(protocol.get("mode")): protocol.get("mode"),
        f"tiles {formatting.size_text(protocol.get('crop') or 0)}": protocol.get("crop"),
        f"fitted into {formatting.size_text(protocol.get('base') or 0)}": protocol.get("base"),
        "scales " + " ".join(f"{scale:g}" for scale in scales): len(scales) > 1,
        "flip": protocol.get("flip"),
        "the page's union": protocol.get("union_bug"),
        "the page's empty tiles": protocol.get("zero_tile") == "nan",
    }
    return ", ".join(text for text, holds in parts.items() if holds)
