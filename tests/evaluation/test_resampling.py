"""What an interval resamples: images, groups, blocks; against loops, scipy, and data of known spread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from repro.datasets import DATASETS
from repro.datasets.lists import official
from repro.errors import RecordError
from repro.evaluation.bootstrap import (
    Groups,
    Resampling,
    effective,
    groups_of,
    interval,
    miou_draws,
    over_images,
    resampling,
)
from repro.evaluation.confusion import squeeze
from repro.evaluation.image_counts import ImageCounts
from repro.evaluation.outputs import npz, pack, pack_groups, read_confusions, write_result
from repro.evaluation.paired_test import compare
from repro.evaluation.summary import summarise
from repro.params.protocol import Protocol
from tests.evaluation.kit import MemorySplit
from tests.evaluation.test_paired_test import split, stored

Floats = npt.NDArray[np.float64]
CLASSES = 4
FEW = " (fewer than 20 independent units: likely too narrow)"


def videos(*sizes: int, block: int = 10) -> Groups:
    """Groups `a`, `b`, ... of these sizes, one after the other."""
    names = tuple(name for name, size in zip("abcdefgh", sizes, strict=False) for _ in range(size))
    return Groups(names=names, noun="video", block=block)


def tiles(images: int, each: int) -> Groups:
    names = tuple(f"image {k}" for k in range(images) for _ in range(each))
    return Groups(names=names, noun="source image")


@pytest.mark.parametrize(
    ("images", "groups", "kind"),
    [
        (233, None, "233 images"),
        (19, None, "19 images" + FEW),
        (1, None, "1 image" + FEW),
        (500, tiles(500, 1), "500 images"),
        (480, tiles(40, 12), "40 source images"),
        (168, tiles(14, 12), "14 source images" + FEW),
        (12, tiles(1, 12), "12 images of 1 source image" + FEW),
        (233, videos(62, 171), "blocks of 10 consecutive frames of 2 videos"),
        (101, videos(101), "blocks of 10 consecutive frames of 1 video" + FEW),
    ],
)
def test_the_kind_says_what_is_resampled(images: int, groups: Groups | None, kind: str) -> None:
    assert resampling(images, groups).kind == f"95 % percentile bootstrap over {kind}"


def test_many_videos_are_drawn_whole_unless_one_has_most_frames() -> None:
    names = [f"v{k}" for k in range(40) for _ in range(5)]
    many = Groups(names=tuple(names), noun="video", block=10)
    assert resampling(200, many).kind.endswith("over 40 videos")
    uneven = Groups(names=(*names, *["long"] * 400), noun="video", block=10)
    assert effective((5,) * 40 + (400,)) < 3
    assert "blocks of 10 consecutive frames of 41 videos" in resampling(600, uneven).kind


def test_what_the_data_sets_say() -> None:
    test = official("camvid_test")
    for name in ("camvid", "camvid12", "camvid_original"):
        found = groups_of(name, test)
        assert found is not None
        assert (set(found.names), found.noun, found.block) == ({"0001TP", "Seq05VD"}, "video", 10)
    examples = {
        "cityscapes": ("frankfurt_000001_000294", "frankfurt"),
        "potsdam": ("2_13_512_0_1024_512", "2_13"),
        "vaihingen": ("area38_0_512_512_1024", "area38"),
        "isaid": ("P0003_0_512_896_1408", "P0003"),
    }
    for name, (image, group) in examples.items():
        found = groups_of(name, [image])
        assert found is not None, name
        assert found.names == (group,)
    found = groups_of("inria_aerial", ["tyrol-w3", "austin1_0_1000_1000_2000"])
    assert found is not None
    assert found.names == ("tyrol-w3", "austin1")


def test_independent_images_have_no_groups() -> None:
    """Scenes drawn one by one, photographs of many people; LoveDA's numbers do not name the source image."""
    without = {name for name in DATASETS if groups_of(name, ["a_0"]) is None}
    assert {"synthetic", "voc2012", "ade20k", "pascal_context", "loveda"} <= without


