"""Score label maps that any program made: a folder of PNGs, one an image, against a prepared split.

A map holds train ids or colours of the data set's palette, by the rule for labels (`formats.label_maps`);
255 and black mean no class, which is always wrong. Files are named after the image ids: `<id>.png`, in
folders or with `_` for `/`. What is missing, left over or wrong is listed before anything is counted;
overlays that `repro predict` puts beside its maps are left alone.
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
from repro.errors import DataError
from repro.evaluation.confusion import LabelMap
from repro.evaluation.evaluate import Progress, compared, evaluated_classes, true_label
from repro.evaluation.summary import EvaluationResult, Images, Seen, summarise
from repro.evaluation.visualize import OVERLAY, Palette, file_name
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
    legend = Legend.of(tuple(palette)[1:] if protocol.reduce_zero_label else tuple(palette))
    seen: list[Seen] = []
    wrong: list[str] = []
    for i, file in enumerate(files):
        truth = true_label(split.label(i), len(classes), protocol, where=split.ids[i])
        try:
            prediction = checked(read_map(file, legend, (truth.shape[0], truth.shape[1])), classes)
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
            allowed="PNG as large as the image, of train ids or the classes' colours",
        )
    return summarise(seen, split, number, classes=classes, protocol=protocol)


def match(folder: Path, ids: Sequence[str]) -> list[Path]:
    """The file of every id; DataError lists the ids without one and the files without an id."""
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
        parts = [f"{len(missing)} missing: {some(missing)}"] if missing else []
        parts += [f"{len(extra)} of no image of the split: {some(extra)}"] if extra else []
        raise DataError("; ".join(parts), where=folder, allowed=f"one <id>.png for each of {len(ids)} images")
    return [found[name] for name in names]


def some(names: Sequence[str]) -> str:
    """The first few of a list of names, and how many more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


@dataclass(frozen=True, kw_only=True)
class Legend:
    """Colours by train id; black, unless it is a class's, means no class, as 255 does."""

    colours: Mapping[int, Colour]

    @classmethod
    def of(cls, palette: Palette) -> Legend:
        """Every class's colour."""
        black = {} if (0, 0, 0) in palette else {IGNORE: (0, 0, 0)}
        return cls(colours={**dict(enumerate(palette)), **black})


_ANY = value_table({value: value for value in range(256)})  # `checked` says which values are of no class


def read_map(file: Path, legend: Legend, size_HW: tuple[int, int]) -> LabelMap:
    """A label map of train ids; palettes and colours are read as those of a data set's labels are.

    A map of another size is refused before it is decoded.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    declared = stored_size(data, str(file))
    if declared != size_HW:
        raise DataError(f"{size_of(declared)} pixels, the image has {size_of(size_HW)}")
    label_HW, _ = read_value_label(data, str(file), _ANY, legend.colours)
    return label_HW


def checked(prediction: LabelMap, classes: Sequence[str]) -> LabelMap:
    """`prediction`, if it has no values of no class."""
    values = present_values(prediction).tolist()
    wrong = [value for value in values if len(classes) <= value != IGNORE]
    if wrong:
        raise DataError(f"values of no class: {some([str(value) for value in wrong])}")
    return prediction


def size_of(size_HW: tuple[int, ...]) -> str:
    return f"{size_HW[1]}x{size_HW[0]}"
