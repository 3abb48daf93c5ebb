"""The ids of a split from the owner's list of it, in any form that such lists are passed around in.

    2007_000032                                     an id
    2007_000032 -1                                  VOC's lists of a class: a number behind the id
    JPEGImages/2007_000032.jpg                      a path, with / or \\, from the root or not
    /JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png       image and label

Blanks, tabs, commas and semicolons part columns; line ends and a byte order mark of Windows, and blank lines,
do not matter. What cannot be read is refused with the list and its line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from repro.datasets.raw.source import Source
from repro.errors import DataError

FORMS = "an id, `ID NUMBER`, a path, or the paths of image and label, one image a line"
_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".mat")
_COLUMNS, _NUMBER, _ID = re.compile(r"[\s,;]+"), re.compile(r"[+-]?\d+(\.\d+)?"), re.compile(r"[\w.\-]+")


class Entry(NamedTuple):
    """An id of a split and where it is written, for messages."""

    id: str
    place: str


def read_ids(source: Source, name: str) -> list[Entry]:
    """The entries of the list `name`, in order. DataError, with list and line, where one cannot be read."""
    where = source.place(name)
    places: dict[str, str] = {}
    for number, text in source.numbered_lines(name):
        place = f"{where}: line {number}"
        found = _id(text, place)
        if found in places:
            hint = f"take one of the two lines away; the other one is {places[found]}"
            raise DataError(f"duplicate id '{found}'", where=place, allowed="every id once", hint=hint)
        places[found] = place
    if not places:
        raise DataError("a list without ids", where=where, allowed=FORMS, hint="take the owner's list again")
    return [Entry(found, place) for found, place in places.items()]


def _id(text: str, where: str) -> str:
    first, *rest = [column for column in _COLUMNS.split(text) if column]
    found = _stem(first)
    others = [column for column in rest if not _NUMBER.fullmatch(column) and _stem(column) != found]
    if others or not _ID.fullmatch(found):
        why = f"'{found}' and '{_stem(others[0])}' are two ids" if others else "there is no id in it"
        raise DataError(f"cannot read '{text[:80]}': {why}", where=where, allowed=FORMS)
    return found


def _stem(column: str) -> str:
    """The last part of a path without the ending of an image; an id may have dots."""
    last = column.replace("\\", "/").rpartition("/")[2]
    stem, dot, ending = last.rpartition(".")
    return stem if dot + ending.lower() in _ENDINGS else last
