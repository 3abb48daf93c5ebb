"""A raw image and label as a prepared split stores them: checked, tiled, encoded, hashed."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from repro.datasets.formats.image_io import check_image, read_rgb
from repro.datasets.formats.label_maps import LabelFacts, facts_of
from repro.datasets.formats.png_writer import encode_png
from repro.datasets.prepare.prepared_split import Sample
from repro.datasets.prepare.resume_log import Made
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import IGNORE, DatasetModule, Pair, Pixels, SplitAbsent, Window
from repro.errors import DataError


def find_pairs(module: DatasetModule, source: Source, split: str) -> list[Pair]:
    """The pairs of a split; SplitAbsent when there are none, DataError when two have the same id."""
    pairs = module.pairs(source, split)
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise DataError(
                f"duplicate id '{pair.id}' in split {split}",
                where=source.place(pair.image),
                allowed="every id once",
                hint="take one of the two away, or give it another name",
            )
        seen.add(pair.id)
    if not pairs:
        raise SplitAbsent(f"no images for split {split}", where=source.where, allowed=module.LAYOUT)
    return pairs


def convert(module: DatasetModule, source: Source, pair: Pair, split: str, *, workers: int = 1) -> list[Made]:
    """One pair, read, checked and encoded: one sample, or one a tile (`workers` encode them).

    The file of an image that will be cut, its label and its pixels are never in memory together: the file
    is read again after the label (108 MB each for 6000x6000).
    """
    cut = getattr(module, "windows", None)
    data = source.read(pair.image)
    info = check_image(data, source.place(pair.image))
    if cut:
        del data
    size_HW = (info.height, info.width)
    label_HW = None if pair.label is None else checked_label(module, source, pair, *size_HW)
    seen = _Seen(
        notes=[*([info.note] if info.note else []), *source.notes(pair.id)],
        facts=None if label_HW is None else facts_of(pair.id, label_HW),
    )
    windows: list[Window] = cut(*size_HW, split) if cut else []
    if not windows:
        whole = source.read(pair.image) if cut else data
        return [_made(pair.id, whole, PurePosixPath(pair.image).suffix.lower(), label_HW, size_HW, seen)]
    image_HWC = read_rgb(source.read(pair.image), source.place(pair.image))
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda window: _tile(pair, image_HWC, label_HW, window, seen), windows))


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What is to be told of a pair."""

    notes: list[str]
    facts: LabelFacts | None


def _tile(pair: Pair, image_HWC: Pixels, label_HW: Pixels | None, window: Window, seen: _Seen) -> Made:
    """One window; what lies beyond the image is black and ignored."""
    box = (slice(window.top, window.bottom), slice(window.left, window.right))
    size_HW = (window.bottom - window.top, window.right - window.left)
    image = encode_png(_filled(image_HWC[box], size_HW, 0))
    label = None if label_HW is None else _filled(label_HW[box], size_HW, IGNORE)
    return _made(f"{pair.id}_{window.name}", image, ".png", label, size_HW, seen)


def _filled(part: Pixels, size_HW: tuple[int, int], value: int) -> Pixels:
    if part.shape[:2] == size_HW:
        return np.ascontiguousarray(part)
    whole = np.full((*size_HW, *part.shape[2:]), value, dtype=np.uint8)
    whole[: part.shape[0], : part.shape[1]] = part
    return whole


def checked_label(module: DatasetModule, source: Source, pair: Pair, height: int, width: int) -> Pixels:
    """The label of a pair; DataError when its size is not that of the image."""
    label_HW = module.read_label(source, pair)
    if label_HW.shape != (height, width):
        raise DataError(
            f"label is {label_HW.shape[1]}x{label_HW.shape[0]}, image is {width}x{height}",
            where=source.place(pair.label or pair.image),
            allowed="equal sizes",
            hint=f"the image is {source.place(pair.image)}",
        )
    return label_HW


def _made(
    name: str,
    image: bytes,
    suffix: str,
    label_HW: Pixels | None,
    size_HW: tuple[int, int],
    seen: _Seen,
) -> Made:
    """The digest covers id, image bytes and label pixels: not the PNG bytes, which an encoder may change."""
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
    return Made(
        sample=sample,
        image=image,
        label=label,
        digest=digest.hexdigest(),
        notes=seen.notes,
        label_facts=seen.facts,
    )


_WINDOW = re.compile(r"(_\d+){4}$")


def grid(height: int, width: int, *, size: int, step: int) -> list[Window]:
    """Windows of `size`, `step` apart, row by row; the last of a row or column is moved back to the border.

    An image smaller than `size` gets one window that reaches beyond it.
    """
    return [
        Window(top=top, left=left, bottom=top + size, right=left + size)
        for top in _starts(height, size, step)
        for left in _starts(width, size, step)
    ]


def _starts(length: int, size: int, step: int) -> list[int]:
    return sorted({max(0, min(start, length - size)) for start in range(0, length, step)})


def source_image(image_id: str) -> str:
    """The image that a window was cut from: `P0003` of `P0003_0_0_896_896`; a whole image is its own."""
    return _WINDOW.sub("", image_id)
