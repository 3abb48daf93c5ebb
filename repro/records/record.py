"""The record of one result: what was measured, what was published, the verdict, and where it all comes from.

`reports/rows/<experiment>.json` in git. The only source of every table, report, gate and export; MLflow is
rebuilt from it. A content hash tells a record that was edited by hand.
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
from repro.records.flatten import without_neutral
from repro.records.schema import PARTS, Shown, require
from repro.records.verdict import Kind, Verdict

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a metric should be: reference value, half band (percent points both), and why."""

    metric: str
    value: float
    band: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The same weights on the same split under another protocol; units as in Record."""

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
    """Results that differ in their seed alone, this one among them; percent points."""

    metric: str
    values: Mapping[str, float]  # experiment -> its value
    mean: float
    sd: float  # of the sample: divided by n - 1
    half: float | None  # 95 % prediction interval of one run: mean ± half; None for fewer than three


@dataclass(frozen=True, kw_only=True)
class Replicate:
    """The same training (run key) measured elsewhere: other weights, as processors differ; percent."""

    content_hash: str  # of its record, which git history and MLflow hold
    model_sha256: str | None
    metrics: Mapping[str, float]
    at: str  # UTC
    device: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One result. Metrics, intervals and per_class are percent; cost is what cost.json holds."""

    schema: int = SCHEMA
    experiment: PlainName
    rows: tuple[str, ...]  # published rows this result stands for, e.g. ("003-028",)
    kind: Kind
    dataset: PlainName
    dataset_fingerprint: str
    split: PlainName
    n_images: int
    metrics: Mapping[str, float]  # mIoU, aAcc, mAcc, fwIoU, and the same with _ms_flip
    undefined: Mapping[str, str] = field(default_factory=dict)  # metric without a value (0/0) -> why
    intervals: Mapping[str, tuple[float, float]]  # metric -> 95 % interval
    interval: str = ""  # their kind: "95 % percentile bootstrap over 500 images"; "": see `ungrouped`
    per_class: Mapping[str, float | None]  # class -> IoU; None: the class is not in the split
    protocol: Mapping[str, Any]
    protocol_hash: str
    also: Mapping[PlainName, Measured] = field(default_factory=dict)  # further protocol -> what it gave
    cost: Mapping[str, Any]
    published: Mapping[str, float]  # metric -> value of the row
    expectation: Expected | None
    verdict: Verdict
    seeds: Seeds | None = None  # its family, where there was one when this was recorded
    replicates: tuple[Replicate, ...] = ()  # other measurements of this training, the newest first
    notes: tuple[str, ...] = ()  # why a result is incomparable, what a reader must know
    model_sha256: str | None
    params: Mapping[str, Any]  # the resolved experiment
    run_key: PlainName
    provenance: Mapping[str, Any]
    content_hash: str = field(default="")  # sha256 of everything above

    @property
    def interval_kind(self) -> str:
        """What kind the intervals are, in words."""
        return self.interval or ungrouped(self.n_images)

    @property
    def primary(self) -> str:
        """The metric the verdict is about."""
        return self.expectation.metric if self.expectation else "mIoU"

    @cached_property
    def family_key(self) -> str:
        """Equal for experiments that differ in their seed alone."""
        own = ("name", "seed", "note", "expect", "rows", "also")
        same = {k: v for k, v in without_neutral(self.params).items() if k not in own}
        return sha256_text(canonical({**same, "kind": self.kind}))[:16]


_NARROW = "too narrow where these are frames of one video or tiles of one image"


def ungrouped(images: int) -> str:
    """The kind of an interval that names none, made before related images were drawn together."""
    return f"95 % percentile bootstrap over {images} single images ({_NARROW})"


def to_json(record: Record) -> dict[str, Any]:
    """The record as JSON types, with its content hash filled in."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(replace(record, content_hash="")), allow_nan=False))
    del plain["content_hash"]
    return plain | {"content_hash": sha256_text(canonical(plain))}


def from_json(raw: Mapping[str, Any], where: object) -> Record:
    """A record from JSON types; RecordError when the schema is unknown or the content was edited."""
    if raw.get("schema") != SCHEMA:
        raise RecordError(
            f"record of schema {raw.get('schema')!r}", where=where, allowed=f"schema {SCHEMA}", hint=_AGAIN
        )
    try:
        record = parse(Record, raw, where)
    except ParamsError as error:
        raise RecordError(
            f"not a record: {error.what}", where=where, allowed=error.allowed, hint=_AGAIN
        ) from None
    _check_parts(raw, where)
    body = {key: value for key, value in raw.items() if key != "content_hash"}
    if _hash(body, where) != record.content_hash:
        raise RecordError(
            "the record was changed after it was measured", where=where, allowed="`repro record`", hint=_AGAIN
        )
    return record


def _check_parts(raw: Mapping[str, Any], where: object) -> None:
    """RecordError where a part that the dataclass leaves open is not what its readers take it for."""
    for name, shape in PARTS.items():
        require(shape, raw[name], where, prefix=f"not a record: {name}.", hint=_AGAIN)
    for name, further in raw.get("also", {}).items():
        require(Shown, further["protocol"], where, prefix=f"not a record: also.{name}.protocol.", hint=_AGAIN)


def _hash(body: Mapping[str, Any], where: object) -> str:
    try:
        return sha256_text(canonical(body))
    except ValueError as error:  # NaN and infinity, which no record that was written here holds
        raise RecordError(f"not a record: {error}", where=where, hint=_AGAIN) from None


def write_record(path: Path, record: Record) -> Record:
    """Write `record` atomically; returns it with its content hash."""
    plain = to_json(record)
    write_json(path, plain)
    return replace(record, content_hash=plain["content_hash"])


def read_record(path: Path) -> Record:
    """Read and check one record; RecordError when it is missing, damaged or edited."""
    try:
        return from_json(read_json(path, hint=_AGAIN), path)
    except FileNotFoundError:
        known = (p.stem for p in path.parent.glob("*.json"))
        raise UnknownNameError("record", path.stem, known, hint=f"`repro run {path.stem}` makes it") from None


def read_row(path: Path) -> Record:
    """As `read_record`; RecordError too where the record is filed under another experiment's name."""
    record = read_record(path)
    if record.experiment != path.stem:
        raise RecordError(f"the record of '{record.experiment}' is filed as '{path.stem}'", where=path)
    return record


def read_records(folder: Path) -> tuple[dict[str, Record], dict[str, RecordError]]:
    """Experiment -> record of a folder (reports/rows), sorted; and of those that cannot be believed, why.

    An absent folder has none of either.
    """
    records: dict[str, Record] = {}
    damaged: dict[str, RecordError] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            records[path.stem] = read_row(path)
        except RecordError as error:
            damaged[path.stem] = error
    return records, damaged


_AGAIN = "git checkout the file, or make it again with `repro record NAME`"
