"""Drawing primitives of the built-in street scenes: perspective, canvas, shapes, colours.

All arithmetic is on integers and raw random words, so that the pixels are identical on all platforms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from repro.datasets.augment.rng import Rng
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
    """Perspective: horizon, vanishing point, and the borders of road and pavement."""

    def __init__(self, rng: Rng) -> None:
        self.horizon = rng.randint(38, 58)
        self.vanish = rng.randint(55, 105)
        self.road_left = self.vanish - rng.randint(70, 130)  # at the bottom row
        self.road_right = self.vanish + rng.randint(70, 130)
        self.walk = rng.randint(30, 70)

    def at(self, bottom: int, row: int) -> int:
        """Return the column in `row` of the line from the vanishing point to `bottom` in the last row."""
        return self.vanish + (bottom - self.vanish) * (row - self.horizon) // (HEIGHT - 1 - self.horizon)

    def size(self, row: int, tall: int) -> int:
        """Return the height at `row` of an object that has height `tall` at the last row."""
        return max(2, tall * (row - self.horizon + 6) // (HEIGHT - self.horizon))


class Canvas:
    """An image with its label."""

    def __init__(self, rng: Rng) -> None:
        self.image_HWC = np.zeros((HEIGHT, WIDTH, 3), dtype=np.int64)
        self.label_HW = np.full((HEIGHT, WIDTH), VOID, dtype=np.uint8)
        self.grain_HW = _bytes(rng, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)

    def paint(self, mask: Mask, kind: int | None, colour: Colour, grain: int = 0) -> None:
        """Paint the mask with a colour and noise of strength `grain`; kind None keeps the label."""
        rough = (self.grain_HW[mask] - 128) * grain // 128
        self.image_HWC[mask] = np.array(colour) + rough[:, None]
        if kind is not None:
            self.label_HW[mask] = kind

    def lit(self, rng: Rng) -> Pixels:
        """Return the image with random light, colour cast, horizontal gradient and sensor noise."""
        gain = np.array([rng.randint(190, 300) + rng.randint(-18, 18) for _ in range(3)])
        slope = rng.randint(-60, 60)
        light = gain + (slope * (X - WIDTH // 2) // WIDTH)[..., None]
        noise = _bytes(rng, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3) // 11 - 11
        return np.asarray(np.clip((self.image_HWC * light >> 8) + noise, 0, 255), dtype=np.uint8)


def _bytes(rng: Rng, n: int) -> NDArray[np.int64]:
    return rng.raw_words(-(-n // 8)).astype("<u8").view(np.uint8)[:n].astype(np.int64)


def rect(top: int, left: int, bottom: int, right: int) -> Mask:
    """Return the mask of rows top..bottom-1 and columns left..right-1."""
    return np.asarray((top <= Y) & (bottom > Y) & (left <= X) & (right > X))


def oval(middle_y: int, middle_x: int, high: int, wide: int) -> Mask:
    """Return the mask of an ellipse with half axes `high` and `wide`."""
    return np.asarray(((Y - middle_y) * wide) ** 2 + ((X - middle_x) * high) ** 2 <= (high * wide) ** 2)


def gray(rng: Rng, low: int = 60, high: int = 200) -> Colour:
    """Return a random gray with a slight tint."""
    level = rng.randint(low, high)
    return level + rng.randint(-8, 8), level + rng.randint(-8, 8), level + rng.randint(-8, 8)


def any_colour(rng: Rng) -> Colour:
    """Return a random gray or one of the bright colours shared by the classes."""
    return gray(rng) if rng.bernoulli(0.4) else BRIGHT[rng.randrange(len(BRIGHT))]
