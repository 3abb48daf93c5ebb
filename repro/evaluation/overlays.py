"""Pictures of predictions: image | truth | prediction, side by side.

Shapes: H and W pixels, RGB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from repro.evaluation.confusion import LabelMap
from repro.evaluation.views import Image
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
