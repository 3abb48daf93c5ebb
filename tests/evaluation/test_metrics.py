"""Metrics against independent implementations: scikit-learn, torchmetrics, and intersect / union by sets."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, precision_recall_fscore_support

from repro.errors import DataError, ParamsError
from repro.evaluation import boundary
from repro.evaluation.bootstrap import counts, interval, miou_draws, over_images
from repro.evaluation.confusion import EXACT, Confusions, collect, count, squeeze
from repro.evaluation.metrics import chosen_classes, metrics, page_000_metrics, per_class

Labels = npt.NDArray[np.uint8]
CLASSES = 6


def maps(seed: int, *, ignored: float = 0.1, size: tuple[int, int] = (23, 31)) -> tuple[Labels, Labels]:
    """A truth with ignored pixels and a prediction that is right half of the time."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, CLASSES, size, dtype=np.uint8)
    prediction = np.where(generator.random(size) < 0.5, truth, generator.integers(0, CLASSES, size))
    truth = np.where(generator.random(size) < ignored, 255, truth)
    return truth.astype(np.uint8), prediction.astype(np.uint8)


ADVERSARIAL = {
    "random": maps(0),
    "all right": (maps(1)[1], maps(1)[1]),
    "all ignored": (np.full((4, 5), 255, np.uint8), np.zeros((4, 5), np.uint8)),
    "one class": (np.full((4, 5), 3, np.uint8), np.full((4, 5), 3, np.uint8)),
    "class missing in truth": (maps(2)[0] % 3, maps(2)[1]),
    "class missing in prediction": (maps(3)[0], np.zeros((23, 31), np.uint8)),
    "class missing in both": tuple(np.where(m == 2, 1, m).astype(np.uint8) for m in maps(4)),
    "one pixel": (np.array([[1]], np.uint8), np.array([[2]], np.uint8)),
    "odd stride": (maps(5)[0][::2, ::3], maps(5)[1][::2, ::3]),
}


def sets(truth: Labels, prediction: Labels) -> tuple[list[int], list[int]]:
    """Intersections and unions of the classes as sets of pixels."""
    where = [
        (
            {*zip(*np.nonzero(truth == k), strict=True)},
            {*zip(*np.nonzero((prediction == k) & (truth != 255)), strict=True)},
        )
        for k in range(CLASSES)
    ]
    return [len(a & b) for a, b in where], [len(a | b) for a, b in where]


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_iou_is_that_of_sets_of_pixels(name: str) -> None:
    truth, prediction = ADVERSARIAL[name]
    iou, *_ = per_class(count(truth, prediction, classes=CLASSES))
    for value, inter, union in zip(iou, *sets(truth, prediction), strict=True):
        assert np.isnan(value) if union == 0 else value == inter / union


@pytest.mark.parametrize("name", [name for name in ADVERSARIAL if name != "all ignored"])
def test_against_scikit_learn(name: str) -> None:
    truth, prediction = ADVERSARIAL[name]
    valid = truth != 255
    matrix = count(truth, prediction, classes=CLASSES)
    labels = list(range(CLASSES))
    assert np.array_equal(
        matrix[:, :CLASSES], confusion_matrix(truth[valid], prediction[valid], labels=labels)
    )
    present = np.union1d(truth[valid], prediction[valid])
    values = metrics(matrix, chosen=np.arange(CLASSES), absent="skip")
    jaccard = jaccard_score(truth[valid], prediction[valid], labels=present, average="macro")
    assert values["mIoU"] == pytest.approx(100 * jaccard, abs=1e-4)
    assert values["aAcc"] == pytest.approx(100 * accuracy_score(truth[valid], prediction[valid]), abs=1e-4)
    weighted = jaccard_score(
        truth[valid], prediction[valid], labels=labels, average="weighted", zero_division=0
    )
    assert values["fwIoU"] == pytest.approx(100 * weighted, abs=1e-4)
    _, recall, precision, dice = per_class(matrix)
    expected = precision_recall_fscore_support(
        truth[valid], prediction[valid], labels=labels, zero_division=np.nan
    )
    np.testing.assert_allclose(precision, expected[0])
    np.testing.assert_allclose(recall, expected[1])
    known = ~np.isnan(dice)
    np.testing.assert_allclose(dice[known], np.nan_to_num(expected[2])[known])


