"""Prepared splits: uncompressed zip files, read through a memory map.

    images/<id>.<ext>   the original bytes (tiles of large images: PNG)
    labels/<id>.png     uint8 train ids, 255 = ignore; absent in test splits without labels
    index.csv           id,image,label,height,width: a line per sample, in order
    fingerprint.json    description of the split, and its hash

Names, times, order and attributes are fixed, so equal input gives identical files on all machines.
"""

from __future__ import annotations

import csv
import io
import mmap
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from repro.datasets.formats.image_io import LazyImage, Pixels, read_prepared_label, read_rgb
from repro.errors import DataError
from repro.io.json_reader import load_json
from repro.io.limits import require_regular

INDEX_FIELDS = ("id", "image", "label", "height", "width")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LOCAL = struct.Struct("<4s5H3I2H")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A line of index.csv; `label` is None if the split has no labels."""

    id: str
    image: str
    label: str | None
    height: int
    width: int


def member(name: str) -> zipfile.ZipInfo:
    """Return the header of a zip member with fixed time and attributes."""
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    info.create_system, info.external_attr = 3, 0o644 << 16
    return info


def index_csv(samples: list[Sample]) -> bytes:
    """Return the content of index.csv, with Unix line endings."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(INDEX_FIELDS)
    writer.writerows((s.id, s.image, s.label or "", s.height, s.width) for s in samples)
    return text.getvalue().encode()


class Split:
    """A prepared split. Reading is safe from several threads and processes."""

    def __init__(
        self,
        path: Path,
        samples: list[Sample],
        facts: dict[str, Any],
        members: dict[str, tuple[int, int, int]],
    ) -> None:
        self.path = path
        self.samples = samples
        self.facts = facts
        self._members = members  # offset, size, CRC-32
        self._checked: set[str] = set()

    @classmethod
    def open(cls, path: Path) -> Split:
        """Open a prepared split. Raises DataError if the file is missing, truncated or invalid."""
        require_regular(path, error=DataError, hint=f"`repro prepare {path.parent.name}`")
        try:
            with zipfile.ZipFile(path) as archive:
                members = {i.filename: (i.header_offset, i.file_size, i.CRC) for i in archive.infolist()}
                rows = csv.DictReader(io.StringIO(archive.read("index.csv").decode()))
                samples = [_sample(row) for row in rows]
                facts = load_json(archive.read("fingerprint.json"), path, error=DataError)
                _check_facts(facts)
        except FileNotFoundError as error:
            hint = f"`repro prepare {path.parent.name}`"
            raise DataError("the split is not prepared", where=path, hint=hint) from error
        except PermissionError:
            raise
        except (*_DAMAGED, DataError) as error:
            hint = f"run `repro prepare {path.parent.name}` again"
            what = error.what if isinstance(error, DataError) else str(error)
            raise DataError(f"not a prepared split: {what}", where=path, hint=hint) from error
        return cls(path, samples, facts, members)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return str(self.facts.get("dataset", ""))

    @property
    def ids(self) -> list[str]:
        return [sample.id for sample in self.samples]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.facts["classes"])

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """An RGB colour per class."""
        return tuple((r, g, b) for r, g, b in self.facts["palette"])

    @property
    def fingerprint(self) -> str:
        """Hex sha256 over ids, image bytes, label pixels and class names."""
        return str(self.facts["fingerprint"])

    @property
    def labelled(self) -> bool:
        return bool(self.samples) and self.samples[0].label is not None

    def image(self, i: int, rows: int | None = None) -> Pixels:
        """Return image_HWC, uint8 RGB, of sample i; of a PNG only the first `rows` rows if given."""
        name = self.samples[i].image
        return read_rgb(self.read(name), f"{self.path}:{name}", rows=rows)

    def lazy_image(self, i: int) -> LazyImage:
        """Return the image of sample i, decoded on slicing."""
        sample = self.samples[i]
        return LazyImage((sample.height, sample.width), partial(self.image, i))

    def label(self, i: int) -> Pixels:
        """Return label_HW, uint8 train ids with 255 = ignore, of sample i."""
        name = self.samples[i].label
        if name is None:
            raise DataError("this split has no labels", where=self.path, allowed="a split with labels")
        return read_prepared_label(self.read(name), f"{self.path}:{name}")

    def read(self, name: str) -> memoryview:
        """Return the bytes of a member without copying; the first read verifies their CRC-32."""
        offset, size, crc = self._members[name]
        local = _LOCAL.unpack_from(self._map, offset)
        start = offset + _LOCAL.size + local[-2] + local[-1]
        data = memoryview(self._map)[start : start + size]
        if name not in self._checked and zlib.crc32(data) != crc:
            hint = f"run `repro prepare {self.path.parent.name}` again"
            raise DataError("damaged member of a prepared split", where=f"{self.path}:{name}", hint=hint)
        self._checked.add(name)
        return data

    @cached_property
    def _map(self) -> mmap.mmap:
        with self.path.open("rb") as handle:
            return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)


# Raised by zipfile and csv for folders, damage, unknown compression, invalid offsets and encryption.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, csv.Error, OSError, EOFError),
    *(LookupError, ValueError, TypeError, NotImplementedError, RuntimeError),
)


def _check_facts(facts: dict[str, Any]) -> None:
    """Raise ValueError if fingerprint.json is incomplete."""
    classes, palette = facts["classes"], facts["palette"]
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    colours = isinstance(palette, list) and all(isinstance(c, list) and len(c) == 3 for c in palette)
    if not (named and colours and isinstance(facts["fingerprint"], str)):
        raise ValueError("fingerprint.json lacks classes, their colours, or the fingerprint")


def _sample(row: dict[str, str]) -> Sample:
    return Sample(
        id=row["id"],
        image=row["image"],
        label=row["label"] or None,
        height=int(row["height"]),
        width=int(row["width"]),
    )
