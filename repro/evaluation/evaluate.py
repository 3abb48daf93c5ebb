"""Evaluate a network on a split under a protocol: a confusion matrix for every image, then metrics.

`observe` looks at the images and counts; `summarise` turns counts into metrics. With torch.distributed
running, every process observes its share of the batches and all of them get the whole result, which is
bit-equal to that of one process.

Shapes: N images, C classes, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import groupby
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from repro.datasets.formats.image_io import present_values
from repro.datasets.sets.spec import IGNORE
from repro.errors import DataError
from repro.evaluation import boundary
from repro.evaluation.confusion import LabelMap, count, squeeze
from repro.evaluation.score_maps import argmax
from repro.evaluation.summary import EvaluationResult, Images, Seen, summarise
from repro.evaluation.tta import Forward, Image, Views, image_size, is_zero_tile, logits_rule, merge, views_of
from repro.io.threads import in_order
from repro.models import normalise, number_formats
from repro.models.number_formats import tf32
from repro.params.model import ModelParams
from repro.params.protocol import Protocol
from repro.published.page import QUIRK

Predictions = dict[str, LabelMap]  # suffix of the metrics -> prediction
Predict = Callable[[Sequence[Image]], list[Predictions]]
Progress = Callable[[int, int], None]  # images done, images in all


def evaluate(
    model: nn.Module,
    split: Images,
    *,
    protocol: Protocol,
    model_params: ModelParams,
    num_classes: int,
    device: str = "cpu",
    progress: Progress | None = None,
    keep: Callable[[int, Image, LabelMap, LabelMap], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> EvaluationResult:
    """Evaluate `model` on `split`.

    `keep(index, image, truth, prediction)` is called with every image in turn, for pictures. The model's
    mode is put back. Raises DataError when `num_classes` does not fit the split's classes, Stopped in every
    process once `stopped`, which is asked before each batch, says so in one.
    """
    classes = evaluated_classes(split.classes, protocol)
    if num_classes != len(classes):
        raise DataError(f"the network has {num_classes} classes, the split {len(classes)}")
    number = min(len(split), protocol.first or len(split))
    predict = predictor(model, protocol=protocol, model_params=model_params, device=device)
    with evaluating(model):
        seen = list(
            observe(
                predict,
                split,
                number,
                classes=num_classes,
                protocol=protocol,
                progress=progress,
                keep=keep,
                stopped=stopped,
            )
        )
    if stopped_anywhere(stopped()):
        raise Stopped
    return summarise(gathered(seen), split, number, classes=classes, protocol=protocol)


def evaluated_classes(classes: Sequence[str], protocol: Protocol) -> tuple[str, ...]:
    """The classes of the result: those of the split, without the first when label 0 is ignored."""
    return tuple(classes)[1:] if protocol.reduce_zero_label else tuple(classes)


def predictor(
    model: nn.Module, *, protocol: Protocol, model_params: ModelParams, device: str = "cpu"
) -> Predict:
    """A function from images of one size to label maps, one for every suffix that the metrics will have."""
    forward = forward_of(model, model_params, protocol, device)
    rule = logits_rule(protocol, model_params.resize)

    @torch.inference_mode()
    @tf32(False)  # merging multiplies matrices too
    def predict(images: Sequence[Image]) -> list[Predictions]:
        size, seen, results = image_size(images[0]), Views(), [Predictions() for _ in images]
        for suffix, variant in protocol.variants().items():
            for result, views in zip(
                results, views_of(forward, images, variant, protocol, seen), strict=True
            ):
                result[suffix] = argmax(merge(views, size, protocol, rule)).numpy()
                if protocol.zero_tile == "nan":  # the page's 0/0: argmax of NaN is class 0 everywhere
                    zero = is_zero_tile(size, variant, protocol)
                    result[suffix + QUIRK] = np.zeros_like(result[suffix]) if zero else result[suffix]
        return results

    return predict


def forward_of(model: nn.Module, model_params: ModelParams, protocol: Protocol, device: str) -> Forward:
    """Pixels to small logits: to the device, normalise, run, the prediction of all outputs."""

    def forward(image_NCHW: Tensor) -> Tensor:
        image_NCHW = normalise(image_NCHW.to(device, non_blocking=True), model_params)
        with tf32(False), precision(protocol, device):
            logits_NChw: Tensor = model(image_NCHW.contiguous(memory_format=torch.channels_last))[0]
        return logits_NChw

    return forward


def precision(protocol: Protocol, device: str) -> AbstractContextManager[Any]:
    if protocol.precision == "fp32":
        return nullcontext()
    return number_formats.autocast(device)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the `with`, the model's own mode after it."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def observe(
    predict: Predict,
    split: Images,
    number: int,
    *,
    classes: int,
    protocol: Protocol,
    progress: Progress | None = None,
    keep: Callable[[int, Image, LabelMap, LabelMap], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Seen]:
    """Look at this process's share of the first `number` images of `split`, batch by batch, in order."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    starts = range(0, number, protocol.batch)[rank::world]
    for start, loaded in zip(starts, preloaded(split, starts, protocol.batch, number), strict=True):
        if stopped():
            return
        for _, group in groupby(enumerate(loaded, start), key=lambda one: image_size(one[1][0])):
            same_size = list(group)
            predictions = predict([image for _, (image, _) in same_size])
            for (i, (image, label)), prediction in zip(same_size, predictions, strict=True):
                truth = true_label(label, classes, protocol, where=split.ids[i])
                if keep is not None:
                    keep(i, image, truth, prediction[""])
                yield compared(i, truth, prediction, classes, protocol)
        if progress is not None:
            progress(min(start + protocol.batch * world, number), number)


