"""Label maps in a folder, by image id: PNG, NPY, or NPZ with one or several arrays.

A map contains train ids or, as PNG, colours of the data set's palette, read like labels
(`formats.label_maps`); 255 and black mean no class, which is always wrong. Files are named after the image
id, in folders or with `_` for `/`; an NPZ with several maps names its arrays so. Overlays of `repro predict`
are ignored, and so are files of other types.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from repro.datasets.formats.image_io import present_values
from repro.datasets.formats.label_files import stored_size
from repro.datasets.formats.label_maps import ANY_VALUE, read_value_label
from repro.datasets.raw.files import is_system_file, lower_extension
from repro.datasets.sets.spec import IGNORE, Colour
from repro.errors import DataError, some_of
from repro.evaluation.confusion import LabelMap
from repro.evaluation.visualize import OVERLAY, Palette, file_name
from repro.io.limits import require_regular

SHOWN = 5  # most names in an error
SUFFIXES = (".png", ".npy", ".npz")
ALLOWED = "one map per image: <id>.png, <id>.npy, or an .npz with arrays named <id>"


@dataclass(frozen=True, kw_only=True)
class MapFile:
    """Where a label map is: a file, and the name of the array in an NPZ."""

    path: Path
    array: str | None = None

    @property
    def name(self) -> str:
        return self.path.name if self.array is None else f"{self.path.name}:{self.array}"


def match(folder: Path, ids: Sequence[str], *, unused: Sequence[str] = ()) -> list[MapFile]:
    """Return the map of each id. Raises DataError for ids without one or with several, and extra maps.

    Maps of `unused` ids, which the protocol does not count, are ignored.
    """
    if not folder.is_dir():
        raise DataError("no such folder of predictions", where=folder)
    found: dict[str, list[MapFile]] = {}
    for name, one in _named(folder, frozenset([*ids, *unused])):
        found.setdefault(name, []).append(one)
    spelt = {one: [name for name in dict.fromkeys((one, file_name(one))) if name in found] for one in ids}
    chosen = {one: [file for name in names for file in found[name]] for one, names in spelt.items()}
    used = {name for names in spelt.values() for name in names}
    ignored = {*unused, *map(file_name, unused), *(name + OVERLAY for name in used)}
    extra = sorted(found.keys() - used - ignored)
    problems = {
        "missing": [one for one, files in chosen.items() if not files],
        "with several maps": [
            f"{one} ({', '.join(file.name for file in files)})"
            for one, files in chosen.items()
            if len(files) > 1
        ],
        "not in the split": extra,
    }
    parts = [f"{len(names)} {what}: {some_of(names, SHOWN)}" for what, names in problems.items() if names]
    if parts:
        where = f"{folder} ({len(ids)} images)"
        raise DataError("; ".join(parts), where=where, allowed=ALLOWED)
    return [files[0] for files in chosen.values()]


def _named(folder: Path, ids: frozenset[str]) -> Iterator[tuple[str, MapFile]]:
    """(name without suffix, file) of every map in the folder."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        suffix = Path(lower_extension(name)).suffix
        if suffix not in SUFFIXES or is_system_file(name) or path.is_dir():
            continue
        stem = name[: -len(suffix)]
        if suffix == ".npz":
            yield from _arrays(path, stem, ids)
        else:
            yield stem, MapFile(path=path)


def _arrays(path: Path, stem: str, ids: frozenset[str]) -> Iterator[tuple[str, MapFile]]:
    """The arrays of an NPZ; a single one may have any name if the file has the image's."""
    require_regular(path, error=DataError)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"not an NPZ file: {error}", where=path, allowed=ALLOWED) from None
    known = ids | {file_name(one) for one in ids}
    if len(names) == 1 and names[0] not in known:
        yield stem, MapFile(path=path, array=names[0])
    else:
        yield from ((name, MapFile(path=path, array=name)) for name in names)


@dataclass(frozen=True, kw_only=True)
class Legend:
    """Colours by train id; like 255, black means no class unless it is the colour of one."""

    colours: Mapping[int, Colour]

    @classmethod
    def of(cls, palette: Palette) -> Legend:
        """The legend of a palette."""
        black = {} if (0, 0, 0) in palette else {IGNORE: (0, 0, 0)}
        return cls(colours={**dict(enumerate(palette)), **black})


def read_map(file: MapFile, legend: Legend, size_HW: tuple[int, int]) -> LabelMap:
    """Read a label map of train ids; palettes and colours of a PNG are read like those of labels.

    A map of another size is refused before it is decoded.
    """
    require_regular(file.path, error=DataError)
    try:
        if file.path.suffix.lower() != ".png":
            return _array(file, size_HW)
        data = file.path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    _require_size(stored_size(data, str(file.path)), size_HW)
    label_HW, _ = read_value_label(data, str(file.path), ANY_VALUE, legend.colours)
    return label_HW


def _array(file: MapFile, size_HW: tuple[int, int]) -> LabelMap:
    """The array of an NPY or NPZ file; its header is checked before the values are read."""
    try:
        with _opened(file) as stream:
            shape, _, kind = _header(stream)
            shape = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
            if kind.kind not in "iub":
                raise DataError(f"an array of {kind}, not of integers")
            _require_size(shape, size_HW)
            stream.seek(0)
            values = np.load(stream, allow_pickle=False)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"not an array: {error}") from None
    return _bytes(values.reshape(size_HW))


def _opened(file: MapFile) -> io.BytesIO:
    if file.array is None:
        return io.BytesIO(file.path.read_bytes())
    with zipfile.ZipFile(file.path) as archive:
        member = next(one for one in archive.infolist() if one.filename.removesuffix(".npy") == file.array)
        if member.file_size > 2**30:
            raise ValueError(f"{member.file_size:,} bytes unpacked")
        return io.BytesIO(archive.read(member))


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, Any]:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the NPY format")
    return readers[version](stream)


def _bytes(values: npt.NDArray[Any]) -> LabelMap:
    """Values as bytes. Raises DataError for values that are not 0 to 255."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low < 0 or high > IGNORE:
        wrong = low if low < 0 else high
        raise DataError(f"values of no class: {wrong}")
    return np.ascontiguousarray(values, dtype=np.uint8)


def _require_size(found: tuple[int, ...], size_HW: tuple[int, int]) -> None:
    if tuple(found) != size_HW:
        raise DataError(f"{size_of(found)} pixels, the image has {size_of(size_HW)}")


def require_classes(prediction: LabelMap, classes: Sequence[str]) -> LabelMap:
    """Return `prediction`; DataError if it has values that are not classes."""
    values = present_values(prediction).tolist()
    wrong = [value for value in values if len(classes) <= value != IGNORE]
    if wrong:
        raise DataError(f"values of no class: {some_of([str(value) for value in wrong], SHOWN)}")
    return prediction


def size_of(found: tuple[int, ...]) -> str:
    """'640x480' of (480, 640); other shapes as they are."""
    return f"{found[1]}x{found[0]}" if len(found) == 2 else f"shape {found}"
