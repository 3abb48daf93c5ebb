"""Costs that pages print, judged against those of the networks: digits, ways of counting, known ones."""

from __future__ import annotations

from typing import Any

import pytest

from repro.errors import ParamsError
from repro.published import Row
from repro.published.columns import read_map
from repro.records.printed_costs import cost_text, cost_verdict, last_digit, printed_costs
from tests.kit import PUBLISHED, every


def row(*cells: str, **cost: float) -> Row:
    return Row(id="mine-01", line=1, cells=cells, cost=cost)


@every(
    "cell, value, digit",
    [
        ("2.9", 2.9, 0.1),
        ("26.65MB", 26.65, 0.01),
        ("**42**", 42.0, 1.0),
        ("13.0M", 13.0, 0.1),
        ("2,990K", 2.99, 0.001),
        ("65,708,501", 65.708501, 1e-6),
        ("not a number", 7.0, 1.0),
    ],
)
def test_the_last_printed_digit(cell: str, value: float, digit: float) -> None:
    assert last_digit(row("80.1", cell), value) == pytest.approx(digit)


@every(
    "printed, conv, norms, way, verdict",
    [
        (135.0, 133.60, 135.10, "MACs with norms", "reproduced"),  # page 000
        (133.6, 133.60, 135.10, "MACs", "reproduced"),
        (267.0, 133.60, 135.10, "2 FLOPs per MAC", "reproduced"),
        (270.0, 133.60, 135.10, "2 FLOPs per MAC", "differs"),
        (1000.0, 991.0, 900.0, "MACs", "reproduced"),  # within 1 %
    ],
)
def test_flops_in_any_way_of_counting(
    printed: float, conv: float, norms: float, way: str, verdict: str
) -> None:
    (found,) = printed_costs({"gmacs_conv": conv, "gmacs_thop": norms}, row(f"{printed:g}G", gmacs=printed))
    assert (found.way, found.verdict) == (way, verdict)
    assert way in cost_text(found)


def test_a_difference_with_a_reason_is_known_and_one_without_fails() -> None:
    wrong, cost = row("2.9", params_M=2.9), {"params_M": 3.2}
    for known, verdict in (({}, "differs"), ({"params_M": "a misprint"}, "known difference")):
        (found,) = printed_costs(cost, wrong, known)
        assert (found.verdict, cost_verdict([found])) == (verdict, verdict)
    (right,) = printed_costs({"params_M": 2.99}, wrong, {"params_M": "a misprint"})
    assert right.verdict == "reproduced"
    assert printed_costs({}, wrong) == []
    assert cost_verdict([]) == "incomparable"


def test_known_differences_are_read_from_the_map_of_a_page() -> None:
    assert "47" in PUBLISHED.known_differences("003-018")["params_M"]
    assert PUBLISHED.known_differences("003-028") == {}
    wrong: tuple[Any, ...] = ({"a-1": {"mIoU": "why"}}, {"a-1": {"params_M": ""}}, {"a-1": "why"}, ["a"])
    for differences in wrong:
        with pytest.raises(ParamsError, match="differences"):
            read_map({"differences": differences}, "map")
