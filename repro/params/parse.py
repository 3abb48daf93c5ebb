"""YAML and JSON into frozen dataclasses, strictly: the one place where untyped data becomes typed.

Types and bounds are read from the dataclass itself (`Literal`, `annotated_types.Gt`, ...), so a params
class is its own schema. Lists become tuples, integers may stand for floats, nothing else is converted.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from repro.errors import ParamsError
from repro.params.problems import problem, types_in

T = TypeVar("T")
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is about 8 times faster


class _Twice(yaml.YAMLError):
    """A key that stands twice in a mapping: YAML takes the last one without a word, DVC refuses it."""

    def __init__(self, key: str, first: int, again: int) -> None:
        lines = f"line {first}" if first == again else f"lines {first} and {again}"
        super().__init__(f"key '{key}' stands twice, in {lines}")


class _Loader(_Safe):  # type: ignore[misc]
    """YAML's safe types, and no key twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._flat: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Looked at once, before `<<` lays the keys of another mapping beside its own."""
        if id(node) not in self._flat:
            self._flat.add(id(node))
            _check_keys(node)
        super().flatten_mapping(node)


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        line, name = key.start_mark.line + 1, (key.tag, str(key.value))
        if name in lines:
            raise _Twice(str(key.value), lines[name], line)
        lines[name] = line


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; a missing, unreadable or non-mapping file is a ParamsError."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError as error:
        raise ParamsError(
            "params file is missing", where=path, hint="`repro list` shows what exists"
        ) from error
    except _Twice as error:
        raise ParamsError(str(error), where=path, hint="keep one of them") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"not valid YAML: {error}", where=path) from error
    if not isinstance(raw, dict):
        raise ParamsError("expected a mapping of keys to values", where=path, allowed="key: value lines")
    return raw


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
