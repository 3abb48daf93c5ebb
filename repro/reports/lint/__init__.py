"""What is wrong with a results page: `repro page lint PAGE.md`.

Rules look at the tables of a page and yield problems with a line. They know no page; words that only one page
uses are in its map.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType

from repro.published.markdown import tables
from repro.reports.lint import labels, links, numbers
from repro.reports.lint.reading import Problem, Rule

RULES = {**links.RULES, **labels.RULES, **numbers.RULES}

# Names that a problem may have; a page switches them off in its column map (`lint: {ignore: [emphasis]}`).
NAMES = (
    *("beyond-header", "duplicate-label", "emphasis", "empty-cell", "empty-column", "empty-link"),
    *("empty-metric", "impossible", "mid-rule", "missing-cell", "missing-unit", "mixed-units", "no-metric"),
    *("not-a-number", "order", "other-size", "repeated-speed", "shared-link", "slip", "two-values"),
    *("wrong-backbone", "wrong-table"),
)

_NONE: Mapping[str, str] = MappingProxyType({})

__all__ = ["NAMES", "RULES", "Problem", "lint"]


def lint(page: str, off: Collection[str] = (), words: Mapping[str, str] = _NONE) -> list[Problem]:
    """Every problem of a markdown page, by line, without those of the rules `off`.

    Args:
        page: The page.
        off: Names of rules.
        words: Words by which the page names data sets in labels, besides their usual names.
    """
    found = list(tables(page))
    rules: list[Rule] = [*RULES.values(), partial(labels.wrong_table, words=words)]
    problems = {problem for rule in rules for problem in rule(found) if problem.rule not in off}
    return sorted(problems, key=lambda problem: (problem.line, problem.rule, problem.text))
