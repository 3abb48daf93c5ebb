"""A field that is added with a neutral default changes no run key and no seed family."""

from __future__ import annotations

import typing
from dataclasses import MISSING, asdict, fields, is_dataclass, make_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from repro.params import (
    Augmentation,
    DatasetFacts,
    ModelParams,
    Protocol,
    TrainedExperiment,
    TrainingParams,
    to_plain,
)
from repro.params.parse import LATER, Later
from repro.params.problems import types_in
from repro.params.protocol import protocol_hash
from repro.records import record as record_module
from repro.records.build import cost_key, training_key
from repro.records.flatten import drop_neutral_defaults, neutral_defaults
from repro.records.record import Record, read_record
from tests.kit import PROJECT, experiment

NAME = "camvid_mobilenetv2_os16"
KEYS = {  # family key of the record, run key with a training split of fingerprint ffff...
    "camvid_dense30k36_os16_321_x32_b45": ("146c74d0b8a61716", "7446b08eca3b36de"),
    "camvid_mobilenetv2_os16": ("97f1249513678b39", "df9dfc620ed9b730"),
    "synthetic_mobilenetv2_os16": ("6a132be141382194", "62ab225654e16a7f"),
}
BLOCKS = {
    "facts": DatasetFacts,
    "model": ModelParams,
    "augmentation": Augmentation,
    "training": TrainingParams,
    "protocol": Protocol,
}
FIRST_RELEASE = Path(__file__).parents[1] / "golden" / "fields_of_the_first_release.txt"


def grown(cls: type[Any], **changed: Any) -> type[Any]:
    """A params dataclass with one more field, and other types of some fields."""
    more = list(changed.items())
    return make_dataclass(
        f"Grown{cls.__name__}", [*more, ("novelty", Later[int], 7)], bases=(cls,), kw_only=True, frozen=True
    )


def with_block(name: str) -> TrainedExperiment:
    """The experiment NAME as if the block had a further field; "" adds it at the top."""
    whole = experiment(NAME)
    values = {one.name: getattr(whole, one.name) for one in fields(whole)}
    if not name:
        return typing.cast(TrainedExperiment, grown(TrainedExperiment)(**values))
    block = grown(BLOCKS[name])
    old = {one.name: getattr(values[name], one.name) for one in fields(values[name])}
    changed = make_dataclass(
        "GrownExperiment", [(name, block)], bases=(TrainedExperiment,), kw_only=True, frozen=True
    )
    return typing.cast(TrainedExperiment, changed(**values | {name: block(**old)}))


def a_record(name: str = NAME) -> Record:
    return read_record(PROJECT.record(name))


def test_no_run_key_changes() -> None:
    before = training_key(experiment(NAME), "f" * 64)
    for name in ("", *BLOCKS):
        assert training_key(with_block(name), "f" * 64) == before, name


def test_no_seed_family_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    record = a_record()
    for name in ("", *BLOCKS):
        more = with_block(name)
        drop = partial(drop_neutral_defaults, cls=type(more))
        monkeypatch.setattr(record_module, "drop_neutral_defaults", drop)
        block = {"novelty": 7} if not name else {name: record.params[name] | {"novelty": 7}}
        assert replace(record, params=record.params | block).family_key == record.family_key, name


def test_another_value_of_the_field_changes_them() -> None:
    more = with_block("training")
    other = replace(more, training=replace(more.training, novelty=8))  # type: ignore[call-arg]
    assert training_key(other, "f" * 64) != training_key(more, "f" * 64)


def test_the_keys_of_this_project_are_as_they_were() -> None:
    """Those of the committed records, and the key of a benchmark."""
    for name, (family, training) in KEYS.items():
        made = training_key(experiment(name), "f" * 64)
        assert (a_record(name).family_key, made) == (family, training), name
    plain = to_plain(experiment(NAME)) | {"measure": "cost"}
    assert cost_key(plain) == "9c45a5ddd462c6ea"
    assert cost_key(plain | {"facts": plain["facts"] | {"folder": None, "title": ""}}) == cost_key(plain)


def test_the_declaration_of_a_data_set_is_in_its_fingerprint_alone() -> None:
    """Names of classes, patterns of files and a title leave the seeds of an experiment together."""
    record = a_record()
    names = [f"class {number}" for number in range(record.params["facts"]["classes"])]
    facts = record.params["facts"] | {"classes": names, "title": "x", "folder": {"images": "{id}.png"}}
    assert replace(record, params=record.params | {"facts": facts}).family_key == record.family_key


def test_a_protocol_field_with_its_default_keeps_the_hash() -> None:
    protocol = grown(Protocol)(
        **{one.name: getattr(experiment(NAME).protocol, one.name) for one in fields(Protocol)}
    )
    assert protocol_hash(protocol, classes=["a"]) == protocol_hash(experiment(NAME).protocol, classes=["a"])
    assert asdict(protocol)["novelty"] == 7


def defaulted(cls: type[Any], *, nested: bool) -> set[str]:
    """`Class.field` of every field with a default that is not declared `Later`."""
    hints, plain, found = typing.get_type_hints(cls, include_extras=True), typing.get_type_hints(cls), set()
    for one in fields(cls):
        optional = one.default is not MISSING or one.default_factory is not MISSING
        if optional and LATER not in getattr(hints[one.name], "__metadata__", ()):
            found.add(f"{cls.__name__}.{one.name}")
        for part in filter(is_dataclass, types_in(plain[one.name]) if nested else ()):
            found |= defaulted(typing.cast(Any, part), nested=True)
    return found


def test_a_new_field_is_declared_as_later() -> None:
    """Whoever adds a field with a default writes `field: Later[type] = default`, or all keys change."""
    now = set().union(
        *(defaulted(cls, nested=True) for cls in BLOCKS.values()), defaulted(TrainedExperiment, nested=False)
    )
    assert now == set(FIRST_RELEASE.read_text().split())
    assert neutral_defaults(TrainedExperiment)["model.head.glorot"] == []


def test_a_mapping_is_neutral_while_it_is_empty() -> None:
    """`lr_of` of trainings, and `also` of programs, whose records have the class of their kind."""
    one = experiment(NAME)
    named = replace(one, training=replace(one.training, lr_of={"aux.": 10.0}))
    assert to_plain(one)["training"]["lr_of"] == {}
    assert training_key(one, "f" * 64) != training_key(named, "f" * 64)
    programs = {"external": {"family": "x", "also": {}}}
    assert drop_neutral_defaults(programs) == {"external": {"family": "x"}}
    programs["external"]["also"] = {"ms": {"command": "x"}}
    assert drop_neutral_defaults(programs) == programs
