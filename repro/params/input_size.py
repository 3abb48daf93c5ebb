"""The size of a network's input, for its cost, from params alone: neither data nor weights are needed.

1. a tile of the protocol, where it cuts images into tiles;
2. else the size of the data set's images or tiles, where all have the same, resized as the protocol does;
3. else the training crop: images of VOC 2012, ADE20K and Pascal Context differ in size.

So page 000's FLOPs are counted at 1024x2048, as the page counted them.
"""

from __future__ import annotations

from collections.abc import Mapping

from repro.params.experiment import TrainedExperiment
from repro.params.protocol import scaled_size

Size = tuple[int, int]  # height, width
# Built-in data sets whose images, as prepared, have one size.
IMAGE_SIZES: Mapping[str, Size] = {
    "camvid": (360, 480),
    "camvid12": (360, 480),
    "camvid_original": (720, 960),
    "cityscapes": (1024, 2048),
    "isaid": (896, 896),
    "loveda": (1024, 1024),
    "loveda_r2u": (1024, 1024),
    "loveda_u2r": (1024, 1024),
    "potsdam": (512, 512),
    "synthetic": (120, 160),
    "vaihingen": (512, 512),
}


def input_size(experiment: TrainedExperiment) -> Size:
    """Return the (height, width) at which the cost of an experiment's network is counted."""
    if experiment.protocol.crop is not None:
        return experiment.protocol.crop
    image = image_size(experiment)
    return scaled_size(image, 1.0, experiment.protocol) if image else experiment.augmentation.crop


def image_size(experiment: TrainedExperiment) -> Size | None:
    """Return the (height, width) of every image of the data set; None if they differ, or are not known."""
    tile = experiment.facts.tile
    if tile is not None:
        return tile.size, tile.size
    return None if experiment.facts.is_declared else IMAGE_SIZES.get(experiment.dataset)
