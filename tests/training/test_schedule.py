"""Learning rate and weight decay of every page's schedule against values calculated from the pages.

The golden file tests/golden/training/schedules.json was computed with 50-digit decimals by
tests/golden/training/make_schedules.py, which shares no code with repro.training.
"""

from __future__ import annotations

import json
import runpy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.errors import ParamsError
from repro.params import Experiment, TrainingParams, parse
from repro.training.schedule import Plateau, curve, learning_rate, length, weight_decay
from tests.kit import every, experiments

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "training" / "schedules.json").read_text())
DECIMAL = runpy.run_path(str(ROOT / "tests" / "golden" / "training" / "make_schedules.py"))


def params(**changes: Any) -> TrainingParams:
    return parse(TrainingParams, {"split": "train", "batch": 16, "lr": 0.01} | changes, "test")


@every("row", GOLDEN)
def test_published_schedules_at_five_points(row: dict[str, Any]) -> None:
    p = parse(TrainingParams, row["params"], row["name"])
    of = length(p, images=row["images"])
    assert (of.steps_per_epoch, of.iterations) == (row["steps_per_epoch"], row["iterations"])
    for point in row["points"]:
        i = point["iteration"]
        head = learning_rate(p, iteration=i, of=of, multiplier=p.lr_head)
        backbone = learning_rate(p, iteration=i, of=of, multiplier=p.lr_backbone)
        assert head == pytest.approx(point["lr"], rel=1e-12)
        assert backbone == pytest.approx(point["lr_backbone"], rel=1e-12)
        assert weight_decay(p, iteration=i) == pytest.approx(point["weight_decay"], rel=1e-12)


def test_golden_file_is_what_its_script_makes() -> None:
    assert DECIMAL["rows"]() == GOLDEN


def test_poly_is_torchs_poly() -> None:
    import torch

    p = params(iterations=20, floor=0.0)
    of = length(p, images=100)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=p.lr)
    peer = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=20, power=0.9)
    for i in range(20):
        assert learning_rate(p, iteration=i, of=of) == pytest.approx(peer.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        peer.step()


def test_plateau_is_torchs_plateau() -> None:
    """Keras' patience 20 waits for 20 bad epochs, torch's for one more: 20 here is 19 there."""
    import torch

    p = params(epochs=1, schedule="plateau", monitor="loss", validate_every="epoch", plateau_patience=3)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=2, threshold=1e-4, threshold_mode="abs"
    )
    ours = Plateau()
    for loss in [3, 2, 2, 2, 2, 1.99995, 1.5, 1.6, 1.6, 1.6, 1.7, 1.8, 1.9, 0.5, 0.49]:
        ours.update(loss, p)
        peer.step(loss)
        assert ours.factor == optimizer.param_groups[0]["lr"]
    assert ours.factor == 0.125


@settings(deadline=None, max_examples=50)
@given(
    iterations=st.integers(1, 500),
    power=st.floats(0.1, 3),
    ratio=st.floats(0, 1),
    rule=st.sampled_from(["blend", "clamp"]),
)
def test_poly_falls_from_lr_to_its_floor(iterations: int, power: float, ratio: float, rule: str) -> None:
    p = params(iterations=iterations, power=power, floor_ratio=ratio, floor_rule=rule)
    rates = [learning_rate(p, iteration=i, of=length(p, images=16)) for i in range(iterations + 1)]
    assert rates[0] == pytest.approx(p.lr)
    assert rates[-1] == pytest.approx(ratio * p.lr)
    assert all(a >= b - 1e-15 for a, b in pairwise(rates))


def test_warmup_rises_linearly_to_the_schedule() -> None:
    p = params(iterations=100, schedule="constant", warmup=4, warmup_ratio=0.5)
    rates = [learning_rate(p, iteration=i, of=length(p, images=16)) for i in range(6)]
    assert rates == pytest.approx([0.006, 0.007, 0.008, 0.009, 0.01, 0.01])


def test_curve_has_both_ends_and_no_more_than_asked() -> None:
    points = list(curve(params(iterations=1000), images=160, points=7))
    assert [points[0][0], points[-1][0], len(points)] == [0, 999, 7]
    assert len(list(curve(params(iterations=3), images=160, points=7))) == 3


def test_a_batch_larger_than_the_data_is_reported() -> None:
    with pytest.raises(ParamsError, match="batch size 16 exceeds the 10 images of 'train'"):
        length(params(epochs=1), images=10)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "exactly one of epochs and iterations"),
        ({"epochs": 1, "iterations": 2}, "exactly one of epochs and iterations"),
        ({"epochs": 1, "accumulate": 3}, "batch divisible by"),
        ({"epochs": 1, "schedule": "step"}, "steps together with"),
        ({"epochs": 1, "schedule": "step", "steps": [[4, 0.1], [2, 0.01]]}, "increasing epochs"),
        ({"epochs": 1, "keep": "best"}, "validate_every"),
        ({"epochs": 1, "ohem_threshold": 0.7, "loss_average": "all"}, "ohem_threshold"),
        ({"epochs": 1, "schedule": "polly"}, "did you mean 'poly'"),
        ({"epochs": 1, "lr": 0}, "greater than 0"),
    ],
)
def test_impossible_params_are_reported(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError) as caught:
        params(**changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(("devices", "iterations"), [(1, 371), (2, 372), (4, 372), (8, 372)])
def test_a_distributed_sampler_pads_cityscapes_to_372_iterations(devices: int, iterations: int) -> None:
    """2975 images at batch 8: each device gets ceil(2975 / devices), as torch's own sampler says."""
    from torch.utils.data import DistributedSampler

    p = params(batch=8, epochs=1, devices=devices, pad_epoch=True)
    assert length(p, images=2975).iterations == iterations
    images = list(range(2975))
    per_device = len(DistributedSampler(images, num_replicas=devices, rank=0))  # type: ignore[arg-type]
    assert per_device // (8 // devices) == iterations


def published() -> list[tuple[Experiment, str]]:
    return [(e, row) for e in experiments() for row in e.rows if e.measure == "all"]


@every("e, row", published)
def test_every_experiments_schedule_is_its_pages(e: Experiment, row: str) -> None:
    """Rates and decays at five points, from the row's own facts by decimal arithmetic."""
    images = e.facts.splits[e.training.split]
    wanted = DECIMAL["of_row"](row, images=images)
    assert wanted is not None
    of = length(e.training, images=images)
    assert of.iterations == wanted["iterations"]
    for point in wanted["points"]:
        rate = learning_rate(e.training, iteration=point["iteration"], of=of)
        decay = weight_decay(e.training, iteration=point["iteration"])
        assert (rate, decay) == pytest.approx((point["lr"], point["weight_decay"]), rel=1e-12)


def test_every_published_row_with_a_schedule_has_an_experiment() -> None:
    assert {row for _, row in published()} == set(DECIMAL["FACTS"])
