"""Whether a batch leaves normalisations more than one value; no torch, so that a fleet can ask."""

from __future__ import annotations

from repro.errors import ParamsError
from repro.params import ModelParams, TrainingParams


def require_statistics(model: ModelParams, params: TrainingParams, *, world: int) -> None:
    """ParamsError where a pooled branch would normalise over one value: one image a device at a time."""
    images = params.batch // (params.accumulate * world)
    pools = model.family in ("deeplabv3", "deeplabv3plus") and model.head.aspp and model.head.pool != "none"
    shared = params.batch_norm == "sync" and world > 1
    if images > 1 or not pools or shared or params.batch_norm == "frozen":
        return
    raise ParamsError(
        "one image at a time leaves the normalisation of the pooled branch a single value",
        where=f"training.batch {params.batch}, accumulate {params.accumulate}, {world} processes",
        allowed="2 images or more at a time, batch_norm sync on several GPUs, or batch_norm frozen",
    )
