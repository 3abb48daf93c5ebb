"""Parameters of an evaluation: how a network's output becomes a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One evaluation protocol; its hash tells which results may be compared."""

    mode: Literal["whole", "slide"]
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
