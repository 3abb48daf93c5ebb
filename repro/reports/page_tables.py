"""A page's own tables: printed as published, or with our numbers in the places of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from repro.published import Column, Page, Row, Table
from repro.published.markdown import cells as cut
from repro.published.markdown import fill
from repro.published.page import page_value
from repro.records import Record
from repro.records.printed_costs import COSTS
from repro.reports.costs import cost_of
from repro.reports.enums import Values
from repro.reports.formatting import device_text
from repro.reports.grid import Grid
from repro.reports.links import link_cell, measured_links
from repro.reports.results import Results

_COST = {
    "gmacs": "gmacs_thop",  # page 000 counts as thop does: convolutions and 2 per batch-norm element
    "params_M": "params_M",
    "time_ms": "latency_ms_mean",
    "fps": "images_per_s",
}


def page_text(
    results: Results, page: Page, values: Values, *, base: str = "", dataset: str | None = None
) -> str:
    """All tables of a page as markdown, a blank line between them; `published` is byte for byte the page."""
    tables = [table for table in page.tables if _has(page, table, results, dataset)]
    return "\n\n".join(table_text(results, page, table, values, base=base) for table in tables) + "\n"


def table_text(results: Results, page: Page, table: Table, values: Values, *, base: str = "") -> str:
    """One table in its published layout."""
    if values is Values.published:
        return page.markdown(table)
    lines = []
    for part in table.body:
        row = page.rows.get(part)
        lines.append(
            part if row is None else _filled(table, row, row_cells(results, table, row, values, base))
        )
    return "\n".join([table.header, table.rule, *lines])


def page_grids(results: Results, page: Page, values: Values, *, dataset: str | None = None) -> list[Grid]:
    """The same tables for the other formats: rules between rows dropped, ragged rows padded."""
    tables = [table for table in page.tables if _has(page, table, results, dataset)]
    return [_grid(results, page, table, values) for table in tables]


def row_cells(results: Results, table: Table, row: Row, values: Values, base: str = "") -> tuple[str, ...]:
    """A row's cells. A measured cell that nothing was measured for is empty, a describing cell stays."""
    if values is Values.published:
        return row.cells
    name = results.by_row.get(row.id, "")
    record = results.records.get(name)
    ours = measured_links(results.project, name, base=base) if record else {}
    cost = cost_of(results, name) if name else {}
    published = [*row.cells, *[""] * len(table.columns)]
    shown = []
    for column, cell in zip(table.columns, published, strict=False):
        measured = _measured_cell(column, record, cost, ours)
        if measured is None:
            shown.append(cell)
        else:
            shown.append(measured if values is Values.measured else _both(column, cell, measured))
    return tuple(shown)


def _measured_cell(
    column: Column, record: Record | None, cost: Mapping[str, Any], ours: Mapping[str, str]
) -> str | None:
    """Text for a column that we measure, count or make; None for one that describes the row."""
    if column.field in _LINKS:
        return _LINKS[column.field](ours)
    if not column.format:
        return None
    value = measured_value(record, cost, column.field)
    if value is None:
        return "undefined" if record and column.field in record.undefined else ""
    device = measured_on(record, cost, column.field)
    return column.show(value) + (f" ({device})" if device else "")


def measured_value(record: Record | None, cost: Mapping[str, Any], field: str) -> float | None:
    """A metric in percent, or a cost in the page's unit; None for what was neither measured nor counted."""
    if field == "mem_GB":  # the pages' memory is that of training, on each GPU
        memory = cost.get("train_memory_MiB")
        return None if memory is None else float(memory) / 1024
    if field == "size_MB":
        return COSTS[field].ways[""](cost)
    if field in _COST:
        found = cost.get(_COST[field])
        return None if found is None else float(found)
    return page_value(record.metrics, field) if record else None


def measured_on(record: Record | None, cost: Mapping[str, Any], field: str) -> str:
    """The device that a cost holds for; nothing for what every device gives."""
    trained = (record.provenance.get("training") or {}).get("device") if record else None
    if field == "mem_GB" and trained:
        return device_text({"device": trained})
    return device_text(cost) if field in ("time_ms", "fps", "mem_GB") else ""


def _both(column: Column, cell: str, measured: str) -> str:
    if not measured or column.field in _LINKS:
        return cell if not measured else f"{cell} &#124; ours: {measured}"
    return f"{cell} → {measured}" if cell else f"→ {measured}"


def _filled(table: Table, row: Row, shown: tuple[str, ...]) -> str:
    """In the row's own layout while that has room for every cell, else in the table's."""
    own = row.layout
    return fill(own if own and own.count("{") >= len(shown) else _wide(table, len(shown)), shown)


def _wide(table: Table, count: int) -> str:
    return table.layout if table.layout.count("{") >= count else "| " + " | ".join(["{}"] * count) + " |"


def _grid(results: Results, page: Page, table: Table, values: Values) -> Grid:
    header = list(cut(table.header))
    header += [column.field.replace("_", " ") for column in table.columns[len(header) :]]
    shown = [row_cells(results, table, page.rows[row_id], values) for row_id in table.row_ids(page.rows)]
    rows = tuple((*row, *[""] * len(header))[: len(header)] for row in shown)
    return Grid(title=table.title, columns=tuple(header), rows=rows)


def _has(page: Page, table: Table, results: Results, dataset: str | None) -> bool:
    ids = table.row_ids(page.rows)
    return dataset is None or any(row.id in ids for row in results.rows_of(dataset))


_LINKS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "links": lambda ours: link_cell(dict(ours), " &#124; "),
    "config_link": lambda ours: link_cell({k: v for k, v in ours.items() if k == "config"}),
    "model_link": lambda ours: link_cell({k: v for k, v in ours.items() if k == "model"}),
    "mirror_link": lambda ours: "",
}
