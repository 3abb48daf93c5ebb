"""Parameters of data: facts of a data set, and the augmentation of its training samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What must be true of a data set: the number of images of each split, and of classes."""

    classes: int
    splits: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a training sample is drawn from an image and its label."""

    crop: tuple[int, int]  # height, width
    scale: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.5
    options: Mapping[str, float] = field(default_factory=dict)
