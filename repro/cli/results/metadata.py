"""`repro page export`: results in the forms that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import Names, console, write
from repro.cli.reporter import name_broken, require_asked

if TYPE_CHECKING:
    from repro.reports.results import Results


def metadata(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="model-index, eval-results (model cards), eee (Every Eval Ever), metafile (mmsegmentation),"
            " csv, json, parquet, curves, badge; croissant, of a data set.",
        ),
    ],
    names: Names = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; none prints.")] = None,
) -> None:
    """Export results: a model card's model-index, a metafile.yaml, one flat table, learning curves, a badge.

    model-index, eval-results and eee name interval, protocol and tier of each number, croissant describes a
    data set: docs/exports.md.

    csv, json and parquet have a row per result with numbers as numbers: docs/json.md describes the columns.

    Example: repro page export model-index camvid_mobilenetv2_os16
    """
    from repro.cli.output_path import require_target
    from repro.errors import ParamsError, UnknownNameError
    from repro.params.project import find_project
    from repro.reports.exports import EXPORTS, MEASURED, OF_DATA
    from repro.reports.results import load_results

    if kind not in EXPORTS:
        raise UnknownNameError("export", kind, EXPORTS)
    results = load_results(find_project())
    name_broken(results.left_out)
    if kind not in OF_DATA:
        require_asked(names or (), results.left_out)
    if kind == "parquet" and out is None:
        raise ParamsError("Parquet cannot be printed", hint="write it to a file: --out results.parquet")
    of_data, measured = kind in OF_DATA, kind in MEASURED
    made = EXPORTS[kind](
        results, (names or []) if of_data else chosen(results, names or [], measured=measured)
    )
    if out is None:
        write(str(made))
        return
    content = made if isinstance(made, bytes) else made.encode()
    require_target(out, f"a {kind} of ours", lambda file: begins_alike(file, content), stream=True)
    out.write_bytes(content)
    console(stderr=True).print(f"wrote {out}")


def begins_alike(path: Path, content: bytes) -> bool:
    """Whether a file's first line, which names the form or the columns, is that of `content`.

    Of a Parquet file the first four bytes: its columns are at its end.
    """
    with path.open("rb") as file:
        first = content[:4] if content.startswith(b"PAR1") else content.splitlines(keepends=True)[0]
        return file.read(len(first)) == first


def chosen(results: Results, names: list[str], *, measured: bool) -> list[str]:
    """The experiments that `names` mean; when `measured`, those of them, or of all, that have a record.

    RecordError when a name or pattern means none that was measured.
    """
    from repro.errors import RecordError
    from repro.params import matching

    found = matching(names, results.names())
    if not measured:
        return found if names else []
    for name in names:
        if results.records.keys().isdisjoint(matching([name], found)):
            raise RecordError(
                f"nothing was measured for '{name}'", hint="`repro list --measured` shows what was"
            )
    return [name for name in found if name in results.records]
