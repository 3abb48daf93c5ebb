"""Names of data sets in headings and cells of results pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_NONE: Mapping[str, str] = MappingProxyType({})
_NAMES = (
    (r"cityscapes?", "cityscapes"),
    (r"ade ?20k|ade20k?", "ade20k"),
    (r"pascal.?context.?59|context.?59", "context59"),
    (r"pascal.?context|pcontext", "context"),
    (r"(?:pascal )?voc(?: ?2012| ?12)?(?: ?\+ ?aug)?|pascal(?! ?(?:context|part))", "voc2012"),
    (r"camvid", "camvid"),
    (r"coco.?stuff.?164k?", "coco_stuff164k"),
    (r"coco.?stuff.?10k?", "coco_stuff10k"),
    (r"coco.?stuff", "coco_stuff"),
    (r"coco", "coco"),
    (r"loveda", "loveda"),
    (r"potsdam", "potsdam"),
    (r"vaihingen", "vaihingen"),
    (r"isaid", "isaid"),
    (r"inria", "inria"),
    (r"mapillary", "mapillary"),
    (r"bdd ?100k", "bdd100k"),
    (r"kitti", "kitti"),
    (r"nyu ?d?(?:epth)?.?v2", "nyu_v2"),
    (r"sun ?rgb.?d", "sunrgbd"),
    (r"dark zurich", "dark_zurich"),
    (r"nighttime driving", "nighttime_driving"),
    (r"acdc", "acdc"),
    (r"lip(?= |$)", "lip"),
    (r"stare", "stare"),
    (r"chase.?db1?", "chase_db1"),
    (r"drive(?= |$)", "drive"),
    (r"hrf", "hrf"),
    (r"oxford.?pets?|oxford.?iiit", "oxford_pets"),
    (r"levir.?cd", "levir_cd"),
)
_PATTERN = re.compile("|".join(rf"(?P<n{at}>{pattern})" for at, (pattern, _) in enumerate(_NAMES)), re.I)

_LETTER = re.compile(r"[A-Za-z]")  # "Cityscapes数据集" names it: scripts without spaces are no part of a name


def dataset_named(text: str, own: Mapping[str, str] = _NONE) -> str:
    """The data set that a text names; "" if it names none or several.

    Args:
        text: A heading or a cell.
        own: Words -> name of the data sets that a project declares; they are looked for first.

    Example:
        >>> dataset_named("mIOUs on cocostuff val2017 set")
        'coco_stuff'
        >>> dataset_named("Pascal VOC 2012 + Aug")
        'voc2012'
    """
    found = datasets_named(text, own)
    found = found - {"coco"} or found  # "Cityscapes, COCO-pretrained" is a result on Cityscapes
    return found.pop() if len(found) == 1 else ""


def datasets_named(text: str, own: Mapping[str, str] = _NONE) -> set[str]:
    """Every data set that a text names; `own` as in `dataset_named`."""
    spaced, found = _spaced(text), set[str]()
    for words in sorted(own, key=len, reverse=True):  # "shapes v2" before "shapes"
        pattern = rf"(?i)(?<![A-Za-z0-9]){re.escape(_spaced(words))}(?![A-Za-z0-9])"
        spaced, times = re.subn(pattern, "|", spaced)
        found |= {own[words]} if times else set()
    return found | {_name(match) for match in _PATTERN.finditer(spaced) if _is_word(spaced, match)}


def _spaced(text: str) -> str:
    return re.sub(r"[_/-]", " ", text)


def _name(match: re.Match[str]) -> str:
    return _NAMES[int((match.lastgroup or "n0")[1:])][1]


def _is_word(text: str, match: re.Match[str]) -> bool:
    before, after = text[: match.start()][-1:], text[match.end() :][:1]
    return not _LETTER.match(before) and not _LETTER.match(after)
