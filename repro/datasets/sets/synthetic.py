"""The built-in data set: small street scenes that the project draws itself, in CamVid's layout and classes.

Scenes are integer arithmetic on raw random words, and the PNG files come from `png_writer.encode_png`, so the
same bytes appear on every platform and dvc.lock holds their hash.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from repro.datasets.augment.rng import Draw
from repro.datasets.formats.png_writer import encode_png
from repro.datasets.sets import camvid
from repro.datasets.sets.camvid import pairs as pairs
from repro.datasets.sets.camvid import read_label as read_label
from repro.datasets.sets.canvas import HEIGHT as HEIGHT
from repro.datasets.sets.canvas import WIDTH as WIDTH
from repro.datasets.sets.scenes import scene as scene
from repro.datasets.sets.spec import Download

TITLE = "Synthetic street scenes (built in, 160x120)"
CLASSES = camvid.CLASSES
PALETTE = camvid.PALETTE
SPLITS: Mapping[str, int] = {"train": 96, "val": 24, "test": 48}
LICENCE = "MIT, as the project"
PAGE = "made by `repro data synthetic`"
LAYOUT = camvid.LAYOUT
DOWNLOADS: tuple[Download, ...] = ()
MARKERS: tuple[str, ...] = camvid.MARKERS
VERSION = 1  # raise it when a scene would change: the bytes are pinned


def write(folder: Path) -> int:
    """Draw all scenes into `folder` (train/, trainannot/, ...), replacing it; the number of pairs."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for number, split in enumerate(SPLITS):
        images, labels = part / split, part / f"{split}annot"
        images.mkdir(parents=True)
        labels.mkdir()
        for i in range(SPLITS[split]):
            image_HWC, label_HW = scene(Draw(VERSION, number, i))
            (images / f"{split}_{i:03d}.png").write_bytes(encode_png(image_HWC))
            (labels / f"{split}_{i:03d}.png").write_bytes(encode_png(label_HW))
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)
    return sum(SPLITS.values())
