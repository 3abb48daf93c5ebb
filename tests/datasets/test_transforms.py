"""Augmentation: image and label aligned, distributions as in the params, equal to independent code."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy import stats

from repro.datasets.augment import photometric
from repro.datasets.augment import transforms as t
from repro.datasets.augment.pages import PIPELINES, steps
from repro.datasets.augment.resize import _warp, fit_size, resize_label_window, resize_window
from repro.datasets.augment.rng import Rng
from repro.errors import ParamsError
from repro.params import Augmentation, parse
from tests.datasets.kit import distorting, photo

Pixels = NDArray[np.uint8]
CLASSES = 8

# One of each kind, with the numbers of the pages but a small crop.
AUGMENTATIONS = {
    "scale_crop": Augmentation(pipeline="scale_crop", crop=(40, 48), scale=(0.5, 2.0), brightness=0.3),
    "sssegmentation": distorting("sssegmentation", crop=(40, 40), base=(160, 40)),
    "mmsegmentation": distorting("mmsegmentation", crop=(40, 40), base=(160, 40)),
    "rsi": Augmentation(
        pipeline="rsi", crop=(40, 40), scale=(0.5, 2.0), base=(60, 60), rotate90=1.0, vertical_flip=0.5
    ),
    "vainf": Augmentation(pipeline="vainf", crop=(40, 40), brightness=0.5, contrast=0.5, saturation=0.5),
    "keras": Augmentation(pipeline="keras", crop=(40, 40), brightness=0.5, contrast=0.5, saturation=0.5),
    "tensorpack": Augmentation(pipeline="tensorpack", crop=(64, 64), scale=(0.7, 1.5), aspect=0.15),
}
names = st.sampled_from(sorted(AUGMENTATIONS))
seeds = st.integers(0, 2**20)


def run(augmentation: Augmentation, image: Pixels, label: Pixels, seed: int) -> tuple[Pixels, Pixels]:
    rng = Rng(seed)
    crop, rest = steps(augmentation, classes=CLASSES)
    image, label = crop(image, label, rng)
    for step in rest:
        image, label = step(image, label, rng)
    return image, label


def without_colour(augmentation: Augmentation) -> Augmentation:
    from dataclasses import replace

    return replace(augmentation, brightness=0.0, contrast=0.0, saturation=0.0, hue=0)


def regions(seed: int, size: tuple[int, int] = (60, 80)) -> Pixels:
    """label_HW of 2 x 3 large cells with classes 0..7, without structures that a resize could lose."""
    cells = np.random.default_rng(seed).permutation(CLASSES)[:6].reshape(2, 3).astype(np.uint8)
    return cells[np.arange(size[0]) * 2 // size[0]][:, np.arange(size[1]) * 3 // size[1]]


def test_every_pipeline_of_the_params_exists() -> None:
    assert set(AUGMENTATIONS) == set(PIPELINES)
    with pytest.raises(ParamsError, match="did you mean 'mmsegmentation'"):
        parse(Augmentation, {"pipeline": "mmsegmentaton", "crop": [1, 1]}, "here")


@given(name=names, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_the_sample_has_the_crop_size(name: str, seed: int) -> None:
    augmentation = AUGMENTATIONS[name]
    image, label = run(augmentation, photo(seed, (60, 80)), regions(seed), seed)
    assert image.shape == (*augmentation.crop, 3)
    assert label.shape == augmentation.crop
    assert image.dtype == label.dtype == np.uint8


@given(name=names, seed=seeds)
@settings(max_examples=80, deadline=None)
def test_image_and_label_stay_aligned(name: str, seed: int) -> None:
    """The image shows the label; away from borders the sample's image must match its label."""
    label = regions(seed)
    image = np.repeat((label * 30)[..., None], 3, axis=2)
    got, label = run(without_colour(AUGMENTATIONS[name]), image, label, seed)
    reach = np.ones((9, 9))  # nearest and bilinear may differ by one source pixel, doubled by the scale
    low, high = cv2.erode(label, reach), cv2.dilate(label, reach)
    inner = (low == high) & (label != 255)
    inner[[*range(4), *range(-4, 0)]] = inner[:, [*range(4), *range(-4, 0)]] = (
        False  # a border may be outside
    )
    assert inner.any()
    assert np.abs(got[inner].astype(int) - label[inner, None].astype(int) * 30).max() <= 1


