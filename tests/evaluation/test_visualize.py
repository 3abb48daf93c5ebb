"""Pictures of predictions: classes in their colours, and drawn over the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from repro.evaluation.visualize import blended, colours, predict_images

PALETTE = [(250, 0, 10), (0, 128, 0), (1, 2, 255)]


def picture(seed: int = 0) -> tuple[Any, Any]:
    """A random image [H, W, 3] and a label map [H, W] of two of the three classes."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (6, 9, 3), np.uint8), generator.integers(0, 2, (6, 9), dtype=np.uint8)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.5, 1.0])
def test_the_image_shows_through(opacity: float) -> None:
    image, label = picture()
    drawn = blended(image, label, PALETTE, opacity)
    wanted = image * (1 - opacity) + colours(label, PALETTE) * opacity
    assert drawn.dtype == np.uint8
    assert np.abs(drawn - wanted).max() < 1
    if opacity == 1:
        np.testing.assert_array_equal(drawn, colours(label, PALETTE))


def test_pixels_without_a_class_stay_as_they_are() -> None:
    image, label = picture()
    label[:2] = 255
    drawn = blended(image, label, PALETTE, 1.0)
    np.testing.assert_array_equal(drawn[:2], image[:2])
    np.testing.assert_array_equal(blended(image, np.full_like(label, 255), PALETTE, 1.0), image)


def test_overlays_of_predictions(tmp_path: Path) -> None:
    image, label = picture()
    Image.fromarray(image).save(tmp_path / "a.png")

    def predict(images: Sequence[Any]) -> Any:
        return [{"": label}]

    for blend, wanted in ((None, colours(label, PALETTE)), (0.5, blended(image, label, PALETTE, 0.5))):
        ((file, found, _),) = predict_images(
            predict, [tmp_path / "a.png"], tmp_path / "maps", palette=PALETTE, blend=blend
        )
        np.testing.assert_array_equal(found, label)
        np.testing.assert_array_equal(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), label)
        overlay = cv2.imread(str(tmp_path / "maps" / "a_overlay.png"))[..., ::-1]
        np.testing.assert_array_equal(overlay[:, :9], image)
        np.testing.assert_array_equal(overlay[:, -9:], wanted)
