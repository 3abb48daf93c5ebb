"""Plots as SVG text: published against measured, and all results by data set. The same rows, the same bytes.

README shows them in fixed colours, the HTML report in those of its style sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Line = Mapping[str, Any]  # of `repro.reports.frame`
Theme = Mapping[str, str]
LIGHT = {
    "text": "#1c2430",
    "soft": "#5b6675",
    "line": "#d0d7de",
    "published": "#8793a2",
    "good": "#13703a",
    "bad": "#a3191f",
    "warn": "#7a4b00",
    "none": "#5b6675",
}
DARK = {
    "text": "#e6eaf0",
    "soft": "#9aa6b5",
    "line": "#3a4552",
    "published": "#7d8998",
    "good": "#7fe0a6",
    "bad": "#ff9ea2",
    "warn": "#ffcf7d",
    "none": "#9aa6b5",
}
REPORT = {name: f"var(--{name})" for name in LIGHT}
_COLOURS = {
    **dict.fromkeys(("reproduced", "improved", "holds"), "good"),
    **dict.fromkeys(("regressed", "drifted"), "bad"),
    "incomparable": "warn",
}
WIDTH, LEFT, RIGHT, TOP = 470, 50, 452, 34
SCATTER_BOTTOM = 390
STEP = 25  # pixels per data set
NAMES = 128  # pixels for their names
COUNTS = 62  # pixels for the counts at the right


def plots(lines: Sequence[Line], theme: Theme = REPORT, *, link: str = "") -> list[str]:
    """Both plots as SVG elements; none without a published or measured number.

    Args:
        lines: results, as `result_lines` gives them.
        theme: colour by name, as in LIGHT.
        link: address before the name of an experiment, for points that can be clicked.
    """
    known = [line for line in lines if (_number(line, "published"), _measured(line)) != (None, None)]
    if not known:
        return []
    return [scatter(known, theme, link=link), by_dataset(known, theme, link=link)]


def overview(lines: Sequence[Line], theme: Theme, title: str) -> str:
    """Both plots side by side in one SVG file."""
    both = plots(lines, theme)
    heights = [int(one.partition('height="')[2].partition('"')[0]) for one in both]
    placed = [one.replace("<svg ", f'<svg x="{n * (WIDTH + 20)}" y="0" ', 1) for n, one in enumerate(both)]
    return _svg(2 * WIDTH + 20, max(heights, default=1), title, placed) + "\n"


def scatter(lines: Sequence[Line], theme: Theme, *, link: str = "") -> str:
    """Measured against published mIoU, with intervals; all published rows are ticks on the axis."""
    printed = _printed(lines)
    found = [one for one in lines if _number(one, "published") is not None and _measured(one) is not None]
    low, high = _range([*printed.values(), *(_measured(one) for one in found)])
    x, y = Axis(low, high, LEFT, RIGHT), Axis(low, high, SCATTER_BOTTOM, TOP)
    parts = [_text(LEFT, 18, "Measured against published mIoU, %", theme["text"], weight=600)]
    for value in x.ticks:
        parts += [
            _stroke(x.at(value), TOP, x.at(value), SCATTER_BOTTOM, theme["line"]),
            _stroke(LEFT, y.at(value), RIGHT, y.at(value), theme["line"]),
            _text(x.at(value), SCATTER_BOTTOM + 16, str(value), theme["soft"], anchor="middle"),
            _text(LEFT - 7, y.at(value) + 4, str(value), theme["soft"], anchor="end"),
        ]
    parts.append(_stroke(LEFT, SCATTER_BOTTOM, RIGHT, TOP, theme["soft"], dash="5 4"))
    parts += [
        _stroke(x.at(value), SCATTER_BOTTOM - 9, x.at(value), SCATTER_BOTTOM, theme["published"])
        for value in printed.values()
    ]
    parts += [_point(one, _place(one, x, y), theme, link) for one in found]
    rows = len(_printed(found))
    note = f"published: {len(printed)} rows (ticks), {rows} of them measured (points)"
    parts.append(_text((LEFT + RIGHT) / 2, SCATTER_BOTTOM + 36, note, theme["soft"], anchor="middle"))
    title = f"Measured against published mIoU: {rows} of {len(printed)} published rows are measured"
    return _svg(WIDTH, SCATTER_BOTTOM + 46, title, parts)


def by_dataset(lines: Sequence[Line], theme: Theme, *, link: str = "") -> str:
    """A strip per data set: published rows as ticks, measured results as points with their interval."""
    groups: dict[str, list[Line]] = {}
    for line in sorted(lines, key=lambda line: str(line.get("dataset") or "?")):
        groups.setdefault(str(line.get("dataset") or "?"), []).append(line)
    low, high = _range([*_printed(lines).values(), *map(_measured, lines)])
    x, bottom = Axis(low, high, NAMES + 8, RIGHT - COUNTS), TOP + STEP * len(groups)
    parts = [
        _text(8, 18, "Results by data set, mIoU in %", theme["text"], weight=600),
        _text(RIGHT, 18, "measured", theme["soft"], anchor="end"),
    ]
    for value in x.ticks:
        parts += [
            _stroke(x.at(value), TOP, x.at(value), bottom, theme["line"]),
            _text(x.at(value), bottom + 16, str(value), theme["soft"], anchor="middle"),
        ]
    for number, (dataset, members) in enumerate(groups.items()):
        parts += _strip(dataset, members, TOP + STEP * (number + 0.5), x, theme, link)
    note = "ticks: published; points: measured, hollow where nothing is published"
    parts.append(_text(WIDTH / 2, bottom + 36, note, theme["soft"], anchor="middle"))
    return _svg(WIDTH, bottom + 46, f"Published and measured mIoU of {len(groups)} data sets", parts)


def _strip(
    dataset: str, members: Sequence[Line], middle: float, x: Axis, theme: Theme, link: str
) -> Iterator[str]:
    """The name of a data set, its published rows, its measured results and their number."""
    printed, found = _printed(members), [one for one in members if _measured(one) is not None]
    rows = {one.get("row") or one.get("experiment") for one in found}
    everything = {one.get("row") or one.get("experiment") for one in members}
    shown = dataset if len(dataset) <= 18 else dataset[:17] + "…"
    yield _text(NAMES, middle + 4, shown, theme["text"], anchor="end")
    for value in printed.values():
        yield _stroke(x.at(value), middle - 7, x.at(value), middle + 7, theme["published"])
    yield from (_point(one, _flat_place(one, x, middle), theme, link) for one in found)
    yield _text(RIGHT, middle + 4, f"{len(rows)} of {len(everything)}", theme["soft"], anchor="end")


@dataclass(frozen=True)
class Axis:
    """Values low..high on pixels start..end."""

    low: int
    high: int
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) * (self.end - self.start) / (self.high - self.low)

    @property
    def ticks(self) -> range:
        return range(self.low, self.high + 1, 10)


@dataclass(frozen=True)
class Place:
    """Centre of a point, and the two ends of its interval if it has one."""

    x: float
    y: float
    ends: tuple[float, float, float, float] | None


def _place(line: Line, x: Axis, y: Axis) -> Place:
    at, interval = x.at(line["published"]), _interval(line)
    ends = (at, y.at(interval[0]), at, y.at(interval[1])) if interval else None
    return Place(at, y.at(_measured(line) or 0.0), ends)


def _flat_place(line: Line, x: Axis, middle: float) -> Place:
    interval = _interval(line)
    ends = (x.at(interval[0]), middle, x.at(interval[1]), middle) if interval else None
    return Place(x.at(_measured(line) or 0.0), middle, ends)


def _point(line: Line, place: Place, theme: Theme, link: str) -> str:
    """A measured result with its interval; browsers show its title."""
    colour = theme[_COLOURS.get(str(line.get("verdict")), "none")]
    fill = colour if _number(line, "published") is not None else "none"
    across = _stroke(*place.ends, colour, width=2.5) if place.ends else ""
    centre = f'<circle cx="{place.x:.1f}" cy="{place.y:.1f}" r="5"'
    centre += f' fill="{fill}" stroke="{colour}" stroke-width="2"/>'
    made = f"<title>{escape(described(line))}</title>{across}{centre}"
    return f'<a href="{escape(link + str(line["experiment"]))}">{made}</a>' if link else f"<g>{made}</g>"


def described(line: Line) -> str:
    """A result in words: 'camvid_x: measured 49.76 (48.21 to 51.14), published 50.00, reproduced'."""
    text = f"{line.get('experiment')}: measured {_measured(line):.2f}"
    interval = _interval(line)
    text += f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
    published = _number(line, "published")
    text += f", published {published:.2f}" if published is not None else ", no published number"
    tier = f" ({line['tier']})" if line.get("tier") else ""
    return f"{text}, {line.get('verdict')}{tier}"


def _measured(line: Line) -> float | None:
    """The number to compare with a page: by the page's own formula if there is one."""
    own = _number(line, "measured_as_published")
    return _number(line, "measured") if own is None else own


def _number(line: Line, key: str) -> float | None:
    value = line.get(key)
    return None if value is None or value != value else float(value)


def _interval(line: Line) -> tuple[float, float] | None:
    low, high = _number(line, "interval_low"), _number(line, "interval_high")
    return None if low is None or high is None else (low, high)


def _printed(lines: Iterable[Line]) -> dict[str, float]:
    """Published mIoU by row."""
    return {line["row"]: line["published"] for line in lines if _number(line, "published") is not None}


def _range(values: Iterable[float | None]) -> tuple[int, int]:
    """Whole tens around all values."""
    known = [value for value in values if value is not None] or [0.0, 100.0]
    low, high = int(min(known) // 10 * 10), int(-(-max(known) // 10) * 10)
    return (low, high) if high > low else (low, low + 10)


def _svg(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="system-ui, sans-serif" font-size="13">'
    )
    return "\n".join([opening, f"<title>{escape(title)}</title>", *parts, "</svg>"])


def _text(
    x: float, y: float, text: str, colour: str, *, anchor: str = "start", weight: int | None = None
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"{bold}>{escape(text)}</text>'


def _stroke(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1, dash: str = ""
) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width:g}"{dashed}/>'
