"""Pictures of predictions: overlays beside image and truth, and label maps of single images.

Shapes: H and W pixels, RGB.

Shapes: H and W pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from repro.datasets.formats.image_io import check_image, read_rgb
from repro.datasets.sets.spec import IGNORE
from repro.errors import CheckpointError, DataError
from repro.evaluation.confusion import LabelMap
from repro.evaluation.evaluate import Predict
from repro.evaluation.tta import Image
from repro.records import write_bytes

PICTURES = 6
OVERLAY = "_overlay"  # what `repro predict` adds to the name of a label map
GAP = 4  # white pixels between the parts
Palette = Sequence[tuple[int, int, int]]  # RGB of every class


def evenly(number: int, of: int) -> list[int]:
    """`number` indices spread over 0..of - 1, first and last included."""
    return sorted({round(float(i)) for i in np.linspace(0, of - 1, min(number, of))}) if of else []


def keeper(folder: Path, ids: Sequence[str], palette: Palette) -> Callable[..., None]:
    """A `keep` for `evaluate`: writes PICTURES overlays into `folder`, spread evenly over the split."""
    wanted = set(evenly(PICTURES, len(ids)))

    def keep(index: int, image: Image, truth: LabelMap, prediction: LabelMap) -> None:
        if index in wanted:
            parts = [image, colours(truth, palette), colours(prediction, palette)]
            write_bytes(folder / f"{file_name(ids[index])}.png", png(side_by_side(parts)))

    return keep


def file_name(image_id: str) -> str:
    """An id as one path component."""
    return image_id.replace("/", "_").replace("\\", "_")


def colours(label_HW: LabelMap, palette: Palette) -> Image:
    """A label map in the colours of its classes; what has none is black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = np.array(palette, np.uint8)
    return table[label_HW]


def side_by_side(parts: Sequence[Image]) -> Image:
    """Pictures of one height in a row, with a white gap."""
    gap = np.full((parts[0].shape[0], GAP, 3), 255, np.uint8)
    row = [piece for part in parts for piece in (part, gap)][:-1]
    return np.concatenate(row, axis=1)


def png(image: Image) -> bytes:
    """RGB (or a label map) as PNG bytes."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    _, coded = cv2.imencode(".png", pixels)
    return bytes(coded.tobytes())


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
