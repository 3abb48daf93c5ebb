"""PASCAL Context without background (rows 002-15, 002-16): 0 is ignored and 1-59 become 0-58."""

from __future__ import annotations

from repro.datasets.formats.label_maps import to_train_ids, value_table
from repro.datasets.raw.source import Source
from repro.datasets.sets import pascal_context
from repro.datasets.sets.pascal_context import DOWNLOADS as DOWNLOADS
from repro.datasets.sets.pascal_context import LAYOUT as LAYOUT
from repro.datasets.sets.pascal_context import LICENCE as LICENCE
from repro.datasets.sets.pascal_context import MARKERS as MARKERS
from repro.datasets.sets.pascal_context import PAGE as PAGE
from repro.datasets.sets.pascal_context import SPLITS as SPLITS
from repro.datasets.sets.pascal_context import pairs as pairs
from repro.datasets.sets.spec import IGNORE, Colour, Pair, Pixels

TITLE = "PASCAL Context (59)"
CLASSES: tuple[str, ...] = pascal_context.CLASSES[1:]
PALETTE: tuple[Colour, ...] = pascal_context.PALETTE[1:]
_VALUES = value_table({0: IGNORE, **{i: i - 1 for i in range(1, 60)}})


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW of train ids 0-58; background is ignored."""
    return to_train_ids(pascal_context.read_label(source, pair), _VALUES, source.place(pair.image))
