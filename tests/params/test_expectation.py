"""Several expected numbers, by device, version of torch and precision: the most specific one that matches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from repro.errors import ParamsError
from repro.params.expectation import ExpectationOn, expectation_for, line_to_add
from repro.params.experiment import Experiment
from repro.params.parse import parse
from repro.records.provenance import made_on

EPYC = {"device": "AMD EPYC 9454", "torch": "2.15", "precision": "bf16"}


def several(*keys: dict[str, str]) -> tuple[ExpectationOn, ...]:
    """Expected numbers 0, 1, 2, ... with these keys."""
    return tuple(ExpectationOn(mIoU=i, band=1.0, source="test", **one) for i, one in enumerate(keys))


def number(made: dict[str, str], *keys: dict[str, str]) -> float:
    found = expectation_for(several(*keys), made, "here")
    assert found is not None
    return found.mIoU


def test_the_number_with_most_matching_keys_is_expected() -> None:
    known = ({}, {"device": "AMD EPYC*"}, {"device": "AMD EPYC*", "torch": "2.15"}, {"device": "NVIDIA H200"})
    assert number(EPYC, *known) == 2
    assert number(EPYC | {"torch": "2.16"}, *known) == 1
    assert number(EPYC | {"device": "NVIDIA H200"}, *known) == 3
    assert number(EPYC | {"device": "Apple M4"}, *known) == 0
    assert number(EPYC, {"precision": "fp32"}, {"precision": "bf16"}) == 1


def test_a_result_that_no_number_is_for_is_an_error_with_the_line_to_add() -> None:
    with pytest.raises(ParamsError) as caught:
        expectation_for(several({"device": "NVIDIA*"}), EPYC, "params.yaml: expect", measured=41.204)
    assert caught.value.exit_code == 2
    assert "device AMD EPYC 9454, torch 2.15, precision bf16" in caught.value.what
    line = str(caught.value.hint).removeprefix("add to `expect:` ")
    (added,) = yaml.safe_load(line.replace("BAND", "0.5"))
    assert added == {"mIoU": 41.2, "band": 0.5, "source": "WHERE FROM", **EPYC}
    again = (*several({"device": "NVIDIA*"}), parse(ExpectationOn, added, "here"))
    assert expectation_for(again, EPYC, "here") == again[1]
    assert "NUMBER" in line_to_add(EPYC)


def test_numbers_that_fit_equally_well_are_an_error() -> None:
    with pytest.raises(ParamsError, match="2 expected numbers fit"):
        number(EPYC, {"device": "AMD*"}, {"torch": "2.15"})


def test_the_device_of_the_training_decides() -> None:
    packages = {"torch": {"version": "2.16.1+cpu"}}
    here: dict[str, Any] = {"device": {"cpu": "Intel"}, "packages": packages, "training": {}}
    assert made_on(here, "fp32") == {"device": "Intel", "torch": "2.16", "precision": "fp32"}
    training = {"device": {"cpu": "AMD", "gpu": "NVIDIA H200", "torch": "2.15.0+cu132"}}
    assert made_on(here | {"training": training}, "bf16")["device"] == "NVIDIA H200"
    assert made_on(here | {"training": training}, "bf16")["torch"] == "2.15"
    for odd in ({}, {"device": None, "packages": []}, {"training": "x"}):
        assert made_on(odd, "") == {"device": "", "torch": "", "precision": ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{mIoU: 1, band: 1, source: a, cpu: x}]", "cpu"),
        ("[{mIoU: 1, band: 0, source: a}]", "band"),
        ("{mIoU: 1, band: 1, source: a, device: x}", "device"),
        ("[{mIoU: 1, band: 1, source: a, torch: 2.15}]", "torch"),
    ],
)
def test_a_mistake_is_named(text: str, message: str, root: Path) -> None:
    from repro.params import Project
    from repro.params.experiment import load_experiment
    from repro.params.parse import to_plain

    plain = to_plain(load_experiment(Project(root), "synthetic_mobilenetv2_os16"))
    with pytest.raises(ParamsError, match=message):
        parse(Experiment, {key: plain[key] for key in _fields()} | {"expect": yaml.safe_load(text)}, "here")


def _fields() -> list[str]:
    from dataclasses import fields

    return [one.name for one in fields(Experiment)]
