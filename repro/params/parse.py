"""Strict parsing of mappings into frozen dataclasses, and shared annotated types.

The dataclass is the schema: its annotations give types and bounds (`Literal`, `annotated_types.Gt`, ...).
Lists become tuples and integers are accepted as floats; nothing else is converted.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, cast

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from repro.errors import ParamsError
from repro.io.names import is_plain_name
from repro.params.problems import problem, types_in

T = TypeVar("T")
# `tries: Later[Count] = 11`: a field that was added after the first release, with a default that changes
# nothing. Run keys and seed families leave it out while it has its default, so adding it changes no key.
LATER = "later"
Later = Annotated[T, LATER]


def parse(cls: type[T], raw: Mapping[str, Any], where: object) -> T:
    """Parse a mapping into a frozen dataclass.

    Args:
        cls: The dataclass.
        raw: Keys and values, e.g. from YAML.
        where: The source, for errors; or a function from the location of a key to its source.

    Raises:
        ParamsError: Unknown or missing key, or invalid value.
    """
    try:
        return cast(T, _adapter(cast(Any, cls)).validate_json(json.dumps(raw, default=str), strict=True))
    except ValidationError as error:
        loc, found = problem(cls, raw, error)
        source = where(loc) if callable(where) else where
        raise ParamsError(found.what, where=source, allowed=found.allowed, hint=found.hint) from None


def to_plain(value: object) -> Any:
    """Convert a params dataclass to JSON-ready dicts and lists."""
    return json.loads(json.dumps(dataclasses.asdict(value)))  # type: ignore[call-overload]


@lru_cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    _forbid_extra(cls)
    return TypeAdapter(cls)


def _forbid_extra(cls: Any) -> None:
    """Reject unknown keys in `cls` and in every dataclass it contains."""
    if "__pydantic_config__" in vars(cls):
        return
    cls.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
    for hint in typing.get_type_hints(cls).values():
        for part in types_in(hint):
            if dataclasses.is_dataclass(part):
                _forbid_extra(part)


Count = Annotated[int, Gt(0), Le(10**9)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
BelowOne = Annotated[float, Ge(0), Lt(1)]
Byte = Annotated[int, Ge(0), Le(255)]
ResizeRule = Literal["half_pixel", "align_corners", "tf_legacy"]


def _plain(text: str) -> str:
    if not is_plain_name(text):
        raise PydanticCustomError("plain_name", "not a plain name")
    return text


PlainName = Annotated[str, AfterValidator(_plain)]  # becomes part of a path
