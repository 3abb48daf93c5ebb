"""The Python interface of a project: results as data frames, curves, matrices, plots and predictions.

Files are read when they are asked for. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.errors import RecordError, UnknownNameError
from repro.evaluation.outputs import NO_CLASS, read_table
from repro.evaluation.summary import class_tables
from repro.io import limits
from repro.params import Experiment, Project, find_project, load_experiment, load_trained
from repro.params.names import experiment_names
from repro.records import Record, read_record
from repro.records.metrics_io import CURVE, read_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Image = npt.NDArray[np.uint8]


def open_zoo(folder: str | Path = ".") -> Zoo:
    """Open the project that contains `folder`.

    Raises:
        ParamsError: `folder` is not inside a project.

    Example:
        zoo = repro.open(".")
        zoo.results().query("verdict == 'reproduced'")
    """
    return Zoo(find_project(Path(folder)))


class Zoo(Mapping[str, "Result"]):
    """A project: a mapping from the names of its experiments to their results."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def __repr__(self) -> str:
        return f"<Zoo {self.project.root.name}: {len(self)} experiments>"

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Result:
        """The result of an experiment. Raises UnknownNameError, a KeyError, with the closest name."""
        if name not in self._names:
            raise UnknownExperiment("experiment", name, self._names, hint="`list(zoo)` shows all")
        return Result(project=self.project, name=name)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        recorded = (path.stem for path in self.project.rows.glob("*.json"))
        return tuple(sorted({*experiment_names(self.project), *recorded}))

    def results(self) -> pd.DataFrame:
        """A row per result, published and measured: the columns of `repro table --format csv` (docs/json.md).

        Metrics are percent. What is not known is NaN in a column of numbers and None in one of texts.
        """
        from repro.reports.results import load_results

        return load_results(self.project).to_frame()

    def check(self) -> pd.DataFrame:
        """The verdict on each measured experiment: the gate of `repro check`, with intervals recomputed."""
        from dataclasses import asdict

        from repro.reports.gate import check
        from repro.reports.results import load_results

        findings = check(load_results(self.project, thorough=True))
        columns = ["experiment", "verdict", "tier", "metric", "measured", "reference", "band", "reason"]
        return pd.DataFrame([asdict(one) for one in findings], columns=columns)


class UnknownExperiment(UnknownNameError, KeyError):
    """No such experiment in the project."""

    __str__ = UnknownNameError.__str__


