"""The built-in data set: small street scenes that the project draws itself, in CamVid's layout and classes.

Colour alone does not tell the classes apart: road, pavement, facades, poles, cars and overcast skies share
one range of grays, and facades, cars, signs and clothes share one list of bright colours. What tells them
apart is shape (a car has wheels, a cyclist has two) and place (pavement lies between road and facade).

Everything is integer arithmetic on raw random words, and the PNG files come from `png.encode_png`, so the
same bytes appear on every platform and `data.dvc` can pin them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repro.datasets import camvid
from repro.datasets.camvid import pairs as pairs
from repro.datasets.camvid import read_label as read_label
from repro.datasets.draw import Draw
from repro.datasets.images import Pixels
from repro.datasets.png import encode_png
from repro.datasets.spec import Colour, Download

TITLE = "Synthetic street scenes (built in, 160x120)"
CLASSES = camvid.CLASSES
PALETTE = camvid.PALETTE
SPLITS: Mapping[str, int] = {"train": 96, "val": 24, "test": 48}
LICENCE = "MIT, as the project"
PAGE = "made by `repro data synthetic`"
LAYOUT = camvid.LAYOUT
DOWNLOADS: tuple[Download, ...] = ()
MARKERS: tuple[str, ...] = camvid.MARKERS

HEIGHT, WIDTH = 120, 160
VERSION = 1  # raise it when a scene would change: the bytes are pinned
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST, VOID = range(12)
Mask = NDArray[np.bool_]

_BRIGHT: tuple[Colour, ...] = (
    (178, 48, 42),
    (38, 78, 158),
    (206, 170, 48),
    (52, 122, 66),
    (214, 214, 208),
    (44, 46, 52),
    (150, 92, 58),
    (120, 60, 120),
)
_Y, _X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.int64)


def write(folder: Path) -> int:
    """Draw all scenes into `folder` (train/, trainannot/, ...), replacing it; the number of pairs."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for number, split in enumerate(SPLITS):
        images, labels = part / split, part / f"{split}annot"
        images.mkdir(parents=True)
        labels.mkdir()
        for i in range(SPLITS[split]):
            image_HWC, label_HW = scene(Draw(VERSION, number, i))
            (images / f"{split}_{i:03d}.png").write_bytes(encode_png(image_HWC))
            (labels / f"{split}_{i:03d}.png").write_bytes(encode_png(label_HW))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)
    return sum(SPLITS.values())


def scene(draw: Draw) -> tuple[Pixels, Pixels]:
    """One street: image_HWC uint8 RGB and label_HW with 0-10 and 11 = void."""
    canvas = _Canvas(draw)
    street = _Street(draw)
    _sky(canvas, draw, street)
    _facades(canvas, draw, street)
    _ground(canvas, draw, street)
    for row in _far_to_near(draw, street):
        _OBJECTS[draw.below(len(_OBJECTS))](canvas, draw, street, row)
    _bonnet(canvas, draw)
    return canvas.lit(draw), canvas.label_HW


class _Street:
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