@given(name=names, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_no_class_appears_that_was_not_there(name: str, seed: int) -> None:
    label = np.where(regions(seed) < 4, 1, 6).astype(np.uint8)
    _, got = run(AUGMENTATIONS[name], photo(seed, (60, 80)), label, seed)
    assert set(np.unique(got)) <= {*np.unique(label), 255}


@given(name=names, seed=seeds)
@settings(max_examples=80, deadline=None)
def test_ignore_is_in_the_padding_only(name: str, seed: int) -> None:
    """The pixels that are not ignored form a full rectangle, with the padding colour outside."""
    augmentation = without_colour(AUGMENTATIONS[name])
    image = np.full((60, 80, 3), 77, dtype=np.uint8)
    got, label = run(augmentation, image, regions(seed), seed)
    inside = label != 255
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert (got[inside] == 77).all()
    colour = (0, 0, 255) if name == "tensorpack" else t.MEAN_COLOUR
    assert (got[~inside] == colour).all()


@pytest.mark.parametrize(("name", "centred"), [("mmsegmentation", False), ("sssegmentation", True)])
def test_where_the_padding_lies(name: str, centred: bool) -> None:
    """A 30x40 image at half of a 20-pixel frame becomes 10x13 inside a 40x40 crop."""
    from dataclasses import replace

    augmentation = replace(AUGMENTATIONS[name], scale=(0.5, 0.5), base=(80, 20), category_share=1.0, flip=0.0)
    _, label = run(augmentation, photo(1, (30, 40)), np.zeros((30, 40), np.uint8), 1)
    rows, columns = np.flatnonzero((label == 0).any(1)), np.flatnonzero((label == 0).any(0))
    assert (len(rows), len(columns)) == (10, 13)
    assert (rows[0], columns[0]) == ((15, 13) if centred else (0, 0))


# Windows


@given(
    seed=seeds,
    high=st.integers(20, 140),
    wide=st.integers(20, 180),
    crop=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
@settings(max_examples=80, deadline=None)
def test_a_window_is_a_slice_of_the_resized_whole(
    seed: int, high: int, wide: int, crop: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8), (5, 5), 1.0)
    label = rng.integers(0, 256, (50, 70), dtype=np.uint8)
    top, left = int(rng.integers(0, high - crop[0] + 1)), int(rng.integers(0, wide - crop[1] + 1))
    box = (slice(top, top + crop[0]), slice(left, left + crop[1]))
    whole = cv2.resize(image, (wide, high), interpolation=cv2.INTER_LINEAR)[box].astype(int)
    assert np.abs(resize_window(image, (high, wide), top, left, crop) - whole).max() <= 2
    if (high, wide) != (50, 70):
        assert np.abs(_warp(image, (high, wide), top, left, crop) - whole).max() <= 1
    nearest = cv2.resize(label, (wide, high), interpolation=cv2.INTER_NEAREST)[box]
    assert np.array_equal(resize_label_window(label, (high, wide), top, left, crop), nearest)


@pytest.mark.parametrize(
    ("size", "base", "factor", "expected"),
    [
        (
            (1024, 1024),
            (2048, 512),
            0.5,
            (256, 256),
        ),  # LoveDA: 1024² become 256 to 1024 (page 004)
        ((1024, 1024), (2048, 512), 2.0, (1024, 1024)),
        ((512, 683), (2048, 512), 1.0, (512, 683)),  # ADE20K: the short side becomes 512
        ((333, 500), (2048, 512), 1.0, (512, 769)),  # VOC
        ((500, 333), (2048, 512), 1.0, (769, 512)),
        ((1024, 2048), (2048, 1024), 1.5, (1536, 3072)),  # Cityscapes
        ((100, 1000), (2048, 512), 1.0, (205, 2048)),  # the long side is the limit
        ((60, 80), None, 0.73, (44, 58)),
    ],
)
def test_sizes_with_the_ratio_kept(
    size: tuple[int, int], base: tuple[int, int] | None, factor: float, expected: tuple[int, int]
) -> None:
    assert fit_size(size, base, factor) == expected


# Distributions


def coordinates(height: int, width: int) -> Pixels:
    """An image of coordinates: red = column, green = row."""
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([x, y, np.zeros_like(x)], axis=-1)


def test_scale_and_crop_are_uniform() -> None:
    """Scales and positions recovered from the pixels; Kolmogorov-Smirnov test against uniform.

    Positions are whole pixels, so they are compared as a share of the positions that there are.
    """
    augmentation = Augmentation(pipeline="scale_crop", crop=(32, 32), scale=(0.5, 2.0), flip=0.0)
    image, label = coordinates(100, 200), np.zeros((100, 200), np.uint8)
    scales, tops = [], []
    for seed in range(600):
        got, _ = run(augmentation, image, label, seed)
        column = got[:, 16, 1].astype(float)
        step = np.polyfit(np.arange(2, 30), column[2:30], 1)[0]
        scales.append(1 / step)
        room = 100 / step - 32
        tops.append((got[16, 16, 1] / step - 16) / room)
    assert stats.kstest(scales, stats.uniform(0.5, 1.5).cdf).pvalue > 1e-3
    assert stats.kstest(np.clip(tops, 0, 1), stats.uniform(0, 1).cdf).pvalue > 1e-3
    assert min(scales) > 0.48
    assert max(scales) < 2.05


def test_every_crop_position_is_alike_and_both_ends_are_reached() -> None:
    counts = Counter(t.crop_corner((14, 20), (10, 20), Rng(seed)) for seed in range(2000))
    assert sorted(counts) == [(top, 0) for top in range(5)]
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_flip_has_its_probability() -> None:
    image, label = coordinates(4, 6), np.zeros((4, 6), np.uint8)
    across = [
        t.flip(image, label, Rng(s), horizontal=0.5, vertical=0.25)[0][0, 0, 0] == 5 for s in range(2000)
    ]
    down = [t.flip(image, label, Rng(s), horizontal=0.5, vertical=0.25)[0][0, 0, 1] == 3 for s in range(2000)]
    assert stats.binomtest(sum(across), 2000, 0.5).pvalue > 1e-3
    assert stats.binomtest(sum(down), 2000, 0.25).pvalue > 1e-3


def test_quarter_turns_are_alike() -> None:
    image, label = coordinates(5, 5), np.arange(25, dtype=np.uint8).reshape(5, 5)
    turned = [t.rotate90(image, label, Rng(s), probability=1.0) for s in range(1000)]
    counts = Counter(int(label[0, 0]) for _, label in turned)
    assert sorted(counts) == [0, 4, 20, 24]
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
    assert all(np.array_equal(image[..., 1] * 5 + image[..., 0], label) for image, label in turned)


def test_a_dominated_crop_is_drawn_again() -> None:
    """Class 1 is in the left tenth: with the 0.75 rule nearly all crops show both classes, without few."""
    image, label = coordinates(40, 200), np.zeros((40, 200), np.uint8)
    label[:, :20] = 1
    kinds = {}
    for share in (1.0, 0.75):
        augmentation = Augmentation(pipeline="scale_crop", crop=(40, 40), category_share=share, flip=0.0)
        kinds[share] = sum(1 in run(augmentation, image, label, s)[1] for s in range(300)) / 300
    assert kinds[1.0] < 0.25
    assert kinds[0.75] > 0.45


def test_a_crop_is_drawn_so_many_times_and_no_more() -> None:
    """A label with a single class: every crop is dominated, and the last one is used."""
    image, label = coordinates(40, 200), np.zeros((40, 200), np.uint8)
    for tries in (1, 10, 11):
        augmentation = Augmentation(
            pipeline="scale_crop", crop=(40, 40), category_share=0.75, category_tries=tries, flip=0.0
        )
        corners = Rng(5)
        wanted = [t.crop_corner((40, 200), (40, 40), corners) for _ in range(tries)][-1]
        cut, _ = run(augmentation, image, label, 5)
        assert tuple(cut[0, 0, 1::-1]) == wanted


@given(labels=st.lists(st.sampled_from([0, 1, 255]), min_size=8, max_size=40), share=st.floats(0.1, 0.99))
@settings(max_examples=60, deadline=None)
def test_what_dominated_means(labels: list[int], share: float) -> None:
    """mmsegmentation keeps a crop with more than one class and max / sum < share."""
    values, counts = np.unique(np.array(labels, np.uint8), return_counts=True)
    counts = counts[values != 255]
    keeps = len(counts) > 1 and counts.max() / counts.sum() < share
    assert t.is_dominated(np.array(labels, np.uint8)[None], share) is not keeps


# Colour


@pytest.mark.parametrize("factor", [0.5, 0.73, 1.0, 1.21, 1.5])
@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_jitter_is_pillows(kind: str, factor: float) -> None:
    """Page 000 jitters with torchvision, that is with PIL's ImageEnhance: equal, pixel for pixel."""
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    enhance = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
    }[kind]
    expected = np.asarray(enhance(Image.fromarray(image)).enhance(factor))
    assert np.array_equal(getattr(photometric, f"_jitter_{kind}")(image, factor), expected)


