"""Parameters of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt


@dataclass(frozen=True, kw_only=True)
class TrainingParams:
    """Optimiser, schedule and batch of one training run."""

    split: str
    epochs: Annotated[int, Gt(0)]
    batch: Annotated[int, Gt(0)]
    lr: Annotated[float, Gt(0)]
    momentum: Annotated[float, Ge(0)] = 0.9
    weight_decay: Annotated[float, Ge(0)] = 1e-4
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
