"""pydantic's validation errors as messages: key, value, allowed values, closest key."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import ValidationError

from repro.errors import nearest
from repro.io.names import ALLOWED

Loc = tuple[int | str, ...]  # location of a key: ("training", "steps", 0)
Found = Mapping[str, Any]  # an item of ValidationError.errors()


@dataclasses.dataclass(frozen=True)
class Problem:
    """The parts of a ParamsError without `where`."""

    what: str
    allowed: str | None = None
    hint: str | None = None


def problem(cls: Any, raw: object, error: ValidationError) -> tuple[Loc, Problem]:
    """Return the location and the message of the first problem in `raw`.

    Unknown keys take precedence: a misspelt key is often the reason for a missing one.
    """
    errors = _without_alternatives([dict(e) | {"shown": _shown(raw, e)} for e in error.errors()])
    first = min(errors, key=lambda e: e["type"] != "unexpected_keyword_argument")
    key = ".".join(str(part) for part in first["shown"] if part != "[key]") or "(top level)"
    found = _MESSAGES.get(first["type"], _wrong_value)(cls, first, key)
    if len(errors) > 1:
        found = dataclasses.replace(found, what=f"{found.what} (and {len(errors) - 1} more)")
    return first["shown"], found


def _shown(raw: object, found: Found) -> Loc:
    """The location of an error in the file, without the alternatives of a union: ("classes", "int")."""
    kept: list[int | str] = []
    *_, last = loc = found["loc"] or ("",)
    for part in loc:
        keys = {str(key): key for key in raw} if isinstance(raw, Mapping) else {}
        if str(part) in keys:
            raw = cast(Any, raw)[keys[str(part)]]
        elif isinstance(raw, list | tuple) and isinstance(part, int):
            raw = raw[part] if part < len(raw) else None
        elif part != "[key]" and not (part == last and "missing" in found["type"]):
            continue
        kept.append(part)
    return tuple(kept)


def _without_alternatives(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One error per value: of the alternative that fits best, or with all allowed types."""
    kept: list[dict[str, Any]] = []
    for one in errors:
        same = next((other for other in kept if other["shown"] == one["shown"][: len(other["shown"])]), None)
        if same is None:
            kept.append(one)
        elif same["type"].endswith("_type") and not one["type"].endswith("_type"):
            same |= one
        elif same["type"].endswith("_type") and same["msg"] != one["msg"]:
            same["msg"] = f"{same['msg']}, or {one['msg'].removeprefix('Input should be ')}"
    return kept


def _unknown_key(cls: Any, found: Found, key: str) -> Problem:
    known = _keys_at(cls, found["loc"][:-1])
    return Problem(f"unknown key '{key}'", ", ".join(known), _did_you_mean(found["loc"][-1], known))


def _invalid_combination(cls: Any, found: Found, key: str) -> Problem:
    return Problem(f"invalid combination in '{key}'", found["msg"].partition(", ")[2])


def _missing(cls: Any, found: Found, key: str) -> Problem:
    if isinstance(found["loc"][-1], int):
        return Problem(f"key '{key.rpartition('.')[0]}' has too few values", _length_at(cls, found["loc"]))
    return Problem(f"missing key '{key}'", hint="add it, or choose a recipe that has it")


def _wrong_value(cls: Any, found: Found, key: str) -> Problem:
    allowed = str(found["msg"]).removeprefix("Input should be ").strip()
    allowed = "keys with values" if allowed == "an object" else allowed.replace("a valid array", "a list")
    return Problem(f"key '{key}': got {found['input']!r}", allowed)


def _not_a_choice(cls: Any, found: Found, key: str) -> Problem:
    wrong = _wrong_value(cls, found, key)
    choices = [choice.strip("' ") for choice in str(wrong.allowed).replace(" or ", ",").split(",")]
    return dataclasses.replace(wrong, hint=_did_you_mean(found["input"], choices))


def _not_a_name(cls: Any, found: Found, key: str) -> Problem:
    return Problem(f"key '{key}': got {found['input'][:80]!r}", ALLOWED)


def _not_a_number(cls: Any, found: Found, key: str) -> Problem:
    return dataclasses.replace(_wrong_value(cls, found, key), hint=_number_hint(found["input"]))


def _not_a_list(cls: Any, found: Found, key: str) -> Problem:
    wrong, value = _wrong_value(cls, found, key), found["input"]
    if not isinstance(value, str | int | float):
        return wrong
    return dataclasses.replace(wrong, allowed="a list", hint=f"use brackets: `{key}: [{value}]`")


_MESSAGES: dict[str, Callable[[Any, Found, str], Problem]] = {
    "unexpected_keyword_argument": _unknown_key,
    "value_error": _invalid_combination,
    "missing": _missing,
    "missing_argument": _missing,
    "missing_keyword_only_argument": _missing,
    "literal_error": _not_a_choice,
    "plain_name": _not_a_name,
    "float_type": _not_a_number,
    "tuple_type": _not_a_list,
}


def _did_you_mean(name: object, known: list[str]) -> str | None:
    near = nearest(str(name), known)
    return f"did you mean '{near}'?" if near else None


def _number_hint(text: object) -> str | None:
    """Hint for quoted numbers and for '5e-2', which YAML 1.1 reads as text without a dot or exponent sign."""
    try:
        finite = math.isfinite(float(str(text)))
    except ValueError:
        return None
    if not finite:
        return None
    digits, e, power = str(text).lower().partition("e")
    if not e:
        return "remove the quotes"
    sign = "" if power[0] in "+-" else "+"
    return f"YAML reads {text} as text: write {digits}{'' if '.' in digits else '.0'}e{sign}{power}"


def types_in(hint: Any) -> list[Any]:
    """Return a type and all its arguments, recursively."""
    return [hint, *(part for arg in typing.get_args(hint) for part in types_in(arg))]


def _length_at(cls: Any, loc: Loc) -> str | None:
    """The number of values of the tuple that contains `loc`."""
    hint = _type_at(cls, loc[:-1]).hint
    lengths = [len(typing.get_args(part)) for part in types_in(hint) if typing.get_origin(part) is tuple]
    return f"{lengths[0]} values" if lengths else None


def _keys_at(cls: Any, loc: Loc) -> list[str]:
    """Field names of the dataclass at `loc` below `cls`."""
    return [field.name for field in dataclasses.fields(_type_at(cls, loc).innermost)]


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a location below a dataclass leads."""

    innermost: Any  # dataclass on the path
    hint: Any  # type of the last field, or None


def _type_at(cls: Any, loc: Loc) -> _Place:
    hint: Any = None
    inner: list[Any] = []
    for part in loc:
        chosen = [one for one in inner if len(inner) > 1 and one.__name__ == part]
        if chosen:
            cls, inner = chosen[0], []
            continue
        hint = typing.get_type_hints(cls).get(str(part)) if dataclasses.is_dataclass(cls) else None
        inner = [p for p in types_in(hint) if dataclasses.is_dataclass(p)] if hint else []
        cls = inner[0] if inner else cls
    return _Place(cls, hint)
