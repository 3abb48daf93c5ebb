"""What a person sees first in MLflow: a saved view with the columns that matter, and a note that leads to it.

MLflow's own list shows no number at all before columns are chosen in that browser. A saved view is a tag of
the experiment (MLflow 3.17 reads it in its menu "Views", and by its id in an address): name, times, and the
list's state as JSON text.
"""

from __future__ import annotations

import json
import time
from typing import Any

VIEW = "results"  # its id in addresses
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
NOTE_TAG = "mlflow.note.content"
COLUMNS = (
    *("tags.`verdict`", "metrics.`mIoU`", "metrics.`published/mIoU`", "metrics.`gap/mIoU`"),
    *("metrics.`mIoU_ms_flip`", "tags.`row`", "params.`model.backbone`", "params.`model.output_stride`"),
    *("metrics.`cost/params_M`", "metrics.`cost/gmacs_conv`", "params.`seed`"),
)
NOTE = (
    "[**Results: measured beside published**](#/experiments/{}/runs?viewStateShareKey={}), best first."
    "{} DeepLab on {}, percent: `mIoU` was measured, `published/mIoU` printed, `gap/mIoU` lies between."
    " Tags `verdict`, `page`, `row`, `family`, `backbone`, `output_stride` filter and group."
)


def show_first(client: Any, experiment: Any, dataset: str) -> None:
    """Give an experiment of MLflow its view, and its note where nobody else wrote one."""
    client.set_experiment_tag(experiment.experiment_id, VIEW_TAG, saved_view())
    show_note(client, experiment, dataset, "")


def show_note(client: Any, experiment: Any, dataset: str, headline: str) -> None:
    """The note of an experiment with `headline`, how many published rows the whole project reproduced."""
    own, present = experiment.experiment_id, experiment.tags.get(NOTE_TAG, "")
    note = NOTE.format(own, VIEW, f" **{headline}** in the whole project." if headline else "", dataset)
    if note != present and (not present or present.startswith(NOTE.partition("]")[0])):
        client.set_experiment_tag(own, NOTE_TAG, note)


def saved_view() -> str:
    """The tag's text. Sorted by a metric, runs are not folded under the parents of their seeds."""
    state = {
        "orderByKey": "metrics.`mIoU`",
        "orderByAsc": False,
        "selectedColumns": COLUMNS,
        "columnOrder": COLUMNS,
    }
    now = round(time.time() * 1000)
    return json.dumps({"name": "Results", "createdAt": now, "updatedAt": now, "state": json.dumps(state)})
