"""Train ids from label files, the same for data sets and predictions, and warnings about implausible ones.

1. Gray (1, 2, 4, 8 or 16 bits): the stored values are the ids, never scaled.
2. RGB, with or without alpha: each pixel by its colour, which must be one of the data set's.
3. A palette: by index where it says what the ids say, that is where every colour in use is the data set's
   colour of that id (VOC ships such files), or where it is a gray ramp (entry i is (i, i, i)) and says
   nothing; else by colour where every colour in use is the data set's, with a note; else the file is refused.
   It is never read by index in silence: some programs reorder a palette when they save.
4. A colour that two ids share, and that they do not mean alike, cannot be read back and is refused.

A warning with numbers, not an error: an image of one class can be right, a hundred of them rarely are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from repro.datasets.formats.colour_labels import colours_to_ids
from repro.datasets.formats.image_io import Pixels, present_values
from repro.datasets.formats.label_files import LabelFile, Values, read_label_file
from repro.datasets.sets.palettes import Colour
from repro.datasets.sets.spec import IGNORE
from repro.errors import DataError

Table = NDArray[np.int16]  # 256 entries: stored value -> train id, -1 where the value is not allowed
_AS_GRAY = "save the label as gray ids, or with the data set's palette in the order of the ids"
_SWAPPED = "are image and label swapped? labels must be lossless: never JPEG, never resized"
_NOT_GRAY = "take the owner's colour file; gray ids of another program are in another order"
_VALUES = "is it a label of this data set, not resized and never a JPEG? take the owner's file again"


def value_table(mapping: Mapping[int, int]) -> Table:
    """256 entries: stored value -> train id, -1 where the value is not allowed."""
    table = np.full(256, -1, dtype=np.int16)
    for value, train_id in mapping.items():
        table[value] = train_id
    return table


def read_value_label(
    data: bytes, where: str, table: Table, colours: Mapping[int, Colour]
) -> tuple[Pixels, str | None]:
    """label_HW of a label of ids, and a note where it was read by its colours.

    `colours` is the data set's colour of each stored value; without any, a palette cannot be checked.
    DataError names the file and says what it holds.
    """
    stored = read_label_file(data, where)
    if stored.coloured:
        if not colours:
            raise DataError(f"expected ids, found a {stored.kind} label", where=where, hint=_SWAPPED)
        ids = _ids_by_colour(table, colours)
        shared = sorted(set(colours.values()) - ids.keys())
        hint = _SWAPPED + (f"; colours that stand for several ids cannot be read: {shared}" if shared else "")
        label_HW, _ = colours_to_ids(stored, ids, where, tolerated=0.0, hint=hint)
        return label_HW, "a colour label, read by its colours"
    values_HW = stored.values
    if stored.palette_N3 is None:
        note = None if stored.bits in (8, 16) else f"{stored.kind}, its stored values are the ids"
        return to_train_ids(values_HW, table, where, kind=stored.kind), note
    return _by_palette(stored, np.asarray(values_HW, dtype=np.uint8), table, colours, where)


def read_colour_label(
    data: bytes, where: str, ids: Mapping[Colour, int], *, tolerated: float = 0.0
) -> tuple[Pixels, int]:
    """label_HW of a label of colours, and how many pixels had none of `ids` and are ignored.

    More of them than the share `tolerated` are an error that says where the first one is.
    """
    stored = read_label_file(data, where)
    if not stored.coloured and stored.palette_N3 is None:
        what = f"expected a colour label, found {stored.kind}"
        raise DataError(what, where=where, allowed="RGB or palette", hint=_NOT_GRAY)
    return colours_to_ids(stored, ids, where, tolerated=tolerated, hint=_SWAPPED)


def to_train_ids(raw_HW: Values, table: Table, where: str, *, kind: str = "8-bit") -> Pixels:
    """Look stored values up in a table; DataError for values of no class, or train ids in place of ids."""
    if raw_HW.dtype == np.uint16 and raw_HW.max() > 255:
        high = np.unique(raw_HW[raw_HW > 255])[:8].tolist()
        raise _no_class(high, table, where, kind)
    narrow_HW = np.ascontiguousarray(raw_HW, dtype=np.uint8)
    present = present_values(narrow_HW)
    wrong = present[table[present] < 0].tolist()
    trained = _are_train_ids(present, table)
    if wrong:
        raise _no_class(wrong[:8], table, where, kind, trained=trained)
    if trained:
        ids = present[present != IGNORE]
        what = f"train ids in place of the owner's ids: {len(ids)} values from {ids[0]} to {ids[-1]}, and 255"
        hint = "take the owner's label files; those made for training have another name"
        raise DataError(what, where=where, allowed=_listed(table), hint=hint)
    return np.asarray(cv2.LUT(narrow_HW, table.astype(np.uint8)))


def _no_class(wrong: list[int], table: Table, where: str, kind: str, *, trained: bool = False) -> DataError:
    what = f"label values {wrong} are of no class" + (f" (a {kind} file)" if kind[:2] != "8-" else "")
    hint = "these look like train ids: take the owner's label files" if trained else _VALUES
    return DataError(what, where=where, allowed=_listed(table), hint=hint)


def _listed(table: Table) -> str | None:
    return ", ".join(map(str, np.flatnonzero(table >= 0))) if (table < 0).any() else None


def _are_train_ids(present: NDArray[np.intp], table: Table) -> bool:
    """Whether the values are 0 to classes - 1 and 255 where the owner's ids of these classes are others."""
    if table[IGNORE] not in (IGNORE, -1) or IGNORE not in present or len(present) < 2:
        return False
    classes = int(table[table != IGNORE].max()) + 1
    ids = present[present != IGNORE]
    return bool((ids < classes).all() and (table[present] != present).any())


