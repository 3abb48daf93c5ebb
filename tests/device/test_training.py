"""Training on a device: every number format and optimiser, losses and resume, as on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from repro.params import Project, load_experiment
from repro.training.distributed import Ranks
from repro.training.loop import Outcome
from repro.training.plan import PROBE_STEPS, probe_seconds
from repro.training.train_step import start, update
from tests.device.pretend import DEVICE, NAME, OnDevice
from tests.training.kit import (
    TinyNet,
    batches,
    numbers,
    restless_scaler,
    run_tiny,
    same,
    some_params,
    tiny_task,
)
from tests.training.test_resume import PowerCut, cut_at

HERE = Ranks(device=DEVICE)
CHOICES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adam": {"optimizer": "adam"},
    "channels_last": {"channels_last": True},
    "accumulate": {"accumulate": 2},
    "bf16": {"precision": "bf16"},
    "fp16 sgd": {"precision": "fp16"},
    "fp16 adam": {"precision": "fp16", "optimizer": "adam"},
    "clipped": {"clip_norm": 0.1},
    "multiplied": {"grad_weight": 10.0, "grad_bias": 20.0},
    "frozen": {"batch_norm": "frozen"},
    "ohem": {"ohem_threshold": 0.7, "ohem_keep": 0.5},
    "pixels": {"loss_average": "all"},
}


def trained(work: Path, changes: dict[str, Any]) -> Outcome:
    return run_tiny(work, some_params(checkpoint_minutes=0, **changes), ranks=HERE, model=net())


def net() -> TinyNet:
    torch.manual_seed(0)
    return TinyNet(dropout=0.0)


@pytest.mark.parametrize("choice", CHOICES)
def test_losses_are_those_of_the_cpu(tmp_path: Path, choice: str) -> None:
    trained(tmp_path / NAME, CHOICES[choice])
    on_cpu = {name: value for name, value in CHOICES[choice].items() if value != "fp16"}
    run_tiny(tmp_path / "cpu", some_params(checkpoint_minutes=0, **on_cpu), model=net())
    ours, theirs = ([v["train/loss"] for _, v in numbers(tmp_path / place)] for place in (NAME, "cpu"))
    tolerance = 2e-3 if "precision" in CHOICES[choice] else 1e-5
    assert ours == pytest.approx(theirs, rel=tolerance)


@pytest.mark.parametrize("choice", ["sgd", "adam", "bf16", "fp16 sgd", "fp16 adam"])
def test_a_cut_training_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    """Bit for bit: optimiser, scaler and losses come back from the checkpoint onto the device."""
    monkeypatch.setattr(torch.amp, "GradScaler", restless_scaler)
    params = some_params(checkpoint_minutes=0, **CHOICES[choice])
    whole = run_tiny(tmp_path / "whole", params, ranks=HERE)
    with pytest.raises(PowerCut):
        run_tiny(tmp_path / "cut", params, ranks=HERE, feed=cut_at(5))
    resumed = run_tiny(tmp_path / "cut", params, ranks=HERE)
    assert resumed.resumed_from == 5
    assert same(resumed.state_dict, whole.state_dict)
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")


def test_a_training_of_the_device_resumes_on_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(PowerCut):
        run_tiny(tmp_path, some_params(checkpoint_minutes=0), ranks=HERE, feed=cut_at(5))
    assert run_tiny(tmp_path, some_params(checkpoint_minutes=0)).resumed_from == 5


def test_an_overflow_of_fp16_skips_the_update_and_halves_the_scale(tmp_path: Path) -> None:
    run = start(tiny_task(tmp_path, None, some_params(precision="fp16"), ranks=HERE))
    update(run, next(batches(0, 1)))
    run.scaler.update(2.0**40)  # any gradient overflows
    before = {name: weight.detach().cpu().clone() for name, weight in run.model.named_parameters()}
    update(run, next(batches(1, 2)))
    assert run.scaler.get_scale() == 2.0**39
    assert all(torch.equal(before[name], weight.cpu()) for name, weight in run.model.named_parameters())


def test_nothing_of_a_finished_training_is_left_on_the_device(tmp_path: Path) -> None:
    params = some_params(checkpoint_minutes=0, keep="best", monitor="mIoU", validate_every=4)
    validate = lambda model: {"mIoU": float(next(model.parameters()).detach().sum().cpu())}  # noqa: E731
    outcome = run_tiny(tmp_path, params, ranks=HERE, validate=validate)
    assert outcome.chosen in (4, 8, 12)
    assert not any(isinstance(value, OnDevice) for value in outcome.state_dict.values())


def test_a_probe_waits_for_the_device(root: Path, waits: list[str]) -> None:
    """Before the clock starts and before it stops; without it a GPU's probe times the launches."""
    found = load_experiment(Project(root), "synthetic_mobilenetv2_os16")
    small = replace(
        found,
        training=replace(found.training, batch=2),
        augmentation=replace(found.augmentation, crop=(33, 33)),
    )
    assert probe_seconds(small, NAME) > 0
    assert waits == [NAME, NAME]
    assert PROBE_STEPS == 20
