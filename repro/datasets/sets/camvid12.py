"""CamVid with void as a twelfth class, trained and evaluated (rows 003-017 to -021 and -023 to -025).

Page 003's loader had 12 classes until 2018-03-05 (dongzhuoyao/tensorpack, commit 21db489f): label 11 was
trained, padding had label 11, and the printed mean is over 12 classes. The usual mean over 11 classes is the
protocol `page003_*_without_void`.
"""

from __future__ import annotations

from repro.datasets.formats.label_maps import to_train_ids, value_table
from repro.datasets.raw.source import Source
from repro.datasets.sets import camvid
from repro.datasets.sets.camvid import BLOCK as BLOCK
from repro.datasets.sets.camvid import DOWNLOADS as DOWNLOADS
from repro.datasets.sets.camvid import GROUP as GROUP
from repro.datasets.sets.camvid import LAYOUT as LAYOUT
from repro.datasets.sets.camvid import LICENCE as LICENCE
from repro.datasets.sets.camvid import MARKERS as MARKERS
from repro.datasets.sets.camvid import PAGE as PAGE
from repro.datasets.sets.camvid import SPLITS as SPLITS
from repro.datasets.sets.camvid import group as group
from repro.datasets.sets.camvid import pairs as pairs
from repro.datasets.sets.spec import IGNORE, Colour, Pair, Pixels

TITLE = "CamVid (SegNet tutorial, void as class 12)"
CLASSES: tuple[str, ...] = (*camvid.CLASSES, "void")
PALETTE: tuple[Colour, ...] = (*camvid.PALETTE, (0, 0, 0))
_VALUES = value_table({**{i: i for i in range(11)}, IGNORE: 11})


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW of train ids 0-11; void is class 11."""
    return to_train_ids(camvid.read_label(source, pair), _VALUES, source.place(pair.image))
