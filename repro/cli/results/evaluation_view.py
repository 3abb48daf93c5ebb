"""What a person sees of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repro.cli.console import console, emit_json

if TYPE_CHECKING:
    from repro.evaluation.summary import EvaluationResult


def report(
    result: EvaluationResult,
    split: str,
    *,
    as_json: bool,
    model_sha256: str = "",
    program_sha256: str = "",
) -> None:
    """The numbers, or all of metrics.json."""
    from repro.evaluation.outputs import metrics_json

    values = metrics_json(result, split=split, model_sha256=model_sha256, program_sha256=program_sha256)
    if as_json:
        emit_json(values)
        return
    console().print(f"{values['n_images']} images of {split}, protocol {values['protocol']}")
    console().print(f"interval: {values['interval']}")
    for suffix in result.confusions:
        names = [key for key in ("mIoU", "aAcc", "mAcc", "fwIoU") if values.get(key + suffix) is not None]
        shown = "  ".join(f"{key} {values[key + suffix]:.2f}" for key in names)
        low, high = (values.get(f"mIoU{suffix}_{end}") for end in ("low", "high"))
        between = "" if low is None else f"mIoU 95 % [{low:.2f}, {high:.2f}]"
        console().print(f"{suffix.strip('_') or 'main':8} {shown}  {between}")
    for name, reason in values.get("undefined", {}).items():
        console().print(f"{name} is undefined: {reason}")
