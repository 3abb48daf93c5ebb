"""Learning rate and weight decay of an experiment over its iterations, for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.params import TrainedExperiment

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60


def schedule_text(experiment: TrainedExperiment) -> str:
    """Two sparklines (logarithmic, four decades at most) and the values at six iterations."""
    values = points(experiment, count=WIDTH)
    table = points(experiment, count=6)
    lines = [
        f"{experiment.name}: {values[-1]['iteration'] + 1} iterations; heights are logarithms",
        f"  lr            {sparkline([value['lr'] for value in values])}",
        f"  weight decay  {sparkline([value['weight_decay'] for value in values])}",
        "  iteration        lr    backbone  weight decay",
    ]
    lines += [
        f"  {v['iteration']:9d}  {v['lr']:8.3g}  {v['lr_backbone']:8.3g}  {v['weight_decay']:12.3g}"
        for v in table
    ]
    if experiment.training.schedule == "plateau":
        lines.append(f"  times {experiment.training.plateau_factor:g} at every plateau of the validation")
    return "\n".join(lines)


def points(experiment: TrainedExperiment, *, count: int) -> list[dict[str, Any]]:
    """Evenly spaced iterations with the values of each."""
    from repro.training.schedule import curve, learning_rate, length_of

    params = experiment.training
    images = experiment.facts.splits[params.split]
    of = length_of(experiment)
    return [
        {
            "iteration": i,
            "lr": rate,
            "lr_backbone": learning_rate(params, iteration=i, of=of, multiplier=params.lr_backbone),
            "weight_decay": decay,
        }
        for i, rate, decay in curve(params, images=images, points=count)
    ]


def sparkline(values: list[float]) -> str:
    """One bar a value; its height is the logarithm, the lowest bar is 0 or four decades below the highest."""
    top = max(values)
    if top <= 0:
        return BARS[0] * len(values)
    heights = [max(math.log10(value / top) + 4, 0) / 4 if value > 0 else 0 for value in values]
    return "".join(BARS[round(height * (len(BARS) - 1))] for height in heights)
