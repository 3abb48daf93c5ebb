"""What the stages of an experiment wrote, read and checked: metrics.json and cost.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.errors import RecordError
from repro.json_reader import read_json
from repro.records.shapes import Cost, Metrics, require


def plain_metrics(found: Mapping[str, Any]) -> dict[str, float]:
    """The flat numbers of metrics.json without interval ends and counts."""
    numbers = {k: float(v) for k, v in found.items() if is_number(v) and k != "n_images"}
    return {k: v for k, v in numbers.items() if not k.endswith(("_low", "_high"))}


def intervals(found: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Metric -> (low, high) from `mIoU_low`, `mIoU_high`."""
    names = [key.removesuffix("_low") for key in found if key.endswith("_low")]
    return {name: (float(found[f"{name}_low"]), float(found[f"{name}_high"])) for name in names}


def interval_kind(found: Mapping[str, Any]) -> str:
    """What kind the intervals of metrics.json are; "" in files from before they named it."""
    return str(found.get("interval", ""))


def undefined_metrics(found: Mapping[str, Any]) -> dict[str, str]:
    """Metric -> why it has no value; metrics.json holds null for these."""
    return {str(name): str(reason) for name, reason in found.get("undefined", {}).items()}


def read_metrics(path: Path) -> dict[str, Any]:
    """metrics.json, checked for what a record needs; RecordError."""
    found = _read(path, "evaluate")
    hint = f"`repro evaluate {path.parent.name}`"
    require(Metrics, found, path, hint=hint)
    ends = [key.removesuffix("_low") for key in found if key.endswith("_low")]
    numbers = {name: (found[f"{name}_low"], found.get(f"{name}_high")) for name in ends}
    for name, interval in numbers.items():
        if not all(map(is_number, interval)):
            raise RecordError(f"the interval of {name} is {list(interval)}", where=path, hint=hint)
    return found


def inference_cost(path: Path) -> dict[str, Any]:
    """cost.json of the benchmark, {} where none was run; RecordError for what no table could show."""
    if not path.exists():
        return {}
    found = _read(path, "benchmark")
    require(Cost, found, path, hint=f"`repro benchmark {path.parent.name}` again")
    return found


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(path: Path, verb: str) -> dict[str, Any]:
    name = path.parent.name
    try:
        return read_json(path, hint=f"`repro {verb} {name}` again")
    except FileNotFoundError:
        raise RecordError("nothing was measured yet", where=path, hint=f"`repro {verb} {name}`") from None
