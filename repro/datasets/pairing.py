"""Finding images and labels by their names; what is missing is told by its full name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from repro.datasets.source import Source
from repro.datasets.spec import Pair
from repro.errors import DataError

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
AGAIN = "copy or download the data again; do images and labels come from the same release?"


def by_stem(source: Source, folder: str, suffix: str = "", *, cut: str = "") -> dict[str, str]:
    """Stem (without the ending `cut`) -> name, of the image files below a folder."""
    found: dict[str, str] = {}
    for name in source.names(folder, suffix or IMAGES):
        stem = PurePosixPath(name).stem.removesuffix(cut)
        if stem in found:
            raise DataError(
                f"duplicate id '{stem}'", where=source.place(name), allowed=source.place(found[stem])
            )
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


def listed(source: Source, ids: Iterable[str], image: str, label: str | None) -> list[Pair]:
    """Pairs of the given ids; `image` and `label` are names with {} for the id, all of which must exist."""
    pairs = []
    for name in ids:
        files = [image.format(name), *([label.format(name)] if label else [])]
        for file in files:
            if not source.has(file):
                raise DataError(f"missing file for '{name}'", where=source.place(file), hint=AGAIN)
        pairs.append(Pair(id=name, image=files[0], label=files[1] if label else None))
    return pairs


def unlabelled(images: dict[str, str], *, prefix: str = "") -> list[Pair]:
    """Pairs without labels, sorted."""
    return [Pair(id=prefix + stem, image=images[stem], label=None) for stem in sorted(images)]
