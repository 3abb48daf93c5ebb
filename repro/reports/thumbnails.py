"""Small images of predictions that git keeps, so that a fresh clone shows what a result looks like."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from repro.params import Project
from repro.params.project import BUILT_IN
from repro.records import Record, write_bytes
from repro.records.overlays import GAP, SUFFIXES, thumbnail_path
from repro.reports.prediction_images import (
    Classes,
    Pixels,
    classes_of,
    error_map,
    few_colours,
    own_files,
    read_pixels,
    smaller,
    split,
)

WIDTH, ROWS = 160, 2  # pixels of a part, images
BYTES = 30_000  # of an experiment's file
QUALITIES = (90, 80, 70, 60, 50, 40)  # of a JPEG; the first that fits
Parts = tuple[Pixels, Pixels, Pixels]  # image, truth, prediction


def write_thumbnails(project: Project, records: Iterable[Record]) -> list[Path]:
    """Write the thumbnails of records whose overlays are on this machine; returns the files that changed.

    Images and truth are kept only of the built-in data set. Licences of others do not allow it, so theirs
    are the predicted masks alone.
    """
    return [path for record in records if (path := _write(project, record)) is not None]


def _write(project: Project, record: Record) -> Path | None:
    found = [parts for path in own_files(project, record) if (parts := _parts(path)) is not None]
    if not found:
        return None
    own = record.dataset == BUILT_IN
    content = _with_images(found[:ROWS], classes_of(project, record.dataset)) if own else _masks(found)
    path = thumbnail_path(project, record, SUFFIXES[0] if own else SUFFIXES[1])
    if path.is_file() and path.read_bytes() == content:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    return path


def _parts(path: Path) -> Parts | None:
    pixels = read_pixels(path)
    return None if pixels is None else split(pixels)


def _with_images(found: Sequence[Parts], classes: Classes) -> bytes:
    """A JPEG of at most BYTES: a row per image, with truth, prediction and errors."""
    rows = []
    for image, truth, prediction in found:
        masks = [truth, prediction, error_map(truth, prediction, classes)]
        small = [smaller(image, WIDTH), *(smaller(one, WIDTH, Image.Resampling.NEAREST) for one in masks)]
        rows.append(_joined([np.asarray(one) for one in small], axis=1))
    wholes = [Image.fromarray(_joined(rows[:number], axis=0)) for number in range(len(rows), 0, -1)]
    made = (
        _encoded(whole, "JPEG", quality=quality, subsampling=0) for whole in wholes for quality in QUALITIES
    )
    return _first_that_fits(made)


def _masks(found: Sequence[Parts]) -> bytes:
    """A PNG of predicted masks in a row, as many as BYTES allow."""
    small = [np.asarray(smaller(one[2], WIDTH, Image.Resampling.NEAREST)) for one in found]
    rows = (_joined(small[:number], axis=1) for number in range(len(small), 0, -1))
    return _first_that_fits(_encoded(few_colours(Image.fromarray(row)), "PNG") for row in rows)


def _first_that_fits(made: Iterable[bytes]) -> bytes:
    """The first of at most BYTES, or else the last."""
    content = b""
    for content in made:
        if len(content) <= BYTES:
            break
    return content


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    made = io.BytesIO()
    image.save(made, kind, optimize=True, **options)
    return made.getvalue()


def _joined(parts: Sequence[Pixels], *, axis: int) -> Pixels:
    """Images in a row (axis 1) or in a column (0), with a white gap; smaller ones are padded."""
    longest = max(part.shape[1 - axis] for part in parts)
    pieces = list[Pixels]()
    for part in parts:
        pad = [(0, 0), (0, 0), (0, 0)]
        pad[1 - axis] = (0, longest - part.shape[1 - axis])
        padded = np.pad(part, pad, constant_values=255)
        gap = np.full((GAP, longest, 3) if axis == 0 else (longest, GAP, 3), 255, np.uint8)
        pieces += [padded, gap]
    return np.concatenate(pieces[:-1], axis=axis)
