"""Conversion of raw images and labels to samples of a prepared split: check, tile, encode, hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from repro.datasets.formats.image_io import check_image, read_rgb
from repro.datasets.formats.label_maps import LabelFacts, label_facts
from repro.datasets.formats.png_writer import encode_png
from repro.datasets.prepare.prepared_split import Sample
from repro.datasets.prepare.resume_log import Converted
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import IGNORE, DatasetModule, Pair, Pixels, SplitAbsent, Window
from repro.errors import DataError


def find_pairs(module: DatasetModule, source: Source, split: str) -> list[Pair]:
    """Return the pairs of a split. Raises SplitAbsent if there are none, DataError for duplicate ids."""
    pairs = module.pairs(source, split)
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise DataError(
                f"duplicate id '{pair.id}' in split {split}",
                where=source.place(pair.image),
                allowed="unique ids",
                hint="remove or rename one of the two",
            )
        seen.add(pair.id)
    if not pairs:
        raise SplitAbsent(f"no images for split {split}", where=source.where, allowed=module.LAYOUT)
    return pairs


def convert(
    module: DatasetModule, source: Source, pair: Pair, split: str, *, workers: int = 1
) -> list[Converted]:
    """Read, check and encode a pair.

    Images that are cut into tiles are read again after the label, because file, label and pixels take 108 MB
    each for 6000x6000 pixels.

    Args:
        module: Module of the data set.
        source: The raw files.
        pair: Image and label.
        split: Name of the split.
        workers: Threads that encode tiles.

    Returns:
        A sample, or one per tile.
    """
    tiles = module_windows(module)
    data = source.read(pair.image)
    info = check_image(data, source.place(pair.image))
    if tiles:
        del data
    size_HW = (info.height, info.width)
    label_HW = None if pair.label is None else checked_label(module, source, pair, *size_HW)
    findings = _Findings(
        notes=[*([info.note] if info.note else []), *source.notes(pair.id)],
        facts=None if label_HW is None else label_facts(pair.id, label_HW),
    )
    windows: list[Window] = tiles(*size_HW, split) if tiles else []
    if not windows:
        image = source.read(pair.image) if tiles else data
        suffix = PurePosixPath(pair.image).suffix.lower()
        return [_converted(pair.id, image, suffix, label_HW, size_HW, findings)]
    image_HWC = read_rgb(source.read(pair.image), source.place(pair.image))
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda window: _tile(pair, image_HWC, label_HW, window, findings), windows))


def module_windows(module: DatasetModule) -> Callable[[int, int, str], list[Window]] | None:
    """Return the function of a data set that returns the tiles of an image, if it has one."""
    found: Callable[[int, int, str], list[Window]] | None = getattr(module, "windows", None)
    return found


@dataclass(frozen=True, kw_only=True)
class _Findings:
    """Notes and label facts of a pair."""

    notes: list[str]
    facts: LabelFacts | None


def _tile(
    pair: Pair, image_HWC: Pixels, label_HW: Pixels | None, window: Window, findings: _Findings
) -> Converted:
    """A tile; beyond the image it is black and ignored."""
    box = (slice(window.top, window.bottom), slice(window.left, window.right))
    size_HW = (window.bottom - window.top, window.right - window.left)
    image = encode_png(_padded(image_HWC[box], size_HW, 0))
    label = None if label_HW is None else _padded(label_HW[box], size_HW, IGNORE)
    return _converted(f"{pair.id}_{window.name}", image, ".png", label, size_HW, findings)


def _padded(part: Pixels, size_HW: tuple[int, int], value: int) -> Pixels:
    if part.shape[:2] == size_HW:
        return np.ascontiguousarray(part)
    padded = np.full((*size_HW, *part.shape[2:]), value, dtype=np.uint8)
    padded[: part.shape[0], : part.shape[1]] = part
    return padded


def checked_label(module: DatasetModule, source: Source, pair: Pair, height: int, width: int) -> Pixels:
    """Read the label of a pair. Raises DataError if its size differs from (height, width) of the image."""
    label_HW = module.read_label(source, pair)
    if label_HW.shape != (height, width):
        raise DataError(
            f"label is {label_HW.shape[1]}x{label_HW.shape[0]}, image is {width}x{height}",
            where=source.place(pair.label or pair.image),
            allowed="equal sizes",
            hint=f"the image is {source.place(pair.image)}",
        )
    return label_HW


def _converted(
    name: str,
    image: bytes,
    suffix: str,
    label_HW: Pixels | None,
    size_HW: tuple[int, int],
    findings: _Findings,
) -> Converted:
    """The digest covers id, image bytes and label pixels, but not the encoding of the label."""
    digest = hashlib.sha256(f"{name} {size_HW}\n".encode() + hashlib.sha256(image).digest())
    if label_HW is not None:
        digest.update(label_HW.tobytes())
    sample = Sample(
        id=name,
        image=f"images/{name}{suffix}",
        label=None if label_HW is None else f"labels/{name}.png",
        height=size_HW[0],
        width=size_HW[1],
    )
    label = None if label_HW is None else encode_png(label_HW)
    return Converted(
        sample=sample,
        image=image,
        label=label,
        digest=digest.hexdigest(),
        notes=findings.notes,
        label_facts=findings.facts,
    )


_WINDOW = re.compile(r"(_\d+){4}$")


def grid(height: int, width: int, *, size: int, step: int) -> list[Window]:
    """Return windows of `size` pixels, `step` apart, in row-major order.

    The last window of a row or column is shifted back to the border; an image smaller than `size` gets a
    window that extends beyond it.
    """
    return [
        Window(top=top, left=left, bottom=top + size, right=left + size)
        for top in _starts(height, size, step)
        for left in _starts(width, size, step)
    ]


def _starts(length: int, size: int, step: int) -> list[int]:
    return sorted({max(0, min(start, length - size)) for start in range(0, length, step)})


def is_tile(image_id: str) -> bool:
    """Return whether an id ends with a window: `P0003_0_0_896_896`."""
    return _WINDOW.search(image_id) is not None


def source_image(image_id: str) -> str:
    """Return the image of a tile: `P0003` for `P0003_0_0_896_896`; other ids are returned unchanged."""
    return _WINDOW.sub("", image_id)
