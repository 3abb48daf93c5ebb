"""`repro page links`: published download links, and whether they still work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli import completion
from repro.cli.console import Json, console, emit_json, write
from repro.cli.tables import print_table

if TYPE_CHECKING:
    from pathlib import Path

    from repro.reports.links import Checked, Link


def links(
    check: Annotated[bool, typer.Option("--check", help="Request every link; exit 1 on a dead one.")] = False,
    sha256: Annotated[
        bool,
        typer.Option("--sha256", help="With --check: verify weights whose name has a sha256."),
    ] = False,
    keep: Annotated[
        bool, typer.Option("--write", help="With --check: keep the states in reports/links.json, for tables.")
    ] = False,
    page: Annotated[
        str | None,
        typer.Option("--page", "-p", help="Only this published page.", autocompletion=completion.pages),
    ] = None,
    json: Json = False,
) -> None:
    """List the links of the published rows; --check finds dead ones.

    Example: repro page links --check --page 004
    """
    from repro.errors import ParamsError
    from repro.params.project import find_project
    from repro.reports.links import links_of

    if keep and not check:
        raise ParamsError("--write without --check", hint="`repro page links --check --write`")
    project = find_project()
    published = project.published
    rows = published.page(page).rows if page else published.rows
    found = links_of(rows.values())
    if check:
        return _check(found, sha256, json, project.link_states if keep else None)
    if json:
        return emit_json([vars(link) for link in found])
    print_table(("row", "role", "url"), [(link.row, link.role, link.url) for link in found], wide=True)


def _check(found: list[Link], sha256: bool, json: bool, states: Path | None) -> None:
    from repro.errors import CheckFailed, DownloadError
    from repro.records import timestamp
    from repro.reports.link_states import write_states
    from repro.reports.links import check_digest, check_links

    checked = check_links(found)
    if sha256:
        checked = [check_digest(one) for one in checked]
    if states:
        write_states(states, checked, day=timestamp()[:10])
    if json:
        emit_json([{**vars(one.link), **vars(one), "link": one.link.url} for one in checked])
    else:
        write("".join(_line(one) for one in checked if one.state != "ok"))
    counts = {state: sum(one.state == state for one in checked) for state in ("ok", "dead", "unreached")}
    said = ", ".join(f"{count} {state}" for state, count in counts.items())
    if counts["dead"]:
        raise CheckFailed(f"{counts['dead']} of {len(checked)} links are dead ({said})")
    if counts["unreached"] == len(checked) > 0:
        raise DownloadError("could not reach any server", hint="is there a network? nothing was called dead")
    console(stderr=True).print(said)


def _line(one: Checked) -> str:
    link, mirror = one.link, f" (mirror: {one.mirror})" if one.mirror else ""
    return f"{one.state:<9} {link.row} {link.role:<12} {link.url}: {one.detail}{mirror}\n"
