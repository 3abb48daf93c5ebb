"""Keys of params.yaml that came after the first recorded trainings, and their values that change nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

LATER: Mapping[str, object] = {
    "measure": "all",
    "augmentation.pad_value": 255,
    "augmentation.pad_label": 255,
    "augmentation.category_tries": 11,
    "training.eps_rule": "torch",
    "training.grad_scope": "classifier",
    "training.pad_epoch": False,
    "model.head.glorot": [],
}


def without_neutral(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved experiment as plain data, without the later keys that have their neutral value.

    Run keys and seed families are made from this: a result from before such a key keeps both.
    """
    kept = copy.deepcopy(dict(plain))
    for path, neutral in LATER.items():
        *parents, name = path.split(".")
        block: Any = kept
        for parent in parents:
            block = block.get(parent) if isinstance(block, dict) else None
        if isinstance(block, dict) and name in block and block[name] == neutral:
            del block[name]
    return kept
