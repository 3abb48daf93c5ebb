"""Evaluate a network on a split under a protocol: confusion matrices per image, then metrics.

If torch.distributed is initialised, each process evaluates a share of the batches, and all of them return the
result of the whole split, which is bit-identical to that of a single process.

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

from repro.errors import DataError, ParamsError
from repro.evaluation.confusion import LabelMap
from repro.evaluation.image_counts import ImageCounts, count_image, evaluated_classes, true_label
from repro.evaluation.score_maps import argmax
from repro.evaluation.summary import EvaluationResult, Images, Progress, summarise
from repro.evaluation.tta import Forward, Image, Views, image_size, is_zero_tile, logits_rule, merge, views_of
from repro.io.threads import in_order
from repro.models import normalise, number_formats, pad_to_multiple, resize_logits
from repro.models.number_formats import tf32
from repro.params.protocol import Protocol
from repro.params.reference import NetworkParams
from repro.published.page import QUIRK

Predictions = dict[str, LabelMap]  # suffix of the metrics -> prediction
Predict = Callable[[Sequence[Image]], list[Predictions]]


def evaluate(
    model: nn.Module,
    split: Images,
    *,
    protocol: Protocol,
    model_params: NetworkParams,
    num_classes: int,
    device: str = "cpu",
    progress: Progress | None = None,
    keep: Callable[[int, Image, LabelMap, LabelMap], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> EvaluationResult:
    """Evaluate `model` on `split`; its train or eval mode is restored.

    Args:
        model: network of `model_params`, on `device`.
        split: images and labels.
        protocol: scales, flips, tiles, ignored labels, metrics.
        model_params: input normalisation and resize rule.
        num_classes: number of classes of the network.
        device: device of the network.
        progress: called after each batch.
        keep: called with (index, image, truth, prediction) of every image, to save visualisations.
        stopped: called before each batch; True stops the evaluation.

    Raises:
        DataError: `num_classes` does not match the split.
        Stopped: `stopped` returned True in any process.
    """
    classes = evaluated_classes(split.classes, protocol)
    if num_classes != len(classes):
        raise DataError(f"the network has {num_classes} classes, the split {len(classes)}")
    number = min(len(split), protocol.first or len(split))
    predict = predictor(model, protocol=protocol, model_params=model_params, device=device)
    with evaluating(model):
        seen = list(
            count_split(
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
    if any_rank_stopped(stopped()):
        raise Stopped
    return summarise(gather(seen), split, number, classes=classes, protocol=protocol)


def predictor(
    model: nn.Module, *, protocol: Protocol, model_params: NetworkParams, device: str = "cpu"
) -> Predict:
    """Create a function from images of one size to their label maps, per suffix of the metrics."""
    if protocol.mode == "external":
        what = "no network is run under a protocol of mode external: it says how a program predicted"
        raise ParamsError(what, allowed="a protocol of mode whole or slide")
    forward = forward_of(model, model_params, protocol, device)
    rule = logits_rule(protocol, model_params.resize)

    @torch.inference_mode()
    @tf32(False)  # merging also multiplies matrices
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


def forward_of(model: nn.Module, model_params: NetworkParams, protocol: Protocol, device: str) -> Forward:
    """Create a function from pixels to logits: copy to the device, normalise, pad, run the network."""

    def forward(image_NCHW: Tensor) -> Tensor:
        image_NCHW = normalise(image_NCHW.to(device, non_blocking=True), model_params)
        padded_NCHW = pad_to_multiple(image_NCHW, model_params.size_divisor)
        with tf32(False), precision(protocol, device):
            logits_NChw: Tensor = model(padded_NCHW.contiguous(memory_format=torch.channels_last))[0]
        if padded_NCHW is image_NCHW:
            return logits_NChw
        (height, width), padded = image_NCHW.shape[-2:], (padded_NCHW.shape[2], padded_NCHW.shape[3])
        return resize_logits(logits_NChw, padded, model_params.resize)[..., :height, :width]

    return forward


def precision(protocol: Protocol, device: str) -> AbstractContextManager[Any]:
    if protocol.precision == "fp32":
        return nullcontext()
    return number_formats.autocast(device)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode inside the `with`, and restore the mode afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def count_split(
    predict: Predict,
    split: Images,
    number: int,
    *,
    classes: int,
    protocol: Protocol,
    progress: Progress | None = None,
    keep: Callable[[int, Image, LabelMap, LabelMap], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[ImageCounts]:
    """Predict and count this process's share of the first `number` images of `split`, in order."""
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
                yield count_image(i, truth, prediction, classes, protocol)
        if progress is not None:
            progress(min(start + protocol.batch * world, number), number)


def preloaded(
    split: Images, starts: Sequence[int], batch: int, number: int
) -> Iterator[list[tuple[Image, LabelMap]]]:
    """Images and labels of the batches; a thread decodes one batch ahead."""

    def load(start: int) -> list[tuple[Image, LabelMap]]:
        return [(split.image(i), split.label(i)) for i in range(start, min(start + batch, number))]

    return in_order(load, starts, workers=1, ahead=1, name="images")


class Stopped(Exception):
    """The evaluation was stopped before the last image."""


def any_rank_stopped(here: bool) -> bool:
    """Whether any process was stopped; the same value in all processes."""
    if not dist.is_initialized():
        return here
    flags: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(flags, here)
    return any(flags)


def gather(seen: Sequence[ImageCounts]) -> list[ImageCounts]:
    """The counts of all processes, in the order of the split."""
    if not dist.is_initialized():
        return list(seen)
    shares: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(shares, list(seen))
    return sorted((one for share in shares for one in share), key=lambda one: one.index)
