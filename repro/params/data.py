"""Parameters of data: the facts of a data set, and how a training sample is drawn from an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from repro.params.parse import Byte, Count, NotNegative, PlainName, Positive, Share

SMALLEST = 8  # pixels a side; the stems of the networks see nothing of less
Pipeline = Literal["scale_crop", "sssegmentation", "mmsegmentation", "rsi", "vainf", "keras", "tensorpack"]


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What must be true of a data set; a block under `datasets:` in the root params.yaml.

    `splits` are the images of each prepared split; a number that differs from what lies on the disk stops
    `repro prepare`. A person with a part of the data writes the part's numbers here.
    """

    classes: Annotated[int, Gt(1), Le(254)]  # void and other unlabelled pixels (255) not counted
    splits: Mapping[PlainName, Count]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a training sample is drawn from an image and its label.

    `pipeline` fixes the order of the steps and the page's quirks; the other fields are its numbers:

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

    The colour fields mean what the pipeline's author meant: a *distortion* (sssegmentation,
    mmsegmentation, rsi) adds up to +-`brightness` (0..255), multiplies by 1 +- `contrast` and 1 +-
    `saturation`, turns the hue by up to +-`hue` (of 180), each with probability 0.5; a *jitter* (vainf,
    keras) multiplies brightness, contrast and saturation by 1 +- the field, always; scale_crop multiplies the
    pixels by 1 +- `brightness`. 0 switches a step off.
    """

    pipeline: Pipeline
    crop: tuple[Count, Count]  # height, width of the sample
    scale: tuple[Positive, Positive] = (1.0, 1.0)  # drawn uniformly from [low, high]
    base: tuple[Count, Count] | None = None  # width, height that `scale` multiplies; None: the image
    category_share: Share = 1.0  # draw a crop anew whose largest class exceeds this share
    category_tries: Count = 11  # crops drawn at most: 1 and 10 more on page 004, 10 in all on 001, 002
    aspect: Share = 0.0  # tensorpack: x and y scale apart by less than this ratio; 0: together
    label_resize: Literal["nearest", "bilinear"] = "nearest"  # bilinear: 003's quirk, mixes class numbers
    label_void: Byte = 255  # void's number while mixing; CamVid's files say 11
    pad_value: Byte = 255  # tensorpack: its ignore number, blue of the padding
    pad_label: Byte = 255  # tensorpack: class that padding is trained as (camvid12: 11); 255: none
    flip: Share = 0.5  # probability of left-right
    vertical_flip: Share = 0.0
    rotate90: Share = 0.0  # probability of a random quarter turn (0, 90, 180 or 270 degrees alike)
    brightness: NotNegative = 0.0
    contrast: NotNegative = 0.0
    saturation: NotNegative = 0.0
    hue: Annotated[int, Ge(0), Le(90)] = 0
    cache: bool = False  # decode once into a memory map under .repro/cache; the samples stay the same

    def __post_init__(self) -> None:
        """Invalid combinations of keys: a ValueError becomes a ParamsError that names the file."""
        if self.scale[0] > self.scale[1]:
            raise ValueError("scale as [low, high]")
        if self.rotate90 and self.crop[0] != self.crop[1]:
            raise ValueError("a square crop where rotate90 turns it")
        if min(self.crop) < SMALLEST:
            raise ValueError(f"a crop of at least {SMALLEST} pixels a side")
