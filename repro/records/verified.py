"""reports/verified/NAME.json: what `repro verify` last found of the released weights of an experiment.

    {"row": ID, "at": UTC, "verdict": ..., "inputs": {...},
     "numbers": {METRIC: {"published": 54.1, "measured": 54.13}}}

`inputs` is everything that the numbers depend on, so that a number that moved is explained by what changed:
weights, network, files of the project, package, protocol, data, engine, versions of packages, device.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from repro.errors import ParamsError, RecordError
from repro.io.atomic import write_json
from repro.io.json_reader import read_json
from repro.params.parse import parse
from repro.params.protocol import Protocol
from repro.params.protocol_words import protocol_differences
from repro.records.flatten import leaves

HASHES = {"weights": "weights", "data": "data"}  # of `inputs`, shown by their first digits
DIGITS, CHARACTERS = 8, 60
HINT = "git checkout the file, or remove it: `repro verify NAME --accept` writes it again"


@dataclass(frozen=True, kw_only=True)
class Number:
    """A published metric and what was measured of it, in percent; None: not measured under the protocol."""

    published: float
    measured: float | None


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The last accepted verification of an experiment; `at` is when the weights were evaluated, in UTC."""

    row: str
    at: str
    verdict: str
    numbers: Mapping[str, Number]
    inputs: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        """`at` in seconds since 1970."""
        return datetime.fromisoformat(self.at).timestamp()


def read_verified(path: Path) -> Verified | None:
    """Return the last verification; None without the file. Raises RecordError if it is damaged."""
    if not path.is_file():
        return None
    raw = read_json(path, error=RecordError, hint=HINT)
    try:
        found = parse(Verified, raw, path)
        _ = found.seconds
    except (ParamsError, ValueError) as error:
        what = f"not a verification: {error.what if isinstance(error, ParamsError) else error}"
        raise RecordError(what, where=path, hint=HINT) from None
    return found


def write_verified(path: Path, verified: Verified) -> None:
    """Write reports/verified/NAME.json atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(verified))


def moved(before: Verified | None, now: Verified, *, tolerance: float) -> list[str]:
    """Return the metrics that are not what they were last time, or at first not what the page prints.

    Args:
        before: The last verification; None for the first one.
        now: This verification.
        tolerance: Difference in percent points up to which a number has not moved.
    """
    return [name for name in now.numbers if _moved(_reference(before, now, name), now, name, tolerance)]


def _reference(before: Verified | None, now: Verified, metric: str) -> float | None:
    known = before.numbers.get(metric) if before else None
    return known.measured if known else now.numbers[metric].published


def _moved(reference: float | None, now: Verified, metric: str, tolerance: float) -> bool:
    measured = now.numbers[metric].measured
    if reference is None or measured is None:
        return reference != measured and now.verdict != "unmeasured"
    return abs(measured - reference) > tolerance + 1e-9


def changes(before: Verified | None, now: Verified) -> list[str]:
    """Return in words what differs from the last time: published numbers, then everything of `inputs`.

    Example: ["torch 2.9.1 → 2.10.0", "zoo/nets.py edited", "protocol: image size none → 520x520"]
    """
    if before is None:
        return []
    return [*_of_page(before, now), *_of_inputs(_plain(before.inputs), _plain(now.inputs))]


def _of_page(before: Verified, now: Verified) -> Iterator[str]:
    if before.row != now.row:
        yield f"row {before.row} → {now.row}"
    for name in before.numbers.keys() & now.numbers.keys():
        one, other = before.numbers[name].published, now.numbers[name].published
        if one != other:
            yield f"published {name} {one:.2f} → {other:.2f}"


def _of_inputs(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield from _of_protocol(before.get("protocol") or {}, now.get("protocol") or {})
    one, other = (_leaves_without_protocol(inputs) for inputs in (before, now))
    for key in dict.fromkeys([*one, *other]):
        if one.get(key) != other.get(key):
            yield _named(key, one.get(key), other.get(key))


def _leaves_without_protocol(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(leaves({key: value for key, value in inputs.items() if key != "protocol"}))


def _of_protocol(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs in words; the hash alone differs if the classes do."""
    one, other = (_defaults() | {k: v for k, v in fields.items() if k != "hash"} for fields in (before, now))
    found = protocol_differences(one, other, between="→")
    if not found and before.get("hash") != now.get("hash"):
        found = ["other classes"]
    yield from (f"protocol: {text}" for text in found)


def _defaults() -> dict[str, Any]:
    """The defaults of a protocol as JSON has them; `inputs` holds what differs from them."""
    given = {f.name: f.default for f in dataclasses.fields(Protocol) if f.default is not dataclasses.MISSING}
    return _plain(given)


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """With lists in place of tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(value, default=asdict))
    return plain


def _named(key: str, before: object, now: object) -> str:
    block, _, name = key.partition(".")
    if block == "files":
        return f"{name} {'added' if before is None else 'removed' if now is None else 'edited'}"
    shown = name if block == "versions" else key.replace(".", " ")
    return f"{shown} {_short(block, before)} → {_short(block, now)}"


def _short(block: str, value: object) -> str:
    if value is None:
        return "none"
    text = str(value)
    return text[:DIGITS] if block in HASHES else text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}…"
