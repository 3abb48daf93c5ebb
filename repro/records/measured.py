"""What the stages of an experiment wrote, read and checked: metrics.json and cost.json."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from repro.errors import RecordError


def plain_metrics(found: Mapping[str, Any]) -> dict[str, float]:
    """The flat numbers of metrics.json without interval ends and counts."""
    numbers = {k: float(v) for k, v in found.items() if isinstance(v, (int, float)) and k != "n_images"}
    return {k: v for k, v in numbers.items() if not k.endswith(("_low", "_high"))}


def intervals(found: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Metric -> (low, high) from `mIoU_low`, `mIoU_high`."""
    names = [key.removesuffix("_low") for key in found if key.endswith("_low")]
    return {name: (float(found[f"{name}_low"]), float(found[f"{name}_high"])) for name in names}


def read_metrics(path: Path) -> dict[str, Any]:
    """metrics.json, checked for what a record needs."""
    found = _read(path)
    missing = [key for key in ("split", "n_images", "protocol", "IoU") if key not in found]
    if missing:
        raise RecordError(f"no '{missing[0]}' in it", where=path, hint=f"`repro evaluate {path.parent.name}`")
    return found


def _read(path: Path) -> dict[str, Any]:
    name = path.parent.name
    verb = "benchmark" if path.name == "cost.json" else "evaluate"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError("nothing was measured yet", where=path, hint=f"`repro {verb} {name}`") from None
    except ValueError as error:
        raise RecordError(f"not JSON: {error}", where=path, hint=f"`repro {verb} {name}` again") from None
    if not isinstance(found, dict):
        raise RecordError("not a mapping", where=path, hint=f"`repro {verb} {name}` again")
    for key, value in found.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise RecordError(f"{key} is {value}", where=path, hint=f"`repro {verb} {name}` again")
    return found


def inference_cost(path: Path) -> dict[str, Any]:
    """cost.json of the benchmark, {} where none was run; RecordError for what no table could show."""
    found = _read(path) if path.is_file() else {}
    for key, value in found.items():
        holds, allowed = _COST.get(key, _ANYTHING)
        if not holds(value):
            hint = f"`repro benchmark {path.parent.name}` again"
            raise RecordError(f"{key} is {value!r}", where=path, allowed=allowed, hint=hint)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_size(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


_NUMBERS = (
    *("params_M", "gmacs_conv", "gmacs_thop", "batch", "runs", "images_per_s", "peak_memory_MiB"),
    *("latency_ms_p50", "latency_ms_p95", "latency_ms_mean", "launch_ms_mean"),
)
# What the values of cost.json are, in code and in words; keys of others are theirs, and no table has them.
_Rule = tuple[Callable[[object], bool], str]
_ANYTHING: _Rule = (lambda value: True, "")
_COST: dict[str, _Rule] = {
    **dict.fromkeys(_NUMBERS, (_is_number, "a number")),
    "input_size": (_is_size, "[height, width]"),
    "precision": (lambda value: isinstance(value, str), "a text"),
    "device": (lambda value: isinstance(value, dict | str), "a mapping, or a text"),
}
