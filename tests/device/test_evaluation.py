"""Evaluation and benchmark on a device: the predictions are those of the CPU, the times waited for."""

from __future__ import annotations

import numpy as np
import pytest

from repro.evaluation.benchmark import AT_LEAST, benchmark
from repro.evaluation.evaluate import evaluate, predictor
from repro.models import build
from tests.device.pretend import DEVICE, NAME
from tests.evaluation.kit import MemorySplit, TinyNet, model_params, protocol
from tests.evaluation.test_inference import PROTOCOLS


@pytest.mark.parametrize("resize", ["half_pixel", "align_corners", "tf_legacy"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_predictions_are_those_of_the_cpu(name: str, resize: str) -> None:
    params, rules = model_params(resize=resize), protocol(**PROTOCOLS[name])
    image = MemorySplit([(83, 121)]).image(0)
    (cpu,) = predictor(TinyNet(), protocol=rules, model_params=params)([image])
    (ours,) = predictor(TinyNet().to(DEVICE), protocol=rules, model_params=params, device=NAME)([image])
    for suffix, expected in cpu.items():
        assert (ours[suffix] == expected).mean() >= 0.9999


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_metrics_are_those_of_the_cpu(precision: str) -> None:
    split = MemorySplit([(64, 80), (64, 80), (48, 80)])
    rules = protocol(mode="whole", batch=2, boundary_ratio=0.02, precision=precision)
    cpu, ours = (
        evaluate(net, split, protocol=rules, model_params=model_params(), num_classes=5, device=device)
        for net, device in ((TinyNet(), "cpu"), (TinyNet().to(DEVICE), NAME))
    )
    for name in ("mIoU", "aAcc", "mAcc", "fwIoU", "boundary_mIoU"):
        assert ours.metrics[name] == pytest.approx(cpu.metrics[name], abs=0.05)
    assert np.array_equal(ours.confusions[""].total().sum(1), cpu.confusions[""].total().sum(1))


def test_a_benchmark_waits_for_the_device(waits: list[str]) -> None:
    """Once after the warm-up, then after every run: a latency is no launch time."""
    params = model_params()
    cost = benchmark(
        build(params, num_classes=5),
        model_params=params,
        num_classes=5,
        protocol=protocol(mode="whole"),
        input_size=(33, 49),
        device=NAME,
        seconds=0.0,
    )
    assert cost["runs"] == AT_LEAST
    assert waits == [NAME] * (1 + AT_LEAST)
    assert cost["launch_ms_mean"] > 0