def preloaded(
    split: Images, starts: Sequence[int], batch: int, number: int
) -> Iterator[list[tuple[Image, LabelMap]]]:
    """Images and labels of the batches, decoded by a thread one batch ahead."""

    def load(start: int) -> list[tuple[Image, LabelMap]]:
        return [(split.image(i), split.label(i)) for i in range(start, min(start + batch, number))]

    return in_order(load, starts, workers=1, ahead=1, name="images")


def true_label(label_HW: LabelMap, classes: int, protocol: Protocol, *, where: object) -> LabelMap:
    """The truth with every ignored pixel at 255; a value that is neither a class nor ignored is an error."""
    if protocol.reduce_zero_label:
        label_HW = label_HW - np.uint8(1)  # 0 becomes 255, and 255 (ignored) 254
        label_HW[label_HW == np.uint8(IGNORE - 1)] = IGNORE
    if protocol.ignore_index != IGNORE:
        label_HW = np.where(label_HW == protocol.ignore_index, np.uint8(IGNORE), label_HW)
    values = present_values(label_HW).tolist()
    wrong = [value for value in values if classes <= value != IGNORE]
    if wrong:
        raise DataError(
            f"label values of no class: {wrong[:5]}", where=where, allowed=f"0..{classes - 1}, 255"
        )
    return label_HW


def compared(i: int, truth: LabelMap, prediction: Predictions, classes: int, protocol: Protocol) -> Seen:
    """Count one image."""
    width = boundary.band_width(image_size(truth), protocol.boundary_ratio)
    counted = {suffix: squeeze(count(truth, label, classes=classes)) for suffix, label in prediction.items()}
    wanted = protocol.boundary_ratio > 0
    outlines = boundary.count(truth, prediction[""], classes=classes, width=width) if wanted else None
    return Seen(index=i, cells=counted, outlines=outlines)


class Stopped(Exception):
    """Somebody asked for the end before all images were seen."""


def stopped_anywhere(here: bool) -> bool:
    """Whether any process was asked to stop, the same answer in all."""
    if not dist.is_initialized():
        return here
    flags: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(flags, here)
    return any(flags)


def gathered(seen: Sequence[Seen]) -> list[Seen]:
    """What all processes saw, in the order of the split."""
    if not dist.is_initialized():
        return list(seen)
    shares: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(shares, list(seen))
    return sorted((one for share in shares for one in share), key=lambda one: one.index)
