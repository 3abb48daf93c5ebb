"""docs/datasets/<name>.md: how to get and link a data set, its rows, and their training cost."""

from __future__ import annotations

from collections.abc import Mapping

from repro.datasets import described
from repro.datasets.sets.spec import DatasetModule
from repro.errors import ParamsError, ReproError
from repro.params import TrainedExperiment, dataset_facts, dataset_names, load_trained
from repro.params.project import BUILT_IN
from repro.reports.grid import Grid, markdown
from repro.reports.results import Results
from repro.reports.tables import dataset_tables
from repro.training.schedule import length_of

BASE = "../../"


def dataset_pages(results: Results) -> dict[str, str]:
    """Return the page of every data set in params.yaml by name, and README with a table of all."""
    project = results.project
    known = {name: described(project, name) for name in dataset_names(project)}
    pages = {name: _page(results, name, module) for name, module in known.items()}
    return {"README": _index(known), **pages}


def _index(modules: Mapping[str, DatasetModule]) -> str:
    """The table of all data sets."""
    columns = ("data set", "classes", "GB", "download", "checksums", "licence", "page")
    rows = tuple(_line(name, module) for name, module in modules.items())
    intro = "# Data sets\n\n`repro data list` and `repro data list NAME` print the same information."
    return f"{intro}\n\n{markdown([Grid(title='', columns=columns, rows=rows)])}"


def _line(name: str, module: DatasetModule) -> tuple[str, ...]:
    files = module.DOWNLOADS
    fetched, checked = sum(bool(file.url) for file in files), sum(bool(file.checksum) for file in files)
    if name == BUILT_IN:
        how = f"`repro data {name}`"
    elif fetched:
        how = f"`repro data get {name}`" + (
            f" ({fetched} of {len(files)} archives)" if fetched < len(files) else ""
        )
    else:
        how = f"manual, then `repro data link {name} PATH`"
    size, known = f"{sum(file.size_GB for file in files):g}", f"{checked} of {len(files)}" if files else ""
    return (
        f"[{module.TITLE}]({name}.md)",
        f"{len(module.CLASSES)}",
        size,
        how,
        known,
        module.LICENCE,
        module.PAGE,
    )


def _page(results: Results, name: str, module: DatasetModule) -> str:
    sizes = dataset_facts(results.project, name).splits
    splits = ", ".join(f"{split} {size:,}" for split, size in sizes.items())
    parts = [
        f"# {module.TITLE}",
        f"`{name}`: {len(module.CLASSES)} classes; images per prepared split: {splits}.",
        f"Classes: {'; '.join(title.strip() for title in module.CLASSES)}.",
        _get(name, module),
        _link(name, module),
        *_rows(results, name),
    ]
    return "\n\n".join(parts).rstrip() + "\n"


def _get(name: str, module: DatasetModule) -> str:
    lines = ["## Download", "", f"Page: {module.PAGE}. Licence: {module.LICENCE}."]
    if name == BUILT_IN:
        return "\n".join([*lines, "", f"`repro data {name}` generates it; nothing is downloaded."])
    if not module.DOWNLOADS:
        return "\n".join([*lines, "", "The owner's files are linked as they are."])
    columns = ("file", "GB", "checksum", "anonymous download")
    found = tuple(
        (file.name, f"{file.size_GB:g}", file.checksum or "not published", "yes" if file.url else "no")
        for file in module.DOWNLOADS
    )
    lines += ["", markdown([Grid(title="", columns=columns, rows=found)]).rstrip()]
    if any(file.url for file in module.DOWNLOADS):
        lines += ["", f"`repro data get {name}` downloads the files that do not require an account."]
    return "\n".join(lines)


def _link(name: str, module: DatasetModule) -> str:
    if name == BUILT_IN:
        return f"## Prepare\n\n```\ndvc repro prepare@{name}\n```"
    commands = f"repro data link {name} PATH\ndvc repro prepare@{name}"
    return f"## Link and prepare\n\nExpected below PATH: {module.LAYOUT}\n\n```\n{commands}\n```"


def _rows(results: Results, name: str) -> list[str]:
    shown = markdown(dataset_tables(results, name, base=BASE)).rstrip() if name in results.datasets() else ""
    if not shown:
        return []
    resolved = [
        one for one in (_resolve(results, n) for n in results.names() if results.dataset(n) == name) if one
    ]
    columns = ("experiment", "iterations", "batch", "images seen", "crop", "evaluation")
    grid = Grid(title="", columns=columns, rows=tuple(_cost(one) for one in resolved))
    note = "`repro plan NAME` estimates the hours on a device; measured times are in the rows above."
    return ["## Rows", shown, "## Cost", note, markdown([grid]).rstrip()]


def _resolve(results: Results, name: str) -> TrainedExperiment | None:
    try:
        return load_trained(results.project, name)
    except ReproError:
        return None  # a record without its experiment, or an error that another check reports


def _length(it: TrainedExperiment) -> tuple[str, str, str]:
    """(iterations, batch, images seen); empty if a part of the data set has fewer images than a batch."""
    batch = it.training.batch
    try:
        iterations = length_of(it).iterations
    except ParamsError:
        return "fewer images than a batch", str(batch), ""
    return f"{iterations:,}", str(batch), f"{iterations * batch:,}"


def _cost(it: TrainedExperiment) -> tuple[str, ...]:
    height, width = it.augmentation.crop
    return (
        f"[{it.name}]({BASE}experiments/{it.name}/params.yaml)",
        *_length(it),
        f"{height}x{width}",
        f"{it.evaluation.split}, {it.evaluation.protocol}",
    )