@dataclass(frozen=True)
class Result:
    """An experiment and what was measured of it. Get one from a Zoo: `zoo["camvid_mobilenetv2_os16"]`."""

    project: Project
    name: str

    def __repr__(self) -> str:
        return f"<Result {self.name}>"

    @cached_property
    def params(self) -> Experiment:
        """The experiment's resolved parameters. Raises ParamsError if its params.yaml is invalid."""
        return load_experiment(self.project, self.name)

    @cached_property
    def record(self) -> Record:
        """The record in git. Raises UnknownNameError if nothing is recorded, RecordError if it is damaged."""
        return read_record(self.project.record(self.name))

    def per_class(self) -> pd.DataFrame:
        """IoU, recall, precision and Dice in percent, a row per class; NaN where a class is absent (0/0)."""
        counts = self.confusion()
        names = tuple(counts.index)
        full = counts.reindex(columns=[*names, NO_CLASS], fill_value=0).to_numpy()
        ignored = int(self.record.protocol.get("ignore_index", 255))
        tables = class_tables(full, names, ignored=ignored)
        return pd.DataFrame(tables, dtype=float).rename_axis("class")

    def curve(self) -> pd.DataFrame:
        """The training curve: columns loss, lr and val_mIoU (percent) by step; NaN where nothing was logged.

        Empty if the experiment was not trained here.
        """
        points = read_curve(self._folder / "curve.csv")
        columns = {name: pd.Series(dict(points.get(name, [])), dtype=float) for name in CURVE}
        return pd.DataFrame(columns).rename_axis("step").sort_index()

    def confusion(self, variant: str = "") -> pd.DataFrame:
        """Pixels of the whole split, a row per true class and a column per predicted class.

        A column `(none)` is added where pixels were predicted as no class.

        Args:
            variant: "" for the plain prediction, "_ms_flip" for several scales and mirror images.

        Raises:
            RecordError: nothing was evaluated, or not this variant.
        """
        path = self._folder / "confusion.csv"
        try:
            text = limits.read_text(path, limits.CSV_BYTES, error=RecordError)
        except FileNotFoundError:
            hint = f"`repro run {self.name}`"
            raise RecordError("nothing was evaluated", where=path, hint=hint) from None
        totals = read_table(text, path)
        if variant not in totals.matrices:
            raise RecordError(
                f"no matrix of the variant {variant!r}",
                where=path,
                allowed=", ".join(map(repr, totals.matrices)),
                hint=f"`repro evaluate {self.name}` measures what its protocol says",
            )
        matrix, names = totals.matrices[variant], list(totals.classes)
        frame = pd.DataFrame(matrix, index=names, columns=[*names, NO_CLASS])
        frame = frame if frame[NO_CLASS].any() else frame.drop(columns=NO_CLASS)
        return frame.rename_axis(index="actual", columns="predicted")

    def plot_curve(self, ax: Axes | None = None) -> Axes:
        """Draw loss and validation mIoU over the steps with matplotlib; returns the axes of the loss."""
        curve, ax = self.curve(), _axes(ax)
        curve["loss"].dropna().plot(ax=ax, color="C0", label="loss")
        ax.set(xlabel="step", ylabel="loss", title=self.name)
        if curve["val_mIoU"].notna().any():
            right = ax.twinx()
            curve["val_mIoU"].dropna().plot(ax=right, color="C1", marker=".", label="validation mIoU")
            right.set_ylabel("validation mIoU (%)")
            handles = ax.get_lines() + right.get_lines()
            ax.legend(handles=handles, labels=[str(line.get_label()) for line in handles])
        return ax

    def plot_confusion(self, ax: Axes | None = None, variant: str = "") -> Axes:
        """Draw the confusion matrix in percent of each true class with matplotlib; returns the axes."""
        counts, ax = self.confusion(variant), _axes(ax)
        share = 100 * counts.div(counts.sum(axis=1).replace(0, np.nan), axis=0)
        image = ax.imshow(share.to_numpy(), vmin=0, vmax=100, cmap="Blues")
        ax.set_xticks(range(share.shape[1]), list(share.columns), rotation=90)
        ax.set_yticks(range(share.shape[0]), list(share.index))
        ax.set(xlabel="predicted", ylabel="actual", title=self.name)
        ax.figure.colorbar(image, ax=ax, label="% of the pixels of the class")
        return ax

    def predict(self, image_HWC: Image, *, device: str = "auto") -> Image:
        """Segment an image with the trained weights, under the experiment's own protocol.

        Args:
            image_HWC: RGB, uint8, [H, W, 3].
            device: cpu, cuda or auto.

        Returns:
            Class ids, uint8, [H, W].

        Raises:
            CheckpointError: the weights are missing or do not fit; `dvc pull` fetches them.
            DataError: not an RGB image.
        """
        from repro.errors import DataError

        if image_HWC.ndim != 3 or image_HWC.shape[2] != 3 or image_HWC.dtype != np.uint8:
            what = f"an image of shape {image_HWC.shape} and dtype {image_HWC.dtype}"
            raise DataError(what, allowed="RGB pixels, uint8, [H, W, 3]")
        label: Image = self._predictor(device)([np.ascontiguousarray(image_HWC)])[0][""]
        return label

    def _predictor(self, device: str) -> Any:
        """Built once per device, so that a loop over images loads the weights once."""
        known: dict[str, Any] = self.__dict__.setdefault("_predictors", {})
        if device not in known:
            from repro.io.sources import trust
            from repro.stages.model_setup import chosen_device, trained_predictor

            place, experiment = chosen_device(device), load_trained(self.project, self.name)
            trust(self.project.root)
            protocol = experiment.protocol.single_variant(ms_flip=False)
            known[device] = trained_predictor(self.project, experiment, protocol=protocol, device=place)
        return known[device]

    @property
    def _folder(self) -> Path:
        return self.project.experiment_folder(self.name)


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]