def _by_palette(
    stored: LabelFile, indices_HW: Pixels, table: Table, colours: Mapping[int, Colour], where: str
) -> tuple[Pixels, str | None]:
    """Rule 3."""
    assert stored.palette_N3 is not None
    palette: list[Colour] = [(r, g, b) for r, g, b in stored.palette_N3.tolist()]
    used = present_values(indices_HW).tolist()
    if used[-1] >= len(palette):
        what = f"index {used[-1]} is not in the file's own palette of {len(palette)} colours"
        raise DataError(what, where=where, hint=_AS_GRAY)
    if _in_order(palette, used, colours) or _is_ramp(palette):
        return to_train_ids(indices_HW, table, where, kind=stored.kind), None
    if not colours:
        label_HW = to_train_ids(indices_HW, table, where, kind=stored.kind)
        return label_HW, "a palette label, read by index: the data set declares no colours"
    ids = _ids_by_colour(table, colours)
    strange = [index for index in used if palette[index] not in ids]
    if strange:
        raise _strange(strange, palette, colours, where)
    label_HW, _ = colours_to_ids(stored, ids, where, tolerated=0.0, hint=_AS_GRAY)
    return label_HW, "its palette is not in the order of the ids, read by its colours"


def _in_order(palette: list[Colour], used: list[int], colours: Mapping[int, Colour]) -> bool:
    known = [index for index in used if index in colours]
    return bool(known) and all(palette[index] == colours[index] for index in known)


def _is_ramp(palette: list[Colour]) -> bool:
    return len(palette) > 1 and all(colour == (i, i, i) for i, colour in enumerate(palette))


def _ids_by_colour(table: Table, colours: Mapping[int, Colour]) -> dict[Colour, int]:
    """Train id of each colour; colours whose values do not mean the same are left out."""
    meant: dict[Colour, set[int]] = {}
    for value, colour in colours.items():
        meant.setdefault(colour, set()).add(int(table[value]))
    return {colour: min(ids) for colour, ids in meant.items() if len(ids) == 1 and min(ids) >= 0}


def _strange(
    indices: list[int], palette: list[Colour], colours: Mapping[int, Colour], where: str
) -> DataError:
    index = indices[0]
    twice = list(colours.values()).count(palette[index]) > 1
    why = "stands for several ids" if twice else "is none of the data set's"
    what = f"a palette that cannot be read: index {index} has the colour {palette[index]}, which {why}"
    more = f" ({len(indices)} such colours)" if len(indices) > 1 else ""
    allowed = ", ".join(f"{value}: {colour}" for value, colour in list(colours.items())[:40])
    return DataError(what + more, where=where, allowed=allowed, hint=_AS_GRAY)


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
