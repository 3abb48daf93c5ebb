"""docs/your-own-zoo.md: every command of the walk, in its order, from an installed wheel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from repro.params import Project
from repro.records import Record, read_record
from repro.tracking.store import open_client
from tests.stages.test_init import built_wheel
from tests.tracking.kit import WITH_MLFLOW

pytestmark = [*WITH_MLFLOW, pytest.mark.dvc, pytest.mark.smoke]
WALK = Path(__file__).parents[2] / "docs" / "your-own-zoo.md"
DEMO, MINE = "synthetic_mobilenetv2_os16", "shapes_resnet18_os16"
MOST = 25  # commands
LAST = "repro check --against HEAD"  # of the whole walk: after the planted regression
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
        mask[y : y + 20, x : x + 20], mask[:, -16:] = 1, 2
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
    """One epoch of the example in place of forty, and a published number that it reaches."""
    (path,) = zoo.glob("experiments/*/params.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | SHORT))
    for page in zoo.glob("published/example.*"):
        page.write_text(page.read_text().replace("40.27", "1.00"))


def installed(folder: Path) -> Path:
    """Programs of a new environment with the wheel; its dependencies are those of this Python."""
    venv.create(folder, with_pip=True)
    python, paths = folder / "bin" / "python", {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    offline = ("--quiet", "--no-index", "--no-deps", "--disable-pip-version-check")
    run = [str(python), "-m", "pip", "install", *offline, str(built_wheel(folder / "wheel"))]
    subprocess.run(run, check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(sorted(paths)) + "\n")
    code = "import repro; print(repro.__file__)"
    found = subprocess.run([str(python), "-c", code], cwd=folder, check=True, capture_output=True, text=True)
    assert found.stdout.startswith(str(site)), "the package of the wheel, not of the checkout"
    return folder / "bin"


@dataclass
class Shell:
    """Runs commands one after another, and keeps what they printed."""

    folder: Path
    programs: Path
    ran: list[tuple[str, int, str]] = field(default_factory=list)

    def run(self, command: str) -> None:
        who = {
            f"GIT_{who}_{what}": "t@e.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        path = os.pathsep.join([str(self.programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=environment | who | {"PATH": path},
            capture_output=True,
            text=True,
        )
        self.ran.append((command, done.returncode, done.stdout + done.stderr))

    def walk(self) -> Path:
        """Every command of the page, every file written before the command that follows it."""
        zoo = self.folder / "myzoo"
        for language, content, paragraph in blocks():
            if language != "console":
                write(zoo, file_of(paragraph), content)
                continue
            for command in (line.removeprefix("$ ") for line in content.splitlines()):
                if command.startswith("cd "):
                    self.folder = self.folder / command.removeprefix("cd ")
                elif not command.startswith("pip install"):  # `installed` did
                    self.run(command)
                if command.startswith("repro init"):
                    shorten(zoo)
        return zoo


def test_every_command_of_the_walk_runs(tmp_path: Path) -> None:
    """From the wheel to a gate that passes, and a planted regression that it finds."""
    draw_data(tmp_path / "shapes")
    shell = Shell(folder=tmp_path, programs=installed(tmp_path / "venv"))
    zoo = Project(shell.walk())
    assert len(shell.ran) <= MOST
    *before, (command, code, said) = shell.ran
    for one, status, text in before:
        assert status == 0, f"{one}\n{text}"
    assert (command, code) == (LAST, 1), said
    assert re.search(rf"{MINE}.*regressed", said), said
    assert re.search("1 regressed, 1 (reproduced|improved)\n", said), said  # the example's row passes
    assert (zoo.root / ".git").is_dir()
    assert {path.stem for path in zoo.rows.glob("*.json")} == {DEMO, MINE}
    mine = read_record(zoo.record(MINE))
    printed_again(zoo)
    in_mlflow(zoo, mine)


def printed_again(zoo: Project) -> None:
    """The table in the page's own layout, with the number before the regression, and the report."""
    table = (zoo.root / "reports/tables/page-mine.md").read_text()
    header, _, first, second = (line for line in table.splitlines() if line.startswith("|"))
    assert [cell.strip() for cell in header.strip("| ").split("|")][:4] == [
        "Method",
        "Backbone",
        "Train crop",
        "mIoU (val)",
    ]
    measured = re.search(r"61\.30 → (\d+\.\d\d) ", first)
    assert measured, first
    assert float(measured[1]) > 61.3
    assert "64.10" in second
    report = (zoo.root / "reports/index.html").read_text()
    assert DEMO in report


def in_mlflow(zoo: Project, mine: Record) -> None:
    """MLflow's client finds one run of the present record: its numbers, and the row that it is about."""
    client = open_client(zoo)
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`repro.experiment` = '{MINE}'")
    (run,) = [one for one in runs if one.data.tags.get("repro.run_key") == mine.run_key]
    shown = {name: run.data.metrics[name] for name in mine.metrics}
    assert shown == pytest.approx(dict(mine.metrics))
    tags = {name: run.data.tags[name] for name in ("row", "page", "verdict", "dataset")}
    assert tags == {"row": "mine-01", "page": "mine", "verdict": "regressed", "dataset": "shapes"}
    assert run.info.status == "FINISHED"
    assert json.loads((zoo.record(MINE)).read_text())["verdict"] == "regressed"
