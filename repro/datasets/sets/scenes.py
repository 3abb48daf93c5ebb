"""Synthetic street scenes: sky, facades and ground, then objects from far to near.

Classes cannot be distinguished by colour alone: road, pavement, facades, poles, cars and overcast skies share
a range of grays, and facades, cars, signs and clothes share a list of bright colours. They differ in shape (a
car has wheels, a cyclist has two) and position (pavement is between road and facade).
"""

from __future__ import annotations

from collections.abc import Iterator

from repro.datasets.augment.rng import Rng
from repro.datasets.formats.image_io import Pixels
from repro.datasets.sets.canvas import (
    BICYCLIST,
    BRIGHT,
    BUILDING,
    CAR,
    FENCE,
    HEIGHT,
    PAVEMENT,
    PEDESTRIAN,
    POLE,
    ROAD,
    SIGN,
    SKY,
    TREE,
    VOID,
    WIDTH,
    Canvas,
    Street,
    X,
    Y,
    any_colour,
    gray,
    oval,
    rect,
)


def scene(rng: Rng) -> tuple[Pixels, Pixels]:
    """Draw a scene: image_HWC, uint8 RGB, and label_HW with 0-10 and 11 = void."""
    canvas = Canvas(rng)
    street = Street(rng)
    _sky(canvas, rng, street)
    _facades(canvas, rng, street)
    _ground(canvas, rng, street)
    for row in _far_to_near(rng, street):
        _OBJECTS[rng.randrange(len(_OBJECTS))](canvas, rng, street, row)
    _bonnet(canvas, rng)
    return canvas.lit(rng), canvas.label_HW


