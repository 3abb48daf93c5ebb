"""Bands of results by data set: the block `bands:` of the root params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt

from repro.errors import ParamsError
from repro.io.names import plain_name
from repro.params.parse import parse


@dataclass(frozen=True, kw_only=True)
class Band:
    """A half-width in percent points, and its source."""

    value: Annotated[float, Gt(0)]
    source: str


def parse_bands(raw: object, where: object) -> Mapping[str, Band]:
    """Return data set -> band of a network trained here, from `bands:`; {} without the block.

    Raises ParamsError for anything but a mapping of bands.
    """
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        allowed = "`camvid: {value: 0.8, source: ...}` for each data set"
        raise ParamsError(f"bands: {raw!r}"[:200], where=where, allowed=allowed)
    return {plain_name(name, where=where): _band(name, one, where) for name, one in raw.items()}


def _band(name: object, raw: object, where: object) -> Band:
    if not isinstance(raw, Mapping):
        allowed = "{value: percent points, source: where it comes from}"
        raise ParamsError(f"bands.{name}: {raw!r}"[:200], where=where, allowed=allowed)
    return parse(Band, raw, f"{where}: bands.{name}")
