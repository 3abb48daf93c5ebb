"""Converted checkpoints of the pages' own sources compute what those sources compute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from repro.checkpoints import FORMATS, convert, convert_back, guess_format
from repro.errors import CheckpointError
from repro.models import SegmentationNet, build_on_meta
from repro.params import Experiment, ModelParams, Project, experiment_names, load_experiment
from tests.models.kit import (
    MM,
    MM18,
    PAGES,
    PLUS,
    S3,
    S3PLUS,
    filled,
    model_params,
    net,
    noise,
    page_fill,
    page_keys,
    page_outputs,
    pages,
    relative_error,
    sampled,
)


def double(params: ModelParams, *, classes: int) -> SegmentationNet:
    """The network in float64, not initialised: every value is loaded afterwards."""
    meta = build_on_meta(params, num_classes=classes).double()
    return meta.to_empty(device="cpu").eval()


def logits(params: ModelParams, state: Mapping[str, Tensor], image: Tensor, *, classes: int) -> list[Tensor]:
    network = double(params, classes=classes)
    network.load_state_dict(dict(state))
    with torch.no_grad():
        return list(network.all_heads(image))


@pytest.mark.parametrize("name", sorted(PAGES))
@pytest.mark.slow
def test_a_source_checkpoint_gives_the_source_logits(name: str) -> None:
    """All heads within 1e-9 of the largest logit, every entry used, and the way back is bit-equal."""
    params, facts = model_params(PAGES[name]), pages()[name]
    foreign = {key: page_fill(key, shape) for key, shape in page_keys(name).items()}
    assert len(foreign) == facts["entries"]
    found = guess_format(foreign, name)
    assert found.removesuffix("-old") == name.split("_")[0]
    network = double(params, classes=facts["classes"])
    state = convert(foreign, network.state_dict(), format_name=found, params=params, where=name)
    network.load_state_dict(state)
    with torch.no_grad():
        outputs = network.all_heads(noise(*facts["input"]))
    wanted = page_outputs(name)
    assert len(outputs) == len(wanted)
    for ours, theirs in zip(outputs, wanted, strict=True):
        assert relative_error(sampled(ours), theirs) < 1e-9
    assert sum(weight.numel() for weight in network.parameters()) == facts["params"]
    back = convert_back(state, format_name=found, params=params, where=name)
    assert back.keys() == foreign.keys()
    assert all(torch.equal(back[key], foreign[key]) for key in foreign)


ENTRIES = [  # recipes 1.3, 2 and 4: the depths, strides and sources that have no golden output, too
    ("vainf", net(PLUS, "mobilenetv2", 16), 19, 356),
    ("vainf", net(PLUS, "mobilenetv2", 8), 21, 356),
    ("vainf", net(PLUS, "resnet50", 8), 19, 368),
    ("vainf", net(PLUS, "resnet101", 16), 19, 674),
    ("sssegmentation", net(S3, "resnet50", 16), 60, 376),
    ("sssegmentation", net(S3, "resnet101", 8), 59, 682),
    ("sssegmentation", net(S3PLUS, "resnet50", 8), 21, 424),
    ("sssegmentation", net(S3PLUS, "resnet101", 16), 19, 730),
    ("sssegmentation-old", net(S3PLUS, "resnet101", 8), 150, 730),
    ("mmsegmentation", net(MM18, "resnet18", 8), 16, 226),
    ("mmsegmentation", net(MM, "resnet50", 8), 6, 424),
    ("mmsegmentation", net(MM, "resnet101", 8), 7, 730),
]


@pytest.mark.parametrize(("name", "raw", "classes", "entries"), ENTRIES)
def test_entry_counts_and_names_of_every_source(
    name: str, raw: dict[str, Any], classes: int, entries: int
) -> None:
    """Our network under the source's names: as many entries as the source has, and the same way back."""
    params = model_params(raw)
    ours = build_on_meta(params, num_classes=classes).state_dict()
    foreign = convert_back(ours, format_name=name, params=params, where=name)
    assert len(foreign) == entries
    assert guess_format(foreign, name) == name
    again = convert(foreign, ours, format_name=name, params=params, where=name)
    assert again.keys() == ours.keys()


DEEPER = [
    "vainf_v3plus_resnet50_os16_nc19",
    "mmsegmentation_v3plus_r50_os8_nc7",
    "sssegmentation_v3_r50_os8_nc21",
]


@pytest.mark.parametrize("name", DEEPER)
def test_resnet101_adds_blocks_of_stage_3_and_nothing_else(name: str) -> None:
    """Key list and shapes of R-101, class count and stride changed, against the source's R-50 list."""
    params = model_params(PAGES[name] | {"backbone": "resnet101", "output_stride": 16})
    ours = build_on_meta(params, num_classes=3).state_dict()
    foreign = convert_back(ours, format_name=name.split("_")[0], params=params, where=name)
    shapes = {key: tuple(value.shape) for key, value in foreign.items()}
    same = {key: shape for key, shape in page_keys(name).items() if shape[:1] != (pages()[name]["classes"],)}
    assert same.items() <= shapes.items()
    added = {key.split("layer3.")[1].split(".")[0] for key in shapes.keys() - page_keys(name).keys()}
    assert added == {str(block) for block in range(6, 23)}


CONCAT = {
    "pooled branch first or last": ("mmsegmentation", net(MM18, "resnet18", 8), {"pool_first": False}),
    "low level first or last": ("vainf", net(PLUS, "mobilenetv2", 16), {"low_level_first": False}),
    "low level in a separable decoder": (
        "mmsegmentation",
        net(MM18, "resnet18", 8),
        {"low_level_first": True},
    ),
}


