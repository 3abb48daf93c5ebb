"""Reading of split lists, in the formats in common use.

    2007_000032                                     an id
    2007_000032 -1                                  VOC's lists of a class: id and number
    JPEGImages/2007_000032.jpg                      a path, with / or \\, absolute or relative
    /JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png       image and label

Columns are separated by blanks, tabs, commas or semicolons; Windows line endings, byte order marks and blank
lines are accepted. Errors name the list and the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from repro.datasets.raw.source import Source
from repro.errors import DataError

FORMS = "one image per line: an id, `ID NUMBER`, a path, or the paths of image and label"
_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".mat")
_COLUMNS, _NUMBER, _ID = re.compile(r"[\s,;]+"), re.compile(r"[+-]?\d+(\.\d+)?"), re.compile(r"[\w.\-]+")


Known = Callable[[str], str | None]  # the id of a line or a column of a list


class Entry(NamedTuple):
    """An id of a split and its location, for messages."""

    id: str
    place: str


def read_ids(source: Source, name: str, *, known: Known | None = None) -> list[Entry]:
    """Read the entries of the list `name`, in order. Raises DataError, which names the line.

    With `known`, an id is what this function finds for a line or a column; other columns are taken as ids.
    """
    where = source.place(name)
    places: dict[str, str] = {}
    for number, text in source.numbered_lines(name):
        place = f"{where}: line {number}"
        found = (known and known(text)) or _id(text, place, known)
        if found in places:
            hint = f"remove one of the two lines; the other one is {places[found]}"
            raise DataError(f"duplicate id '{found}'", where=place, allowed="unique ids", hint=hint)
        places[found] = place
    if not places:
        raise DataError("the list has no ids", where=where, allowed=FORMS, hint="download the list again")
    return [Entry(found, place) for found, place in places.items()]


def _id(text: str, where: str, known: Known | None) -> str:
    first, *rest = [column for column in _COLUMNS.split(text) if column] or [""]
    of: Callable[[str], str] = (lambda column: known(column) or column) if known else _stem
    found = of(first)
    others = [column for column in rest if not _NUMBER.fullmatch(column) and of(column) != found]
    if others or not (known or _ID.fullmatch(found)):
        why = f"'{found}' and '{of(others[0])}' are two ids" if others else "no id found"
        raise DataError(f"cannot read '{text[:80]}': {why}", where=where, allowed=FORMS)
    return found


def _stem(column: str) -> str:
    """The last part of a path without the extension of an image; ids may contain dots."""
    last = column.replace("\\", "/").rpartition("/")[2]
    stem, dot, ending = last.rpartition(".")
    return stem if dot + ending.lower() in _ENDINGS else last
