"""Page files, written so that people can read and review them: one row a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from repro.published.page import Page


def page_json(raw: Mapping[str, Any]) -> str:
    """The text of a page file from its content: `source`, `tables`, `rows`."""
    tables = ",\n".join(_table(table) for table in raw["tables"])
    rows = ",\n".join(f"{_line(key)}: {_line(value)}" for key, value in raw["rows"].items())
    return f'{{\n"source": {_line(raw["source"])},\n"tables": [\n{tables}\n],\n"rows": {{\n{rows}\n}}\n}}\n'


def page_markdown(page: Page) -> str:
    """The page's tables under their headings, every line where the original page has it."""
    lines: list[str] = []
    for table in page.tables:
        text = page.markdown(table).split("\n")
        room = table.line - 1 - len(lines)
        headings = [f"## {table.section}", f"**{table.title}**"][: max(room, 0)]
        lines += [*headings, *[""] * (room - len(headings)), *text]
    return "\n".join(lines) + "\n"


def _table(table: Mapping[str, Any]) -> str:
    return "{" + ",\n ".join(f"{_line(key)}: {_line(value)}" for key, value in table.items()) + "}"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
