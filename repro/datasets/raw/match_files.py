"""Finding images and labels by their names, and reading labels; what is wrong is told by its full name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
ONE = "one file an id"
AGAIN = "copy or download the data again; do images and labels come from the same release?"


def by_stem(source: Source, folder: str, suffix: str = "", *, cut: str = "") -> dict[str, str]:
    """Stem (without the ending `cut`) -> name, of the image files below a folder.

    Raises DataError where two have the same stem; a.png and a.PNG have.
    """
    found: dict[str, str] = {}
    for name in source.names(folder):
        if not lower_extension(name).endswith(suffix or IMAGES):
            continue
        stem = PurePosixPath(name).stem.removesuffix(cut)
        if stem in found:
            hint = f"take one of the two away; the other one is {source.place(found[stem])}"
            raise DataError(f"duplicate id '{stem}'", where=source.place(name), allowed=ONE, hint=hint)
        found[stem] = name
    return found


def matched(
    source: Source, images: dict[str, str], labels: dict[str, str], *, prefix: str = ""
) -> list[Pair]:
    """Pairs of equal stems, sorted; a file without its partner is an error."""
    for alone in sorted(images.keys() ^ labels.keys()):
        have, lack = (images, "label") if alone in images else (labels, "image")
        raise DataError(
            f"file without its partner: no {lack} for '{alone}'",
            where=source.place(have[alone]),
            hint=AGAIN,
        )
    return [Pair(id=prefix + stem, image=images[stem], label=labels[stem]) for stem in sorted(images)]


def listed(source: Source, ids: Iterable[str | Entry], image: str, label: str | None) -> list[Pair]:
    """Pairs of the given ids; `image` and `label` are names with {} for the id, all of which must exist.

    Their extensions may be in any case.
    """
    pairs = []
    for entry in ids:
        name, place = (entry, None) if isinstance(entry, str) else entry
        found = [_existing(source, form.format(name), name, place) for form in (image, label) if form]
        pairs.append(Pair(id=name, image=found[0], label=found[1] if label else None))
    return pairs


def _existing(source: Source, file: str, name: str, place: str | None) -> str:
    found = source.spelled(file)
    if found is None:
        hint = f"{AGAIN} The id is of {place}" if place else AGAIN
        raise DataError(f"missing file for '{name}'", where=source.place(file), hint=hint)
    return found


def unlabelled(images: dict[str, str], *, prefix: str = "") -> list[Pair]:
    """Pairs without labels, sorted."""
    return [Pair(id=prefix + stem, image=images[stem], label=None) for stem in sorted(images)]


def read_values(
    source: Source, pair: Pair, table: NDArray[np.int16], colours: Mapping[int, Colour] = NO_COLOURS
) -> Pixels:
    """label_HW of a label of ids, looked up in `table` (see `value_table`); `colours`: of each stored value.

    `label_maps` has the rule for palettes and colours.
    """
    assert pair.label is not None
    where = source.place(pair.label)
    label_HW, note = read_value_label(source.read(pair.label), where, table, colours)
    if note:
        source.note(pair.id, f"{where}: {note}")
    return label_HW


def read_colours(
    source: Source, pair: Pair, table: Mapping[Colour, int], *, tolerated: float = 0.0
) -> Pixels:
    """label_HW of a colour label; other colours, up to the share `tolerated`, are ignored and noted."""
    assert pair.label is not None
    where = source.place(pair.label)
    label_HW, unknown = read_colour_label(source.read(pair.label), where, table, tolerated=tolerated)
    if unknown:
        pixels = "1 pixel" if unknown == 1 else f"{unknown} pixels"
        source.note(pair.id, f"{where}: ignored {pixels} of colours outside the palette")
    return label_HW
