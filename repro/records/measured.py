"""What the stages of an experiment wrote, read and checked: metrics.json and cost.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
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
    """cost.json of the benchmark, {} where none was run."""
    return _read(path) if path.is_file() else {}
