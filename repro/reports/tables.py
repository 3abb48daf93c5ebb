"""Tables of a data set: every published row beside what was measured here, and our own experiments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from repro.published import Row
from repro.published.page import QUIRK
from repro.records import Record
from repro.records.record import Measured
from repro.records.tier import PUBLISHED_ONLY
from repro.reports import cost_cells, formatting
from repro.reports.costs import compared, cost_of
from repro.reports.formatting import noted
from repro.reports.gate import finding
from repro.reports.grid import Grid
from repro.reports.link_states import UNCHECKED, published_links
from repro.reports.links import link_cell, measured_links
from repro.reports.results import Results

COLUMNS = (
    *("row", "experiment", "model", "published mIoU", "measured mIoU", "95 % interval", "seeds"),
    *("as the page computes", "difference", "verdict", "tier", "published ms+flip", "measured ms+flip"),
    *("published aAcc", "aAcc", "published mAcc", "mAcc", "published fwIoU", "fwIoU"),
    *cost_cells.COLUMNS,
    *("protocol", "other protocols", "links"),
)
ACCURACIES = ("aAcc", "mAcc", "fwIoU")
# What README shows; the tables in reports/ have all columns.
SHORT = (
    *("row", "experiment", "published mIoU", "measured mIoU", "95 % interval", "difference"),
    *("verdict (tier)", "protocol"),
)
MACS_NOTE = (
    "GMACs: multiply-accumulates of the convolutions of one image at the size given; FLOPs are twice as many"
)
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
    measured = [
        row for row in results.published.rows.values() if results.by_row.get(row.id) in results.records
    ]
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
        self._of = {
            "device": formatting.Footnotes(),
            "protocol": formatting.Footnotes(numbered=True),
            "interval": formatting.Footnotes(numbered=True, prefix="i"),
        }

    def resolved(self, cell: str) -> str:
        """`cell` with the marks of its notes in place of the notes."""
        while "\0" in cell and (found := _NOTE.search(cell)):
            kind, note = found.groups()
            cell = self._of[kind].mark(cell[: found.start()], note) + cell[found.end() :]
        return cell

    def notes(self) -> list[str]:
        return [note for name, one in self._of.items() for note in one.notes(name)]


_NOTE = re.compile("\0(\\w+)\1(.*?)\0", re.DOTALL)


def _table(
    results: Results,
    title: str,
    rows: Iterable[Row],
    own: Iterable[str],
    base: str,
    columns: Sequence[str] = COLUMNS,
) -> Grid:
    marks = Marks()
    found = [_line(results, row, results.by_row.get(row.id, ""), base) for row in rows]
    found += [_line(results, None, name, base) for name in own]
    results.cache.save()
    lines = [{key: marks.resolved(cell) for key, cell in line.items()} for line in found]
    used = tuple(column for column in columns if any(line.get(column) for line in lines))
    cells = tuple(tuple(line.get(column, "") for column in used) for line in lines)
    notes = [MACS_NOTE] if "GMACs" in used else []
    shown = " ".join(cell for row in cells for cell in row)
    notes += [note for note in marks.notes() if note.partition(" ")[0] in shown]
    names = tuple(dict.fromkeys(line["experiment"] for line in lines))
    notes += engine_notes({line["experiment"]: line["engine"] for line in lines})
    notes += own_notes(results, names)
    notes += dict.fromkeys(note for line in lines for note in line["undefined"].splitlines())
    if "links" in columns and any(
        "[log]" in line["links"] and "[model]" not in line["links"] for line in lines
    ):
        notes.append(WEIGHTS_NOTE)
    if (
        "links" in columns
        and not results.link_states
        and any("[published" in line["links"] for line in lines)
    ):
        notes.append(UNCHECKED)
    return Grid(title=title, columns=used, rows=cells, notes=tuple(notes))


def engine_text(record: Record) -> str:
    """'data 1, training 1, evaluation 1': the engine that made a result; "" without a number."""
    versions = record.params.get("engine") or {}
    return ", ".join(f"{name} {version}" for name, version in versions.items()) if record.metrics else ""


def engine_notes(engines: Mapping[str, str]) -> list[str]:
    """The engines of a table's experiments: one note, or one of each with its experiments."""
    found: dict[str, list[str]] = {}
    for name, text in engines.items():
        if text:
            found.setdefault(text, []).append(name)
    if len(found) < 2:
        return [f"engine: {text}" for text in found]
    return [f"engine of {', '.join(names)}: {text}" for text, names in found.items()]


