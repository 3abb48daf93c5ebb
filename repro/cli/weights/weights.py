"""`repro weights`: the local store of pretrained weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import completion
from repro.cli.console import Json, answer, emit_json
from repro.cli.progress import file_bar
from repro.cli.reporter import note
from repro.cli.tables import print_table
from repro.io.home import home

if TYPE_CHECKING:
    from repro.params import Project


def list_(
    torchvision: Annotated[
        bool, typer.Option("--torchvision", help="Also the entries of torchvision's registry.")
    ] = False,
    json: Json = False,
) -> None:
    """List known and stored weights with their sha256 and the project's experiments that use them.

    The entries of torchvision's registry for our backbones have its own names, which `repro weights get` and
    `pretrained:` of params.yaml take too.

    Example: repro weights list
    """
    from repro.checkpoints import weights_cache
    from repro.params.project import project_here

    here = {entry.name: entry for entry in weights_cache.stored()}
    project = project_here()
    users = users_of(project) if project else {}
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "stored": name in here,
            "sha256": here[name].sha256 if name in here else weights_cache.KNOWN[name].sha256,
            "url": weights_cache.KNOWN[name].url if name in weights_cache.KNOWN else None,
            "used_by": ", ".join(users.get(name, ())),
            "remark": weights_cache.KNOWN[name].remark if name in weights_cache.KNOWN else "added manually",
            "path": str(here[name].path) if name in here else None,
        }
        for name in sorted({*weights_cache.KNOWN, *here})
    ]
    offered = registry_rows() if torchvision else []
    if json:
        emit_json({"store": str(home() / "weights"), "weights": rows, "torchvision": offered})
        return
    note(f"store: {home() / 'weights'} (REPRO_HOME moves it)")
    shown = [
        (
            row["name"],
            "yes" if row["stored"] else "no",
            row["sha256"][:16],
            shortened(users, row),
            row["remark"],
        )
        for row in rows
    ]
    print_table(("name", "stored", "sha256", "used by", "remark"), shown)
    if offered:
        columns = ("name", "backbone", "accuracy", "size_mb", "sha256")
        print_table(columns, [[str(row[column]) for column in columns] for row in offered])


def shortened(users: Mapping[str, Sequence[str]], row: Mapping[str, Any]) -> str:
    """The first experiments that use an entry, and the number of the others."""
    from repro.errors import some_of

    return some_of(users.get(row["name"], ()), 2)


def users_of(project: Project) -> dict[str, list[str]]:
    """Name of weights -> the project's experiments that start from, evaluate, or claim the row of them."""
    from repro.checkpoints.weights_cache import PROGRAMS, RELEASED
    from repro.params import experiment_names, read_each, read_yaml
    from repro.params.experiment import merge

    found: dict[str, list[str]] = {}
    recipes = read_yaml(project.params).get("recipes")
    known, _ = read_each(experiment_names(project), lambda name: read_yaml(project.params_of(name)))
    for name, own in known.items():
        recipe = _mapping(_mapping(recipes).get(str(own.get("recipe"))))
        pretrained = _mapping(merge(recipe, own).get("model")).get("pretrained")
        sha256 = _mapping(_mapping(own.get("external")).get("weights")).get("sha256")
        rows = own.get("rows")
        rows = rows if isinstance(rows, list) else []
        for used in (pretrained, f"{PROGRAMS}{sha256}", *(f"{RELEASED}{row}" for row in rows)):
            found.setdefault(str(used), []).append(name)
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def registry_rows() -> list[dict[str, Any]]:
    """Entries of torchvision's registry, each with the name under which the same file is known here."""
    from dataclasses import asdict

    from repro.checkpoints.torchvision_weights import registry
    from repro.checkpoints.weights_cache import KNOWN

    ours = {known.sha256[:8]: name for name, known in KNOWN.items()}
    return [asdict(entry) | {"known_as": ours.get(entry.sha256)} for entry in registry()]


def get(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME", help="Names from `repro weights list`.", autocompletion=completion.weights
        ),
    ],
    json: Json = False,
) -> None:
    """Download weights into the store. An interrupted download resumes; the sha256 is verified.

    Example: repro weights get torchvision_resnet50
    """
    from repro.checkpoints import weights_cache

    paths = {}
    for name in names:
        with file_bar(name) as progress:
            paths[name] = str(weights_cache.get(name, progress=progress))
    answer(paths, "\n".join(paths.values()), json=json)


def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to add.")],
    name: Annotated[str, typer.Option("--name", "-n", help="Its name in the store.")],
    sha256: Annotated[
        str | None, typer.Option(help="Expected sha256; required for a name that is not in the list.")
    ] = None,
    json: Json = False,
) -> None:
    """Add a local file to the store, e.g. where there is no network; the sha256 is verified.

    Example: repro weights add resnet50-19c8e357.pth --name torchvision_resnet50
    """
    from repro.checkpoints import weights_cache

    entry = weights_cache.add(file, name=name, sha256=sha256)
    facts = {"name": name, "path": str(entry.path), "sha256": entry.sha256}
    answer(facts, f"{entry.path}\nsha256 {entry.sha256}", json=json)
