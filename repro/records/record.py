"""The record of a result: measured and published values, verdict and provenance.

Records are stored in git as `reports/rows/<experiment>.json`. They are the only source of tables, reports,
the gate and exports, and MLflow can be rebuilt from them. A content hash detects manual edits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.errors import ParamsError, RecordError, UnknownNameError
from repro.io.atomic import canonical, sha256_text, write_json
from repro.io.json_reader import read_json
from repro.params.parse import PlainName, parse
from repro.records.flatten import drop_neutral_defaults
from repro.records.schema import PART_SCHEMAS, ShownProtocol, require
from repro.records.verdict import Kind, Verdict

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The reference of a verdict: value and half-width of the band in percent points, and its source."""

    metric: str
    value: float
    band: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Results of the same weights and split under another protocol; units as in Record."""

    n_images: int
    metrics: Mapping[str, float]
    undefined: Mapping[str, str] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]]
    interval: str = ""
    per_class: Mapping[str, float | None]
    protocol: Mapping[str, Any]
    protocol_hash: str

    @property
    def interval_kind(self) -> str:
        return self.interval or ungrouped(self.n_images)


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Statistics over results that differ only in the seed, including this one; percent points."""

    metric: str
    values: Mapping[str, float]  # experiment -> its value
    mean: float
    sd: float  # sample standard deviation (n - 1)
    half: float | None  # 95 % prediction interval of one run: mean ± half; None for fewer than three


@dataclass(frozen=True, kw_only=True)
class Replicate:
    """A measurement of the same training (run key) on another machine, with different weights; percent."""

    content_hash: str  # of its record, in the git history and MLflow
    model_sha256: str | None
    metrics: Mapping[str, float]
    at: str  # UTC
    device: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """A result. Metrics, intervals and per_class are percent; cost is the content of cost.json."""

    schema: int = SCHEMA
    experiment: PlainName
    rows: tuple[str, ...]  # published rows of this result, e.g. ("003-028",)
    kind: Kind
    dataset: PlainName
    dataset_fingerprint: str
    split: PlainName
    n_images: int
    metrics: Mapping[str, float]  # mIoU, aAcc, mAcc, fwIoU, and the same with _ms_flip
    undefined: Mapping[str, str] = field(default_factory=dict)  # metric without a value (0/0) -> why
    intervals: Mapping[str, tuple[float, float]]  # metric -> 95 % interval
    interval: str = ""  # kind of the intervals: "95 % percentile bootstrap over 500 images"; "": `ungrouped`
    per_class: Mapping[str, float | None]  # class -> IoU; None: the class is not in the split
    protocol: Mapping[str, Any]
    protocol_hash: str
    also: Mapping[PlainName, Measured] = field(default_factory=dict)  # results by additional protocol
    cost: Mapping[str, Any]
    published: Mapping[str, float]  # metric -> value of the row
    expectation: Expected | None
    verdict: Verdict
    seeds: Seeds | None = None  # None if there were no other seeds at the time of recording
    replicates: tuple[Replicate, ...] = ()  # other measurements of this training, newest first
    notes: tuple[str, ...] = ()  # remarks on the row, and why a result is incomparable
    model_sha256: str | None
    params: Mapping[str, Any]  # the resolved experiment
    run_key: PlainName
    provenance: Mapping[str, Any]
    content_hash: str = field(default="")  # sha256 of everything above

    @property
    def interval_kind(self) -> str:
        """Description of the intervals."""
        return self.interval or ungrouped(self.n_images)

    @property
    def primary(self) -> str:
        """The metric of the verdict."""
        return self.expectation.metric if self.expectation else "mIoU"

    @cached_property
    def family_key(self) -> str:
        """A hash that is equal for experiments that differ only in the seed."""
        own = ("name", "seed", "note", "expect", "rows", "also")
        same = {k: v for k, v in drop_neutral_defaults(self.params).items() if k not in own}
        if "facts" in same:
            same["facts"] = _counts(same["facts"])
        return sha256_text(canonical({**same, "kind": self.kind}))[:16]


def _counts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Number of classes and of images: the rest of a data set's declaration is in its fingerprint."""
    classes = facts["classes"]
    return {
        "classes": classes if isinstance(classes, int) else len(classes),
        "splits": facts["splits"],
    }


_NARROW = "too narrow where these are frames of one video or tiles of one image"


def ungrouped(images: int) -> str:
    """Return the kind of an interval without a name, from before images were resampled in groups."""
    return f"95 % percentile bootstrap over {images} single images ({_NARROW})"


def to_json(record: Record) -> dict[str, Any]:
    """Convert a record to JSON types, with its content hash."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(replace(record, content_hash="")), allow_nan=False))
    del plain["content_hash"]
    return plain | {"content_hash": sha256_text(canonical(plain))}


def from_json(raw: Mapping[str, Any], where: object) -> Record:
    """Parse a record from JSON types. Raises RecordError for an unknown schema or edited content."""
    if raw.get("schema") != SCHEMA:
        raise RecordError(
            f"record of schema {raw.get('schema')!r}", where=where, allowed=f"schema {SCHEMA}", hint=_HINT
        )
    try:
        record = parse(Record, raw, where)
    except ParamsError as error:
        raise RecordError(
            f"not a record: {error.what}", where=where, allowed=error.allowed, hint=_HINT
        ) from None
    _check_parts(raw, where)
    body = {key: value for key, value in raw.items() if key != "content_hash"}
    if _hash(body, where) != record.content_hash:
        raise RecordError(
            "the record was edited after it was written", where=where, allowed="`repro record`", hint=_HINT
        )
    return record


def _check_parts(raw: Mapping[str, Any], where: object) -> None:
    """Raise RecordError for invalid parts that the dataclass declares as plain mappings."""
    for name, shape in PART_SCHEMAS.items():
        require(shape, raw[name], where, prefix=f"not a record: {name}.", hint=_HINT)
    for name, further in raw.get("also", {}).items():
        require(
            ShownProtocol,
            further["protocol"],
            where,
            prefix=f"not a record: also.{name}.protocol.",
            hint=_HINT,
        )


def _hash(body: Mapping[str, Any], where: object) -> str:
    try:
        return sha256_text(canonical(body))
    except ValueError as error:  # NaN and infinity
        raise RecordError(f"not a record: {error}", where=where, hint=_HINT) from None


def write_record(path: Path, record: Record) -> Record:
    """Write `record` atomically and return it with its content hash."""
    plain = to_json(record)
    write_json(path, plain)
    return replace(record, content_hash=plain["content_hash"])


def read_record(path: Path) -> Record:
    """Read and validate a record. Raises RecordError if it is damaged, UnknownNameError if it is missing."""
    try:
        return from_json(read_json(path, hint=_HINT), path)
    except FileNotFoundError:
        known = (p.stem for p in path.parent.glob("*.json"))
        raise UnknownNameError("record", path.stem, known, hint=f"`repro run {path.stem}`") from None


def read_row(path: Path) -> Record:
    """`read_record` that also raises RecordError if the file has another experiment's name."""
    record = read_record(path)
    if record.experiment != path.stem:
        raise RecordError(f"the record of '{record.experiment}' is named '{path.stem}'", where=path)
    return record


def read_records(folder: Path) -> tuple[dict[str, Record], dict[str, RecordError]]:
    """Read all records of a folder; return the valid ones and the errors, both by experiment and sorted."""
    records: dict[str, Record] = {}
    damaged: dict[str, RecordError] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            records[path.stem] = read_row(path)
        except RecordError as error:
            damaged[path.stem] = error
    return records, damaged


_HINT = "git checkout the file, or run `repro record NAME` again"