def own_notes(results: Results, names: Iterable[str]) -> list[str]:
    """What the params.yaml of measured experiments says of them: a reader of the number must see it too."""
    notes = {name: results.claims[name].note for name in names if name in results.records}
    return [f"{name}: {note}" for name, note in notes.items() if note]


def undefined_notes(record: Record) -> list[str]:
    """Why a metric of a result has no value: the class that is absent."""
    notes = []
    under: dict[str, Record | Measured] = {record.experiment: record}
    under |= {f"{record.experiment}, {name}": one for name, one in record.also.items()}
    for name, one in under.items():
        reasons = [(metric, why) for metric, why in one.undefined.items() if metric.startswith("mIoU")]
        notes += [f"{name}: {metric} is undefined: {why}" for metric, why in reasons]
    return notes


def _line(results: Results, row: Row | None, name: str, base: str) -> dict[str, str]:
    """The cells of a result by column, with notes that `Marks` resolves."""
    if not name:
        return _cells(results, row, name, base)
    kind = f"cells {row.id if row else ''} {base}"
    return results.kept(kind, name, lambda: _cells(results, row, name, base))


def _cells(results: Results, row: Row | None, name: str, base: str) -> dict[str, str]:
    record = results.records.get(name)
    line = {"row": row.id if row else "", "experiment": name, "verdict": "unmeasured" if name else "not run"}
    found = finding(results, name) if name else None
    line |= {"tier": found.tier if found else PUBLISHED_ONLY}
    line |= {"verdict (tier)": found.verdict_and_tier if found else line["verdict"]}
    line |= _published(row) if row else {}
    cost = cost_of(results, name) if name else {}
    line |= cost_cells.cost_cells(row, cost, compared(results, row) if row else [])
    if record:
        line |= _measured(record) | _judged(results, record, row)
    undefined = "\n".join(undefined_notes(record)) if record else ""
    engine = engine_text(record) if record else ""
    return line | {"links": _links(results, row, name, base), "undefined": undefined, "engine": engine}


def _links(results: Results, row: Row | None, name: str, base: str) -> str:
    ours = link_cell(measured_links(results.project, name, base=base) if name else {})
    return " · ".join(filter(None, [ours, *(published_links(row, results.link_states) if row else [])]))


def _published(row: Row) -> dict[str, str]:
    return {
        "model": row.label,
        "published mIoU": formatting.percent(row.metrics.get("mIoU")),
        "published ms+flip": formatting.percent(row.metrics.get("mIoU_ms_flip")),
        **{f"published {name}": formatting.percent(row.metrics.get(name)) for name in ACCURACIES},
    }


def _measured(record: Record) -> dict[str, str]:
    smoke = " (smoke run)" if record.kind == "smoke" else ""
    protocol = record.protocol_hash[:8] if record.metrics or record.undefined else ""
    return {
        "measured mIoU": formatting.metric(record, "mIoU") + smoke,
        "95 % interval": noted(formatting.interval(record), "interval", record.interval_kind),
        "as the page computes": formatting.metric(record, "mIoU" + QUIRK),
        "measured ms+flip": formatting.metric(record, "mIoU_ms_flip"),
        **{name: formatting.metric(record, name) for name in ACCURACIES},
        "protocol": noted(protocol, "protocol", protocol_text(record)),
        "other protocols": " · ".join(other_protocol(record, one) for one in record.also.values()),
    }


def other_protocol(record: Record, one: Measured) -> str:
    """mIoU and interval of the same weights under a further protocol; footnotes describe both."""
    interval = noted(formatting.interval(one), "interval", one.interval_kind)
    cell = " ".join([formatting.metric(one, "mIoU"), interval]).strip()
    return noted(cell, "protocol", protocol_text(record, one))


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