@given(
    seed=st.integers(0, 2**20), classes=st.integers(1, 5), share=st.sampled_from([0.25, 0.5, 0.75, 0.9, 1.0])
)
@settings(max_examples=200, deadline=None)
def test_a_dominating_class_is_found_as_by_counting(seed: int, classes: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice([0, 1, 2, 7, 255], classes, replace=False)
    often = rng.dirichlet(np.full(classes, rng.choice([0.2, 1.0, 3.0])))
    label = rng.choice(values, rng.integers(1, 40, 2), p=often).astype(np.uint8)
    counts = np.bincount(label[label != 255], minlength=1)
    expected = np.count_nonzero(counts) <= 1 or counts.max() / counts.sum() >= share
    assert t.is_dominated(label, share) == expected


@pytest.mark.parametrize(
    "table", [np.arange(256) + shift for shift in (-256, -31.4, -0.1, 0.0, 5.0, 31.9, 255)]
)
def test_a_shift_by_addition_is_the_look_up(table: np.ndarray) -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 21, 3), dtype=np.uint8)
    values = photometric._table(table)
    added = image.copy()
    photometric._apply(added, values)
    assert np.array_equal(added, values[image])


def test_jitter_order_is_shuffled_for_vainf_and_fixed_for_keras() -> None:
    image, label = photo(1), np.zeros((12, 16), np.uint8)
    changes = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5}
    fixed = photometric.jitter(image, label, Rng(3), **changes, shuffled=False)[0]
    rng = Rng(3)
    expected = image
    for kind in ("brightness", "contrast", "saturation"):
        expected = getattr(photometric, f"_jitter_{kind}")(expected, rng.uniform(0.5, 1.5))
    assert np.array_equal(fixed, expected)
    orders = {tuple(Rng(seed).permutation(3).tolist()) for seed in range(100)}
    assert len(orders) == 6


