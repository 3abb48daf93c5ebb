"""How fast a network is, on which machine: latency, images a second, peak memory, beside parameters and MACs.

Two times are taken. The synchronised one waits for the result. The launch time does not: on a GPU it is what
the page 000 rows print (no synchronisation in that code), and explains why its ResNet-50 is "faster" than
its MobileNet. On a CPU they are the same.
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
from repro.params.model import ModelParams
from repro.params.protocol import Protocol
from repro.records import device_identity, peak_memory, reset_peak_memory, synchronize

WARM_UP, SECONDS, AT_LEAST, AT_MOST = 5, 10.0, 20, 200  # runs, seconds, runs, runs


def benchmark(
    model: nn.Module,
    *,
    model_params: ModelParams,
    num_classes: int,
    protocol: Protocol,
    input_size: tuple[int, int],
    device: str = "cpu",
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """What cost.json holds, for one image of `input_size` (height, width) at batch 1.

    Times include the upload of the pixels and the normalisation, and end with the small logits.
    """
    image_NCHW = torch.zeros(1, 3, *input_size, dtype=torch.uint8)
    forward = forward_of(model, model_params, protocol, device)
    with evaluating(model.to(device)), torch.inference_mode():
        launched, waited = timed(lambda: forward(image_NCHW), device, seconds)
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


def timed(run: Callable[[], object], device: str, seconds: float) -> tuple[list[float], list[float]]:
    """Milliseconds of every run after the warm-up: until the call returned, and until it was done."""
    reset_peak_memory(device)
    for _ in range(WARM_UP):
        run()
    synchronize(device)
    launched: list[float] = []
    waited: list[float] = []
    end = time.perf_counter() + seconds
    while len(waited) < AT_LEAST or (time.perf_counter() < end and len(waited) < AT_MOST):
        start = time.perf_counter()
        run()
        launched.append(1000 * (time.perf_counter() - start))
        synchronize(device)
        waited.append(1000 * (time.perf_counter() - start))
    return launched, waited


def quantiles(times: list[float]) -> dict[str, float]:
    p50, p95 = np.quantile(times, (0.5, 0.95))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "mean": round(float(np.mean(times)), 3)}
