"""`repro cost --all`: every network counted once, measured parts kept, the cheapest measured first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ParamsError
from repro.params import Project, load_trained
from repro.params.input_size import input_size
from repro.records.cost_file import network_key, read_costs
from repro.stages import network_costs
from repro.stages.network_costs import Network, measure
from tests.kit import PROJECT, every, experiment
from tests.reports.kit import a_project

RUN = CliRunner()
TEXT = """dataset: camvid
recipe: scratch
model: {{backbone: {backbone}, output_stride: 16, {more}}}
augmentation: {{crop: [120, 160]}}
training: {{split: train, epochs: 40, batch: 4, lr: 0.03}}
evaluation: {{split: test, protocol: {protocol}}}
"""
FIRST = {"latency_ms_mean": 10.0, "latency_ms_p50": 9.0, "peak_memory_MiB": 300.0, "runs": 20}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Three experiments with two networks: `a` and `b` differ in the initial weights alone."""
    made = a_project(tmp_path)
    for name, backbone, more, protocol in (
        ("a", "mobilenetv2", "", "whole"),
        ("b", "mobilenetv2", "init: torch", "whole"),
        ("c", "resnet18", "", "page003_321"),
    ):
        folder = made.experiments / name
        folder.mkdir()
        text = TEXT.format(backbone=backbone, more=more, protocol=protocol).replace(", }", "}")
        (folder / "params.yaml").write_text(f"# {name}\n{text}")
    monkeypatch.chdir(tmp_path)
    return made


def run(*words: str, code: int = 0) -> str:
    answer = RUN.invoke(app, ["cost", *words])
    assert answer.exit_code == code, answer.output
    return answer.output


def test_networks_are_counted_once_and_compared(project: Project) -> None:
    assert "2 networks counted, 2 changed" in run("--all")
    costs = read_costs(project.costs)
    (shared,) = [one for one in costs.values() if len(one.experiments) == 2]
    assert shared.experiments == ("a", "b")
    assert shared.counted["input_size"] == [360, 480]
    assert shared.counted["gflops"] == pytest.approx(2 * shared.counted["gmacs_conv"])
    assert json.loads(run("a", "--json")) == {"experiment": "a", **shared.counted}
    assert "reports/cost.json" in (project.root / "dvc.yaml").read_text()
    run("--all", "--check")
    path = project.params_of("c")
    path.write_text(path.read_text().replace("resnet18", "resnet50"))
    assert "stale c" in run("--all", "--check", code=1)
    assert "1 changed" not in run("--all")  # the new entry and the one that is gone
    run("--all", "--check")


def test_an_experiment_that_cannot_be_read_keeps_its_cost(project: Project) -> None:
    run("--all")
    before = read_costs(project.costs)
    project.params_of("c").write_text("dataset: camvid\nmodel: [1]\n")
    answer = RUN.invoke(app, ["cost", "--all"])
    assert isinstance(answer.exception, ParamsError)
    assert read_costs(project.costs) == before


def test_the_cheapest_is_measured_first_and_the_rest_later(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Network] = []

    def measured(root: Path, network: Network, device: str) -> dict[str, Any]:
        seen.append(network)
        return {**FIRST, "device": {"type": device}}

    monkeypatch.setattr(network_costs, "in_own_process", measured)
    assert "0 networks measured, 2 left" in run("--all", "--measure", "--minutes", "0", "--device", "cpu")
    assert "2 networks measured, 0 left" in run("--all", "--measure", "--device", "cpu")
    assert "0 networks measured, 0 left" in run("--all", "--measure", "--device", "cpu")
    costs = read_costs(project.costs)
    order = sorted(one.counted["gmacs_conv"] for one in costs.values())
    found = {tuple(one.counted["input_size"]): one.counted["gmacs_conv"] for one in costs.values()}
    assert [found[network.size] for network in seen] == order
    assert all(one.measured["runs"] == 20 for one in costs.values())
    run("--all")
    assert read_costs(project.costs) == costs, "counting again keeps what was measured"


def test_a_measurement(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_costs, "SECONDS", 0.0)
    monkeypatch.setattr(network_costs, "AT_LEAST", 2)
    model = load_trained(project, "a").model
    found = measure(project.root, Network(model=model, classes=11, size=(64, 64)), "cpu")
    assert (found["runs"], found["precision"], found["device"]["type"]) == (2, "fp32", "cpu")
    assert found["latency_ms_p50"] > 0
    assert "latency_ms_p95" not in found, "two runs have no 95th percentile"


def test_options_that_do_not_belong_together(project: Project) -> None:
    for words in (
        [],
        ["a", "--all"],
        ["a", "--check"],
        ["--all", "--size", "1x1"],
        ["--all", "--minutes", "1"],
    ):
        answer = RUN.invoke(app, ["cost", *words])
        assert isinstance(answer.exception, ParamsError), words


@every(
    "name, size",
    [
        ("cityscapes_mobilenetv2_os16", (1024, 2048)),  # the data set's images
        ("camvid_dense30k36_os16_321_x32_b45", (321, 321)),  # a tile of the protocol
        ("ade20k_r50_os16", (512, 512)),  # the training crop: the images differ in size
        ("isaid_r18_os8", (896, 896)),
    ],
)
def test_the_input_size_follows_from_params(name: str, size: tuple[int, int]) -> None:
    found: Any = experiment(name)
    assert input_size(found) == size


def test_the_key_of_a_network_is_that_of_its_file() -> None:
    """The committed file belongs to the experiments as they are: `repro cost --all` if this fails."""
    stored = {name: key for key, one in read_costs(PROJECT.costs).items() for name in one.experiments}
    for name in ("cityscapes_mobilenetv2_os16", "ade20k_r50_os16", "camvid_dense30k36_os16_321_x32_b45"):
        found: Any = experiment(name)
        assert stored[name] == network_key(found)
