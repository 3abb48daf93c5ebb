"""Schemas of records, journals, metrics.json and cost.json, validated on reading.

Declared keys have the declared type; other keys are allowed. Values are validated but never converted,
because a record's content hash covers the text as written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repro.errors import RecordError

LATEST = 253_402_300_799  # Unix time: the end of the year 9999, the limit of datetime
Time = Annotated[float, Ge(0), Le(LATEST)]
Step = Annotated[int, Ge(0), Le(2**53)]
Percent = float | None
Amount = Annotated[float, Ge(0)]
_Mapping = dict[str, Any]
Size = Annotated[list[float], MinLen(2), MaxLen(2)]


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, defer_build=True)


class Cost(_Open):
    """cost.json and the cost of a record; units are in the names."""

    params_M: Amount | None = None
    gmacs_conv: Amount | None = None
    gmacs_thop: Amount | None = None
    batch: Amount | None = None
    runs: Amount | None = None
    images_per_s: Amount | None = None
    peak_memory_MiB: Amount | None = None
    latency_ms_p50: Amount | None = None
    latency_ms_p95: Amount | None = None
    latency_ms_mean: Amount | None = None
    launch_ms_mean: Amount | None = None
    train_images_per_s: Amount | None = None
    train_iterations_per_s: Amount | None = None
    train_memory_MiB: Amount | None = None
    input_size: Size | None = Field(default=None, description="[height, width]")
    precision: str | None = None
    device: _Mapping | str | None = Field(default=None, description="a mapping, or a text")


class Git(_Open):
    commit: str | None = None
    dirty: bool | None = None


class Training(_Open):
    """Provenance of a training, from its journal."""

    at: str = ""
    git: Git = Git()
    device: _Mapping = Field(default_factory=dict)


class Provenance(Training):
    training: Training = Training()
    packages: _Mapping = Field(default_factory=dict)
    locks: _Mapping = Field(default_factory=dict)


class Params(_Open):
    """The params of a record that tables and MLflow show; `Experiment` has all of them."""

    name: str = ""
    dataset: str = ""
    recipe: str = ""
    seed: int = 0
    note: str = ""
    model: _Mapping = Field(default_factory=dict)
    augmentation: _Mapping = Field(default_factory=dict)
    training: _Mapping = Field(default_factory=dict)
    facts: _Mapping = Field(default_factory=dict)


class ShownProtocol(_Open):
    """The protocol fields of a record that tables show; `Protocol` has all of them."""

    mode: str | None = None
    scales: list[float] = Field(default_factory=list)
    crop: Size | None = Field(default=None, description="[height, width]")
    base: Size | None = Field(default=None, description="[width, height]")
    zero_tile: str | None = None


class Metrics(_Open):
    """metrics.json: these keys, and every metric as a number, or null if it is undefined."""

    __pydantic_extra__: dict[str, Percent]

    split: str
    n_images: Annotated[int, Ge(0), Le(2**53)]
    protocol: str
    IoU: dict[str, Percent]
    Dice: dict[str, Percent] = Field(default_factory=dict)
    precision: dict[str, Percent] = Field(default_factory=dict)
    recall: dict[str, Percent] = Field(default_factory=dict)
    dataset_fingerprint: str = ""
    model_sha256: str = ""
    program_sha256: str = ""  # of the program that predicted, for external experiments
    interval: str = ""  # kind of the intervals
    undefined: dict[str, str] = Field(default_factory=dict)  # metric -> why it is null


class Line(_Open):
    """Any line of a journal."""

    at: Time = 0.0
    kind: str


class MetricsLine(Line):
    step: Step
    values: dict[str, float]


class ProvenanceLine(Line):
    found: Provenance


class EndLine(Line):
    status: Literal["FINISHED", "FAILED", "KILLED"]


PART_SCHEMAS: dict[str, type[BaseModel]] = {  # of a record
    "params": Params,
    "cost": Cost,
    "provenance": Provenance,
    "protocol": ShownProtocol,
}
LINE_SCHEMAS: dict[str, type[Line]] = {"metrics": MetricsLine, "provenance": ProvenanceLine, "end": EndLine}


def first_error(shape: type[BaseModel], found: object) -> tuple[str, str] | None:
    """Return the first error as (what, allowed), e.g. ('git.commit is 3', 'a text'), or None."""
    try:
        shape.model_validate(found)
    except ValidationError as error:
        return _message(shape, found, error.errors(include_url=False)[0])
    return None


def _message(shape: type[BaseModel], found: Any, first: Mapping[str, Any]) -> tuple[str, str]:
    """(what is wrong, what is allowed); fields with a description are shown as a whole."""
    loc: tuple[str | int, ...] = first["loc"]
    if not loc:
        return "it is not a mapping", "a mapping"
    if first["type"] == "missing":
        needed = [name for name, field in shape.model_fields.items() if field.is_required()]
        return f"missing key '{'.'.join(map(str, loc))}'", "all of " + ", ".join(needed)
    field = shape.model_fields.get(str(loc[0]))
    if field and field.description:
        return f"{loc[0]} is {found[loc[0]]!r}"[:100], field.description
    words = _WORDS.get(first["type"], first["msg"].removeprefix("Input should be "))
    return f"{'.'.join(map(str, loc))} is {first['input']!r}"[:100], words


_WORDS = {
    "float_type": "a number",
    "greater_than_equal": "0 or more",
    "int_type": "an integer",
    "string_type": "a text",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def require(
    shape: type[BaseModel], found: Mapping[str, Any], where: object, *, prefix: str = "", hint: str
) -> None:
    """Raise RecordError if `found` does not match the schema."""
    wrong = first_error(shape, found)
    if wrong:
        raise RecordError(f"{prefix}{wrong[0]}", where=where, allowed=wrong[1], hint=hint)
