"""Whatever a file or an address holds: an answer or one error of ours, never a traceback, never a hang.

Values and bytes are changed at random, derandomised (the same ones at every run); each reader is called in
this process, and what it accepts goes on to those that use it. The examples are bounded, so that all of it
takes less than two minutes.
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.checkpoints.readers import read_checkpoint
from repro.cli.results.show import course, result
from repro.datasets.raw.source import Source
from repro.datasets.sets.voc2012 import pairs
from repro.errors import ReproError
from repro.evaluation.bootstrap import interval
from repro.evaluation.outputs import npz, read_confusions
from repro.fleet.check_bundle import verify_bundle
from repro.fleet.scheduler import speeds
from repro.io.atomic import canonical
from repro.io.redact import redact_text
from repro.io.yaml_reader import load_yaml
from repro.params import Project, load_experiment, load_trained
from repro.params.experiment import resolve
from repro.published.import_page import import_page
from repro.published.markdown import read_page
from repro.published.page import page_json
from repro.published.page import read_page as read_page_file
from repro.records import from_json, read_journal, sha256_text, to_json
from repro.records.build import training_cost, training_provenance
from repro.records.curve import curve_csv
from repro.records.metrics_io import inference_cost, intervals, plain_metrics, read_metrics
from repro.reports import tables
from repro.reports.experiment_pages import confusion, curve
from repro.reports.gate import finding
from repro.reports.grid import FORMATS
from repro.reports.html import report_data
from repro.reports.lint import lint
from repro.reports.listing import listing
from repro.reports.prediction_images import read_pixels
from repro.tracking.address import require_address, shown_address, sqlite_path
from repro.tracking.record_view import metrics_of, note_of, tags_of
from repro.tracking.run_info import state_of
from tests.params.test_params import HERE, OWN
from tests.params.test_params import ROOT as BLOCKS
from tests.reports.kit import COST, a_project, a_record, results

pytestmark = pytest.mark.slow
fuzz = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
JUNK = st.one_of(
    st.sampled_from(
        [None, True, False, 0, -1, 10**30, 1e308, -0.0, "", "x", "..", "/", "\x00", "=1", "x" * 5000]
    ),
    st.sampled_from(
        [[], {}, [None], [[1]], {"a": {}}, {"": 1}, ["a", "a"], "../../x", "2026-13-40", "1e999"]
    ),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
)


def places(value: Any) -> list[tuple[str | int, ...]]:
    """The way to every value inside another."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(key, *rest) for key, one in inner for rest in ((), *places(one))]


@st.composite
def spoilt(draw: st.DrawFn, whole: Any) -> Any:
    """A tree of JSON types with one to three values replaced, or removed."""
    tree = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(tree) or [("x",)]))
        block = tree
        for key in way:
            block = block[key]
        if draw(st.booleans()) or not isinstance(block, dict):
            block[last] = copy.deepcopy(draw(JUNK))
        else:
            block.pop(last, None)
    return tree


