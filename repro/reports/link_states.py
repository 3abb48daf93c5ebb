"""Published download links in tables, with their states: alive, dead, of another row, empty.

`repro page links --check --write` asks every address and keeps the answers in reports/links.json, since
tables are made without a network. What could not be reached keeps its earlier state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from repro.errors import RecordError
from repro.io.atomic import write_json
from repro.io.json_reader import read_json
from repro.published import Row
from repro.published.markdown import links
from repro.reports.links import Checked

WORDS = {"ok": "alive", "dead": "dead"}
WEIGHTS = {"model": "published model", "model_mirror": "mirror"}
HINT = "`repro page links --check --write` writes it again"
UNCHECKED = "published links are not checked here: `repro page links --check --write` asks every address"


def read_states(path: Path) -> dict[str, str]:
    """Return address -> alive or dead; none without the file. Raises RecordError."""
    if not path.is_file():
        return {}
    found = read_json(path, error=RecordError, hint=HINT).get("links")
    if not isinstance(found, dict) or not set(map(str, found.values())) <= set(WORDS.values()):
        allowed = '{"links": {ADDRESS: alive or dead}}'
        raise RecordError("not a file of link states", where=path, allowed=allowed, hint=HINT)
    return found


def write_states(path: Path, checked: Sequence[Checked], *, day: str) -> None:
    """Add what was found out on `day` (2026-11-30) to reports/links.json."""
    new = {one.link.url: WORDS[one.state] for one in checked if one.state in WORDS}
    write_json(path, {"checked": day, "links": dict(sorted({**read_states(path), **new}.items()))})


def published_links(row: Row, states: Mapping[str, str]) -> list[str]:
    """Markdown of the links to the weights of a row, each with what is known of it."""
    found = [
        f"[{title}]({row.links[role]})" + _remark(row, row.links[role], states)
        for role, title in WEIGHTS.items()
        if role in row.links
    ]
    empty = sum(not url for cell in row.cells for _, url in links(cell))
    return found + ["empty link"] * empty


def _remark(row: Row, url: str, states: Mapping[str, str]) -> str:
    """' (dead, of 000-01)'; nothing for a row's own link that was not checked."""
    parts = [states.get(url, ""), f"of {row.weights_of}" if row.weights_of else ""]
    text = ", ".join(filter(None, parts))
    return f" ({text})" if text else ""
