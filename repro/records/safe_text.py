"""Text of others in files for other programs: no formula in a CSV, no character that XML or UTF-8 lacks."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?\d[\d.,]*(?:[eE][+-]?\d+)?%?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what spreadsheets take for the beginning of one
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def csv_cell(value: object) -> object:
    """A value for a CSV; a text that a spreadsheet would compute gets the apostrophe that keeps it a text."""
    return f"'{value}" if isinstance(value, str) and _computes(value.lstrip("'")) else value


def cell_text(cell: str) -> str:
    """The inverse of `csv_cell` for texts."""
    return cell[1:] if cell.startswith("'") and csv_cell(cell[1:]) == cell else cell


def _computes(text: str) -> bool:
    return len(text) > 1 and text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)


def well_formed(text: str) -> str:
    """`text` with U+FFFD for what XML 1.0 forbids, control characters and lone surrogates."""
    return _NOT_IN_XML.sub("\ufffd", text)
