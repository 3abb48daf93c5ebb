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
    kind: Annotated[str, typer.Argument(help="model-index (model cards), metafile (mmsegmentation), csv.")],
    names: Names = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; none prints.")] = None,
) -> None:
    """Export measured results as a model card's model-index, a metafile.yaml, or one flat CSV.

    Example: repro page export model-index camvid_mobilenetv2_os16
    """
    from repro.cli.output_path import require_target
    from repro.errors import UnknownNameError
    from repro.params.project import find_project
    from repro.reports.exports import EXPORTS
    from repro.reports.results import load_results

    if kind not in EXPORTS:
        raise UnknownNameError("export", kind, EXPORTS)
    results = load_results(find_project())
    name_broken(results.left_out)
    require_asked(names or (), results.left_out)
    text = EXPORTS[kind](results, chosen(results, names or [], measured=kind != "csv"))
    if out is None:
        write(text)
    else:
        require_target(out, f"a {kind} of ours", lambda file: begins_alike(file, text), stream=True)
        out.write_text(text, encoding="utf-8")
        console(stderr=True).print(f"wrote {out}")


def begins_alike(path: Path, text: str) -> bool:
    """Whether a file's first line, which names the form or the columns, is that of `text`."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return file.readline() == text.splitlines(keepends=True)[0]


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
