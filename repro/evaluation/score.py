"""Score label maps of any program, a folder with one map per image, against a prepared split.

`map_files` says which files are read. Missing and extra maps are reported before scoring.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from repro.errors import DataError, some_of
from repro.evaluation.confusion import LabelMap
from repro.evaluation.image_counts import ImageCounts, count_image, evaluated_classes, true_label
from repro.evaluation.map_files import ALLOWED, SHOWN, Legend, match, read_map, require_classes
from repro.evaluation.summary import EvaluationResult, Images, Progress, summarise
from repro.evaluation.visualize import Palette
from repro.params.protocol import Protocol


def score(
    predictions: Path,
    split: Images,
    *,
    palette: Palette,
    protocol: Protocol,
    progress: Progress | None = None,
    keep: Callable[[int, LabelMap, LabelMap], None] | None = None,
) -> EvaluationResult:
    """Evaluate the label maps in `predictions` on `split`.

    Args:
        predictions: folder with a map per image.
        split: images and labels.
        palette: RGB colours of the classes.
        protocol: ignored labels and metrics; scales, flips and tiles are not used.
        progress: called after each image.
        keep: called with (index, truth, prediction) of every image, to save visualisations.

    Raises:
        DataError: lists every file that is missing, extra or invalid.
    """
    classes = evaluated_classes(split.classes, protocol)
    number = min(len(split), protocol.first or len(split))
    files = match(predictions, split.ids[:number], unused=split.ids[number:])
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
        if keep is not None:
            keep(i, truth, prediction)
        seen.append(count_image(i, truth, {"": prediction}, len(classes), protocol))
        if progress is not None:
            progress(i + 1, number)
    if wrong:
        raise DataError(
            f"{len(wrong)} of {number} label maps cannot be scored: {some_of(wrong, SHOWN)}",
            where=predictions,
            allowed=f"maps of the image's size with train ids, or as PNG in the classes' colours; {ALLOWED}",
        )
    return summarise(seen, split, number, classes=classes, protocol=protocol)
