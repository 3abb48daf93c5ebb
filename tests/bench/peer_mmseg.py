"""mmsegmentation's own training transforms, imported where they are installed (`make parity` installs them).

mmsegmentation 1.2 asks for mmcv below 2.2 with compiled operators; its transforms use neither the operators
nor anything that changed, so a placeholder and an older version number are enough to import them.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any


def available() -> bool:
    """Whether mmseg and mmcv are installed in this environment."""
    return all(importlib.util.find_spec(name) for name in ("mmseg", "mmcv", "mmengine"))


def pipeline(*, base: tuple[int, int], crop: tuple[int, int], reduce_zero_label: bool = False) -> Any:
    """The pipeline of page 004 (rows 004-01 ...), as mmsegmentation composes it: file names to arrays."""
    _importable()
    from mmcv.transforms import Compose, LoadImageFromFile, Pad, RandomFlip, RandomResize
    from mmseg.datasets.transforms import LoadAnnotations, PhotoMetricDistortion, RandomCrop

    return Compose(
        [
            LoadImageFromFile(imdecode_backend="cv2"),
            LoadAnnotations(imdecode_backend="cv2", reduce_zero_label=reduce_zero_label),
            RandomResize(scale=base, ratio_range=(0.5, 2.0), keep_ratio=True),
            RandomCrop(crop_size=crop, cat_max_ratio=0.75),
            RandomFlip(prob=0.5),
            PhotoMetricDistortion(),
            Pad(size=crop[::-1], pad_val={"img": 0, "seg": 255}),
        ]
    )


def _importable() -> None:
    import mmcv

    mmcv.__version__ = "2.1.0"
    if importlib.util.find_spec("mmcv._ext") is None:
        operators = types.ModuleType("mmcv.ops")
        operators.__getattr__ = lambda name: None  # type: ignore[method-assign]
        sys.modules.setdefault("mmcv.ops", operators)