@pytest.mark.parametrize(
    "name", ["random", "all right", "class missing in prediction", "class missing in truth"]
)
def test_against_torchmetrics(name: str) -> None:
    """torchmetrics takes an absent class as 0 in `macro`."""
    truth, prediction = ADVERSARIAL[name]
    from torchmetrics.classification import MulticlassJaccardIndex  # 10 s: torchvision and torch._dynamo

    peer = MulticlassJaccardIndex(CLASSES, average="none", ignore_index=255)
    expected = peer(torch.from_numpy(prediction.astype(np.int64)), torch.from_numpy(truth.astype(np.int64)))
    iou, *_ = per_class(count(truth, prediction, classes=CLASSES))
    np.testing.assert_allclose(np.nan_to_num(iou), expected.numpy(), atol=1e-6)


def test_absent_class_is_left_out_or_zero() -> None:
    matrix = count(*ADVERSARIAL["one class"], classes=CLASSES)
    assert metrics(matrix, chosen=np.arange(CLASSES), absent="skip")["mIoU"] == 100
    assert metrics(matrix, chosen=np.arange(CLASSES), absent="zero")["mIoU"] == pytest.approx(
        100 / CLASSES, abs=1e-4
    )


def test_mean_over_chosen_classes() -> None:
    matrix = count(*ADVERSARIAL["random"], classes=CLASSES)
    names = tuple("abcdef")
    chosen = chosen_classes(names, ("b", "e"))
    iou, *_ = per_class(matrix)
    assert metrics(matrix, chosen=chosen, absent="skip")["mIoU"] == pytest.approx(
        50 * (iou[1] + iou[4]), abs=1e-4
    )
    assert chosen_classes(names, ()).tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ParamsError, match="clutter"):
        chosen_classes(names, ("clutter",))


def test_mean_accuracy_is_mean_recall() -> None:
    matrix = np.array([[3, 1, 0], [0, 4, 4]])
    values = metrics(matrix, chosen=np.arange(2), absent="skip")
    assert values["mAcc"] == pytest.approx(50 * (3 / 4 + 4 / 8))
    assert values["aAcc"] == pytest.approx(100 * 7 / 12, abs=1e-4)
    assert values["mIoU"] == pytest.approx(50 * (3 / 4 + 4 / 9), abs=1e-4)  # no class: true, and wrong


def test_page_000_takes_the_row_sum_twice() -> None:
    """000-04, 000-05: TP / (2 GT - TP), without pixels of no class; accuracy as a mean over images."""
    first, second = np.array([[3, 1, 2], [0, 4, 0]]), np.array([[0, 0, 0], [1, 1, 5]])
    stored = collect([squeeze(first), squeeze(second)], classes=2)
    values = page_000_metrics(stored, chosen=np.arange(2))
    assert values["mIoU"] == pytest.approx(50 * (3 / (2 * 4 - 3) + 5 / (2 * 6 - 5)), abs=1e-4)
    assert values["aAcc"] == pytest.approx(50 * (7 / 8 + 1 / 2), abs=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 255), st.integers(0, 10_000), st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_count_is_exact(classes: int, seed: int, size: tuple[int, int]) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 256, size, dtype=np.uint8)
    prediction = generator.integers(0, 256, size, dtype=np.uint8)
    expected = np.zeros((classes, classes + 1), np.int64)
    for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if t < classes:
            expected[t, min(p, classes)] += 1
    assert np.array_equal(count(truth, prediction, classes=classes), expected)


def test_count_beyond_what_float32_holds() -> None:
    """An Inria image has 25 million pixels; OpenCV's histogram alone stops counting at 2 ** 24."""
    flat = np.zeros((2, EXACT - 1), np.uint8)
    assert count(flat, flat, classes=2)[0, 0] == 2 * (EXACT - 1)


def test_sizes_must_agree() -> None:
    with pytest.raises(DataError, match=r"\(3, 4\).*\(4, 3\)"):
        count(np.zeros((4, 3), np.uint8), np.zeros((3, 4), np.uint8), classes=2)


