"""A run is brought in only when its files are a sound result of the experiment as it is here.

Every attack keeps the manifest's checksums and the hash of the record right.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from repro.errors import RecordError
from repro.evaluation.outputs import npz
from repro.fleet.bundle import export_run, import_run
from repro.params import Project
from repro.records import Expected, Record, from_json, to_json
from tests.fleet.test_bundle import KEY, NAME, checkout, finish, forge, outputs

Members = dict[str, bytes]
Attack = Callable[[Members], Members]


def record_of(members: Members, **changes: Any) -> Members:
    """The record with other fields, hashed again."""
    return {"record.json": json.dumps(to_json(replace(_record(members), **changes))).encode()}


def _record(members: Members) -> Record:
    return from_json(json.loads(members["record.json"]), "record.json")


def metrics_of(members: Members, **changes: Any) -> Members:
    return {"metrics.json": json.dumps(json.loads(members["metrics.json"]) | changes).encode()}


def matrices_of(members: Members, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Members:
    """confusion.npz with other arrays."""
    with np.load(io.BytesIO(members["confusion.npz"])) as arrays:
        found = dict(arrays)
    return {"confusion.npz": npz(found | change(found))}


def weights_of(members: Members, content: bytes, *, everywhere: bool = True) -> Members:
    """Other weights, with their checksum in the record and, `everywhere`, in metrics.json."""
    code = sha256(content).hexdigest()
    metrics = metrics_of(members, model_sha256=code) if everywhere else {}
    return {"model.safetensors": content, **record_of(members, model_sha256=code), **metrics}


def zeroed(members: Members) -> Members:
    return matrices_of(members, lambda a: {k: v * 0 for k, v in a.items() if k.startswith("pixels")})


def zeroed_with_its_table(members: Members) -> Members:
    lines = members["confusion.csv"].decode().splitlines()
    cells = [line.split(",") for line in lines[1:]]
    table = [lines[0], *(",".join([*c[:2], "0", *c[3:]]) for c in cells)]
    return zeroed(members) | {"confusion.csv": "\n".join(table).encode()}


def fewer_images(members: Members) -> Members:
    return record_of(members, n_images=24) | metrics_of(members, n_images=24)


def another_protocol_hash(members: Members) -> Members:
    other = "f" * 12
    return {
        **record_of(members, protocol_hash=other),
        **metrics_of(members, protocol=other),
        **matrices_of(members, lambda arrays: {"protocol": np.array(other)}),
    }


def another_run_key(members: Members) -> Members:
    """In the record and in the weights."""
    weights = save(load(members["model.safetensors"]), {"run_key": "0" * 16})
    changed = members | weights_of(members, weights)
    return weights_of(members, weights) | record_of(changed, run_key="0" * 16)


def released(members: Members) -> Members:
    return record_of(members, kind="released")


def better(members: Members) -> Members:
    """A higher number in record and metrics.json alike."""
    metrics = dict(_record(members).metrics) | {"mIoU": 80.0}
    return record_of(members, metrics=metrics) | metrics_of(members, mIoU=80.0)


def lower_expectation(members: Members) -> Members:
    return record_of(members, expectation=Expected(metric="mIoU", value=1.0, band=99.0, source="x"))


def another_experiment(members: Members) -> Members:
    return {"manifest.json": members["manifest.json"].replace(NAME.encode(), b"camvid_mobilenetv2_os16")}


ATTACKS: dict[str, tuple[Attack, str]] = {
    "matrices of zeros": (zeroed, "is not the sum of|matrices give"),
    "matrices and table of zeros": (zeroed_with_its_table, "matrices give"),
    "altered weights": (
        lambda m: weights_of(m, save({"a": np.ones(3, np.float32)}), everywhere=False),
        "model_sha256",
    ),
    "cut off weights": (lambda m: weights_of(m, m["model.safetensors"][:-4]), "not a complete safetensors"),
    "random weights": (lambda m: weights_of(m, bytes(range(256)) * 9), "not a complete safetensors"),
    "empty cost.json": (lambda m: {"cost.json": b"{}"}, r"cost\.json"),
    "another cost.json": (
        lambda m: {"cost.json": json.dumps(json.loads(m["cost.json"]) | {"params_M": 1.0}).encode()},
        r"cost\.json does not match the record",
    ),
    "no list of losses": (lambda m: {"curve.csv": b"junk"}, r"curve\.csv has no training steps"),
    "empty curve.csv": (lambda m: {"curve.csv": b""}, r"curve\.csv has no training steps"),
    "junk in curve.csv": (lambda m: {"curve.csv": b"step,loss\nx,y\n"}, "line 2 is damaged"),
    "junk confusion.csv": (lambda m: {"confusion.csv": b"junk"}, "not a confusion matrix"),
    "other n_images": (fewer_images, "number of images"),
    "another protocol hash": (another_protocol_hash, "protocol and classes give"),
    "another run key": (another_run_key, "its params and data give"),
    "another run key in the record alone": (lambda m: record_of(m, run_key="0" * 16), "run"),
    "a higher number": (better, "its matrices give 50.3"),
    "kind released": (released, "kind is 'released'"),
    "kind smoke": (lambda m: record_of(m, kind="smoke"), "kind is 'smoke'"),
    "kind cost": (lambda m: record_of(m, kind="cost"), "kind is 'cost'"),
    "lower expectation": (lower_expectation, "the expected number changed"),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The exported run of a project."""
    folder = tmp_path_factory.mktemp("made")
    project = checkout(folder / "here")
    finish(project)
    return export_run(project, NAME, folder / "run.zip").path.read_bytes()


@pytest.fixture
def home(tmp_path: Path) -> Project:
    """A checkout with an earlier run, which a refused one leaves as it is."""
    project = checkout(tmp_path / "home")
    finish(project, losses=(9.0,))
    return project


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_unsound_run_is_refused_and_nothing_is_placed(
    bundle: bytes, home: Project, tmp_path: Path, attack: str
) -> None:
    path, before = tmp_path / "run.zip", outputs(home)
    path.write_bytes(bundle)
    change, why = ATTACKS[attack]
    forge(path, change(members_of(path)))
    with pytest.raises(RecordError, match=why):
        import_run(home, path)
    assert outputs(home) == before


def test_the_manifest_is_of_the_same_experiment(bundle: bytes, home: Project, tmp_path: Path) -> None:
    path, before = tmp_path / "run.zip", outputs(home)
    path.write_bytes(bundle)
    members = members_of(path) | another_experiment(members_of(path))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(RecordError, match="its manifest is of"):
        import_run(home, path)
    assert outputs(home) == before


def test_a_run_on_half_of_the_images_is_refused(home: Project, tmp_path: Path) -> None:
    """Its record, metrics.json and matrices agree: only params.yaml knows the size of the split."""
    before, half = outputs(home), checkout(tmp_path / "half")
    finish(half, images=24)
    path = export_run(half, NAME, tmp_path / "run.zip").path
    with pytest.raises(RecordError, match="24 images were counted, the split has 48"):
        import_run(home, path)
    assert outputs(home) == before


def test_the_honest_run_is_placed(bundle: bytes, home: Project, tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    path.write_bytes(bundle)
    forge(path, {})
    assert import_run(home, path).run_key == KEY
