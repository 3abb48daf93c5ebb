"""What a cell of a results table says: its text without markup, and its number.

Markup, footnote marks and remarks in parentheses are removed. A number counts only when the whole text is
understood: a range, several values, or a comma that can be read in two ways are `Unread` with the reason.
All patterns are linear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape

from repro.published.markdown import LINK

EMPTY = frozenset({"", "-", "--", "---", "–", "—", "n/a", "na", "n.a.", "none", "tbd", "/", "?", "x", "×"})
_IMAGE = re.compile(r"!\[[^\[\]]*\]\([^()]*\)")
_REFERENCE = re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]")
_FOOTNOTE = re.compile(r"\[\^[^\[\]]*\]|<su[pb]>[^<]*</su[pb]>")
_BREAK = re.compile(r"(?i)<br\s*/?>")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_ESCAPED = re.compile(r"\\([*_~#])")
_EMOJI = re.compile(r":[a-z_]+\d*:")
_MARKS = "*_`$~†‡§¶#^ \t"
_REMARK = re.compile(r"\(([^()]*)\)")
_NUMBER = r"[-+]?\d{1,20}(?:[.,]\d{1,20})*(?:[eE][-+]?\d{1,3})?"
_VALUE = re.compile(rf"({_NUMBER})\s?(%|[A-Za-zµ/]*)")
_SPREAD = re.compile(rf"({_NUMBER})\s?%?\s?(?:±|\+-|\+/-|\\pm)\s?({_NUMBER})\s?(%|[A-Za-zµ/]*)")
_SEVERAL = re.compile(rf"{_NUMBER}\s?%?\s?(?:/|-|–|~|to|,\s|;|\s)\s?{_NUMBER}.*")


@dataclass(frozen=True)
class Number:
    """A number as printed. `unit` is what follows it ("%", "MB"); `digits` its decimals."""

    value: float
    unit: str = ""
    digits: int = 0
    spread: float | None = None  # the number after ±
    approximate: bool = False
    remarks: tuple[str, ...] = ()  # texts in parentheses: "val", "test", "+0.3"


@dataclass(frozen=True)
class Unread:
    """A cell that holds something, but not one number that can be read in one way."""

    text: str
    reason: str


def plain(cell: str) -> str:
    """The text of a cell without images, link targets, tags, footnotes and emphasis.

    Example:
        >>> plain("[**75.1**](a.pth)<sup>†</sup>")
        '75.1'
    """
    text = _BREAK.sub(" ⏎ ", _FOOTNOTE.sub("", _IMAGE.sub("", cell)))
    text = _REFERENCE.sub(r"\1", LINK.sub(r"\1", text))
    text = _ESCAPED.sub(r"\1", _EMOJI.sub("", unescape(_TAG.sub("", text))))
    return " ".join(text.split()).strip(_MARKS)


def read_number(cell: str) -> Number | Unread | None:
    """The number in a cell, `Unread` with a reason, or None for an empty cell.

    Example:
        >>> read_number("**75.32%** (val)")
        Number(value=75.32, unit='%', digits=2, spread=None, approximate=False, remarks=('val',))
        >>> read_number("80.1/85.2")
        Unread(text='80.1/85.2', reason='several values')
    """
    text = plain(cell)
    if "⏎" in text:
        return Unread(text.replace(" ⏎ ", " / "), "several lines in one cell")
    approximate = "~" in cell and not text.startswith("~") and cell.strip("*_` ").startswith("~")
    remarks = tuple(found.strip("* ") for found in _REMARK.findall(text))
    if any(
        re.search(r"\d", remark) and not remark.startswith(("+", "-", "−", "±", "↑", "↓"))
        for remark in remarks
    ):
        return Unread(text, "another number in parentheses")
    rest = _REMARK.sub("", text).strip(_MARKS)
    if rest.lower() in EMPTY:
        return None
    if rest.startswith(("≈", "∼")):
        approximate, rest = True, rest[1:].strip()
    return _number(rest, approximate, remarks)


def read_pair(cell: str) -> tuple[Number | Unread | None, Number | Unread | None]:
    """The two numbers of "47.9 / 48.1" under a heading that names two protocols; "- / 48.1" has one.

    Example:
        >>> [number.value for number in read_pair("47.9 / 48.1") if isinstance(number, Number)]
        [47.9, 48.1]
    """
    text = plain(cell)
    if text.lower() in EMPTY:
        return None, None
    first, slash, second = text.partition("/")
    if not slash:
        return Unread(text, "one value under a heading of two"), None
    return read_number(first), read_number(second)


def _number(text: str, approximate: bool, remarks: tuple[str, ...]) -> Number | Unread:
    if found := _SPREAD.fullmatch(text):
        value, spread = _float(found[1]), _float(found[2])
        if value is None or spread is None:
            return Unread(text, "a comma that can be read in two ways")
        return Number(value, found[3], _digits(found[1]), spread, approximate, remarks)
    if not (found := _VALUE.fullmatch(text)):
        return Unread(text, "several values" if _SEVERAL.fullmatch(text) else "not a number")
    if (value := _float(found[1])) is None:
        return Unread(text, "a comma that can be read in two ways")
    return Number(value, found[2], _digits(found[1]), None, approximate, remarks)


def _float(text: str) -> float | None:
    """`2,990` is 2990, `80,1` is 80.1; None for what can be either, such as `1,234,5`."""
    if "," not in text:
        return float(text) if text.count(".") <= 1 else None
    whole, *groups = re.split(",", text)
    thousands = all(re.fullmatch(r"\d{3}", group.partition(".")[0]) for group in groups)
    if thousands and whole.lstrip("+-") != "0" and all("." not in group for group in groups[:-1]):
        return float(text.replace(",", ""))
    if len(groups) == 1 and "." not in text and (len(groups[0]) != 3 or whole.lstrip("+-") == "0"):
        return float(text.replace(",", "."))
    return None


def _digits(text: str) -> int:
    """Decimals of a number; three digits after a comma are thousands."""
    mantissa = re.split("[eE]", text)[0]
    tail = mantissa.rpartition("." if "." in mantissa else ",")[2]
    thousands = "." not in mantissa and len(tail) == 3 and not mantissa.lstrip("+-").startswith("0,")
    return 0 if tail == mantissa or thousands else len(tail)
