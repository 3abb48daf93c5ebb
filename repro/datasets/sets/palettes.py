"""The colour map of PASCAL VOC, also for data sets without an official palette."""

from __future__ import annotations

Colour = tuple[int, int, int]


def voc_colours(count: int) -> tuple[Colour, ...]:
    """Return the colours of the VOC devkit: the bits of the class id, distributed over the channels."""
    return tuple(_spread(number) for number in range(count))


def _spread(number: int) -> Colour:
    channels = [0, 0, 0]
    for step in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * step + channel) & 1) << (7 - step)
    return channels[0], channels[1], channels[2]
