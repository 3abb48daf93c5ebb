"""Labels that can be read and still cannot be right: what each holds, and what is odd about those of a split.

A warning with numbers, not an error: an image of one class can be right, a hundred of them rarely are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from repro.datasets.images import Pixels, present_values
from repro.datasets.spec import IGNORE

# Share of horizontal neighbours that differ. Labels: at most 0.082 (701 of CamVid; VOC 0.043, LoveDA 0.008);
# CamVid's photographs in gray: 0.50 to 0.95.
RAGGED = 0.3
ENOUGH = 8  # labels of which a third of the classes is to be expected ...
FEW = 30  # ... in data sets of at most so many classes
SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class LabelFacts:
    """Train ids in one label, without 255, and the share of horizontal neighbours that differ (0 to 1)."""

    id: str
    classes: tuple[int, ...]
    changes: float


def facts_of(label_id: str, label_HW: Pixels) -> LabelFacts:
    """What a label holds."""
    classes = [value for value in present_values(label_HW).tolist() if value != IGNORE]
    some_HW = label_HW[1::4]  # a quarter of the rows says as much
    changes = np.count_nonzero(some_HW[:, 1:] != some_HW[:, :-1]) / max(1, some_HW[:, 1:].size)
    return LabelFacts(id=label_id, classes=tuple(classes), changes=round(changes, 4))


def label_warnings(
    split: str, facts: Sequence[LabelFacts], classes: Sequence[str], *, complete: bool
) -> tuple[str, ...]:
    """What is odd about the labels of a split; `complete`: these are all labels that it officially has."""
    checks: list[tuple[str, Callable[[LabelFacts], bool], Callable[[LabelFacts], str]]] = [
        ("hold one class only", lambda one: len(one.classes) == 1, lambda one: classes[one.classes[0]]),
        ("hold no class, every pixel is ignored", lambda one: not one.classes, lambda one: ""),
        (
            f"change at more than {RAGGED:.0%} of neighbouring pixels, as photographs and noise do",
            lambda one: one.changes > RAGGED,
            lambda one: f"{one.changes:.0%}",
        ),
    ]
    found = [_counted(facts, what, odd, detail) for what, odd, detail in checks]
    return tuple(f"split {split}: {text}" for text in [*found, _absent(facts, classes, complete)] if text)


def _counted(
    facts: Sequence[LabelFacts],
    what: str,
    odd: Callable[[LabelFacts], bool],
    detail: Callable[[LabelFacts], str],
) -> str:
    strange = [one for one in facts if odd(one)]
    if not strange:
        return ""
    first = ": ".join(part for part in (strange[0].id, detail(strange[0])) if part)
    return f"{len(strange)} of {len(facts)} labels {what}, e.g. {first}"


def _absent(facts: Sequence[LabelFacts], classes: Sequence[str], complete: bool) -> str:
    """Classes that no label holds, where all labels were looked at or very many classes are missing."""
    seen = {number for one in facts for number in one.classes}
    missing = [name for number, name in enumerate(classes) if number not in seen]
    many = len(facts) >= ENOUGH and len(classes) <= FEW and 3 * len(seen) < len(classes)
    if not facts or not missing or not (complete or many):
        return ""
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    return f"none of {len(facts)} labels holds {', '.join(missing[:SHOWN])}{more}; are these the owner's ids?"
