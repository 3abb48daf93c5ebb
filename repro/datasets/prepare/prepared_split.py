"""A prepared split: one zip of stored members, read through a memory map.

    images/<id>.<ext>   the owner's bytes (tiles of large images: PNG)
    labels/<id>.png     uint8 train ids, 255 = ignore; absent in test splits without labels
    index.csv           id,image,label,height,width: one line a sample, in order
    fingerprint.json    what the split holds, and the hash of it

Names, times, order and attributes are fixed, so equal input gives an equal file on any machine.
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

from repro.datasets.formats.image_io import Picture, Pixels, read_prepared_label, read_rgb
from repro.errors import DataError
from repro.io.json_reader import load_json

INDEX_FIELDS = ("id", "image", "label", "height", "width")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LOCAL = struct.Struct("<4s5H3I2H")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One line of index.csv; `label` is None where the split has no labels."""

    id: str
    image: str
    label: str | None
    height: int
    width: int


def member(name: str) -> zipfile.ZipInfo:
    """Header of a stored member that is the same whenever and wherever it is written."""
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    info.create_system, info.external_attr = 3, 0o644 << 16
    return info


def index_csv(samples: list[Sample]) -> bytes:
    """index.csv with Unix line ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(INDEX_FIELDS)
    writer.writerows((s.id, s.image, s.label or "", s.height, s.width) for s in samples)
    return text.getvalue().encode()


class Split:
    """The samples of one prepared split. Reading is safe from several threads and processes."""

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
        """Read the index; DataError when the file is missing, cut off or not a prepared split."""
        try:
            with zipfile.ZipFile(path) as archive:
                members = {i.filename: (i.header_offset, i.file_size, i.CRC) for i in archive.infolist()}
                rows = csv.DictReader(io.StringIO(archive.read("index.csv").decode()))
                samples = [_sample(row) for row in rows]
                facts = load_json(archive.read("fingerprint.json"), path, error=DataError)
                _check_facts(facts)
        except FileNotFoundError as error:
            hint = f"`repro prepare {path.parent.name}` makes it"
            raise DataError("the split is not prepared", where=path, hint=hint) from error
        except PermissionError:
            raise
        except (*_DAMAGED, DataError) as error:
            hint = f"`repro prepare {path.parent.name}` makes it again"
            what = error.what if isinstance(error, DataError) else str(error)
            raise DataError(f"not a prepared split: {what}", where=path, hint=hint) from error
        return cls(path, samples, facts, members)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def dataset(self) -> str:
        """The data set's name, in whose module its groups are."""
        return str(self.facts.get("dataset", ""))

    @property
    def ids(self) -> list[str]:
        return [sample.id for sample in self.samples]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.facts["classes"])

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """One RGB colour a class."""
        return tuple((r, g, b) for r, g, b in self.facts["palette"])

    @property
    def fingerprint(self) -> str:
        """Hex sha256 over ids, image bytes, label pixels and class names."""
        return str(self.facts["fingerprint"])

    @property
    def labelled(self) -> bool:
        return bool(self.samples) and self.samples[0].label is not None

    def image(self, i: int, rows: int | None = None) -> Pixels:
        """image_HWC uint8 RGB of sample i; of a PNG only the first `rows` rows where they are enough."""
        name = self.samples[i].image
        return read_rgb(self.read(name), f"{self.path}:{name}", rows=rows)

    def picture(self, i: int) -> Picture:
        """Sample i's image, not decoded before a part of it is asked for."""
        sample = self.samples[i]
        return Picture((sample.height, sample.width), partial(self.image, i))

    def label(self, i: int) -> Pixels:
        """label_HW uint8 train ids of sample i, 255 = ignore."""
        name = self.samples[i].label
        if name is None:
            raise DataError("this split has no labels", where=self.path, allowed="a split with labels")
        return read_prepared_label(self.read(name), f"{self.path}:{name}")

    def read(self, name: str) -> memoryview:
        """The bytes of a member, in place; checked against their CRC-32 when they are read first."""
        offset, size, crc = self._members[name]
        local = _LOCAL.unpack_from(self._map, offset)
        start = offset + _LOCAL.size + local[-2] + local[-1]
        data = memoryview(self._map)[start : start + size]
        if name not in self._checked and zlib.crc32(data) != crc:
            hint = f"`repro prepare {self.path.parent.name}` makes it again"
            raise DataError("damaged member of a prepared split", where=f"{self.path}:{name}", hint=hint)
        self._checked.add(name)
        return data

    @cached_property
    def _map(self) -> mmap.mmap:
        with self.path.open("rb") as handle:
            return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)


# What zipfile and csv raise for a folder, damage, an unknown method, an offset before the file, a password.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, csv.Error, OSError, EOFError),
    *(LookupError, ValueError, TypeError, NotImplementedError, RuntimeError),
)


def _check_facts(facts: dict[str, Any]) -> None:
    """ValueError where fingerprint.json lacks what every reader of a split needs."""
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
