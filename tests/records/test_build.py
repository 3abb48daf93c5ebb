"""Records from the outputs of stages: reference values, and results that are not comparable."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repro.errors import ParamsError, RecordError, UnknownNameError
from repro.params import Expectation, Experiment, Project, load_experiment
from repro.params.expectation import ExpectationOn
from repro.records import (
    Journal,
    from_json,
    make_record,
    run_key,
    to_json,
    training_key,
    with_earlier_training,
    with_seed_statistics,
)
from repro.records.build import expected
from repro.records.metrics_io import intervals, plain_metrics
from repro.records.seeds import with_replicates
from tests.kit import copy_pages

ROOT = Path(__file__).parents[2]
NAME = "camvid_dense30k36_os16_321_x32_b45"  # row 003-028
METRICS = {
    "mIoU": 50.4,
    "aAcc": 81.2,
    "mIoU_low": 49.1,
    "mIoU_high": 51.6,
    "IoU": {"sky": 90.0, "pole": None},
    "n_images": 233,
    "split": "test",
    "protocol": "0123456789ab",
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which row 003-028 was evaluated."""
    folder = tmp_path / "experiments" / NAME
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    copy_pages(tmp_path)
    shutil.copy(ROOT / "experiments" / NAME / "params.yaml", folder / "params.yaml")
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    (folder / "cost.json").write_text(json.dumps({"params_M": 2.99, "device": {"type": "cpu"}}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return Project(tmp_path)


def test_keys_that_came_later_leave_the_run_key_alone_while_they_are_neutral(root: Path) -> None:
    """The recorded trainings are older than these keys; a weight file contains its run key."""
    was = load_experiment(Project(root), "camvid_mobilenetv2_os16")
    key = training_key(was, "f" * 64)
    assert key == "df9dfc620ed9b730"
    for block, name, value in (
        ("augmentation", "pad_value", 11),
        ("augmentation", "pad_label", 11),
        ("training", "eps_rule", "tensorflow"),
        ("model", "head", replace(was.model.head, glorot=("classifier",))),
    ):
        changed = replace(was, **{block: replace(getattr(was, block), **{name: value})})
        assert training_key(changed, "f" * 64) != key


def made(project: Project, **changes: Any) -> Any:
    """The record, after the experiment or its metrics were changed."""
    experiment = load_experiment(project, NAME)
    path = project.experiments / NAME / "metrics.json"
    path.write_text(json.dumps({**METRICS, **changes}))
    return make_record(project, experiment, dataset_fingerprint="ab", key="k")


def test_a_record_holds_measured_and_published(project: Project) -> None:
    record = made(project)
    assert record.rows == ("003-028",)
    assert record.published == {"mIoU": 50.0}
    assert record.metrics == {"mIoU": 50.4, "aAcc": 81.2}
    assert record.intervals == {"mIoU": (49.1, 51.6)}
    assert record.per_class == {"sky": 90.0, "pole": None}
    assert (record.split, record.n_images, record.protocol_hash) == ("test", 233, "0123456789ab")
    assert record.cost["params_M"] == 2.99
    assert record.verdict == "unmeasured", "whoever records it asks for the judgement"
    assert record.expectation is not None
    assert record.expectation.value == 50.0
    assert record.expectation.source.startswith("row 003-028; band: 003")
    assert len(record.model_sha256) == 64
    assert "params.yaml" in record.provenance["locks"]


def test_a_row_that_no_page_has_makes_no_record(project: Project) -> None:
    params = project.experiments / NAME / "params.yaml"
    params.write_text(params.read_text().replace("[003-028]", "[003-999]"))
    with pytest.raises(UnknownNameError, match="unknown published row '003-999'") as caught:
        made(project)
    assert caught.value.where == f"experiments/{NAME}/params.yaml"
    assert caught.value.hint is not None


def test_further_protocols_have_their_place_in_the_record(project: Project) -> None:
    """`also: [page003_321]`: another hash, other numbers, and the same family of seeds."""
    before = made(project)
    own = project.experiments / NAME / "params.yaml"
    own.write_text(own.read_text() + "also: [whole]\n")
    folder = project.experiments / NAME / "also" / "whole"
    folder.mkdir(parents=True)
    with pytest.raises(RecordError, match="nothing was measured"):
        made(project)
    other = METRICS | {"mIoU": 47.0, "mIoU_low": 46.0, "mIoU_high": 48.0, "protocol": "ba9876543210"}
    (folder / "metrics.json").write_text(json.dumps(other))
    record = made(project)
    assert record.metrics == before.metrics
    assert record.also["whole"].metrics == {"mIoU": 47.0, "aAcc": 81.2}
    assert record.also["whole"].intervals == {"mIoU": (46.0, 48.0)}
    assert record.also["whole"].protocol_hash == "ba9876543210"
    assert record.also["whole"].protocol["mode"] == "whole"
    assert record.family_key == before.family_key
    assert from_json(to_json(record), "test") == replace(record, content_hash=to_json(record)["content_hash"])


def test_speed_and_memory_of_the_training_come_from_its_journal(project: Project) -> None:
    """The record is written last, so both are included in any order of benchmark and train."""
    assert "train_images_per_s" not in made(project).cost
    with Journal(project.work / "k" / "journal.jsonl") as journal:
        for step, speed in enumerate((90.0, 45.0, 135.0)):
            journal.metrics({"train/loss": 1.0}, step=step)
            journal.metrics({"system/images_per_s": speed, "system/memory_MiB": 700.0 + step}, step=step)
    assert made(project).cost == {
        "params_M": 2.99,
        "device": {"type": "cpu"},
        "train_images_per_s": 90.0,
        "train_iterations_per_s": 2.0,  # batch 45
        "train_memory_MiB": 702.0,
    }


def test_a_record_made_where_no_journal_is_keeps_the_training(project: Project) -> None:
    with Journal(project.work / "k" / "journal.jsonl") as journal:
        journal.event("provenance", found={"python": "3.11.7"})
        journal.metrics({"system/images_per_s": 5.0, "system/memory_MiB": 961.0}, step=1)
    first = made(project)
    shutil.rmtree(project.work)
    again = with_earlier_training(made(project), [first])
    assert again.provenance["training"] == {"python": "3.11.7"}
    assert again.cost == first.cost
    (project.experiments / NAME / "model.safetensors").write_bytes(b"other weights")
    other = with_earlier_training(made(project), [first])
    assert other.provenance["training"] == {}
    assert "train_images_per_s" not in other.cost


def test_recorded_again_an_unchanged_result_differs_in_its_provenance_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later, with another version of Python and another environment: git shows no other line."""
    first = made(project)
    monkeypatch.setattr("repro.records.provenance.timestamp", lambda: "2027-01-01T00:00:00Z")
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    again = with_replicates(
        with_seed_statistics(with_earlier_training(made(project), [first]), [first]), [first]
    )
    before, after = to_json(first), to_json(again)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed == {"provenance", "content_hash"}, "the hash is of the whole record"
    lines = [json.dumps(one | {"content_hash": ""}, indent=2).splitlines() for one in (before, after)]
    differing = [new.strip() for old, new in zip(*lines, strict=True) if old != new]
    assert differing == ['"at": "2027-01-01T00:00:00Z",', '"python": "3.99.0",']


@pytest.mark.parametrize("missing", ["split", "n_images", "protocol", "IoU"])
def test_incomplete_metrics_are_refused(project: Project, missing: str) -> None:
    path = project.experiments / NAME / "metrics.json"
    path.write_text(json.dumps({k: v for k, v in METRICS.items() if k != missing}))
    with pytest.raises(RecordError, match=f"missing key '{missing}'"):
        make_record(project, load_experiment(project, NAME), dataset_fingerprint="ab", key="k")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "nothing was measured"),
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        (json.dumps(METRICS | {"mIoU": float("nan")}), "NaN is not a finite number"),
        (json.dumps(METRICS | {"fwIoU": [[1]]}), r"fwIoU is \[\[1\]\]"),
        (json.dumps(METRICS | {"aAcc": "36.9"}), "aAcc is '36.9'"),
    ],
)
def test_damaged_metrics_are_refused(project: Project, content: str | None, message: str) -> None:
    path = project.experiments / NAME / "metrics.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(RecordError, match=message):
        make_record(project, load_experiment(project, NAME), dataset_fingerprint="ab", key="k")


@pytest.mark.parametrize(
    ("cost", "message", "allowed"),
    [
        ({"params_M": "x"}, "params_M is 'x'", "a number"),
        ({"gmacs_conv": True}, "gmacs_conv is True", "a number"),
        ({"params_M": 5.2, "latency_ms_p50": "fast", "device": 3}, "latency_ms_p50 is 'fast'", "a number"),
        ({"params_M": 5.2, "device": 3}, "device is 3", "a mapping, or a text"),
        ({"input_size": [1, "x"]}, r"input_size is \[1, 'x'\]", "[height, width]"),
        ({"precision": 16}, "precision is 16", "a text"),
        ({"params_M": -1}, "params_M is -1", "0 or more"),
        ({"latency_ms_p50": -5.0}, "latency_ms_p50 is -5", "0 or more"),
    ],
)
def test_a_cost_that_no_table_could_show_is_refused(
    project: Project, cost: dict[str, Any], message: str, allowed: str
) -> None:
    path = project.experiments / NAME / "cost.json"
    path.write_text(json.dumps(cost))
    with pytest.raises(RecordError, match=message) as caught:
        made(project)
    assert (caught.value.where, caught.value.allowed) == (str(path), allowed)
    assert caught.value.hint == f"`repro benchmark {NAME}` again"


def an_experiment() -> Experiment:
    return load_experiment(Project(ROOT), NAME)


def test_without_a_row_the_own_expectation_counts() -> None:
    own = replace(an_experiment(), rows=(), expect=Expectation(mIoU=47.7, band=1.0, source="measured before"))
    wanted = expected(Project(ROOT), own, "trained", {})
    assert wanted is not None
    assert (wanted.metric, wanted.value, wanted.band, wanted.source) == ("mIoU", 47.7, 1.0, "measured before")
    assert expected(Project(ROOT), replace(own, expect=None), "trained", {}) is None


def test_of_several_expectations_the_one_of_the_device_counts() -> None:
    several = tuple(
        ExpectationOn(mIoU=value, band=0.5, source="measured", device=name)
        for value, name in ((40.3, "AMD EPYC*"), (41.2, "Intel*"))
    )
    own = replace(an_experiment(), rows=(), expect=several)
    made = {"training": {"device": {"cpu": "Intel Xeon", "torch": "2.15.0"}}}
    wanted = expected(Project(ROOT), own, "trained", {}, provenance=made)
    assert wanted is not None
    assert wanted.value == 41.2
    with pytest.raises(ParamsError, match="no expected number"):
        expected(Project(ROOT), own, "trained", {}, provenance={"device": {"cpu": "Apple M4"}})


def test_only_what_changes_weights_changes_the_training_key() -> None:
    experiment = an_experiment()
    key = training_key(experiment, "ab")
    same = replace(
        experiment, name="other", note="x", rows=(), evaluation=replace(experiment.evaluation, split="val")
    )
    assert training_key(same, "ab") == key
    others = [
        training_key(replace(experiment, seed=1), "ab"),
        training_key(replace(experiment, training=replace(experiment.training, lr=0.1)), "ab"),
        training_key(replace(experiment, engine=replace(experiment.engine, training=99)), "ab"),
        training_key(experiment, "cd"),
        training_key(experiment, "ab", initial_sha256="ef"),
    ]
    assert len({key, *others}) == 6
    evaluated = replace(experiment, engine=replace(experiment.engine, evaluation=99))
    assert training_key(evaluated, "ab") == key


def test_three_seeds_have_a_spread(project: Project) -> None:
    first = made(project, mIoU=49.15)
    others = [
        replace(first, experiment=f"s{n}", params={**first.params, "seed": n}, metrics={"mIoU": value})
        for n, value in ((1, 50.2), (2, 50.65))
    ]
    spread = with_seed_statistics(first, others)
    assert spread.seeds is not None
    assert (spread.seeds.mean, spread.seeds.half) == (50.0, pytest.approx(3.824, abs=1e-3))
    two = with_seed_statistics(first, others[:1])
    assert two.seeds is not None
    assert replace(two, seeds=None) == first
    strangers = [replace(other, kind="released") for other in others]
    assert with_seed_statistics(first, strangers) == first


def test_interval_ends_are_no_metrics() -> None:
    assert plain_metrics(METRICS) == {"mIoU": 50.4, "aAcc": 81.2}
    assert intervals(METRICS) == {"mIoU": (49.1, 51.6)}
    assert run_key({"a": 1.0}) != run_key({"a": 1.5})
