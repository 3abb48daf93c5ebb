"""The input pipeline and the preparation.

Peer of the samples: mmsegmentation's transforms (cv2) on the same files, one core, from the file to the
augmented uint8 arrays. Where mmsegmentation is not installed the rows say so and compare with its steps
written out in plain cv2 instead. Images are drawn here with the sizes and the compressibility of the real
ones (a Cityscapes PNG takes 2.2 MB, an ADE20K JPEG 60 kB).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from repro.datasets import prepare_dataset
from repro.datasets.augment.rng import Rng
from repro.datasets.loader import _sample_function
from repro.datasets.prepare.prepared_split import Split
from repro.params import DatasetFacts
from tests.bench import peer_mmseg
from tests.bench.row import Row
from tests.datasets.kit import distorting, real
from tests.datasets.large import COMMAND, draw, peak

Pixels = NDArray[np.uint8]
SAMPLES = 64


def rows() -> Iterator[Row]:
    """Uncached and cached samples of three kinds of files; preparation."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _samples(Path(folder))
        yield from _preparation(Path(folder))
        yield from _memory(Path(folder))


# Samples

KINDS = {
    # name -> size (H, W), suffix, base (w, h), crop, bounds uncached and cached
    "PNG 2048x1024": ((1024, 2048), ".png", (2048, 1024), (512, 512), 0.59, 0.06),
    "JPEG 2048x1024": ((1024, 2048), ".jpg", (2048, 1024), (512, 512), 0.53, 0.12),
    "ADE-like JPEG 683x512": ((512, 683), ".jpg", (2048, 512), (512, 512), 0.55, 0.32),
}


def _samples(folder: Path) -> Iterator[Row]:
    for name, (size, suffix, base, crop, plain_bound, cached_bound) in KINDS.items():
        raw = draw_set(folder / name.replace(" ", "_"), 4, size, suffix)
        split = _prepared(raw, folder / f"out_{suffix[1:]}_{size[0]}", 4)
        params = distorting("mmsegmentation", crop=crop, base=base)
        plain, cached = (
            _sample_function(split, params, 0),
            _sample_function(split, replace(params, cache=True), 0),
        )
        peer, peer_name = _peer(raw, base, crop)
        ours, again, theirs = _in_turn([partial(_sample, plain), partial(_sample, cached), peer])
        yield Row(name=f"sample, {name}", peer_name=peer_name, ours=ours, peer=theirs, bound=plain_bound)
        yield Row(
            name=f"sample, {name}, cached", peer_name=peer_name, ours=again, peer=theirs, bound=cached_bound
        )


def _sample(make: Callable[[tuple[int, int]], object], i: int) -> object:
    return make((i, i % 4))


def _in_turn(ways: list[Callable[[int], object]]) -> list[float]:
    """CPU seconds a sample of each way, taken in turn; the mean over many draws, for draws differ in cost."""
    spent = [0.0] * len(ways)
    for way in ways:
        way(0)
    for i in range(SAMPLES):
        for k, way in enumerate(ways):
            start = time.process_time()
            way(i)
            spent[k] += time.process_time() - start
    return [seconds / SAMPLES for seconds in spent]


def _peer(raw: Path, base: tuple[int, int], crop: tuple[int, int]) -> tuple[Callable[[int], object], str]:
    files = [(path, raw / "trainannot" / f"{path.stem}.png") for path in sorted((raw / "train").iterdir())]
    cv2.setNumThreads(0)
    if peer_mmseg.available():
        run = peer_mmseg.pipeline(base=base, crop=crop)
        name = "mmsegmentation's transforms"
        return lambda i: run(_as_mmseg(*files[i % len(files)])), name
    print("PEER MISSING: mmsegmentation is not installed; plain cv2 code stands in", file=sys.stderr)
    return lambda i: _plain_cv2(
        *files[i % len(files)], base, crop, i
    ), "plain cv2 with mmsegmentation's steps"


def _as_mmseg(image: Path, label: Path) -> dict[str, object]:
    return {
        "img_path": str(image),
        "seg_map_path": str(label),
        "seg_fields": [],
        "label_map": None,
        "reduce_zero_label": False,
    }


