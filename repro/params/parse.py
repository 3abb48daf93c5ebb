"""YAML and JSON into frozen dataclasses, strictly: the one place where untyped data becomes typed.

Types and bounds are read from the dataclass itself (`Literal`, `annotated_types.Gt`, ...), so a params
class is its own schema. Lists become tuples, integers may stand for floats, nothing else is converted.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from repro.errors import ParamsError, nearest

T = TypeVar("T")
Loc = tuple[int | str, ...]  # the way to a key: ("training", "steps", 0)
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
        raw = yaml.load(path.read_text(), Loader=_Loader)
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
        raise _params_error(cls, error, where) from None


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
        for part in _flatten(hint):
            if dataclasses.is_dataclass(part):
                _forbid_extra(part)


def _flatten(hint: Any) -> list[Any]:
    return [hint, *(part for arg in typing.get_args(hint) for part in _flatten(arg))]


def _params_error(cls: Any, error: ValidationError, where: object) -> ParamsError:
    """One problem of a ValidationError in our words: key, value, what is allowed, nearest key.

    An unknown key goes first: misspelt, it is also what a missing one is missing for.
    """
    first = min(error.errors(include_url=False), key=lambda e: e["type"] != "unexpected_keyword_argument")
    key = ".".join(str(part) for part in first["loc"]) or "(top level)"
    allowed = hint = None
    if first["type"] == "unexpected_keyword_argument":
        known = _keys_at(cls, first["loc"][:-1])
        near = nearest(str(first["loc"][-1]), known)
        what, allowed = f"unknown key '{key}'", ", ".join(known)
        hint = f"did you mean '{near}'?" if near else None
    elif first["type"] == "value_error":
        what, allowed = f"keys of '{key}' that do not fit each other", first["msg"].partition(", ")[2]
    elif first["type"] == "missing" and isinstance(first["loc"][-1], int):
        what, allowed = f"key '{key.rpartition('.')[0]}' has too few values", _length_at(cls, first["loc"])
    elif first["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        what, hint = f"missing key '{key}'", "add it, or choose a recipe that has it"
    else:
        what = f"key '{key}': got {first['input']!r}"
        allowed = str(first["msg"]).removeprefix("Input should be ").strip()
        if allowed == "an object":
            allowed = "keys with values"
        if first["type"] == "literal_error":
            near = nearest(
                str(first["input"]), [c.strip("' ") for c in allowed.replace(" or ", ",").split(",")]
            )
            hint = f"did you mean '{near}'?" if near else None
        elif first["type"] == "float_type":
            hint = _number_hint(first["input"])
        elif first["type"] == "tuple_type" and isinstance(first["input"], str | int | float):
            allowed, hint = "a list", f"in brackets: `{key}: [{first['input']}]`"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    source = where(first["loc"]) if callable(where) else where
    return ParamsError(what + more, where=source, allowed=allowed, hint=hint)


def _number_hint(text: object) -> str | None:
    """For '5e-2', which YAML 1.1 reads as text (a number has a dot and a signed exponent), and for '0.1'."""
    try:
        finite = math.isfinite(float(str(text)))
    except ValueError:
        return None
    if not finite:
        return None
    digits, e, power = str(text).lower().partition("e")
    if not e:
        return "a number stands without quotes"
    sign = "" if power[0] in "+-" else "+"
    return f"YAML reads {text} as text: write {digits}{'' if '.' in digits else '.0'}e{sign}{power}"


def _length_at(cls: Any, loc: Loc) -> str | None:
    """How many values the tuple takes in which `loc` ends."""
    _, hint = _walked(cls, loc[:-1])
    lengths = [len(typing.get_args(part)) for part in _flatten(hint) if typing.get_origin(part) is tuple]
    return f"{lengths[0]} of them" if lengths else None


def _keys_at(cls: Any, loc: Loc) -> list[str]:
    """Field names of the dataclass found by walking `loc` down from `cls`."""
    return [field.name for field in dataclasses.fields(_walked(cls, loc)[0])]


def _walked(cls: Any, loc: Loc) -> tuple[Any, Any]:
    """(the innermost dataclass on the way `loc` down from `cls`, the type of its last step or None)."""
    hint: Any = None
    for part in loc:
        hint = typing.get_type_hints(cls).get(str(part)) if dataclasses.is_dataclass(cls) else None
        inner = [p for p in _flatten(hint) if dataclasses.is_dataclass(p)] if hint else []
        cls = inner[0] if inner else cls
    return cls, hint
