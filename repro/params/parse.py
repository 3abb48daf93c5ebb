"""Mappings into frozen dataclasses, strictly: the one place where untyped data becomes typed.

Types and bounds are read from the dataclass itself (`Literal`, `annotated_types.Gt`, ...), so a params
class is its own schema. Lists become tuples, integers may stand for floats, nothing else is converted.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from repro.errors import ParamsError
from repro.params.problems import problem, types_in

T = TypeVar("T")


def parse(cls: type[T], raw: Mapping[str, Any], where: object) -> T:
    """`raw` as an instance of the frozen dataclass `cls`; `where` names the source in errors.

    Where several sources were merged, `where` is a function from the way to a key to its source.
    """
    try:
        return cast(T, _adapter(cast(Any, cls)).validate_json(json.dumps(raw, default=str), strict=True))
    except ValidationError as error:
        loc, told = problem(cls, error)
        source = where(loc) if callable(where) else where
        raise ParamsError(told.what, where=source, allowed=told.allowed, hint=told.hint) from None


def to_plain(value: object) -> Any:
    """A params dataclass as JSON-ready dicts and lists."""
    return json.loads(json.dumps(dataclasses.asdict(value)))  # type: ignore[call-overload]


@lru_cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    _forbid_extra(cls)
    return TypeAdapter(cls)


def _forbid_extra(cls: Any) -> None:
    """Unknown keys are errors in `cls` and in every dataclass it contains."""
    if "__pydantic_config__" in vars(cls):
        return
    cls.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
    for hint in typing.get_type_hints(cls).values():
        for part in types_in(hint):
            if dataclasses.is_dataclass(part):
                _forbid_extra(part)