def test_stored_matrices_come_back() -> None:
    matrices = [count(*maps(seed), classes=CLASSES) for seed in range(4)] + [
        np.zeros((CLASSES, CLASSES + 1), int)
    ]
    stored = collect([squeeze(matrix) for matrix in matrices], classes=CLASSES)
    assert all(np.array_equal(stored.of(i), matrix) for i, matrix in enumerate(matrices))
    assert np.array_equal(stored.total(), sum(matrices))
    right, true, given = stored.by_image()
    for i, matrix in enumerate(matrices):
        assert right[i].tolist() == np.diagonal(matrix).tolist()
        assert true[i].tolist() == matrix.sum(1).tolist()
        assert given[i].tolist() == matrix[:, :CLASSES].sum(0).tolist()


def boundary_by_the_paper(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """A mask minus its erosion, after padding with zeros: width times a 3x3 square."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & ~eroded.astype(bool)


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_boundary_iou_of_all_classes_at_once(seed: int, width: int) -> None:
    generator = np.random.default_rng(seed)
    truth, prediction = (
        np.asarray(
            cv2.resize(
                generator.integers(0, 4, (7, 9), dtype=np.uint8), (60, 47), interpolation=cv2.INTER_NEAREST
            )
        )
        for _ in range(2)
    )
    inter, union = boundary.count(truth, prediction, classes=4, width=width)
    for k in range(4):
        a, b = boundary_by_the_paper(truth == k, width), boundary_by_the_paper(prediction == k, width)
        assert (inter[k], union[k]) == ((a & b).sum(), (a | b).sum())


def test_boundary_leaves_out_ignored_pixels() -> None:
    truth = np.zeros((9, 9), np.uint8)
    truth[:, 5:] = 255
    other = truth.copy()
    other[:, 5:] = 1
    inter, union = boundary.count(truth, other, classes=2, width=1)
    assert inter.tolist() == union.tolist() == [9 * 5 - 7 * 3, 0]


def test_band_is_two_percent_of_the_diagonal() -> None:
    assert boundary.band_width((1024, 2048), 0.02) == 46
    assert boundary.band_width((10, 10), 0.001) == 1


def some_confusions(images: int, classes: int, *, seed: int = 0) -> Confusions:
    generator = np.random.default_rng(seed)
    matrices = []
    for _ in range(images):
        present = generator.choice(classes, min(classes, 6), replace=False)
        matrix = np.zeros((classes, classes + 1), np.int64)
        matrix[np.ix_(present, present)] = generator.integers(0, 50, (len(present), len(present)))
        matrix[present, present] += generator.integers(100, 5000, len(present))
        matrices.append(squeeze(matrix))
    return collect(matrices, classes=classes)


def test_draws_are_those_of_redrawn_images() -> None:
    """Reference bootstrap: the mIoU of the summed matrices of the drawn images."""
    stored = some_confusions(7, 5)
    chosen = np.arange(5)
    draws = miou_draws(counts(stored, chosen), over_images(7), resamples=20, absent="skip")
    drawn = np.random.default_rng(0).integers(0, 7, (20, 7), dtype=np.int32)
    for value, images in zip(draws, drawn, strict=True):
        total = sum(stored.of(int(i)) for i in images)
        assert value == pytest.approx(metrics(total, chosen=chosen, absent="skip")["mIoU"], abs=1e-4)


def test_interval_covers_and_is_deterministic() -> None:
    stored = some_confusions(40, 5)
    chosen = np.arange(5)
    low, high = interval(stored, chosen=chosen, absent="skip", resamples=2000)
    value = metrics(stored.total(), chosen=chosen, absent="skip")["mIoU"]
    assert low < value < high
    assert (low, high) == interval(stored, chosen=chosen, absent="skip", resamples=2000)


def test_interval_of_one_image_is_a_point() -> None:
    stored = some_confusions(1, 5)
    low, high = interval(stored, chosen=np.arange(5), absent="skip", resamples=50)
    assert low == pytest.approx(high)


def test_interval_has_its_level() -> None:
    """Of 300 splits drawn from a known population, about 95 % of the intervals hold its mIoU."""
    population = some_confusions(500, 4, seed=1)
    chosen = np.arange(4)
    truth = metrics(population.total(), chosen=chosen, absent="skip")["mIoU"]
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        images = generator.integers(0, 500, 60)
        split = collect([squeeze(population.of(int(i))) for i in images], classes=4)
        low, high = interval(split, chosen=chosen, absent="skip", resamples=300)
        hits += low <= truth <= high
    assert 0.90 <= hits / 300 <= 0.98
