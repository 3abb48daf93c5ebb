"""How two protocols differ, in words."""

from __future__ import annotations

import doctest
from dataclasses import replace

from repro.params import Protocol, protocol_words, to_plain
from repro.params.protocol import Variant
from repro.params.protocol_words import protocol_differences


def test_every_field_is_shown_with_both_values() -> None:
    one = Protocol(mode="whole")
    cases = {
        "mirror images no against yes": replace(one, flip=True),
        "second variant none against (scales 0.5 to 1 (2), mirror images yes)": replace(
            one, ms_flip=Variant(scales=(0.5, 1.0))
        ),
        "image size none against 2048x1024": replace(one, base=(2048, 1024)),
        "images all against 20": replace(one, first=20),
        "classes in the mean all against road, car": replace(one, mean_over=("road", "car")),
        "ignored label 255 against 11": replace(one, ignore_index=11),
        "logits resize direct against via_input": replace(one, logits_resize="via_input"),
    }
    for words, other in cases.items():
        assert protocol_differences(to_plain(one), to_plain(other)) == [words]
    assert protocol_differences(to_plain(one), to_plain(one)) == []


def test_the_example_holds() -> None:
    assert doctest.testmod(protocol_words).failed == 0
