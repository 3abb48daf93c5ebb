"""Rules about links."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, islice, repeat

from repro.published.markdown import links as links_of
from repro.published.page_table import Line, MarkdownTable
from repro.reports.lint.reading import Problem, Rule, backbones, described, label

_PRETRAINED = re.compile(r"(?i)pre.?train|initiali[sz]")  # such weights serve several rows on purpose
NAMED = 20  # other rows in one problem


def shared_link(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """The same artefact behind rows that name different models or stand in different tables."""
    users: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for table, row, _, url in _links(found, but=_PRETRAINED):
        if url and _is_artefact(url):
            users[url].append((row.number, f"{table.title} / {label(row)}"))
    for url, rows in users.items():
        if len({name for _, name in rows}) > 1:
            for line, name in rows:
                named = islice((f"{other} (line {at})" for at, other in rows if at != line), NAMED)
                more = f"; and {len(rows) - 1 - NAMED} more" if len(rows) - 1 > NAMED else ""
                others = "; ".join(named) + more
                yield Problem(rule="shared-link", line=line, text=f"{name}: {url} also serves {others}")


def _is_artefact(url: str) -> bool:
    """Whether a link leads to weights or a log; folders and configs serve several rows on purpose."""
    path = url.partition("?")[0].partition("#")[0]
    return not path.endswith(("/", ".py", ".yml", ".yaml", ".md", ".ipynb"))


def wrong_backbone(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """A link whose file name says another backbone than the row."""
    for _, row, text, url in _links(found):
        said, named = backbones(described(row)), backbones(url.rsplit("/", 1)[-1].split("?")[0])
        if said and named and not said & named:
            words = f"the row says {_listed(said)}, the file of link '{text}' {_listed(named)}: {url}"
            yield Problem(rule="wrong-backbone", line=row.number, text=words)


def empty_link(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """A link without a target."""
    for _, row, text, url in _links(found):
        if not url.strip():
            yield Problem(rule="empty-link", line=row.number, text=f"'[{text}]()' leads nowhere")


def _links(
    found: Sequence[MarkdownTable], but: re.Pattern[str] | None = None
) -> Iterator[tuple[MarkdownTable, Line, str, str]]:
    """Links with their table and row, without those of columns titled `but`."""
    for table in found:
        for row in table.rows:
            for title, cell in zip(chain(table.columns, repeat("")), row.cells, strict=False):
                if not (but and but.search(title)):
                    yield from ((table, row, text, url) for text, url in links_of(cell))


def _listed(names: set[str]) -> str:
    return "/".join(sorted(names))


RULES: dict[str, Rule] = {
    "shared-link": shared_link,
    "wrong-backbone": wrong_backbone,
    "empty-link": empty_link,
}
