"""Output files of an evaluation: metrics.json, confusion.npz, confusion.csv, without times and host names."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from repro.errors import RecordError
from repro.evaluation.bootstrap import Groups
from repro.evaluation.confusion import Confusions, Counts
from repro.evaluation.metrics import Absent, chosen_classes
from repro.io import limits
from repro.io.safe_text import cell_text, csv_cell
from repro.records import write_bytes, write_json

if TYPE_CHECKING:
    from repro.evaluation.summary import EvaluationResult

MOST_CLASSES = 255  # labels are one byte
EXACT = 2**53  # pixels; sums are float64
NO_CLASS = "(none)"  # the column of pixels predicted as no class
COLUMNS, VARIANT = ("actual", "predicted", "count"), "variant"


def write_result(
    result: EvaluationResult, folder: Path, *, split: str, model_sha256: str = "", program_sha256: str = ""
) -> None:
    """Write all files of `result` into `folder`, each atomically, metrics.json last."""
    arrays = pack(result.confusions) | {
        "ids": np.array(result.ids),
        "classes": np.array(result.classes),
        "protocol": np.array(result.protocol_hash),
        "fingerprint": np.array(result.fingerprint),
        "split": np.array(split),
        "chosen": chosen_classes(result.classes, result.protocol.mean_over),
        "absent": np.array(result.protocol.absent),
    }
    write_bytes(folder / "confusion.npz", npz(arrays | pack_groups(result.groups)))
    totals = {suffix: one.total() for suffix, one in result.confusions.items()}
    write_bytes(folder / "confusion.csv", table(totals, result.classes).encode())
    content = metrics_json(result, split=split, model_sha256=model_sha256, program_sha256=program_sha256)
    write_json(folder / "metrics.json", content)


def metrics_json(
    result: EvaluationResult, *, split: str, model_sha256: str = "", program_sha256: str = ""
) -> dict[str, Any]:
    """Content of metrics.json: metrics, tables per class, identity of data and weights.

    `model_sha256` is that of the experiment's weights; `repro score` and foreign weights have none.
    `program_sha256` is that of the program that predicted, for external experiments.
    """
    flat = {name: value for name, value in result.metrics.items() if not isinstance(value, dict)}
    nested = {name: value for name, value in result.metrics.items() if isinstance(value, dict)}
    made_by = {"model_sha256": model_sha256, "program_sha256": program_sha256}
    known = {name: value for name, value in made_by.items() if value}
    return flat | {"split": split} | nested | {"dataset_fingerprint": result.fingerprint, **known}


def table(totals: Mapping[str, Counts], classes: Sequence[str]) -> str:
    """CSV with actual,predicted,count per pair of classes, as `dvc plots` reads it.

    `totals` maps suffixes of metrics to matrices of the whole split [C, C + 1]. With several, the column
    `variant` contains the suffix, so that all committed metrics can be recomputed from the file.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names, several = list(map(csv_cell, classes)), len(totals) > 1
    writer.writerow([*COLUMNS, VARIANT] if several else COLUMNS)
    for suffix, matrix in totals.items():
        columns = [*names, NO_CLASS] if matrix[:, -1].any() else names
        end = [suffix] if several else []
        for actual, row in zip(names, matrix.tolist(), strict=True):
            writer.writerows([actual, name, pixels, *end] for name, pixels in zip(columns, row, strict=False))
    return text.getvalue()


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Content of confusion.csv: matrices of the whole split [C, C + 1] by suffix of the metrics."""

    classes: tuple[str, ...]
    matrices: Mapping[str, Counts]


def read_table(text: str, where: object) -> Totals:
    """The inverse of `table`; RecordError for invalid content."""
    try:
        header, *lines = csv.reader(io.StringIO(text))
        if header not in ([*COLUMNS], [*COLUMNS, VARIANT]) or any(len(line) != len(header) for line in lines):
            raise ValueError(f"columns {', '.join(header)}")
        lines = [[*map(cell_text, line[:2]), *line[2:]] for line in lines]
        classes = tuple(dict.fromkeys(line[0] for line in lines))
        suffixes = dict.fromkeys(line[3] if len(line) > 3 else "" for line in lines)
        matrices = {
            suffix: _matrix([line for line in lines if "".join(line[3:]) == suffix], classes)
            for suffix in suffixes
        }
        return Totals(classes=classes, matrices=matrices)
    except (ValueError, csv.Error) as error:
        hint = "restore it with git checkout, or run `repro evaluate NAME`"
        raise RecordError(f"not a confusion matrix: {error}", where=where, hint=hint) from None


def _matrix(lines: Sequence[Sequence[str]], classes: tuple[str, ...]) -> Counts:
    """One matrix [C, C + 1]; ValueError unless every pair of classes has one non-negative count."""
    size = len(classes)
    width = size + 1 if len(lines) == size * (size + 1) else size
    pairs = [(actual, predicted) for actual in classes for predicted in (*classes, NO_CLASS)[:width]]
    if [(line[0], line[1]) for line in lines] != pairs:
        raise ValueError("expected one line per pair of classes")
    if not all(line[2].isascii() and line[2].isdigit() and len(line[2]) <= 18 for line in lines):
        raise ValueError("a count is not an integer")
    counts = np.array([int(line[2]) for line in lines], np.int64).reshape(size, width)
    return np.pad(counts, ((0, 0), (0, size + 1 - width)))


@dataclass(frozen=True, kw_only=True)
class StoredConfusions:
    """Content of confusion.npz; `confusions` by suffix of the metrics."""

    confusions: Mapping[str, Confusions]
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    protocol: str
    fingerprint: str
    split: str
    chosen: npt.NDArray[np.intp]  # classes in the means
    absent: Absent
    groups: Groups | None = None  # None for independent images and for files of older versions


def read_confusions(path: Path) -> StoredConfusions:
    """Read a confusion.npz; RecordError if it is missing, corrupt or invalid."""
    hint = f"run `repro evaluate {path.parent.name}`"
    try:
        data = limits.read_limited(path, limits.NPZ_BYTES, error=RecordError, hint=hint)
    except FileNotFoundError as error:
        what = "no confusion matrices per image"
        raise RecordError(what, where=path, hint=f"{hint} or `dvc pull`") from error
    return parse_confusions(data, path)


def parse_confusions(data: bytes, where: Path) -> StoredConfusions:
    """Parse a confusion.npz; RecordError for invalid content."""
    try:
        return _stored(data)
    except Exception as error:  # numpy, zipfile and zlib raise a dozen kinds for damaged bytes
        what, hint = f"corrupt confusion matrices: {error}", f"run `repro evaluate {where.parent.name}`"
        raise RecordError(what, where=where, hint=hint) from error


def _stored(data: bytes) -> StoredConfusions:
    """Parse a confusion.npz; raises ValueError, or what numpy raises."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(info.file_size for info in archive.infolist()) > limits.NPZ_BYTES:
            raise ValueError(f"more than {limits.NPZ_BYTES / limits.MiB:g} MiB unpacked")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        stored = StoredConfusions(
            confusions=unpack(arrays),
            ids=_texts(arrays["ids"]),
            classes=_texts(arrays["classes"]),
            protocol=_text(arrays["protocol"]),
            fingerprint=_text(arrays["fingerprint"]),
            split=_text(arrays["split"]),
            chosen=_whole(arrays["chosen"], "chosen", below=len(arrays["classes"])).astype(np.intp),
            absent="zero" if _text(arrays["absent"]) == "zero" else "skip",
            groups=unpack_groups(arrays),
        )
    shape = (len(stored.ids), len(stored.classes))
    if "" not in stored.confusions or any(_shape(one) != shape for one in stored.confusions.values()):
        raise ValueError(f"the matrices are not of {shape[0]} images and {shape[1]} classes")
    return stored


