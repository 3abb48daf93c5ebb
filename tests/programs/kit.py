"""A project whose experiment is trained and evaluated by programs: the mean colour of each class."""

from __future__ import annotations

import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

from repro.params import ExternalExperiment, Project, load_experiment
from tests.datasets.kit import camvid

NAME = "mean_colours"
TRAIN = """\
import json, os, sys
import numpy as np
from PIL import Image
import repro
images, labels, out, seed = sys.argv[1:]
sums, counts = np.zeros((11, 3)), np.zeros(11)
for step, name in enumerate(sorted(os.listdir(images)), start=1):
    image, label = (np.asarray(Image.open(os.path.join(folder, name))) for folder in (images, labels))
    for k in range(11):
        sums[k] += image[label == k].sum(0)
        counts[k] += (label == k).sum()
    repro.log({"loss": 1 / step, "lr": 0.1}, step=step)
print("trained with seed", seed)
os.makedirs(out, exist_ok=True)
with open(os.path.join(out, "means.json"), "w") as file:
    json.dump((sums / counts[:, None]).tolist(), file)
"""
PREDICT = """\
import json, os, sys
import numpy as np
from PIL import Image
means, images, maps = sys.argv[1:]
with open(means) as file:
    means = np.array(json.load(file))
for name in sorted(os.listdir(images)):
    image = np.asarray(Image.open(os.path.join(images, name)), float)
    label = ((image[:, :, None] - means) ** 2).sum(-1).argmin(-1)
    Image.fromarray(label.astype(np.uint8)).save(os.path.join(maps, name))
"""
ROOT_PARAMS = {
    "engine": {"data": 1, "training": 1, "evaluation": 1},
    "datasets": {"camvid": {"classes": 11, "splits": {"train": 2, "val": 2, "trainval": 4, "test": 2}}},
    "recipes": {},
    "protocols": {},
}
PYTHON = shlex.quote(sys.executable)
EXTERNAL: dict[str, Any] = {
    "family": "nearest mean",
    "train": {
        "command": f"{PYTHON} tools/train.py {{images}} {{labels}} {{out}} {{seed}}",
        "deps": ["tools/train.py"],
        "split": "train",
    },
    "predict": {
        "command": f"{PYTHON} tools/predict.py {{out}}/means.json {{images}} {{maps}}",
        "deps": ["tools/predict.py"],
    },
}


def program_project(root: Path) -> Project:
    """A project with raw data, the two programs and one experiment."""
    (root / "tools").mkdir(parents=True)
    (root / "tools" / "train.py").write_text(TRAIN)
    (root / "tools" / "predict.py").write_text(PREDICT)
    (root / "params.yaml").write_text(yaml.safe_dump(ROOT_PARAMS))
    camvid(root / "data" / "camvid")
    write_experiment(root)
    return Project(root)


def write_experiment(root: Path, name: str = NAME, **external: Any) -> None:
    """Write an experiment's params.yaml; `external` replaces keys of its block, and None removes one."""
    block = {key: value for key, value in {**EXTERNAL, **external}.items() if value is not None}
    params = {
        "dataset": "camvid",
        "seed": 0,
        "note": "a test",
        "external": block,
        "evaluation": {"split": "val", "protocol": "external"},
    }
    path = root / "experiments" / name / "params.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(params))


def loaded(project: Project, name: str = NAME) -> ExternalExperiment:
    """The experiment, resolved."""
    found = load_experiment(project, name)
    assert isinstance(found, ExternalExperiment)
    return found


def program(project: Project, name: str, code: str, *words: str) -> dict[str, Any]:
    """Write tools/NAME.py, and return the command that runs it with `words`, and its deps."""
    (project.root / "tools" / f"{name}.py").write_text(textwrap.dedent(code))
    return {"command": " ".join([PYTHON, f"tools/{name}.py", *words]), "deps": [f"tools/{name}.py"]}
