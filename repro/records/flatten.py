"""Nested parameters as dotted keys, and removal of neutral default values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from repro.params.experiment import kind_of
from repro.params.parse import LATER, to_plain
from repro.params.problems import types_in


def leaves(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of everything that is not a mapping."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings as dotted keys, with sequences as text: {"model.aspp": "6, 12, 18"}."""
    return {
        name: ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        for name, value in leaves(nested)
    }


@cache
def neutral_defaults(cls: Any) -> Mapping[str, object]:
    """Return the fields of a params dataclass that are declared as `Later`: dotted key -> default."""
    hints, plain, found = get_type_hints(cls, include_extras=True), get_type_hints(cls), dict[str, object]()
    for one in fields(cls):
        if LATER in getattr(hints[one.name], "__metadata__", ()):
            found[one.name] = _default(one)
        parts: list[Any] = [part for part in types_in(plain[one.name]) if is_dataclass(part)]
        for part in parts:
            found |= {f"{one.name}.{key}": value for key, value in neutral_defaults(part).items()}
    return found


def _default(one: Field[Any]) -> object:
    """The default of a field as JSON has it."""
    default = one.default if one.default_factory is MISSING else one.default_factory()
    return list(default) if isinstance(default, tuple) else default


@cache
def defaults(cls: Any) -> Mapping[str, object]:
    """Return the defaults of a params dataclass and of those in it, by dotted key, as `flatten` shows."""
    plain, found = get_type_hints(cls), dict[str, object]()
    for one in fields(cls):
        parts: list[Any] = [part for part in types_in(plain[one.name]) if is_dataclass(part)]
        for part in parts:
            found |= {f"{one.name}.{key}": value for key, value in defaults(part).items()}
        value: Any = one.default_factory() if callable(one.default_factory) else one.default
        if value is not MISSING:
            found |= flatten({one.name: to_plain(value) if is_dataclass(value) else value})
    return found


def drop_neutral_defaults(plain: Mapping[str, Any], cls: Any = None) -> dict[str, Any]:
    """Return the params of an experiment without the later fields that have their default.

    Run keys and seed families are computed from this, so adding such a field does not change them. `cls` is
    the class of the experiment; default: that which the params describe.
    """
    kept = dict(plain)
    shape: Any = cls or kind_of(plain)
    for path, neutral in neutral_defaults(shape).items():
        _drop(kept, path.split("."), neutral)
    return kept


def _drop(block: dict[str, Any], path: Sequence[str], neutral: object) -> None:
    """Remove the key at `path` if it has this value; nested blocks are copied, not modified."""
    name, *rest = path
    if rest and isinstance(block.get(name), Mapping):
        block[name] = dict(block[name])
        _drop(block[name], rest, neutral)
    elif not rest and name in block and block[name] == neutral:
        del block[name]