def reference_distortion(image: Pixels, rng: Rng) -> Pixels:
    """The photometric distortion of mmsegmentation in floats, each part with its own HSV round trip."""

    def linear(values: Pixels, alpha: float = 1.0, beta: float = 0.0) -> Pixels:
        return np.clip(values.astype(np.float64) * alpha + beta, 0, 255).astype(np.uint8)

    if rng.bernoulli(0.5):
        image = linear(image, beta=rng.uniform(-32, 32))
    early = rng.bernoulli(0.5)
    if early and rng.bernoulli(0.5):
        image = linear(image, alpha=rng.uniform(0.5, 1.5))
    if rng.bernoulli(0.5):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 1] = linear(hsv[..., 1], alpha=rng.uniform(0.5, 1.5))
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if rng.bernoulli(0.5):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + rng.randint(-18, 17)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if not early and rng.bernoulli(0.5):
        image = linear(image, alpha=rng.uniform(0.5, 1.5))
    return image


@given(seed=seeds)
@settings(max_examples=60, deadline=None)
def test_distortion_follows_the_reference(seed: int) -> None:
    """Equal up to the rounding of the second HSV conversion, which only the reference has."""
    image, label = photo(seed, (30, 40)), np.zeros((30, 40), np.uint8)
    ours, _ = photometric.distort(
        image, label, Rng(seed), brightness=32, contrast=0.5, saturation=0.5, hue=18
    )
    difference = np.abs(ours.astype(int) - reference_distortion(image, Rng(seed)))
    assert difference.mean() < 1.5
    assert np.quantile(difference, 0.99) <= 8