@st.composite
def torn(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes that were cut, or changed in a few places."""
    if draw(st.booleans()):
        return data[: draw(st.integers(0, len(data)))]
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 8))):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)


def answer(*calls: Callable[[], object]) -> None:
    """Each call gives an answer or an error of ours."""
    for call in calls:
        with suppress(ReproError):
            call()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return a_project(tmp_path_factory.mktemp("project"), a_record())


@fuzz
@given(own=spoilt(OWN), root=st.one_of(st.just(BLOCKS), spoilt(BLOCKS)))
def test_params(own: Any, root: Any) -> None:
    answer(lambda: resolve("x", own, root, HERE))


@fuzz
@given(text=st.one_of(st.text(), st.text("[]{}:-&*!|>?<%@`'\"# \nab1.,", max_size=80)))
def test_yaml(text: str) -> None:
    answer(lambda: load_yaml(text, "x"))


@fuzz
@given(text=st.binary(max_size=200), own=spoilt(OWN))
def test_a_broken_folder(project: Project, text: bytes, own: Any) -> None:
    path = project.experiments / "broken" / "params.yaml"
    path.parent.mkdir(exist_ok=True)
    for content in (text, yaml.safe_dump(own, allow_unicode=True).encode("utf-8", "replace")):
        path.write_bytes(content)
        answer(lambda: load_experiment(project, "broken"))


RECORD = to_json(replace(a_record(), also={}))


@fuzz
@given(raw=spoilt(RECORD))
def test_records(raw: Any) -> None:
    def use() -> None:
        body = {key: value for key, value in raw.items() if key != "content_hash"}
        try:
            whole = body | {"content_hash": sha256_text(canonical(body))}
        except ValueError:  # NaN or half a surrogate: no file holds them
            return
        record = from_json(whole, "x")
        found = results(record)
        finding(found, record.experiment)
        report_data(found)
        listing(found)
        for grid in (*tables.measured_table(found), *tables.dataset_tables(found, record.dataset)):
            for write in FORMATS.values():
                write([grid])
        judged = found.judge.judge(record.experiment)
        metrics_of(record), tags_of(record, judged), note_of(record, judged), result(record)

    answer(use)


LINES: list[dict[str, Any]] = [
    {"at": 1.0, "kind": "run", "pid": 1, "host": "h", "run": {"name": "x", "dataset": "d", "run_key": "k"}},
    {"at": 2.0, "kind": "provenance", "found": {"git": {}, "device": {"type": "cpu"}}},
    {"at": 3.0, "kind": "metrics", "step": 1, "values": {"train/loss": 1.0, "system/images_per_s": 2.0}},
    {"at": 4.0, "kind": "end", "status": "FINISHED", "error": ""},
]


@fuzz
@given(lines=spoilt(LINES), torn_=torn("\n".join(map(json.dumps, LINES)).encode()))
def test_journals(project: Project, lines: Any, torn_: bytes) -> None:
    experiment = load_trained(Project(Path(__file__).parents[2]), "camvid_mobilenetv2_os16")
    path = project.journal("0123456789abcdef")
    path.parent.mkdir(parents=True, exist_ok=True)
    for content in ("".join(json.dumps(line) + "\n" for line in lines).encode(), torn_):
        path.write_bytes(content)
        entries = read_journal(path)
        answer(
            lambda entries=entries: state_of(entries),  # type: ignore[misc]
            lambda: curve_csv(path),
            lambda entries=entries: training_cost(experiment, entries),  # type: ignore[misc]
            lambda entries=entries: training_provenance(entries),  # type: ignore[misc]
            lambda: speeds(project, "cpu"),
        )


METRICS = {
    "mIoU": 50.0,
    "mIoU_low": 48.0,
    "mIoU_high": 52.0,
    "split": "test",
    "n_images": 3,
    "protocol": "ab",
}


@fuzz
@given(metrics=spoilt({**METRICS, "IoU": {"road": 90.0, "car": None}}), cost=spoilt(COST))
def test_metrics_and_cost(folder: Path, metrics: Any, cost: Any) -> None:
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "cost.json").write_text(json.dumps(cost))

    def use() -> None:
        found = read_metrics(folder / "metrics.json")
        plain_metrics(found), intervals(found)

    answer(use, lambda: inference_cost(folder / "cost.json"))


CELLS = st.one_of(
    st.sampled_from(["", "1", "-1", "nan", "inf", "1e999", "9" * 500, "step", "a,b", '"']), st.text()
)


@fuzz
@given(cells=st.lists(st.lists(CELLS, max_size=5), max_size=5), columns=st.lists(CELLS, max_size=4))
def test_curves_and_confusions(folder: Path, cells: list[list[str]], columns: list[str]) -> None:
    for name, head in (("curve.csv", "step,loss,lr,val_mIoU"), ("confusion.csv", "actual,predicted,count")):
        for first in (head, ",".join(columns)):
            text = "\n".join([first, *(",".join(line) for line in cells)])
            (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
            answer(
                lambda: curve(folder / "curve.csv"),
                lambda: course(folder / "curve.csv"),
                lambda: confusion(folder / "confusion.csv", ["step", "1"]),
            )


ARRAYS: dict[str, Any] = {
    "shape": np.array([2, 2]),
    "image": np.array([0, 0, 1], np.int32),
    "cell": np.array([0, 1, 4], np.int32),
    "pixels": np.array([5, 6, 7], np.uint32),
    "ids": np.array(["a", "b"]),
    "classes": np.array(["road", "car"]),
    "protocol": np.array("ab"),
    "fingerprint": np.array("cd"),
    "split": np.array("test"),
    "chosen": np.array([0, 1]),
    "absent": np.array("skip"),
}
ODD = [
    *(np.array([]), np.array(3), np.array([-1, 5]), np.array([2**40]), np.array([0.5]), np.array([[1]])),
    *(np.array(["x"]), np.array([b"x"]), np.array([True]), np.zeros((2, 0)), np.array([2**62, 2**62])),
    *(np.array([np.nan]), np.array(["a", "a"]), np.array([0, 0, 9]), np.array([10**9, 10**9])),
]


@fuzz
@given(name=st.sampled_from(sorted(ARRAYS)), odd=st.sampled_from([None, *ODD]), bytes_=torn(npz(ARRAYS)))
def test_stored_confusions(folder: Path, name: str, odd: Any, bytes_: bytes) -> None:
    arrays = {key: value for key, value in ARRAYS.items() if key != name}
    path = folder / "confusion.npz"
    for content in (npz(arrays if odd is None else arrays | {name: odd}), bytes_):
        path.write_bytes(content)

        def use() -> None:
            found = read_confusions(path)
            interval(found.confusions[""], chosen=found.chosen, absent=found.absent)

        answer(use)


def checkpoint() -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": {"conv.weight": torch.zeros(2, 3), "bn.running_mean": torch.zeros(3)}}, file)
    return file.getvalue()


PICKLES = [b"\x80\x02....", b"\x80\x02}.", b"\x80\x04N.", b"", b"\x93NUMPY", b"PK\x05\x06" + bytes(18)]


@fuzz
@given(content=st.one_of(torn(checkpoint()), st.sampled_from(PICKLES), st.binary(max_size=60)))
@pytest.mark.filterwarnings("ignore")
def test_checkpoints(folder: Path, content: bytes) -> None:
    for name in ("x.pth", "x.safetensors", "x.npz"):
        (folder / name).write_bytes(content)
        answer(lambda name=name: read_checkpoint(folder / name))  # type: ignore[misc]


def bundle(members: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, json.dumps(content))
    return file.getvalue()


MEMBERS = {"manifest.json": {"files": {"record.json": "ab"}, "schema": 1}, "record.json": RECORD}


@fuzz
@given(
    members=spoilt(MEMBERS), bytes_=torn(bundle(MEMBERS)), odd=st.text("a/.\\é\n", min_size=1, max_size=300)
)
def test_bundles(project: Project, folder: Path, members: Any, bytes_: bytes, odd: str) -> None:
    path = folder / "x.zip"
    named = {odd: {}}
    for content in (bundle({**{name or "x": one for name, one in members.items()}, **named}), bytes_):
        path.write_bytes(content)
        answer(lambda: verify_bundle(project, path))


PIECES = st.sampled_from(
    [*("|", "---", "mIoU", "50.1", "-", "[a](b)", "[", "](", "**", "#", "\n", "\n|", " ", "```", "\\|")]
)


@fuzz
@given(parts=st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=60))
def test_pages(folder: Path, parts: list[str]) -> None:
    path = folder / "page.md"
    table = "\n| name | mIoU |\n|---|---|\n| r50 | 5 |\n"
    path.write_bytes(("".join(parts) + table + "".join(parts)).encode("utf-8", "replace"))

    def use() -> None:
        text = read_page(path)
        lint(text)
        (folder / "page.json").write_text(page_json(import_page(text, source="mine").raw), encoding="utf-8")
        read_page_file(folder / "page.json")

    answer(use)


@fuzz
@given(raw=spoilt(import_page("| name | mIoU |\n|---|---|\n| r50 | 5 |\n", source="mine").raw))
def test_imported_pages(folder: Path, raw: Any) -> None:
    (folder / "odd.json").write_text(json.dumps(raw))
    answer(lambda: read_page_file(folder / "odd.json"))


@fuzz
@given(content=st.one_of(st.binary(max_size=80), st.text("ab/ .\n\r\x00\t", max_size=40).map(str.encode)))
def test_lists_of_ids(folder: Path, content: bytes) -> None:
    root = folder / "voc"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "ImageSets/Segmentation/val.txt").write_bytes(content)
    answer(lambda: pairs(Source.open(root), "val"))


ADDRESSES = st.one_of(
    st.sampled_from(
        [
            "http://[::1",
            "http://a:b:c",
            "sqlite:///x?y=%",
            "file://h/x",
            "://",
            "http://",
            "postgresql://u:p@[",
            "%",
        ]
    ),
    st.text(max_size=12).map("http://".__add__),
    st.text(max_size=12).map("sqlite:///".__add__),
    st.text(max_size=20),
)


@fuzz
@given(uri=ADDRESSES.filter(lambda uri: "\x00" not in uri and uri.isascii()))
def test_addresses(project: Project, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    answer(
        lambda: require_address(uri),
        lambda: shown_address(project),
        lambda: sqlite_path(uri),
        lambda: redact_text(f"no answer from {uri} at all"),
    )


@fuzz
@given(content=st.binary(max_size=200), size=st.integers(0, 2**31 - 1))
def test_images(folder: Path, content: bytes, size: int) -> None:
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + size.to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    (folder / "overlays").mkdir(exist_ok=True)
    (folder / "overlays/x.png").write_bytes(head + content)
    assert read_pixels(folder / "overlays" / "x.png") is None
