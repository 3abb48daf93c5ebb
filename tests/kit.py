"""What tests of all packages share: cases in a loop, and the experiments of this project, read once."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Iterable
from functools import cache, wraps
from pathlib import Path
from typing import Any

import pytest

from repro.params import Experiment, Project, experiment_names, load_experiment

PROJECT = Project(Path(__file__).parents[1])
PUBLISHED = PROJECT.published


def copy_pages(root: Path) -> None:
    """Give a project in another folder a copy of this project's published pages."""
    if not (root / "published").exists():
        shutil.copytree(PUBLISHED.folder, root / "published")


@cache
def experiment(name: str) -> Experiment:
    """One experiment of this project, resolved once in a process."""
    return load_experiment(PROJECT, name)


@cache
def experiments() -> tuple[Experiment, ...]:
    """All experiments of this project."""
    return tuple(experiment(name) for name in experiment_names(PROJECT))


def every(
    names: str, cases: Iterable[Any] | Callable[[], Iterable[Any]]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As pytest.mark.parametrize, but one test that goes through all cases and lists those that fail.

    For hundreds of cases that take milliseconds each. A function as `cases` is called when the test runs, so
    that nothing is read while tests are collected. Fixtures are shared by the cases.
    """
    keys = [name.strip() for name in names.split(",")]

    def over(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def run(**fixtures: Any) -> None:
            wrong: list[str] = []
            for case in cases() if callable(cases) else cases:
                given = dict(zip(keys, case if len(keys) > 1 else (case,), strict=True))
                try:
                    test(**fixtures, **given)
                except (AssertionError, pytest.fail.Exception) as error:
                    wrong.append(f"{given}: {error}")
                except Exception as error:
                    error.add_note(f"for {given}")
                    raise
            assert not wrong, "\n".join(wrong)

        whole = inspect.signature(test)
        left = [parameter for name, parameter in whole.parameters.items() if name not in keys]
        run.__signature__ = whole.replace(parameters=left)  # type: ignore[attr-defined]
        return run

    return over
