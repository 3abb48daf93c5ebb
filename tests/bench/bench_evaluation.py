"""Evaluation: counting, merging twelve views, tiles, the bootstrap; beside the usual ways to do them.

Peers are written out here: `torch.histc` over the classes (mmsegmentation's intersect and union), a list of
full-size softmax maps that is averaged in the end, and, without a bound, the running sum of such maps that
mmsegmentation keeps. All run the same network in the same process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.evaluation.bootstrap import interval
from repro.evaluation.confusion import collect, count, squeeze
from repro.evaluation.evaluate import evaluate, forward_of, predictor
from repro.evaluation.tta import Image, cut, tile_corners
from repro.models import build, normalise
from repro.params import ModelParams, Protocol, parse
from tests.bench.row import Row, interleaved
from tests.evaluation.kit import MemorySplit

SCALES = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
PARAMS = parse(
    ModelParams, {"family": "deeplabv3plus", "backbone": "mobilenetv2", "output_stride": 16}, "bench"
)


def rows() -> Iterator[Row]:
    yield from counting()
    yield from merging()
    yield from tiles()
    yield from memory()
    yield resampling()


def counting() -> Iterator[Row]:
    generator = np.random.default_rng(0)
    truth, prediction = generator.integers(0, 19, (2, 1024, 2048), dtype=np.uint8)
    ours, peer = interleaved(
        lambda: count(truth, prediction, classes=19), lambda: histc(truth, prediction, 19), repeats=7
    )
    yield Row(
        name="confusion matrix, 1024x2048, 19 classes",
        peer_name="torch.histc",
        ours=ours,
        peer=peer,
        bound=0.037,
    )


def histc(truth: Image, prediction: Image, classes: int) -> tuple[Tensor, ...]:
    """Areas of intersection, prediction and truth of every class."""
    label, guess = torch.from_numpy(truth).long(), torch.from_numpy(prediction).long()
    mask = label != 255
    label, guess = label[mask], guess[mask]
    agreed = guess[guess == label]
    return tuple(torch.histc(one.float(), classes, 0, classes - 1) for one in (agreed, guess, label))


def merging() -> Iterator[Row]:
    net, image = network(150), picture(512, 512)
    for precision, bound in (("fp32", 0.55), ("bf16", 0.36)):
        rules = parse(
            Protocol, {"mode": "whole", "scales": SCALES, "flip": True, "precision": precision}, "bench"
        )
        predict = predictor(net, protocol=rules, model_params=PARAMS)
        name = f"6 scales + flip, 512x512, 150 classes, {precision}"
        for peer_name, way, limit in (("list of softmax maps", naive, bound), ("running sum", summed, None)):
            ours, peer = interleaved(lambda: predict([image]), lambda: way(net, image), repeats=2)  # noqa: B023
            yield Row(name=name, peer_name=f"{peer_name}, fp32", ours=ours, peer=peer, bound=limit)


@torch.inference_mode()
def naive(net: nn.Module, image: Image) -> Tensor:
    """Every view enlarged, softmaxed and kept; then the mean and its argmax."""
    return torch.stack(list(softmax_maps(net, image))).mean(0).argmax(1)


@torch.inference_mode()
def summed(net: nn.Module, image: Image) -> Tensor:
    """Every view enlarged, softmaxed and added to the others."""
    maps = softmax_maps(net, image)
    total = next(maps)
    for scores in maps:
        total += scores
    return (total / (2 * len(SCALES))).argmax(1)


def softmax_maps(net: nn.Module, image: Image) -> Iterator[Tensor]:
    """The scores of every scale, plain and mirrored, at the size of the image."""
    image_NCHW = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    for scale in SCALES:
        seen = normalise(F.interpolate(image_NCHW, scale_factor=scale, mode="bilinear"), PARAMS)
        for mirrored in (False, True):
            logits = net(seen.flip(-1) if mirrored else seen)[0]
            whole = F.interpolate(logits, size=seen.shape[-2:], mode="bilinear")
            scores = F.interpolate(whole, size=image.shape[:2], mode="bilinear").softmax(1)
            yield scores.flip(-1) if mirrored else scores


def tiles() -> Iterator[Row]:
    net, image = network(19), picture(1024, 2048)
    rules = parse(Protocol, {"mode": "slide", "crop": [768, 768], "stride": [512, 512]}, "bench")
    predict = predictor(net, protocol=rules, model_params=PARAMS)
    pieces = [
        torch.from_numpy(np.ascontiguousarray(tile)).permute(2, 0, 1)[None]
        for tile in cut(image, tile_corners((1024, 2048), rules), rules)
    ]
    forward = torch.inference_mode()(forward_of(net, PARAMS, rules, "cpu"))
    ours, peer = interleaved(lambda: predict([image]), lambda: [forward(one) for one in pieces], repeats=3)
    yield Row(
        name="tiles of 768, 1024x2048, 19 classes",
        peer_name="the network's forward passes alone",
        ours=ours,
        peer=peer,
        bound=1.1,
    )


def memory() -> Iterator[Row]:
    views, split = "6 scales + flip, 512x512, 150 classes", "a split of 101 images, 360x480, 11 classes"
    peak = {way: peak_memory(way) for way in ("our_views", "our_split")}
    for name, peer_name, ours, way, bound in (
        (views, "list of softmax maps", "our_views", "naive_views", 0.13),
        (views, "running sum", "our_views", "summed_views", None),
        (split, "list of softmax maps", "our_split", "naive_split", 0.02),
    ):
        yield Row(
            name=f"peak memory, {name}",
            peer_name=peer_name,
            ours=peak[ours],
            peer=peak_memory(way),
            bound=bound,
            unit="MiB",
        )
    extra = peak_memory("our_count")
    row = "confusion matrix, memory beside the two maps"
    yield Row(name=row, peer_name="4 MiB", ours=extra, peer=4.0, bound=1.0, unit="MiB")


def peak_memory(way: str) -> float:
    """MiB by which the largest resident size of a fresh process grows while it does the work once."""
    code = f"from tests.bench import bench_evaluation as b; print(b.grown(b.{way}))"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(answer.stdout)


def grown(work: Callable[[bool], Callable[[], object]]) -> float:
    """Growth of this process; the same work in small comes first, so that all libraries are loaded."""
    work(False)()
    run = work(True)
    before = high_water(reset=True)
    run()
    return high_water() - before


def our_views(large: bool) -> Callable[[], object]:
    rules = parse(Protocol, {"mode": "whole", "scales": SCALES, "flip": True}, "bench")
    predict = predictor(network(150), protocol=rules, model_params=PARAMS)
    return lambda: predict([picture(512, 512) if large else picture(64, 64)])


def naive_views(large: bool) -> Callable[[], object]:
    net, side = network(150), 512 if large else 64
    return lambda: naive(net, picture(side, side))


def summed_views(large: bool) -> Callable[[], object]:
    net, side = network(150), 512 if large else 64
    return lambda: summed(net, picture(side, side))


def our_split(large: bool) -> Callable[[], object]:
    rules = parse(Protocol, {"mode": "whole"}, "bench")
    net, split = network(11), MemorySplit([(360, 480)] * (101 if large else 2), classes=tuple("abcdefghijk"))
    return lambda: evaluate(net, split, protocol=rules, model_params=PARAMS, num_classes=11)


def naive_split(large: bool) -> Callable[[], object]:
    """Keep the scores of every image, count in the end."""
    net, split = network(11), MemorySplit([(360, 480)] * (101 if large else 2), classes=tuple("abcdefghijk"))

    @torch.inference_mode()
    def run() -> object:
        scores = []
        for i in range(len(split)):
            image_NCHW = torch.from_numpy(split.image(i)).permute(2, 0, 1)[None]
            logits = net(normalise(image_NCHW, PARAMS))[0]
            scores.append(F.interpolate(logits, size=(360, 480), mode="bilinear").softmax(1)[0])
        maps = [one.argmax(0).to(torch.uint8).numpy() for one in scores]
        return [histc(split.label(i), one, 11) for i, one in enumerate(maps)]

    return run


def our_count(large: bool) -> Callable[[], object]:
    generator = np.random.default_rng(0)
    truth, prediction = generator.integers(0, 19, (2, 1024 if large else 32, 2048), dtype=np.uint8)
    return lambda: count(truth, prediction, classes=19)


def high_water(*, reset: bool = False) -> float:
    """MiB, VmHWM of Linux; `reset` brings it down to what is resident now."""
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def resampling() -> Row:
    generator = np.random.default_rng(0)
    matrices = []
    for _ in range(2000):
        present = generator.choice(150, 8, replace=False)
        matrix = np.zeros((150, 151), np.int64)
        matrix[np.ix_(present, present)] = generator.integers(1, 5000, (8, 8))
        matrices.append(squeeze(matrix))
    stored = collect(matrices, classes=150)
    start = time.process_time()  # an absolute budget: processor time, whatever else runs
    interval(stored, chosen=np.arange(150), absent="skip")
    ours = time.process_time() - start
    name = "bootstrap: 10,000 resamples, 2,000 images, 150 classes"
    return Row(name=name, peer_name="2 s", ours=ours, peer=2.0, bound=1.0, unit="CPU s")


def network(classes: int) -> nn.Module:
    torch.manual_seed(0)
    return build(PARAMS, num_classes=classes).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def picture(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
