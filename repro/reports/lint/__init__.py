"""What is wrong with a results page: `repro page lint PAGE.md`.

Rules look at the tables of a page and yield problems with a line. They know nothing of the built-in pages;
those five are their first test.
"""

from __future__ import annotations

from repro.published.markdown import tables
from repro.reports.lint import labels, links, numbers
from repro.reports.lint.reading import Problem

RULES = {**links.RULES, **labels.RULES, **numbers.RULES}

__all__ = ["RULES", "Problem", "lint"]


def lint(page: str) -> list[Problem]:
    """Every problem of a markdown page, by line."""
    found = list(tables(page))
    problems = {problem for rule in RULES.values() for problem in rule(found)}
    return sorted(problems, key=lambda problem: (problem.line, problem.rule, problem.text))