class _Canvas:
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
        light = gain + (slope * (_X - WIDTH // 2) // WIDTH)[..., None]
        noise = _bytes(draw, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3) // 11 - 11
        return np.asarray(np.clip((self.image_HWC * light >> 8) + noise, 0, 255), dtype=np.uint8)


def _bytes(draw: Draw, n: int) -> NDArray[np.int64]:
    return draw.words(-(-n // 8)).astype("<u8").view(np.uint8)[:n].astype(np.int64)


def _rect(top: int, left: int, bottom: int, right: int) -> Mask:
    return np.asarray((top <= _Y) & (bottom > _Y) & (left <= _X) & (right > _X))


def _oval(middle_y: int, middle_x: int, high: int, wide: int) -> Mask:
    """Half axes `high` and `wide`, in integers."""
    return np.asarray(((_Y - middle_y) * wide) ** 2 + ((_X - middle_x) * high) ** 2 <= (high * wide) ** 2)


def _gray(draw: Draw, low: int = 60, high: int = 200) -> Colour:
    level = draw.between(low, high)
    return level + draw.between(-8, 8), level + draw.between(-8, 8), level + draw.between(-8, 8)


def _any_colour(draw: Draw) -> Colour:
    return _gray(draw) if draw.chance(0.4) else _BRIGHT[draw.below(len(_BRIGHT))]


def _sky(canvas: _Canvas, draw: Draw, street: _Street) -> None:
    clear = draw.chance(0.5)
    red, green, blue = (120, 160, 215) if clear else _gray(draw, 120, 215)
    for top in range(0, street.horizon, 6):
        fade = (street.horizon - top) // 3
        canvas.paint(_rect(top, 0, top + 6, WIDTH), SKY, (red - fade, green - fade, blue - fade // 2))
    canvas.paint(_rect(street.horizon, 0, HEIGHT, WIDTH), VOID, (90, 90, 90))


def _facades(canvas: _Canvas, draw: Draw, street: _Street) -> None:
    """Houses with windows from left to right, some gaps with trees or sky behind."""
    left = -draw.between(0, 20)
    while left < WIDTH:
        wide = draw.between(22, 48)
        if draw.chance(0.8):
            distance = abs(left + wide // 2 - street.vanish)
            high = draw.between(10, 20) + distance * draw.between(20, 50) // 100
            _house(canvas, draw, street.horizon - high, left, street.horizon + 12, left + wide)
        else:
            _crown(canvas, draw, street.horizon - 6, left + wide // 2, draw.between(10, 18))
        left += wide


def _house(canvas: _Canvas, draw: Draw, top: int, left: int, bottom: int, right: int) -> None:
    wall = _any_colour(draw)
    canvas.paint(_rect(top, left, bottom, right), BUILDING, wall, grain=6)
    glass = tuple(max(0, c - draw.between(30, 60)) for c in wall)
    step, size = draw.between(7, 10), draw.between(3, 5)
    inside = _rect(top + 3, left + 2, bottom, right - 2)
    panes = inside & ((_Y - top) % step < size) & ((_X - left) % step < size)
    canvas.paint(panes, None, (glass[0], glass[1], glass[2]))


def _ground(canvas: _Canvas, draw: Draw, street: _Street) -> None:
    """Pavement on both sides, road between, lane marks; grays from one range, so place must tell them."""
    rows = _Y - street.horizon
    span = HEIGHT - 1 - street.horizon
    below = rows > 0
    left = street.vanish + (street.road_left - street.vanish) * rows // span
    right = street.vanish + (street.road_right - street.vanish) * rows // span
    walk = street.walk * rows // span
    pavement = below & (left - walk <= _X) & (right + walk > _X)
    wall = below & ~pavement
    canvas.paint(wall, BUILDING, _any_colour(draw), grain=10)
    canvas.paint(pavement, PAVEMENT, _gray(draw, 80, 170), grain=draw.between(4, 14))
    canvas.paint(below & (left <= _X) & (right > _X), ROAD, _gray(draw, 70, 160), grain=draw.between(4, 14))
    centre = (left + right) // 2
    mark = below & (abs(_X - centre) <= rows // 24) & ((_Y + draw.below(12)) % 14 < 8)
    canvas.paint(mark, None, _gray(draw, 190, 225))
    if draw.chance(0.5):
        _fence(canvas, draw, street, draw.chance(0.5))


def _fence(canvas: _Canvas, draw: Draw, street: _Street, on_left: bool) -> None:
    """Bars along the outer edge of the pavement; what shows between them is fence too, as in CamVid."""
    colour, gap = _any_colour(draw), draw.between(4, 6)
    for x in range(WIDTH):
        edge = street.road_left - street.walk if on_left else street.road_right + street.walk
        run, total = x - street.vanish, edge - street.vanish
        row = street.horizon + (HEIGHT - 1 - street.horizon) * run // total if total * run > 0 else -1
        if street.horizon + 4 <= row < HEIGHT:
            band = _rect(row - street.size(row, 26), x, row, x + 1)
            canvas.label_HW[band] = FENCE
            bars = band if x % gap < 2 else band & ((row - _Y) % max(4, street.size(row, 22)) < 2)
            canvas.paint(bars, FENCE, colour)


def _far_to_near(draw: Draw, street: _Street) -> Iterator[int]:
    """Rows where things stand, farthest first, so that near things hide far ones."""
    count = draw.between(6, 11)
    yield from sorted(draw.between(street.horizon + 8, HEIGHT - 4) for _ in range(count))


def _car(canvas: _Canvas, draw: Draw, street: _Street, row: int) -> None:
    tall = street.size(row, 46)
    wide = tall * draw.between(13, 22) // 10
    low, high = street.at(street.road_left, row), street.at(street.road_right, row) - wide
    left = draw.between(min(low, high), max(low, high))
    colour, wheel = _any_colour(draw), max(1, tall // 6)
    roof = row - tall
    canvas.paint(_rect(roof + tall * 2 // 5, left, row - wheel, left + wide), CAR, colour)
    canvas.paint(_rect(roof, left + wide // 6, roof + tall // 2, left + wide * 5 // 6), CAR, colour)
    pane = _rect(roof + tall // 10, left + wide // 4, roof + tall * 2 // 5, left + wide * 3 // 4)
    canvas.paint(pane, None, _gray(draw, 50, 110))
    for x in (left + wide // 5, left + wide * 4 // 5):
        canvas.paint(_oval(row - wheel, x, wheel, wheel), CAR, (34, 34, 36))


def _person(canvas: _Canvas, draw: Draw, foot: int, x: int, tall: int, kind: int) -> None:
    """Legs, trunk, head; a quarter as wide as tall."""
    half = max(1, tall // 8)
    canvas.paint(_rect(foot - tall // 2, x - half, foot, x + half + 1), kind, _any_colour(draw))
    canvas.paint(_rect(foot - tall // 3, x, foot, x + 1), None, (50, 50, 50))
    canvas.paint(_oval(foot - tall * 6 // 10, x, max(2, tall // 4), half + 1), kind, _any_colour(draw))
    canvas.paint(
        _oval(foot - tall * 9 // 10, x, max(1, tall // 10), max(1, tall // 10)), kind, (196, 152, 124)
    )


def _pedestrian(canvas: _Canvas, draw: Draw, street: _Street, row: int) -> None:
    x = _on_pavement(draw, street, row)
    _person(canvas, draw, row, x, street.size(row, 54), PEDESTRIAN)


def _cyclist(canvas: _Canvas, draw: Draw, street: _Street, row: int) -> None:
    """Two wheels and a rider; the colours are those of pedestrians."""
    tall = street.size(row, 54)
    wheel = max(2, tall // 5)
    low, high = street.at(street.road_left, row), street.at(street.road_right, row)
    x = draw.between(min(low, high), max(low, high))
    frame = _gray(draw, 30, 90)
    for side in (-1, 1):
        middle = x + side * (wheel + wheel // 3)
        canvas.paint(_oval(row - wheel, middle, wheel, wheel), BICYCLIST, frame)
        hub = max(1, wheel * 6 // 10)
        canvas.paint(_oval(row - wheel, middle, hub, hub), None, _gray(draw, 90, 150))
    canvas.paint(_rect(row - wheel - 1, x - wheel, row - wheel + 1, x + wheel), BICYCLIST, frame)
    _person(canvas, draw, row - wheel // 2, x, tall * 9 // 10, BICYCLIST)


def _post(canvas: _Canvas, draw: Draw, street: _Street, row: int) -> None:
    """A lamp post, or a traffic sign on a shorter one."""
    x, signed = _on_pavement(draw, street, row), draw.chance(0.6)
    tall = street.size(row, 76 if signed else 110)
    wide = max(2, street.size(row, 5))
    colour = _gray(draw, 50, 190)
    canvas.paint(_rect(row - tall, x, row, x + wide), POLE, colour)
    if not signed:
        return canvas.paint(_rect(row - tall, x - tall // 6, row - tall + 2, x), POLE, colour)
    half = max(3, street.size(row, 11))
    y, middle = row - tall, x + wide // 2
    plate = (
        _oval(y, middle, half, half)
        if draw.chance(0.5)
        else _rect(y - half, middle - half, y + half, middle + half)
    )
    canvas.paint(plate, SIGN, _BRIGHT[draw.below(len(_BRIGHT))])
    canvas.paint(_oval(y, middle, max(1, half // 2), max(1, half // 2)), None, _gray(draw, 150, 230))


def _tree(canvas: _Canvas, draw: Draw, street: _Street, row: int) -> None:
    x, tall = _on_pavement(draw, street, row), street.size(row, 70)
    wide = max(2, tall // 10)
    canvas.paint(_rect(row - tall, x - wide // 2, row, x + wide - wide // 2), TREE, (92, 70, 52), grain=16)
    _crown(canvas, draw, row - tall, x, max(5, tall * 2 // 5))


def _crown(canvas: _Canvas, draw: Draw, y: int, x: int, size: int) -> None:
    """Rough green or, in autumn, brown leaves: the roughness is what facades do not have."""
    leaf = ((58, 98, 48), (82, 118, 60), (128, 100, 54))[draw.below(3)]
    for _ in range(4):
        dy, dx = draw.between(-size // 2, size // 2), draw.between(-size // 2, size // 2)
        canvas.paint(_oval(y + dy, x + dx, size * 3 // 4, size * 3 // 4), TREE, leaf, grain=46)


def _on_pavement(draw: Draw, street: _Street, row: int) -> int:
    """A column on the left or right pavement of this row, inside the picture where possible."""
    if draw.chance(0.5):
        low, high = street.at(street.road_left - street.walk, row), street.at(street.road_left, row)
    else:
        low, high = street.at(street.road_right, row), street.at(street.road_right + street.walk, row)
    low, high = max(low, 4), min(high, WIDTH - 5)
    return draw.between(low, high) if low < high else max(4, min(low, WIDTH - 5))


def _bonnet(canvas: _Canvas, draw: Draw) -> None:
    """The bonnet of the car with the camera, in half of the pictures: void, as in CamVid's border cases."""
    if draw.chance(0.5):
        canvas.paint(_oval(HEIGHT + 8, WIDTH // 2, 16, draw.between(50, 90)), VOID, _any_colour(draw))


_OBJECTS = (_car, _car, _pedestrian, _pedestrian, _cyclist, _post, _post, _tree)
