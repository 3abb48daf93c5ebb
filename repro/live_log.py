"""`repro.log`: metrics of any Python program, live in the journal of the stage that started it.

Only the standard library is imported, so that a training program pays nothing for it.
"""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Mapping
from typing import SupportsFloat

JOURNAL = "REPRO_JOURNAL"  # environment variable with the path of the journal, set by the stage


def log(metrics: Mapping[str, SupportsFloat], *, step: int) -> None:
    """Log metrics of a step, e.g. `repro.log({"loss": 0.3, "lr": 0.01}, step=12)`.

    They appear in MLflow while the program runs, and `loss`, `lr` and `mIoU` in curve.csv. Outside a stage,
    and in all processes of a distributed program but the first, nothing happens. A training is never stopped
    by its log: what cannot be written is a warning.

    Args:
        metrics: Numbers by name; whatever `float()` takes, such as a tensor with one element.
        step: Number of updates so far, 0 or more.
    """
    path = os.environ.get(JOURNAL)
    if not path or os.environ.get("RANK", "0") != "0":
        return
    try:
        numbers = {str(name): float(value) for name, value in metrics.items()}
        _append(path, "".join(_lines(numbers, int(step))))
    except (TypeError, ValueError, OSError) as error:
        warnings.warn(f"repro.log: step {step} was not logged: {error}", stacklevel=2)


def _lines(numbers: Mapping[str, float], step: int) -> list[str]:
    """Lines of the journal; numbers that are not finite are an event, because MLflow would change them."""
    if step < 0:
        raise ValueError("the step is negative")
    finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
    wrong = {name: str(value) for name, value in numbers.items() if name not in finite}
    at = round(time.time(), 3)
    entries: list[dict[str, object]] = []
    if finite:
        entries.append({"at": at, "kind": "metrics", "step": step, "values": finite})
    if wrong:
        entries.append({"at": at, "kind": "not_finite", "step": step, "values": wrong})
    return [json.dumps(entry) + "\n" for entry in entries]


def _append(path: str, text: str) -> None:
    """Append in one write: several processes may write to the journal."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
