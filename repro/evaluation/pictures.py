"""Label maps of pictures outside any data set.

Shapes: H and W pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from repro.errors import DataError
from repro.evaluation.confusion import LabelMap
from repro.evaluation.evaluate import Predict
from repro.evaluation.overlays import OVERLAY, Palette, colours, png, side_by_side
from repro.evaluation.views import Image
from repro.records import write_bytes


def read_picture(path: Path) -> Image:
    """RGB pixels of a JPEG, PNG, TIFF, ...; orientation tags are obeyed. DataError when unreadable."""
    if not path.is_file():
        raise DataError("no such picture", where=path)
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DataError("not a readable picture", where=path, allowed="JPEG, PNG, TIFF, WebP, BMP")
    return np.ascontiguousarray(pixels[..., ::-1])


def predict_pictures(
    predict: Predict, paths: Sequence[Path], out: Path, *, palette: Palette
) -> Iterator[tuple[Path, LabelMap]]:
    """Write `<name>.png` (train ids) and `<name>_overlay.png` (picture | classes) for every picture."""
    names = unique_names(paths)
    for path, name in zip(paths, names, strict=True):
        image = read_picture(path)
        with torch.inference_mode():
            label = predict([image])[0][""]
        write_bytes(out / f"{name}.png", png(label))
        write_bytes(out / f"{name}{OVERLAY}.png", png(side_by_side([image, colours(label, palette)])))
        yield out / f"{name}.png", label


def unique_names(paths: Sequence[Path]) -> list[str]:
    """File names without their ending; DataError when two pictures would be written to one file."""
    taken = Counter(path.stem for path in paths)
    twice = sorted(name for name, number in taken.items() if number > 1)
    if twice:
        raise DataError(f"several pictures are named {', '.join(twice[:5])}", hint="one call for each folder")
    return [path.stem for path in paths]
