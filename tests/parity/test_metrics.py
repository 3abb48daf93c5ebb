"""Our metrics are those of mmsegmentation's own intersect_and_union and total_area_to_metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from repro.evaluation.confusion import count
from repro.evaluation.metrics import metrics, parts, per_class
from tests.evaluation.test_metrics import ADVERSARIAL, CLASSES, maps
from tests.parity import peers

MAPS = ADVERSARIAL | {f"random {seed}": maps(seed, ignored=0.02 * seed) for seed in range(10, 30)}


def metric() -> Any:
    """mmsegmentation's IoUMetric, a class of static functions here."""
    peers.mmseg()  # makes mmseg importable beside mmcv-lite
    from mmseg.evaluation import IoUMetric

    return IoUMetric


@pytest.mark.parametrize("name", MAPS)
def test_areas_and_metrics_are_those_of_mmsegmentation(name: str) -> None:
    truth, prediction = MAPS[name]
    areas = metric().intersect_and_union(
        torch.from_numpy(prediction.copy()), torch.from_numpy(truth.copy()), CLASSES, 255
    )
    matrix = count(truth, prediction, classes=CLASSES)
    right, true, given = parts(matrix)
    for area, ours in zip(areas, (right, true + given - right, given, true), strict=True):
        assert area.long().tolist() == ours.tolist()
    theirs = metric().total_area_to_metrics(*areas, metrics=["mIoU", "mDice", "mFscore"])
    iou, recall, precision, dice = per_class(matrix)
    for key, ours in {"IoU": iou, "Acc": recall, "Dice": dice, "Precision": precision}.items():
        np.testing.assert_allclose(theirs[key], ours, atol=1e-7, err_msg=key)
    found = metrics(matrix, chosen=np.arange(CLASSES), absent="skip")
    means = {"mIoU": "IoU", "mAcc": "Acc", "mDice": "Dice", "mPrecision": "Precision"}
    for ours_name, key in means.items():
        expected = float(np.nanmean(theirs[key])) if np.isfinite(theirs[key]).any() else np.nan
        assert found[ours_name] == pytest.approx(100 * expected, abs=1e-4, nan_ok=True)
    assert found["aAcc"] == pytest.approx(100 * float(theirs["aAcc"]), abs=1e-4, nan_ok=True)
