"""A project with large aerial images, and the peak memory of commands on it, each in its own process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from repro.datasets.sets.potsdam import PALETTE
from tests.datasets.kit import ROOT

Pixels = NDArray[np.uint8]
# The official lists ask for 38 and 18 such images; here they name two. Peak memory is the kernel's VmHWM
# where there is one: getrusage also knows what the parent held when it started this process.
RUN = """
import resource, sys
from pathlib import Path
from repro.datasets import inria_aerial, potsdam
potsdam.AREAS = {"train": (), "val": ("2_13", "2_14")}
inria_aerial.VAL = frozenset({"vienna1", "vienna2"})
exec(sys.argv.pop(1))
status = Path("/proc/self/status")
peak_kB = status.read_text().partition("VmHWM:")[2].split()[0] if status.exists() else None
kilobytes = int(peak_kB or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print("PEAK", kilobytes * 1024 / 1e6)
"""
COMMAND = """
from repro.cli import main
try:
    main()
except SystemExit as done:
    assert done.code == 0, done.code
"""
LOAD = """
from repro.datasets.prepare.prepared_split import Split
split = Split.open(Path(sys.argv[1]))
for i in range(len(split)):
    assert split.image(i).shape == (5000, 5000, 3) and split.label(i).shape == (5000, 5000)
"""
PARAMS = """
datasets:
  potsdam: {classes: 6, splits: {val: 288}}
  inria_aerial: {classes: 2, splits: {train: 25, val: 2}}
"""


def draw(root: Path) -> Path:
    """Potsdam with two areas of 6000x6000, Inria with three of 5000x5000: uncompressed TIFF."""
    (root / "experiments").mkdir(parents=True)
    (root / "params.yaml").write_text(PARAMS)
    stems = [f"{root}/data/potsdam/top_potsdam_{area}" for area in ("2_13", "2_14")]
    _write([f"{stem}_RGB.tif" for stem in stems], _photo(6000, 0))
    colours = np.array(PALETTE, np.uint8)[_bands(6000), ::-1]
    _write([f"{stem}_label_noBoundary.tif" for stem in stems], colours)
    buildings = np.where(_bands(5000) % 2, np.uint8(255), np.uint8(0))
    inria = f"{root}/data/inria_aerial/AerialImageDataset/train"
    for seed, names in enumerate((["austin1"], ["vienna1", "vienna2"])):
        _write([f"{inria}/images/{name}.tif" for name in names], _photo(5000, seed))
        _write([f"{inria}/gt/{name}.tif" for name in names], buildings)
    return root


def peak(project: Path, program: str, *arguments: str) -> float:
    """Run `program` in the project and return its peak resident memory in MB."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{RUN}"
    command = [sys.executable, "-c", start, program, *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return float(done.stdout.split()[-1])


def _photo(side: int, seed: int) -> Pixels:
    noise = np.random.default_rng(seed).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    return np.tile(noise, (side // 500, side // 500, 1))


def _bands(side: int) -> NDArray[np.int64]:
    """Rectangles of 100 x 250 pixels, numbered 0 to 5."""
    rows, columns = np.arange(side) // 100, np.arange(side) // 250
    return (rows[:, None] + columns) % 6


def _write(names: list[str], pixels: Pixels) -> None:
    """Write a single file, and links to it."""
    first, *others = (Path(name) for name in names)
    first.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(first), pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    for other in others:
        other.hardlink_to(first)
