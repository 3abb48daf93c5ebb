"""Parameters and multiply-accumulates: of every experiment, against what the pages and recipes print."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from repro.models import build_on_meta
from repro.models.cost import count
from repro.params import Experiment, ModelParams
from tests.kit import PUBLISHED, every, experiments
from tests.models.kit import (
    BASE,
    D30,
    D121,
    MM,
    MM18,
    NETWORKS,
    PLUS,
    S3,
    S3PLUS,
    SLIM,
    dense,
    model_params,
    net,
)

# Rows whose printed count no version of their source gives, with what the code gives (recipes 3.2, 5).
KNOWN_MISPRINTS = {
    "003-018": 42.72,  # prints 47; every other ResNet-101 row prints 42: a typo
    "003-044": 13.10,  # newdid2 prints 13.6
    "003-045": 14.41,  # newdid4 prints 14.0, rounded manually
    "003-051": 9.69,  # "dense30k36(actually48)": prints the 5.7 of growth 36
}


@cache
def millions_of(params: ModelParams, classes: int) -> float:
    """Trainable parameters of the built network, in millions."""
    network = build_on_meta(params, num_classes=classes)
    return sum(weight.numel() for weight in network.parameters()) / 1e6


def classes_of(experiment: Experiment) -> int:
    return experiment.facts.classes - int(experiment.protocol.reduce_zero_label)


def printed() -> Iterator[tuple[str, str, float]]:
    """(row, experiment, printed millions) of every row that prints a count and has an experiment."""
    published = PUBLISHED.rows
    for experiment in experiments():
        for row in experiment.rows:
            value = published[row].cost.get("params_M")
            if value is not None:
                yield row, experiment.name, value


@every("experiment", experiments)
@pytest.mark.slow
def test_every_experiment_builds_its_network(experiment: Experiment) -> None:
    assert 2.9 < millions_of(experiment.model, classes_of(experiment)) < 96


@every("row, name, value", printed)
def test_parameters_of_every_row_that_prints_them(row: str, name: str, value: float) -> None:
    """The page cuts after the last digit it prints: 2.99 is printed 2.9, 42.89 as 42."""
    experiment = next(found for found in experiments() if found.name == name)
    ours = millions_of(experiment.model, classes_of(experiment))
    if row in KNOWN_MISPRINTS:
        assert ours == pytest.approx(KNOWN_MISPRINTS[row], abs=0.006)
        return
    text = next(
        cell for cell in PUBLISHED.rows[row].cells if cell.rstrip("mM ").replace(".", "", 1).isdigit()
    )
    digits = len(text.rstrip("mM ").partition(".")[2])
    unit = 10.0**-digits
    assert value * 0.995 <= ours < (value + unit) * 1.005


def test_enough_rows_print_a_count() -> None:
    assert len(list(printed())) >= 43
    assert {row for row, _, _ in printed()} >= KNOWN_MISPRINTS.keys()


CASES: list[tuple[str, dict[str, Any], int, float]] = [  # recipes 1.1, 2, 3.2, 3.3 and 4
    ("000 mobilenetv2", net(PLUS, "mobilenetv2", 16), 19, 5.23),
    ("000 r50", net(PLUS, "resnet50", 16), 19, 39.76),
    ("000 r101", net(PLUS, "resnet101", 16), 19, 58.75),
    ("002 r50", net(S3, "resnet50", 8), 21, 70.48),
    ("002 r101", net(S3, "resnet101", 8), 21, 89.47),
    ("001 r50", net(S3PLUS, "resnet50", 16), 21, 45.96),
    ("001 r101", net(S3PLUS, "resnet101", 16), 21, 64.95),
    ("004 r18", net(MM18, "resnet18", 8), 6, 12.47),
    ("004 r50", net(MM, "resnet50", 8), 7, 43.58),
    ("004 r101", net(MM, "resnet101", 8), 7, 62.57),
    ("30k36", dense(D30, 36), 11, 2.99),
    ("121k32", dense(D121, 32), 11, 6.98),
    ("nocompression", dense(D30, 36, compression=1.0), 11, 5.21),
    ("stem", dense(D30, 36, stem="3x3"), 11, 3.24),
    ("k60", dense(D30, 60), 11, 8.26),
    ("base k36", dense(D30, 36, **BASE), 11, 5.76),
    ("senet1", dense(D30, 36, se=1, **BASE), 11, 5.84),
    ("senet4", dense(D30, 36, se=4, **BASE), 11, 5.78),
    ("did", dense(D30, 36, se=4, inner="did", **BASE), 11, 5.97),
    ("did4", dense(D30, 36, se=4, inner="did4", **BASE), 11, 6.17),
    ("did4_taps", dense(D30, 36, se=4, inner="did4_taps", **BASE), 11, 6.16),  # 003-035 prints 6.1
    ("did_taps_3x3", dense(D30, 48, se=4, inner="did_taps_3x3", **BASE), 11, 12.19),  # 003-052 prints 12.1
    ("k48", dense(D30, 48, **BASE), 11, 9.66),
    ("42k48", dense((6, 8, 16, 12), 48, **BASE), 11, 15.99),
    ("newdid", dense(D30, 48, inner="newdid", **BASE), 11, 10.75),
    ("newdid2", dense(D30, 48, inner="newdid2", **BASE), 11, 13.10),
    ("newdid4", dense(D30, 48, inner="newdid4", **BASE), 11, 14.41),
    ("newdid4_1", dense(D30, 48, inner="newdid4_1", **BASE), 11, 11.64),
    ("newdid6", dense(D30, 48, inner="newdid6", **BASE), 11, 11.65),
    ("newdid6_senet", dense(D30, 48, inner="newdid6_senet", **BASE), 11, 12.00),
    ("transitionsenet2", dense(D30, 48, transition="residual", **BASE), 11, 12.84),
    ("transitionsenet4", dense(D30, 48, transition="se4", **BASE), 11, 10.77),
    ("121k24", dense(D121, 24, **BASE), 11, 7.65),
    ("VOC 31k48", dense(D30, 48), 21, 5.31),
    ("VOC 31k60", dense(D30, 60), 21, 8.27),
    ("VOC 121k48", dense(D121, 48), 21, 15.62),
    ("VOC 121k60", dense(D121, 60), 21, 24.35),
    ("L201", dense((6, 12, 48, 32), 32), 21, 18.15),  # 003-003, not a result: no experiment
    ("L264", dense((6, 12, 64, 48), 32), 21, 30.73),  # 003-004
    (
        "v1 LargeFOV, arXiv 1412.7062 table 2",
        {"family": "deeplabv1", "backbone": "vgg16", "output_stride": 8},
        21,
        20.5,
    ),
]


@every("name, raw, classes, millions", CASES)
def test_parameters_as_computed_from_the_sources(
    name: str, raw: dict[str, Any], classes: int, millions: float
) -> None:
    assert millions_of(model_params(raw), classes) == pytest.approx(millions, abs=0.0065)


MACS: list[tuple[str, dict[str, Any], int, tuple[int, int], float, float]] = [
    ("000-01 prints 135G", net(PLUS, "mobilenetv2", 16), 19, (1024, 2048), 133.60, 0.05),
    ("000 mobilenetv2 at 768", net(PLUS, "mobilenetv2", 16), 19, (768, 768), 37.7, 0.2),
    ("000 r50", net(PLUS, "resnet50", 16), 19, (1024, 2048), 476, 0.6),
    ("000 r101", net(PLUS, "resnet101", 16), 19, (1024, 2048), 632, 0.6),
    ("000 r50, VOC", net(PLUS, "resnet50", 16), 21, (513, 513), 62.4, 0.1),
    ("000 r101, VOC", net(PLUS, "resnet101", 16), 21, (513, 513), 83.0, 0.1),
    ("004 r18", net(MM18, "resnet18", 8), 7, (512, 512), 54.2, 0.1),
    ("004 r50", net(MM, "resnet50", 8), 7, (512, 512), 176.1, 0.4),
    ("004 r101", net(MM, "resnet101", 8), 7, (512, 512), 253.6, 0.4),
    (
        "Xception-65, arXiv 1802.02611 table 5",
        net(PLUS, "xception65", 16)
        | {"head": {"separable": True, "decoder_convs": 2, "low_level_first": False}},
        21,
        (513, 513),
        54.17,
        0.2,
    ),
]


@pytest.mark.parametrize(("name", "raw", "classes", "size", "giga", "within"), MACS, ids=[m[0] for m in MACS])
def test_multiply_accumulates_as_printed_or_computed(
    name: str, raw: dict[str, Any], classes: int, size: tuple[int, int], giga: float, within: float
) -> None:
    assert count(model_params(raw), classes, size).gmacs_conv == pytest.approx(giga, abs=within)


def test_page_000_prints_what_thop_counts() -> None:
    """135G: convolutions plus 4 per normalised element at 1024x2048."""
    cost = count(model_params(net(PLUS, "mobilenetv2", 16)), 19, (1024, 2048))
    assert cost.gmacs_thop == pytest.approx(135.10, abs=0.005)
    assert int(cost.gmacs_thop) == 135


def test_slim_deeplabv3_costs_what_its_parts_cost() -> None:
    """ResNet-101 (42.5 M without classifier), its biases, and a head that sums four branches."""
    slim = SLIM | {"backbone": "resnet101", "family": "deeplabv3", "output_stride": 16}
    slim |= {"resnet": {"version": "v2", "last_stage": "post", "inner_grid": [1, 2, 4]}}
    summed = slim | {"head": {"fuse": "sum", "decoder_convs": 0}}
    joined = slim | {"head": {"fuse": "concat", "decoder_convs": 0}}
    one, other = (millions_of(model_params(raw), 21) for raw in (summed, joined))
    assert other - one == pytest.approx(3 * 256 * 256 / 1e6, abs=1e-9)  # the fusion sees 2 x 256, not 5 x 256
    head = (2048 * 256 * (1 + 3 * 9 + 1) + 512 * 256 + 256 * 21 + 21 + 12 * 256) / 1e6
    assert one - head == pytest.approx(42.5, abs=0.1)


@pytest.mark.parametrize(
    "name",
    [
        "vainf_mobilenetv2_os16",
        "keras_r18_os8",
        "slim_v2_os16",
        "dense_newdid2",
        "dense_newdid6_senet",
        "paper_v1_vgg16",
    ],
)
def test_shape_answers_agree_with_the_meta_kernels_of_pytorch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Odd sizes, where padding and ceil modes differ."""
    params = model_params(NETWORKS[name])
    fast = count(params, 3, (65, 98))
    monkeypatch.setattr("repro.models.cost.SHAPE_FUNCTIONS", {})
    assert count(params, 3, (65, 98)) == fast


def test_costs_do_not_depend_on_the_machine_and_grow_with_the_image() -> None:
    params = model_params(net(PLUS, "mobilenetv2", 16))
    small, large = (count(params, 19, (side, side)) for side in (256, 512))
    assert dataclasses.asdict(small) == dataclasses.asdict(count(params, 19, (256, 256)))
    assert large.params_M == small.params_M
    assert 3.9 < large.gmacs_conv / small.gmacs_conv < 4.1
    assert (
        3.8 < large.activation_MiB / small.activation_MiB < 4.0
    )  # padded borders weigh more in a small image
