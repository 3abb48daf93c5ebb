"""Colours for pictures of labels, where the owner gives no list or gives this rule."""

from __future__ import annotations

Colour = tuple[int, int, int]


def voc_colours(count: int) -> tuple[Colour, ...]:
    """The rule of the PASCAL VOC devkit: the bits of the class number, spread over red, green, blue."""
    return tuple(_spread(number) for number in range(count))


def _spread(number: int) -> Colour:
    channels = [0, 0, 0]
    for step in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * step + channel) & 1) << (7 - step)
    return channels[0], channels[1], channels[2]
