"""The learning curve of a training, curve.csv, from its journal."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from repro.records.journal import read_journal

FIELDS = ("step", "loss", "lr", "val_mIoU")
# Names of metrics in the journal: those of this project's engine, then those that programs commonly log.
_COLUMNS = {
    "train/loss": "loss",
    "train/lr": "lr",
    "val/mIoU": "val_mIoU",
    "loss": "loss",
    "train_loss": "loss",
    "lr": "lr",
    "mIoU": "val_mIoU",
    "val_mIoU": "val_mIoU",
}
ROWS = 1000  # about the most rows of a curve: every k-th loss is kept, and all validations


def curve_csv(journal: Path) -> str:
    """The journal's losses, learning rates and validations as CSV, one row per step."""
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
