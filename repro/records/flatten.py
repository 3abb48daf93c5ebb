"""Nested parameters as dotted keys, and removal of neutral default values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def leaves(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of everything that is not a mapping."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings as dotted keys, with sequences as text: {"model.aspp": "6, 12, 18"}."""
    return {
        name: ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        for name, value in leaves(nested)
    }


# Keys added after the first release, with the default that keeps the previous behaviour.
NEUTRAL_DEFAULTS: Mapping[str, object] = {
    "measure": "all",
    "augmentation.pad_value": 255,
    "augmentation.pad_label": 255,
    "augmentation.category_tries": 11,
    "training.eps_rule": "torch",
    "training.grad_scope": "classifier",
    "training.pad_epoch": False,
    "model.head.glorot": [],
}


def drop_neutral_defaults(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params without keys that have their neutral default.

    Run keys and seed families are computed from this, so adding such a key does not change them.
    """
    kept = dict(plain)
    for path, neutral in NEUTRAL_DEFAULTS.items():
        _drop(kept, path.split("."), neutral)
    return kept


def _drop(block: dict[str, Any], path: Sequence[str], neutral: object) -> None:
    """Remove the key at `path` if it has this value; nested blocks are copied, not modified."""
    name, *rest = path
    if rest and isinstance(block.get(name), Mapping):
        block[name] = dict(block[name])
        _drop(block[name], rest, neutral)
    elif not rest and name in block and block[name] == neutral:
        del block[name]
