"""Score label maps that any program made: a folder of PNGs, one an image, against a prepared split.

A map holds train ids (one channel, or a palette), or colours of the data set's palette; 255 and black mean
no class, which is always wrong. Files are named after the image ids: `<id>.png`, in folders or with `_` for
`/`. What is missing, left over or wrong is listed before anything is counted; overlays that `repro predict`
puts beside its maps are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from repro.datasets.colour_labels import colour_table, packed
from repro.datasets.images import count_values
from repro.datasets.spec import IGNORE
from repro.errors import DataError
from repro.evaluation.confusion import LabelMap
from repro.evaluation.evaluate import Progress, compared, evaluated_classes, true_label
from repro.evaluation.overlays import OVERLAY, Palette, file_name
from repro.evaluation.summary import EvaluationResult, Images, Seen, summarise
from repro.params.protocol import Protocol

SHOWN = 5  # names listed in an error


def score(
    predictions: Path,
    split: Images,
    *,
    palette: Palette,
    protocol: Protocol,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Compare the maps in the folder `predictions` with `split`. DataError lists every file that is wrong."""
    classes = evaluated_classes(split.classes, protocol)
    number = min(len(split), protocol.first or len(split))
    files = match(predictions, split.ids[:number])
    table = class_table(palette[1:] if protocol.reduce_zero_label else palette)
    seen: list[Seen] = []
    wrong: list[str] = []
    for i, file in enumerate(files):
        truth = true_label(split.label(i), len(classes), protocol, where=split.ids[i])
        try:
            prediction = checked(read_map(file, table), truth, classes)
        except DataError as error:
            wrong.append(f"{file.name}: {error.what}")
            continue
        seen.append(compared(i, truth, {"": prediction}, len(classes), protocol))
        if progress is not None:
            progress(i + 1, number)
    if wrong:
        raise DataError(
            f"{len(wrong)} of {number} label maps cannot be scored: {some(wrong)}",
            where=predictions,
            allowed="8 bits a pixel, as large as the image, train ids or the classes' colours",
        )
    return summarise(seen, split, number, classes=classes, protocol=protocol)


def match(folder: Path, ids: Sequence[str]) -> list[Path]:
    """The file of every id; DataError lists the ids without one and the files without an id."""
    if not folder.is_dir():
        raise DataError("no such folder of predictions", where=folder)
    found = {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.png"))
    }
    names = [image_id if image_id in found else file_name(image_id) for image_id in ids]
    missing = [image_id for image_id, name in zip(ids, names, strict=True) if name not in found]
    extra = sorted(found.keys() - {*names, *(name + OVERLAY for name in names)})
    if missing or extra:
        parts = [f"{len(missing)} missing: {some(missing)}"] if missing else []
        parts += [f"{len(extra)} of no image of the split: {some(extra)}"] if extra else []
        raise DataError("; ".join(parts), where=folder, allowed=f"one <id>.png for each of {len(ids)} images")
    return [found[name] for name in names]


def some(names: Sequence[str]) -> str:
    """The first few of a list of names, and how many more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def read_map(file: Path, table: npt.NDArray[np.uint8]) -> LabelMap:
    """A label map of train ids; colours are looked up in `table`."""
    try:
        with Pillow.open(file) as image:
            pixels = np.asarray(image if image.mode in ("L", "P") else image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(f"not a readable picture ({error})") from error
    if pixels.ndim == 2:
        return pixels.astype(np.uint8)
    code = packed(pixels)
    label_HW: LabelMap = table[code]
    strange = np.unique(code[(label_HW == IGNORE) & (code != 0)])
    if strange.size:
        colours = [f"#{colour:06x}" for colour in strange.tolist()]
        raise DataError(f"colours of no class: {some(colours)}")
    return label_HW


def class_table(palette: Palette) -> npt.NDArray[np.uint8]:
    """Class of every 24-bit colour, 255 for none; of classes with one colour the first."""
    first = {colour: number for number, colour in reversed(list(enumerate(palette)))}
    return colour_table(first, unknown=IGNORE)


def checked(prediction: LabelMap, truth: LabelMap, classes: Sequence[str]) -> LabelMap:
    """`prediction`, if it has the size of `truth` and no values of no class."""
    if prediction.shape != truth.shape:
        raise DataError(f"{size_of(prediction)} pixels, the image has {size_of(truth)}")
    values = count_values(prediction).nonzero()[0].tolist()
    wrong = [value for value in values if len(classes) <= value != IGNORE]
    if wrong:
        raise DataError(f"values of no class: {some([str(value) for value in wrong])}")
    return prediction


def size_of(label_HW: LabelMap) -> str:
    return f"{label_HW.shape[1]}x{label_HW.shape[0]}"
