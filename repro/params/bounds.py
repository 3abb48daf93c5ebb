"""What values a parameter may have: the bounds and names that several blocks share."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from repro.plain_names import is_plain_name

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
