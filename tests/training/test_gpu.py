"""Training on a CUDA device: resume, number formats, compile, and memory against the plan.

Hidden from the other tests, skipped without a device. To run them: REPRO_TEST_GPU=0 python -m pytest -m gpu
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from repro.models.cost import count
from repro.params import Project, load_experiment
from repro.records import read_journal
from repro.training.distributed import Ranks
from repro.training.estimate import memory_bytes
from repro.training.loop import Outcome
from repro.training.plan import probe_seconds
from tests.training.kit import numbers, restless_scaler, run_tiny, same, some_params
from tests.training.test_resume import PowerCut, cut_at

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason="NOT TESTED: no CUDA device (with one: REPRO_TEST_GPU=0 python -m pytest -m gpu)",
    ),
]
PRECISIONS: list[dict[str, Any]] = [
    {"precision": "fp32"},
    {"precision": "tf32", "channels_last": True},
    {"precision": "bf16", "channels_last": True},
    {"precision": "fp16", "optimizer": "adam"},
    {"precision": "fp16", "optimizer": "sgd"},
]


def run(work: Path, **changes: Any) -> Outcome:
    ranks = Ranks(device=torch.device(DEVICE, 0))
    return run_tiny(work, some_params(checkpoint_minutes=0, **changes), ranks=ranks)


@pytest.mark.parametrize(
    "changes",
    PRECISIONS,
    ids=lambda changes: str(changes["precision"]),
)
def test_a_cut_training_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """Dropout draws from the device's random state, fp16 from the scaler's: both are in the checkpoint.

    Bit for bit, unless the journal names operations that have no deterministic kernel on this device.
    """
    monkeypatch.setattr(torch.amp, "GradScaler", restless_scaler)
    whole = run(tmp_path / "whole", **changes)
    params, ranks = some_params(checkpoint_minutes=0, **changes), Ranks(device=torch.device(DEVICE, 0))
    with pytest.raises(PowerCut):
        run_tiny(tmp_path / "cut", params, ranks=ranks, feed=cut_at(5))
    resumed = run(tmp_path / "cut", **changes)
    assert resumed.resumed_from == 5
    named = [e for e in read_journal(tmp_path / "cut" / "journal.jsonl") if e["kind"] == "nondeterministic"]
    if named[-1]["operations"]:
        for name, value in whole.state_dict.items():
            torch.testing.assert_close(resumed.state_dict[name], value, rtol=1e-3, atol=1e-4)
        return
    assert same(resumed.state_dict, whole.state_dict)
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")


@pytest.mark.parametrize(
    "changes",
    PRECISIONS,
    ids=lambda changes: str(changes["precision"]),
)
def test_losses_are_those_of_the_cpu(tmp_path: Path, changes: dict[str, Any]) -> None:
    device = [v["train/loss"] for _, v in numbers_of(tmp_path / "device", DEVICE, changes)]
    cpu = [v["train/loss"] for _, v in numbers_of(tmp_path / "cpu", "cpu", changes | {"precision": "fp32"})]
    assert device == pytest.approx(cpu, rel=0.05)


def numbers_of(work: Path, device: str, changes: dict[str, Any]) -> list[tuple[int, dict[str, float]]]:
    from tests.training.kit import TinyNet

    torch.manual_seed(0)
    ranks, net = Ranks(device=torch.device(device, 0 if device == "cuda" else None)), TinyNet(dropout=0.0)
    run_tiny(work, some_params(**changes), ranks=ranks, model=net)
    return numbers(work)


def test_compile_passes_its_parity_check(tmp_path: Path) -> None:
    run(tmp_path, compile=True)
    events = read_journal(tmp_path / "journal.jsonl")
    assert [e["used"] for e in events if e["kind"] == "compile"] == [True]


def test_memory_is_what_the_plan_says(root: Path) -> None:
    """The estimate must not promise a card that is too small, nor ask for twice of what is needed."""
    found = load_experiment(Project(root), "ade20k_r50_os16")
    small = replace(found, training=replace(found.training, batch=4, batch_norm="local"))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    assert probe_seconds(small, DEVICE) > 0
    planned = memory_bytes(small, count(small.model, small.facts.classes, small.augmentation.crop))
    assert 0.5 < torch.cuda.max_memory_allocated() / planned < 1.1
