"""`repro metadata`: results in the forms that other tools read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from repro.cli.common import Names, console


def metadata(
    kind: Annotated[str, typer.Argument(help="model-index (model cards), metafile (mmsegmentation), csv.")],
    names: Names = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; none prints.")] = None,
) -> None:
    """Export measured results as a model card's model-index, a metafile.yaml, or one flat CSV.

    Example: repro metadata model-index camvid_mobilenetv2_os16
    """
    from repro.errors import RecordError, UnknownNameError
    from repro.params.experiment import experiment_name
    from repro.params.project import find_project
    from repro.reports.exports import EXPORTS
    from repro.reports.results import load_results

    if kind not in EXPORTS:
        raise UnknownNameError("export", kind, EXPORTS)
    results = load_results(find_project())
    wanted = [experiment_name(name) for name in names or ()]
    if kind != "csv":
        for name in wanted:
            if name not in results.records:
                raise RecordError(
                    f"nothing was measured for '{name}'", hint=f"`dvc repro experiments/{name}`"
                )
        wanted = wanted or sorted(results.records)
    text = EXPORTS[kind](results, wanted)
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
        console(stderr=True).print(f"wrote {out}")
