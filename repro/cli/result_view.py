"""What a person sees of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repro.cli.common import console, emit_json

if TYPE_CHECKING:
    from repro.evaluation.summary import EvaluationResult


def report(result: EvaluationResult, split: str, *, as_json: bool) -> None:
    """The numbers, or all of metrics.json."""
    from repro.evaluation.files import metrics_json

    values = metrics_json(result, split=split)
    if as_json:
        emit_json(values)
        return
    console().print(f"{values['n_images']} images of {split}, protocol {values['protocol']}")
    for suffix in result.confusions:
        names = [key for key in ("mIoU", "aAcc", "mAcc", "fwIoU") if key + suffix in values]
        shown = "  ".join(f"{key} {values[key + suffix]:.2f}" for key in names)
        between = f"mIoU 95 % [{values[f'mIoU{suffix}_low']:.2f}, {values[f'mIoU{suffix}_high']:.2f}]"
        console().print(f"{suffix.strip('_') or 'main':8} {shown}  {between}", markup=False)
