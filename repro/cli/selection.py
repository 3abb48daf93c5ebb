"""Experiments that patterns, --page and --dataset choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from repro.cli.reporter import name_broken

if TYPE_CHECKING:
    from repro.params import Project


def of_pages(
    project: Project, patterns: Sequence[str] | None, page: str | None, dataset: str | None
) -> list[str]:
    """Experiments of a published page, on a data set, among those that `patterns` match."""
    from repro.errors import ParamsError
    from repro.params import matching
    from repro.reports.results import load_results

    results = load_results(project)
    name_broken(results.broken)
    if dataset:
        results.require_dataset(dataset)
    wanted = results.published.page_id(page) if page else ""
    found = [
        name
        for name in matching(patterns or (), results.experiments)
        if (one := results.experiments[name]).dataset == (dataset or one.dataset)
        and (not page or wanted in results.pages_of(one.rows))
    ]
    if not found:
        asked = ", ".join(
            [*(patterns or ()), *([f"page {wanted}"] if page else []), *([dataset] if dataset else [])]
        )
        raise ParamsError(f"no experiments: {asked}", hint="`repro list --page ID --dataset NAME`")
    return found
