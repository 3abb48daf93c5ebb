"""Protocol params: what is refused, and what changes the hash."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from repro.errors import ParamsError
from repro.params import Protocol, parse, read_yaml
from repro.params.project import Project
from repro.params.protocol import Variant, protocol_hash
from tests.conftest import ROOT
from tests.evaluation.kit import CLASSES, protocol

OTHER = {
    "mode": "slide",
    "base": (512, 128),
    "scales": (0.5, 1.0),
    "flip": True,
    "rounding": "floor",
    "crop": (64, 64),
    "stride": (32, 32),
    "overlap": 0.5,
    "pad_tiles": True,
    "zero_tile": "nan",
    "rule": "align_corners",
    "logits_resize": "via_input",
    "map_rule": "tf_legacy",
    "average": "logit",
    "precision": "bf16",
    "batch": 2,
    "first": 30,
    "reduce_zero_label": True,
    "ignore_index": 0,
    "mean_over": ("road",),
    "absent": "zero",
    "union_bug": True,
    "boundary_ratio": 0.02,
    "words": "resized by PIL",
    "ms_flip": Variant(scales=(0.5, 1.0)),
}


@pytest.mark.parametrize("field", [field.name for field in fields(Protocol)])
def test_every_field_is_in_the_hash(field: str) -> None:
    base = protocol(mode="whole")
    other = replace(base)
    object.__setattr__(other, field, OTHER[field])  # alone, also where it would need a companion
    assert protocol_hash(base, classes=CLASSES) != protocol_hash(other, classes=CLASSES)


def test_class_list_is_in_the_hash() -> None:
    base = protocol(mode="whole")
    assert protocol_hash(base, classes=CLASSES) != protocol_hash(base, classes=CLASSES[1:])


def test_hash_is_pinned() -> None:
    """A record made yesterday must be comparable today. Defaults are left out, so new fields keep these."""
    assert protocol_hash(protocol(mode="whole"), classes=("a", "b")) == "7a83090aa236"
    tiles = protocol(mode="slide", crop=[480, 480], stride=[320, 320], ms_flip={"scales": [0.5, 1]})
    assert protocol_hash(tiles, classes=("a", "b")) == "18e272ba681f"


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({}, "missing key 'mode'"),
        ({"mode": "slid"}, "did you mean 'slide'"),
        ({"mode": "whole", "crop": [3, 3]}, "mode whole without crop"),
        ({"mode": "slide", "crop": [3, 3]}, "one of stride, overlap"),
        ({"mode": "slide", "crop": [3, 3], "stride": [2, 2], "overlap": 0.5}, "one of stride, overlap"),
        ({"mode": "slide", "stride": [2, 2]}, "with crop"),
        ({"mode": "slide", "crop": [3, 3], "stride": [2, 2], "zero_tile": "nan"}, "nan with overlap"),
        ({"mode": "whole", "scales": []}, "scales"),
        ({"mode": "whole", "scales": [0]}, "scales"),
        ({"mode": "whole", "flipp": True}, "did you mean 'flip'"),
        ({"mode": "whole", "batch": 0}, "batch"),
        ({"mode": "whole", "ms_flip": {"flip": True}}, "ms_flip.scales"),
    ],
)
def test_impossible_protocols_are_refused(block: dict[str, object], words: str) -> None:
    with pytest.raises(ParamsError) as error:
        parse(Protocol, block, "params.yaml")
    assert words in str(error.value)


def test_every_protocol_of_the_project_is_one() -> None:
    blocks = read_yaml(Project(ROOT).params)["protocols"]
    parsed = {name: parse(Protocol, block, name) for name, block in blocks.items()}
    hashes = {protocol_hash(one, classes=()) for one in parsed.values()}
    assert len(hashes) == len(parsed), "two names for one protocol"
