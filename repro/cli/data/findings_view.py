"""Results of `repro data link` and `verify`: compared with params.yaml, printed, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repro.cli.console import console, shortened
from repro.errors import counted

if TYPE_CHECKING:
    from repro.datasets.prepare.inspect import DatasetCheck
    from repro.params import Project


def expected(project: Project, findings: DatasetCheck) -> dict[str, int]:
    """Expected number of images of each split that is present, from params.yaml.

    For a data set that is not in params.yaml, the official numbers. Where images are cut into tiles,
    params.yaml counts tiles: then the official number of images, unless params.yaml has another number of
    tiles, which only `repro prepare` can check.
    """
    from repro.datasets import dataset_module
    from repro.params import read_yaml

    module = dataset_module(project, findings.name)
    block = (read_yaml(project.params).get("datasets") or {}).get(findings.name) or {}
    own = block.get("splits", module.SPLITS)
    found = [f for f in findings.splits if f.split in own]
    if not hasattr(module, "IMAGES"):
        return {f.split: own[f.split] for f in found}
    return {f.split: f.official if own[f.split] == module.SPLITS[f.split] else f.images for f in found}


def differing(findings: DatasetCheck, wanted: dict[str, int]) -> dict[str, str]:
    return {
        f.split: f"{f.images} in place of {wanted[f.split]}"
        for f in findings.splits
        if f.images != wanted.get(f.split, f.images)
    }


def print_findings(findings: DatasetCheck, wanted: dict[str, int]) -> None:
    """Print one line per split, then what is missing or unusual."""
    out = console()
    out.print(f"{findings.name}  {findings.where}", style="bold")
    for f in findings.splits:
        (width, height), _ = f.sizes.most_common(1)[0]
        others = f" and {len(f.sizes) - 1} other size{'s' * (len(f.sizes) > 2)}" if len(f.sizes) > 1 else ""
        count = counted(f.images, "image") if f.complete else f"{f.images} of {counted(f.official, 'image')}"
        looked_at = f"{f.decoded} decoded, {_values(f.histogram)}"
        line = f"  {f.split}: {count}, {width}x{height}{others}, {looked_at}"
        out.print(line, style=None if f.complete else "yellow")
        for warning in f.warnings:
            out.print(f"    warning: {warning}", style="yellow")
        for note in shortened(f.notes):
            out.print(f"    note: {note}")
    for split, why in findings.absent.items():
        out.print(f"  {split}: not here - {why}", style="yellow")
    for splits, both in findings.shared.items():
        out.print(f"  {splits}: {counted(both, 'image')} in both", style="yellow")
    if differing(findings, wanted):
        out.print(f"  a part of the data: write your numbers under datasets.{findings.name} in params.yaml")


def _values(histogram: Any) -> str:
    present = [i for i in range(255) if histogram[i]]
    void = 100 * histogram[255] / max(1, histogram.sum())
    return f"{len(present)} classes seen, {void:.1f} % ignored" if present else "no labels"


def plain(findings: DatasetCheck) -> dict[str, Any]:
    """The results for --json."""
    splits = [
        {"split": f.split, "images": f.images, "official": f.official, "decoded": f.decoded}
        for f in findings.splits
    ]
    return {
        "name": findings.name,
        "where": str(findings.where),
        "splits": splits,
        "absent": findings.absent,
        "shared": findings.shared,
        "notes": {f.split: f.notes for f in findings.splits if f.notes},
        "warnings": {f.split: f.warnings for f in findings.splits if f.warnings},
    }
