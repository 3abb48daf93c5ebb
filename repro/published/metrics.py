"""Published numbers beside ours: the metrics that pages print, when two are the same, a page's own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METRICS = ("mIoU", "mIoU_ms_flip", "aAcc", "mAcc", "fwIoU")
TOLERANCE = 0.05  # percent points: half of the last digit that page 000 prints
QUIRK = "_page"  # mIoU_page: what the page computed, where that differs from the metric's definition


def as_the_page(metrics: Mapping[str, Any], name: str) -> float | None:
    """The metric to compare with a page's: that of the page's own computation where there is one."""
    value = metrics.get(name + QUIRK, metrics.get(name))
    return None if value is None else float(value)