def by_loops(
    pair: tuple[Floats, Floats], starts: list[list[int]], groups: list[list[int]], block: int
) -> float:
    """mIoU of one circular block resample: frames are collected one after the other, then added up."""
    frames: list[int] = []
    for own, begins in zip(groups, starts, strict=True):
        taken = [own[(start + k) % len(own)] for start in begins for k in range(min(block, len(own)))]
        frames += taken[: len(own)]
    inter, union = sum(pair[0][i] for i in frames), sum(pair[1][i] for i in frames)
    return float(100 * (inter / union).mean())


@pytest.mark.parametrize("block", [1, 4, 7, 50])
def test_blocks_are_those_of_plain_loops(block: int) -> None:
    """Also where the frames of the two videos alternate, and where a block is longer than a video."""
    pair = levels(np.random.default_rng(0).normal(size=30))
    names = tuple("ab"[k % 3 == 0] for k in range(30))
    over = resampling(30, Groups(names=names, noun="video", block=block))
    found = miou_draws(pair, over, resamples=20, absent="skip")
    groups = [[k for k in range(30) if names[k] == name] for name in ("b", "a")]  # b comes first
    generator = np.random.default_rng(0)
    drawn = [
        generator.integers(0, len(own), (20, -(-len(own) // min(block, len(own)))), dtype=np.int32)
        for own in groups
    ]
    for r in range(20):
        starts = [one[r].tolist() for one in drawn]
        assert found[r] == pytest.approx(by_loops(pair, starts, groups, block), abs=1e-9)


def test_a_group_is_drawn_with_all_its_images() -> None:
    pair = levels(np.random.default_rng(1).normal(size=24 * 3))
    over = resampling(72, Groups(names=tuple(f"g{k % 24}" for k in range(72)), noun="scene"))
    found = miou_draws(pair, over, resamples=20, absent="skip")
    drawn = np.random.default_rng(0).integers(0, 24, (20, 24), dtype=np.int32)
    for value, groups in zip(found, drawn.tolist(), strict=True):
        images = [image for group in groups for image in range(72) if image % 24 == group]
        expected = (pair[0][images].sum(0) / pair[1][images].sum(0)).mean() * 100
        assert value == pytest.approx(expected, abs=1e-9)


def test_over_images_it_is_the_percentile_interval_of_scipy() -> None:
    right, union = levels(np.random.default_rng(2).normal(size=80))

    def miou(images: npt.NDArray[np.intp]) -> float:
        return float((right[images].sum(0) / union[images].sum(0)).mean() * 100)

    theirs = stats.bootstrap(
        (np.arange(80),), miou, method="percentile", n_resamples=4000, vectorized=False, rng=3
    ).confidence_interval
    draws = miou_draws((right, union), over_images(80), resamples=10_000, absent="skip")
    assert np.quantile(draws, (0.025, 0.975)) == pytest.approx([theirs.low, theirs.high], abs=0.25)


def levels(quality: Floats) -> tuple[Floats, Floats]:
    """Intersections and unions [N, C] of images of 1,000 pixels; `quality` [N] moves the right share."""
    generator = np.random.default_rng(int(abs(quality[0]) * 1e9))
    images = len(quality)
    true = generator.dirichlet([2.0] * CLASSES, images) * 1000
    noise = 0.3 * generator.normal(size=(images, CLASSES))
    right = true / (1 + np.exp(-(0.8 + 0.7 * quality[:, None] + noise)))
    wrong = (1000 - right.sum(1, keepdims=True)) * generator.dirichlet([2.0] * CLASSES, images)
    return right, true + wrong


def ar1(generator: np.random.Generator, size: int, phi: float) -> Floats:
    """A series of variance 1 with this lag-1 correlation."""
    values = generator.normal(size=size)
    for k in range(1, size):
        values[k] = phi * values[k - 1] + np.sqrt(1 - phi**2) * values[k]
    return values


def coverage(over: Resampling, qualities: list[Floats]) -> float:
    """Share of the intervals that hold the mIoU of the population, which has independent images."""
    right, union = levels(np.random.default_rng(9).normal(size=200_000))
    truth = (right.sum(0) / union.sum(0)).mean() * 100
    hits = 0
    for quality in qualities:
        draws = miou_draws(levels(quality), over, resamples=300, absent="skip")
        low, high = np.quantile(draws, (0.025, 0.975))
        hits += low <= truth <= high
    return hits / len(qualities)


def test_coverage_on_two_videos() -> None:
    """CamVid's test split drawn 300 times, with the lag-1 correlation measured there (0.45)."""
    generator = np.random.default_rng(5)
    drawn = [np.concatenate([ar1(generator, size, 0.45) for size in (62, 171)]) for _ in range(300)]
    blocks = coverage(resampling(233, videos(62, 171)), drawn)
    images = coverage(over_images(233), drawn)
    assert images < 0.83, "single frames pretend to more than they know"
    assert 0.86 <= blocks <= 0.97


def test_coverage_on_tiles_of_large_images() -> None:
    generator = np.random.default_rng(6)
    groups = tiles(30, 8)
    drawn = [
        np.sqrt(0.5) * (np.repeat(generator.normal(size=30), 8) + generator.normal(size=240))
        for _ in range(300)
    ]
    assert coverage(over_images(240), drawn) < 0.75
    assert 0.88 <= coverage(resampling(240, groups), drawn) <= 0.98


def test_independent_images_keep_their_draws() -> None:
    """The intervals of splits without groups are what they were before groups were known, bit for bit."""
    one = split(50, seed=3)
    low, high = interval(one, chosen=np.arange(3), absent="skip")
    assert (round(low, 4), round(high, 4)) == (65.9875, 67.0644)


class Frames(MemorySplit):
    """Frames of two videos, named as CamVid's are."""

    @property
    def ids(self) -> list[str]:
        return [f"{'0001TP' if i < 10 else 'Seq05VD'}_{i:05d}" for i in range(len(self.sizes))]


def test_an_evaluation_writes_its_groups_and_names_its_interval(tmp_path: Path) -> None:
    frames = Frames(sizes=[(8, 8)] * 40, dataset="camvid", classes=("road", "tree", "car"))
    one = split(40, seed=4)
    seen = [ImageCounts(index=i, cells={"": squeeze(one.of(i))}, outlines=None) for i in range(40)]
    result = summarise(seen, frames, 40, classes=frames.classes, protocol=Protocol(mode="whole"))
    assert result.metrics["interval"].startswith(
        "95 % percentile bootstrap over blocks of 10 consecutive frames of 2 videos"
    )
    write_result(result, tmp_path, split="test")
    back = read_confusions(tmp_path / "confusion.npz")
    assert back.groups == result.groups
    assert back.groups is not None
    assert back.groups.names == ("0001TP",) * 10 + ("Seq05VD",) * 30


def test_groups_that_are_not_one_for_each_image_are_damage(tmp_path: Path) -> None:
    arrays = pack({"": split(3, seed=0)}) | pack_groups(videos(2))
    facts = {"protocol": "p", "fingerprint": "f", "split": "val", "absent": "skip"}
    arrays |= {name: np.array(value) for name, value in facts.items()}
    arrays |= {"ids": np.array(["a", "b", "c"]), "classes": np.array(["x"]), "chosen": np.arange(1)}
    path = tmp_path / "confusion.npz"
    path.write_bytes(npz(arrays))
    with pytest.raises(RecordError, match="2 groups for 3 images"):
        read_confusions(path)


def test_two_results_are_paired_block_by_block() -> None:
    """Where either of the two knows the groups; the order and the images are those both have."""
    a, b = stored(split(60, seed=0)), stored(split(60, seed=1, accuracy=0.82))
    groups = videos(20, 40)
    known = [
        compare(replace(a, groups=groups), b, resamples=300),
        compare(a, replace(b, groups=groups), resamples=300),
    ]
    assert known[0].mIoU == known[1].mIoU
    assert "blocks of 10 consecutive frames of 2 videos" in known[0].interval
    assert compare(a, b, resamples=300).interval == "95 % percentile bootstrap over 60 images"
    part = replace(b, ids=(*b.ids[:30], *(f"other {k}" for k in range(30))), groups=groups)
    found = compare(a, part, force=True, resamples=50)
    assert (found.n_images, "of 2 videos" in found.interval) == (30, True)
