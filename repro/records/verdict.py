"""Verdicts on metrics: is the published number reproduced?

Against a published number:

    reproduced     within the band around it
    improved       above the band
    regressed      below the band

Against a number that this project measured before (`expect:` in params.yaml):

    holds          not below the band around it
    drifted        below the band

    unmeasured     there is no measurement yet
    incomparable   there is no reference, the measurements differ in data or protocol, or the files of the
                   result contradict each other

Only reproduced, improved and holds pass. A band is a half-width in percent points with its source. The costs
that a page prints, which `differ` or not, are judged in printed_costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Literal, get_args

from repro.params.bands import Band
from repro.published.page import TOLERANCE

Verdict = Literal[
    "reproduced",
    "improved",
    "regressed",
    "holds",
    "drifted",
    "unmeasured",
    "incomparable",
    "differs",
    "known difference",
]
Kind = Literal["trained", "released", "smoke", "cost", "external"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
PASSING: frozenset[str] = frozenset({"reproduced", "improved", "holds"})
FAILING: frozenset[str] = frozenset({"regressed", "drifted", "differs"})


RELEASED = Band(
    value=TOLERANCE, source="the same weights: rounding of the printed number and of other resize kernels"
)
DEFAULT = Band(value=0.5, source="project default for a newly trained network, about one seed's spread")
# Verdicts within, below and above the band, by whether the reference is published.
_WORDS: dict[bool, tuple[Verdict, Verdict, Verdict]] = {
    True: ("reproduced", "regressed", "improved"),
    False: ("holds", "drifted", "holds"),
}


def default_band(bands: Mapping[str, Band], kind: Kind, dataset: str) -> Band:
    """Return the band of a single result; `bands` are those of params.yaml for trained networks."""
    return RELEASED if kind == "released" else bands.get(dataset, DEFAULT)


def seed_band(values: Sequence[float]) -> Band | None:
    """Return the 95 % prediction interval of a further seed, or None for fewer than three values.

    The published number is a single run, so the half-width is t * s * sqrt(1 + 1/n), not that of the mean.
    """
    half = _student(values, math.sqrt(1 + 1 / max(len(values), 1)))
    if half is None:
        return None
    source = f"95 % prediction interval of one more run, from {len(values)} seeds"
    return Band(value=round(half, 3), source=source)


def mean_half_width(values: Sequence[float]) -> float | None:
    """Return half the 95 % confidence interval of the mean of seeds; None for fewer than three.

    t * s / sqrt(n) shrinks with every seed, unlike the prediction interval of one more run.
    """
    return _student(values, 1 / math.sqrt(max(len(values), 1)))


def _student(values: Sequence[float], factor: float) -> float | None:
    """t * s * factor for 95 %, with the deviation s of the values; None for fewer than three."""
    count = len(values)
    if count < 3:
        return None
    from scipy.special import stdtrit  # Student's t; scipy is slow to import

    return float(stdtrit(count - 1, 0.975)) * stdev(values) * factor


def verdict(
    *,
    measured: float | None,
    reference: float | None,
    band: float,
    published: bool = True,
    comparable: bool = True,
    seeds: Sequence[float] = (),
) -> Verdict:
    """Return the verdict on a measurement.

    Args:
        measured: The measured value in percent, None without a measurement.
        reference: The expected value in percent, None without a reference.
        band: Half-width of the band in percent points.
        published: Whether the reference is published, or else measured by this project.
        comparable: Whether the two were measured in the same way.
        seeds: Values of all seeds; three or more replace `measured` by their mean and `band` by their
            prediction interval.
    """
    if measured is None or math.isnan(measured):
        return "unmeasured"
    if (
        reference is None
        or not comparable
        or not all(map(math.isfinite, (measured, reference, band, *seeds)))
    ):
        return "incomparable"
    from_seeds = seed_band(seeds)
    if from_seeds is not None:
        measured, band = fmean(seeds), from_seeds.value
    # 1e-9: 50.5 against 50.0 with band 0.5 is inside in spite of rounding
    gap = measured - reference
    within, below, above = _WORDS[published]
    if abs(gap) <= band + 1e-9:
        return within
    return above if gap > 0 else below
