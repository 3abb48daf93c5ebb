"""A prepared split as files, for programs: images with their original bytes, labels as PNG of train ids."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from repro.datasets.prepare.prepared_split import Sample, Split
from repro.errors import DataError
from repro.io.locks import locked
from repro.params import Project

FOLDER = "splits"  # in .repro; may be deleted


def unpack(project: Project, split: Split, names: Collection[str]) -> dict[str, Path]:
    """Write a split's `images` and `labels`, whichever are in `names`, and return their folders.

    They are kept in .repro/splits and used again by whatever has the same data.

    Raises:
        DataError: Labels are asked for, and the split has none.
    """
    folder = project.cache_folder(FOLDER, split.fingerprint[:16])
    wanted = [name for name in ("images", "labels") if name in names]
    if "labels" in wanted and not split.labelled:
        raise DataError("this split has no labels", where=split.path, allowed="a split with labels")
    for name in wanted:
        with locked(folder / f".{name}.lock", f"{split.path} is being unpacked", timeout=600):
            if not (folder / name).is_dir():
                _write(split, name, folder)
    return {name: folder / name for name in wanted}


def _write(split: Split, name: str, folder: Path) -> None:
    """Write a folder under another name first, so that it is there whole or not at all."""
    part = folder / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    for sample in split.samples:
        member = _member(sample, name)
        path = part.joinpath(*PurePosixPath(member).parts[1:])
        if not path.resolve().is_relative_to(part.resolve()):
            raise DataError("a file of the split would be written elsewhere", where=f"{split.path}:{member}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(split.read(member))
    part.rename(folder / name)


def _member(sample: Sample, name: str) -> str:
    return sample.image if name == "images" else str(sample.label)
