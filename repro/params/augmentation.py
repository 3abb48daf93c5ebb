"""Parameters of augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from repro.params.parse import Byte, Count, Later, NotNegative, Positive, Share

MIN_CROP = 8  # pixels per side; the stems of the networks need at least this
Pipeline = Literal["scale_crop", "sssegmentation", "mmsegmentation", "rsi", "vainf", "keras", "tensorpack"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a training sample is drawn from an image and its label.

    `pipeline` defines the steps, their order and the page's quirks; the other fields are their parameters:

    | pipeline       | rows         | steps                                                               |
    |----------------|--------------|---------------------------------------------------------------------|
    | scale_crop     | own, CamVid  | scale, crop, flips, brightness factor; pad bottom/right             |
    | sssegmentation | 001, 002     | fit into base x scale, crop, flip, distortion; pad centred          |
    | mmsegmentation | 004          | fit into base x scale, crop, flip, distortion; pad bottom/right     |
    | rsi            | 004-04 to 06 | fit into base x scale, crop, quarter turn, flips, distortion; pad   |
    |                |              | bottom/right                                                        |
    | vainf          | 000-01 to 03 | crop, jitter in random order, flip                                  |
    | keras          | 000-04, 05   | crop, jitter brightness then contrast then saturation, flip         |
    | tensorpack     | 003          | scale x and y apart, pad centred, crop, flip                        |

    The colour fields have the meaning of the pipeline's source: a *distortion* (sssegmentation,
    mmsegmentation, rsi) adds up to +-`brightness` (0..255), multiplies by 1 +- `contrast` and 1 +-
    `saturation`, rotates the hue by up to +-`hue` (of 180), each with probability 0.5; a *jitter* (vainf,
    keras) always multiplies brightness, contrast and saturation by 1 +- the field; scale_crop multiplies the
    pixels by 1 +- `brightness`. 0 disables a step.
    """

    pipeline: Pipeline
    crop: tuple[Count, Count]  # height, width of the sample
    scale: tuple[Positive, Positive] = (1.0, 1.0)  # drawn uniformly from [low, high]
    base: tuple[Count, Count] | None = None  # width, height that `scale` multiplies; None: the image
    category_share: Share = 1.0  # redraw a crop if its largest class exceeds this share
    category_tries: Later[Count] = 11  # crops drawn at most: 1 + 10 retries on 004, 10 in total on 001, 002
    aspect: Share = 0.0  # tensorpack: x and y scale differ by less than this ratio; 0: equal
    label_resize: Literal["nearest", "bilinear"] = "nearest"  # bilinear: 003's quirk, mixes class ids
    label_void: Byte = 255  # id of void while mixing; CamVid's files use 11
    pad_value: Later[Byte] = 255  # tensorpack: its ignore id, in the blue channel of the padding
    pad_label: Later[Byte] = 255  # tensorpack: class of padded pixels in training (camvid12: 11); 255: none
    flip: Share = 0.5  # probability of a horizontal flip
    vertical_flip: Share = 0.0
    rotate90: Share = 0.0  # probability of a rotation by 0, 90, 180 or 270 degrees, uniformly
    brightness: NotNegative = 0.0
    contrast: NotNegative = 0.0
    saturation: NotNegative = 0.0
    hue: Annotated[int, Ge(0), Le(90)] = 0
    cache: bool = False  # decode once into a memory map under .repro/cache; same samples

    def __post_init__(self) -> None:
        """Raise ValueError for invalid combinations; `parse` converts it to a ParamsError."""
        if self.scale[0] > self.scale[1]:
            raise ValueError("scale as [low, high]")
        if self.rotate90 and self.crop[0] != self.crop[1]:
            raise ValueError("a square crop with rotate90")
        if min(self.crop) < MIN_CROP:
            raise ValueError(f"a crop of at least {MIN_CROP} x {MIN_CROP} pixels")
