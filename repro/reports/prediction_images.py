"""Images of predictions for the report: image, truth, prediction, errors and a legend.

An overlay of `repro evaluate` holds image, truth and prediction side by side. Masks are PNG in the colours of
their classes, images JPEG. Errors are computed from both masks. `thumbnails` makes the small copies.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from repro.datasets import described
from repro.errors import RecordError, ReproError
from repro.io import limits
from repro.params import Project
from repro.records import Record
from repro.records.dvc_files import is_project_file
from repro.records.overlays import GAP, PARTS, SUFFIXES, overlays, thumbnail

Pixels = NDArray[np.uint8]  # [H, W, 3], RGB
IMAGES = 6  # in the report
WIDTH = 320  # pixels of a part in the report
RIGHT, WRONG, VOID = (222, 226, 232), (200, 30, 40), (90, 99, 112)  # colours of an error map
ERRORS = {"right": RIGHT, "wrong": WRONG, "void": VOID}


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Names and colours of the classes of a data set; none if only code of the zoo knows them."""

    names: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()

    def legend(self, masks: Sequence[Pixels]) -> list[list[str]]:
        """[name, colour] of the classes that occur in `masks`."""
        present = {
            tuple(map(int, colour)) for mask in masks for colour in np.unique(mask.reshape(-1, 3), axis=0)
        }
        pairs = zip(self.names, self.colours, strict=False)
        return [[name.strip(), _hex(colour)] for name, colour in pairs if tuple(colour) in present]


def classes_of(project: Project, dataset: str) -> Classes:
    """Classes and colours of a data set, without running code of the zoo."""
    from repro.params import read_yaml

    try:
        block = (read_yaml(project.params).get("datasets") or {}).get(dataset) or {}
        if block.get("module") and not block.get("palette"):
            return Classes()
        found = described(project, dataset)
        return Classes(names=tuple(found.CLASSES), colours=tuple(found.PALETTE))
    except (ReproError, AttributeError, TypeError):
        return Classes()


def gallery(project: Project, record: Record) -> tuple[list[dict[str, Any]], list[str]]:
    """What the report shows of a record's predictions.

    Returns:
        (images: name, parts and legend of each; names of files that cannot be read). Without overlays the
        thumbnails in git are the only image.
    """
    classes = classes_of(project, record.dataset)
    found, broken = list[dict[str, Any]](), list[str]()
    for path in own_files(project, record)[:IMAGES]:
        pixels = read_pixels(path)
        if pixels is None:
            broken.append(path.name)
        else:
            found.append({"name": path.stem, **_shown(pixels, classes)})
    small = thumbnail(project, record)
    if not found and small is not None and is_project_file(project.root, small):
        pixels = read_pixels(small)
        if pixels is not None:
            found.append(_of_thumbnail(small, pixels, classes))
    return found, broken


def own_files(project: Project, record: Record) -> list[Path]:
    return [path for path in overlays(project, record.experiment) if is_project_file(project.root, path)]


def _shown(pixels: Pixels, classes: Classes) -> dict[str, Any]:
    parts = split(pixels)
    if parts is None:  # of another program, or another version
        return {"parts": [[", ".join(PARTS), data_url(smaller(pixels, 2 * WIDTH), "JPEG")]], "legend": []}
    image, truth, prediction = parts
    masks = {"truth": truth, "prediction": prediction, "errors": error_map(truth, prediction, classes)}
    shown = [["image", data_url(smaller(image, WIDTH), "JPEG")]]
    shown += [
        [name, data_url(smaller(mask, WIDTH, Image.Resampling.NEAREST), "PNG")]
        for name, mask in masks.items()
    ]
    return {"parts": shown, "legend": classes.legend([truth, prediction])}


def _of_thumbnail(path: Path, pixels: Pixels, classes: Classes) -> dict[str, Any]:
    """Thumbnails as one image; the colours of a JPEG are not exact, so its legend lists all classes."""
    with_image = path.suffix == SUFFIXES[0]
    title = ", ".join((*PARTS, "errors")) if with_image else "predictions"
    kind = "jpeg" if with_image else "png"
    legend = [[name, _hex(colour)] for name, colour in zip(classes.names, classes.colours, strict=False)]
    return {
        "name": "thumbnails",
        "parts": [[title, f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode()]],
        "legend": legend if with_image else classes.legend([pixels]),
    }


def read_pixels(path: Path) -> Pixels | None:
    """RGB pixels of an image file; None if it is damaged or too large."""
    try:
        content = limits.read_limited(path, limits.OVERLAY_BYTES, error=RecordError)
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > limits.OVERLAY_PIXELS:
                return None
            return np.asarray(image.convert("RGB"))
    except Exception:  # of a damaged file Pillow raises a dozen kinds, struct.error and IndexError among them
        return None


def split(overlay: Pixels) -> tuple[Pixels, Pixels, Pixels] | None:
    """Image, truth and prediction of an overlay; None for an image of another layout."""
    width, rest = divmod(overlay.shape[1] - 2 * GAP, 3)
    if rest or width < 1:
        return None
    gaps = [overlay[:, width : width + GAP], overlay[:, 2 * width + GAP : 2 * (width + GAP)]]
    if any((gap != 255).any() for gap in gaps):
        return None
    first, second, third = (overlay[:, n * (width + GAP) :][:, :width] for n in range(3))
    return first, second, third


def error_map(truth: Pixels, prediction: Pixels, classes: Classes) -> Pixels:
    """RIGHT, WRONG or VOID per pixel. Void is black; where a class is black, void counts as it."""
    drawn = np.full_like(truth, RIGHT)
    drawn[(truth != prediction).any(axis=-1)] = WRONG
    if (0, 0, 0) not in {tuple(colour) for colour in classes.colours}:
        drawn[(truth == 0).all(axis=-1)] = VOID
    return drawn


def smaller(pixels: Pixels, width: int, how: Image.Resampling = Image.Resampling.LANCZOS) -> Image.Image:
    """The image with at most `width` pixels in a row."""
    image = Image.fromarray(pixels)
    height = max(1, round(image.height * width / image.width))
    return image if image.width <= width else image.resize((width, height), how)


def data_url(image: Image.Image, kind: str) -> str:
    """The image as the address of an `img` element; masks as PNG with the few colours they have."""
    made = io.BytesIO()
    if kind == "PNG":
        few_colours(image).save(made, "PNG", optimize=True)
    else:
        image.save(made, "JPEG", quality=80)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(made.getvalue()).decode()


def few_colours(image: Image.Image) -> Image.Image:
    colours = image.getcolors(256)
    return image.quantize(len(colours), dither=Image.Dither.NONE) if colours else image


def _hex(colour: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
