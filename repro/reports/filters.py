"""Conditions on lines of `repro list`: `verdict=reproduced`, `published>=50`, `camvid_*`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt
from typing import Any

from repro.errors import ParamsError, UnknownNameError

Line = Mapping[str, Any]
ORDER: dict[str, Callable[[float, float], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le}
FIELDS = (
    *("experiment", "dataset", "rows", "label", "recipe", "backbone", "output_stride"),
    *("published", "measured", "gap", "verdict"),
)


def chosen(lines: Sequence[Line], conditions: Sequence[str]) -> list[Line]:
    """The lines that meet all conditions; ParamsError for one that cannot be read."""
    tests = [condition(text) for text in conditions]
    return [line for line in lines if all(test(line) for test in tests)]


def condition(text: str) -> Callable[[Line], bool]:
    """FIELD=PATTERN, FIELD!=PATTERN, FIELD>NUMBER (>=, <, <=), or a PATTERN of names."""
    found = re.fullmatch(r"\s*(\w+)\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*", text)
    if found is None:
        return lambda line: fnmatchcase(line["experiment"], text.strip())
    field, sign, wanted = found.groups()
    if field not in FIELDS:
        raise UnknownNameError("field", field, FIELDS)
    if re.search(rf",\s*({'|'.join(FIELDS)})\s*[!=<>]", wanted):
        hint = "give each a --filter of its own; all must hold"
        raise ParamsError(f"several conditions in '{text}'", where="--filter", hint=hint)
    if sign in ORDER:
        bound = _number(wanted, text)
        return lambda line: line[field] is not None and ORDER[sign](_number(line[field], text), bound)
    return lambda line: _matches(line[field], wanted) == (sign == "=")


def _matches(value: object, pattern: str) -> bool:
    """A pattern on text, equality on numbers, any element of a list; `none` is what is not known."""
    if isinstance(value, (list, tuple)):
        return any(_matches(one, pattern) for one in value)
    if isinstance(value, float):
        return pattern != "none" and value == _number(pattern, pattern)
    return fnmatchcase("none" if value is None else str(value), pattern)


def _number(value: object, text: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
        if not math.isfinite(number):  # nothing is above or below what is no number
            raise ValueError(number)
        return number
    except (TypeError, ValueError):
        hint = "published, measured, gap and output_stride are numbers"
        raise ParamsError(f"no number in '{text}'", where="--filter", hint=hint) from None
