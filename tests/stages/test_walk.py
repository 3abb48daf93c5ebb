"""docs/your-own-zoo.md: every command of the walk, in its order, with data of a minute."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
WALK = ROOT / "docs" / "your-own-zoo.md"
REGRESSION = 1  # of `repro check`: an epoch does not reach the published number
SHORT = {
    "training": {"split": "train", "epochs": 1, "batch": 16, "lr": 0.05},
    "augmentation": {"crop": [60, 80]},
}


def blocks() -> Iterator[tuple[str, str, str]]:
    """(language, content, paragraph before) of each code block."""
    text = WALK.read_text()
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield found[1], found[2], text[: found.start()].rstrip().rpartition("\n\n")[2]


def file_of(paragraph: str) -> str:
    """The last file that a paragraph names before its block."""
    return re.findall(r"`([\w/.-]+\.(?:md|ya?ml))`", paragraph)[-1]


def draw_data(folder: Path) -> None:
    """Twelve images with a box and a bar, their masks and lists."""
    rng = np.random.default_rng(0)
    names = [f"scene{i}" for i in range(12)]
    for name in names:
        mask = np.zeros((48, 64), np.uint8)
        y, x = rng.integers(4, 20, 2)
        mask[y : y + 20, x : x + 20], mask[:, -6:] = 1, 2
        image = np.stack([mask * 90 + 30] * 3, -1) + rng.integers(0, 20, (48, 64, 3), np.uint8)
        for kind, pixels in (("images", image), ("masks", mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / kind / f"{name}.png")
    (folder / "train.txt").write_text("\n".join(names[:8]) + "\n")
    (folder / "val.txt").write_text("\n".join(names[8:]) + "\n")


def write(zoo: Path, name: str, content: str) -> None:
    """A file of the walk; what it adds to a mapping of params.yaml goes below that mapping's key."""
    path = zoo / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name != "params.yaml":
        path.write_text(content)
        return
    key, _, added = content.partition("\n")
    text = path.read_text()
    assert f"\n{key}\n" in text
    path.write_text(text.replace(f"\n{key}\n", f"\n{key}\n{added}", 1))


def shorten(zoo: Path) -> None:
    """One epoch in place of forty."""
    (path,) = zoo.glob("experiments/*/params.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | SHORT))


def environment() -> dict[str, str]:
    who = {f"GIT_{who}_{what}": "t@e.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | who | {"PATH": path, "PYTHONPATH": str(ROOT), "REPRO_TRACKING": "off"}


@pytest.mark.dvc
@pytest.mark.smoke
def test_every_command_of_the_walk_runs(tmp_path: Path) -> None:
    draw_data(tmp_path / "shapes")
    zoo, folder, ran = tmp_path / "myzoo", tmp_path, []
    for language, content, paragraph in blocks():
        if language != "console":
            write(zoo, file_of(paragraph), content)
            continue
        for command in (line.removeprefix("$ ") for line in content.splitlines()):
            if command.startswith("pip install"):
                continue
            if command.startswith("cd "):
                folder = folder / command.removeprefix("cd ")
                continue
            done = subprocess.run(
                ["bash", "-c", command], cwd=folder, env=environment(), capture_output=True, text=True
            )
            allowed = (0, REGRESSION) if command.startswith(("repro check", "repro page lint")) else (0,)
            assert done.returncode in allowed, f"{command}\n{done.stdout}\n{done.stderr}"
            ran.append(command)
            if command.startswith("repro init"):
                shorten(zoo)
    records = {path.stem for path in (zoo / "reports/rows").glob("*.json")}
    assert records == {"synthetic_mobilenetv2_os16", "shapes_resnet18_os16"}
    assert len(ran) <= 25
    assert "61.30 → " in (zoo / "reports/tables/page-mine.md").read_text()
