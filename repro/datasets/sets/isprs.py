"""Common parts of ISPRS Potsdam and Vaihingen: colours, six classes, 512 windows.

Some official label files have a few pixels with slightly wrong colours (Potsdam 4_12 and 6_7). As in the
converter of page 004 they are ignored, up to one percent of an image, with a note.
"""

from __future__ import annotations

from repro.datasets.prepare.convert import grid, source_image
from repro.datasets.raw.match_files import read_colours
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import IGNORE, Colour, Pair, Pixels, Window

CLASSES: tuple[str, ...] = ("impervious_surface", "building", "low_vegetation", "tree", "car", "clutter")
PALETTE: tuple[Colour, ...] = (
    (255, 255, 255),
    (0, 0, 255),
    (0, 255, 255),
    (0, 255, 0),
    (255, 255, 0),
    (255, 0, 0),
)
LICENCE = "research use, on request"
TILE = 512
GROUP, group = "source image", source_image
_COLOURS = {**{colour: i for i, colour in enumerate(PALETTE)}, (0, 0, 0): IGNORE}  # black: eroded borders
_TOLERATED = 0.01


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW of train ids 0-5; black is ignored."""
    return read_colours(source, pair, _COLOURS, tolerated=_TOLERATED)


def windows(height: int, width: int, split: str) -> list[Window]:
    """Return adjacent windows of 512x512, the last ones shifted back to the border.

    The converter of page 004 counts its steps for a stride of 256 but moves by 512: a 6000x6000 image
    gives 12 x 12 different windows, not 23 x 23.
    """
    return grid(height, width, size=TILE, step=TILE)
