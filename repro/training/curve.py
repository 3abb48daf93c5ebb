"""curve.csv: what `dvc plots` shows of a training. Deterministic: no times, no machine."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from repro.records import read_journal

FIELDS = ("step", "loss", "lr", "val_mIoU")
_COLUMNS = {"train/loss": "loss", "train/lr": "lr", "val/mIoU": "val_mIoU"}
ROWS = 1000  # a curve of a million lines helps nobody; every k-th line is kept, and all validations


def curve_csv(journal: Path) -> str:
    """The journal's losses, learning rates and validations, one line a step."""
    rows = _rows(journal)
    losses = [step for step, row in rows.items() if "loss" in row]
    kept = set(losses[:: len(losses) // ROWS + 1]) | set(losses[-1:])
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {"step": step} | row for step, row in sorted(rows.items()) if step in kept or "val_mIoU" in row
    )
    return text.getvalue()


def _rows(journal: Path) -> dict[int, dict[str, str]]:
    rows: dict[int, dict[str, str]] = {}
    for entry in read_journal(journal):
        if entry["kind"] == "metrics":
            values = {_COLUMNS[k]: f"{v:.6g}" for k, v in entry["values"].items() if k in _COLUMNS}
            if values:
                rows.setdefault(entry["step"], {}).update(values)
    return rows
