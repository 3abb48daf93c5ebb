"""Benchmark of a network: latency, images per second, peak memory, parameters and MACs.

Two times are measured. The latency waits for the result. The launch time does not synchronise the GPU; it is
what page 000's code measures, which explains why its ResNet-50 is "faster" than its MobileNet. On a CPU both
are equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from repro.evaluation.evaluate import evaluating, forward_of
from repro.models.cost import count
from repro.params.protocol import Protocol
from repro.params.reference import NetworkParams
from repro.records import device_identity, peak_memory, reset_peak_memory, synchronize

WARM_UP, SECONDS, AT_LEAST, AT_MOST = 5, 10.0, 20, 200  # runs, seconds, runs, runs


def benchmark(
    model: nn.Module,
    *,
    model_params: NetworkParams,
    num_classes: int,
    protocol: Protocol,
    input_size: tuple[int, int],
    device: str = "cpu",
    seconds: float = SECONDS,
    warm_up: int = WARM_UP,
    at_least: int = AT_LEAST,
) -> dict[str, Any]:
    """Measure a network on one image; the result is the content of cost.json.

    Times include the copy to the device and the normalisation, but not the resizing of logits.

    Args:
        model: network in any mode, on any device.
        model_params: its parameters.
        num_classes: its number of classes.
        protocol: the precision is used.
        input_size: (height, width) in pixels.
        device: device to run on.
        seconds: time to measure for, within `at_least` and 200 runs.
        warm_up: runs that are not measured.
        at_least: runs that are measured even if they take longer.
    """
    image_NCHW = torch.zeros(1, 3, *input_size, dtype=torch.uint8)
    forward = forward_of(model, model_params, protocol, device)
    with evaluating(model.to(device)), torch.inference_mode():
        launched, waited = timed(
            lambda: forward(image_NCHW), device, seconds, warm_up=warm_up, at_least=at_least
        )
    cost = count(model_params, num_classes, input_size)
    return {
        "params_M": round(cost.params_M, 4),
        "gmacs_conv": round(cost.gmacs_conv, 4),
        "gmacs_thop": round(cost.gmacs_thop, 4),
        "input_size": list(input_size),
        "batch": 1,
        "precision": protocol.precision,
        **{f"latency_ms_{name}": value for name, value in quantiles(waited).items()},
        "launch_ms_mean": quantiles(launched)["mean"],
        "images_per_s": round(1000 / float(np.mean(waited)), 3),
        "peak_memory_MiB": round(peak_memory(device), 1),
        "runs": len(waited),
        "device": device_identity(device),
    }


def timed(
    run: Callable[[], object],
    device: str,
    seconds: float,
    *,
    warm_up: int = WARM_UP,
    at_least: int = AT_LEAST,
) -> tuple[list[float], list[float]]:
    """(launch times, latencies) in milliseconds of every run after the warm-up."""
    reset_peak_memory(device)
    for _ in range(warm_up):
        run()
    synchronize(device)
    launched: list[float] = []
    waited: list[float] = []
    end = time.perf_counter() + seconds
    while len(waited) < at_least or (time.perf_counter() < end and len(waited) < AT_MOST):
        start = time.perf_counter()
        run()
        launched.append(1000 * (time.perf_counter() - start))
        synchronize(device)
        waited.append(1000 * (time.perf_counter() - start))
    return launched, waited


def quantiles(times: list[float]) -> dict[str, float]:
    p50, p95 = np.quantile(times, (0.5, 0.95))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "mean": round(float(np.mean(times)), 3)}
