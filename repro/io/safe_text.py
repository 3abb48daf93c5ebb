"""Text of others, for terminals, pages and other programs: nothing in it is obeyed, computed or unreadable.

Notes, params, names of files, pages and records may hold any character. ESC and its relatives move a
terminal's cursor and set its title, U+202E turns a line around, and XML has no place for most of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_NUMBER = re.compile(r"[+-]?\d[\d.,]*(?:[eE][+-]?\d+)?%?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what spreadsheets take for the beginning of one
# Control characters but tab and newline, marks of direction, line separators, surrogates, non-characters.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def csv_cell(value: object) -> object:
    """A value for a CSV; a text that a spreadsheet would compute gets the apostrophe that keeps it a text."""
    return f"'{value}" if isinstance(value, str) and _computes(value.lstrip("'")) else value


def cell_text(cell: str) -> str:
    """The inverse of `csv_cell` for texts."""
    return cell[1:] if cell.startswith("'") and csv_cell(cell[1:]) == cell else cell


def _computes(text: str) -> bool:
    return len(text) > 1 and text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)


def printable(text: str) -> str:
    """`text` with U+FFFD for every character that a terminal obeys, that XML 1.0 forbids or UTF-8 lacks."""
    return text if text.isprintable() else _OBEYED.sub("\ufffd", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """`printable` without a newline, by which a note could add lines of its own to a list or a page."""
    return text if text.isprintable() else re.sub(r"[\t\n]+", " ", printable(text))


def printable_json(text: str) -> str:
    """JSON text that prints as `printable` text does and means the same: such characters become escapes."""
    return _OBEYED.sub(lambda found: json.dumps(found[0])[1:-1], text)


def printable_texts(value: object) -> object:
    """A value of JSON types with every text in it `printable`."""
    if isinstance(value, Mapping):
        return {printable_texts(key): printable_texts(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [printable_texts(one) for one in value]
    return printable(value) if isinstance(value, str) else value
