"""Conversion of label files to train ids, and warnings about implausible labels.

1. Gray (1, 2, 4, 8 or 16 bits): the stored values are the ids, never scaled.
2. RGB, with or without alpha: by colour, which must be in the data set's palette.
3. Palette: by index if all colours in use are the data set's colours of these ids (as in VOC's files), or if
   the palette is a gray ramp (entry i is (i, i, i)); else by colour, with a note, if all colours in use are
   in the data set's palette; else the file is rejected. It is never read by index without this check,
   because some programs reorder the palette on saving.
4. A colour shared by ids with different meaning is ambiguous and rejected.

Implausible labels give warnings, not errors: one image with a single class can be correct, a hundred rarely
are.
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
_NOT_GRAY = "use the original colour file; gray ids of other programs have a different order"
_VALUES = "is it a label of this data set, neither resized nor saved as JPEG? download it again"


def value_table(mapping: Mapping[int, int]) -> Table:
    """Return a table of 256 entries from stored values to train ids, with -1 for invalid values."""
    table = np.full(256, -1, dtype=np.int16)
    for value, train_id in mapping.items():
        table[value] = train_id
    return table


ANY_VALUE = value_table({value: value for value in range(256)})  # where the caller checks the values


def read_value_label(
    data: bytes,
    where: str,
    table: Table,
    colours: Mapping[int, Colour],
    *,
    ignored: Sequence[Colour] = (),
) -> tuple[Pixels, str | None]:
    """Read a label of ids.

    Args:
        data: The file's content.
        where: Name of the file, for errors.
        table: From stored values to train ids, see `value_table`.
        colours: The data set's colour of each stored value; without any, a palette cannot be checked.
        ignored: Further colours, which belong to no class.

    Returns:
        label_HW, and a note if it was read by its colours.

    Raises:
        DataError: The file is damaged, or has invalid values or colours.
    """
    stored = read_label_file(data, where)
    if stored.coloured:
        if not colours:
            raise DataError(f"expected ids, found a {stored.kind} label", where=where, hint=_SWAPPED)
        ids = _ids_by_colour(table, colours, ignored)
        shared = sorted(set(colours.values()) - ids.keys())
        hint = _SWAPPED + (f"; colours of several ids are ambiguous: {shared}" if shared else "")
        label_HW, _ = colours_to_ids(stored, ids, where, tolerated=0.0, hint=hint)
        return label_HW, "a colour label, read by its colours"
    values_HW = stored.values
    if stored.palette_N3 is None:
        note = None if stored.bits in (8, 16) else f"{stored.kind}, its stored values are the ids"
        return to_train_ids(values_HW, table, where, kind=stored.kind), note
    indices_HW = np.asarray(values_HW, dtype=np.uint8)
    return _by_palette(stored, indices_HW, table, colours, ignored, where)


def read_colour_label(
    data: bytes, where: str, ids: Mapping[Colour, int], *, tolerated: float = 0.0
) -> tuple[Pixels, int]:
    """Read a label of colours: label_HW, and the number of pixels with other colours, which are ignored.

    Raises DataError if more than the share `tolerated` have other colours.
    """
    stored = read_label_file(data, where)
    if not stored.coloured and stored.palette_N3 is None:
        what = f"expected a colour label, found {stored.kind}"
        raise DataError(what, where=where, allowed="RGB or palette", hint=_NOT_GRAY)
    return colours_to_ids(stored, ids, where, tolerated=tolerated, hint=_SWAPPED)


def to_train_ids(raw_HW: Values, table: Table, where: str, *, kind: str = "8-bit") -> Pixels:
    """Convert stored values by a table. Raises DataError for invalid values and for train ids."""
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
        what = f"train ids instead of original ids: {len(ids)} values from {ids[0]} to {ids[-1]}, and 255"
        hint = "use the original label files; those converted for training have another name"
        raise DataError(what, where=where, allowed=_listed(table), hint=hint)
    return np.asarray(cv2.LUT(narrow_HW, table.astype(np.uint8)))


def _no_class(wrong: list[int], table: Table, where: str, kind: str, *, trained: bool = False) -> DataError:
    what = f"label values {wrong} have no class" + (f" (a {kind} file)" if kind[:2] != "8-" else "")
    hint = "these look like train ids: use the original label files" if trained else _VALUES
    return DataError(what, where=where, allowed=_listed(table), hint=hint)


def _listed(table: Table) -> str | None:
    return ", ".join(map(str, np.flatnonzero(table >= 0))) if (table < 0).any() else None


def _are_train_ids(present: NDArray[np.intp], table: Table) -> bool:
    """Whether the values are 0 to classes - 1 and 255, although the original ids of these classes differ."""
    if table[IGNORE] not in (IGNORE, -1) or IGNORE not in present or len(present) < 2:
        return False
    classes = int(table[table != IGNORE].max()) + 1
    ids = present[present != IGNORE]
    return bool((ids < classes).all() and (table[present] != present).any())


def _by_palette(
    stored: LabelFile,
    indices_HW: Pixels,
    table: Table,
    colours: Mapping[int, Colour],
    ignored: Sequence[Colour],
    where: str,
) -> tuple[Pixels, str | None]:
    """Rule 3 of the module."""
    assert stored.palette_N3 is not None
    palette: list[Colour] = [(r, g, b) for r, g, b in stored.palette_N3.tolist()]
    used = present_values(indices_HW).tolist()
    if used[-1] >= len(palette):
        what = f"index {used[-1]} is not in the file's palette of {len(palette)} colours"
        raise DataError(what, where=where, hint=_AS_GRAY)
    if _in_order(palette, used, colours) or _is_ramp(palette):
        return to_train_ids(indices_HW, table, where, kind=stored.kind), None
    if not colours:
        label_HW = to_train_ids(indices_HW, table, where, kind=stored.kind)
        return label_HW, "a palette label, read by index: the data set declares no colours"
    ids = _ids_by_colour(table, colours, ignored)
    unknown = [index for index in used if palette[index] not in ids]
    if unknown:
        raise _palette_error(unknown, palette, colours, where)
    label_HW, _ = colours_to_ids(stored, ids, where, tolerated=0.0, hint=_AS_GRAY)
    return label_HW, "its palette is not in the order of the ids, read by its colours"


def _in_order(palette: list[Colour], used: list[int], colours: Mapping[int, Colour]) -> bool:
    known = [index for index in used if index in colours]
    return bool(known) and all(palette[index] == colours[index] for index in known)


def _is_ramp(palette: list[Colour]) -> bool:
    return len(palette) > 1 and all(colour == (i, i, i) for i, colour in enumerate(palette))


def _ids_by_colour(
    table: Table, colours: Mapping[int, Colour], ignored: Sequence[Colour]
) -> dict[Colour, int]:
    """Train id of each colour, without ambiguous colours."""
    found: dict[Colour, set[int]] = {}
    for value, colour in colours.items():
        found.setdefault(colour, set()).add(int(table[value]))
    unambiguous = {colour: min(ids) for colour, ids in found.items() if len(ids) == 1 and min(ids) >= 0}
    return dict.fromkeys(ignored, IGNORE) | unambiguous


def _palette_error(
    indices: list[int], palette: list[Colour], colours: Mapping[int, Colour], where: str
) -> DataError:
    index = indices[0]
    twice = list(colours.values()).count(palette[index]) > 1
    why = "belongs to several ids" if twice else "is not in the data set's palette"
    what = f"unsupported palette: index {index} has the colour {palette[index]}, which {why}"
    more = f" ({len(indices)} such colours)" if len(indices) > 1 else ""
    allowed = ", ".join(f"{value}: {colour}" for value, colour in list(colours.items())[:40])
    return DataError(what + more, where=where, allowed=allowed, hint=_AS_GRAY)


# Share of horizontal neighbours that differ. Labels: at most 0.082 (701 of CamVid; VOC 0.043, LoveDA 0.008);
# CamVid's photographs in gray: 0.50 to 0.95.
NOISY = 0.3
# This many labels of a data set with at most MAX_CLASSES classes should contain a third of the classes.
MIN_LABELS, MAX_CLASSES = 8, 30
SHOWN = 8  # missing classes listed in a warning


@dataclass(frozen=True, kw_only=True)
class LabelFacts:
    """Train ids in a label, without 255, and the share of horizontal neighbours that differ (0 to 1)."""

    id: str
    classes: tuple[int, ...]
    changes: float


def label_facts(label_id: str, label_HW: Pixels) -> LabelFacts:
    """Return the facts of a label."""
    classes = [value for value in present_values(label_HW).tolist() if value != IGNORE]
    some_HW = label_HW[1::4]  # a quarter of the rows suffices
    changes = np.count_nonzero(some_HW[:, 1:] != some_HW[:, :-1]) / max(1, some_HW[:, 1:].size)
    return LabelFacts(id=label_id, classes=tuple(classes), changes=round(changes, 4))


def label_warnings(
    split: str, facts: Sequence[LabelFacts], classes: Sequence[str], *, complete: bool
) -> tuple[str, ...]:
    """Return warnings about the labels of a split; `complete`: these are all its official labels."""
    checks: list[tuple[str, Callable[[LabelFacts], bool], Callable[[LabelFacts], str]]] = [
        ("have only one class", lambda one: len(one.classes) == 1, lambda one: classes[one.classes[0]]),
        ("have no class, all pixels are ignored", lambda one: not one.classes, lambda one: ""),
        (
            f"change at more than {NOISY:.0%} of neighbouring pixels, like photographs or noise",
            lambda one: one.changes > NOISY,
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
    found = [one for one in facts if odd(one)]
    if not found:
        return ""
    first = ": ".join(part for part in (found[0].id, detail(found[0])) if part)
    return f"{len(found)} of {len(facts)} labels {what}, e.g. {first}"


def _absent(facts: Sequence[LabelFacts], classes: Sequence[str], complete: bool) -> str:
    """Classes without any label, if all labels were read or very many classes are missing."""
    seen = {number for one in facts for number in one.classes}
    missing = [name for number, name in enumerate(classes) if number not in seen]
    many = len(facts) >= MIN_LABELS and len(classes) <= MAX_CLASSES and 3 * len(seen) < len(classes)
    if not facts or not missing or not (complete or many):
        return ""
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    return f"none of {len(facts)} labels has {', '.join(missing[:SHOWN])}{more}; are these the original ids?"
