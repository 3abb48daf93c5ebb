"""Visualise predictions: overlays of a split, and label maps of single images. Pixels are RGB."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from repro.datasets.formats.image_io import check_image, read_rgb
from repro.datasets.sets.spec import IGNORE
from repro.errors import CheckpointError, DataError
from repro.evaluation.confusion import LabelMap
from repro.records import write_bytes
from repro.records.overlays import GAP

if TYPE_CHECKING:  # they import torch, which maps and colours do not need
    from repro.evaluation.evaluate import Predict
    from repro.evaluation.tta import Image

OVERLAYS = 6  # per evaluation
OVERLAY = "_overlay"  # suffix of overlay files of `repro predict`
Palette = Sequence[tuple[int, int, int]]  # RGB per class


def evenly(number: int, of: int) -> list[int]:
    """`number` evenly spaced indices in 0..of - 1, including the first and last."""
    return sorted({round(float(i)) for i in np.linspace(0, of - 1, min(number, of))}) if of else []


def keeper(folder: Path, ids: Sequence[str], palette: Palette) -> Callable[..., None]:
    """A `keep` for `evaluate` that writes OVERLAYS evenly spaced images of the split into `folder`."""
    wanted = set(evenly(OVERLAYS, len(ids)))

    def keep(index: int, image: Image, truth: LabelMap, prediction: LabelMap) -> None:
        if index in wanted:
            parts = [image, colours(truth, palette), colours(prediction, palette)]
            write_bytes(folder / f"{file_name(ids[index])}.png", png(side_by_side(parts)))

    return keep


def file_name(image_id: str) -> str:
    """An image id as a file name."""
    return image_id.replace("/", "_").replace("\\", "_")


def colours(label_HW: LabelMap, palette: Palette) -> Image:
    """A label map in the colours of its classes; other values are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = np.array(palette, np.uint8)
    return table[label_HW]


def blended(image: Image, label_HW: LabelMap, palette: Palette, opacity: float) -> Image:
    """The image with its classes drawn over it, as torchvision draws masks. Opacity 1 is `colours`."""
    import torch
    from torchvision.utils import draw_segmentation_masks  # takes longer to import than torch

    present = [int(k) for k in np.unique(label_HW) if k < len(palette)]
    if not present:
        return image
    masks_KHW = torch.from_numpy(label_HW == np.array(present, label_HW.dtype)[:, None, None])
    image_CHW = torch.from_numpy(image).permute(2, 0, 1)
    drawn_CHW = draw_segmentation_masks(
        image_CHW, masks_KHW, alpha=opacity, colors=[tuple(map(int, palette[k])) for k in present]
    )
    return np.ascontiguousarray(drawn_CHW.permute(1, 2, 0).numpy())


def side_by_side(parts: Sequence[Image]) -> Image:
    """Concatenate images of one height horizontally, with a white gap."""
    gap = np.full((parts[0].shape[0], GAP, 3), 255, np.uint8)
    row = [piece for part in parts for piece in (part, gap)][:-1]
    return np.concatenate(row, axis=1)


def png(image: Image) -> bytes:
    """Encode an RGB image or a label map as PNG."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    _, coded = cv2.imencode(".png", pixels)
    return bytes(coded.tobytes())


def read_image(path: Path) -> tuple[Image, str | None]:
    """Read a JPEG, PNG, TIFF, WebP or BMP the way data sets are read.

    Orientation tags and alpha are ignored.

    Returns:
        (RGB pixels, a note on ignored content or None).

    Raises:
        DataError: the file is missing or cannot be decoded.
    """
    if not path.is_file():
        raise DataError("no such image", where=path)
    data = path.read_bytes()
    note = check_image(data, str(path)).note
    return read_rgb(data, str(path)), note


def predict_images(
    predict: Predict, paths: Sequence[Path], out: Path, *, palette: Palette, blend: float | None = None
) -> Iterator[tuple[Path, LabelMap, str | None]]:
    """Write `<name>.png` (train ids) and `<name>_overlay.png` (image | classes) per image.

    With `blend` the classes are drawn over the image, with that opacity.

    Yields (file, its label map, a note on ignored content of the image or None).
    """
    names = unique_names(paths)
    require_no_overwrite(paths, [out / f"{name}{kind}.png" for name in names for kind in ("", OVERLAY)])
    for path, name in zip(paths, names, strict=True):
        image, note = read_image(path)
        label = _predicted(predict, image, path)
        drawn = colours(label, palette) if blend is None else blended(image, label, palette, blend)
        write_bytes(out / f"{name}.png", png(label))
        write_bytes(out / f"{name}{OVERLAY}.png", png(side_by_side([image, drawn])))
        yield out / f"{name}.png", label, note


def _predicted(predict: Predict, image: Image, path: Path) -> LabelMap:
    """The label map of an image; errors name its file."""
    import torch

    try:
        with torch.inference_mode():
            label = predict([image])[0][""]
    except DataError as error:
        raise DataError(error.what, where=path, hint=error.hint) from None
    if (label == IGNORE).any():  # argmax of NaN, which finite weights such as 1e30 can produce, too
        hint = "train again: `repro train`"
        raise CheckpointError("the network outputs NaN for this image", where=path, hint=hint)
    return label


def require_no_overwrite(paths: Sequence[Path], written: Sequence[Path]) -> None:
    """Raise DataError if an output would overwrite one of the images."""
    mine = {path.resolve() for path in paths}
    lost = [path for path in written if path.resolve() in mine]
    if lost:
        hint = "choose another folder: -o maps/"
        raise DataError("the label map would overwrite the image", where=lost[0], hint=hint)


def unique_names(paths: Sequence[Path]) -> list[str]:
    """File names without suffix; DataError if two images have the same name."""
    taken = Counter(path.stem for path in paths)
    twice = sorted(name for name, number in taken.items() if number > 1)
    if twice:
        raise DataError(f"several images are named {', '.join(twice[:5])}", hint="run once per folder")
    return [path.stem for path in paths]
