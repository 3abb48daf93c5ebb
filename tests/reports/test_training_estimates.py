"""The report's estimates of a training are those of `repro plan`, from the cost that is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.params import Project
from repro.params.experiment import load_trained
from repro.reports.results import load_results
from repro.reports.training_estimates import estimates, network_of
from repro.training.plan import plan

PROJECT = Project(Path(__file__).parents[2])
NAME = "cityscapes_r101_os8"  # evaluated at another size than its crop


def test_estimates_are_those_of_the_plan() -> None:
    found, made = estimates(load_results(PROJECT), NAME), plan(load_trained(PROJECT, NAME))
    assert float(found["memory"].removesuffix(" GiB")) == pytest.approx(made.memory_GiB, rel=0.05)
    hours = dict(part.rsplit(" ", 1) for part in found["hours on one GPU"].split(", "))
    assert set(made.hours) - set(hours) == set(made.too_small) != set()
    for gpu, value in hours.items():
        assert float(value) == pytest.approx(made.hours[gpu], rel=0.05), gpu
    assert found["disk"].startswith(f"{made.weights_GB:.2f} GB weights, {made.checkpoints_GB:.2f} GB")


@pytest.mark.parametrize("missing", ["input_size", "gmacs_conv", "activation_MiB"])
def test_nothing_is_estimated_from_a_cost_that_lacks_a_part(missing: str) -> None:
    cost = {"params_M": 1.0, "gmacs_conv": 2.0, "activation_MiB": 3.0, "input_size": [10, 20]}
    assert network_of(cost, 400) == (1.0, 4.0, 6.0)
    assert network_of({key: value for key, value in cost.items() if key != missing}, 400) is None
