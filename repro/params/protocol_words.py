"""Two protocols compared in words: why two numbers are not comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Fields of a protocol as a reader names them; others by their own names.
WORDS = {
    "base": "image size",
    "crop": "tiles",
    "first": "images",
    "flip": "mirror images",
    "ignore_index": "ignored label",
    "mean_over": "classes in the mean",
    "map_rule": "resize of averaged maps",
    "ms_flip": "second variant",
    "precision": "precision",
    "reduce_zero_label": "label 0 ignored",
    "rule": "resize of logits",
    "words": "description",
}


def protocol_differences(
    one: Mapping[str, Any], other: Mapping[str, Any], *, between: str = "against"
) -> list[str]:
    """Every field in which two protocols differ, `one` first.

    Args:
        one, other: protocols as JSON types, as records hold them. A missing field has its default.
        between: what stands between the two values.

    Example:
        >>> protocol_differences({"scales": [1.0]}, {"scales": [0.5, 1.0, 1.75], "crop": [321, 321]})
        ['scales 1 against 0.5 to 1.75 (3)', 'tiles none against 321x321']
    """
    names = dict.fromkeys([*one, *other])
    pairs = [(name, one.get(name), other.get(name)) for name in names]
    return [f"{_named(name)} {_shown(name, a)} {between} {_shown(name, b)}" for name, a, b in pairs if a != b]


def _named(field: str) -> str:
    return WORDS.get(field, field.replace("_", " "))


def _shown(name: str, value: Any) -> str:
    if value is None or value == () or value == []:
        return "all" if name in ("first", "mean_over") else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return f"({', '.join(f'{_named(key)} {_shown(key, one)}' for key, one in value.items())})"
    if name == "scales":
        return _scales(value)
    if name in ("base", "crop", "stride"):
        return "x".join(map(str, value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _scales(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:g}"
    return f"{min(values):g} to {max(values):g} ({len(values)})"
