"""Tiers of evidence: who measured a number, and how often. A verdict is never shown without one.

published only             nobody but the page measured it
self-reported              a program of the zoo trained or predicted (`external:`)
re-evaluated               released weights, evaluated here
retrained, one run         trained and evaluated here
retrained, several seeds   the same with two seeds or more
"""

from __future__ import annotations

from typing import Literal, get_args

from repro.records.record import Record

Tier = Literal[
    "published only",
    "self-reported",
    "re-evaluated",
    "retrained, one run",
    "retrained, several seeds",
]
TIERS: tuple[Tier, ...] = get_args(Tier)
PUBLISHED_ONLY: Tier = "published only"
_OF_KIND: dict[str, Tier] = {"external": "self-reported", "released": "re-evaluated"}


def tier_of(record: Record | None, *, seeds: int, published: bool) -> Tier | None:
    """Return the tier of a result.

    Args:
        record: Its record; None without one.
        seeds: Number of seeds that were measured, this one included.
        published: Whether it stands for a published row.

    Returns:
        None for an unmeasured result that no page publishes. Smoke runs, and records of costs alone, measured
        no accuracy.
    """
    if record is None or record.kind in ("smoke", "cost"):
        return PUBLISHED_ONLY if published else None
    if record.kind == "trained":
        return "retrained, several seeds" if seeds > 1 else "retrained, one run"
    return _OF_KIND[record.kind]
