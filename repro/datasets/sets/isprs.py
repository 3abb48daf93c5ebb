"""What ISPRS Potsdam and Vaihingen share: colours, six classes, 512 windows.

Some official label files hold a few pixels of slightly wrong colours (Potsdam 4_12 and 6_7 are known for
it); the converter of page 004 ignored them, and so does this one, up to one percent of an image, and tells.
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
    """label_HW of train ids 0-5; black is ignored."""
    return read_colours(source, pair, _COLOURS, tolerated=_TOLERATED)


def windows(height: int, width: int, split: str) -> list[Window]:
    """Windows of 512 side by side, the last ones moved back to the border.

    The converter of page 004 counts its steps for a stride of 256 but moves by 512: a 6000x6000 image
    gives 12 x 12 different windows, not 23 x 23.
    """
    return grid(height, width, size=TILE, step=TILE)