def _sky(canvas: Canvas, rng: Rng, street: Street) -> None:
    clear = rng.bernoulli(0.5)
    red, green, blue = (120, 160, 215) if clear else gray(rng, 120, 215)
    for top in range(0, street.horizon, 6):
        fade = (street.horizon - top) // 3
        canvas.paint(rect(top, 0, top + 6, WIDTH), SKY, (red - fade, green - fade, blue - fade // 2))
    canvas.paint(rect(street.horizon, 0, HEIGHT, WIDTH), VOID, (90, 90, 90))


def _facades(canvas: Canvas, rng: Rng, street: Street) -> None:
    """Houses with windows from left to right, with gaps for trees or sky."""
    left = -rng.randint(0, 20)
    while left < WIDTH:
        wide = rng.randint(22, 48)
        if rng.bernoulli(0.8):
            distance = abs(left + wide // 2 - street.vanish)
            high = rng.randint(10, 20) + distance * rng.randint(20, 50) // 100
            _house(canvas, rng, street.horizon - high, left, street.horizon + 12, left + wide)
        else:
            _crown(canvas, rng, street.horizon - 6, left + wide // 2, rng.randint(10, 18))
        left += wide


def _house(canvas: Canvas, rng: Rng, top: int, left: int, bottom: int, right: int) -> None:
    wall = any_colour(rng)
    canvas.paint(rect(top, left, bottom, right), BUILDING, wall, grain=6)
    glass = tuple(max(0, c - rng.randint(30, 60)) for c in wall)
    step, size = rng.randint(7, 10), rng.randint(3, 5)
    inside = rect(top + 3, left + 2, bottom, right - 2)
    panes = inside & ((Y - top) % step < size) & ((X - left) % step < size)
    canvas.paint(panes, None, (glass[0], glass[1], glass[2]))


def _ground(canvas: Canvas, rng: Rng, street: Street) -> None:
    """Road with lane marks, and pavement on both sides, in the same range of grays."""
    rows = Y - street.horizon
    span = HEIGHT - 1 - street.horizon
    below = rows > 0
    left = street.vanish + (street.road_left - street.vanish) * rows // span
    right = street.vanish + (street.road_right - street.vanish) * rows // span
    walk = street.walk * rows // span
    pavement = below & (left - walk <= X) & (right + walk > X)
    wall = below & ~pavement
    canvas.paint(wall, BUILDING, any_colour(rng), grain=10)
    canvas.paint(pavement, PAVEMENT, gray(rng, 80, 170), grain=rng.randint(4, 14))
    canvas.paint(below & (left <= X) & (right > X), ROAD, gray(rng, 70, 160), grain=rng.randint(4, 14))
    centre = (left + right) // 2
    mark = below & (abs(X - centre) <= rows // 24) & ((Y + rng.randrange(12)) % 14 < 8)
    canvas.paint(mark, None, gray(rng, 190, 225))
    if rng.bernoulli(0.5):
        _fence(canvas, rng, street, rng.bernoulli(0.5))


def _fence(canvas: Canvas, rng: Rng, street: Street, on_left: bool) -> None:
    """Bars along the outer edge of the pavement; gaps between them are labelled fence, as in CamVid."""
    colour, gap = any_colour(rng), rng.randint(4, 6)
    for x in range(WIDTH):
        edge = street.road_left - street.walk if on_left else street.road_right + street.walk
        run, total = x - street.vanish, edge - street.vanish
        row = street.horizon + (HEIGHT - 1 - street.horizon) * run // total if total * run > 0 else -1
        if street.horizon + 4 <= row < HEIGHT:
            band = rect(row - street.size(row, 26), x, row, x + 1)
            canvas.label_HW[band] = FENCE
            bars = band if x % gap < 2 else band & ((row - Y) % max(4, street.size(row, 22)) < 2)
            canvas.paint(bars, FENCE, colour)


def _far_to_near(rng: Rng, street: Street) -> Iterator[int]:
    """Rows of objects, farthest first, so that near objects occlude far ones."""
    count = rng.randint(6, 11)
    yield from sorted(rng.randint(street.horizon + 8, HEIGHT - 4) for _ in range(count))


def _car(canvas: Canvas, rng: Rng, street: Street, row: int) -> None:
    tall = street.size(row, 46)
    wide = tall * rng.randint(13, 22) // 10
    low, high = street.at(street.road_left, row), street.at(street.road_right, row) - wide
    left = rng.randint(min(low, high), max(low, high))
    colour, wheel = any_colour(rng), max(1, tall // 6)
    roof = row - tall
    canvas.paint(rect(roof + tall * 2 // 5, left, row - wheel, left + wide), CAR, colour)
    canvas.paint(rect(roof, left + wide // 6, roof + tall // 2, left + wide * 5 // 6), CAR, colour)
    pane = rect(roof + tall // 10, left + wide // 4, roof + tall * 2 // 5, left + wide * 3 // 4)
    canvas.paint(pane, None, gray(rng, 50, 110))
    for x in (left + wide // 5, left + wide * 4 // 5):
        canvas.paint(oval(row - wheel, x, wheel, wheel), CAR, (34, 34, 36))


def _person(canvas: Canvas, rng: Rng, foot: int, x: int, tall: int, kind: int) -> None:
    """Legs, trunk and head; the width is a quarter of the height."""
    half = max(1, tall // 8)
    canvas.paint(rect(foot - tall // 2, x - half, foot, x + half + 1), kind, any_colour(rng))
    canvas.paint(rect(foot - tall // 3, x, foot, x + 1), None, (50, 50, 50))
    canvas.paint(oval(foot - tall * 6 // 10, x, max(2, tall // 4), half + 1), kind, any_colour(rng))
    canvas.paint(
        oval(foot - tall * 9 // 10, x, max(1, tall // 10), max(1, tall // 10)), kind, (196, 152, 124)
    )


def _pedestrian(canvas: Canvas, rng: Rng, street: Street, row: int) -> None:
    x = _on_pavement(rng, street, row)
    _person(canvas, rng, row, x, street.size(row, 54), PEDESTRIAN)


def _cyclist(canvas: Canvas, rng: Rng, street: Street, row: int) -> None:
    """Two wheels and a rider, with the colours of pedestrians."""
    tall = street.size(row, 54)
    wheel = max(2, tall // 5)
    low, high = street.at(street.road_left, row), street.at(street.road_right, row)
    x = rng.randint(min(low, high), max(low, high))
    frame = gray(rng, 30, 90)
    for side in (-1, 1):
        middle = x + side * (wheel + wheel // 3)
        canvas.paint(oval(row - wheel, middle, wheel, wheel), BICYCLIST, frame)
        hub = max(1, wheel * 6 // 10)
        canvas.paint(oval(row - wheel, middle, hub, hub), None, gray(rng, 90, 150))
    canvas.paint(rect(row - wheel - 1, x - wheel, row - wheel + 1, x + wheel), BICYCLIST, frame)
    _person(canvas, rng, row - wheel // 2, x, tall * 9 // 10, BICYCLIST)


def _post(canvas: Canvas, rng: Rng, street: Street, row: int) -> None:
    """A lamp post, or a traffic sign on a shorter post."""
    x, signed = _on_pavement(rng, street, row), rng.bernoulli(0.6)
    tall = street.size(row, 76 if signed else 110)
    wide = max(2, street.size(row, 5))
    colour = gray(rng, 50, 190)
    canvas.paint(rect(row - tall, x, row, x + wide), POLE, colour)
    if not signed:
        return canvas.paint(rect(row - tall, x - tall // 6, row - tall + 2, x), POLE, colour)
    half = max(3, street.size(row, 11))
    y, middle = row - tall, x + wide // 2
    plate = (
        oval(y, middle, half, half)
        if rng.bernoulli(0.5)
        else rect(y - half, middle - half, y + half, middle + half)
    )
    canvas.paint(plate, SIGN, BRIGHT[rng.randrange(len(BRIGHT))])
    canvas.paint(oval(y, middle, max(1, half // 2), max(1, half // 2)), None, gray(rng, 150, 230))


def _tree(canvas: Canvas, rng: Rng, street: Street, row: int) -> None:
    x, tall = _on_pavement(rng, street, row), street.size(row, 70)
    wide = max(2, tall // 10)
    canvas.paint(rect(row - tall, x - wide // 2, row, x + wide - wide // 2), TREE, (92, 70, 52), grain=16)
    _crown(canvas, rng, row - tall, x, max(5, tall * 2 // 5))


def _crown(canvas: Canvas, rng: Rng, y: int, x: int, size: int) -> None:
    """Green or brown leaves with noise, which facades do not have."""
    leaf = ((58, 98, 48), (82, 118, 60), (128, 100, 54))[rng.randrange(3)]
    for _ in range(4):
        dy, dx = rng.randint(-size // 2, size // 2), rng.randint(-size // 2, size // 2)
        canvas.paint(oval(y + dy, x + dx, size * 3 // 4, size * 3 // 4), TREE, leaf, grain=46)


def _on_pavement(rng: Rng, street: Street, row: int) -> int:
    """A column on the left or right pavement in this row, inside the image if possible."""
    if rng.bernoulli(0.5):
        low, high = street.at(street.road_left - street.walk, row), street.at(street.road_left, row)
    else:
        low, high = street.at(street.road_right, row), street.at(street.road_right + street.walk, row)
    low, high = max(low, 4), min(high, WIDTH - 5)
    return rng.randint(low, high) if low < high else max(4, min(low, WIDTH - 5))


def _bonnet(canvas: Canvas, rng: Rng) -> None:
    """The bonnet of the camera car in half of the images; labelled void."""
    if rng.bernoulli(0.5):
        canvas.paint(oval(HEIGHT + 8, WIDTH // 2, 16, rng.randint(50, 90)), VOID, any_colour(rng))


_OBJECTS = (_car, _car, _pedestrian, _pedestrian, _cyclist, _post, _post, _tree)
