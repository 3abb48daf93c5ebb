"""The cells of a table about cost: what a page prints, what was counted and measured, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repro.published import Row
from repro.records.printed_costs import COSTS, PrintedCost
from repro.reports.formatting import NO_VALUE, device_text, macs, noted

NAMED = {"params_M": "params (M)", "size_MB": "size (MiB)", "gmacs": "FLOPs (G)"}
COLUMNS = (
    *("published params (M)", "params (M)", "params verdict"),
    *("published size (MiB)", "size (MiB)", "size verdict"),
    *("published FLOPs (G)", "GMACs", "GMACs with norms", "FLOPs verdict"),
    *("published time (ms)", "latency p50 (ms)", "latency p95 (ms)", "published fps", "images/s"),
    *("published training memory (GB)", "training memory (GB)", "memory (MiB)"),
)
FEW_RUNS = 20  # below it, the number of runs is in the note
_PUBLISHED = {
    "time_ms": "published time (ms)",
    "fps": "published fps",
    "mem_GB": "published training memory (GB)",
}


def cost_cells(row: Row | None, cost: Mapping[str, Any], found: Sequence[PrintedCost]) -> dict[str, str]:
    """The cells by column.

    Args:
        row: the published row, if there is one.
        cost: cost of the network with the keys of cost.json.
        found: the costs that the row prints, beside those of the network.
    """
    cells = _of_page(row) if row else {}
    cells |= _counted(cost) | _measured(cost)
    if row is None or "fps" not in row.cost:
        cells["images/s"] = NO_VALUE  # beside a published one; elsewhere the latency says it
    for one in found:
        cells[NAMED[one.name].partition(" ")[0] + " verdict"] = verdict_cell(one)
        if one.name == "size_MB":
            cells["size (MiB)"] = f"{one.built:.2f}"
    return cells


def verdict_cell(one: PrintedCost) -> str:
    """'reproduced', 'differs by +0.50 M (+5 %)', 'known difference of -4.28 (-9 %)'."""
    if one.holds:
        return one.verdict + (f" ({one.way})" if one.way else "")
    share = f" ({100 * one.difference / one.printed:+.0f} %)" if one.printed else ""
    by = "by" if one.verdict == "differs" else "of"
    return f"{one.verdict} {by} {one.difference:+.2f}{share}"


def _of_page(row: Row) -> dict[str, str]:
    """What a page prints; the device of its speed is named, or that it is not."""
    printed = {f"published {NAMED[name]}": f"{row.cost[name]:g}" for name in COSTS if name in row.cost}
    device = f"published: {row.device or 'not named by the page'}"
    timed = {
        title: noted(f"{row.cost[name]:g}", "device", device)
        for name, title in _PUBLISHED.items()
        if name in row.cost
    }
    return printed | timed


def _counted(cost: Mapping[str, Any]) -> dict[str, str]:
    return {
        "params (M)": _number(cost, "params_M", 2),
        "GMACs": macs(cost),
        "GMACs with norms": _number(cost, "gmacs_thop", 2),
    }


def _measured(cost: Mapping[str, Any]) -> dict[str, str]:
    runs = cost.get("runs") or FEW_RUNS
    device = device_text(cost) + (f", {runs} runs" if runs < FEW_RUNS else "")
    memory = cost.get("train_memory_MiB")
    return {
        "latency p50 (ms)": noted(_number(cost, "latency_ms_p50", 1), "device", device),
        "latency p95 (ms)": noted(_number(cost, "latency_ms_p95", 1), "device", device),
        "images/s": noted(_number(cost, "images_per_s", 2), "device", device),
        "memory (MiB)": noted(_number(cost, "peak_memory_MiB", 0), "device", device),
        "training memory (GB)": NO_VALUE if memory is None else f"{memory / 1024:.2f}",
    }


def _number(cost: Mapping[str, Any], key: str, digits: int) -> str:
    value = cost.get(key)
    return NO_VALUE if value is None else f"{value:.{digits}f}"
