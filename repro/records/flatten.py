"""Parameters as one level of dotted keys, and keys whose default values change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def leaves(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(`model.backbone`, value) of everything that is no mapping; an empty mapping has no leaf."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as dotted keys, sequences as text: {"model.aspp": "6, 12, 18"}."""
    return {
        name: ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        for name, value in leaves(nested)
    }


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
    kept = dict(plain)
    for path, neutral in LATER.items():
        _drop(kept, path.split("."), neutral)
    return kept


def _drop(block: dict[str, Any], path: Sequence[str], neutral: object) -> None:
    """Without the key at `path` where it has this value; the blocks on the way are copied, not changed."""
    name, *rest = path
    if rest and isinstance(block.get(name), Mapping):
        block[name] = dict(block[name])
        _drop(block[name], rest, neutral)
    elif not rest and name in block and block[name] == neutral:
        del block[name]