@pytest.mark.parametrize("case", CONCAT)
def test_another_concat_order_moves_channels_and_nothing_else(case: str) -> None:
    """The same file in a network that concatenates in another order gives the same logits."""
    source, raw, other = CONCAT[case]
    params, turned = model_params(raw), model_params(raw | {"head": raw.get("head", {}) | other})
    image = noise(1, 3, 33, 49)
    ours = filled(build_on_meta(params, num_classes=5).state_dict())
    foreign = convert_back(ours, format_name=source, params=params, where=case)
    moved = convert(foreign, ours, format_name=source, params=turned, where=case)
    first, second = logits(params, ours, image, classes=5)[0], logits(turned, moved, image, classes=5)[0]
    assert relative_error(second, first) < 1e-12
    assert any(not torch.equal(moved[key], ours[key]) for key in ours)
    back = convert_back(moved, format_name=source, params=turned, where=case)
    assert all(torch.equal(back[key], foreign[key]) for key in foreign)


def test_an_auxiliary_head_is_kept_or_dropped_by_choice() -> None:
    with_aux = model_params(net(MM18, "resnet18", 8))
    without = model_params({key: value for key, value in net(MM18, "resnet18", 8).items() if key != "aux"})
    ours = build_on_meta(with_aux, num_classes=6).state_dict()
    bare = build_on_meta(without, num_classes=6).state_dict()
    foreign = convert_back(filled(ours), format_name="mmsegmentation", params=with_aux, where="a.pth")
    arguments: dict[str, Any] = {"format_name": "mmsegmentation", "params": without, "where": "a.pth"}
    with pytest.raises(CheckpointError, match="left over auxiliary_head") as caught:
        convert(foreign, bare, **arguments)
    assert "--drop-aux" in str(caught.value)
    assert convert(foreign, bare, drop_aux=True, **arguments).keys() == bare.keys()
    with pytest.raises(CheckpointError, match="missing auxiliary_head"):
        convert(foreign, ours, format_name="mmsegmentation", params=with_aux, where="a.pth", drop_aux=True)


def test_missing_left_over_and_other_shapes_are_named_on_both_sides() -> None:
    params = model_params(net(PLUS, "mobilenetv2", 16))
    ours = build_on_meta(params, num_classes=5).state_dict()
    foreign = convert_back(filled(ours), format_name="vainf", params=params, where="v.pth")
    arguments: dict[str, Any] = {"format_name": "vainf", "params": params, "where": "v.pth"}
    stem = "backbone.low_level_features.0.0.weight"
    with pytest.raises(CheckpointError, match=f"missing {stem}"):
        convert({key: value for key, value in foreign.items() if key != stem}, ours, **arguments)
    with pytest.raises(CheckpointError, match=r"left over optimizer\.step"):
        convert(foreign | {"optimizer.step": torch.zeros(1)}, ours, **arguments)
    wider = build_on_meta(params, num_classes=7).state_dict()
    with pytest.raises(CheckpointError) as caught:
        convert(foreign, wider, **arguments)
    text = str(caught.value)
    assert "classifier.classifier.3.weight' has shape [5, 256, 1, 1]" in text
    assert "'head.classifier.weight' [7, 256, 1, 1]" in text
    other = model_params(net(PLUS, "resnet50", 16))
    deep = build_on_meta(other, num_classes=5).state_dict()
    with pytest.raises(CheckpointError, match=r"missing backbone\.conv1\.weight"):
        convert(foreign, deep, format_name="vainf", params=other, where="v.pth")


SOURCES = {"000": "vainf", "001": "sssegmentation", "002": "sssegmentation", "004": "mmsegmentation"}
COUNTS = {  # (page, backbone) -> entries of a released checkpoint
    ("000", "mobilenetv2"): 356,
    ("000", "resnet50"): 368,
    ("000", "resnet101"): 674,
    ("001", "resnet50"): 424,
    ("001", "resnet101"): 730,
    ("002", "resnet50"): 376,
    ("002", "resnet101"): 682,
    ("004", "resnet18"): 226,
    ("004", "resnet50"): 424,
    ("004", "resnet101"): 730,
}
PROJECT = Project(Path(__file__).parents[2])


def released() -> list[tuple[Experiment, str]]:
    """(experiment, row) of the pages whose sources have checkpoints; 000-04 and -05 never had any."""
    found = (load_experiment(PROJECT, name) for name in experiment_names(PROJECT))
    pairs = ((e, row) for e in found for row in e.rows if row[:3] in SOURCES)
    return [pair for pair in pairs if pair[1] not in ("000-04", "000-05")]


def test_all_rows_with_checkpoints_have_an_experiment() -> None:
    assert len({row for _, row in released()}) == 3 + 12 + 16 + 14


@pytest.mark.parametrize(("experiment", "row"), [pytest.param(e, row, id=row) for e, row in released()])
@pytest.mark.slow
def test_an_experiment_has_the_layout_of_its_source(experiment: Experiment, row: str) -> None:
    """As many entries as the source's checkpoint has, and nothing to reorder: the same concat orders."""
    params, source = experiment.model, SOURCES[row[:3]]
    ours = build_on_meta(params, num_classes=experiment.facts.classes).state_dict()
    foreign = convert_back(ours, format_name=source, params=params, where=row)
    assert len(foreign) == COUNTS[row[:3], params.backbone]
    assert params.head.pool_first == FORMATS[source].pool_first
    assert params.head.low_level_first == FORMATS[source].low_first or params.family == "deeplabv3"
