"""A badge for README files: JSON for shields.io's endpoint, with the tiers of what is reproduced."""

from __future__ import annotations

import json
from collections.abc import Sequence

from repro.reports.gate import of_rows, passing_tiers, tiers_text
from repro.reports.results import Results


def badge(results: Results, names: Sequence[str] = ()) -> str:
    """Return the endpoint's JSON: how many published mIoU are reproduced, of which tiers; `names` limit it.

    Example: {..., "label": "reproduced", "message": "1 of 133 mIoU (1 retrained, one run)", ...}
    """
    found = of_rows(results, names)
    tiers, claimed = passing_tiers(found), len(found)
    done = sum(tiers.values())
    message = " ".join(filter(None, [f"{done} of {claimed} mIoU", tiers_text(tiers)]))
    colour = "brightgreen" if done == claimed else "green" if done else "lightgrey"
    whole = {"schemaVersion": 1, "label": "reproduced", "message": message, "color": colour}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
