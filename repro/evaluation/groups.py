"""Which images of a split belong together: frames of one video, tiles of one aerial image.

Such images are not independent, so an interval that resamples them one by one is too narrow. A data set whose
file names say which images belong together has in its module

    group(id)   the name of an image's group
    GROUP       what a group is, in the singular: "video", "source image"
    BLOCK       images in a block, where a group is a sequence in time; without it a group has no order

Data sets without these have independent images, or names that do not say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The group of every image, in the order of the images; `block` is 0 where groups have no order."""

    names: tuple[str, ...]
    noun: str
    block: int = 0


def groups_of(dataset: str, ids: Sequence[str]) -> Groups | None:
    """The groups of the images `ids` of a data set; None where its module says none."""
    from repro.datasets import (
        DATASETS,  # here, for its modules import OpenCV, which reading matrices need not
    )

    module = DATASETS.get(dataset)
    group = getattr(module, "group", None)
    if group is None:
        return None
    return Groups(
        names=tuple(group(name) for name in ids),
        noun=str(getattr(module, "GROUP", "group")),
        block=int(getattr(module, "BLOCK", 0)),
    )
