"""What the evaluation tests share: a tiny network, a split in memory, a plain reference of every protocol.

The reference keeps everything at full size in float64 and follows the pages' recipes line by line; it is
slow and obvious on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from repro.models import normalise, resize_logits
from repro.params import Protocol, parse
from repro.params.model import ModelParams
from repro.params.protocol import Variant

Array = npt.NDArray[Any]
CLASSES = ("road", "tree", "car", "sky", "pole")
PALETTE = ((128, 64, 128), (0, 128, 0), (64, 0, 128), (0, 128, 255), (192, 192, 128))


def protocol(**fields: object) -> Protocol:
    return parse(Protocol, fields, "test")


def model_params(**fields: object) -> ModelParams:
    base = {"family": "deeplabv3plus", "backbone": "mobilenetv2", "output_stride": 16}
    return parse(ModelParams, base | fields, "test")


class TinyNet(nn.Module):
    """Logits at a quarter of the input's size from two convolutions, mostly within -10..10 like real ones."""

    def __init__(self, classes: int = len(CLASSES), *, seed: int = 0) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 7, stride=4, padding=3)
        self.head = nn.Conv2d(8, classes, 3, padding=1)
        generator = torch.Generator().manual_seed(seed)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator) * 0.2

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        return (self.head(torch.relu(self.backbone(image_NCHW))),)


@dataclass
class MemorySplit:
    """Smooth random images and blocky random labels of the given sizes."""

    sizes: Sequence[tuple[int, int]]
    classes: tuple[str, ...] = CLASSES
    palette: tuple[tuple[int, int, int], ...] = PALETTE
    fingerprint: str = "f" * 64
    dataset: str = "memory"
    ignored: float = 0.1

    @property
    def ids(self) -> list[str]:
        return [f"scene/{i:03d}" for i in range(len(self.sizes))]

    def __len__(self) -> int:
        return len(self.sizes)

    def image(self, i: int) -> Array:
        height, width = self.sizes[i]
        coarse = np.random.default_rng(i).integers(
            0, 256, (height // 6 + 2, width // 6 + 2, 3), dtype=np.uint8
        )
        return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))

    def label(self, i: int) -> Array:
        generator = np.random.default_rng(1000 + i)
        height, width = self.sizes[i]
        coarse = generator.integers(0, len(self.classes), (height // 9 + 1, width // 9 + 1), dtype=np.uint8)
        label = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST))
        label[generator.random(label.shape) < self.ignored] = 255
        return label


def reference_prediction(
    net: nn.Module, image: Array, protocol: Protocol, variant: Variant, params: ModelParams
) -> Array:
    """One label map, the long way: full-size score maps in float64, averaged, argmax."""
    target = image.shape[:2]
    rule = params.resize if protocol.rule == "model" else protocol.rule
    maps = []
    for scale in variant.scales:
        for mirrored in (False, True) if variant.flip else (False,):
            seen = _resized(image, scale, protocol)
            seen = seen[:, ::-1] if mirrored else seen
            if protocol.mode == "whole":
                size = seen.shape[:2]
                scores = _logits(net, seen, params)
                if protocol.logits_resize == "via_input":
                    scores = resize_logits(scores, size, rule)
                    scores = resize_logits(scores, target, protocol.map_rule)
                else:
                    scores = resize_logits(scores, target, rule)
                scores = _scores(scores, protocol)
            else:
                scores = resize_logits(_slide(net, seen, protocol, params, rule), target, protocol.map_rule)
            maps.append(scores.flip(-1) if mirrored else scores)
    return np.asarray(torch.stack(maps).mean(0)[0].argmax(0)).astype(np.uint8)


def _slide(net: nn.Module, image: Array, protocol: Protocol, params: ModelParams, rule: Any) -> Tensor:
    assert protocol.crop is not None
    height, width = image.shape[:2]
    total = count = 0
    for top in _starts(height, protocol.crop[0], protocol.step[0]):
        for left in _starts(width, protocol.crop[1], protocol.step[1]):
            tile = image[top : top + protocol.crop[0], left : left + protocol.crop[1]]
            here = tile.shape[:2]
            if protocol.pad_tiles:
                canvas = np.zeros((*protocol.crop, 3), np.uint8)
                canvas[: here[0], : here[1]] = tile
                tile = canvas
            scores = _scores(resize_logits(_logits(net, tile, params), tile.shape[:2], rule), protocol)
            sheet = torch.zeros(1, scores.shape[1], height, width, dtype=torch.float64)
            mask = torch.zeros(1, 1, height, width, dtype=torch.float64)
            sheet[:, :, top : top + here[0], left : left + here[1]] = scores[:, :, : here[0], : here[1]]
            mask[:, :, top : top + here[0], left : left + here[1]] = 1
            total, count = total + sheet, count + mask
    return total / count


def _starts(side: int, crop: int, step: int) -> list[int]:
    """Every `step` pixels until a tile reaches the border; that one is moved back onto it."""
    starts = [0]
    while starts[-1] + crop < side:
        starts.append(min(starts[-1] + step, side - crop))
    return starts


def _resized(image: Array, scale: float, protocol: Protocol) -> Array:
    height, width = image.shape[:2]
    factor = scale
    if protocol.base is not None:
        long, short = int(max(protocol.base) * scale), int(min(protocol.base) * scale)
        factor = min(long / max(height, width), short / min(height, width))
    whole = math.floor if protocol.rounding == "floor" else lambda side: math.floor(side + 0.5)
    size = max(1, whole(width * factor)), max(1, whole(height * factor))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))


def _logits(net: nn.Module, image: Array, params: ModelParams) -> Tensor:
    image_NCHW = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    with torch.no_grad():
        return net(normalise(image_NCHW, params))[0].double()


def _scores(logits: Tensor, protocol: Protocol) -> Tensor:
    return logits.softmax(1) if protocol.average == "probability" else logits
