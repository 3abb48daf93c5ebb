"""Bilinear resizing under the three rules that the pages' code uses.

half_pixel     source = (target + 0.5) * in / out - 0.5   PyTorch align_corners=False, TensorFlow 2, OpenCV
align_corners  source = target * (in - 1) / (out - 1)     PyTorch align_corners=True
tf_legacy      source = target * in / out                 TensorFlow 1 resize_bilinear: shifted, top left
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.params.bounds import ResizeRule


def resize_logits(logits_NCHW: Tensor, size_HW: tuple[int, int], rule: ResizeRule) -> Tensor:
    """`logits_NCHW` (any float type) at `size_HW` under `rule`; unchanged where the size already fits."""
    if tuple(logits_NCHW.shape[-2:]) == tuple(size_HW):
        return logits_NCHW
    if logits_NCHW.is_meta:
        return torch.empty(*logits_NCHW.shape[:2], *size_HW, device="meta")  # only the shape is asked for
    if rule == "tf_legacy":
        return _legacy(_legacy(logits_NCHW, size_HW[0], dim=2), size_HW[1], dim=3)
    return F.interpolate(
        logits_NCHW, size=tuple(size_HW), mode="bilinear", align_corners=rule == "align_corners"
    )


def _legacy(x_NCHW: Tensor, size: int, *, dim: int) -> Tensor:
    """One axis under the legacy rule: weights of the two nearest source lines, the last line repeated."""
    lines = x_NCHW.shape[dim]
    # MPS has no float64; on other devices a tensor from the CPU would make them wait.
    place = torch.device("cpu") if x_NCHW.device.type == "mps" else x_NCHW.device
    source = torch.arange(size, device=place, dtype=torch.float64) * (lines / size)
    low = source.floor().long().clamp_(max=lines - 1)
    high = (low + 1).clamp_(max=lines - 1)
    shape = [-1 if axis == dim else 1 for axis in range(4)]
    weight = (source - low).to(x_NCHW.dtype).view(shape).to(x_NCHW.device)
    low, high = low.to(x_NCHW.device), high.to(x_NCHW.device)
    return torch.lerp(x_NCHW.index_select(dim, low), x_NCHW.index_select(dim, high), weight)
