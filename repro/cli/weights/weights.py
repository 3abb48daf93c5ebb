"""`repro weights`: the local store of weights that networks start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import Json, answer, console, emit_json
from repro.cli.progress import file_bar
from repro.io.home import home


def list_(json: Json = False) -> None:
    """List the weights that are known or stored, with their sha256 and who starts from them.

    Example: repro weights list
    """
    from repro.checkpoints import weights_cache

    here = {entry.name: entry for entry in weights_cache.stored()}
    rows = [
        {
            "name": name,
            "stored": name in here,
            "sha256": here[name].sha256 if name in here else weights_cache.KNOWN[name].sha256,
            "url": weights_cache.KNOWN[name].url if name in weights_cache.KNOWN else None,
            "used_by": weights_cache.KNOWN[name].used_by if name in weights_cache.KNOWN else "added by hand",
            "path": str(here[name].path) if name in here else None,
        }
        for name in sorted({*weights_cache.KNOWN, *here})
    ]
    if json:
        emit_json({"store": str(home() / "weights"), "weights": rows})
        return
    console().print(f"store: {home() / 'weights'} (REPRO_HOME moves it)")
    for row in rows:
        mark = "here   " if row["stored"] else "to get "
        console().print(f"{mark}  {row['name']:<28}  {str(row['sha256'])[:16]:<16}  {row['used_by']}")


def get(
    names: Annotated[list[str], typer.Argument(help="Names from `repro weights list`.")], json: Json = False
) -> None:
    """Fetch weights into the store; a broken download goes on where it stopped, and the sha256 must be right.

    Example: repro weights get torchvision_resnet50
    """
    from repro.checkpoints import weights_cache

    paths = {}
    for name in names:
        with file_bar(name) as progress:
            paths[name] = str(weights_cache.get(name, progress=progress))
    answer(paths, "\n".join(paths.values()), json=json)


def add(
    file: Annotated[Path, typer.Argument(help="A file that you fetched yourself.")],
    name: Annotated[str, typer.Option("--name", "-n", help="Its name in the store.")],
    sha256: Annotated[
        str | None, typer.Option(help="What it must be; needed for a name that is not known.")
    ] = None,
    json: Json = False,
) -> None:
    """Put a file into the store, verified: for machines without a way out.

    Example: repro weights add resnet50-19c8e357.pth --name torchvision_resnet50
    """
    from repro.checkpoints import weights_cache

    entry = weights_cache.add(file, name=name, sha256=sha256)
    facts = {"name": name, "path": str(entry.path), "sha256": entry.sha256}
    answer(facts, f"{entry.path}\nsha256 {entry.sha256}", json=json)
