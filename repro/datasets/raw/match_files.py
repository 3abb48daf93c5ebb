"""Pairing of images and labels by file name, and reading of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from repro.datasets.formats.label_maps import read_colour_label, read_value_label
from repro.datasets.raw.files import lower_extension
from repro.datasets.raw.source import Source
from repro.datasets.raw.split_lists import Entry
from repro.datasets.sets.spec import Colour, Pair, Pixels
from repro.errors import DataError

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
NO_COLOURS: Mapping[int, Colour] = {}
ONE = "one file per id"
RETRY = "copy or download the data again; are images and labels from the same release?"


def files_by_stem(source: Source, folder: str, suffix: str = "", *, cut: str = "") -> dict[str, str]:
    """Return the image files below a folder by their stem, without the ending `cut`.

    Raises DataError if two files have the same stem, such as a.png and a.PNG.
    """
    found: dict[str, str] = {}
    for name in source.names(folder):
        if not lower_extension(name).endswith(suffix or IMAGES):
            continue
        stem = PurePosixPath(name).stem.removesuffix(cut)
        if stem in found:
            hint = f"remove one of the two; the other one is {source.place(found[stem])}"
            raise DataError(f"duplicate id '{stem}'", where=source.place(name), allowed=ONE, hint=hint)
        found[stem] = name
    return found


def match_pairs(
    source: Source, images: dict[str, str], labels: dict[str, str], *, prefix: str = ""
) -> list[Pair]:
    """Pair images and labels by stem, sorted. Raises DataError for a file without its counterpart."""
    for stem in sorted(images.keys() ^ labels.keys()):
        present, missing = (images, "label") if stem in images else (labels, "image")
        raise DataError(f"no {missing} for '{stem}'", where=source.place(present[stem]), hint=RETRY)
    return [Pair(id=prefix + stem, image=images[stem], label=labels[stem]) for stem in sorted(images)]


def pairs_of_ids(source: Source, ids: Iterable[str | Entry], image: str, label: str | None) -> list[Pair]:
    """Return the pairs of the given ids. Raises DataError if a file is missing.

    `image` and `label` are names with {} for the id; the case of their extension does not matter.
    """
    pairs = []
    for entry in ids:
        name, place = (entry, None) if isinstance(entry, str) else entry
        found = [_existing(source, form.format(name), name, place) for form in (image, label) if form]
        pairs.append(Pair(id=name, image=found[0], label=found[1] if label else None))
    return pairs


def _existing(source: Source, file: str, name: str, place: str | None) -> str:
    found = source.resolve_name(file)
    if found is None:
        hint = f"{RETRY} The id is from {place}" if place else RETRY
        raise DataError(f"missing file for '{name}'", where=source.place(file), hint=hint)
    return found


def unlabelled_pairs(images: dict[str, str], *, prefix: str = "") -> list[Pair]:
    """Return pairs without labels, sorted."""
    return [Pair(id=prefix + stem, image=images[stem], label=None) for stem in sorted(images)]


def read_values(
    source: Source,
    pair: Pair,
    table: NDArray[np.int16],
    colours: Mapping[int, Colour] = NO_COLOURS,
    *,
    ignored: Sequence[Colour] = (),
) -> Pixels:
    """Read label_HW of a label of ids; arguments and rules as in `label_maps.read_value_label`."""
    assert pair.label is not None
    where = source.place(pair.label)
    label_HW, note = read_value_label(source.read(pair.label), where, table, colours, ignored=ignored)
    if note:
        source.note(pair.id, f"{where}: {note}")
    return label_HW


def read_colours(
    source: Source, pair: Pair, table: Mapping[Colour, int], *, tolerated: float = 0.0
) -> Pixels:
    """Read label_HW of a colour label; other colours, up to the share `tolerated`, are ignored and noted."""
    assert pair.label is not None
    where = source.place(pair.label)
    label_HW, unknown = read_colour_label(source.read(pair.label), where, table, tolerated=tolerated)
    if unknown:
        pixels = "1 pixel" if unknown == 1 else f"{unknown} pixels"
        source.note(pair.id, f"{where}: ignored {pixels} with colours outside the palette")
    return label_HW