def test_hue_and_saturation_off_leave_the_colours() -> None:
    image, label = photo(1), np.zeros((12, 16), np.uint8)
    for seed in range(20):
        got, _ = photometric.distort(image, label, Rng(seed), brightness=0, contrast=0, saturation=0, hue=0)
        assert np.abs(got.astype(int) - image).max() <= 4, "an HSV round trip at most"


# The quirks of page 003


def test_bilinear_labels_mix_class_numbers_and_name_void() -> None:
    """Class 4 appears between classes 2 and 6; void counts as 11 while it is mixed, and is ignored after."""
    label = np.full((40, 40), 2, np.uint8)
    label[:, 20:] = 6
    label[20:] = 255
    got = set()
    for seed in range(30):
        _, sample = t.scale_axes(
            photo(1, (40, 40)),
            label,
            Rng(seed),
            scale=(1.1, 1.5),
            aspect=0.15,
            crop_HW=(80, 80),
            bilinear_label=True,
            void=11,
            classes=11,
        )
        got |= set(np.unique(sample).tolist())
    assert {2, 6, 255} < got <= {*range(2, 11), 255}
    assert got & {3, 4, 5}, "values between two classes"


@pytest.mark.parametrize("number", [255, 11, 28])
def test_the_padding_of_page_003_holds_the_ignore_number_in_blue(number: int) -> None:
    image, label = np.full((10, 10, 3), 200, np.uint8), np.zeros((10, 10), np.uint8)
    augmentation = Augmentation(pipeline="tensorpack", crop=(20, 20), pad_value=number)
    padded, ignored = run(augmentation, image, label, 1)
    assert padded[0, 0].tolist() == [0, 0, number]
    assert ignored[0, 0] == 255


def test_padding_is_a_class_where_void_is_one() -> None:
    """003-017 to -021, -023 to -025: their scripts pad with 11, and 11 was a class of twelve."""
    image, label = np.full((10, 10, 3), 200, np.uint8), np.zeros((10, 10), np.uint8)
    augmentation = Augmentation(pipeline="tensorpack", crop=(20, 20), pad_value=11, pad_label=11)
    padded, labelled = run(augmentation, image, label, 1)
    assert padded[0, 0].tolist() == [0, 0, 11]
    assert labelled[0, 0] == 11


def test_to_urban_and_to_rural_distort_the_colours() -> None:
    augmentation = Augmentation(pipeline="rsi", crop=(12, 16), flip=0.0, brightness=32, contrast=0.5)
    image, label = photo(1), np.zeros((12, 16), np.uint8)
    assert any(np.abs(run(augmentation, image, label, s)[0].astype(int) - image).max() > 8 for s in range(20))


@given(seed=seeds)
@settings(max_examples=60, deadline=None)
def test_x_and_y_are_scaled_apart_within_the_aspect(seed: int) -> None:
    height, width = t._random_size((100, 200), (0.7, 1.5), 0.15, Rng(seed))
    assert 69 <= height <= 151
    assert 139 <= width <= 301
    assert abs((width / height) / 2 - 1) < 0.15 + 1e-5


def test_an_impossible_aspect_leaves_the_image_unscaled() -> None:
    assert t._random_size((3, 1000), (0.7, 1.5), 1e-9, Rng(1)) == (3, 1000)


def test_the_last_crop_position_is_excluded() -> None:
    """tensorpack's randint ends before the last position; 3 of the 4 rows are reached."""
    image = coordinates(13, 10)
    tops = set()
    for seed in range(200):
        got, _ = t.scale_axes(
            image,
            np.zeros((13, 10), np.uint8),
            Rng(seed),
            scale=(1.0, 1.0),
            aspect=0.0,
            crop_HW=(10, 10),
            bilinear_label=False,
            void=255,
            classes=2,
        )
        tops.add(int(got[0, 0, 1]))
    assert tops == {0, 1, 2}
