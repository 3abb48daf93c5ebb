"""The loss of a network with one or more heads.

Legend: N images, C classes, H W label size, h w logit size. Logits are resized to the label's size in float32
(bf16 keeps 3 digits, too few for a mean over 100,000 pixels); labels are uint8 train ids with 255 = ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.params.training import TrainingParams

IGNORE = 255
Resize = Callable[[Tensor, tuple[int, int]], Tensor]


def only_classes(label_NHW: Tensor, *, classes: int) -> Tensor:
    """The labels with everything that is no class set to 255.

    Page 003 resizes labels bilinearly, so a mixture with 255 may be any number; its loss, too, takes only
    labels below the number of classes.
    """
    return label_NHW.masked_fill(label_NHW >= classes, IGNORE)


def counted_pixels(label_NHW: Tensor, params: TrainingParams) -> int:
    """How many pixels the mean is taken over: the labelled ones, or all (mmsegmentation, page 004)."""
    return label_NHW.numel() if params.loss_average == "all" else int((label_NHW != IGNORE).sum())


def total_loss(
    heads_NChw: Sequence[Tensor],
    label_NHW: Tensor,
    params: TrainingParams,
    *,
    pixels: float | Tensor,
    resize: Resize,
) -> Tensor:
    """Weighted sum over the heads of (sum of cross entropy / `pixels`); a float32 scalar.

    `pixels` is what the whole update counts (all micro-batches, all devices), so that the gradient of an
    update does not depend on how its images are spread.
    """
    weights = head_weights(len(heads_NChw), params)
    losses = [_head_loss(head, label_NHW, params, pixels, resize) for head in heads_NChw]
    return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()


def head_weights(heads: int, params: TrainingParams) -> list[float]:
    """1 for the prediction and aux_weight for the others, or equal parts (newdid6 of page 003)."""
    if params.heads == "mean":
        return [1 / heads] * heads
    return [1.0] + [params.aux_weight] * (heads - 1)


def _head_loss(
    logits_NChw: Tensor, label_NHW: Tensor, params: TrainingParams, pixels: float | Tensor, resize: Resize
) -> Tensor:
    size = (int(label_NHW.shape[1]), int(label_NHW.shape[2]))
    # Classes last: one pixel's logits lie together, which halves the time of softmax on a CPU
    # (8x11x320x320, 2 threads: 97 ms forward and backward against 167 ms classes first).
    logits = logits_NChw.float().contiguous(memory_format=torch.channels_last)
    flat_PC = resize(logits, size).permute(0, 2, 3, 1).flatten(0, 2)
    target_P = label_NHW.flatten().long()
    if params.ohem_threshold is not None:
        return _hard_pixels(flat_PC, target_P, params)
    return F.cross_entropy(flat_PC, target_P, ignore_index=IGNORE, reduction="sum") / pixels


def _hard_pixels(flat_PC: Tensor, target_P: Tensor, params: TrainingParams) -> Tensor:
    """Mean over the pixels whose true class is improbable (Shrivastava et al. 2016, as segmentation uses it).

    The choice is made per micro-batch and device, unlike the plain mean.
    """
    assert params.ohem_threshold is not None
    loss_P = F.cross_entropy(flat_PC, target_P, ignore_index=IGNORE, reduction="none")
    loss_P = loss_P[target_P != IGNORE]
    if loss_P.numel() == 0:
        return flat_PC.sum() * 0.0
    keep = max(1, int(params.ohem_keep * loss_P.numel()))
    hardest = loss_P.detach().topk(keep).values[-1]
    limit = torch.minimum(hardest, -torch.log(loss_P.new_tensor(params.ohem_threshold)))
    return loss_P[loss_P >= limit].mean()