def _shape(one: Confusions) -> tuple[int, int]:
    return one.images, one.classes


def _text(array: npt.NDArray[np.generic]) -> str:
    if array.shape != () or array.dtype.kind != "U":
        raise ValueError("expected a string")
    return str(array)


def _texts(array: npt.NDArray[np.generic]) -> tuple[str, ...]:
    """A non-empty list of unique names."""
    names = tuple(array.tolist()) if array.ndim == 1 and array.dtype.kind == "U" else ()
    if not names or len(set(names)) < len(names):
        raise ValueError("missing or duplicate names")
    return names


def _whole(array: npt.NDArray[Any], name: str, *, below: int) -> npt.NDArray[Any]:
    """A list of integers in [0, below)."""
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"'{name}' is not a list of integers")
    if array.size and not (array.min() >= 0 and array.max() < below):
        raise ValueError(f"'{name}' has a number outside 0 to {below - 1}")
    return array


def pack(confusions: Mapping[str, Confusions]) -> dict[str, npt.NDArray[np.generic]]:
    """Confusions as named arrays, with counts in the smallest integer type."""
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
    """Unpack one variant; ValueError if its arrays are inconsistent."""
    shape = _whole(arrays["shape" + suffix], "shape", below=2**31)
    if shape.shape != (2,) or not 0 < shape[1] <= MOST_CLASSES:
        raise ValueError(f"'shape' is not [images, classes up to {MOST_CLASSES}]")
    images, classes = shape.tolist()
    found = Confusions(
        images=images,
        classes=classes,
        image=_whole(arrays["image" + suffix], "image", below=images).astype(np.int32),
        cell=_whole(arrays["cell" + suffix], "cell", below=classes * (classes + 1)).astype(np.int32),
        pixels=_whole(arrays["pixels" + suffix], "pixels", below=EXACT).astype(np.int64),
    )
    if not len(found.image) == len(found.cell) == len(found.pixels):
        raise ValueError("'image', 'cell' and 'pixels' differ in length")
    if found.pixels.sum(dtype=np.float64) > EXACT:
        raise ValueError("more pixels than can be counted exactly")
    return found


def pack_groups(groups: Groups | None) -> dict[str, npt.NDArray[np.generic]]:
    """Groups as named arrays; an empty dict without groups."""
    if groups is None:
        return {}
    return {
        "groups": np.array(groups.names),
        "group_noun": np.array(groups.noun),
        "group_block": np.array(groups.block),
    }


def unpack_groups(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Groups | None:
    """The inverse of `pack_groups`; ValueError unless there is one group per image."""
    if "groups" not in arrays:
        return None
    names, images = arrays["groups"], len(arrays["ids"])
    if names.shape != (images,) or names.dtype.kind != "U":
        raise ValueError(f"{names.size} groups for {images} images")
    block = _whole(arrays["group_block"].reshape(-1), "group_block", below=2**31)
    return Groups(names=tuple(names.tolist()), noun=_text(arrays["group_noun"]), block=int(block[0]))


def npz(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Arrays as a compressed .npz without timestamps: equal arrays give equal bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
