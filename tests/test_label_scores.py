"""`repro.score` against scikit-learn, and its errors."""

from __future__ import annotations

import doctest
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

import repro
from repro import label_scores
from repro.errors import DataError

CLASSES = 4


def _images(seed: int, number: int = 25) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    labels = [rng.integers(0, CLASSES, (6, 7)) for _ in range(number)]
    maps = [np.where(rng.random((6, 7)) < 0.6, label, rng.integers(0, CLASSES, (6, 7))) for label in labels]
    for label in labels:
        label[0, :2] = 255
    return maps, labels


def test_score_is_what_scikit_learn_computes_over_all_pixels() -> None:
    maps, labels = _images(0)
    truth, found = (np.concatenate([array.ravel() for array in arrays]) for arrays in (labels, maps))
    counted = truth != 255
    result = repro.score(maps, labels, classes=CLASSES)
    by_class = jaccard_score(truth[counted], found[counted], average=None)
    assert list(result["IoU"].values()) == pytest.approx(100 * by_class, abs=1e-3)
    assert result["mIoU"] == pytest.approx(100 * by_class.mean(), abs=1e-3)
    matrix = confusion_matrix(truth[counted], found[counted])
    assert result["aAcc"] == pytest.approx(100 * np.trace(matrix) / matrix.sum(), abs=1e-3)
    assert result["mIoU_low"] < result["mIoU"] < result["mIoU_high"]
    assert result["n_images"] == 25


def test_score_ignores_the_given_label_and_names_the_classes() -> None:
    label = np.array([[0, 1, 7, 7]])
    result = repro.score(iter([np.array([[0, 1, 0, 1]])]), iter([label]), classes=["road", "car"], ignore=7)
    assert result["IoU"] == {"road": 100.0, "car": 100.0}


def test_a_predicted_255_is_always_wrong() -> None:
    result = repro.score([np.array([[0, 255]])], [np.array([[0, 0]])], classes=["road", "car"])
    assert result["IoU"]["road"] == 50.0


def test_errors_name_the_image_and_what_is_allowed() -> None:
    good = np.zeros((2, 3), int)
    cases = {
        "the numbers of maps and labels differ": ([good], [good, good], 2),
        "no images": ([], [], 2),
        "the map has 2x3 pixels, the label 3x2": ([good.T], [good], 2),
        "a map of shape (2, 3) and dtype float64": ([good * 1.0], [good], 2),
        "a label with values from -1 to -1": ([good], [good - 1], 2),
        "label values of no class": ([good], [good + 2], 2),
        "values of no class": ([good + 2], [good], 2),
        "classes: got ['a', 'a']": ([good], [good], ["a", "a"]),
        "classes: got 255": ([good], [good], 255),
    }
    for message, (maps, labels, classes) in cases.items():
        with pytest.raises(DataError) as raised:
            repro.score(maps, labels, classes=classes)
        assert message in str(raised.value), message


def test_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(label_scores) == doctest.TestResults(failed=0, attempted=3)


def test_scoring_arrays_imports_no_torch() -> None:
    code = """
import sys, numpy as np, repro
label = np.array([[0, 1]])
print(repro.score([label], [label], classes=2)["mIoU"], *({"torch", "pandas", "mlflow"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["100.0"]
