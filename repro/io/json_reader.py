"""Strict JSON reader: bounded size and depth, finite numbers, no duplicate keys."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from repro.errors import RecordError, ReproError
from repro.io import limits
from repro.io.git import has_conflict, merge_conflict

Error = type[ReproError]


def read_json(path: Path, *, error: Error = RecordError, hint: str | None = None) -> dict[str, Any]:
    """Read a JSON object from a file. Raises `error` if it is invalid, FileNotFoundError if it is missing."""
    return load_json(
        limits.read_limited(path, limits.JSON_BYTES, error=error, hint=hint), path, error=error, hint=hint
    )


def load_json(
    data: bytes | str, where: object, *, error: Error = RecordError, hint: str | None = None
) -> dict[str, Any]:
    """Parse a JSON object within `repro.io.limits`. Raises `error`, which names `where`, if it is invalid.

    NaN, infinities, numbers beyond float64 and duplicate keys are invalid.
    """
    limits.require_size(len(data), limits.JSON_BYTES, where, error=error, hint=hint)
    try:
        found = parse_json(data)
    except ValueError as wrong:
        if has_conflict(data):
            raise merge_conflict(where, error) from None
        raise error(f"not JSON: {wrong}", where=where, hint=hint) from None
    if not isinstance(found, dict):
        raise error("not a JSON object", where=where, allowed='{"key": value, ...}', hint=hint)
    return found


def parse_json(data: bytes | str) -> Any:
    """Parse any JSON value. Raises ValueError if it is invalid or exceeds the limits of depth and digits."""
    try:
        found = json.loads(
            data,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_no_constant,
            object_pairs_hook=_mapping,
        )
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if _is_deeper(found):
        raise ValueError(_TOO_DEEP)
    return found


_TOO_DEEP = f"nested more than {limits.DEPTH} levels deep"


def _is_deeper(value: object) -> bool:
    """Whether a value has more than limits.DEPTH levels; iterative, to avoid Python's recursion limit."""
    level: Sequence[object] = [value]
    for _ in range(limits.DEPTH + 1):
        level = [child for one in level for child in _children(one)]
        if not level:
            return False
    return True


def _children(value: object) -> Sequence[object]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()


def _integer(text: str) -> int:
    if len(text) > limits.DIGITS:
        raise ValueError(f"a number has {len(text)} digits, more than {limits.DIGITS}")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} exceeds float64")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a finite number")


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"duplicate key '{next(key for key in keys if keys.count(key) > 1)}'")
    return found
