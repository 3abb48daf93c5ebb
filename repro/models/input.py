"""From pixels to what a network is fed."""

from __future__ import annotations

from functools import lru_cache

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
    mean, std = (_channels(tuple(values), image_NCHW.device) for values in (params.mean, params.std))
    return (image_NCHW.to(torch.float32) - mean) / std


@lru_cache(maxsize=64)
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """[1, 3, 1, 1] float32. Kept: making it anew waits for everything that a GPU has still to do."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device).view(1, 3, 1, 1)
