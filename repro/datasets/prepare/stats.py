"""Class frequencies and image sizes of prepared splits, as a table and as a plot."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repro.datasets.formats.image_io import count_values
from repro.datasets.prepare.prepare import SplitProgress
from repro.datasets.prepare.prepared_split import Split
from repro.datasets.sets.spec import IGNORE
from repro.io import text_table
from repro.io.text_table import LEFT, RIGHT
from repro.io.threads import cores


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Statistics of a prepared split: pixels and images per class, ignored pixels, image sizes."""

    split: str
    images: int
    pixels_C: NDArray[np.int64]
    images_C: NDArray[np.int64]  # number of images with the class
    ignored: int
    sizes: Counter[tuple[int, int]]  # width, height

    @property
    def share(self) -> NDArray[np.float64]:
        """Percent of the pixels, without ignored ones."""
        return np.asarray(100 * self.pixels_C / max(1, int(self.pixels_C.sum())))


def stats(split: Split, *, progress: SplitProgress | None = None) -> Stats:
    """Count the labels of a prepared split; a split without labels has only sizes."""
    classes, name = len(split.classes), str(split.facts["split"])
    histograms = np.zeros((len(split), 256), dtype=np.int64)
    if split.labelled:
        with ThreadPoolExecutor(cores()) as pool:
            for i, histogram in enumerate(pool.map(lambda i: _histogram(split, i), range(len(split)))):
                histograms[i] = histogram
                if progress:
                    progress(name, i + 1, len(split))
    return Stats(
        split=name,
        images=len(split),
        pixels_C=histograms[:, :classes].sum(axis=0),
        images_C=np.count_nonzero(histograms[:, :classes], axis=0),
        ignored=int(histograms[:, IGNORE].sum()),
        sizes=Counter((sample.width, sample.height) for sample in split.samples),
    )


def _histogram(split: Split, i: int) -> NDArray[np.int64]:
    return count_values(split.label(i))


def markdown(classes: tuple[str, ...], found: list[Stats]) -> str:
    """Return a table of classes (percent of pixels, number of images) and one of splits, as markdown."""
    head = ("class", *(f"{s.split}: {what}" for s in found for what in ("% of pixels", "images")))
    lines = [[name, *(cell for s in found for cell in _of_class(s, c))] for c, name in enumerate(classes)]
    splits = ("split", "images", "ignored %", "sizes")
    return (
        text_table.markdown(head, lines, align=(LEFT, *[RIGHT] * 2 * len(found)))
        + "\n\n"
        + text_table.markdown(splits, map(_of_split, found), align=(LEFT, RIGHT, RIGHT, LEFT))
        + "\n"
    )


def _of_class(found: Stats, c: int) -> tuple[str, str]:
    return f"{found.share[c]:.3f}", str(found.images_C[c])


def _of_split(found: Stats) -> tuple[str, ...]:
    void = 100 * found.ignored / max(1, found.ignored + int(found.pixels_C.sum()))
    return found.split, str(found.images), f"{void:.2f}", _sizes(found.sizes)


def plot(classes: tuple[str, ...], found: list[Stats], path: Path) -> None:
    """Plot the class frequencies of every split as bars on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, max(3.0, 0.22 * len(classes) + 1)), layout="constrained")
    thick = 0.8 / len(found)
    for i, s in enumerate(found):
        axes.barh(np.arange(len(classes)) + i * thick, np.maximum(s.share, 1e-4), thick, label=s.split)
    axes.set_yticks(np.arange(len(classes)) + 0.4, classes, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("% of pixels, without ignored ones")
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    common = [f"{width}x{height} ({count})" for (width, height), count in sizes.most_common(3)]
    return ", ".join(common) + (f", {len(sizes) - 3} more" if len(sizes) > 3 else "")
