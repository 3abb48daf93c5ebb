"""LoveDA from urban to rural (rows 004-04 to 004-06): trained on urban images, evaluated on rural ones."""

from __future__ import annotations

from collections.abc import Mapping

from repro.datasets.raw.source import Source
from repro.datasets.sets import loveda
from repro.datasets.sets.loveda import CLASSES as CLASSES
from repro.datasets.sets.loveda import DOWNLOADS as DOWNLOADS
from repro.datasets.sets.loveda import LAYOUT as LAYOUT
from repro.datasets.sets.loveda import LICENCE as LICENCE
from repro.datasets.sets.loveda import MARKERS as MARKERS
from repro.datasets.sets.loveda import PAGE as PAGE
from repro.datasets.sets.loveda import PALETTE as PALETTE
from repro.datasets.sets.loveda import read_label as read_label
from repro.datasets.sets.spec import Pair

TITLE = "LoveDA, urban to rural"
SPLITS: Mapping[str, int] = {"train": 1156, "val": 992}


def pairs(source: Source, split: str) -> list[Pair]:
    """Return training pairs from urban scenes, validation pairs from rural ones."""
    return loveda.scene_pairs(source, split, "urban" if split == "train" else "rural")
