"""Parameters of a network: every structural choice that differs between the five pages, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ModelParams:
    """What `repro.models.build` needs besides the number of classes."""

    family: Literal["deeplabv3plus"]
    backbone: Literal["mobilenetv2", "resnet18", "resnet50", "resnet101"]
    output_stride: Literal[8, 16]
    pretrained: str | None = None
