"""Results become outdated when params.yaml changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.params import Project
from repro.records import Record, sha256_file, write_record
from repro.reports import gate
from repro.reports.listing import listing
from repro.reports.results import load_results
from tests.reports.kit import CPU, a_project, a_record, add


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """camvid_x has a published row, camvid_own has `expect:`."""
    return a_project(tmp_path, a_record(), a_record("camvid_own", row=None))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def found(project: Project, name: str = "camvid_x") -> gate.Finding:
    return gate.finding(load_results(project), name)


def recorded(project: Project, change: Callable[[Record], Record]) -> None:
    """Write camvid_x's record with a change, as an older version might have."""
    record = load_results(project).records["camvid_x"]
    write_record(project.rows / "camvid_x.json", change(record))


def test_nothing_has_changed(project: Project) -> None:
    assert [found(project, name).verdict for name in ("camvid_x", "camvid_own")] == ["reproduced", "holds"]


@pytest.mark.parametrize(
    ("file", "old", "new", "key"),
    [
        ("experiments/camvid_x/params.yaml", "lr: 0.03", "lr: 0.3", "training"),
        ("experiments/camvid_x/params.yaml", "seed: 0", "seed: 1", "seed"),
        ("experiments/camvid_x/params.yaml", "output_stride: 16", "output_stride: 8", "model"),
        (
            "experiments/camvid_x/params.yaml",
            "protocol: whole",
            "protocol: page003_321",
            "evaluation, protocol; mode whole against slide, scales 1 against 0.5 to 1.5 (5), rounding round "
            "against floor, tiles none against 321x321, overlap none against 0.333333, "
            "pad tiles no against yes, second variant "
            "(scales 0.5 to 1.75 (6), mirror images yes) against none",
        ),
        ("params.yaml", "weight_decay: 5.0e-4", "weight_decay: 5.0e-3", "training"),
        ("params.yaml", "training: 1", "training: 2", "engine; engine training 1 against 2"),
    ],
)
def test_other_params_need_a_measurement(project: Project, file: str, old: str, new: str, key: str) -> None:
    edit(project.root / file, old, new)
    one = found(project)
    assert one.verdict == "incomparable"
    assert one.reason == (f"params changed since it was measured ({key}): `dvc repro experiments/camvid_x`")
    assert gate.exit_code([one], strict=False) == 2


@pytest.mark.parametrize("text", ["note: why it is here\n", "also: [page003_321]\n"])
def test_what_moves_no_number_changes_nothing(project: Project, text: str) -> None:
    path = project.experiments / "camvid_x" / "params.yaml"
    path.write_text(path.read_text() + text)
    assert found(project).verdict == "reproduced"


@pytest.mark.parametrize(("old", "new"), [("mIoU: 50.0", "mIoU: 60.0"), ("band: 0.8", "band: 0.1")])
def test_another_expectation_is_not_met_by_the_old_verdict(project: Project, old: str, new: str) -> None:
    edit(project.experiments / "camvid_own" / "params.yaml", old, new)
    one = found(project, "camvid_own")
    assert one.verdict == "incomparable"
    assert one.reason == "the expected number changed since it was recorded: `repro record camvid_own`"


def test_of_several_expectations_the_one_of_its_device_judges(project: Project) -> None:
    trained = a_record().provenance | {"training": {"device": CPU}}
    add(project, a_record("camvid_own", row=None, provenance=trained))
    path = project.experiments / "camvid_own" / "params.yaml"
    old = next(line for line in path.read_text().splitlines() if line.startswith("expect:"))
    one = old.removeprefix("expect: ").removesuffix("}")
    edit(
        path,
        old,
        f'expect:\n- {one}, device: "Test CPU"}}\n- {{mIoU: 9.0, band: 0.1, source: x, device: "NVIDIA*"}}',
    )
    assert found(project, "camvid_own").verdict == "holds"
    edit(path, '"Test CPU"', '"Other CPU"')
    other = found(project, "camvid_own")
    assert (other.verdict, gate.exit_code([other], strict=False)) == ("incomparable", 2)
    assert 'device: "Test CPU", torch: "2.15"' in other.reason


def test_a_published_number_is_judged_by_the_present_band(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record is made again for it, and what is shown of the record has that band too."""
    made_with = {"locks": {"params.yaml": sha256_file(project.params)}}
    add(project, a_record(metrics={"mIoU": 49.5}, provenance=a_record().provenance | made_with))
    assert found(project).verdict == "reproduced"
    edit(project.params, "camvid: {value: 0.8", "camvid: {value: 0.4")
    one = found(Project(project.root))
    assert (one.verdict, one.band) == ("regressed", 0.4)
    monkeypatch.chdir(project.root)
    shown, explained = (CliRunner().invoke(app, [word, "camvid_x"]).output for word in ("show", "explain"))
    assert "regressed" in explained
    assert "regressed" in shown
    assert "± 0.4" in shown


def test_the_reason_of_an_expectation_may_be_reworded(project: Project) -> None:
    edit(project.experiments / "camvid_own" / "params.yaml", "source: test", "source: one run of seed 0")
    assert found(project, "camvid_own").verdict == "holds"


def test_another_row_is_not_reproduced_by_the_old_verdict(project: Project) -> None:
    edit(project.experiments / "camvid_x" / "params.yaml", "rows: [003-028]", "rows: [003-095]")
    one = found(project)
    assert (one.verdict, one.reason) == (
        "incomparable",
        "rows changed since it was recorded: `repro record camvid_x`",
    )
    (line,) = listing(load_results(project), ["camvid_x"])
    assert (line["rows"], line["verdict"]) == (["003-095"], "incomparable")


def test_a_split_of_another_size_is_another_measurement(project: Project) -> None:
    edit(project.params, "trainval: 468, test: 233", "trainval: 468, test: 234")
    assert found(project).reason == "233 images were counted, the split has 234"


def test_params_that_cannot_be_read_are_no_pass(project: Project) -> None:
    edit(project.experiments / "camvid_x" / "params.yaml", "recipe: scratch", "recipe: scrath")
    assert found(project).verdict == "incomparable"
    assert "its params.yaml is invalid: unknown recipe 'scrath'" in found(project).reason


def test_a_key_of_a_later_version_with_a_neutral_default_changes_nothing(project: Project) -> None:
    recorded(project, lambda record: replace(record, params=without(record, "training", "ohem_keep")))
    assert found(project).verdict == "reproduced"


def test_a_key_that_is_gone_does_not_pass(project: Project) -> None:
    recorded(project, lambda record: replace(record, params={**record.params, "removed": 1}))
    assert found(project).verdict == "incomparable"
    assert "params that this version does not know (unknown key 'removed')" in found(project).reason


def test_a_result_without_its_params_does_not_pass(project: Project) -> None:
    add(project, a_record("camvid_gone", row="003-029", metrics={"mIoU": 52.7}))
    (project.experiments / "camvid_gone" / "params.yaml").unlink()
    one = found(project, "camvid_gone")
    assert (one.verdict, one.reason) == (
        "incomparable",
        "its params.yaml is missing",
    )


def without(record: Record, section: str, key: str) -> dict[str, object]:
    left = {name: value for name, value in record.params[section].items() if name != key}
    return {**record.params, section: left}


def test_show_and_explain_say_what_the_gate_says(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    edit(project.experiments / "camvid_own" / "params.yaml", "mIoU: 50.0", "mIoU: 60.0")
    for command in ("show", "explain"):
        shown = CliRunner().invoke(app, [command, "camvid_own"])
        assert shown.exit_code == 0, shown.output
        assert "incomparable" in shown.output
        assert "the expected number changed" in shown.output
