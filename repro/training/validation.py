"""Validation loss for `monitor: loss`."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import torch
from torch import Tensor, nn

from repro.datasets.prepare.prepared_split import Split
from repro.params import Experiment
from repro.training.losses import counted_pixels, only_classes, total_loss
from repro.training.train import logits_resize, network_input


def validation_loss(
    model: nn.Module,
    split: Split,
    experiment: Experiment,
    *,
    device: torch.device,
    stopped: Callable[[], bool] = lambda: False,
) -> float | None:
    """Mean cross entropy per image of `split`, with images resized to the training crop.

    Page 000's TensorFlow rows validate like this, on 768x768. Returns None if `stopped`, which is called
    before each image, returns True.
    """
    params, classes = experiment.training, experiment.facts.classes
    losses = []
    for i in range(len(split)):
        if stopped():
            return None
        image_NCHW, label_NHW = _sized(split, i, experiment.augmentation.crop)
        label_NHW = only_classes(label_NHW, classes=classes)
        heads = model(network_input(experiment)(image_NCHW.to(device)))[:1]
        pixels = max(counted_pixels(label_NHW, params), 1)
        resize = logits_resize(experiment)
        losses.append(total_loss(heads, label_NHW.to(device), params, pixels=pixels, resize=resize))
    return float(torch.stack(losses).mean())


def _sized(split: Split, i: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    width_height = (size[1], size[0])
    image_HWC = cv2.resize(split.image(i), width_height, interpolation=cv2.INTER_LINEAR)
    label_HW = cv2.resize(split.label(i), width_height, interpolation=cv2.INTER_NEAREST)
    return torch.from_numpy(image_HWC).permute(2, 0, 1)[None], torch.from_numpy(label_HW)[None]
