"""What the columns of a results table hold: the field, the unit, the protocol and the split of a heading.

A map (`published/<id>.yaml`) decides where headings do not suffice. Two columns of one field are an error
until the map says which of them counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from repro.errors import DataError, ParamsError
from repro.io.names import plain_name
from repro.published.cell import plain
from repro.published.datasets import dataset_named
from repro.published.selection import Selection, read_selections

# Percent. The suffix says what differs from one scale without flipping.
METRICS = (
    *("mIoU", "mIoU_ms_flip", "mIoU_ms", "mIoU_flip", "aAcc", "mAcc", "fwIoU"),
    *("mDice", "boundary_F", "boundary_IoU"),
)
# Costs in the unit of their name; factors from the printed unit, the first one where none is printed.
UNITS: Mapping[str, Mapping[str, float]] = {
    "params_M": {"m": 1, "k": 1e-3, "b": 1e3, "g": 1e3},
    "gmacs": {"g": 1, "m": 1e-3, "b": 1, "t": 1e3, "k": 1e-6},
    "fps": {"": 1, "fps": 1, "img/s": 1, "image/s": 1, "images/s": 1, "im/s": 1, "hz": 1},
    "time_ms": {"": 0, "ms": 1, "ms/img": 1, "ms/im": 1, "s": 1e3, "sec": 1e3, "seconds": 1e3, "us": 1e-3},
    "mem_GB": {"gb": 1, "g": 1, "gib": 1, "mb": 1e-3, "m": 1e-3, "mib": 1 / 1024},
    "size_MB": {"mb": 1, "m": 1, "mib": 1, "kb": 1e-3, "k": 1e-3, "gb": 1e3, "g": 1e3},
}
# A bare number from here on is a plain count: "65,708,501" parameters, not millions of them.
COUNTS: Mapping[str, tuple[float, float]] = {"params_M": (1e4, 1e-6), "gmacs": (1e6, 1e-9)}
COSTS = tuple(UNITS)
TEXTS = (
    *("dataset", "crop", "batch", "iterations", "backbone", "family", "output_stride"),
    *("train_set", "eval_set"),
)
PROTOCOLS = {(True, True): "_ms_flip", (True, False): "_ms", (False, True): "_flip"}  # several scales, flip
LINKS = ("config_link", "links")
SWITCHES = ("multi_scale", "flip")  # columns of yes and no, or of scales: the protocol of the row's metric
KEYS = {"dataset", "columns", "lint", "differences", "selection"}  # of a map
FIELDS = (*METRICS, *COSTS, *TEXTS, *LINKS, *SWITCHES, "text", "ignore")

_IOU = r"(?<![a-z])m?[ _-]?iou(?![a-z])|mean (?:iou|iu\b|intersection|jaccard)|^(?:pre|jaccard)$"
_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"^train(?:ing)?\b.*\b(?:time|speed|latency|throughput)\b", "text"),
    (r"previous|baseline|reported|paper|original|delta|gain|improvement|gap|\bdiff", "text"),
    (r"\bclass(?:es)?\b.*\biou|(?:iou|acc|dice).*(?:road|person|car|sky|background)\b|per.?class", "text"),
    (r"boundary.?iou|biou", "boundary_IoU"),
    (r"boundary.?f|bf1?.?score|\bbf\b", "boundary_F"),
    (r"^freq|frequency.weighted|fwiou", "fwIoU"),
    (_IOU, "mIoU"),
    (r"\bm?dice\b(?!.*loss)|^dsc$", "mDice"),
    (r"\b(?:overall|pixel\S*|all)[ .-]*acc|\baacc\b|^oa$|pix\.?acc|^pa$", "aAcc"),
    (r"\bmean.*acc|\bmacc\b|class.*acc|^mpa$", "mAcc"),
    (r"param", "params_M"),
    (r"flops?\b|\bmacs?\b|gmacs?|multiply.?adds?|madds?", "gmacs"),
    (r"fps|img/s|images/s|throughput", "fps"),
    (r"time\b|latency|runtime", "time_ms"),
    (r"^mem|memory", "mem_GB"),
    (r"^(?:file |model |ckpt |checkpoint )?size", "size_MB"),
    (r"^(?:crop|input|resolution|image size|img size)", "crop"),
    (r"batch|\bbs\b", "batch"),
    (r"\biter(?:s|ations?)?\b|^lr sche?d|schedule|max.?iter", "iterations"),
    (r"^data ?sets?$|^数据集$", "dataset"),
    (r"^backbone|network backbone|^encoder|^骨干网络$", "backbone"),
    (r"^(?:eval(?:uation)? |output |test )?(?:os|stride)$|output stride", "output_stride"),
    (r"^train(?:ing)?[ _-]?(?:set|split|data)", "train_set"),
    (r"^(?:test|eval(?:uation)?|val)[ _-]?(?:set|split|data)|^(?:set|split)$", "eval_set"),
    (r"^(?:multi.?scale(?: test(?:ing)?)?|ms|eval scales?)$", "multi_scale"),
    (r"^(?:[a-z-]+ ){0,2}(?:[a-z]+-)?flip(?:s|ped|ping)?(?: test(?:ing)?)?\??$", "flip"),
    (r"^(?:config|cfg)(?: ?file)?s?$", "config_link"),
    (r"download|^links?$|^(?:weights|checkpoints?|logs?|urls?)$", "links"),
)
_SCALES = r"(?:ss|ms|single.?scale|multi.?scale)(?: ?\+ ?flip)?"
_PAIR = re.compile(rf"(?i)(?<![a-z])({_SCALES}) ?/ ?({_SCALES})(?![a-z])")
_UNIT = re.compile(r"[(\[]\s*([^()\[\]]{1,20})\s*[)\]]")
_PREFIXED_UNIT = re.compile(r"(?i)^([gmkt])(?:flops?|macs?|params?)")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table: the field that its cells fill, and what its heading says of them.

    field: One of FIELDS.
    unit: The unit in the heading, lower case; "" if it names none.
    split: val or test where the heading says so.
    dataset: The data set where the heading names it ("Cityscapes mIoU", "Model (Cityscapes)").
    device: The device of a speed where the heading names it ("V100 ... FPS").
    second: The field of the second number where the cells hold two: "mIoU (ss/ms)".
    """

    title: str
    field: str
    unit: str = ""
    split: str = ""
    dataset: str = ""
    device: str = ""
    second: str = ""


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """`published/<id>.yaml`: how to read a page whose headings do not suffice.

    dataset: `{column: TITLE}`, `{heading: LEVEL}` (2 is "##"), or `{name: NAME}` for the whole page.
    columns: Field by title of the column; `ignore` for columns that must not be read.
    lint_off: Rules of `repro page lint` that are switched off for this page (`lint: {ignore: [RULE, ...]}`).
    lint_datasets: Words by which this page's labels name data sets (`lint: {datasets: {cs: cityscapes}}`).
    own: Words by which pages name the data sets that the project declares; from its params.yaml.
    differences: Printed costs that the network does not have, with the reason, by row and cost
        (`differences: {mine-03: {params_M: a misprint}}`).
    selections: How printed numbers were chosen, by row; that of the whole page under "".
    """

    dataset: Mapping[str, str | int] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    lint_off: tuple[str, ...] = ()
    lint_datasets: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    differences: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    selections: Mapping[str, Selection] = field(default_factory=dict)


