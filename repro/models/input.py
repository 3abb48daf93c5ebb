"""From pixels to what a network is fed."""

from __future__ import annotations

import torch
from torch import Tensor

from repro.params.model import InputParams, ModelParams


def normalise(image_NCHW: Tensor, params: ModelParams | InputParams) -> Tensor:
    """RGB pixels in 0..255 (uint8 or float, any device) as the network's float32 input, on the same device.

    Channels are put into the order that `params.order` names, then (pixel - mean) / std per channel.
    """
    if isinstance(params, ModelParams):
        params = params.input
    if params.order == "bgr":
        image_NCHW = image_NCHW.flip(1)
    mean = torch.tensor(params.mean, device=image_NCHW.device).view(1, 3, 1, 1)
    std = torch.tensor(params.std, device=image_NCHW.device).view(1, 3, 1, 1)
    return (image_NCHW.to(torch.float32) - mean) / std
