"""Label maps of pictures outside any data set.

Shapes: H and W pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from repro.datasets.images import check_image, read_rgb
from repro.datasets.spec import IGNORE
from repro.errors import CheckpointError, DataError
from repro.evaluation.confusion import LabelMap
from repro.evaluation.evaluate import Predict
from repro.evaluation.overlays import OVERLAY, Palette, colours, png, side_by_side
from repro.evaluation.views import Image
from repro.records import write_bytes


def read_picture(path: Path) -> tuple[Image, str | None]:
    """RGB pixels of a JPEG, PNG, TIFF, WebP or BMP, as `prepare` and `evaluate` read them, and a note.

    Orientation tags are ignored and alpha is dropped, as in a data set. DataError when unreadable.
    """
    if not path.is_file():
        raise DataError("no such picture", where=path)
    data = path.read_bytes()
    note = check_image(data, str(path)).note
    return read_rgb(data, str(path)), note


def predict_pictures(
    predict: Predict, paths: Sequence[Path], out: Path, *, palette: Palette
) -> Iterator[tuple[Path, LabelMap, str | None]]:
    """Write `<name>.png` (train ids) and `<name>_overlay.png` (picture | classes) for every picture.

    Yields the file, its label map, and a note where something in the picture was ignored.
    """
    names = unique_names(paths)
    keep_pictures(paths, [out / f"{name}{kind}.png" for name in names for kind in ("", OVERLAY)])
    for path, name in zip(paths, names, strict=True):
        image, note = read_picture(path)
        label = _predicted(predict, image, path)
        write_bytes(out / f"{name}.png", png(label))
        write_bytes(out / f"{name}{OVERLAY}.png", png(side_by_side([image, colours(label, palette)])))
        yield out / f"{name}.png", label, note


def _predicted(predict: Predict, image: Image, path: Path) -> LabelMap:
    """The label map; a DataError of the picture names its file."""
    try:
        with torch.inference_mode():
            label = predict([image])[0][""]
    except DataError as error:
        raise DataError(error.what, where=path, hint=error.hint) from None
    if (label == IGNORE).any():  # what argmax gives for NaN: finite weights, such as 1e30, can lead there too
        what, hint = "the network of these weights gives NaN for this picture", "`repro train` makes others"
        raise CheckpointError(what, where=path, hint=hint)
    return label


def keep_pictures(paths: Sequence[Path], written: Sequence[Path]) -> None:
    """DataError when a label map would be written over one of the pictures."""
    mine = {path.resolve() for path in paths}
    lost = [path for path in written if path.resolve() in mine]
    if lost:
        raise DataError(
            "the label map would replace the picture", where=lost[0], hint="another folder: -o maps/"
        )


def unique_names(paths: Sequence[Path]) -> list[str]:
    """File names without their ending; DataError when two pictures would be written to one file."""
    taken = Counter(path.stem for path in paths)
    twice = sorted(name for name, number in taken.items() if number > 1)
    if twice:
        raise DataError(f"several pictures are named {', '.join(twice[:5])}", hint="one call for each folder")
    return [path.stem for path in paths]
