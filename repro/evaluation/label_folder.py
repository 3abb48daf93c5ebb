"""A folder of true label maps as the split that predictions are scored on, without a project."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from repro.datasets.formats.label_maps import ANY_VALUE, read_value_label
from repro.datasets.raw.files import is_system_file
from repro.datasets.sets.palettes import voc_colours
from repro.datasets.sets.spec import Colour
from repro.errors import DataError
from repro.evaluation.confusion import LabelMap
from repro.io.limits import require_regular

if TYPE_CHECKING:
    from repro.evaluation.tta import Image  # imports torch

MOST_CLASSES = 254  # 255 is the ignored label


@dataclass(frozen=True)
class LabelFolder:
    """The files `<id>.png` in `folder`: train ids, or the colours of PASCAL VOC; 255 is not counted."""

    folder: Path
    classes: Sequence[str]
    dataset: str = ""

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Names of the files below the folder, without suffix, sorted. Raises DataError without any."""
        if not self.folder.is_dir():
            raise DataError("no such folder of labels", where=self.folder)
        names = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.png"))
        found = tuple(sorted(name.removesuffix(".png") for name in names if not is_system_file(name)))
        if not found:
            raise DataError("no labels", where=self.folder, allowed="<id>.png, one per image")
        return found

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all names and files."""
        digest = hashlib.sha256()
        for one in self.ids:
            digest.update(f"{one}\0{hashlib.sha256(self._bytes(one)).hexdigest()}\n".encode())
        return digest.hexdigest()

    @property
    def palette(self) -> Sequence[Colour]:
        return voc_colours(len(self.classes))

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, i: int) -> Image:
        raise NotImplementedError("label maps are scored without images")

    def label(self, i: int) -> LabelMap:
        colours = dict(enumerate(self.palette))
        return read_value_label(self._bytes(self.ids[i]), str(self._path(self.ids[i])), ANY_VALUE, colours)[0]

    def _path(self, label_id: str) -> Path:
        return self.folder / f"{label_id}.png"

    def _bytes(self, label_id: str) -> bytes:
        path = self._path(label_id)
        require_regular(path, error=DataError)
        return path.read_bytes()


def class_names(given: str) -> tuple[str, ...]:
    """'3' is three classes, 'road,car' two. Raises DataError."""
    names = (
        tuple(map(str, range(int(given)))) if given.isdigit() and len(given) < 4 else tuple(given.split(","))
    )
    if not 2 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names) or not all(names):
        allowed = f"a number from 2 to {MOST_CLASSES}, or that many different names with commas"
        raise DataError(f"classes '{given}'"[:200], where="--classes", allowed=allowed)
    return names