def read_map(raw: object, where: object) -> ColumnMap:
    """Check the content of a map file. Raises ParamsError for unknown keys and fields."""
    allowed = (
        "dataset: {column: TITLE | heading: LEVEL} or a name; columns: {TITLE: FIELD}; "
        "lint: {ignore: [RULE], datasets: {WORD: NAME}}; differences: {ROW: {COST: REASON}}; "
        "selection: {statistic: best | median | mean | last, of: RUNS, rows: {ROW: {...}}}"
    )
    if not isinstance(raw, Mapping) or set(raw) - KEYS:
        raise ParamsError("not a column map", where=where, allowed=allowed)
    dataset, columns = raw.get("dataset", {}), raw.get("columns", {})
    if isinstance(dataset, str):
        dataset = {"name": plain_name(dataset, "data set", where=where)}
    if not isinstance(dataset, Mapping) or set(dataset) - {"name", "column", "heading"} or len(dataset) > 1:
        raise ParamsError(f"dataset: {dataset!r}", where=where, allowed=allowed)
    if not isinstance(dataset.get("heading", 1), int):
        raise ParamsError(f"dataset.heading: {dataset['heading']!r}", where=where, allowed="1 to 6")
    if not isinstance(columns, Mapping):
        raise ParamsError(f"columns: {columns!r}", where=where, allowed=allowed)
    for title, name in columns.items():
        if name not in FIELDS:
            raise ParamsError(f"columns: {title}: {name!r}", where=where, allowed=", ".join(FIELDS))
    titles = {_key(str(title)): str(name) for title, name in columns.items()}
    off, words = _lint(raw.get("lint", {}), where, allowed)
    return ColumnMap(
        dataset=dict(dataset),
        columns=titles,
        lint_off=off,
        lint_datasets=words,
        differences=_differences(raw.get("differences", {}), where),
        selections=read_selections(raw.get("selection", {}), where),
    )


def _differences(raw: object, where: object) -> dict[str, dict[str, str]]:
    """Reasons of known differences, by row and cost."""
    found: dict[str, dict[str, str]] = {}
    for row, reasons in raw.items() if isinstance(raw, Mapping) else [("", raw)]:
        given = reasons if isinstance(reasons, Mapping) else {"": ""}
        if set(given) - set(COSTS) or not all(isinstance(text, str) and text for text in given.values()):
            allowed = f"ROW: {{COST: REASON}} with COST one of {', '.join(COSTS)}"
            raise ParamsError(f"differences: {row}: {reasons!r}"[:200], where=where, allowed=allowed)
        found[str(row)] = dict(given)
    return found


