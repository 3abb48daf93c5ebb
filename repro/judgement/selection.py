"""Compare the number that a page chose among several with the same choice among ours."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from repro.judgement.case import Case
from repro.params import TrainedExperiment
from repro.published.selection import Selection
from repro.records.seeds import OTHER_CHOICE


def selection_of(case: Case) -> Selection | None:
    """How the number that a result is compared with was chosen; None if no page says it.

    None for released weights too: they are those that the page measured, whichever they are.
    """
    if not case.record.published or case.record.kind == "released":
        return None
    found = (case.project.published.selection(row) for row in case.record.rows)
    return next((one for one in found if one is not None), None)


def not_selected(case: Case, runs: int) -> str:
    """Return why ours is not the statistic that the page prints, or "".

    Args:
        case: The result.
        runs: Number of seeds that were measured.
    """
    chosen, experiment = selection_of(case), case.recorded
    if chosen is None:
        return ""
    if chosen.of > 1:
        more = f"{runs} of ours ran: `repro run {case.record.experiment} --seeds {chosen.of}`"
        return f"{OTHER_CHOICE} {chosen.words}, {more}" if runs < chosen.of else ""
    if not isinstance(experiment, TrainedExperiment):
        return ""
    training = experiment.training
    ours = "last" if training.keep == "last" else f"best by {training.monitor}"
    if ours in (chosen.statistic, f"{chosen.statistic} by mIoU"):
        return ""
    wanted = "`keep: last`" if chosen.statistic == "last" else "`keep: best` and `monitor: mIoU`"
    return f"{OTHER_CHOICE} {chosen.words}, ours is the {ours}: {wanted} under `training:`"


def selected(case: Case, seeds: Sequence[tuple[int, float]]) -> float | None:
    """Return our statistic over as many runs as the page has, those with the lowest seeds.

    Args:
        case: The result.
        seeds: Seed and number of each run.

    Returns:
        The number in percent; None if the page prints a single run.
    """
    chosen = selection_of(case)
    if chosen is None or chosen.of < 2 or len(seeds) < chosen.of:
        return None
    values = [value for _, value in sorted(seeds)[: chosen.of]]
    if chosen.statistic == "best":
        return max(values)
    return median(values) if chosen.statistic == "median" else fmean(values)


def selection_note(case: Case, measured: float | None) -> str:
    """What was compared, for the reason of a verdict; "" where that is one run of known choice."""
    chosen = selection_of(case)
    if chosen is None:
        return ""
    if chosen.of == 1 and not isinstance(case.recorded, TrainedExperiment):
        return f"; the page prints {chosen.words}, which one a program keeps is not known"
    return "" if measured is None else f"; {chosen.words}, ours {measured:.2f}"