def _plain_cv2(
    image_path: Path, label_path: Path, base: tuple[int, int], crop: tuple[int, int], seed: int
) -> tuple[Pixels, Pixels]:
    """Decode, resize everything, crop (0.75 rule), flip, photometric distortion in floats."""
    rng = np.random.default_rng(seed)
    image, label = cv2.imread(str(image_path)), cv2.imread(str(label_path), cv2.IMREAD_UNCHANGED)
    frame = [int(side * rng.uniform(0.5, 2.0)) for side in base]
    ratio = min(max(frame) / max(label.shape), min(frame) / min(label.shape))
    size = (int(label.shape[1] * ratio + 0.5), int(label.shape[0] * ratio + 0.5))
    image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    for _ in range(11):
        top = int(rng.integers(0, max(size[1] - crop[0], 0) + 1))
        left = int(rng.integers(0, max(size[0] - crop[1], 0) + 1))
        part = label[top : top + crop[0], left : left + crop[1]]
        counts = np.unique(part, return_counts=True)[1]
        if len(counts) > 1 and counts.max() / counts.sum() < 0.75:
            break
    image = image[top : top + crop[0], left : left + crop[1]]
    if rng.random() < 0.5:
        image, part = np.flip(image, axis=1), np.flip(part, axis=1)
    for alpha, beta in ((1.0, rng.uniform(-32, 32)), (rng.uniform(0.5, 1.5), 0.0)):
        if rng.random() < 0.5:
            image = np.clip(image.astype(np.float32) * alpha + beta, 0, 255).astype(np.uint8)
    for channel in (1, 0):
        if rng.random() < 0.5:
            hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2HSV)
            wide = hsv[..., channel].astype(np.float32)
            hsv[..., channel] = np.clip(wide * 1.2, 0, 255) if channel else (wide + 9) % 180
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    border = (0, crop[0] - part.shape[0], 0, crop[1] - part.shape[1], cv2.BORDER_CONSTANT)
    return cv2.copyMakeBorder(image, *border, value=0), cv2.copyMakeBorder(part, *border, value=255)


def draw_set(root: Path, count: int, size_HW: tuple[int, int], suffix: str) -> Path:
    """CamVid's layout with `count` training pairs that compress about as well as street photographs."""
    for i in range(count):
        rng = Rng(i)
        words = rng.raw_words(size_HW[0] * size_HW[1] * 3 // 8 + 1).view(np.uint8)
        noise = words[: size_HW[0] * size_HW[1] * 3].reshape(*size_HW, 3)
        soft = cv2.resize(noise[::32, ::32], size_HW[::-1], interpolation=cv2.INTER_CUBIC)
        image = cv2.add(soft, noise >> 5)
        label = cv2.resize(noise[::128, ::128, 0] % 12, size_HW[::-1], interpolation=cv2.INTER_NEAREST)
        for folder in ("train", "trainannot"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90] if suffix == ".jpg" else []
        cv2.imwrite(str(root / "train" / f"{i:04d}{suffix}"), image, quality)
        cv2.imwrite(str(root / "trainannot" / f"{i:04d}.png"), label)
    return root


def _prepared(raw: Path, out: Path, count: int, workers: int = 1) -> Split:
    prepare_dataset("camvid", raw, out, DatasetFacts(classes=11, splits={"train": count}), workers=workers)
    return Split.open(out / "train.zip")


# Preparation


def _preparation(folder: Path) -> Iterator[Row]:
    """CamVid (the real one where it is there) and 1,000 ADE-like pairs, with one and with two workers."""
    ade = draw_set(folder / "ade", 40, (512, 683), ".jpg")
    for i in range(40, 1000):
        for part, suffix in (("train", ".jpg"), ("trainannot", ".png")):
            (ade / part / f"{i:04d}{suffix}").hardlink_to(ade / part / f"{i % 40:04d}{suffix}")
    yield from _scaling("prepare 1,000 ADE-like pairs", ade, folder / "prepared", {"train": 1000})
    try:
        camvid = real("camvid")
    except BaseException as absent:  # pytest's Skipped is no Exception
        print(absent, file=sys.stderr)
        return
    counts = {"train": 367, "val": 101, "test": 233}
    yield from _scaling("prepare CamVid, 701 pairs", camvid, folder / "prepared", counts)


def _scaling(name: str, raw: Path, out: Path, splits: dict[str, int]) -> Iterator[Row]:
    facts, count = DatasetFacts(classes=11, splits=splits), sum(splits.values())
    wall, cpu = {}, {}
    for workers in (1, 2):
        shutil.rmtree(out, ignore_errors=True)
        start, start_cpu = time.perf_counter(), time.process_time()
        prepare_dataset("camvid", raw, out, facts, workers=workers)
        wall[workers], cpu[workers] = time.perf_counter() - start, time.process_time() - start_cpu
    name = f"{name} ({count / cpu[1]:.0f} images/s a core), 2 workers"
    yield Row(name=name, peer_name="1 worker (wall)", ours=wall[2], peer=wall[1])


def _memory(folder: Path) -> Iterator[Row]:
    """Peak memory of checking and of cutting images of 6000x6000 with their labels, against one gigabyte."""
    project = draw(folder / "large")
    for command in (("data", "verify", "potsdam", "--deep"), ("prepare", "potsdam")):
        found = peak(project, COMMAND, *command, "--workers", "2")
        name = f"{' '.join(command)}, 6000x6000, peak memory"
        yield Row(name=name, peer_name="1 GB", ours=found, peer=1000.0, bound=1.0, unit="MB")
