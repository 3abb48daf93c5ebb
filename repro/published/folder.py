"""The published pages of a project: `<id>.json` typed rows, `<id>.md` the page, `<id>.yaml` its map."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from repro.errors import ParamsError, UnknownNameError
from repro.io.names import plain_name
from repro.published.page import Page, Row, read_page
from repro.published.sources import FILE, Source, read_sources

if TYPE_CHECKING:
    from repro.published.columns import ColumnMap
    from repro.published.selection import Selection

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")
IDS = "letters, digits and underscores, e.g. mine"
MOVED = "pages that earlier versions of the package held are in published/ of its repository"
IMPORT = "`repro page import FILE --id ID` adds a page to published/"


@dataclass(frozen=True)
class Published:
    """The published pages in `folder`, each read once and when first needed; none without the folder."""

    folder: Path

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of all pages, sorted."""
        return tuple(sorted(path.stem for path in self.folder.glob("*.json") if path.name != FILE))

    @cached_property
    def pages(self) -> Mapping[str, Page]:
        """All pages by id. Raises ParamsError for a file that is no page."""
        return {page_id: self._read(page_id) for page_id in self.ids}

    @cached_property
    def rows(self) -> Mapping[str, Row]:
        """All published rows by id, in page order."""
        return {row.id: row for page in self.pages.values() for row in page.rows.values()}

    @cached_property
    def sources(self) -> Mapping[str, Source]:
        """Where the settings of rows are written, by row id; none without the file."""
        path = self.folder / FILE
        return read_sources(path) if path.is_file() else {}

    def known_differences(self, row_id: str) -> Mapping[str, str]:
        """Why printed costs of a row differ from those of its network, by cost: from published/ID.yaml.

        Raises ParamsError for a file that cannot be read.
        """
        return self._differences.get(row_id, {})

    @cached_property
    def _differences(self) -> Mapping[str, Mapping[str, str]]:
        return {row: reasons for one in self._maps.values() for row, reasons in one.differences.items()}

    def selection(self, row_id: str) -> Selection | None:
        """How the number of a row was chosen, from published/ID.yaml; None if that does not say it.

        Raises ParamsError for a file that cannot be read.
        """
        found = self._maps.get(row_id.rpartition("-")[0])
        return None if found is None else found.selections.get(row_id) or found.selections.get("")

    @cached_property
    def _maps(self) -> Mapping[str, ColumnMap]:
        """The maps of the pages that have one, by id of the page."""
        from repro.io.yaml_reader import read_yaml  # most commands do not need it
        from repro.published.columns import read_map

        paths = {page_id: self.folder / f"{page_id}.yaml" for page_id in self.ids}
        return {page_id: read_map(read_yaml(path), path) for page_id, path in paths.items() if path.is_file()}

    def path(self, page_id: str) -> Path:
        return self.folder / f"{page_id}.json"

    def page(self, page_id: str) -> Page:
        """A page by id; '2' is '002' too. Raises UnknownNameError."""
        return self.pages[self.page_id(page_id)]

    def page_id(self, asked: str) -> str:
        """The id of a page; '2' is '002' too. Raises UnknownNameError."""
        found = next((one for one in (asked, asked.zfill(3)) if one in self.ids), None)
        if found is None:
            raise UnknownNameError("page", asked, self.ids, hint=IMPORT)
        return found

    def new_id(self, page_id: str, *, where: object) -> str:
        """Return the id of a page to import. Raises ParamsError if it cannot be one, or means another."""
        require_id(page_id, where=where)
        padded = page_id.zfill(3)
        if page_id not in self.ids and padded in self.ids:
            what = f"the id '{page_id}' means page {padded}"
            raise ParamsError(what, where=where, allowed=f"'{padded}', or a word")
        return page_id

    def row_ids(self, raw: object, where: object) -> tuple[str, ...]:
        """Validate an experiment's `rows:`. Raises an error if it is not a list or a row is unknown."""
        if not isinstance(raw, list | tuple):
            example = raw if isinstance(raw, str) and raw in self.rows else next(iter(self.rows), "mine-01")
            what, allowed = f"key 'rows': got {raw!r}", "a list of published rows"
            raise ParamsError(what, where=where, allowed=allowed, hint=f"`rows: [{example}]`")
        found = tuple(map(str, raw))
        if found and not self.folder.is_dir():
            what, allowed = f"row '{found[0]}' of no page: the project has no published/", "published/ID.json"
            raise ParamsError(what, where=where, allowed=allowed, hint=f"{IMPORT}; {MOVED}")
        for row in found:
            if row not in self.rows:
                raise UnknownNameError("published row", row, self.rows, where=where, hint=IMPORT)
        return found

    def _read(self, page_id: str) -> Page:
        path = self.path(page_id)
        require_id(page_id, where=path)
        page = read_page(path)
        if wrong := next(_contradictions(page, page_id), ""):
            raise ParamsError(wrong, where=path, allowed=f"page {page_id} with rows {page_id}-01, ...")
        for row in page.rows.values():
            if row.dataset:  # names a file of the reports
                plain_name(row.dataset, f"data set of row {row.id}", where=path)
        return page


def _contradictions(page: Page, page_id: str) -> Iterator[str]:
    """What a file says that its name does not."""
    if page.id != page_id:
        yield f"the file of page '{page_id}' holds page '{page.id}'"
    own = re.compile(rf"{page_id}-[A-Za-z0-9_]+")  # becomes part of paths and of DVC's files
    yield from (
        f"the file of page '{page_id}' holds row '{one[:80]}'" for one in page.rows if not own.fullmatch(one)
    )


def require_id(page_id: str, *, where: object) -> str:
    """Return `page_id` if it can be the id of a page. Raises ParamsError."""
    if not ID.fullmatch(page_id) or f"{page_id}.json" == FILE:
        hint = "rows become ID-01, ID-02, ..."
        raise ParamsError(f"invalid id of a page '{page_id}'", where=where, allowed=IDS, hint=hint)
    return page_id
