"""The files of an evaluation: metrics.json, confusion.npz, confusion.csv; no times, no hosts in them."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from repro.errors import RecordError
from repro.evaluation.confusion import Confusions, Counts
from repro.evaluation.metrics import Absent, chosen_classes
from repro.evaluation.summary import EvaluationResult
from repro.records import write_bytes, write_json

NO_CLASS = "(none)"  # the column of pixels that were given to no class


def write_result(result: EvaluationResult, folder: Path, *, split: str) -> None:
    """All files of `result` into `folder`, each whole or not at all; metrics.json, which names them, last."""
    arrays = pack(result.confusions) | {
        "ids": np.array(result.ids),
        "classes": np.array(result.classes),
        "protocol": np.array(result.protocol_hash),
        "fingerprint": np.array(result.fingerprint),
        "split": np.array(split),
        "chosen": chosen_classes(result.classes, result.protocol.mean_over),
        "absent": np.array(result.protocol.absent),
    }
    write_bytes(folder / "confusion.npz", npz(arrays))
    write_bytes(folder / "confusion.csv", table(result.confusions[""].total(), result.classes).encode())
    write_json(folder / "metrics.json", metrics_json(result, split=split))


def metrics_json(result: EvaluationResult, *, split: str) -> dict[str, object]:
    """What metrics.json holds: numbers first, then the tables by class."""
    flat = {name: value for name, value in result.metrics.items() if not isinstance(value, dict)}
    nested = {name: value for name, value in result.metrics.items() if isinstance(value, dict)}
    return flat | {"split": split} | nested


def table(matrix: Counts, classes: Sequence[str]) -> str:
    """actual,predicted,count for every pair of classes, in the form that `dvc plots` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["actual", "predicted", "count"])
    columns = [*classes, NO_CLASS] if matrix[:, -1].any() else list(classes)
    for actual, row in zip(classes, matrix.tolist(), strict=True):
        writer.writerows([actual, predicted, pixels] for predicted, pixels in zip(columns, row, strict=False))
    return text.getvalue()


@dataclass(frozen=True, kw_only=True)
class StoredConfusions:
    """What confusion.npz holds; `confusions` by suffix of the metrics."""

    confusions: Mapping[str, Confusions]
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    protocol: str
    fingerprint: str
    split: str
    chosen: npt.NDArray[np.intp]  # classes in the means
    absent: Absent


def read_confusions(path: Path) -> StoredConfusions:
    """Read a confusion.npz; RecordError when it is missing or damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return StoredConfusions(
                confusions=unpack(arrays),
                ids=tuple(arrays["ids"].tolist()),
                classes=tuple(arrays["classes"].tolist()),
                protocol=str(arrays["protocol"]),
                fingerprint=str(arrays["fingerprint"]),
                split=str(arrays["split"]),
                chosen=arrays["chosen"].astype(np.intp),
                absent="zero" if arrays["absent"] == "zero" else "skip",
            )
    except FileNotFoundError as error:
        hint = f"`repro evaluate {path.parent.name}` or `dvc pull` makes it"
        raise RecordError("no per-image confusion matrices", where=path, hint=hint) from error
    except (ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        hint = f"`repro evaluate {path.parent.name}` writes it again"
        raise RecordError(f"damaged confusion matrices: {error}", where=path, hint=hint) from error


def pack(confusions: Mapping[str, Confusions]) -> dict[str, npt.NDArray[np.generic]]:
    """Confusions as named arrays; counts as small as they can be."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for suffix, one in confusions.items():
        arrays["shape" + suffix] = np.array([one.images, one.classes])
        arrays["image" + suffix] = one.image
        arrays["cell" + suffix] = one.cell
        small = one.pixels.max(initial=0) < 2**32
        arrays["pixels" + suffix] = one.pixels.astype(np.uint32 if small else np.int64)
    return arrays


def unpack(arrays: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, Confusions]:
    """The inverse of `pack`."""
    suffixes = [name.removeprefix("shape") for name in arrays if name.startswith("shape")]
    return {suffix: _unpack(arrays, suffix) for suffix in suffixes}


def _unpack(arrays: Mapping[str, npt.NDArray[np.generic]], suffix: str) -> Confusions:
    images, classes = arrays["shape" + suffix].tolist()
    return Confusions(
        images=images,
        classes=classes,
        image=arrays["image" + suffix].astype(np.int32),
        cell=arrays["cell" + suffix].astype(np.int32),
        pixels=arrays["pixels" + suffix].astype(np.int64),
    )


def npz(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Arrays as a compressed .npz; equal arrays give equal bytes (members carry no times)."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
