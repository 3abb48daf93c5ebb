"""Escaping of untrusted text for terminals, web pages, spreadsheets and XML.

Notes, params, file names, pages and records may hold any character. Escape sequences move a terminal's cursor
and set its title, U+202E reverses a line, and XML forbids most control characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_NUMBER = re.compile(r"[+-]?\d[\d.,]*(?:[eE][+-]?\d+)?%?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # first characters of formulas in spreadsheets
# Control characters except tab and newline, bidi marks, line separators, surrogates, non-characters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def csv_cell(value: object) -> object:
    """Return a value for a CSV cell; text that a spreadsheet would evaluate gets a leading apostrophe."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value.lstrip("'")) else value


def cell_text(cell: str) -> str:
    """Invert `csv_cell` for text."""
    return cell[1:] if cell.startswith("'") and csv_cell(cell[1:]) == cell else cell


def _is_formula(text: str) -> bool:
    return len(text) > 1 and text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)


def printable(text: str) -> str:
    """Replace control characters and characters that XML 1.0 or UTF-8 cannot hold by U+FFFD."""
    return text if text.isprintable() else _UNSAFE.sub("\ufffd", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """`printable` without tabs and newlines, so that a note cannot add lines to a list or a page."""
    return text if text.isprintable() else re.sub(r"[\t\n]+", " ", printable(text))


def printable_json(text: str) -> str:
    """Escape unsafe characters in JSON text; its value stays the same."""
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def printable_texts(value: object) -> object:
    """Apply `printable` to all strings of a JSON value, keys included."""
    if isinstance(value, Mapping):
        return {printable_texts(key): printable_texts(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [printable_texts(one) for one in value]
    return printable(value) if isinstance(value, str) else value
