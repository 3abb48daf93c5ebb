"""What the built-in street scenes are painted with: perspective, image and label together, shapes, colours.

Everything is integer arithmetic on raw random words, so that the same pixels appear on every platform.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from repro.datasets.augment.rng import Draw
from repro.datasets.formats.image_io import Pixels
from repro.datasets.sets.palettes import Colour

HEIGHT, WIDTH = 120, 160
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST, VOID = range(12)
Mask = NDArray[np.bool_]

BRIGHT: tuple[Colour, ...] = (
    (178, 48, 42),
    (38, 78, 158),
    (206, 170, 48),
    (52, 122, 66),
    (214, 214, 208),
    (44, 46, 52),
    (150, 92, 58),
    (120, 60, 120),
)
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.int64)


class Street:
    """Perspective: the horizon, the vanishing point, and where road and pavement end in each row."""

    def __init__(self, draw: Draw) -> None:
        self.horizon = draw.between(38, 58)
        self.vanish = draw.between(55, 105)
        self.road_left = self.vanish - draw.between(70, 130)  # at the bottom row
        self.road_right = self.vanish + draw.between(70, 130)
        self.walk = draw.between(30, 70)

    def at(self, bottom: int, row: int) -> int:
        """The column, in `row`, of the line from the vanishing point to `bottom` in the last row."""
        return self.vanish + (bottom - self.vanish) * (row - self.horizon) // (HEIGHT - 1 - self.horizon)

    def size(self, row: int, tall: int) -> int:
        """How tall something of height `tall` (in the last row) is when it stands on `row`."""
        return max(2, tall * (row - self.horizon + 6) // (HEIGHT - self.horizon))


class Canvas:
    """Image and label, painted together."""

    def __init__(self, draw: Draw) -> None:
        self.image_HWC = np.zeros((HEIGHT, WIDTH, 3), dtype=np.int64)
        self.label_HW = np.full((HEIGHT, WIDTH), VOID, dtype=np.uint8)
        self.grain_HW = _bytes(draw, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)

    def paint(self, mask: Mask, kind: int | None, colour: Colour, grain: int = 0) -> None:
        """Colour the mask, roughened by `grain`; kind None changes the look only (windows, markings)."""
        rough = (self.grain_HW[mask] - 128) * grain // 128
        self.image_HWC[mask] = np.array(colour) + rough[:, None]
        if kind is not None:
            self.label_HW[mask] = kind

    def lit(self, draw: Draw) -> Pixels:
        """Light, colour cast, a shade from left to right, and sensor noise."""
        gain = np.array([draw.between(190, 300) + draw.between(-18, 18) for _ in range(3)])
        slope = draw.between(-60, 60)
        light = gain + (slope * (X - WIDTH // 2) // WIDTH)[..., None]
        noise = _bytes(draw, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3) // 11 - 11
        return np.asarray(np.clip((self.image_HWC * light >> 8) + noise, 0, 255), dtype=np.uint8)


def _bytes(draw: Draw, n: int) -> NDArray[np.int64]:
    return draw.words(-(-n // 8)).astype("<u8").view(np.uint8)[:n].astype(np.int64)


def rect(top: int, left: int, bottom: int, right: int) -> Mask:
    """Rows top..bottom and columns left..right, the ends excluded."""
    return np.asarray((top <= Y) & (bottom > Y) & (left <= X) & (right > X))


def oval(middle_y: int, middle_x: int, high: int, wide: int) -> Mask:
    """Half axes `high` and `wide`, in integers."""
    return np.asarray(((Y - middle_y) * wide) ** 2 + ((X - middle_x) * high) ** 2 <= (high * wide) ** 2)


def gray(draw: Draw, low: int = 60, high: int = 200) -> Colour:
    """A gray with a slight tint."""
    level = draw.between(low, high)
    return level + draw.between(-8, 8), level + draw.between(-8, 8), level + draw.between(-8, 8)


def any_colour(draw: Draw) -> Colour:
    """A gray, or one of the bright colours that the classes share."""
    return gray(draw) if draw.chance(0.4) else BRIGHT[draw.below(len(BRIGHT))]
