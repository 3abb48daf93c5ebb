"""What networks cost: counted for every experiment (reports/cost.json), beside what pages print of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from repro.params import TrainedExperiment
from repro.published import Row
from repro.records.cost_file import network_key
from repro.records.printed_costs import COSTS, PrintedCost, printed_costs
from repro.reports.results import Results


def cost_of(results: Results, name: str) -> Mapping[str, Any]:
    """The cost of an experiment's network, keys as in cost.json: its record's, else as counted, or {}."""
    return results.kept("cost", name, lambda: dict(_cost_of(results, name)))


def _cost_of(results: Results, name: str) -> Mapping[str, Any]:
    record = results.records.get(name)
    return record.cost if record and "params_M" in record.cost else counted_cost(results, name)


def counted_cost(results: Results, name: str) -> Mapping[str, Any]:
    """What reports/cost.json says of the network that params.yaml describes now; {} if it is of another."""
    if name not in results.costs:
        return {}
    key, found = results.costs[name]
    current = results.judge.experiment(name)
    same = isinstance(current, TrainedExperiment) and network_key(current) == key
    return found.values if same else {}


def compared(results: Results, row: Row) -> list[PrintedCost]:
    """The costs that a row prints, beside those of the network of its experiment."""
    name = results.by_row.get(row.id)
    if name is None or not row.cost.keys() & COSTS.keys():
        return []
    known = results.published.known_differences(row.id)
    return printed_costs(cost_of(results, name), row, known)


def all_compared(results: Results, names: Iterable[str] | None = None) -> Iterator[tuple[str, PrintedCost]]:
    """Experiment and cost of every printed cost that can be compared, in page order; of `names` if given."""
    wanted = None if names is None else set(names)
    for row in results.published.rows.values():
        name = results.by_row.get(row.id, "")
        if name and (wanted is None or name in wanted):
            yield from ((name, one) for one in compared(results, row))


def cost_counts(results: Results) -> list[str]:
    """How many printed costs are reproduced, by kind: '43 of 46 parameters'; none where none is counted."""
    found = Counter[str]()
    reproduced = Counter[str]()
    for _, one in all_compared(results):
        found[one.name] += 1
        reproduced[one.name] += one.holds
    return [
        f"{reproduced[name]} of {found[name]} {kind.title}" for name, kind in COSTS.items() if found[name]
    ]