def _lint(raw: object, where: object, allowed: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The rules that are switched off, and the words that name data sets."""
    if isinstance(raw, Mapping) and set(raw) <= {"ignore", "datasets"}:
        off, words = raw.get("ignore", []), raw.get("datasets", {})
        if isinstance(off, list) and isinstance(words, Mapping):
            texts = [*off, *words, *words.values()]
            if all(isinstance(one, str) for one in texts):
                return tuple(off), {word.lower(): name for word, name in words.items()}
    raise ParamsError(f"lint: {raw!r}"[:200], where=where, allowed=allowed)


def read_columns(titles: Sequence[str], given: ColumnMap) -> tuple[Column, ...]:
    """The columns of a table, in order."""
    texts = [plain(title).replace(" ⏎ ", " ") for title in titles]
    return tuple(_column(text, index, given) for index, text in enumerate(texts))


def require_one_of_each(tables: Sequence[tuple[int, Sequence[Column]]], where: object) -> None:
    """Raises DataError where two columns of a table fill one field, with the map that says which counts.

    Args:
        tables: Line and columns of each table of a page.
        where: The page.
    """
    twice = [(line, same) for line, columns in tables for same in _doubled(columns)]
    if not twice:
        return
    lines = ", ".join(map(str, sorted({line for line, _ in twice})))
    choices = dict.fromkeys(line for _, same in twice for line in _to_paste(same))
    raise DataError(
        f"several columns fill one field: {'; '.join(dict.fromkeys(_described(same) for _, same in twice))}",
        where=f"{where}, tables in lines {lines}",
        allowed="one column per field and table",
        hint="say which one counts in a column map: published/ID.yaml, or a file for --map:\ncolumns:\n"
        + "\n".join(choices),
    )


def _doubled(columns: Sequence[Column]) -> list[list[Column]]:
    groups = (
        [column for column in columns if name in (column.field, column.second)] for name in (*METRICS, *COSTS)
    )
    return [group for group in groups if len(group) > 1]


def _to_paste(same: Sequence[Column]) -> list[str]:
    first, *others = same
    return [f'  "{first.title}": {first.field}', *(f'  "{column.title}": ignore' for column in others)]


def _described(same: Sequence[Column]) -> str:
    shared = [name for name in (same[0].field, same[0].second) if name in (same[1].field, same[1].second)]
    return f"{shared[0]} by {', '.join(repr(column.title) for column in same)}"


def _key(title: str) -> str:
    return re.sub(r"\s+", "", title).lower()


def _column(title: str, index: int, given: ColumnMap) -> Column:
    words, mapped = title.lower(), given.columns.get(_key(title))
    name, second = _fields(words, index)
    if mapped and mapped != name:
        name, second = mapped, ""
    unit = next((found.strip().lower() for found in _UNIT.findall(title) if _is_unit(name, found)), "")
    if not unit and (found := _PREFIXED_UNIT.match(words)):
        unit = found[1].lower()
    split = next((one for one in ("val", "test") if re.search(rf"(?<![a-z]){one}(?![a-z])", words)), "")
    return Column(
        title=title,
        field=name,
        unit=unit,
        split=split if name in METRICS else "",
        dataset=dataset_named(title, given.own) if name in METRICS or not index else "",
        device=_device(title) if name in ("fps", "time_ms") else "",
        second=second,
    )


def _fields(words: str, index: int) -> tuple[str, str]:
    """The field of a column, and that of the second number in its cells, if there are two."""
    name = next((name for pattern, name in _PATTERNS if re.search(pattern, words)), "text")
    if not index and name not in ("dataset", "backbone"):
        return "text", ""  # the first column names the row
    if name != "mIoU":
        return name, ""
    if (both := paired(words)) and both[0] != both[1]:
        return both
    return _under_protocol(words), ""


def paired(title: str) -> tuple[str, str] | None:
    """The two fields of a heading such as "mIoU (ss/ms)", whose cells hold two numbers."""
    found = _PAIR.search(title)
    return (_under_protocol(found[1].lower()), _under_protocol(found[2].lower())) if found else None


def _under_protocol(words: str) -> str:
    scales = re.search(r"(?<![a-z])ms|multi.?scale|\d ?scales\b", words)
    return "mIoU" + PROTOCOLS.get((bool(scales), "flip" in words), "")


def _is_unit(name: str, text: str) -> bool:
    text = text.strip().lower()
    return text == "%" or text in UNITS.get(name, {})


_DEVICE = re.compile(
    r"(?i)\b((?:tesla |geforce |nvidia )?(?:v100|a100|h100|t4|p100|titan ?\w*|[rg]tx ?\d+\w*)|"
    r"snapdragon ?\d+|jetson \w+|cpu|iphone ?\w*|kirin ?\d+)"
)


def _device(title: str) -> str:
    found = _DEVICE.search(title)
    return found[1] if found else ""
