"""Score label maps of any program, a folder with one PNG per image, against a prepared split.

A map contains train ids or colours of the data set's palette, read like labels (`formats.label_maps`); 255
and black mean no class, which is always wrong. Files are named `<id>.png` by image id, in folders or with `_`
for `/`. Missing and extra files are reported before scoring. Overlays of `repro predict` are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from repro.datasets.formats.image_io import present_values
from repro.datasets.formats.label_files import stored_size
from repro.datasets.formats.label_maps import read_value_label, value_table
from repro.datasets.raw.files import is_system_file, lower_extension
from repro.datasets.sets.spec import IGNORE, Colour
from repro.errors import DataError, some_of
from repro.evaluation.confusion import LabelMap
from repro.evaluation.evaluate import Progress, count_image, evaluated_classes, true_label
from repro.evaluation.summary import EvaluationResult, ImageCounts, Images, summarise
from repro.evaluation.visualize import OVERLAY, Palette, file_name
from repro.io.limits import require_regular
from repro.params.protocol import Protocol

SHOWN = 5  # most names in an error


def score(
    predictions: Path,
    split: Images,
    *,
    palette: Palette,
    protocol: Protocol,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Evaluate the label maps in `predictions` on `split`.

    Args:
        predictions: folder with `<id>.png` per image.
        split: images and labels.
        palette: RGB colours of the classes.
        protocol: ignored labels and metrics; scales, flips and tiles are not used.
        progress: called after each image.

    Raises:
        DataError: lists every file that is missing, extra or invalid.
    """
    classes = evaluated_classes(split.classes, protocol)
    number = min(len(split), protocol.first or len(split))
    files = match(predictions, split.ids[:number])
    legend = Legend.of(tuple(palette)[1:] if protocol.reduce_zero_label else tuple(palette))
    seen: list[ImageCounts] = []
    wrong: list[str] = []
    for i, file in enumerate(files):
        truth = true_label(split.label(i), len(classes), protocol, where=split.ids[i])
        try:
            prediction = require_classes(read_map(file, legend, (truth.shape[0], truth.shape[1])), classes)
        except DataError as error:
            wrong.append(f"{file.name}: {error.what}")
            continue
        seen.append(count_image(i, truth, {"": prediction}, len(classes), protocol))
        if progress is not None:
            progress(i + 1, number)
    if wrong:
        raise DataError(
            f"{len(wrong)} of {number} label maps cannot be scored: {some_of(wrong, SHOWN)}",
            where=predictions,
            allowed="PNG of the image's size with train ids or the classes' colours",
        )
    return summarise(seen, split, number, classes=classes, protocol=protocol)


def match(folder: Path, ids: Sequence[str]) -> list[Path]:
    """The file of each id; DataError lists ids without a file and files without an id."""
    if not folder.is_dir():
        raise DataError("no such folder of predictions", where=folder)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    found = {
        name[: -len(".png")]: path
        for name, path in files.items()
        if lower_extension(name).endswith(".png") and not is_system_file(name)
    }
    names = [image_id if image_id in found else file_name(image_id) for image_id in ids]
    missing = [image_id for image_id, name in zip(ids, names, strict=True) if name not in found]
    extra = sorted(found.keys() - {*names, *(name + OVERLAY for name in names)})
    if missing or extra:
        parts = [f"{len(missing)} missing: {some_of(missing, SHOWN)}"] if missing else []
        parts += [f"{len(extra)} not in the split: {some_of(extra, SHOWN)}"] if extra else []
        raise DataError("; ".join(parts), where=folder, allowed=f"one <id>.png per image ({len(ids)} images)")
    return [found[name] for name in names]


@dataclass(frozen=True, kw_only=True)
class Legend:
    """Colours by train id; like 255, black means no class unless it is the colour of one."""

    colours: Mapping[int, Colour]

    @classmethod
    def of(cls, palette: Palette) -> Legend:
        """The legend of a palette."""
        black = {} if (0, 0, 0) in palette else {IGNORE: (0, 0, 0)}
        return cls(colours={**dict(enumerate(palette)), **black})


_ANY = value_table({value: value for value in range(256)})  # `require_classes` reports the invalid values


def read_map(file: Path, legend: Legend, size_HW: tuple[int, int]) -> LabelMap:
    """Read a label map of train ids; palettes and colours are read like those of labels.

    A map of another size is refused before it is decoded.
    """
    require_regular(file, error=DataError)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    declared = stored_size(data, str(file))
    if declared != size_HW:
        raise DataError(f"{size_of(declared)} pixels, the image has {size_of(size_HW)}")
    label_HW, _ = read_value_label(data, str(file), _ANY, legend.colours)
    return label_HW


def require_classes(prediction: LabelMap, classes: Sequence[str]) -> LabelMap:
    """Return `prediction`; DataError if it has values that are not classes."""
    values = present_values(prediction).tolist()
    wrong = [value for value in values if len(classes) <= value != IGNORE]
    if wrong:
        raise DataError(f"values of no class: {some_of([str(value) for value in wrong], SHOWN)}")
    return prediction


def size_of(size_HW: tuple[int, ...]) -> str:
    return f"{size_HW[1]}x{size_HW[0]}"
