"""The files of an imported page in a project: written together, and never over the work of a person.

The page file states the sha256 of the markdown that was read and of itself. A file with another hash was
edited; it is replaced only when that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repro.errors import ParamsError, ReproError, StorageError
from repro.io.atomic import sha256_text, write_text
from repro.io.json_reader import read_json
from repro.published.folder import Published
from repro.published.page import page_from_json, page_json, read_page


def page_files(
    published: Published, raw: Mapping[str, Any], *, text: str, map_text: str | None = None
) -> dict[Path, str]:
    """Return path -> content of what an import keeps: the typed rows, the markdown, and its map if given.

    Args:
        published: The folder of pages.
        raw: The imported page, as `page_json` takes it.
        text: The markdown that was read.
        map_text: The column map, unless it is in the folder already.
    """
    path = published.path(raw["source"]["id"])
    files = {path: _stated(raw, text), path.with_suffix(".md"): text}
    return files if map_text is None else {**files, path.with_suffix(".yaml"): map_text}


def write_page(files: Mapping[Path, str], *, force: bool = False) -> list[Path]:
    """Write what differs; returns the paths.

    Raises StorageError, before anything is written, for files that were edited, except with `force`.
    """
    changed = [path for path, content in files.items() if _content(path) != content]
    stated = _source(next(path for path in files if path.suffix == ".json"))
    edited = [path for path in changed if path.exists() and not _as_imported(path, stated)]
    if edited and not force:
        names = ", ".join(path.name for path in edited)
        what = f"{names}: edited since the import, or not written by one"
        hint = "--force replaces; to read an edited .md again, import that file itself"
        raise StorageError(what, where=edited[0].parent, hint=hint)
    for path in changed:
        write_text(path, files[path])
    return changed


def moved_rows(path: Path, raw: Mapping[str, Any]) -> Iterator[str]:
    """What became of the rows of the page in `path`: ids that name another row in `raw`, or none.

    Experiments and records name rows by id, so a row that is inserted above them moves them all.
    """
    try:
        before = read_page(path).rows if path.is_file() else {}
    except ParamsError:
        return  # it is replaced, and nothing is known of it
    after = page_from_json(raw).rows
    for row_id, row in before.items():
        now = after.get(row_id)
        if now is None or now.label != row.label:
            yield f"row {row_id} was '{row.label}', now " + (f"'{now.label}'" if now else "there is none")


def _stated(raw: Mapping[str, Any], text: str) -> str:
    """The text of the page file with its hashes."""
    source = {**raw["source"], "text_sha256": sha256_text(text)}
    whole = sha256_text(page_json({**raw, "source": source}))
    return page_json({**raw, "source": {**source, "file_sha256": whole}})


def _as_imported(path: Path, stated: Mapping[str, Any]) -> bool:
    if path.suffix == ".json":
        return bool(stated) and stated["file_sha256"] == stated["found"]
    return path.suffix == ".md" and stated.get("text_sha256") == sha256_text(_content(path) or "")


def _source(path: Path) -> Mapping[str, Any]:
    """`source` of an existing page file, and as `found` the hash that it should state; {} if it has none."""
    try:
        raw = read_json(path, error=ParamsError)
        source = dict(raw["source"])
        kept = {key: value for key, value in source.items() if key != "file_sha256"}
        return {**source, "found": sha256_text(page_json({**raw, "source": kept}))} if kept != source else {}
    except (ReproError, OSError, LookupError, TypeError, ValueError, AttributeError):
        return {}


def _content(path: Path) -> str | None:
    return path.read_bytes().decode("utf-8", errors="replace") if path.is_file() else None
